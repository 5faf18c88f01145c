//! The memory of operations: pieces of the application's.
//!
//! The application keeps it valid, and does not touch what is received into, until the operation is complete: that is libfabric's contract.

use myrixen::{Foreign, Handed};

use crate::edge::{Answer, list};
use crate::errno::Errno;

/// The memory of one operation.
pub(crate) enum Buffers {
    One(Handed),
    Many(Box<dyn Foreign>),
}

/// Several pieces that are one message.
struct Pieces {
    /// Where each ends in the message, and the pieces; none is empty.
    pieces: Vec<(usize, Handed)>,
    len: usize,
}

impl Buffers {
    /// One piece.
    ///
    /// # Safety
    /// The `len` bytes at `at` stay valid until the operation is complete, for writing if it writes.
    #[inline]
    pub(crate) unsafe fn one(at: *const libc::c_void, len: usize) -> Answer<Self> {
        if at.is_null() && len > 0 {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's promise.
        Ok(Self::One(unsafe { Handed::new(at.cast_mut().cast(), len) }))
    }

    /// As many as the application lists.
    ///
    /// # Safety
    /// `iov` points to `count` pieces, each as for [`one`](Self::one).
    #[inline]
    pub(crate) unsafe fn read(iov: *const libc::iovec, count: usize, most: usize) -> Answer<Self> {
        if count > most {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's promise.
        let iov = unsafe { list(iov, count) }?;
        if iov.is_empty() {
            // SAFETY: there are no bytes.
            return unsafe { Self::one(std::ptr::null(), 0) };
        }
        if let [piece] = iov {
            // SAFETY: the caller's promise.
            return unsafe { Self::one(piece.iov_base, piece.iov_len) };
        }
        let mut pieces = Vec::with_capacity(count);
        let mut len: usize = 0;
        for piece in iov.iter().filter(|piece| piece.iov_len > 0) {
            if piece.iov_base.is_null() {
                return Err(Errno::INVAL);
            }
            len = len.checked_add(piece.iov_len).ok_or(Errno::MSGSIZE)?;
            // SAFETY: the caller's promise.
            let handed = unsafe { Handed::new(piece.iov_base.cast(), piece.iov_len) };
            pieces.push((len, handed));
        }
        Ok(Self::Many(Box::new(Pieces { pieces, len })))
    }

    /// Memory of our own.
    pub(crate) fn owned(bytes: Vec<u8>) -> Self {
        Self::Many(Box::new(vec![bytes]))
    }

    /// Bytes in all.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(handed) => handed.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// Shows the bytes in one piece.
    #[inline]
    pub(crate) fn with_bytes<R>(&self, show: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::One(handed) => show(handed.bytes()),
            Self::Many(_) => show(&self.to_vec()),
        }
    }

    /// A copy of any length.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.copy_to(&mut bytes);
        bytes
    }

    /// Copies the beginning to `to`, as much as both have.
    pub(crate) fn copy_to(&self, to: &mut [u8]) {
        let len = to.len().min(self.len());
        let mut done = 0;
        while done < len {
            let piece = match self {
                Self::One(handed) => handed.bytes().get(done..).unwrap_or_default(),
                Self::Many(many) => many.piece(done),
            };
            let take = piece.len().min(len - done);
            if take == 0 {
                return;
            }
            to[done..done + take].copy_from_slice(&piece[..take]);
            done += take;
        }
    }
}

impl Pieces {
    /// The piece that holds byte `offset`, and the byte in it.
    fn find(&self, offset: usize) -> Option<(usize, usize)> {
        let at = self.pieces.partition_point(|(end, _)| *end <= offset);
        let begin = at.checked_sub(1).map_or(0, |before| self.pieces[before].0);
        (at < self.pieces.len()).then(|| (at, offset - begin))
    }
}

impl Foreign for Pieces {
    fn len(&self) -> usize {
        self.len
    }

    fn piece(&self, offset: usize) -> &[u8] {
        let found = self
            .find(offset)
            .and_then(|(at, from)| self.pieces[at].1.bytes().get(from..));
        found.unwrap_or_default()
    }

    fn piece_mut(&mut self, offset: usize) -> &mut [u8] {
        let found = self
            .find(offset)
            .and_then(|(at, from)| self.pieces[at].1.bytes_mut().get_mut(from..));
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_one_message_and_empty_ones_do_not_count() {
        let (mut a, mut b) = ([1_u8, 2, 3], [4_u8, 5]);
        let piece = |bytes: &mut [u8]| libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        let iov = [piece(&mut a), piece(&mut []), piece(&mut b)];
        // SAFETY: the list is as long as is said, and what it names outlives it.
        let mut buffers = unsafe { Buffers::read(iov.as_ptr(), 3, 4) }.unwrap();
        assert_eq!((buffers.len(), buffers.to_vec()), (5, vec![1, 2, 3, 4, 5]));
        let Buffers::Many(many) = &mut buffers else {
            panic!("two pieces are one")
        };
        many.piece_mut(3).fill(9);
        drop(buffers);
        assert_eq!((a, b), ([1, 2, 3], [9, 9]));
        // SAFETY: it is refused before it is read.
        assert!(unsafe { Buffers::read(iov.as_ptr(), 5, 4) }.is_err());
    }
}
