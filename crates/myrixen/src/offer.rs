//! Rendezvous data read in place: what a sender attaches to a RNDV on a direct channel, and how a
//! receiver reads it with one copy instead of pulling frames.
//!
//! The hint's layout is in docs/ring-abi.md, "Hints". A *guard* word in a pool of the sender's tells
//! whether the data still is what was offered: the sender changes it before it lets go of the
//! buffer, and the receiver looks at it after copying.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mxoe::engine::{OfferId, RegionId};
use myrixen_platform::memory::PeerMemory;
use myrixen_shm::{Pages, Pool, PoolBuf};
use slab::Slab;

use crate::buffer::Memory;
use crate::region::Regions;

const KIND_POOL: u16 = 1;
const KIND_MEMORY: u16 = 2;
const KIND_LENT: u16 = 3;
const HEADER: usize = 16;
const ENTRY: usize = 16;
/// Pieces a hint may name. A buffer in more pieces is pulled instead.
const MAX_PIECES: usize = 16;
/// The longest hint: what a ring's largest record must leave room for.
pub(crate) const MAX_HINT: usize = HEADER + MAX_PIECES * ENTRY;
/// The length of the hint on a message to ourselves: the number that our regions know the offer by.
pub(crate) const OWN_HINT: usize = 8;
/// Guard words of one pool: more rendezvous sends than this at a time go without an offer.
const GUARDS: usize = 256;
/// The bytes that they take of it.
pub(crate) const GUARD_BYTES: usize = GUARDS * 8;

/// For whom a pool can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every direct partner that the fabric's pool is handed to.
    Partners,
    /// The other end of one direct channel.
    One,
}

/// A pool that others read, and the guard words in it.
pub(crate) struct Guards {
    pool: Pool,
    audience: Audience,
    words: Arc<Mutex<Words>>,
}

struct Words {
    bytes: PoolBuf,
    free: Vec<usize>,
}

/// One guard in use: tells its offer from every earlier one. When it is dropped, the offer is over: whoever still reads will find out.
pub(crate) struct Guard {
    words: Arc<Mutex<Words>>,
    index: usize,
    value: u64,
}

fn lock(words: &Mutex<Words>) -> MutexGuard<'_, Words> {
    // A list of numbers and words that are stored whole: nothing is left half done.
    words.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guards {
    /// `None` if the pool is used up.
    pub(crate) fn new(pool: &Pool, audience: Audience) -> Option<Self> {
        let words = Words {
            bytes: pool.alloc(GUARD_BYTES)?,
            free: (0..GUARDS).rev().collect(),
        };
        Some(Self {
            pool: pool.clone(),
            audience,
            words: Arc::new(Mutex::new(words)),
        })
    }

    /// The pool that they guard.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn take(&self) -> Option<Guard> {
        let mut words = lock(&self.words);
        let index = words.free.pop()?;
        let mut value = [0; 8];
        value.copy_from_slice(&words.bytes[index * 8..index * 8 + 8]);
        Some(Guard {
            words: Arc::clone(&self.words),
            index,
            value: u64::from_ne_bytes(value),
        })
    }
}

impl Guard {
    /// Whether it is one of these.
    pub(crate) fn is_of(&self, guards: &Guards) -> bool {
        Arc::ptr_eq(&self.words, &guards.words)
    }

    /// Where in the pool.
    fn offset(&self) -> u64 {
        lock(&self.words).bytes.offset() + self.index as u64 * 8
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut words = lock(&self.words);
        let next = self.value.wrapping_add(1);
        words
            .bytes
            .store_u64(self.index * 8, next, Ordering::Relaxed);
        fence(Ordering::SeqCst); // before the buffer is used again; pairs with: still_valid
        words.free.push(self.index);
    }
}

/// What a direct channel lets the other end read.
#[derive(Clone, Copy)]
pub(crate) struct Readable {
    /// The other end has the fabric's pool mapped.
    pub(crate) pool: bool,
    /// The other end can read our memory through the kernel.
    pub(crate) memory: bool,
}

/// Writes the hint for `memory` into `hint`, if it can be read in place. Returns its length.
pub(crate) fn describe(
    memory: &Memory,
    guards: &Guards,
    guard: &Guard,
    readable: Readable,
    hint: &mut [u8; MAX_HINT],
) -> Option<usize> {
    let mut pieces = [(0u64, 0u64); MAX_PIECES];
    let mut count = 0;
    let kind = match memory {
        Memory::Pool(buffer) if guards.pool.owns(buffer) => {
            pieces[0] = (buffer.offset(), buffer.len() as u64);
            count = 1;
            match guards.audience {
                Audience::One => KIND_LENT,
                Audience::Partners if readable.pool => KIND_POOL,
                Audience::Partners => return None,
            }
        }
        // Reading through the kernel still needs the guard word, which is in the pool.
        _ if readable.memory && readable.pool && guards.audience == Audience::Partners => {
            let mut fits = true;
            memory.read(0, memory.len(), |piece| match pieces.get_mut(count) {
                Some(slot) => {
                    *slot = (piece.as_ptr() as u64, piece.len() as u64);
                    count += 1;
                }
                None => fits = false,
            });
            if !fits || count == 0 {
                return None;
            }
            KIND_MEMORY
        }
        _ => return None,
    };
    hint[..2].copy_from_slice(&kind.to_le_bytes());
    hint[2..4].copy_from_slice(&u16::try_from(count).ok()?.to_le_bytes());
    hint[4..8].copy_from_slice(&u32::try_from(guard.offset()).ok()?.to_le_bytes());
    hint[8..16].copy_from_slice(&guard.value.to_le_bytes());
    for (i, (at, len)) in pieces[..count].iter().enumerate() {
        let entry = &mut hint[HEADER + i * ENTRY..][..ENTRY];
        entry[..8].copy_from_slice(&at.to_le_bytes());
        entry[8..].copy_from_slice(&len.to_le_bytes());
    }
    Some(HEADER + count * ENTRY)
}

