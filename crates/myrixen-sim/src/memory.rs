//! What a driver keeps for its engine: the program's buffers and the unexpected store.

use std::collections::BTreeMap;

use mxoe::engine::{Placement, RegionId, StoreId, Target};

use crate::violation::Violation;

/// A buffer of the program.
#[derive(Debug)]
enum Buffer {
    /// Sent from; never written.
    Source(&'static [u8]),
    /// Received into.
    Sink(Vec<u8>),
}

/// The memory of one node.
#[derive(Debug)]
pub(crate) struct Memory {
    node: usize,
    regions: Vec<Option<Buffer>>,
    /// Numbers of regions that were given back; used again at once, so that a late use of one is seen.
    free: Vec<u32>,
    store: BTreeMap<StoreId, Vec<u8>>,
    stored: u64,
    /// What the store may hold.
    most: u64,
}

impl Memory {
    /// Empty memory whose store may hold so many bytes.
    #[must_use]
    pub(crate) fn new(node: usize, most: u64) -> Self {
        Self {
            node,
            regions: Vec::new(),
            free: Vec::new(),
            store: BTreeMap::new(),
            stored: 0,
            most,
        }
    }

    /// Lends bytes to be sent.
    pub(crate) fn lend(&mut self, bytes: &'static [u8]) -> RegionId {
        self.add(Buffer::Source(bytes))
    }

    /// Makes a buffer to receive into.
    pub(crate) fn buffer(&mut self, len: u32) -> RegionId {
        self.add(Buffer::Sink(vec![0; len as usize]))
    }

    fn add(&mut self, buffer: Buffer) -> RegionId {
        if let Some(number) = self.free.pop() {
            if let Some(place) = self.regions.get_mut(number as usize) {
                *place = Some(buffer);
            }
            return RegionId(number);
        }
        self.regions.push(Some(buffer));
        RegionId(u32::try_from(self.regions.len() - 1).unwrap_or(u32::MAX))
    }

    /// Takes a buffer back when its request has ended; gives what was received, empty for one that was lent.
    ///
    /// # Errors
    ///
    /// When it was taken back before.
    pub(crate) fn take(&mut self, region: RegionId) -> Result<Vec<u8>, Violation> {
        let buffer = self
            .regions
            .get_mut(region.0 as usize)
            .and_then(Option::take);
        let buffer = buffer.ok_or_else(|| self.bad_region(region, 0, 0, 0))?;
        self.free.push(region.0);
        Ok(match buffer {
            Buffer::Source(_) => Vec::new(),
            Buffer::Sink(bytes) => bytes,
        })
    }

    /// Bytes of a buffer.
    ///
    /// # Errors
    ///
    /// When there are no such bytes.
    pub(crate) fn slice(
        &self,
        region: RegionId,
        offset: u32,
        len: usize,
    ) -> Result<&[u8], Violation> {
        let bytes: &[u8] = match self.regions.get(region.0 as usize) {
            Some(Some(Buffer::Source(bytes))) => bytes,
            Some(Some(Buffer::Sink(bytes))) => bytes,
            _ => return Err(self.bad_region(region, offset, len, 0)),
        };
        let start = offset as usize;
        bytes
            .get(start..start + len)
            .ok_or_else(|| self.bad_region(region, offset, len, bytes.len()))
    }

    /// Carries a placement out.
    ///
    /// # Errors
    ///
    /// When it lies outside its frame, or its target outside what there is.
    pub(crate) fn place(&mut self, frame: &[u8], placement: &Placement) -> Result<(), Violation> {
        let node = self.node;
        let bytes = frame
            .get(placement.payload.clone())
            .filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| Violation::BadFrame {
            node,
            what: format!(
                "a placement of {:?} in {} bytes",
                placement.payload,
                frame.len()
            ),
        })?;
        match placement.target {
            Target::Region { region, offset } => self.write(region, offset, bytes),
            Target::Store { id, size, offset } => self.put(id, size, offset, bytes),
        }
    }

    fn write(&mut self, region: RegionId, offset: u32, bytes: &[u8]) -> Result<(), Violation> {
        let len = bytes.len();
        let size = match self.regions.get_mut(region.0 as usize) {
            Some(Some(Buffer::Sink(to))) => {
                let start = offset as usize;
                if let Some(to) = to.get_mut(start..start + len) {
                    to.copy_from_slice(bytes);
                    return Ok(());
                }
                to.len()
            }
            _ => 0,
        };
        Err(self.bad_region(region, offset, len, size))
    }

