//! PULL (41): asks for a block of a large message (specification, sections 3.7 and 7.4).

use std::fmt;

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::rndv::Rdma;
use super::{Dialect, Frame, Kind, Parsed, WireError, narrow};
use crate::addr::{EndpointId, SessionId};

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCompat {
    /// 0
    begin: RawBegin,
    /// 12
    rdma_id: u8,
    /// 13
    rdma_seq: u8,
    /// 14
    rdma_offset: U16,
    /// 16
    handle: U32,
    /// 20
    magic: U32,
    /// 24
    first_frame_offset: U16,
    /// 26
    block_length: U16,
    /// 28
    frame_index: U32,
}
const _: () = assert!(size_of::<RawCompat>() == 32);

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawNative {
    /// 0
    begin: RawBegin,
    /// 12
    rdma_id: U32,
    /// 16
    rdma_seq: u8,
    /// 17
    reserved: [u8; 3],
    /// 20
    rdma_offset: U32,
    /// 24
    handle: U32,
    /// 28
    magic: U32,
    /// 32
    first_frame_offset: U32,
    /// 36
    block_length: U32,
    /// 40
    frame_index: U32,
}
const _: () = assert!(size_of::<RawNative>() == 44);

/// What both layouts begin with.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBegin {
    /// 0
    kind: u8,
    /// 1
    to: u8,
    /// 2
    from: u8,
    /// 3
    reserved: u8,
    /// 4
    session: U32,
    /// 8
    total_length: U32,
}

/// The puller's word for one of its endpoints, given back in PULL_REPLY and NACK_MCP, which name no endpoint.
///
/// Ours has the endpoint's number in its low 8 bits, so that a back end knows where to deliver.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PullMagic(u32);

impl PullMagic {
    /// "MyX", and a pattern that no endpoint number leaves all zero or all one.
    const PATTERN: u32 = 0x4d79_585a;

    /// The magic that the endpoint puts in its PULLs.
    #[must_use]
    #[inline]
    pub const fn for_endpoint(endpoint: EndpointId) -> Self {
        Self(Self::PATTERN ^ endpoint.get() as u32)
    }

    /// The endpoint it was made for.
    ///
    /// # Errors
    /// [`WireError::ForeignMagic`] when it is none of ours.
    #[inline]
    pub const fn endpoint(self) -> Result<EndpointId, WireError> {
        match (self.0 ^ Self::PATTERN).to_be_bytes() {
            [0, 0, 0, endpoint] => Ok(EndpointId::new(endpoint)),
            _ => Err(WireError::ForeignMagic(self.0)),
        }
    }

    /// As it stands in a frame, whoever made it.
    #[must_use]
    pub const fn from_wire(word: u32) -> Self {
        Self(word)
    }

    /// As it stands in a frame.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for PullMagic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The puller's word for one of its pulls, given back in PULL_REPLY and NACK_MCP.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PullHandle(u32);

impl PullHandle {
    /// The handle with this value, as it stands in frames.
    #[must_use]
    pub const fn new(word: u32) -> Self {
        Self(word)
    }

    /// The value.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for PullHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Asks for a block of a large message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pull {
    /// The endpoint that has the data.
    pub to: EndpointId,
    /// The puller.
    pub from: EndpointId,
    /// The session of `to`.
    pub session: SessionId,
    /// Bytes of the whole pull.
    pub total_length: u32,
    /// The region, from the RNDV.
    pub rdma: Rdma,
    /// Offset of the data in the region, from the RNDV.
    pub rdma_offset: u16,
    /// Given back in the replies.
    pub handle: PullHandle,
    /// Given back in the replies.
    pub magic: PullMagic,
    /// Bytes that the block's first frame lacks at its front.
    pub first_frame_offset: u16,
    /// Bytes asked for. In compat at most 65535.
    pub block_length: u32,
    /// The index of the block's first frame.
    pub frame_index: u32,
}

impl Pull {
    /// How many frames of `payload` bytes (P, see [`Dialect::pull_payload`]) the block takes. A replier
    /// drops a PULL that takes more than [`Dialect::pull_block_frames`].
    #[must_use]
    #[inline]
    pub fn frames(&self, payload: u32) -> u32 {
        u32::from(self.first_frame_offset)
            .saturating_add(self.block_length)
            .div_ceil(payload.max(1))
    }