/// What the other end of a direct channel lets us read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Theirs {
    /// The pool of its fabric.
    pub(crate) pool: Option<Pages>,
    /// The pool that it has lent us alone.
    pub(crate) lent: Option<Pages>,
    /// Its memory, where the kernel lets us (the channel's probe says so).
    pub(crate) memory: Option<PeerMemory>,
}

/// Data that has been offered.
pub(crate) enum Offer {
    /// A partner's.
    Theirs(Described),
    /// Our own, in a message to ourselves, by the number that our regions know it by.
    Own(u64),
}

/// Data that a partner has offered. Its numbers are the partner's: nothing here is trusted.
pub(crate) struct Described {
    kind: u16,
    guard_at: u32,
    guard: u64,
    pieces: Vec<(u64, u64)>,
    pool: Pages,
    /// The memory to read, where the channel's probe has shown that we can.
    memory: Option<PeerMemory>,
    /// The number of the path by which it came.
    path: usize,
}

impl Offer {
    /// Reads a hint of ours.
    pub(crate) fn own(hint: [u8; OWN_HINT]) -> Self {
        Self::Own(u64::from_le_bytes(hint))
    }

    /// Reads a hint that came by that path. `None` if it makes no sense, or names what we cannot read (yet): the message is then pulled.
    pub(crate) fn parse(hint: &[u8], readable: &Theirs, path: usize) -> Option<Self> {
        Described::parse(hint, readable, path).map(Self::Theirs)
    }

    /// The path by which its owner may be asked for the data instead.
    pub(crate) fn asked_on(&self) -> Option<usize> {
        match self {
            Self::Theirs(described) => described.asked_on(),
            Self::Own(_) => None,
        }
    }

    /// Copies `len` bytes from `offset` of the offered data to the same place of a region. False if they cannot be read, or there is no such region.
    pub(crate) fn read(
        &self,
        regions: &mut Regions,
        into: RegionId,
        offset: usize,
        len: usize,
    ) -> bool {
        match self {
            Self::Theirs(described) => described.read(regions, into, offset, len),
            Self::Own(number) => regions.copy_offered(*number, into, offset, len),
        }
    }

    /// Whether the data was still the offered one, after it has been copied.
    pub(crate) fn still_valid(&self) -> bool {
        match self {
            Self::Theirs(described) => described.still_valid(),
            // Nobody else comes in while it is copied.
            Self::Own(_) => true,
        }
    }
}

impl Described {
    fn parse(hint: &[u8], readable: &Theirs, path: usize) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(hint.get(at..at + 2)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(hint.get(at..at + 8)?.try_into().ok()?));
        let kind = u16_at(0)?;
        let count = usize::from(u16_at(2)?);
        let guard_at = u32::from_le_bytes(hint.get(4..8)?.try_into().ok()?);
        let memory = readable.memory;
        let pool = match kind {
            KIND_POOL => readable.pool.clone()?,
            KIND_MEMORY if memory.is_some() => readable.pool.clone()?,
            KIND_LENT => readable.lent.clone()?,
            _ => return None,
        };
        let aligned = guard_at % 8 == 0 && guard_at as usize + 8 <= pool.len();
        if !aligned || count == 0 || count > MAX_PIECES {
            return None;
        }
        let mut pieces = Vec::with_capacity(count);
        for i in 0..count {
            let at = HEADER + i * ENTRY;
            let (from, len) = (u64_at(at)?, u64_at(at + 8)?);
            let end = from.checked_add(len)?;
            if kind != KIND_MEMORY && end > pool.len() as u64 {
                return None;
            }
            pieces.push((from, len));
        }
        Some(Self {
            kind,
            guard_at,
            guard: u64_at(8)?,
            pieces,
            pool,
            memory,
            path,
        })
    }

    /// Only where reading goes through the kernel, which costs more than it saves while both ends are awake.
    fn asked_on(&self) -> Option<usize> {
        (self.kind == KIND_MEMORY).then_some(self.path)
    }

    fn read(&self, regions: &mut Regions, into: RegionId, offset: usize, len: usize) -> bool {
        if !regions.holds(into) {
            return false;
        }
        let mut copied = 0;
        let mut skip = offset as u64;
        for &(from, piece) in &self.pieces {
            if skip >= piece {
                skip -= piece;
                continue;
            }
            let take = usize::try_from(piece - skip).map_or(len - copied, |n| n.min(len - copied));
            let mut ok = true;
            regions.write(into, offset + copied, take, |at, bytes| {
                ok &= self.read_piece(from + skip + at as u64, bytes);
            });
            if !ok {
                return false;
            }
            copied += take;
            skip = 0;
            if copied == len {
                return true;
            }
        }
        false
    }

    fn read_piece(&self, from: u64, into: &mut [u8]) -> bool {
        if self.kind != KIND_MEMORY {
            let Ok(from) = usize::try_from(from) else {
                return false;
            };
            self.pool.read(from, into);
            return true;
        }
        self.memory
            .is_some_and(|memory| memory.read(from, into).is_ok_and(|read| read == into.len()))
    }

    fn still_valid(&self) -> bool {
        fence(Ordering::Acquire); // after the copy; pairs with: revoke
        self.pool
            .load_u64(self.guard_at as usize, Ordering::Acquire)
            == self.guard
    }
}

