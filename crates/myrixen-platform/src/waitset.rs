//! Waiting for many bells and descriptors at once.

mod alarm;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::Errno;

use crate::bell::{BellKind, Waiter, bell};
use alarm::{Alarm, SHORT};

/// A set of bells and other descriptors, each under a token, and a way to wait for any of them.
///
/// The set is level-triggered: what is ready stays ready until it is drained, read or removed. In particular
/// a bell whose ringer is gone stays ready until it is removed. (But for bells that were added by
/// [`add_bell_once`](Self::add_bell_once).) Handles are cheap to clone and share the set; descriptors may be added and
/// removed while another thread waits. If several threads wait, each sees some of the events.
#[derive(Clone, Debug)]
pub struct WaitSet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    epoll: OwnedFd,
    /// Ours alone, so an eventfd is safe here.
    wake: Arc<OwnedFd>,
    /// The bells in the set, kept open: an epoll entry outlives its descriptor while a duplicate of it is open
    /// elsewhere (the ringer has one), and could not be removed any more.
    bells: Mutex<BTreeMap<RawFd, Waiter>>,
    /// Locked by the one thread whose short sleeps it ends; the others have their own timers.
    alarm: Mutex<Alarm>,
}

/// Something in the set is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Under which it was added.
    pub token: u64,
    /// It can be read or drained.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
    /// The other end is gone.
    pub hung_up: bool,
}

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Until it can be read.
    Read,
    /// Until it can be read or written.
    ReadWrite,
}

/// Wakes a [`WaitSet`] from any thread. Stays usable when the set is gone.
#[derive(Clone, Debug)]
pub struct Waker {
    wake: Arc<OwnedFd>,
}

impl Waker {
    /// The present or the next [`WaitSet::wait`] returns at once. Never blocks.
    pub fn wake(&self) {
        // EAGAIN: the counter is full, so it is ready anyway.
        let _ = rustix::io::retry_on_intr(|| rustix::io::write(&self.wake, &1u64.to_ne_bytes()));
    }
}

/// The token of the set's own waker.
const WAKE: u64 = u64::MAX;
/// The token of the set's own timer.
const ALARM: u64 = u64::MAX - 2;
/// How many events one call takes from the kernel; what is left comes with the next.
const BATCH: usize = 64;