    fn put(&mut self, id: StoreId, size: u32, offset: u32, bytes: &[u8]) -> Result<(), Violation> {
        let (node, most) = (self.node, self.most);
        let bad = |what| Violation::BadStore {
            node,
            store: id,
            what,
        };
        if !self.store.contains_key(&id) {
            self.stored += u64::from(size);
            if self.stored > most {
                return Err(Violation::StoreOverfull {
                    node,
                    bytes: self.stored,
                    most,
                });
            }
        }
        let entry = self
            .store
            .entry(id)
            .or_insert_with(|| vec![0; size as usize]);
        if entry.len() != size as usize {
            return Err(bad("another size than at first"));
        }
        let start = offset as usize;
        let to = entry
            .get_mut(start..start + bytes.len())
            .ok_or_else(|| bad("outside the entry"))?;
        to.copy_from_slice(bytes);
        Ok(())
    }

    /// Copies the beginning of an entry to a buffer.
    ///
    /// # Errors
    ///
    /// When either is not there or too short.
    pub(crate) fn copy(&mut self, from: StoreId, to: RegionId, len: u32) -> Result<(), Violation> {
        let node = self.node;
        // Taken out and put back: the buffer is of the same memory.
        let entry = self.store.remove(&from);
        let entry = entry.ok_or(Violation::BadStore {
            node,
            store: from,
            what: "copied without being there",
        })?;
        let bytes = entry.get(..len as usize);
        let bytes = bytes.ok_or(Violation::BadStore {
            node,
            store: from,
            what: "copied beyond its end",
        })?;
        self.write(to, 0, bytes)?;
        self.store.insert(from, entry);
        Ok(())
    }

    /// Frees an entry.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub(crate) fn free(&mut self, id: StoreId) -> Result<(), Violation> {
        let gone = self.store.remove(&id);
        let gone = gone.ok_or(Violation::BadStore {
            node: self.node,
            store: id,
            what: "freed without being there",
        })?;
        self.stored -= gone.len() as u64;
        Ok(())
    }

    /// What an entry holds.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub(crate) fn stored(&self, id: StoreId) -> Result<&[u8], Violation> {
        let entry = self.store.get(&id).map(Vec::as_slice);
        entry.ok_or(Violation::BadStore {
            node: self.node,
            store: id,
            what: "looked at without being there",
        })
    }

    /// Writes fetched data to the beginning of a buffer.
    ///
    /// # Errors
    ///
    /// When the buffer is not there or too short.
    pub(crate) fn fill(&mut self, region: RegionId, bytes: &[u8]) -> Result<(), Violation> {
        self.write(region, 0, bytes)
    }

    /// Entries of the store, and buffers.
    #[must_use]
    pub(crate) fn in_use(&self) -> (usize, usize) {
        (self.store.len(), self.regions.len() - self.free.len())
    }

    fn bad_region(&self, region: RegionId, offset: u32, len: usize, size: usize) -> Violation {
        Violation::BadRegion {
            node: self.node,
            region,
            offset,
            len,
            size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_taken_back_is_gone() {
        let mut memory = Memory::new(0, 100);
        let region = memory.buffer(10);
        assert!(memory.fill(region, &[1, 2]).is_ok());
        assert_eq!(
            memory.take(region).expect("there").get(..3),
            Some(&[1, 2, 0][..])
        );
        assert!(memory.take(region).is_err());
        assert!(memory.fill(region, &[1]).is_err());
        assert!(memory.slice(region, 0, 1).is_err());
    }

    #[test]
    fn what_is_lent_is_never_written() {
        let mut memory = Memory::new(0, 100);
        let region = memory.lend(b"abc");
        assert_eq!(memory.slice(region, 1, 2), Ok(&b"bc"[..]));
        assert!(memory.slice(region, 1, 3).is_err());
        assert!(memory.fill(region, b"x").is_err());
    }

    #[test]
    fn the_store_keeps_its_rules() {
        let mut memory = Memory::new(0, 100);
        let target = |id, size, offset| Target::Store {
            id: StoreId(id),
            size,
            offset,
        };
        let place = |memory: &mut Memory, target| {
            memory.place(
                b"..abc",
                &Placement {
                    payload: 2..5,
                    target,
                },
            )
        };
        assert!(place(&mut memory, target(1, 10, 4)).is_ok());
        assert!(place(&mut memory, target(1, 11, 0)).is_err());
        assert!(place(&mut memory, target(1, 10, 8)).is_err());
        assert!(matches!(
            place(&mut memory, target(2, 91, 0)),
            Err(Violation::StoreOverfull { .. })
        ));
        let region = memory.buffer(7);
        assert!(memory.copy(StoreId(1), region, 7).is_ok());
        assert_eq!(memory.slice(region, 4, 3), Ok(&b"abc"[..]));
        assert!(memory.copy(StoreId(1), region, 8).is_err());
        assert!(memory.free(StoreId(9)).is_err());
    }
}
