//! Memory that a program in another language has handed over for the time of a request.

use std::slice::{from_raw_parts, from_raw_parts_mut};

/// One piece of such memory. Plain memory to its holder, who is the only one to touch it.
#[derive(Debug)]
pub struct Handed {
    at: *mut u8,
    len: usize,
}

// SAFETY: the memory belongs to no thread, and `new` had the promise that nobody else uses it.
unsafe impl Send for Handed {}

impl Handed {
    /// Memory of `len` bytes from `at` on.
    ///
    /// # Safety
    /// While this value lives the memory can be read, and nobody writes it; where anything is to be written through the value, the memory can be
    /// written, and nobody else reads it. `at` may be anything where `len` is 0.
    #[must_use]
    pub unsafe fn new(at: *mut u8, len: usize) -> Self {
        let at = if len == 0 {
            std::ptr::dangling_mut()
        } else {
            at
        };
        Self { at, len }
    }

    /// Where it is, and how many bytes are in it.
    #[must_use]
    pub fn parts(&self) -> (*mut u8, usize) {
        (self.at, self.len)
    }

    /// Bytes in it.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the promise given to `new`: so many bytes can be read, and nobody writes them while `self` is borrowed.
        unsafe { from_raw_parts(self.at, self.len) }
    }

    /// Its bytes, to be written.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the promise given to `new`: so many bytes can be written, and nobody else uses them while `self` is borrowed.
        unsafe { from_raw_parts_mut(self.at, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_read_and_written_in_place() {
        let mut bytes = [1, 2, 3];
        // SAFETY: `bytes` outlives it and is not touched meanwhile.
        let mut handed = unsafe { Handed::new(bytes.as_mut_ptr(), bytes.len()) };
        assert_eq!(handed.bytes(), [1, 2, 3]);
        handed.bytes_mut()[1] = 9;
        assert_eq!((handed.len(), handed.is_empty()), (3, false));
        assert_eq!(bytes, [1, 9, 3]);
    }

    #[test]
    fn nothing_can_be_anywhere() {
        // SAFETY: there are no bytes.
        let handed = unsafe { Handed::new(std::ptr::null_mut(), 0) };
        assert!(handed.is_empty() && handed.bytes().is_empty());
    }
}
