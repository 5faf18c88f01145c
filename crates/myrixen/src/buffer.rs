//! Buffers: what a program lends to the fabric, and gets back when the request is complete.
//!
//! A request owns its buffer while it is in flight, so safe code can neither touch nor drop it early.

use std::ops::Deref;
use std::sync::Arc;

use myrixen_shm::{Handed, Lent, PoolBuf};

/// Memory of a request, by who keeps it alive. Only the sealed trait below shows it outside.
#[allow(missing_docs, reason = "named nowhere outside this crate")]
#[derive(Default)]
pub enum Memory {
    /// Nothing to send, or nothing kept any more.
    #[default]
    Empty,
    Vec(Vec<u8>),
    Shared(Arc<[u8]>),
    Static(&'static [u8]),
    Pool(PoolBuf),
    /// A caller's buffer, lent for the time of a blocking call.
    Lent(Lent),
    Parts(Vec<Vec<u8>>),
    Handed(Handed),
    Foreign(Box<dyn Foreign>),
}

/// Memory that is neither a `Vec` nor from the pool: for bindings to other languages and for
/// programs with buffers of their own. One or several pieces, in order.
pub trait Foreign: Send {
    /// Length of all pieces together, in bytes. Must not change.
    fn len(&self) -> usize;

    /// True if there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes from `offset` to the end of the piece that holds it; not empty while `offset < len()`.
    fn piece(&self, offset: usize) -> &[u8];

    /// The same for writing. Buffers that are only sent may return an empty slice.
    fn piece_mut(&mut self, offset: usize) -> &mut [u8];
}

impl Memory {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Vec(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
            Self::Static(bytes) => bytes.len(),
            Self::Pool(bytes) => bytes.len(),
            Self::Lent(lent) => lent.len(),
            Self::Parts(parts) => Foreign::len(parts),
            Self::Handed(handed) => handed.len(),
            Self::Foreign(foreign) => foreign.len(),
        }
    }

    /// Shows `range` of the bytes piece by piece. Stops early if the memory is gone (a lent
    /// buffer whose call has returned).
    pub(crate) fn read(&self, offset: usize, len: usize, mut show: impl FnMut(&[u8])) {
        let whole = match self {
            Self::Empty => &[],
            Self::Vec(bytes) => bytes.as_slice(),
            Self::Shared(bytes) => bytes,
            Self::Static(bytes) => bytes,
            Self::Pool(bytes) => bytes,
            Self::Handed(handed) => handed.bytes(),
            Self::Lent(lent) => {
                // Refused when the call that lent it has returned: nobody waits for it then.
                let _ = lent.with(offset, len, show);
                return;
            }
            Self::Parts(parts) => return show_pieces(parts, offset, len, show),
            Self::Foreign(foreign) => return show_pieces(&**foreign, offset, len, show),
        };
        if let Some(bytes) = whole.get(offset..offset.saturating_add(len)) {
            show(bytes);
        }
    }

    /// Lets `fill` write the bytes of the range, piece by piece; `fill` is told how far into the
    /// range each piece lies.
    pub(crate) fn write(
        &mut self,
        offset: usize,
        len: usize,
        mut fill: impl FnMut(usize, &mut [u8]),
    ) {
        let whole = match self {
            Self::Empty | Self::Shared(_) | Self::Static(_) => return,
            Self::Vec(bytes) => bytes.as_mut_slice(),
            Self::Pool(bytes) => bytes,
            Self::Handed(handed) => handed.bytes_mut(),
            Self::Lent(lent) => {
                let _ = lent.with_mut(offset, len, |bytes| fill(0, bytes));
                return;
            }
            Self::Parts(parts) => return fill_pieces(parts, offset, len, fill),
            Self::Foreign(foreign) => return fill_pieces(&mut **foreign, offset, len, fill),
        };
        if let Some(bytes) = whole.get_mut(offset..offset.saturating_add(len)) {
            fill(0, bytes);
        }
    }

    /// Whether nobody else can touch it.
    pub(crate) fn is_owned(&self) -> bool {
        !matches!(self, Self::Lent(_) | Self::Handed(_) | Self::Foreign(_))
    }

    /// Copies what others keep alive.
    pub(crate) fn make_owned(&mut self) {
        if !matches!(self, Self::Empty) {
            *self = self.to_owned_copy(self.len());
        }
    }

    /// A copy that needs nobody to keep anything alive.
    pub(crate) fn to_owned_copy(&self, len: usize) -> Self {
        let mut bytes = Vec::with_capacity(len);
        self.read(0, len, |piece| myrixen_shm::append(&mut bytes, piece));
        Self::Vec(bytes)
    }
}

/// Buffers in several `Vec`s, filled or sent in order.
impl Foreign for Vec<Vec<u8>> {
    fn len(&self) -> usize {
        self.iter().map(Vec::len).sum()
    }

