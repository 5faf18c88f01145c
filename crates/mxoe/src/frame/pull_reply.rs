//! PULL_REPLY (42): a piece of a large message (specification, sections 3.8 and 7.4).

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::pull::{PullHandle, PullMagic};
use super::{Frame, Kind, Parsed, WireError};

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    /// 0
    kind: u8,
    /// 1
    frame_seqnum: u8,
    /// 2
    length: U16,
    /// 4
    offset: U32,
    /// 8
    handle: U32,
    /// 12
    magic: U32,
}
const _: () = assert!(size_of::<Raw>() == 16);

/// A piece of a large message; its bytes are the frame's payload. It names no endpoint and no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PullReply {
    /// The frame's index modulo 256.
    pub frame_seqnum: u8,
    /// Payload bytes.
    pub length: u16,
    /// Where the payload goes, from the start of the pull.
    pub offset: u32,
    /// Copied from the PULL.
    pub handle: PullHandle,
    /// Copied from the PULL.
    pub magic: PullMagic,
}

impl PullReply {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        let payload = body.payload::<Raw>(raw.length.get().into())?;
        let frame = Frame::PullReply(Self {
            frame_seqnum: raw.frame_seqnum,
            length: raw.length.get(),
            offset: raw.offset.get(),
            handle: PullHandle::new(raw.handle.get()),
            magic: PullMagic::from_wire(raw.magic.get()),
        });
        Ok(Parsed {
            eth,
            frame,
            payload,
        })
    }

    #[inline]
    pub(super) fn emit(&self, eth: &EthHead, out: &mut Head) {
        let raw = Raw {
            kind: Kind::PullReply.to_wire(),
            frame_seqnum: self.frame_seqnum,
            length: self.length.into(),
            offset: self.offset.into(),
            handle: self.handle.get().into(),
            magic: self.magic.to_wire().into(),
        };
        out.put(eth, raw);
    }
}
