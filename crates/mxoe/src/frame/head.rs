//! The common head of all frames, and the buffer that a head is written to.

use std::fmt;
use std::ops::{Deref, Range};

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::WireError;
use crate::addr::{NicAddr, PeerIndex};

/// The EtherType of MXoE.
pub const ETHER_TYPE: u16 = 0x86df;

/// No packet's head, Ethernet header included, is longer than this. Whoever parses a frame copies the
/// first `min(frame length, HEAD_BYTES)` bytes to memory of its own first.
pub const HEAD_BYTES: usize = 80;

/// Bytes before the packet type: where the body begins.
pub const ETH_BYTES: usize = 16;

/// Frame offsets 0..16 (specification, section 2).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawEth {
    /// 0
    destination: [u8; 6],
    /// 6
    source: [u8; 6],
    /// 12
    ether_type: U16,
    /// 14
    peer_index: U16,
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

    #[inline]
    pub(super) fn from_raw(raw: &RawEth) -> Result<Self, WireError> {
        if raw.ether_type.get() != ETHER_TYPE {
            return Err(WireError::EtherType(raw.ether_type.get()));
        }
        Ok(Self {
            destination: NicAddr::new(raw.destination),
            source: NicAddr::new(raw.source),
            peer_index: PeerIndex::new(raw.peer_index.get()),
        })
    }

    #[inline]
    fn to_raw(self) -> RawEth {
        RawEth {
            destination: self.destination.octets(),
            source: self.source.octets(),
            ether_type: ETHER_TYPE.into(),
            peer_index: self.peer_index.get().into(),
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
#[derive(IntoBytes, Immutable, Unaligned)]
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
    pub(super) fn put<B: IntoBytes + Immutable + Unaligned>(&mut self, eth: &EthHead, body: B) {
        const { assert!(size_of::<Whole<B>>() <= HEAD_BYTES && HEAD_BYTES <= 255) };
        let whole = Whole {
            eth: eth.to_raw(),
            body,
        };
        let written = whole.write_to_prefix(&mut self.bytes);
        debug_assert!(written.is_ok(), "the assertion above holds");
        #[allow(clippy::cast_possible_truncation)] // asserted above
        let len = size_of::<Whole<B>>() as u8;
        self.len = len;
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

/// What a packet type's parser sees: the body's bytes as far as they were copied, and how long the frame is.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    /// From the packet type on.
    bytes: &'a [u8],
    /// Length of the whole frame, never less than `ETH_BYTES + bytes.len()`.
    len: usize,
}

impl<'a> Body<'a> {
    /// Takes a frame apart. `head` holds its first bytes, `len` is its whole length.
    #[inline]
    pub(super) fn split(head: &'a [u8], len: usize) -> Result<(EthHead, Self), WireError> {
        let head = head.get(..len).unwrap_or(head);
        let Ok((eth, bytes)) = RawEth::ref_from_prefix(head) else {
            return Err(WireError::Truncated {
                have: head.len(),
                need: ETH_BYTES,
            });
        };
        Ok((EthHead::from_raw(eth)?, Self { bytes, len }))
    }

    /// The packet type.
    #[inline]
    pub(super) fn kind(&self) -> Result<u8, WireError> {
        let missing = WireError::Truncated {
            have: ETH_BYTES,
            need: ETH_BYTES + 1,
        };
        self.bytes.first().copied().ok_or(missing)
    }

    /// The body as its packet type lays it out.
    #[inline]
    pub(super) fn raw<R>(&self) -> Result<&'a R, WireError>
    where
        R: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        const { assert!(size_of::<R>() <= HEAD_BYTES - ETH_BYTES) };
        match R::ref_from_prefix(self.bytes) {
            Ok((raw, _)) => Ok(raw),
            Err(_) => Err(WireError::Truncated {
                have: self.bytes.len().saturating_add(ETH_BYTES),
                need: const { size_of::<R>() + ETH_BYTES },
            }),
        }
    }

    /// Where in the frame `promised` payload bytes after a body of type `R` lie.
    #[inline]
    pub(super) fn payload<R>(&self, promised: usize) -> Result<Range<usize>, WireError> {
        let start = const { size_of::<R>() + ETH_BYTES };
        let have = self.len.saturating_sub(start);
        if promised > have {
            return Err(WireError::Promised { promised, have });
        }
        Ok(start..start.saturating_add(promised))
    }

    /// Everything after a body of type `R`.
    pub(super) fn rest<R>(&self) -> Range<usize> {
        let start = const { size_of::<R>() + ETH_BYTES };
        start..self.len.max(start)
    }
}
