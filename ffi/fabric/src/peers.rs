//! Which peer of an endpoint is at which place of its address vector: looked up for every operation, without a lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::errno::Errno;

const BLOCK: usize = 1024;
/// Places of an address vector: as many as an endpoint can have partners, and more.
pub(crate) const PLACES: usize = BLOCK * BLOCK;

/// How far a connect has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    Asked,
    Failed(Errno),
}

/// What is kept for a peer's number, and the number that this is kept for. An endpoint's first peer has the number 0; none has that of which all bits are set.
#[inline]
fn kept(word: u64) -> u64 {
    !word
}

/// See the module.
pub(crate) struct Peers {
    /// The engine's numbers, by place, as [`kept`]; 0: not known.
    blocks: Box<[OnceLock<Box<[AtomicU64; BLOCK]>>]>,
    links: Mutex<HashMap<u64, Link>>,
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self {
            blocks: (0..BLOCK).map(|_| OnceLock::new()).collect(),
            links: Mutex::default(),
        }
    }

    fn slot(&self, place: u64) -> Option<&AtomicU64> {
        let place = usize::try_from(place).ok()?;
        let block = self.blocks.get(place / BLOCK)?.get()?;
        block.get(place % BLOCK)
    }

    /// The peer at a place, if it is known.
    #[inline]
    pub(crate) fn get(&self, place: u64) -> Option<u64> {
        let word = self.slot(place)?.load(Ordering::Relaxed);
        (word != 0).then_some(kept(word))
    }

    /// The peer at a place is this one from now on.
    pub(crate) fn set(&self, place: u64, id: u64) {
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        let Some(block) = self.blocks.get(at / BLOCK) else {
            return;
        };
        let block = block.get_or_init(|| Box::new([const { AtomicU64::new(0) }; BLOCK]));
        block[at % BLOCK].store(kept(id), Ordering::Relaxed);
    }

    /// The place is free, or its peer to be looked up anew.
    pub(crate) fn forget(&self, place: u64) {
        if let Some(slot) = self.slot(place) {
            slot.store(0, Ordering::Relaxed);
        }
        self.links().remove(&place);
    }

    /// The connects that are under way, or have failed and nobody has been told.
    pub(crate) fn links(&self) -> MutexGuard<'_, HashMap<u64, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_apart_and_can_be_forgotten() {
        let peers = Peers::new();
        assert_eq!(peers.get(0), None);
        // The first peer of an endpoint is number 0.
        peers.set(0, 0);
        peers.set(5000, 8);
        assert_eq!((peers.get(0), peers.get(5000)), (Some(0), Some(8)));
        assert_eq!(peers.get(1), None);
        peers.forget(0);
        assert_eq!((peers.get(0), peers.get(5000)), (None, Some(8)));
        peers.set(u64::MAX, 9);
        assert_eq!(peers.get(u64::MAX), None);
    }
}
