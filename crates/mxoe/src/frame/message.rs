//! The head that TINY, SMALL, MEDIUM and RNDV share (specification, section 3.4).

use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Kind;
use crate::addr::{EndpointId, SeqNo, SessionId};

/// Body offsets 0..24 of TINY, SMALL and RNDV. MEDIUM has the checksum elsewhere. As three words, as [`RawEth`](super::head::RawEth) is two.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawMessage {
    /// 0 packet type, 1 to, 2 from, 3 generation, 4 payload bytes (2), 6 checksum (2)
    first: U64,
    /// 8 number (2), 10 piggyack (2), 12 the upper half of the match information (4)
    second: U64,
    /// 16 its lower half (4), 20 session (4)
    third: U64,
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

/// The byte, or the two or four bytes, that end so many bits before the end of a word.
#[inline]
fn byte(word: u64, after: u32) -> u8 {
    (word >> after & 0xff) as u8
}

#[inline]
fn pair(word: u64, after: u32) -> u16 {
    (word >> after & 0xffff) as u16
}

#[inline]
fn low(word: u64) -> u32 {
    (word & 0xffff_ffff) as u32
}

impl RawMessage {
    /// Payload bytes.
    #[inline]
    pub(super) fn length(&self) -> u16 {
        pair(self.first.get(), 16)
    }

    #[inline]
    pub(super) fn head(&self) -> MessageHead {
        let (first, second, third) = (self.first.get(), self.second.get(), self.third.get());
        MessageHead {
            to: EndpointId::new(byte(first, 48)),
            from: EndpointId::new(byte(first, 40)),
            generation: byte(first, 32),
            checksum: pair(first, 0),
            seq: SeqNo::from_wire(pair(second, 48)),
            piggyack: SeqNo::from_wire(pair(second, 32)),
            match_info: second << 32 | third >> 32,
            session: SessionId::new(low(third)),
        }
    }

    #[inline(always)]
    pub(super) fn new(kind: Kind, head: &MessageHead, length: u16) -> Self {
        let [kind, to, from] = [kind.to_wire(), head.to.get(), head.from.get()].map(u64::from);
        let first = kind << 56 | to << 48 | from << 40 | u64::from(head.generation) << 32;
        let first = first | u64::from(length) << 16 | u64::from(head.checksum);
        let [seq, piggyack] = [head.seq, head.piggyack].map(|number| u64::from(number.to_wire()));
        let session = u64::from(head.session.get());
        Self {
            first: first.into(),
            second: (seq << 48 | piggyack << 32 | head.match_info >> 32).into(),
            third: (head.match_info << 32 | session).into(),
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
