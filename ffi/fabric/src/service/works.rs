//! Peers' operations that still move bytes.

use std::collections::HashMap;

use slab::Slab;

use crate::edge::Answer;
use crate::errno::Errno;
use crate::mr::InUse;

/// One of them.
pub(super) struct Work {
    peer: u64,
    /// The memory stays registered for so long. `None` for an answer with bytes of its own.
    pub(super) memory: Option<InUse>,
    pub(super) what: Moves,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    /// Bytes to the peer.
    Out,
    /// Bytes from the peer; the application is told of them with this.
    In(Option<u64>),
}

/// All of an endpoint's, with a limit for each peer, so that one that begins and begins and ends nothing leaves room for others.
#[derive(Default)]
pub(super) struct Works {
    all: Slab<Work>,
    of_peers: HashMap<u64, usize>,
}

/// Operations of all peers that may move bytes at a time: more are refused.
const MOST: usize = 16384;

/// The same, of one peer.
const MOST_OF_ONE: usize = 4096;

impl Works {
    /// Whether this peer may begin one more.
    ///
    /// # Errors
    /// [`Errno::NOMEM`].
    fn admit(&self, peer: u64) -> Answer {
        let its = self.of_peers.get(&peer).copied().unwrap_or(0);
        if self.all.len() >= MOST || its >= MOST_OF_ONE {
            return Err(Errno::NOMEM);
        }
        Ok(())
    }

    /// Whether the limits leave no room for this peer.
    pub(super) fn are_too_many(&self, peer: u64) -> bool {
        self.admit(peer).is_err()
    }

    /// Begins one; gives its number.
    ///
    /// # Errors
    /// [`Errno::NOMEM`] where the limits leave no room.
    pub(super) fn begin(&mut self, peer: u64, memory: Option<InUse>, what: Moves) -> Answer<u64> {
        self.admit(peer)?;
        *self.of_peers.entry(peer).or_default() += 1;
        Ok(self.all.insert(Work { peer, memory, what }) as u64)
    }

    /// Ends the one with this number, if there is one.
    pub(super) fn end(&mut self, number: u64) -> Option<Work> {
        let work = self.all.try_remove(usize::try_from(number).ok()?)?;
        if let Some(its) = self.of_peers.get_mut(&work.peer) {
            *its -= 1;
            if *its == 0 {
                self.of_peers.remove(&work.peer);
            }
        }
        Some(work)
    }

    /// The numbers of those that bring bytes into memory that `is_of` names.
    pub(super) fn to_memory(&self, is_of: impl Fn(&InUse) -> bool) -> Vec<u64> {
        let into = self.all.iter().filter(|(_, work)| {
            matches!(work.what, Moves::In(_)) && work.memory.as_ref().is_some_and(&is_of)
        });
        into.map(|(at, _)| at as u64).collect()
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.of_peers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_ends_nothing_leaves_room_for_others() {
        let mut works = Works::default();
        let begun: Vec<_> = (0..MOST_OF_ONE)
            .map(|_| works.begin(1, None, Moves::Out).expect("room"))
            .collect();
        assert!(works.begin(1, None, Moves::Out).is_err());
        let other = works.begin(2, None, Moves::In(None)).expect("room");
        works.end(begun[7]).expect("there");
        assert!(works.end(begun[7]).is_none());
        works.begin(1, None, Moves::Out).expect("room again");
        works.end(other).expect("there");
        assert_eq!(works.of_peers.len(), 1);
    }

    #[test]
    fn all_peers_together_have_a_limit_too() {
        let mut works = Works::default();
        for peer in 0..(MOST / MOST_OF_ONE) as u64 {
            for _ in 0..MOST_OF_ONE {
                works.begin(peer, None, Moves::Out).expect("room");
            }
        }
        assert!(works.are_too_many(99));
    }
}
