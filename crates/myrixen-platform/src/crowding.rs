//! Whether others want the processor of a thread that looks on without end.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::ClockId;

use crate::clock::nanos;
use crate::sys::{self, Switches};

/// Tells a thread that looks on without end when it had better sleep.
///
/// Whoever does so on a processor that others want as well spends his time slice on looking, and is then kept out for one of theirs: milliseconds a
/// message, where a sleep and a wake-up take microseconds. The kernel counts how often it has taken its processor from a thread that did not want to
/// give it away, and for how long a thread has had one. For less than a millisecond is nothing: it does so for work of its own, and for other threads of ours.
/// Twice for longer, in 50 ms of the thread's own time, is somebody who takes turns with us. From then on whoever waits is to sleep: for 50 ms, and for twice
/// as long, up to 2 s, each time that it is so again as soon as that is over.
#[derive(Clone, Copy, Debug)]
pub struct Crowding {
    /// For how long the thread had had a processor when that was last found to have been taken.
    taken: Option<Duration>,
    /// Until when to sleep.
    until: Option<Duration>,
    /// For how long was said last, and when that was over.
    last: (Duration, Duration),
}

/// Less than any time slice.
const SLICE: Duration = Duration::from_millis(1);
/// Two time slices of a kernel whose tick is 10 ms, and as much again.
const WINDOW: Duration = Duration::from_millis(50);
/// How long to sleep at first, and at most.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

impl Default for Crowding {
    fn default() -> Self {
        Self::new()
    }
}

impl Crowding {
    /// Nobody else is known to want the processor.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            taken: None,
            until: None,
            last: (Duration::ZERO, Duration::ZERO),
        }
    }

    /// The time has come to `now`. Whether to sleep rather than to look on for long.
    #[inline]
    pub fn look(&mut self, now: Duration) -> bool {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
        self.until.is_some()
    }

    /// The time is `now`, and looks have been in vain for some tens of microseconds: so long that a few system calls do not count.
    pub fn looked_in_vain(&mut self, now: Duration) {
        if let Some(had) = taken_after() {
            self.taken_at(now, had);
        }
    }

    /// The processor has been taken since the last question, after the thread has had it for so long in all.
    fn taken_at(&mut self, now: Duration, had: Duration) {
        let again = self.taken.replace(had);
        if again.is_none_or(|before| had.saturating_sub(before) > WINDOW) {
            return;
        }
        self.taken = None;
        let (before, over) = self.last;
        let pause = match now.saturating_sub(over) <= 2 * WINDOW {
            true => (2 * before).clamp(FIRST, LONGEST),
            false => FIRST,
        };
        self.until = Some(now + pause);
        self.last = (pause, now + pause);
    }
}

/// What the kernel says of a thread at a moment, times in nanoseconds.
#[derive(Clone, Copy)]
struct Account {
    now: u64,
    /// For how long the thread has had a processor. What `getrusage` says of that is as old as the last tick.
    had: u64,
    switches: Switches,
}

impl Account {
    /// All of one moment: asked anew if the processor is taken in between, or the time would be missing from the account that has the switch.
    fn now() -> Option<Self> {
        let mut switches = sys::switches()?;
        loop {
            let account = Self {
                now: nanos(ClockId::Monotonic),
                had: nanos(ClockId::ThreadCPUTime),
                switches,
            };
            switches = sys::switches()?;
            if switches == account.switches {
                return Some(account);
            }
        }
    }

    /// For how long the thread was without a processor that it did not give away. Zero if it has slept as well: that would count.
    fn lost_since(&self, before: &Self) -> Duration {
        let (was, is) = (before.switches, self.switches);
        if is.sleeps != was.sleeps || is.preemptions == was.preemptions {
            return Duration::ZERO;
        }
        let had = self.had.saturating_sub(before.had);
        Duration::from_nanos((self.now - before.now).saturating_sub(had))
    }
}

/// For how long this thread has had a processor, if the kernel has taken that from it for a while since the thread last asked. The first time: `None`.
fn taken_after() -> Option<Duration> {
    thread_local! {
        static BEFORE: Cell<Option<Account>> = const { Cell::new(None) };
    }
    let account = Account::now()?;
    let before = BEFORE.replace(Some(account))?;
    (account.lost_since(&before) >= SLICE).then(|| Duration::from_nanos(account.had))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::*;

    const fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn once_in_a_while_is_nothing() {
        let mut crowding = Crowding::new();
        for time in (1..20).map(|number| number * 60) {
            crowding.taken_at(ms(2 * time), ms(time));
            assert!(!crowding.look(ms(2 * time)), "{time}");
        }
    }

    #[test]
    fn twice_within_a_while_is_slept_off_and_longer_when_it_goes_on() {
        let mut crowding = Crowding::new();
        let mut now = ms(1000);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            // However long the others have it in between.
            crowding.taken_at(now, now / 100);
            now += ms(90);
            crowding.taken_at(now, now / 100);
            let began = now;
            while crowding.look(now) {
                now += ms(1);
            }
            pauses.push(u64::try_from((now - began).as_millis()).unwrap());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        // Long after: from the start.
        now += ms(500);
        crowding.taken_at(now, now);
        crowding.taken_at(now + ms(40), now + ms(40));
        assert!(crowding.look(now + ms(89)) && !crowding.look(now + ms(91)));
    }

    /// Two threads on one processor that both look on: the kernel has them take turns.
    #[test]
    fn who_shares_a_processor_is_told() {
        let over = AtomicBool::new(false);
        let one = {
            let all = sched_getaffinity(None).unwrap();
            let mut one = CpuSet::new();
            one.set((0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)).unwrap());
            one
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sched_setaffinity(None, &one).unwrap();
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let told = scope.spawn(|| {
                sched_setaffinity(None, &one).unwrap();
                let (began, mut crowding) = (Instant::now(), Crowding::new());
                let mut crowded = false;
                while !crowded && began.elapsed() < Duration::from_secs(60) {
                    crowding.looked_in_vain(began.elapsed());
                    crowded = crowding.look(began.elapsed());
                }
                over.store(true, Ordering::Relaxed);
                crowded
            });
            assert!(told.join().unwrap(), "the kernel had them take turns");
        });
    }
}
