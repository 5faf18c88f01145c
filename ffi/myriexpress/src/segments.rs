//! The memory of a request: segments of the program's.
//!
//! The program keeps it valid, and does not touch what is received into, until the request is over: that is MX's contract, and what `unsafe` in this file
//! rests on.

use myrixen::{Foreign, Handed};

use crate::codes::ReturnCode;
use crate::edge::Fault;
use crate::types::{MAX_SEGMENTS, mx_segment_t};

/// The memory of a message.
#[derive(Debug)]
pub(crate) enum Segments {
    One(Handed),
    Many(Many),
}

/// Several pieces, none of them empty.
#[derive(Debug)]
pub(crate) struct Many {
    len: u32,
    /// Where each ends in the message, and the pieces.
    pieces: Vec<(usize, Handed)>,
}

impl Segments {
    /// Reads a list of segments.
    ///
    /// # Safety
    /// `list` is null or points to `count` segments, whose memory is valid until the request is over.
    #[inline(never)]
    pub(crate) unsafe fn read(list: *const mx_segment_t, count: u32) -> Result<Self, Fault> {
        if count == 0 {
            // SAFETY: there are no bytes.
            let nothing = unsafe { Handed::new(std::ptr::null_mut(), 0) };
            return Ok(Self::One(nothing));
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
            // SAFETY: the caller's promise.
            let piece = unsafe { piece(segment) };
            return Ok(Self::One(piece.ok_or(ReturnCode::BadSegMem)?));
        }
        // SAFETY: the caller's promise.
        unsafe { Self::read_many(list, count) }
    }

    /// The one segment of a message, as most have: the same as [`read`](Self::read) in a fraction of the time. `None` for all others.
    ///
    /// # Safety
    /// As for [`read`](Self::read).
    #[inline(always)]
    pub(crate) unsafe fn one(list: *const mx_segment_t, count: u32) -> Option<Handed> {
        if count != 1 || list.is_null() {
            return None;
        }
        // SAFETY: the caller's promise.
        let segment = unsafe { list.read() };
        // SAFETY: the caller's promise.
        unsafe { piece(segment) }
    }

    /// # Safety
    /// As for [`read`](Self::read).
    unsafe fn read_many(list: *const mx_segment_t, count: u32) -> Result<Self, Fault> {
        let mut pieces = Vec::with_capacity(count as usize);
        let mut end = 0;
        for at in 0..count as usize {
            // SAFETY: the caller's promise.
            let segment = unsafe { list.wrapping_add(at).read() };
            // SAFETY: the caller's promise.
            let piece = unsafe { piece(segment) }.ok_or(ReturnCode::BadSegMem)?;
            if !piece.is_empty() {
                end += piece.len();
                pieces.push((end, piece));
            }
        }
        let len = u32::try_from(end)
            .map_err(|_| Fault::new(ReturnCode::BadSegList, "a message is shorter than 4 GiB"))?;
        Ok(Self::Many(Many { len, pieces }))
    }
}

/// A segment's memory; `None` where it has bytes and no memory.
///
/// # Safety
/// The segment's memory is valid until the request is over.
#[inline]
unsafe fn piece(segment: mx_segment_t) -> Option<Handed> {
    let (at, len) = (
        segment.segment_ptr.cast::<u8>(),
        segment.segment_length as usize,
    );
    if at.is_null() && len > 0 {
        return None;
    }
    // SAFETY: the caller's promise; see the module.
    Some(unsafe { Handed::new(at, len) })
}

impl Many {
    /// Copies all of it to `to`, which is as long.
    pub(crate) fn copy_to(&self, to: &mut [u8]) {
        let mut begin = 0;
        for (end, piece) in &self.pieces {
            to[begin..*end].copy_from_slice(piece.bytes());
            begin = *end;
        }
    }

    /// The piece that holds this byte of the message, if there is one, and where in it the byte is.
    fn at(&self, offset: usize) -> (usize, usize) {
        let at = self.pieces.partition_point(|(end, _)| *end <= offset);
        let begin = at.checked_sub(1).map_or(0, |before| self.pieces[before].0);
        (at, offset - begin)
    }
}

impl Foreign for Many {
    fn len(&self) -> usize {
        self.len as usize
    }

    fn piece(&self, offset: usize) -> &[u8] {
        let (at, from) = self.at(offset);
        let piece = self.pieces.get(at);
        piece.map_or(&[], |(_, piece)| &piece.bytes()[from..])
    }

    fn piece_mut(&mut self, offset: usize) -> &mut [u8] {
        let (at, from) = self.at(offset);
        let piece = self.pieces.get_mut(at);
        piece.map_or(&mut [], |(_, piece)| &mut piece.bytes_mut()[from..])
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
        let read = unsafe { Segments::read(list.as_ptr(), 5) }.unwrap();
        let Segments::Many(mut read) = read else {
            panic!("there are two");
        };
        assert_eq!(read.len(), 5);
        let mut copy = [0; 5];
        read.copy_to(&mut copy);
        assert_eq!(copy, [1, 2, 3, 4, 5]);
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