    #[inline]
    pub(super) fn parse(dialect: Dialect, body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, pull, payload) = match dialect {
            Dialect::Compat => {
                let (eth, raw) = body.raw::<RawCompat>()?;
                (eth, raw.meaning(), body.payload::<RawCompat>(0)?)
            }
            Dialect::Native { .. } | Dialect::Wide { .. } => {
                let (eth, raw) = body.raw::<RawNative>()?;
                (eth, raw.meaning()?, body.payload::<RawNative>(0)?)
            }
        };
        Ok(Parsed {
            eth,
            frame: Frame::Pull(pull),
            payload,
        })
    }

    #[inline]
    pub(super) fn emit(&self, dialect: Dialect, eth: &EthHead, out: &mut Head) {
        let begin = RawBegin {
            kind: Kind::Pull.to_wire(),
            to: self.to.get(),
            from: self.from.get(),
            reserved: 0,
            session: self.session.get().into(),
            total_length: self.total_length.into(),
        };
        match dialect {
            Dialect::Compat => out.put(eth, RawCompat::new(self, begin)),
            Dialect::Native { .. } | Dialect::Wide { .. } => {
                out.put(eth, RawNative::new(self, begin))
            }
        }
    }
}

impl RawCompat {
    #[inline]
    fn meaning(&self) -> Pull {
        Pull {
            to: EndpointId::new(self.begin.to),
            from: EndpointId::new(self.begin.from),
            session: SessionId::new(self.begin.session.get()),
            total_length: self.begin.total_length.get(),
            rdma: Rdma {
                id: self.rdma_id,
                seq: self.rdma_seq,
            },
            rdma_offset: self.rdma_offset.get(),
            handle: PullHandle::new(self.handle.get()),
            magic: PullMagic::from_wire(self.magic.get()),
            first_frame_offset: self.first_frame_offset.get(),
            block_length: self.block_length.get().into(),
            frame_index: self.frame_index.get(),
        }
    }

    #[inline]
    fn new(pull: &Pull, begin: RawBegin) -> Self {
        Self {
            begin,
            rdma_id: pull.rdma.id,
            rdma_seq: pull.rdma.seq,
            rdma_offset: pull.rdma_offset.into(),
            handle: pull.handle.get().into(),
            magic: pull.magic.to_wire().into(),
            first_frame_offset: pull.first_frame_offset.into(),
            block_length: narrow(pull.block_length).into(),
            frame_index: pull.frame_index.into(),
        }
    }
}

impl RawNative {
    /// Region and offset are echoes of the RNDV's narrower fields, and frames are shorter than 64 KiB: wider
    /// values cannot be meant.
    #[inline]
    fn meaning(&self) -> Result<Pull, WireError> {
        Ok(Pull {
            to: EndpointId::new(self.begin.to),
            from: EndpointId::new(self.begin.from),
            session: SessionId::new(self.begin.session.get()),
            total_length: self.begin.total_length.get(),
            rdma: Rdma {
                id: within(self.rdma_id, u8::MAX.into())?,
                seq: self.rdma_seq,
            },
            rdma_offset: within(self.rdma_offset, u16::MAX.into())?,
            handle: PullHandle::new(self.handle.get()),
            magic: PullMagic::from_wire(self.magic.get()),
            first_frame_offset: within(self.first_frame_offset, u16::MAX.into())?,
            block_length: self.block_length.get(),
            frame_index: self.frame_index.get(),
        })
    }

    #[inline]
    fn new(pull: &Pull, begin: RawBegin) -> Self {
        Self {
            begin,
            rdma_id: u32::from(pull.rdma.id).into(),
            rdma_seq: pull.rdma.seq,
            reserved: [0; 3],
            rdma_offset: u32::from(pull.rdma_offset).into(),
            handle: pull.handle.get().into(),
            magic: pull.magic.to_wire().into(),
            first_frame_offset: u32::from(pull.first_frame_offset).into(),
            block_length: pull.block_length.into(),
            frame_index: pull.frame_index.into(),
        }
    }
}

/// A field that is wider than its meaning.
#[inline]
fn within<N: TryFrom<u32>>(field: U32, limit: u32) -> Result<N, WireError> {
    let value = field.get();
    N::try_from(value).map_err(|_| WireError::OutOfRange { value, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magic_knows_its_endpoint_and_strangers_have_none() {
        for number in 0..=u8::MAX {
            let endpoint = EndpointId::new(number);
            let magic = PullMagic::for_endpoint(endpoint);
            assert_eq!(magic.endpoint(), Ok(endpoint));
            // The reference peer's pattern.
            let foreign = 0x2107_1980 ^ u32::from(number);
            let error = WireError::ForeignMagic(foreign);
            assert_eq!(PullMagic::from_wire(foreign).endpoint(), Err(error));
        }
    }
}
