//! What time it is, for timers.
//!
//! Where reading the clock takes a system call (a Xen domain whose time stamp counter is not stable), a message would pay for
//! several of them. There the time between two sleeps is told by the kernel's tick, which costs nothing, and by the last reading.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::sys;

/// The longest tick of a kernel (100 Hz): how far behind [`Clock::recent`] may be.
const TICK: Duration = Duration::from_millis(10);

/// How far behind a glance may be.
const GLANCE: Duration = Duration::from_micros(3);

/// Shorter timeouts are reckoned from a reading.
const SHORT: Duration = Duration::from_millis(100);

/// Nanoseconds above which reading the clock is dear: without a system call it takes 20 to 60.
const DEAR: u64 = 250;

/// Tells the time since it was made. Its clones tell the same.
#[derive(Clone, Debug)]
pub struct Clock {
    start: u64,
    dear: bool,
    /// The last reading, where it is dear.
    last: Arc<AtomicU64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that stands at zero now.
    #[must_use]
    pub fn new() -> Self {
        let start = nanos(ClockId::Monotonic);
        // The least of several: an interrupt may fall between two of them.
        let price = (0..8).map(|_| {
            let before = nanos(ClockId::Monotonic);
            nanos(ClockId::Monotonic) - before
        });
        Self {
            start,
            dear: price.min().is_some_and(|price| price > DEAR),
            last: Arc::default(),
        }
    }

    /// The time, read now.
    #[must_use]
    pub fn now(&self) -> Duration {
        let now = reading() - self.start;
        if self.dear {
            self.last.fetch_max(now, Ordering::Relaxed);
        }
        Duration::from_nanos(now)
    }

    /// The time, at most a microsecond or two ago, and never before what this clock has told this thread.
    #[must_use]
    pub fn fine(&self) -> Duration {
        if self.dear {
            self.now()
        } else {
            Duration::from_nanos(glance().saturating_sub(self.start))
        }
    }

    /// The time, at most a tick ago where reading it is dear and a microsecond or two elsewhere, and never before what this clock has told this
    /// thread.
    #[must_use]
    pub fn recent(&self) -> Duration {
        Duration::from_nanos(self.recent_nanos())
    }

    /// The same in nanoseconds.
    #[inline]
    #[must_use]
    pub fn recent_nanos(&self) -> u64 {
        match self.dear {
            true => self.ticked(),
            false => glance().saturating_sub(self.start),
        }
    }

    /// The kernel's last tick, or the last reading if that is later.
    fn ticked(&self) -> u64 {
        let tick = nanos(ClockId::MonotonicCoarse).saturating_sub(self.start);
        let last = self.last.load(Ordering::Relaxed);
        if last < tick {
            // Once a tick; what others have told meanwhile stays.
            self.last.fetch_max(tick, Ordering::Relaxed);
        }
        last.max(tick)
    }

    /// When `timeout` is over, given what [`recent`](Self::recent) has just told: not too early, and where it is long perhaps a tick late.
    #[must_use]
    pub fn deadline(&self, recent: Duration, timeout: Duration) -> Duration {
        match timeout {
            Duration::ZERO => recent,
            long if long >= SHORT => {
                let behind = if self.dear { TICK } else { GLANCE };
                recent.saturating_add(long).saturating_add(behind)
            }
            short => self.now().saturating_add(short),
        }
    }
}

thread_local! {
    /// What the processor's counter and the kernel's clock said when this thread last read both.
    static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// What the kernel's clock says.
fn reading() -> u64 {
    let time = nanos(ClockId::Monotonic);
    if let Some(ticks) = sys::ticks() {
        LAST.set((ticks, time));
    }
    time
}

/// What the kernel's clock said when this thread last read it, unless that is a while ago by the processor's own counter: this costs a quarter of a
/// reading, and a message has several.
fn glance() -> u64 {
    /// Ticks of the counter, which makes 1 to 5 of them in a nanosecond.
    const A_WHILE: u64 = 2048;
    let (at, time) = LAST.get();
    // On another processor the counter may be behind: that is a while, too.
    let fresh = |ticks: u64| time != 0 && ticks.wrapping_sub(at) < A_WHILE;
    if sys::ticks().is_some_and(fresh) {
        time
    } else {
        reading()
    }
}

/// What a clock says.
pub(crate) fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let nanos = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanos).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_back_whichever_way_it_is_told() {
        for dear in [false, true] {
            let clock = Clock {
                dear,
                ..Clock::new()
            };
            let mut before = clock.now();
            for turn in 0..10_000 {
                let now = if turn % 3 == 0 {
                    clock.now()
                } else {
                    clock.recent()
                };
                assert!(now >= before);
                before = now;
            }
        }
    }

    #[test]
    fn a_timeout_is_never_over_too_early() {
        for dear in [false, true] {
            let clock = Clock {
                dear,
                ..Clock::new()
            };
            for timeout in [1, 50, 99, 100, 15_000].map(Duration::from_millis) {
                let before = clock.now();
                assert!(clock.deadline(clock.recent(), timeout) >= before + timeout);
            }
        }
    }
}