/// The offers of partners that the engine still holds.
#[derive(Default)]
pub(crate) struct Offers {
    slots: Slab<Offer>,
}

impl Offers {
    /// Offers held at a time: as many as an endpoint may have pulls.
    const LIMIT: usize = 1024;

    pub(crate) fn add(&mut self, offer: Offer) -> Option<OfferId> {
        if self.slots.len() >= Self::LIMIT {
            return None;
        }
        Some(OfferId(u32::try_from(self.slots.insert(offer)).ok()?))
    }

    pub(crate) fn get(&self, id: OfferId) -> Option<&Offer> {
        self.slots.get(id.0 as usize)
    }

    pub(crate) fn remove(&mut self, id: OfferId) {
        self.slots.try_remove(id.0 as usize);
    }
}

#[cfg(test)]
mod tests {
    use myrixen_shm::Access;

    use super::*;

    const NOTHING: Readable = Readable {
        pool: false,
        memory: false,
    };

    fn pool() -> (Pool, Pages) {
        let pool = Pool::new(1 << 20).unwrap();
        let seen = Pages::map(&pool.fd(), 0, pool.len(), Access::ReadOnly).unwrap();
        (pool, seen)
    }

    fn buffer(pool: &Pool, byte: u8) -> Memory {
        let mut buffer = pool.alloc(10_000).unwrap();
        buffer.fill(byte);
        Memory::Pool(buffer)
    }

    #[test]
    fn what_is_lent_to_one_is_read_by_it_until_the_guard_is_dropped() {
        let (pool, seen) = pool();
        let guards = Guards::new(&pool, Audience::One).unwrap();
        let memory = buffer(&pool, 7);
        let guard = guards.take().unwrap();
        let mut hint = [0; MAX_HINT];
        let len = describe(&memory, &guards, &guard, NOTHING, &mut hint).unwrap();

        let borrowed = Theirs {
            lent: Some(seen.clone()),
            ..Theirs::default()
        };
        let offer = Offer::parse(&hint[..len], &borrowed, 1).unwrap();
        let mut regions = Regions::default();
        let into = RegionId(0);
        regions.put(into, Memory::Vec(vec![0; 10_000]));
        assert!(offer.read(&mut regions, into, 0, 10_000) && offer.still_valid());
        let into = regions.remove(into);
        assert!(!offer.read(&mut regions, RegionId(7), 0, 10_000), "no such");
        assert!(matches!(&into, Memory::Vec(bytes) if bytes.iter().all(|byte| *byte == 7)));
        drop(guard);
        assert!(!offer.still_valid());

        // Who has the fabric's pool and not this one pulls.
        let other = Theirs {
            pool: Some(seen),
            ..Theirs::default()
        };
        assert!(Offer::parse(&hint[..len], &other, 1).is_none());
    }

    #[test]
    fn only_memory_of_a_pool_that_is_read_there_is_offered() {
        let ((ours, _), (lent, _)) = (pool(), pool());
        let guards = Guards::new(&ours, Audience::Partners).unwrap();
        let guard = guards.take().unwrap();
        let mut hint = [0; MAX_HINT];
        let everything = Readable {
            pool: true,
            memory: false,
        };
        let mut offers =
            |memory: &Memory, to| describe(memory, &guards, &guard, to, &mut hint).is_some();
        assert!(offers(&buffer(&ours, 1), everything));
        assert!(!offers(&buffer(&ours, 1), NOTHING));
        assert!(!offers(&buffer(&lent, 1), everything));
        assert!(!offers(&Memory::Vec(vec![1; 10_000]), everything));
    }

    #[test]
    fn a_guard_used_again_has_another_value() {
        let (pool, _) = pool();
        let guards = Guards::new(&pool, Audience::One).unwrap();
        let first = guards.take().unwrap();
        let (index, value) = (first.index, first.value);
        drop(first);
        let second = guards.take().unwrap();
        assert_eq!(second.index, index);
        assert_ne!(second.value, value);
    }
}
