//! The memory of a request: segments of the program's.
//!
//! The program keeps it valid, and does not touch what is received into, until the request is over: that is MX's contract, and what `unsafe` in this file
//! rests on.

use myrixen::Foreign;

use crate::codes::ReturnCode;
use crate::edge::Fault;
use crate::types::{MAX_SEGMENTS, mx_segment_t};

/// A piece of memory that is not empty.
#[derive(Clone, Copy, Debug)]
struct Piece {
    at: *mut u8,
    len: usize,
}

impl Piece {
    /// Its bytes from `from` on.
    fn bytes(&self, from: usize) -> &[u8] {
        let len = self.len.saturating_sub(from);
        // It stays within the piece, or is one past its end and empty.
        let at = self.at.wrapping_add(from.min(self.len));
        // SAFETY: see the module.
        unsafe { std::slice::from_raw_parts(at, len) }
    }

    fn bytes_mut(&mut self, from: usize) -> &mut [u8] {
        let len = self.len.saturating_sub(from);
        // It stays within the piece, or is one past its end and empty.
        let at = self.at.wrapping_add(from.min(self.len));
        // SAFETY: see the module.
        unsafe { std::slice::from_raw_parts_mut(at, len) }
    }
}

/// The memory of a message.
#[derive(Debug)]
pub(crate) struct Segments {
    len: u32,
    pieces: Pieces,
}

#[derive(Debug)]
enum Pieces {
    None,
    One(Piece),
    /// Where each ends in the message, and the pieces.
    Many(Vec<(usize, Piece)>),
}

// SAFETY: it is memory that the program has handed over until the request is over, on whatever thread that is worked on.
unsafe impl Send for Segments {}

impl Segments {
    /// Reads a list of segments.
    ///
    /// # Safety
    /// `list` is null or points to `count` segments, whose memory is valid until the request is over.
    #[inline]
    pub(crate) unsafe fn read(list: *const mx_segment_t, count: u32) -> Result<Self, Fault> {
        if count == 0 {
            let pieces = Pieces::None;
            return Ok(Self { len: 0, pieces });
        }
        if list.is_null() {
            return Err(ReturnCode::BadSegList.into());
        }
        if count > MAX_SEGMENTS {
            return Err(Fault::new(ReturnCode::BadSegCnt, count));
        }
        if count == 1 {
            // SAFETY: the caller's promise.
            let segment = unsafe { list.read() };
            let len = segment.segment_length;
            let pieces = piece(segment)?.map_or(Pieces::None, Pieces::One);
            return Ok(Self { len, pieces });
        }
        // SAFETY: the caller's promise.
        unsafe { Self::read_many(list, count) }
    }

    /// # Safety
    /// As for [`read`](Self::read).
    unsafe fn read_many(list: *const mx_segment_t, count: u32) -> Result<Self, Fault> {
        let mut pieces = Vec::with_capacity(count as usize);
        let mut end = 0;
        for at in 0..count as usize {
            // SAFETY: the caller's promise.
            let segment = unsafe { list.wrapping_add(at).read() };
            if let Some(piece) = piece(segment)? {
                end += piece.len;
                pieces.push((end, piece));
            }
        }
        let len = u32::try_from(end)
            .map_err(|_| Fault::new(ReturnCode::BadSegList, "a message is shorter than 4 GiB"))?;
        let pieces = Pieces::Many(pieces);
        Ok(Self { len, pieces })
    }

    /// Copies all of it to the beginning of `to`, which has room.
    pub(crate) fn copy_to(&self, to: &mut [u8]) {
        let mut done = 0;
        while done < self.len() {
            let piece = self.piece(done);
            to[done..done + piece.len()].copy_from_slice(piece);
            done += piece.len();
        }
    }
}

fn piece(segment: mx_segment_t) -> Result<Option<Piece>, Fault> {
    let (at, len) = (segment.segment_ptr.cast(), segment.segment_length as usize);
    match (len, segment.segment_ptr.is_null()) {
        (0, _) => Ok(None),
        (_, true) => Err(ReturnCode::BadSegMem.into()),
        _ => Ok(Some(Piece { at, len })),
    }
}

impl Foreign for Segments {
    fn len(&self) -> usize {
        self.len as usize
    }

    fn piece(&self, offset: usize) -> &[u8] {
        match &self.pieces {
            Pieces::None => &[],
            Pieces::One(piece) => piece.bytes(offset),
            Pieces::Many(pieces) => {
                let at = pieces.partition_point(|(end, _)| *end <= offset);
                let begin = at.checked_sub(1).map_or(0, |before| pieces[before].0);
                let piece = pieces.get(at);
                piece.map_or(&[], |(_, piece)| piece.bytes(offset - begin))
            }
        }
    }

    fn piece_mut(&mut self, offset: usize) -> &mut [u8] {
        match &mut self.pieces {
            Pieces::None => &mut [],
            Pieces::One(piece) => piece.bytes_mut(offset),
            Pieces::Many(pieces) => {
                let at = pieces.partition_point(|(end, _)| *end <= offset);
                let begin = at.checked_sub(1).map_or(0, |before| pieces[before].0);
                let piece = pieces.get_mut(at);
                piece.map_or(&mut [], |(_, piece)| piece.bytes_mut(offset - begin))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(bytes: &mut [u8]) -> mx_segment_t {
        mx_segment_t {
            segment_ptr: bytes.as_mut_ptr().cast(),
            segment_length: u32::try_from(bytes.len()).unwrap(),
        }
    }

    #[test]
    fn pieces_are_one_message_and_empty_ones_do_not_count() {
        let (mut a, mut b) = ([1, 2, 3], [4, 5]);
        let null = mx_segment_t {
            segment_ptr: std::ptr::null_mut(),
            segment_length: 0,
        };
        let list = [null, segment(&mut a), null, segment(&mut b), null];
        // SAFETY: the list is as long as is said, and what it names outlives it.
        let mut read = unsafe { Segments::read(list.as_ptr(), 5) }.unwrap();
        assert_eq!(read.len(), 5);
        let mut copy = [0; 6];
        read.copy_to(&mut copy);
        assert_eq!(copy, [1, 2, 3, 4, 5, 0]);
        assert_eq!(read.piece(1), [2, 3]);
        assert_eq!(read.piece(3), [4, 5]);
        assert!(read.piece(5).is_empty());
        read.piece_mut(4).fill(9);
        drop(read);
        assert_eq!(b, [4, 9]);
    }

    #[test]
    fn bad_lists_are_told_apart() {
        let null = mx_segment_t {
            segment_ptr: std::ptr::null_mut(),
            segment_length: 1,
        };
        // SAFETY: the lists are as long as is said, or are not read.
        let code = |list: *const mx_segment_t, count| unsafe {
            Segments::read(list, count)
                .map_err(|fault| fault.code)
                .err()
        };
        assert_eq!(code(std::ptr::null(), 1), Some(ReturnCode::BadSegList));
        assert_eq!(code(&null, 257), Some(ReturnCode::BadSegCnt));
        assert_eq!(code(&null, 1), Some(ReturnCode::BadSegMem));
        assert_eq!(code(std::ptr::null(), 0), None);
        let huge = mx_segment_t {
            segment_ptr: std::ptr::dangling_mut::<u8>().cast(),
            segment_length: u32::MAX,
        };
        assert_eq!(code(&huge, 1), None);
        assert_eq!(code([huge; 2].as_ptr(), 2), Some(ReturnCode::BadSegList));
    }
}
