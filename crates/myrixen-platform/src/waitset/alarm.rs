//! Ends short sleeps without a timer of their own.
//!
//! A sleep with a timeout has the kernel set a timer and take it back, which in a virtual machine is a way to the hypervisor and back each time
//! that the timer is the next to go off: some microseconds, the second time after the sleeper was woken. Timeouts that are short are so as a
//! rule, and sleeps are over long before them as a rule, over and over. So one timer serves them all: it is left to run
//! when a sleep is over, and set anew only for a sleep that is to end before it. It may go off for nothing.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::{ALARM, timespec};

/// From here on a timeout is left to the kernel: its tick comes sooner, so the timer is not the next to go off.
pub(super) const SHORT: Duration = Duration::from_millis(4);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// In the set from the first short sleep on.
    timer: Option<OwnedFd>,
    /// When it goes off.
    at: Option<Timespec>,
}

impl Alarm {
    /// Sees to it that the alarm goes off after this time at the latest. False if there is none to be had.
    pub(super) fn set(&mut self, set: &OwnedFd, after: Duration) -> bool {
        let at = clock_gettime(ClockId::Monotonic) + timespec(after);
        if self.at.is_some_and(|set| set <= at) {
            return true;
        }
        if self.timer.is_none() {
            self.timer = make(set).ok();
        }
        let Some(timer) = &self.timer else {
            return false;
        };
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: at,
        };
        let done = timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &once).is_ok();
        self.at = done.then_some(at);
        done
    }

    /// It was seen in the set.
    pub(super) fn went_off(&mut self) {
        let mut count = [0; 8];
        let Some(timer) = &self.timer else { return };
        // Nothing to be read: it was set anew after it was seen.
        if rustix::io::read(timer, &mut count) != Err(Errno::AGAIN) {
            self.at = None;
        }
    }
}

fn make(set: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let data = epoll::EventData::new_u64(ALARM);
    epoll::add(set, &timer, data, epoll::EventFlags::IN)?;
    Ok(timer)
}
