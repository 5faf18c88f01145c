//! TRUC (35) carrying a LIBACK: an explicit acknowledgement (specification, sections 3.2 and 6.3).

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::{Frame, Kind, Parsed, WireError};
use crate::addr::{EndpointId, SeqNo, SessionId};

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
    /// 4: bytes from offset 12 on
    length: u8,
    /// 5
    reserved_2: [u8; 3],
    /// 8
    session: U32,
    /// 12
    data_type: u8,
    /// 13
    reserved_3: u8,
    /// 14
    seq: U16,
    /// 16: the same as `session`
    data_session: U32,
    /// 20
    acknum: U32,
    /// 24: sent equal to `seq`, ignored by everybody
    send_seq: U16,
    /// 26: sent as 0, ignored by everybody
    resent: u8,
    /// 27
    reserved_4: u8,
}
const _: () = assert!(size_of::<Raw>() == 28);

/// The data type of a LIBACK.
const LIBACK: u8 = 0x55;
/// Bytes of a LIBACK.
const LIBACK_BYTES: u8 = 16;

/// An explicit acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Liback {
    /// Whom it tells.
    pub to: EndpointId,
    /// Who received.
    pub from: EndpointId,
    /// The session of `to`.
    pub session: SessionId,
    /// Every message before this one has been received completely.
    pub seq: SeqNo,
    /// Strictly increasing per partner, from 1: older acknowledgements are ignored.
    pub acknum: u32,
}

impl Liback {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        if raw.length < LIBACK_BYTES {
            let (length, need) = (raw.length.into(), LIBACK_BYTES.into());
            return Err(WireError::ShortData { length, need });
        }
        // What follows the LIBACK is ignored, but has to be there.
        body.payload::<Raw>(usize::from(raw.length.saturating_sub(LIBACK_BYTES)))?;
        if raw.data_type != LIBACK {
            return Err(WireError::UnknownTruc(raw.data_type));
        }
        if raw.session != raw.data_session {
            let (head, data) = (raw.session.get(), raw.data_session.get());
            return Err(WireError::SessionsDiffer { head, data });
        }
        let frame = Frame::Truc(Self {
            to: EndpointId::new(raw.to),
            from: EndpointId::new(raw.from),
            session: SessionId::new(raw.session.get()),
            seq: SeqNo::from_wire(raw.seq.get()),
            acknum: raw.acknum.get(),
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
            kind: Kind::Truc.to_wire(),
            to: self.to.get(),
            from: self.from.get(),
            reserved: 0,
            length: LIBACK_BYTES,
            reserved_2: [0; 3],
            session: self.session.get().into(),
            data_type: LIBACK,
            reserved_3: 0,
            seq: self.seq.to_wire().into(),
            data_session: self.session.get().into(),
            acknum: self.acknum.into(),
            send_seq: self.seq.to_wire().into(),
            resent: 0,
            reserved_4: 0,
        };
        out.put(eth, raw);
    }
}
