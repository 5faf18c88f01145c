//! RAW (1): frames between discovery daemons (specification, section 4.4).

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, ETH_BYTES, EthHead, Head};
use super::{Frame, Kind, Parsed, WireError};
use crate::addr::{NicAddr, PeerIndex};

/// The type is all that a RAW frame has in common with others; the rest is opaque.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    kind: u8,
}

#[inline]
pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
    let (eth, _) = body.raw::<Raw>()?;
    Ok(Parsed {
        eth,
        frame: Frame::Raw,
        payload: body.rest::<Raw>(),
    })
}

#[inline]
pub(super) fn emit(eth: &EthHead, out: &mut Head) {
    out.put(
        eth,
        Raw {
            kind: Kind::Raw.to_wire(),
        },
    );
}

/// The body of an announcement.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAnnouncement {
    /// 0
    kind: u8,
    /// 1, zero
    zero: [u8; 15],
    /// 16: the MAC in the low 48 bits
    nic: U64,
    /// 24
    serial: U32,
    /// 28, zero
    tail: [u8; 20],
}
const _: () = assert!(size_of::<RawAnnouncement>() + ETH_BYTES == 64);

/// What the reference peer's discovery daemon broadcasts in a RAW frame of 64 bytes.
///
/// Spacing and rounds of announcements are for whoever sends them to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// The board that announces itself. This counts, not the source MAC.
    pub nic: NicAddr,
    /// A random number of this run of the daemon: a new one says that it has started anew.
    pub serial: u32,
}

impl Announcement {
    /// Reads the announcement in a RAW frame; `None` when the frame is something else.
    ///
    /// `head` is as for [`super::parse`]; an announcement fits in it.
    #[must_use]
    pub fn parse(head: &[u8]) -> Option<Self> {
        let (kind, body) = Body::of(head, head.len()).ok()?;
        let (_, raw) = body.raw::<RawAnnouncement>().ok()?;
        // The NIC id's high 16 bits are zero; a RAW frame of another mapper is told by them.
        let ours = kind == Kind::Raw && raw.nic.get() >> 48 == 0;
        ours.then(|| Self {
            nic: NicAddr::from_u64(raw.nic.get()),
            serial: raw.serial.get(),
        })
    }

    /// Writes the whole frame, 64 bytes, to everybody.
    pub fn emit(&self, out: &mut Head) {
        let eth = EthHead {
            destination: NicAddr::BROADCAST,
            source: self.nic,
            peer_index: PeerIndex::new(0),
        };
        let body = RawAnnouncement {
            kind: Kind::Raw.to_wire(),
            zero: [0; 15],
            nic: self.nic.to_u64().into(),
            serial: self.serial.into(),
            tail: [0; 20],
        };
        out.put(&eth, body);
    }
}
