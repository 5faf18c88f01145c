//! Which of two ways to take offered data from a partner that is awake: to ask for it, or to read it.
//!
//! Neither is better everywhere. What is asked for crosses the ring in two copies that both ends make at the same time, in caches; what is read crosses
//! in one, by one processor, through the kernel. Where processors share caches and the partner answers, asking is twice as fast; where they do not, or he computes, or his
//! processor is taken from him, reading is. So what either way has taken of late decides, and the dearer one is tried now and then.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use mxoe::time::Time;

/// Messages that are taken as one when their time is, since several are on the way at once; and how many a trial takes.
const RUN: u16 = 8;

/// Messages between two trials: twice as many each time that the dearer way still is.
const FEWEST_BETWEEN: u16 = 32;
const MOST_BETWEEN: u16 = 512;

/// How long a partner may take to answer, or to go on: at least several times what one that looks on needs, and
/// at most what is saved if it then does. The most is for who forgets that others wait.
const LEAST_PATIENCE: Duration = Duration::from_micros(50);
const MOST_PATIENCE: Duration = Duration::from_micros(500);

/// What a byte has taken of late.
#[derive(Default)]
struct Cost {
    /// In picoseconds. Not zero, so that not to know it is a word as well: the other kind of option leaves one unwritten, which the compiler compares
    /// before it has looked whether it is there, and memcheck minds.
    picos: Option<NonZeroU64>,
    /// Of the run that is not over.
    took: Duration,
    bytes: usize,
    messages: u16,
}

impl Cost {
    /// A message, or what was left of it. True at the end of a run.
    fn add(&mut self, took: Duration, bytes: usize) -> bool {
        if bytes == 0 {
            return false;
        }
        self.took += took;
        self.bytes += bytes;
        self.messages += 1;
        if self.messages < RUN {
            return false;
        }
        let picos = u64::try_from(self.took.as_nanos() * 1000 / self.bytes as u128);
        self.learn(picos.unwrap_or(u64::MAX));
        (self.took, self.bytes, self.messages) = (Duration::ZERO, 0, 0);
        true
    }

    /// Better news counts for more than worse: what holds a run up now and then is not the way it goes.
    fn learn(&mut self, picos: u64) {
        let learned = match self.picos.map(NonZeroU64::get) {
            None => picos,
            Some(before) if picos < before => picos.midpoint(before),
            Some(before) => before + (picos.min(before.saturating_mul(4)) - before) / 4,
        };
        self.picos = NonZeroU64::new(learned);
    }
}

/// How data has come from the other end of a channel, and how the next is to come.
#[derive(Default)]
pub(crate) struct Pace {
    asking: Cost,
    reading: Cost,
    /// No trial of the dearer way is on. It begins with none.
    settled: bool,
    /// Messages until that changes, and how many there were between the last two trials.
    left: u16,
    between: u16,
    /// Since when nothing has come of what it was asked for, as far as we have looked; `None` when something came in the last turn. What we did meanwhile
    /// does not count against it.
    silent_since: Option<Time>,
}

impl Pace {
    /// Whether to ask for the next message. To be called once for each.
    pub(crate) fn is_to_ask(&mut self) -> bool {
        // It has not been silent since it was asked.
        self.heard();
        if self.left == 0 {
            self.settled = !self.settled;
            self.left = if self.settled {
                self.between = (self.between * 2).clamp(FEWEST_BETWEEN, MOST_BETWEEN);
                self.between
            } else {
                RUN
            };
        }
        self.left -= 1;
        self.asking_is_cheaper() == self.settled
    }

    /// Something has come, or we have not looked.
    pub(crate) fn heard(&mut self) {
        self.silent_since = None;
    }

    /// Nothing has come in this turn of a message of so many bytes. Whether it has been so for too long: then a trial of asking is over.
    pub(crate) fn gives_up(&mut self, now: Time, len: usize) -> bool {
        let late = now.since(*self.silent_since.get_or_insert(now)) >= self.patience(len);
        if late && !self.settled && !self.asking_is_cheaper() {
            self.left = 0;
        }
        late
    }

    fn patience(&self, len: usize) -> Duration {
        let saved = match (self.asking.picos, self.reading.picos) {
            (Some(asking), Some(reading)) => reading.get().saturating_sub(asking.get()),
            _ => 0,
        };
        Duration::from_nanos(saved.saturating_mul(len as u64) / 1000)
            .clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }

    /// A message that was asked for is here, all of it.
    pub(crate) fn learn_of_asking(&mut self, took: Duration, bytes: usize) {
        self.learn(|pace| pace.asking.add(took, bytes));
    }

