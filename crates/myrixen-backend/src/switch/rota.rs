//! Whose ports are looked at, in which order, and how many of them.
//!
//! A port whose ring says that we sleep *dozes*: whoever puts something into it rings. It is passed over, but for a few in each round, so
//! that what guests cost that say nothing does not grow with their number. Guests with other ports take turns, and so do
//! the ports of each.

use std::collections::BTreeMap;

use mxoe::time::Time;
use slab::Slab;

use crate::ids::GuestId;
use crate::quota::{Bucket, Quota};
use crate::sched::{Deficit, Rotation};

/// One guest's share of a worker.
#[derive(Debug)]
pub(super) struct Turn {
    guest: GuestId,
    /// Its ports that do not doze, by their keys.
    pub(super) awake: Vec<usize>,
    /// All its ports.
    ports: usize,
    pub(super) rotation: Rotation,
    pub(super) deficit: Deficit,
    pub(super) bucket: Option<Bucket>,
    /// Its place among those that have turns; `None` when all its ports doze.
    place: Option<usize>,
}

/// Where a port is listed.
#[derive(Clone, Copy, Debug)]
struct Seat {
    turn: usize,
    dozes: bool,
    /// Its place in the list of its guest's waking ports, or of those that doze.
    place: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rota {
    turns: Slab<Turn>,
    of_guest: BTreeMap<GuestId, usize>,
    /// By the keys of ports.
    seats: Vec<Option<Seat>>,
    /// Guests with ports that do not doze, by the keys of their turns.
    active: Vec<usize>,
    rotation: Rotation,
    dozing: Vec<usize>,
    /// Whose turn it is among them to be looked at.
    glance: Rotation,
}

impl Rota {
    /// Lists a port, awake.
    pub(super) fn add(&mut self, now: Time, key: usize, guest: GuestId, quota: Option<Quota>) {
        let turns = &mut self.turns;
        let turn = *self.of_guest.entry(guest).or_insert_with(|| {
            turns.insert(Turn {
                guest,
                awake: Vec::new(),
                ports: 0,
                rotation: Rotation::default(),
                deficit: Deficit::default(),
                bucket: quota.map(|quota| Bucket::new(now, quota)),
                place: None,
            })
        });
        if self.seats.len() <= key {
            self.seats.resize(key + 1, None);
        }
        self.turns[turn].ports += 1;
        self.seat_awake(key, turn);
    }

    /// Strikes a port off, and its guest with the last one.
    pub(super) fn remove(&mut self, key: usize) {
        let Some(seat) = self.unseat(key) else { return };
        self.turns[seat.turn].ports -= 1;
        if self.turns[seat.turn].ports == 0 {
            let turn = self.turns.remove(seat.turn);
            self.of_guest.remove(&turn.guest);
        }
    }

    /// A port has something to say, or had rung.
    pub(super) fn wake(&mut self, key: usize) {
        if self.seat(key).is_some_and(|seat| seat.dozes)
            && let Some(seat) = self.unseat(key)
        {
            self.seat_awake(key, seat.turn);
        }
    }

    /// Whoever puts something into this port's ring will ring.
    pub(super) fn doze(&mut self, key: usize) {
        if self.seat(key).is_some_and(|seat| !seat.dozes)
            && let Some(seat) = self.unseat(key)
        {
            self.seats[key] = Some(Seat {
                turn: seat.turn,
                dozes: true,
                place: self.dozing.len(),
            });
            self.dozing.push(key);
        }
    }

    /// How many guests have turns.
    pub(super) fn active(&self) -> usize {
        self.active.len()
    }

    /// Whose turn it is, by its key; the next time it is another's.
    pub(super) fn next(&mut self) -> Option<usize> {
        let at = self.rotation.current(self.active.len())?;
        self.rotation.advance();
        self.active.get(at).copied()
    }

    /// The key of a guest's turn that has the `number`th place.
    pub(super) fn nth(&self, number: usize) -> Option<usize> {
        self.active.get(number).copied()
    }

    /// The turn of a port's guest, by its key.
    pub(super) fn turn_of(&self, key: usize) -> Option<usize> {
        self.seat(key).map(|seat| seat.turn)
    }

    pub(super) fn turn(&self, turn: usize) -> Option<&Turn> {
        self.turns.get(turn)
    }

