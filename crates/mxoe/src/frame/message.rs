//! The head that TINY, SMALL, MEDIUM and RNDV share (specification, section 3.4).

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Kind;
use crate::addr::{EndpointId, SeqNo, SessionId};

/// Body offsets 0..24 of TINY, SMALL and RNDV. MEDIUM has the checksum elsewhere.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawMessage {
    /// 0
    kind: u8,
    /// 1
    to: u8,
    /// 2
    from: u8,
    /// 3
    generation: u8,
    /// 4: payload bytes
    pub(super) length: U16,
    /// 6
    checksum: U16,
    /// 8
    seq: U16,
    /// 10
    piggyack: U16,
    /// 12
    match_info: U64,
    /// 20
    session: U32,
}
const _: () = assert!(size_of::<RawMessage>() == 24);

/// What all messages say of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageHead {
    /// Whom it is for.
    pub to: EndpointId,
    /// Who sends it.
    pub from: EndpointId,
    /// Byte 3: reserved in the specification, where it may hold anything. Between partners with
    /// [`super::Features::SPACES`] it names the matching space, and with [`super::Features::DATA`] it may have the bit [`MessageHead::DATA`].
    pub generation: u8,
    /// The checksum of the whole message's payload; undefined unless both ends use checksums.
    pub checksum: u16,
    /// The message's number.
    pub seq: SeqNo,
    /// Every message of the other direction before this one has been received completely.
    pub piggyack: SeqNo,
    /// The application's match information.
    pub match_info: u64,
    /// The session of `to`.
    pub session: SessionId,
}

impl RawMessage {
    #[inline]
    pub(super) fn head(&self) -> MessageHead {
        MessageHead {
            to: EndpointId::new(self.to),
            from: EndpointId::new(self.from),
            generation: self.generation,
            checksum: self.checksum.get(),
            seq: SeqNo::from_wire(self.seq.get()),
            piggyack: SeqNo::from_wire(self.piggyack.get()),
            match_info: self.match_info.get(),
            session: SessionId::new(self.session.get()),
        }
    }

    #[inline]
    pub(super) fn new(kind: Kind, head: &MessageHead, length: u16) -> Self {
        Self {
            kind: kind.to_wire(),
            to: head.to.get(),
            from: head.from.get(),
            generation: head.generation,
            length: length.into(),
            checksum: head.checksum.into(),
            seq: head.seq.to_wire().into(),
            piggyack: head.piggyack.to_wire().into(),
            match_info: head.match_info.into(),
            session: head.session.get().into(),
        }
    }
}

impl MessageHead {
    /// The bit of `generation` that says that the message brings data for its envelope: the first eight of its bytes, and beside a RNDV
    /// [`super::Rndv::data`].
    pub const DATA: u8 = 0x80;

    /// Whom a nack of this message goes to, whom it comes from, and the number it names.
    pub(super) const fn rejected(&self) -> (EndpointId, EndpointId, SeqNo) {
        (self.from, self.to, self.seq)
    }
}
