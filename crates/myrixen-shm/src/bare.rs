//! Memory that a program in another language has handed over for the time of a request.

/// One piece of memory that somebody outside of Rust keeps valid.
#[derive(Debug)]
pub struct Bare {
    at: *mut u8,
    len: usize,
}

// SAFETY: it is memory that was handed over, on whatever thread that is worked on; see `new`.
unsafe impl Send for Bare {}

impl Bare {
    /// The `len` bytes at `at`.
    ///
    /// # Safety
    /// They stay valid until this is dropped, for writing too if [`bytes_mut`](Self::bytes_mut) is called. Whoever else changes them meanwhile
    /// loses what is sent or received, not more: nothing here decides by them.
    #[must_use]
    pub unsafe fn new(at: *mut u8, len: usize) -> Self {
        // No bytes may be anywhere, also nowhere.
        let at = if len == 0 {
            std::ptr::dangling_mut()
        } else {
            at
        };
        Self { at, len }
    }

    /// Where they are, and how many.
    #[must_use]
    pub fn parts(&self) -> (*mut u8, usize) {
        (self.at, self.len)
    }

    /// How many bytes there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `len` bytes from `offset` on; `None` if there are not so many.
    #[must_use]
    #[inline]
    pub fn bytes(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.len);
        // SAFETY: they lie within what `new` was promised.
        fits.then(|| unsafe { std::slice::from_raw_parts(self.at.wrapping_add(offset), len) })
    }

    /// The same for writing.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self, offset: usize, len: usize) -> Option<&mut [u8]> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.len);
        // SAFETY: they lie within what `new` was promised, and we are borrowed for as long.
        fits.then(|| unsafe { std::slice::from_raw_parts_mut(self.at.wrapping_add(offset), len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_handed_over_can_be_reached() {
        let mut bytes = [1, 2, 3];
        // SAFETY: the bytes outlive it.
        let mut bare = unsafe { Bare::new(bytes.as_mut_ptr(), 3) };
        assert_eq!(bare.bytes(1, 2), Some(&[2, 3][..]));
        assert_eq!(bare.bytes(1, 3), None);
        assert_eq!(bare.bytes(usize::MAX, 2), None);
        bare.bytes_mut(0, 1).unwrap()[0] = 9;
        assert!(bare.bytes_mut(3, 1).is_none());
        assert_eq!(bytes, [9, 2, 3]);
        // SAFETY: there is nothing that could be invalid.
        let none = unsafe { Bare::new(std::ptr::null_mut(), 0) };
        assert!(none.is_empty() && none.bytes(0, 0) == Some(&[][..]));
    }
}
