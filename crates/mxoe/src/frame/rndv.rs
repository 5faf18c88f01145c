//! RNDV (40): announces a large message (specification, sections 3.4, 3.6 and 7.3).

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::message::{MessageHead, RawMessage};
use super::{Frame, Kind, Parsed, WireError};

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    /// 0
    message: RawMessage,
    /// 24
    length: U32,
    /// 28
    rdma_id: u8,
    /// 29
    rdma_seq: u8,
    /// 30
    rdma_offset: U16,
}
const _: () = assert!(size_of::<Raw>() == 32);

/// What RNDV's `length` says: the bytes from 24 on.
const DATA_BYTES: u16 = 8;

/// With data for the envelope behind it (`docs/wire.md`, "DATA").
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawWithData {
    rndv: Raw,
    /// 32
    data: U64,
}
const _: () = assert!(size_of::<RawWithData>() == 40);

/// What `length` is with it.
const MORE_DATA_BYTES: u16 = DATA_BYTES + 8;

/// The sender's region that holds a large message, as RNDV, PULL and NOTIFY name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rdma {
    /// The region: one per large message in flight.
    pub id: u8,
    /// The sender's use count of that region; wraps.
    pub seq: u8,
}

/// Announces a large message. There is no payload: it is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rndv {
    /// What all messages carry.
    pub head: MessageHead,
    /// The whole message's bytes.
    pub length: u32,
    /// Where to pull it from.
    pub rdma: Rdma,
    /// Offset of the data in the region; given back in every PULL.
    pub rdma_offset: u16,
    /// Data for the envelope, where the head says that there is some ([`MessageHead::DATA`]) and the frame holds it.
    pub data: Option<u64>,
}

impl Rndv {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        let data = raw.message.length();
        if data < DATA_BYTES {
            return Err(WireError::ShortData {
                length: data,
                need: DATA_BYTES,
            });
        }
        body.payload::<Raw>(usize::from(data.saturating_sub(DATA_BYTES)))?;
        let says = raw.message.head().generation & MessageHead::DATA != 0;
        let extended = match says && data >= MORE_DATA_BYTES {
            true => Some(body.raw::<RawWithData>()?.1.data.get()),
            false => None,
        };
        let frame = Frame::Rndv(Self {
            head: raw.message.head(),
            length: raw.length.get(),
            rdma: Rdma {
                id: raw.rdma_id,
                seq: raw.rdma_seq,
            },
            rdma_offset: raw.rdma_offset.get(),
            data: extended,
        });
        let payload = match extended {
            Some(_) => body.payload::<RawWithData>(0)?,
            None => body.payload::<Raw>(0)?,
        };
        Ok(Parsed {
            eth,
            frame,
            payload,
        })
    }

    #[inline]
    pub(super) fn emit(&self, eth: &EthHead, out: &mut Head) {
        debug_assert!(
            self.data.is_none() || self.head.generation & MessageHead::DATA != 0,
            "the head says that there is data"
        );
        let length = match self.data {
            Some(_) => MORE_DATA_BYTES,
            None => DATA_BYTES,
        };
        let rndv = Raw {
            message: RawMessage::new(Kind::Rndv, &self.head, length),
            length: self.length.into(),
            rdma_id: self.rdma.id,
            rdma_seq: self.rdma.seq,
            rdma_offset: self.rdma_offset.into(),
        };
        match self.data {
            Some(data) => out.put(
                eth,
                RawWithData {
                    rndv,
                    data: data.into(),
                },
            ),
            None => out.put(eth, rndv),
        }
    }
}
