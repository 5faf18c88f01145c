//! Moments: round trips measured, and what falls due when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::config::Timers as Settings;
use super::ids::RequestId;
use super::window::Pace;
use crate::matching::arena::Key;
use crate::time::Time;

/// `time` plus `delay`, which saturates.
#[allow(clippy::arithmetic_side_effects, reason = "this addition saturates")]
pub(super) fn after(time: Time, delay: Duration) -> Time {
    time + delay
}

/// A duration as nanoseconds. Arithmetic on these is much cheaper, and is done for each message.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Round trips to one partner, smoothed as in RFC 6298. Nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrips {
    smoothed: Option<u64>,
    variation: u64,
}

impl RoundTrips {
    /// Takes a measurement in. By Karn's rule it must be of something sent once only.
    pub(super) fn sample(&mut self, sample: Duration) {
        let sample = nanos(sample);
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                let error = smoothed.abs_diff(sample);
                let weighted = self.variation.saturating_mul(3).saturating_add(error);
                self.variation = weighted / 4;
                let weighted = smoothed.saturating_mul(7).saturating_add(sample);
                self.smoothed = Some(weighted / 8);
            }
        }
    }

    /// The smoothed round trip, or zero before the first measurement.
    pub(super) fn smoothed(&self) -> Duration {
        Duration::from_nanos(self.smoothed.unwrap_or_default())
    }

    /// How fast answers come, as far as is known.
    pub(super) fn pace(&self) -> Pace {
        let smoothed = self.smoothed.unwrap_or_default();
        Pace {
            soonest: Duration::from_nanos(smoothed / 2),
            // As for TCP (RFC 8985), a quarter of a round trip; more where round trips vary more.
            apart: Duration::from_nanos((smoothed / 4).max(self.variation)),
        }
    }

    /// How long to wait for an answer after so many waits in vain.
    pub(super) fn timeout(&self, settings: &Settings, in_vain: u8) -> Duration {
        let once = match self.smoothed {
            None => nanos(settings.rto_initial),
            Some(smoothed) => smoothed.saturating_add(self.variation.saturating_mul(4)),
        };
        let once = once.max(nanos(settings.rto_min));
        let factor = 1_u64.checked_shl(in_vain.into()).unwrap_or(u64::MAX);
        let delay = once.saturating_mul(factor).min(nanos(settings.rto_max));
        Duration::from_nanos(delay)
    }
}

/// Whom a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// Resending to, acknowledging and connecting to a partner.
    Partner(Key),
    /// Asking again for a pull's missing data.
    Pull(Key),
    /// A request's deadline.
    Request(RequestId),
}

/// What falls due, soonest first.
///
/// Nothing is ever taken out early: an owner remembers the moment that it is armed for, and recognises entries that
/// mean nothing any more. It is asked for an earlier moment only, and looks at what is really due when it wakes. So a
/// busy partner costs an entry for each time it wakes, not for each message, and an idle one costs nothing.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Reverse<(Time, Whose)>>,
}

impl Schedule {
    /// Makes sure that the owner wakes at `due`, or before. `armed` is when it would wake now.
    pub(super) fn arm(&mut self, armed: &mut Option<Time>, due: Time, whose: Whose) {
        if armed.is_none_or(|armed| due < armed) {
            *armed = Some(due);
            self.heap.push(Reverse((due, whose)));
        }
    }

    /// An entry that cannot be moved: a deadline.
    pub(super) fn add(&mut self, due: Time, whose: Whose) {
        self.heap.push(Reverse((due, whose)));
    }

    /// Takes out what is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<(Time, Whose)> {
        let Reverse((due, _)) = *self.heap.peek()?;
        if due > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// When the first entry is due, be it one that means nothing any more.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_timeout_follows_round_trips_and_doubles_in_vain() {
        let settings = Settings::default();
        let mut trips = RoundTrips::default();
        assert_eq!(trips.timeout(&settings, 0), settings.rto_initial);
        trips.sample(MS * 40);
        assert_eq!(trips.timeout(&settings, 0), MS * 120);
        for _ in 0..200 {
            trips.sample(MS * 40);
        }
        let settled = trips.timeout(&settings, 0);
        assert!(settled >= MS * 40 && settled < MS * 41, "{settled:?}");
        assert_eq!(trips.timeout(&settings, 2), settled * 4);
        assert_eq!(trips.timeout(&settings, 200), settings.rto_max);
    }

    #[test]
    fn short_round_trips_do_not_shorten_the_timeout_below_its_least() {
        let settings = Settings::default();
        let mut trips = RoundTrips::default();
        trips.sample(Duration::from_micros(3));
        assert_eq!(trips.timeout(&settings, 0), settings.rto_min);
    }

    #[test]
    fn an_owner_is_armed_again_only_for_an_earlier_moment() {
        let mut schedule = Schedule::default();
        let mut armed = None;
        let whose = Whose::Partner(Key::new(1));
        schedule.arm(&mut armed, Time::from_nanos(50), whose);
        schedule.arm(&mut armed, Time::from_nanos(60), whose);
        assert_eq!(schedule.next(), Some(Time::from_nanos(50)));
        schedule.arm(&mut armed, Time::from_nanos(40), whose);
        assert_eq!(schedule.pop(Time::from_nanos(39)), None);
        assert_eq!(
            schedule.pop(Time::from_nanos(45)),
            Some((Time::from_nanos(40), whose))
        );
        assert_eq!(schedule.pop(Time::from_nanos(45)), None);
    }
}
