//! NACK_MCP (45): rejects a PULL (specification, sections 3.11, 3.12 and 8).

use zerocopy::byteorder::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::nack_lib::NackKind;
use super::pull::{PullHandle, PullMagic};
use super::{Frame, Kind, Parsed, WireError};
use crate::addr::EndpointId;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    /// 0
    kind: u8,
    /// 1
    puller: u8,
    /// 2
    reserved: u8,
    /// 3
    nack: u8,
    /// 4
    reserved_2: [u8; 4],
    /// 8
    handle: U32,
    /// 12
    magic: U32,
}
const _: () = assert!(size_of::<Raw>() == 16);

/// Rejects a PULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NackMcp {
    /// The puller, as the reference peer sends it. Whom the nack is for is told by `magic`.
    pub puller: EndpointId,
    /// Why.
    pub nack: NackKind,
    /// Copied from the PULL.
    pub handle: PullHandle,
    /// Copied from the PULL.
    pub magic: PullMagic,
}

impl NackMcp {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        let frame = Frame::NackMcp(Self {
            puller: EndpointId::new(raw.puller),
            nack: NackKind::from_wire(raw.nack)?,
            handle: PullHandle::new(raw.handle.get()),
            magic: PullMagic::from_wire(raw.magic.get()),
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
            kind: Kind::NackMcp.to_wire(),
            puller: self.puller.get(),
            reserved: 0,
            nack: self.nack.to_wire(),
            reserved_2: [0; 4],
            handle: self.handle.get().into(),
            magic: self.magic.to_wire().into(),
        };
        out.put(eth, raw);
    }
}