    /// So much of a message was read.
    pub(crate) fn learn_of_reading(&mut self, took: Duration, bytes: usize) {
        self.learn(|pace| pace.reading.add(took, bytes));
    }

    fn learn(&mut self, add: impl FnOnce(&mut Self) -> bool) {
        let before = self.asking_is_cheaper();
        if add(self) && self.asking_is_cheaper() != before {
            self.settled = true;
            self.between = FEWEST_BETWEEN;
            self.left = self.between;
        }
    }

    fn asking_is_cheaper(&self) -> bool {
        match (self.asking.picos, self.reading.picos) {
            (Some(asking), Some(reading)) => asking <= reading,
            _ => true,
        }
    }
}

/// Tells how long each of several messages took that are taken at a time: no time counts twice.
#[derive(Default)]
pub(crate) struct Meter {
    /// When the last one ended.
    ended: Option<Instant>,
}

impl Meter {
    /// One that was begun then has ended, or a part of it: how long there was nothing but it.
    pub(crate) fn end(&mut self, begun: Instant) -> Duration {
        let now = Instant::now();
        let since = self.ended.map_or(begun, |ended| ended.max(begun));
        self.ended = Some(now);
        now.duration_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// Takes so many messages of a MiB, that take so many microseconds; gives back how many of them were asked for.
    fn run(pace: &mut Pace, messages: usize, asking: u64, reading: u64) -> usize {
        let mut asked = 0;
        for _ in 0..messages {
            if pace.is_to_ask() {
                asked += 1;
                pace.learn_of_asking(micros(asking), MIB);
            } else {
                pace.learn_of_reading(micros(reading), MIB);
            }
        }
        asked
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_one_tried_now_and_then() {
        let mut pace = Pace::default();
        let asked = run(&mut pace, 2000, 40, 90);
        assert!((1920..1990).contains(&asked), "{asked}");
        // The partner computes from now on: what it is asked for is read in the end, and later.
        let asked = run(&mut pace, 2000, 120, 90);
        assert!((10..150).contains(&asked), "{asked}");
        // It answers again.
        let asked = run(&mut pace, 2000, 40, 90);
        assert!(asked > 1400, "{asked}");
    }

    #[test]
    fn a_message_that_is_held_up_now_and_then_changes_nothing() {
        let mut pace = Pace::default();
        run(&mut pace, 100, 40, 90);
        for _ in 0..50 {
            pace.learn_of_asking(micros(200), MIB);
            let asked = run(&mut pace, 40, 40, 90);
            assert!(asked >= 32, "{asked}");
        }
    }

    #[test]
    fn messages_that_come_together_have_taken_what_they_took_together() {
        let mut pace = Pace::default();
        // Each second one ends with the one before.
        for at in 0..RUN {
            assert!(pace.is_to_ask());
            pace.learn_of_asking(micros(u64::from(at % 2) * 300), MIB);
            pace.learn_of_reading(micros(90), MIB);
        }
        assert!(!pace.is_to_ask(), "150 us are more than 90");
    }

    #[test]
    fn who_saves_more_by_it_waits_longer_for_an_answer() {
        let mut pace = Pace::default();
        let late_at = |pace: &mut Pace, len: usize| {
            pace.heard();
            let late = |us: &u64| pace.gives_up(Time::ZERO + micros(*us), len);
            (0..1000).find(late)
        };
        assert_eq!(late_at(&mut pace, MIB), Some(50));
        for _ in 0..RUN {
            pace.learn_of_asking(micros(40), MIB);
            pace.learn_of_reading(micros(90), MIB);
        }
        assert_eq!(late_at(&mut pace, MIB / 16), Some(50));
        assert!(matches!(late_at(&mut pace, 4 * MIB), Some(195..=201)));
        assert_eq!(late_at(&mut pace, 100 * MIB), Some(500));
    }

    #[test]
    fn who_does_not_answer_is_asked_once_a_trial() {
        let mut pace = Pace::default();
        let mut asked = 0;
        for at in 0..4000 {
            if pace.is_to_ask() {
                asked += 1;
                let at = Time::ZERO + micros(1000 * at);
                assert!(!pace.gives_up(at, MIB));
                assert!(pace.gives_up(at + micros(500), MIB));
                pace.learn_of_asking(micros(140), MIB);
            }
            pace.learn_of_reading(micros(90), MIB);
        }
        // The first run, and then one each 40, 72, 136, 264, 520, 520 ... messages.
        assert!((12..20).contains(&asked), "{asked}");
    }

    #[test]
    fn nothing_is_learned_of_no_bytes() {
        let mut cost = Cost::default();
        assert!((0..100).all(|_| !cost.add(micros(1), 0)));
        assert!(cost.picos.is_none());
    }
}
