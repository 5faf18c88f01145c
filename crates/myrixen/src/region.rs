//! The memory behind the engine's names: regions of the program, entries of the unexpected store.

use mxoe::engine::{RegionId, Slice, StoreId};

use crate::buffer::{Buffer, Memory};
use crate::shorts::Shorts;

/// Buffers in flight, by the number the engine knows them under: that of the request's place ([`Key::region`](crate::request::Key::region)), so that
/// they need no table of their own.
#[derive(Default)]
pub(crate) struct Regions {
    slots: Vec<Memory>,
    /// Those of short messages.
    pub(crate) shorts: Shorts,
    /// Those that messages to ourselves are copied from, each under a number that no other has had.
    offered: Vec<(u64, RegionId)>,
    /// Numbers given.
    offers: u64,
}

impl Regions {
    /// Gives a new request its buffer.
    #[inline(always)]
    pub(crate) fn put(&mut self, id: RegionId, buffer: impl Buffer) {
        match self.slots.get_mut(id.0 as usize) {
            // Made where it stays.
            Some(slot @ Memory::Empty) => {
                std::mem::forget(std::mem::replace(slot, buffer.into_memory()));
            }
            _ => self.put_anew(id.0 as usize, buffer.into_memory()),
        }
    }

    #[cold]
    fn put_anew(&mut self, at: usize, memory: Memory) {
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || Memory::Empty);
        }
        self.slots[at] = memory;
    }

    /// Whether there is such a region.
    pub(crate) fn holds(&self, id: RegionId) -> bool {
        let held = self.get(id);
        self.shorts.bytes(id).is_some() || held.is_some_and(|held| !matches!(held, Memory::Empty))
    }

    /// Shows a part of a region, piece by piece.
    #[inline]
    pub(crate) fn read(&self, part: &Slice, mut show: impl FnMut(&[u8])) {
        let (offset, len) = (part.offset as usize, part.len as usize);
        if let Some(bytes) = self.shorts.bytes(part.region) {
            if let Some(bytes) = bytes.get(offset..offset.saturating_add(len)) {
                show(bytes);
            }
        } else if let Some(memory) = self.get(part.region) {
            memory.read(offset, len, show);
        }
    }

    /// Has `len` bytes of a region written, piece by piece; `fill` is told how far into the range each piece lies.
    #[inline]
    pub(crate) fn write(
        &mut self,
        region: RegionId,
        offset: usize,
        len: usize,
        mut fill: impl FnMut(usize, &mut [u8]),
    ) {
        if let Some(bytes) = self.shorts.bytes_mut(region) {
            if let Some(bytes) = bytes.get_mut(offset..offset.saturating_add(len)) {
                fill(0, bytes);
            }
        } else if let Some(memory) = self.get_mut(region) {
            memory.write(offset, len, fill);
        }
    }

    pub(crate) fn get(&self, id: RegionId) -> Option<&Memory> {
        self.slots.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: RegionId) -> Option<&mut Memory> {
        self.slots.get_mut(id.0 as usize)
    }

    /// Has a region copied from by whoever has the number that is given back, for as long as the region is there.
    pub(crate) fn offer(&mut self, id: RegionId) -> u64 {
        if let Some((number, _)) = self.offered.iter().find(|(_, held)| *held == id) {
            return *number;
        }
        self.offers += 1;
        self.offered.push((self.offers, id));
        self.offers
    }

    /// Copies `len` bytes from `offset` of an offered region to the same place of another. False if either is not there.
    pub(crate) fn copy_offered(
        &mut self,
        number: u64,
        into: RegionId,
        offset: usize,
        len: usize,
    ) -> bool {
        let offered = self.offered.iter().find(|(held, _)| *held == number);
        let Some(&(_, from)) = offered.filter(|(_, from)| *from != into && self.holds(into)) else {
            return false;
        };
        let Some(slot) = self.get_mut(from) else {
            return false;
        };
        // Out of the table while the other one is written.
        let source = std::mem::replace(slot, Memory::Empty);
        let mut copied = 0;
        source.read(offset, len, |piece| {
            self.write(into, offset + copied, piece.len(), |at, bytes| {
                bytes.copy_from_slice(&piece[at..at + bytes.len()]);
            });
            copied += piece.len();
        });
        if let Some(slot) = self.get_mut(from) {
            *slot = source;
        }
        copied == len
    }

    pub(crate) fn remove(&mut self, id: RegionId) -> Memory {
        if !self.offered.is_empty() {
            self.offered.retain(|(_, held)| *held != id);
        }
        let slot = self.slots.get_mut(id.0 as usize);
        slot.map_or(Memory::Empty, std::mem::take)
    }

    /// As [`remove`](Self::remove), where nobody wants the memory. Most is the program's, and needs no more than to be forgotten.
    #[inline]
    pub(crate) fn let_go(&mut self, id: RegionId) {
        match self.slots.get_mut(id.0 as usize) {
            Some(slot @ Memory::Handed(_)) if self.offered.is_empty() => {
                std::mem::forget(std::mem::take(slot));
            }
            Some(Memory::Empty) | None => {}
            Some(_) => drop(self.remove(id)),
        }
    }
}

/// Payload that arrived before anybody asked for it. The engine numbers the entries and bounds
/// their bytes; this only keeps them.
#[derive(Default)]
pub(crate) struct Store {
    entries: Vec<Vec<u8>>,
}

impl Store {
    /// The bytes of an entry, made on first mention.
    pub(crate) fn entry(&mut self, id: StoreId, size: usize) -> &mut [u8] {
        let at = id.0 as usize;
        if at >= self.entries.len() {
            self.entries.resize_with(at + 1, Vec::new);
        }
        let entry = &mut self.entries[at];
        if entry.len() < size {
            entry.resize(size, 0);
        }
        entry
    }

    pub(crate) fn bytes(&self, id: StoreId) -> &[u8] {
        self.entries.get(id.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// The entry is over. Small ones keep their memory for the next message of that number.
    pub(crate) fn free(&mut self, id: StoreId) {
        const KEEP: usize = 256;
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            if entry.capacity() > KEEP {
                *entry = Vec::new();
            } else {
                entry.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_copied_until_the_region_is_removed() {
        let mut regions = Regions::default();
        let (from, into) = (RegionId(0), RegionId(1));
        regions.put(
            from,
            Memory::Parts(vec![vec![1; 3], Vec::new(), vec![2; 5]]),
        );
        regions.put(into, Memory::Parts(vec![vec![0; 6], vec![0; 2]]));
        let number = regions.offer(from);
        assert_eq!(regions.offer(from), number, "sent again");
        assert!(regions.copy_offered(number, into, 2, 6));
        assert!(!regions.copy_offered(number, into, 2, 7), "it ends before");
        assert!(!regions.copy_offered(number, from, 0, 8), "onto itself");
        assert!(!regions.copy_offered(number + 1, into, 0, 8), "no such");
        assert!(!regions.copy_offered(number, RegionId(7), 0, 8), "nowhere");

        assert!(matches!(regions.remove(from), Memory::Parts(parts) if parts[2] == [2; 5]));
        // Its name is used again.
        regions.put(from, Memory::Vec(vec![9; 8]));
        assert!(!regions.copy_offered(number, into, 0, 8));
        assert_ne!(regions.offer(from), number);
        let into = regions.remove(into);
        assert!(
            matches!(into, Memory::Parts(parts) if parts == [vec![0, 0, 1, 2, 2, 2], vec![2, 2]])
        );
    }
}