    fn piece(&self, mut offset: usize) -> &[u8] {
        for part in self {
            if offset < part.len() {
                return &part[offset..];
            }
            offset -= part.len();
        }
        &[]
    }

    fn piece_mut(&mut self, mut offset: usize) -> &mut [u8] {
        for part in self {
            if offset < part.len() {
                return &mut part[offset..];
            }
            offset -= part.len();
        }
        &mut []
    }
}

fn show_pieces(from: &dyn Foreign, offset: usize, len: usize, mut show: impl FnMut(&[u8])) {
    let mut done = 0;
    while done < len {
        let piece = from.piece(offset + done);
        let take = piece.len().min(len - done);
        if take == 0 {
            return;
        }
        show(&piece[..take]);
        done += take;
    }
}

fn fill_pieces(
    into: &mut dyn Foreign,
    offset: usize,
    len: usize,
    mut fill: impl FnMut(usize, &mut [u8]),
) {
    let mut done = 0;
    while done < len {
        let piece = into.piece_mut(offset + done);
        let take = piece.len().min(len - done);
        if take == 0 {
            return;
        }
        fill(done, &mut piece[..take]);
        done += take;
    }
}

mod sealed {
    use super::Memory;

    /// How a buffer is turned into memory of a request, and back.
    pub trait Buffer: Sized {
        /// How long it is, in bytes.
        fn room(&self) -> usize;
        fn into_memory(self) -> Memory;
        /// `None` cannot happen for memory that `into_memory` of the same type made.
        fn from_memory(memory: Memory) -> Option<Self>;
    }
}
pub(crate) use sealed::Buffer;

/// What can be sent: a buffer that the request owns until it is complete.
///
/// `Vec<u8>`, [`PoolBuf`] (shared memory, read in place by a co-located receiver), `Arc<[u8]>`, `&'static [u8]`,
/// `Vec<Vec<u8>>` (gathered), [`Handed`] and `Box<dyn Foreign>`.
pub trait SendBuffer: Buffer {}

/// What can be received into: a buffer that the request owns until it is complete. Its length is
/// the room for the message; a longer message is cut ([`Received::truncated`](crate::Received)).
///
/// `Vec<u8>`, [`PoolBuf`], `Vec<Vec<u8>>` (scattered), [`Handed`] and `Box<dyn Foreign>`.
pub trait RecvBuffer: Buffer {}

/// The buffer of a request that is over.
pub(crate) fn restore<B: Buffer>(memory: Memory) -> B {
    B::from_memory(memory).expect("the memory of a request is the one it was given")
}

macro_rules! buffer {
    ($type:ty, $variant:ident, $len:path, $($role:ident),+) => {
        impl Buffer for $type {
            #[inline]
            fn room(&self) -> usize {
                $len(self)
            }
            #[inline]
            fn into_memory(self) -> Memory {
                Memory::$variant(self)
            }
            fn from_memory(memory: Memory) -> Option<Self> {
                match memory {
                    Memory::$variant(buffer) => Some(buffer),
                    _ => None,
                }
            }
        }
        $(impl $role for $type {})+
    };
}

/// Of what is one piece.
#[inline]
fn one_len(bytes: &impl Deref<Target = [u8]>) -> usize {
    bytes.len()
}

/// Of what is several.
fn all_len(foreign: &impl Deref<Target = dyn Foreign>) -> usize {
    foreign.len()
}

impl Buffer for Memory {
    fn room(&self) -> usize {
        self.len()
    }
    fn into_memory(self) -> Memory {
        self
    }
    fn from_memory(memory: Memory) -> Option<Self> {
        Some(memory)
    }
}

buffer!(Vec<u8>, Vec, one_len, SendBuffer, RecvBuffer);
buffer!(PoolBuf, Pool, one_len, SendBuffer, RecvBuffer);
buffer!(Arc<[u8]>, Shared, one_len, SendBuffer);
buffer!(&'static [u8], Static, one_len, SendBuffer);
buffer!(Vec<Vec<u8>>, Parts, Foreign::len, SendBuffer, RecvBuffer);
buffer!(Handed, Handed, Handed::len, SendBuffer, RecvBuffer);
buffer!(Box<dyn Foreign>, Foreign, all_len, SendBuffer, RecvBuffer);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pieces_read_and_write_as_one() {
        let mut memory = vec![vec![0; 3], Vec::new(), vec![0; 5]].into_memory();
        assert_eq!(memory.len(), 8);
        memory.write(1, 6, |at, piece| {
            for (i, byte) in piece.iter_mut().enumerate() {
                *byte = u8::try_from(at + i + 1).unwrap();
            }
        });
        let mut seen = Vec::new();
        memory.read(0, 8, |piece| seen.extend_from_slice(piece));
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 0]);
    }

    #[test]
    fn a_range_outside_the_memory_is_not_shown() {
        let memory = vec![1, 2, 3].into_memory();
        memory.read(2, 2, |_| panic!("shown"));
        memory.read(usize::MAX, 2, |_| panic!("shown"));
    }
}
