//! How long to look on before sleeping, learned from how long there was nothing before.

use std::time::Duration;

/// Decides between looking on and sleeping at once.
///
/// Looking on gains what it costs to fall asleep and be woken, and costs the time that is looked on. It gains when what is waited for comes
/// soon, as a rule: when it came within the limit before. On a machine with more to do than cores it does not, because the one who would
/// send it is waiting for ours.
///
/// Who sleeps makes it come later, by the wake-up, and so does the other end that answers: where a wake-up costs more than the limit, two that sleep would
/// never find out that they need not. So after some sleeps it looks on as at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    limit: Duration,
    /// How long there was nothing of late: each time counts a quarter, and earlier ones ever less.
    gap: Duration,
    /// Sleeps since it last looked on.
    sleeps: u8,
}

/// Sleeps after which it looks on again, for one or two silences where they are long: at most a sixteenth of the time.
const SLEEPS: u8 = 32;

/// A gap counts as at most so many limits: after a long silence a few short ones are to be enough.
const MOST: u32 = 4;

impl Polling {
    /// Looks on for up to `limit`, at first. 0: never.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self {
            limit,
            gap: Duration::ZERO,
            sleeps: 0,
        }
    }

    /// How long to look on now before sleeping.
    #[must_use]
    pub fn time(&self) -> Duration {
        if self.gap <= self.limit {
            self.limit
        } else {
            Duration::ZERO
        }
    }

    /// Something came after there had been nothing for this long, whether it was looked on or slept.
    pub fn came_after(&mut self, nothing: Duration) {
        self.sleeps = match self.time().is_zero() {
            true => self.sleeps + 1,
            false => 0,
        };
        if self.sleeps >= SLEEPS {
            *self = Self::new(self.limit);
            return;
        }
        let gap = nothing.min(self.limit * MOST);
        self.gap = (self.gap * 3 + gap) / 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(20);

    fn after(gaps: impl IntoIterator<Item = u64>) -> Polling {
        let mut polling = Polling::new(LIMIT);
        for gap in gaps {
            polling.came_after(Duration::from_micros(gap));
        }
        polling
    }

    #[test]
    fn it_looks_on_while_things_come_soon() {
        assert_eq!(after([]).time(), LIMIT);
        assert_eq!(after([5; 100]).time(), LIMIT);
        assert_eq!(
            after([5, 5, 5, 5, 70, 5, 5]).time(),
            LIMIT,
            "once is no rule"
        );
    }

    #[test]
    fn it_sleeps_at_once_where_they_come_late_and_forgets_that_soon() {
        assert_eq!(after([1_000_000; 3]).time(), Duration::ZERO);
        assert_eq!(after([25; 20]).time(), Duration::ZERO);
        let mut polling = after([1_000_000; 100]);
        let mut needed = 0;
        while polling.time().is_zero() {
            polling.came_after(Duration::from_micros(5));
            needed += 1;
        }
        assert!(needed <= 6, "{needed}");
    }

    #[test]
    fn it_tries_now_and_then_whether_they_would_come_soon_if_it_did_not_sleep() {
        let mut polling = after([1_000_000; 3]);
        // What it costs where they would not.
        let looked_on = (0..1000)
            .map(|_| {
                polling.came_after(Duration::from_secs(1));
                polling.time()
            })
            .sum::<Duration>();
        assert!(looked_on > Duration::ZERO);
        assert!(looked_on <= LIMIT * (2 * 1000 / 32), "{looked_on:?}");
        // A message comes 5 us after one for which it has looked on, and 90 after one for which it slept.
        let mut slept = 0;
        for _ in 0..1000 {
            let sleeps = polling.time().is_zero();
            slept += u32::from(sleeps);
            polling.came_after(Duration::from_micros(if sleeps { 90 } else { 5 }));
        }
        assert!(slept <= 32, "{slept}");
    }

    #[test]
    fn without_a_limit_it_never_looks_on() {
        let mut polling = Polling::new(Duration::ZERO);
        assert_eq!(polling.time(), Duration::ZERO);
        polling.came_after(Duration::from_secs(1));
        assert_eq!(polling.time(), Duration::ZERO);
    }
}
