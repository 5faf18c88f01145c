//! The memory behind the engine's names: regions of the program, entries of the unexpected store.

use mxoe::engine::{RegionId, StoreId};
use slab::Slab;

use crate::buffer::{Memory, Short};

/// Buffers in flight, by the number the engine knows them under.
#[derive(Default)]
pub(crate) struct Regions {
    slots: Slab<Memory>,
}

impl Regions {
    pub(crate) fn add(&mut self, memory: Memory) -> RegionId {
        RegionId(index(self.slots.insert(memory)))
    }

    /// Memory for a short payload of `len` bytes, which `fill` writes where it stays: moving it costs more than the rest of it.
    pub(crate) fn add_short(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> RegionId {
        let at = self.slots.insert(Memory::Inline(Short::blank(len)));
        if let Memory::Inline(short) = &mut self.slots[at] {
            fill(short.bytes_mut());
        }
        RegionId(index(at))
    }

    pub(crate) fn get(&self, id: RegionId) -> Option<&Memory> {
        self.slots.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: RegionId) -> Option<&mut Memory> {
        self.slots.get_mut(id.0 as usize)
    }

    pub(crate) fn remove(&mut self, id: RegionId) -> Memory {
        self.slots
            .try_remove(id.0 as usize)
            .unwrap_or(Memory::Empty)
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

fn index(key: usize) -> u32 {
    u32::try_from(key).expect("more than 2^32 buffers in flight")
}
