//! Where frames go: the boards of this host and their open endpoints, as one worker knows them.

use std::collections::{HashMap, HashSet};

use mxoe::addr::{Address, EndpointId, NicAddr};
use slab::Slab;

use crate::ids::{PartitionId, WorkerId};

/// Where an endpoint of this host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Place {
    /// Nobody has opened it.
    #[default]
    Closed,
    /// A port of this worker.
    Here(usize),
    /// A port of another worker.
    At(WorkerId),
    /// Nobody has opened it at present: its board's guest is on its way.
    Held,
}

/// A board of this host.
#[derive(Debug)]
struct Board {
    endpoints: Box<[Place; 256]>,
    /// Its guest is being saved, restored or moved.
    held: bool,
}

/// Where a board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// On this host: its place in the table.
    Local(usize),
    /// Not on this host.
    Away,
}

/// The last destination of a sender: most senders keep to one for a while, and hashing costs more
/// than moving a small frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cached {
    partition: PartitionId,
    nic: NicAddr,
    destination: Destination,
    /// Of the table. 0 is never used there.
    generation: u64,
}

impl Default for Cached {
    fn default() -> Self {
        Self {
            partition: PartitionId::new(0),
            nic: NicAddr::ZERO,
            destination: Destination::Away,
            generation: 0,
        }
    }
}

/// The last sender on an uplink that is nobody of this host, for the same reason. Of the table's generation 0 where there was none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    nic: NicAddr,
    generation: u64,
}

impl Default for Stranger {
    fn default() -> Self {
        Self {
            nic: NicAddr::ZERO,
            generation: 0,
        }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    boards: Slab<Board>,
    // Guests and the wire choose the keys that are looked up, this host those that are in it: the
    // standard, keyed hash all the same.
    by_address: HashMap<(PartitionId, NicAddr), usize>,
    /// All local addresses, in whichever partition.
    nics: HashSet<NicAddr>,
    /// Counts changes, so that remembered answers are known to be old.
    generation: u64,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            boards: Slab::new(),
            by_address: HashMap::new(),
            nics: HashSet::new(),
            generation: 1,
        }
    }

    pub(super) fn add_board(&mut self, partition: PartitionId, nic: NicAddr) {
        let boards = &mut self.boards;
        self.by_address.entry((partition, nic)).or_insert_with(|| {
            boards.insert(Board {
                endpoints: Box::new([Place::Closed; 256]),
                held: false,
            })
        });
        self.nics.insert(nic);
        self.generation += 1;
    }

    pub(super) fn remove_board(&mut self, partition: PartitionId, nic: NicAddr) {
        if let Some(index) = self.by_address.remove(&(partition, nic)) {
            self.boards.remove(index);
            // An address belongs to one board in one partition.
            self.nics.remove(&nic);
        }
        self.generation += 1;
    }

    /// Says whether a board's guest is on its way.
    pub(super) fn hold_board(&mut self, partition: PartitionId, nic: NicAddr, held: bool) {
        let index = self.by_address.get(&(partition, nic));
        if let Some(board) = index.and_then(|&i| self.boards.get_mut(i)) {
            board.held = held;
        }
    }

    /// Whether a board's guest is on its way.
    pub(super) fn is_held(&self, partition: PartitionId, nic: NicAddr) -> bool {
        let index = self.by_address.get(&(partition, nic));
        index.is_some_and(|&i| self.boards.get(i).is_some_and(|board| board.held))
    }

    /// Says where an endpoint is; the board is added if need be.
    pub(super) fn set(&mut self, partition: PartitionId, at: Address, place: Place) {
        if !self.by_address.contains_key(&(partition, at.nic)) {
            if place == Place::Closed {
                return;
            }
            self.add_board(partition, at.nic);
        }
        let board = self
            .by_address
            .get(&(partition, at.nic))
            .and_then(|&i| self.boards.get_mut(i));
        if let Some(board) = board {
            board.endpoints[usize::from(at.endpoint.get())] = place;
        }
    }

    /// Whether a board of this host has the address, in whichever partition. Remembers who had none last.
    pub(super) fn is_local(&self, last: &mut Stranger, nic: NicAddr) -> bool {
        if last.nic == nic && last.generation == self.generation {
            return false;
        }
        let local = self.nics.contains(&nic);
        if !local {
            *last = Stranger {
                nic,
                generation: self.generation,
            };
        }
        local
    }

    /// Where the board is that a frame is for.
    pub(super) fn find(&self, partition: PartitionId, nic: NicAddr) -> Destination {
        match self.by_address.get(&(partition, nic)) {
            Some(&index) => Destination::Local(index),
            None => Destination::Away,
        }
    }

    /// As [`Self::find`], remembering the last answer.
    pub(super) fn find_cached(
        &self,
        cache: &mut Cached,
        partition: PartitionId,
        nic: NicAddr,
    ) -> Destination {
        let known = cache.partition == partition && cache.nic == nic;
        if known && cache.generation == self.generation {
            return cache.destination;
        }
        let destination = self.find(partition, nic);
        *cache = Cached {
            partition,
            nic,
            destination,
            generation: self.generation,
        };
        destination
    }

    /// Where an endpoint of a local board is.
    pub(super) fn place(&self, board: usize, endpoint: EndpointId) -> Place {
        let Some(board) = self.boards.get(board) else {
            return Place::Closed;
        };
        match board.endpoints[usize::from(endpoint.get())] {
            Place::Closed if board.held => Place::Held,
            place => place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId::new(0);
    const Q: PartitionId = PartitionId::new(1);
    const NIC: NicAddr = NicAddr::new([2, 0, 0, 0, 0, 1]);

    #[test]
    fn an_address_means_nothing_in_another_partition() {
        let mut table = Table::new();
        table.set(P, Address::new(NIC, EndpointId::new(3)), Place::Here(7));
        let Destination::Local(board) = table.find(P, NIC) else {
            panic!("not found")
        };
        assert_eq!(table.place(board, EndpointId::new(3)), Place::Here(7));
        assert_eq!(table.place(board, EndpointId::new(4)), Place::Closed);
        assert_eq!(table.find(Q, NIC), Destination::Away);
    }

    #[test]
    fn a_remembered_answer_does_not_outlive_its_board() {
        let mut table = Table::new();
        let mut cache = Cached::default();
        assert_eq!(table.find_cached(&mut cache, P, NIC), Destination::Away);
        table.add_board(P, NIC);
        assert!(matches!(
            table.find_cached(&mut cache, P, NIC),
            Destination::Local(_)
        ));
        assert_eq!(table.find_cached(&mut cache, Q, NIC), Destination::Away);
        assert!(matches!(
            table.find_cached(&mut cache, P, NIC),
            Destination::Local(_)
        ));
        table.remove_board(P, NIC);
        assert_eq!(table.find_cached(&mut cache, P, NIC), Destination::Away);
    }

    #[test]
    fn a_stranger_that_comes_here_is_not_taken_for_one() {
        let mut table = Table::new();
        let mut last = Stranger::default();
        assert!(!table.is_local(&mut last, NIC));
        assert!(!table.is_local(&mut last, NIC));
        table.add_board(P, NIC);
        assert!(table.is_local(&mut last, NIC));
        table.remove_board(P, NIC);
        assert!(!table.is_local(&mut last, NIC));
    }
}
