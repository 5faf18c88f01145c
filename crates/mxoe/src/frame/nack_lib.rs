//! NACK_LIB (44): rejects a packet of the library (specification, sections 3.10, 3.12 and 8).

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::{Frame, Kind, Parsed, WireError};
use crate::addr::{EndpointId, SeqNo};

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    /// 0
    kind: u8,
    /// 1
    from: u8,
    /// 2
    reserved: u8,
    /// 3
    nack: u8,
    /// 4
    reserved_2: [u8; 5],
    /// 9
    to: u8,
    /// 10: a copy of the head's
    peer_index: U16,
    /// 12
    seq: U16,
    /// 14
    reserved_3: [u8; 2],
}
const _: () = assert!(size_of::<Raw>() == 16);

/// Why a packet was rejected (specification, section 3.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NackKind {
    /// The endpoint's number is beyond what its board has.
    BadEndpoint = 1,
    /// The endpoint is not open.
    EndpointClosed = 2,
    /// The endpoint is open, under another session.
    BadSession = 3,
    /// A PULL names a region that does not exist; in NACK_MCP only.
    BadRdmaWindow = 4,
}

impl NackKind {
    #[inline]
    pub(super) const fn from_wire(number: u8) -> Result<Self, WireError> {
        Ok(match number {
            1 => Self::BadEndpoint,
            2 => Self::EndpointClosed,
            3 => Self::BadSession,
            4 => Self::BadRdmaWindow,
            other => return Err(WireError::UnknownNack(other)),
        })
    }

    pub(super) const fn to_wire(self) -> u8 {
        self as u8
    }
}

/// Rejects a CONNECT, TINY, SMALL, MEDIUM, RNDV or NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NackLib {
    /// The endpoint that sent the rejected packet.
    pub to: EndpointId,
    /// The endpoint that the rejected packet was addressed to.
    pub from: EndpointId,
    /// Why. Never [`NackKind::BadRdmaWindow`]: the reference program aborts when it gets that.
    pub nack: NackKind,
    /// The rejected packet's number; what a CONNECT carries there.
    pub seq: SeqNo,
}

impl NackLib {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        let nack = match NackKind::from_wire(raw.nack)? {
            NackKind::BadRdmaWindow => return Err(WireError::UnknownNack(raw.nack)),
            nack => nack,
        };
        let frame = Frame::NackLib(Self {
            to: EndpointId::new(raw.to),
            from: EndpointId::new(raw.from),
            nack,
            seq: SeqNo::from_wire(raw.seq.get()),
        });
        Ok(Parsed {
            eth,
            frame,
            payload: body.payload::<Raw>(0)?,
        })
    }

    #[inline]
    pub(super) fn emit(&self, eth: &EthHead, out: &mut Head) {
        debug_assert_ne!(self.nack, NackKind::BadRdmaWindow);
        let raw = Raw {
            kind: Kind::NackLib.to_wire(),
            from: self.from.get(),
            reserved: 0,
            nack: self.nack.to_wire(),
            reserved_2: [0; 5],
            to: self.to.get(),
            peer_index: eth.peer_index.get().into(),
            seq: self.seq.to_wire().into(),
            reserved_3: [0; 2],
        };
        out.put(eth, raw);
    }
}