impl WaitSet {
    /// An empty set.
    ///
    /// # Errors
    /// When a descriptor cannot be had (`RLIMIT_NOFILE`).
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &wake,
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN,
        )?;
        let shared = Shared {
            epoll,
            wake: Arc::new(wake),
            bells: Mutex::default(),
            alarm: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Adds a bell. The set keeps it open until it is removed.
    ///
    /// # Errors
    /// When it is in the set already, or the kernel's limit (`/proc/sys/fs/epoll/max_user_watches`) is reached.
    ///
    /// # Panics
    /// On the tokens `u64::MAX` and `u64::MAX - 2`, which the set keeps for itself.
    pub fn add_bell(&self, bell: &Waiter, token: u64) -> io::Result<()> {
        self.add(bell.fd(), token, Interest::Read)?;
        self.keep(bell);
        Ok(())
    }

    /// Adds a bell that is seen once for each time it rings, whether or not it has been drained, where that is possible:
    /// `true`. It need then be drained only [now and then](MOST_UNDRAINED), which spares a system call for each ring. A ringer that
    /// goes is seen once as well, by [`Ready::hung_up`].
    ///
    /// # Errors
    /// As [`add_bell`](Self::add_bell).
    ///
    /// # Panics
    /// As [`add_bell`](Self::add_bell).
    pub fn add_bell_once(&self, bell: &Waiter, token: u64) -> io::Result<bool> {
        let once = bell.kind() == BellKind::Pipe && rings_are_edges();
        if !once {
            self.add_bell(bell, token)?;
            return Ok(false);
        }
        assert_ours(token);
        let flags = Interest::Read.flags() | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.shared.epoll, bell.fd(), data, flags)?;
        self.keep(bell);
        Ok(true)
    }

    /// Keeps a bell open until it is removed.
    fn keep(&self, bell: &Waiter) {
        let mut bells = self
            .shared
            .bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        bells.insert(bell.fd().as_raw_fd(), bell.clone());
    }

    /// Takes a bell out. Events of it that another thread already holds may still be seen there.
    pub fn remove_bell(&self, bell: &Waiter) {
        self.remove(bell.fd());
        let mut bells = self
            .shared
            .bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        bells.remove(&bell.fd().as_raw_fd());
    }

    /// Adds a descriptor, which the caller must [`remove`](Self::remove) before it closes it.
    ///
    /// # Errors
    /// As [`add_bell`](Self::add_bell).
    ///
    /// # Panics
    /// On the tokens `u64::MAX` and `u64::MAX - 2`, which the set keeps for itself.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        assert_ours(token);
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.shared.epoll, fd, data, interest.flags())?)
    }

    /// Changes what a descriptor is watched for.
    ///
    /// # Errors
    /// When it is not in the set.
    pub fn change(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        assert_ours(token);
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::modify(
            &self.shared.epoll,
            fd,
            data,
            interest.flags(),
        )?)
    }

    /// Takes a descriptor out; nothing happens when it is not in the set.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.shared.epoll, fd);
    }

    /// Waits until something is ready, the waker is used, a signal arrives, or the time is over (`None`: for ever), and puts
    /// what is ready into `ready`, which it clears first. It may come back with nothing.
    ///
    /// # Errors
    /// Only when the kernel has no memory.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let (timeout, mut alarm) = self.set_alarm(timeout);
        self.take_events(timeout, ready, alarm.as_deref_mut())
    }

    /// As [`wait`](Self::wait), but waits for some descriptors beside the set as well: when one of those is ready, that ends the wait,
    /// and is not told. The kernel knows of a thread that waits for a descriptor itself that whoever made it ready is about to
    /// sleep, and may run it in his place; of one that waits for a set in a set it does not.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_beside<F: AsFd>(
        &self,
        others: &[(F, Interest)],
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        ready.clear();
        let (timeout, mut alarm) = self.set_alarm(timeout);
        let mut on = Vec::with_capacity(1 + others.len());
        on.push(PollFd::new(&self.shared.epoll, PollFlags::IN));
        let others = others.iter();
        on.extend(others.map(|(fd, interest)| PollFd::new(fd, interest.poll_flags())));
        match poll(&mut on, timeout.map(timespec).as_ref()) {
            Ok(_) if on[0].revents().is_empty() => Ok(()),
            Ok(_) => self.take_events(Some(Duration::ZERO), ready, alarm.as_deref_mut()),
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sees to it that a wait does not last much longer than `timeout`: gives what is left for the kernel to do about it.
    fn set_alarm(
        &self,
        timeout: Option<Duration>,
    ) -> (Option<Duration>, Option<MutexGuard<'_, Alarm>>) {
        let short = timeout.filter(|time| !time.is_zero() && *time < SHORT);
        let alarm = short.and_then(|time| {
            let mut alarm = self.shared.alarm.try_lock().ok()?;
            alarm.set(&self.shared.epoll, time).then_some(alarm)
        });
        let timeout = timeout.filter(|_| alarm.is_none());
        (timeout, alarm)
    }

    fn take_events(
        &self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
        mut alarm: Option<&mut Alarm>,
    ) -> io::Result<()> {
        ready.clear();
        let timeout = timeout.map(timespec);
        let mut room = [const { std::mem::MaybeUninit::uninit() }; BATCH];
        let events = match epoll::wait(&self.shared.epoll, &mut room, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(err) => return Err(err.into()),
        };
        for event in events {
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                WAKE => {
                    let mut count = [0; 8];
                    let _ = rustix::io::read(&*self.shared.wake, &mut count);
                }
                ALARM => match &mut alarm {
                    Some(alarm) => alarm.went_off(),
                    // If another thread sleeps for it, that one sees it as well.
                    None => drop(self.shared.alarm.try_lock().map(|mut own| own.went_off())),
                },
                token => ready.push(Ready {
                    token,
                    readable: flags.intersects(epoll::EventFlags::IN),
                    writable: flags.intersects(epoll::EventFlags::OUT),
                    hung_up: flags.intersects(GONE),
                }),
            }
        }
        Ok(())
    }

    /// A handle that wakes whoever waits on this set.
    pub fn waker(&self) -> Waker {
        Waker {
            wake: Arc::clone(&self.shared.wake),
        }
    }
}

impl AsFd for WaitSet {
    /// Readable when something in the set is ready: a set can be waited for in another one, or in a foreign loop.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.epoll.as_fd()
    }
}

/// How many times a bell that was added by [`WaitSet::add_bell_once`] may be seen before it is to be drained. Its pipe holds
/// several rings for each: a ringer rings once for a sleep, and once for a wait for room.
pub const MOST_UNDRAINED: u16 = 512;

/// Whether the kernel tells of each ring of a pipe that holds earlier ones. Linux from 5.5 to 5.13 did not, in some of its
/// versions; asked once.
fn rings_are_edges() -> bool {
    static EDGES: OnceLock<bool> = OnceLock::new();
    *EDGES.get_or_init(|| try_edges().unwrap_or(false))
}

fn try_edges() -> io::Result<bool> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (ringer, waiter) = bell()?;
    let flags = Interest::Read.flags() | epoll::EventFlags::ET;
    epoll::add(&set, waiter.fd(), epoll::EventData::new_u64(0), flags)?;
    let seen = || -> io::Result<bool> {
        let mut room = [const { std::mem::MaybeUninit::uninit() }; 1];
        let (events, _) = epoll::wait(&set, &mut room, Some(&Timespec::default()))?;
        Ok(!events.is_empty())
    };
    for _ in 0..3 {
        ringer.ring();
        if !seen()? || seen()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The events that say that the other end is gone.
const GONE: epoll::EventFlags = epoll::EventFlags::HUP
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ERR);

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        match self {
            Self::Read => read,
            Self::ReadWrite => read | epoll::EventFlags::OUT,
        }
    }

    fn poll_flags(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::IN,
            Self::ReadWrite => PollFlags::IN | PollFlags::OUT,
        }
    }
}

/// Whether others may use the token.
fn assert_ours(token: u64) {
    assert!(
        token != WAKE && token != ALARM,
        "the token {token} is the set's own"
    );
}

/// As the kernel wants it. More than 24 days are cut to that: older kernels count milliseconds in 31 bits.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    let duration = duration.min(Duration::from_millis(i32::MAX.unsigned_abs().into()));
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests;
