//! HOST_QUERY (3): asks a board for its name (specification, sections 3.1 and 4.3).

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::{Frame, Kind, Parsed, WireError};
use crate::addr::PeerIndex;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    /// 0
    kind: u8,
    /// 1
    reserved: u8,
    /// 2
    index: U16,
    /// 4
    reserved_2: [u8; 4],
    /// 8
    magic: U32,
    /// 12
    reserved_3: [u8; 4],
}
const _: () = assert!(size_of::<Raw>() == 16);

/// Asks a board for its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostQuery {
    /// The queried board's index in the querier's table: what the queried puts in heads from now on.
    pub index: PeerIndex,
    /// Given back in the reply; see [`HostQuery::FIRST_MAGIC`].
    pub magic: u32,
}

impl HostQuery {
    /// The reference peer's magic until the names are cleared for the first time.
    pub const FIRST_MAGIC: u32 = 0x1305_2008;

    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        let frame = Frame::HostQuery(Self {
            index: PeerIndex::new(raw.index.get()),
            magic: raw.magic.get(),
        });
        Ok(Parsed {
            eth,
            frame,
            payload: body.payload::<Raw>(0)?,
        })
    }

    #[inline]
    pub(super) fn emit(&self, eth: &EthHead, out: &mut Head) {
        let raw = Raw {
            kind: Kind::HostQuery.to_wire(),
            reserved: 0,
            index: self.index.get().into(),
            reserved_2: [0; 4],
            magic: self.magic.into(),
            reserved_3: [0; 4],
        };
        out.put(eth, raw);
    }
}
