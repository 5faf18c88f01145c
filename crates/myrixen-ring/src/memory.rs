//! What a ring needs of the memory it lies in.

use std::sync::atomic::{Ordering, fence};

use myrixen_shm::Pages;

/// Words and bytes that two ends share. [`Pages`] in earnest; a model checker's atomics in its tests.
///
/// Words are little-endian in memory and of the machine's order as arguments and results. Offsets count bytes; a range that is
/// outside or a word that is not aligned is a mistake of this crate's and panics.
pub trait Memory {
    /// Loads the word of 4 bytes at `offset`.
    fn load_u32(&self, offset: usize, order: Ordering) -> u32;
    /// Stores the word of 4 bytes at `offset`.
    fn store_u32(&self, offset: usize, value: u32, order: Ordering);
    /// Loads the word of 8 bytes at `offset`.
    fn load_u64(&self, offset: usize, order: Ordering) -> u64;
    /// Stores the word of 8 bytes at `offset`.
    fn store_u64(&self, offset: usize, value: u64, order: Ordering);
    /// A sequentially consistent fence.
    fn fence(&self);
    /// Copies bytes out.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies bytes in.
    fn write(&self, offset: usize, bytes: &[u8]);

    /// Copies `len` bytes in from pages.
    fn copy_in(&self, offset: usize, from: &Pages, from_offset: usize, len: usize) {
        let mut part = [0; 256];
        for done in (0..len).step_by(part.len()) {
            let part = &mut part[..(len - done).min(256)];
            from.read(from_offset + done, part);
            self.write(offset + done, part);
        }
    }

    /// Copies `len` bytes out to pages.
    fn copy_out(&self, offset: usize, into: &Pages, into_offset: usize, len: usize) {
        let mut part = [0; 256];
        for done in (0..len).step_by(part.len()) {
            let part = &mut part[..(len - done).min(256)];
            self.read(offset + done, part);
            into.write(into_offset + done, part);
        }
    }

    /// Hints that the line at `offset` will be read soon.
    fn prefetch(&self, offset: usize) {
        let _ = offset;
    }
}

impl Memory for Pages {
    #[inline(always)]
    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        u32::from_le(Pages::load_u32(self, offset, order))
    }

    #[inline(always)]
    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        Pages::store_u32(self, offset, value.to_le(), order);
    }

    #[inline(always)]
    fn load_u64(&self, offset: usize, order: Ordering) -> u64 {
        u64::from_le(Pages::load_u64(self, offset, order))
    }

    #[inline(always)]
    fn store_u64(&self, offset: usize, value: u64, order: Ordering) {
        Pages::store_u64(self, offset, value.to_le(), order);
    }

    #[inline(always)]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn read(&self, offset: usize, into: &mut [u8]) {
        Pages::read(self, offset, into);
    }

    #[inline(always)]
    fn write(&self, offset: usize, bytes: &[u8]) {
        Pages::write(self, offset, bytes);
    }

    #[inline]
    fn copy_in(&self, offset: usize, from: &Pages, from_offset: usize, len: usize) {
        from.copy_to(from_offset, self, offset, len);
    }

    #[inline]
    fn copy_out(&self, offset: usize, into: &Pages, into_offset: usize, len: usize) {
        self.copy_to(offset, into, into_offset, len);
    }

    #[inline(always)]
    fn prefetch(&self, offset: usize) {
        Pages::prefetch(self, offset);
    }
}
