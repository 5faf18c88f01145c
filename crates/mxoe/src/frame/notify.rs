//! NOTIFY (43): says that a large message has been pulled (specification, sections 3.9 and 7.3).

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::rndv::Rdma;
use super::{Frame, Kind, Parsed, WireError};
use crate::addr::{EndpointId, SeqNo, SessionId};

/// Mind that session and sequence numbers are not where messages have them.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
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
    /// 12
    rdma_id: u8,
    /// 13
    rdma_seq: u8,
    /// 14
    reserved_2: [u8; 4],
    /// 18
    seq: U16,
    /// 20
    piggyack: U16,
    /// 22
    reserved_3: [u8; 2],
}
const _: () = assert!(size_of::<Raw>() == 24);

/// Says that a large message has been pulled, or will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notify {
    /// The sender of the large message.
    pub to: EndpointId,
    /// Who pulled.
    pub from: EndpointId,
    /// The session of `to`.
    pub session: SessionId,
    /// Bytes transferred; 0 when the pull failed.
    pub total_length: u32,
    /// The region, from the RNDV.
    pub rdma: Rdma,
    /// Its number among the messages of this direction.
    pub seq: SeqNo,
    /// Every message of the other direction before this one has been received completely.
    pub piggyack: SeqNo,
}

impl Notify {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        let frame = Frame::Notify(Self {
            to: EndpointId::new(raw.to),
            from: EndpointId::new(raw.from),
            session: SessionId::new(raw.session.get()),
            total_length: raw.total_length.get(),
            rdma: Rdma {
                id: raw.rdma_id,
                seq: raw.rdma_seq,
            },
            seq: SeqNo::from_wire(raw.seq.get()),
            piggyack: SeqNo::from_wire(raw.piggyack.get()),
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
            kind: Kind::Notify.to_wire(),
            to: self.to.get(),
            from: self.from.get(),
            reserved: 0,
            session: self.session.get().into(),
            total_length: self.total_length.into(),
            rdma_id: self.rdma.id,
            rdma_seq: self.rdma.seq,
            reserved_2: [0; 4],
            seq: self.seq.to_wire().into(),
            piggyack: self.piggyack.to_wire().into(),
            reserved_3: [0; 2],
        };
        out.put(eth, raw);
    }
}
