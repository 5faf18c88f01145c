//! RNDV (40): announces a large message (specification, sections 3.4, 3.6 and 7.3).

use zerocopy::byteorder::big_endian::{U16, U32};
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
}

impl Rndv {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        let data = raw.message.length.get();
        if data < DATA_BYTES {
            return Err(WireError::ShortData {
                length: data,
                need: DATA_BYTES,
            });
        }
        body.payload::<Raw>(usize::from(data.saturating_sub(DATA_BYTES)))?;
        let frame = Frame::Rndv(Self {
            head: raw.message.head(),
            length: raw.length.get(),
            rdma: Rdma {
                id: raw.rdma_id,
                seq: raw.rdma_seq,
            },
            rdma_offset: raw.rdma_offset.get(),
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
            message: RawMessage::new(Kind::Rndv, &self.head, DATA_BYTES),
            length: self.length.into(),
            rdma_id: self.rdma.id,
            rdma_seq: self.rdma.seq,
            rdma_offset: self.rdma_offset.into(),
        };
        out.put(eth, raw);
    }
}