    pub(super) fn turn_mut(&mut self, turn: usize) -> Option<&mut Turn> {
        self.turns.get_mut(turn)
    }

    /// How many ports doze.
    pub(super) fn dozing(&self) -> usize {
        self.dozing.len()
    }

    /// A port that dozes, each time another one.
    pub(super) fn glance(&mut self) -> Option<usize> {
        let at = self.glance.current(self.dozing.len())?;
        self.glance.advance();
        self.dozing.get(at).copied()
    }

    fn seat(&self, key: usize) -> Option<Seat> {
        self.seats.get(key).copied().flatten()
    }

    fn seat_awake(&mut self, key: usize, turn: usize) {
        let Some(of) = self.turns.get_mut(turn) else {
            return;
        };
        self.seats[key] = Some(Seat {
            turn,
            dozes: false,
            place: of.awake.len(),
        });
        of.awake.push(key);
        if of.place.is_none() {
            of.place = Some(self.active.len());
            self.active.push(turn);
        }
    }

    /// Takes a port off its list; whoever was last there gets its place.
    fn unseat(&mut self, key: usize) -> Option<Seat> {
        let seat = self.seats.get_mut(key)?.take()?;
        let list = if seat.dozes {
            &mut self.dozing
        } else {
            &mut self.turns.get_mut(seat.turn)?.awake
        };
        list.swap_remove(seat.place);
        let is_empty = list.is_empty();
        if let Some(&moved) = list.get(seat.place)
            && let Some(Some(moved)) = self.seats.get_mut(moved)
        {
            moved.place = seat.place;
        }
        if is_empty && !seat.dozes {
            self.retire(seat.turn);
        }
        Some(seat)
    }

    /// A guest has no port left that does not doze.
    fn retire(&mut self, turn: usize) {
        let Some(of) = self.turns.get_mut(turn) else {
            return;
        };
        of.deficit.clear();
        let Some(place) = of.place.take() else {
            return;
        };
        self.active.swap_remove(place);
        if let Some(&moved) = self.active.get(place)
            && let Some(moved) = self.turns.get_mut(moved)
        {
            moved.place = Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GuestId = GuestId::new(1);
    const B: GuestId = GuestId::new(2);

    /// Two guests, the first with the ports 0 and 1, the second with port 2.
    fn rota() -> Rota {
        let mut rota = Rota::default();
        for (key, guest) in [(0, A), (1, A), (2, B)] {
            rota.add(Time::ZERO, key, guest, None);
        }
        rota
    }

    fn round(rota: &mut Rota) -> Vec<Vec<usize>> {
        let turns = (0..rota.active()).map(|_| rota.next().unwrap());
        let turns: Vec<usize> = turns.collect();
        let mut ports: Vec<Vec<usize>> = turns
            .iter()
            .map(|&turn| rota.turn(turn).unwrap().awake.clone())
            .collect();
        ports.sort();
        ports
    }

    #[test]
    fn who_dozes_has_no_turn_until_it_wakes() {
        let mut rota = rota();
        assert_eq!(round(&mut rota), [vec![0, 1], vec![2]]);
        rota.doze(0);
        assert_eq!(round(&mut rota), [vec![1], vec![2]]);
        rota.doze(2);
        rota.doze(2);
        assert_eq!(round(&mut rota), [vec![1]]);
        rota.doze(1);
        assert_eq!((rota.active(), rota.dozing()), (0, 3));
        assert_eq!(rota.next(), None);
        rota.wake(2);
        rota.wake(2);
        assert_eq!(round(&mut rota), [vec![2]]);
        assert_eq!(rota.dozing(), 2);
    }

    #[test]
    fn each_that_dozes_is_looked_at_in_turn() {
        let mut rota = rota();
        for key in [0, 1, 2] {
            rota.doze(key);
        }
        let mut seen: Vec<usize> = (0..3).map(|_| rota.glance().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn a_guest_is_forgotten_with_its_last_port() {
        let mut rota = rota();
        rota.doze(0);
        rota.remove(0);
        rota.remove(0);
        assert_eq!(round(&mut rota), [vec![1], vec![2]]);
        rota.remove(1);
        assert_eq!(round(&mut rota), [vec![2]]);
        assert_eq!(rota.turns.len(), 1);
        rota.add(Time::ZERO, 0, B, None);
        assert_eq!(round(&mut rota), [vec![2, 0]]);
    }
}
