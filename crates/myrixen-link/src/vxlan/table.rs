//! Which address is behind which remote end, learnt from what arrives (RFC 7348, section 4.1).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::remote::RemoteId;

/// An address within a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Station {
    pub(super) vni: u32,
    pub(super) mac: Mac,
}

/// An address in one word. What is put together of smaller pieces and read as a whole has to be in the cache first, behind
/// whatever was copied before: for each frame that is as long as copying it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mac(u64);

impl Mac {
    /// The address that these bytes begin with, in a single load; two follow it in any frame.
    pub(super) fn leading([a, b, c, d, e, f, _, _]: [u8; 8]) -> Self {
        Self(u64::from_be_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// Whether it is a group's.
    pub(super) fn is_group(self) -> bool {
        self.0 >> 56 & 1 != 0
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    remote: RemoteId,
    seen: Instant,
}

/// What learning a station's place came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learnt {
    /// It was known to be there.
    Known,
    /// It is new, or has moved.
    New,
    /// There is no room; frames to it are flooded.
    NoRoom,
}

/// A bounded table that forgets.
#[derive(Debug)]
pub(super) struct Table {
    // The default hasher is keyed: remote ends choose the addresses.
    places: HashMap<Station, Place>,
    limit: usize,
    age: Duration,
    swept: Option<Instant>,
}

impl Table {
    /// A table for `limit` stations that forgets those not heard of for `age`.
    pub(super) fn new(limit: usize, age: Duration) -> Self {
        Self {
            places: HashMap::new(),
            limit,
            age,
            swept: None,
        }
    }

    /// Where a station was last heard of.
    pub(super) fn find(&self, station: Station, now: Instant) -> Option<RemoteId> {
        let place = self.places.get(&station)?;
        (now.saturating_duration_since(place.seen) < self.age).then_some(place.remote)
    }

    /// Notes where a station is.
    pub(super) fn learn(&mut self, station: Station, remote: RemoteId, now: Instant) -> Learnt {
        let place = Place { remote, seen: now };
        if let Some(known) = self.places.get_mut(&station) {
            let moved = known.remote != remote;
            *known = place;
            return if moved { Learnt::New } else { Learnt::Known };
        }
        if self.places.len() >= self.limit {
            self.sweep(now);
        }
        if self.places.len() >= self.limit {
            return Learnt::NoRoom;
        }
        self.places.insert(station, place);
        Learnt::New
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    /// Drops what is too old. At most once a second: it visits the whole table, and a stream of
    /// new addresses must not cost that each time.
    fn sweep(&mut self, now: Instant) {
        const PAUSE: Duration = Duration::from_secs(1);
        if self
            .swept
            .is_some_and(|last| now.saturating_duration_since(last) < PAUSE)
        {
            return;
        }
        self.swept = Some(now);
        let age = self.age;
        self.places
            .retain(|_, place| now.saturating_duration_since(place.seen) < age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(300);

    fn station(vni: u32, last: u8) -> Station {
        Station {
            vni,
            mac: Mac::leading([2, 0, 0, 0, 0, last, 0, 0]),
        }
    }

    #[test]
    fn a_station_is_found_where_it_was_heard_last() {
        let (mut table, now) = (Table::new(4, AGE), Instant::now());
        let [a, b] = [RemoteId::new(0), RemoteId::new(1)];
        assert_eq!(table.learn(station(1, 1), a, now), Learnt::New);
        assert_eq!(table.learn(station(1, 1), a, now), Learnt::Known);
        assert_eq!(table.find(station(1, 1), now), Some(a));
        assert_eq!(table.find(station(2, 1), now), None, "another network");
        assert_eq!(table.learn(station(1, 1), b, now), Learnt::New);
        assert_eq!(table.find(station(1, 1), now), Some(b));
    }

    #[test]
    fn a_silent_station_is_forgotten_and_makes_room() {
        let (mut table, start) = (Table::new(2, AGE), Instant::now());
        let remote = RemoteId::new(0);
        table.learn(station(1, 1), remote, start);
        table.learn(station(1, 2), remote, start + AGE / 2);
        assert_eq!(
            table.learn(station(1, 3), remote, start + AGE / 2),
            Learnt::NoRoom
        );
        let later = start + AGE;
        assert_eq!(table.find(station(1, 1), later), None);
        assert_eq!(table.find(station(1, 2), later), Some(remote));
        assert_eq!(table.learn(station(1, 3), remote, later), Learnt::New);
        assert_eq!(table.learn(station(1, 4), remote, later), Learnt::NoRoom);
    }
}
