//! The common head of all frames, and the buffer that a head is written to.

use std::fmt;
use std::ops::{Deref, Range};

use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Kind, WireError};
use crate::addr::{NicAddr, PeerIndex};

/// The EtherType of MXoE.
pub const ETHER_TYPE: u16 = 0x86df;

/// No packet's head, Ethernet header included, is longer than this. Whoever parses a frame copies the
/// first `min(frame length, HEAD_BYTES)` bytes to memory of its own first.
pub const HEAD_BYTES: usize = 80;

/// Bytes before the packet type: where the body begins.
pub const ETH_BYTES: usize = 16;

/// Frame offsets 0..16 (specification, section 2): 0 destination, 6 source, 12 EtherType, 14 peer index. As two words, since what is
/// stored in small pieces and copied in larger ones has a processor wait.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawEth {
    /// 0: the destination, and the first 2 bytes of the source
    first: U64,
    /// 8
    second: U64,
}
const _: () = assert!(size_of::<RawEth>() == ETH_BYTES);

/// The head that all frames have in common (specification, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EthHead {
    /// The board it goes to.
    pub destination: NicAddr,
    /// The board it comes from.
    pub source: NicAddr,
    /// The index of the sender in the receiver's peer table.
    pub peer_index: PeerIndex,
}

impl EthHead {
    /// The head of an answer to a frame with this one. The index under which the sender lists us is
    /// not in it, so the answer says [`PeerIndex::UNKNOWN`].
    #[must_use]
    pub const fn answer(&self) -> Self {
        Self {
            destination: self.source,
            source: self.destination,
            peer_index: PeerIndex::UNKNOWN,
        }
    }
}

impl RawEth {
    #[inline]
    fn meaning(&self) -> EthHead {
        let (first, second) = (self.first.get(), self.second.get());
        EthHead {
            destination: NicAddr::from_u64(first >> 16),
            source: NicAddr::from_u64(first << 32 | second >> 32),
            peer_index: PeerIndex::new((second & 0xffff) as u16),
        }
    }

    #[inline]
    fn ether_type(&self) -> u16 {
        (self.second.get() >> 16 & 0xffff) as u16
    }

    #[inline]
    fn new(eth: &EthHead) -> Self {
        let (destination, source) = (eth.destination.to_u64(), eth.source.to_u64());
        let (ether_type, peer_index) = (u64::from(ETHER_TYPE), u64::from(eth.peer_index.get()));
        Self {
            first: (destination << 16 | source >> 32).into(),
            second: (source << 32 | ether_type << 16 | peer_index).into(),
        }
    }
}

/// A frame's head as it goes out: Ethernet header and body up to the payload, inline, without allocation.
#[derive(Clone, Copy)]
pub struct Head {
    bytes: [u8; HEAD_BYTES],
    len: u8,
}

/// A common head and a packet's body, as they lie in a frame.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Whole<B> {
    eth: RawEth,
    body: B,
}

impl Head {
    /// An empty one, to be filled by `emit`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; HEAD_BYTES],
            len: 0,
        }
    }

    /// The bytes written.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Replaces the content by a common head and a body.
    #[inline]
    pub(super) fn put<B>(&mut self, eth: &EthHead, body: B)
    where
        B: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned,
    {
        const { assert!(size_of::<Whole<B>>() + 8 <= HEAD_BYTES && HEAD_BYTES <= 255) };
        let Ok((whole, _)) = Whole::<B>::mut_from_prefix(&mut self.bytes) else {
            debug_assert!(false, "the assertion above holds");
            return;
        };
        whole.eth = RawEth::new(eth);
        whole.body = body;
        #[allow(clippy::cast_possible_truncation)] // asserted above
        let len = size_of::<Whole<B>>() as u8;
        self.len = len;
    }

    /// Adds eight bytes. Every head leaves room for them, see [`put`](Self::put).
    #[inline]
    pub(crate) fn append(&mut self, bytes: [u8; 8]) {
        let at = usize::from(self.len);
        if let Some(room) = self.bytes.get_mut(at..at.saturating_add(8)) {
            room.copy_from_slice(&bytes);
            self.len = self.len.saturating_add(8);
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Head {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Head {}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({:02x?})", self.as_bytes())
    }
}

/// What a packet type's parser sees: the frame's bytes as far as they were copied, and how long the frame is.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    /// From the destination MAC on, at least up to the packet type.
    head: &'a [u8],
    /// Length of the whole frame, never less than `head.len()`.
    len: usize,
}

/// What a frame needs to have a packet type.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBegin {
    eth: RawEth,
    kind: u8,
}

impl<'a> Body<'a> {
    /// Takes a frame's beginning for an MXoE frame of the packet type that is returned. `head` holds its first
    /// bytes, `len` is its whole length.
    #[inline]
    pub(super) fn of(head: &'a [u8], len: usize) -> Result<(Kind, Self), WireError> {
        let head = head.get(..len).unwrap_or(head);
        let Ok((begin, _)) = RawBegin::ref_from_prefix(head) else {
            let (have, need) = (head.len(), size_of::<RawBegin>());
            return Err(WireError::Truncated { have, need });
        };
        let ether_type = begin.eth.ether_type();
        if ether_type != ETHER_TYPE {
            return Err(WireError::EtherType(ether_type));
        }
        Ok((Kind::from_wire(begin.kind)?, Self { head, len }))
    }

    /// The body as its packet type lays it out, and the common head.
    #[inline]
    pub(super) fn raw<R>(&self) -> Result<(EthHead, &'a R), WireError>
    where
        R: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        const { assert!(size_of::<Whole<R>>() <= HEAD_BYTES) };
        match Whole::<R>::ref_from_prefix(self.head) {
            Ok((whole, _)) => Ok((whole.eth.meaning(), &whole.body)),
            Err(_) => Err(WireError::Truncated {
                have: self.head.len(),
                need: size_of::<Whole<R>>(),
            }),
        }
    }

    /// Where in the frame `promised` payload bytes after a body of type `R` lie.
    #[inline]
    pub(super) fn payload<R>(&self, promised: usize) -> Result<Range<usize>, WireError> {
        let start = size_of::<Whole<R>>();
        let have = self.len.saturating_sub(start);
        if promised > have {
            return Err(WireError::Promised { promised, have });
        }
        Ok(start..start.saturating_add(promised))
    }

    /// Everything after a body of type `R`.
    pub(super) fn rest<R>(&self) -> Range<usize> {
        let start = size_of::<Whole<R>>();
        start..self.len.max(start)
    }
}
