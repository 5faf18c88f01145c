//! MEDIUM (39): one fragment of a message (specification, sections 3.5 and 7.2).

use std::ops::Range;

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::message::MessageHead;
use super::{Dialect, Frame, Kind, Parsed, WireError, narrow};
use crate::addr::{EndpointId, SeqNo, SessionId};

/// Both dialects: only the fields at 4 and 27 differ.
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
    generation: u8,
    /// 4: the whole message's bytes. compat: 16 bits, and 16 reserved; native: 32 bits
    length: [u8; 4],
    /// 8
    seq: U16,
    /// 10
    piggyack: U16,
    /// 12
    match_info: U64,
    /// 20
    session: U32,
    /// 24
    fragment_length: U16,
    /// 26
    fragment: u8,
    /// 27: compat: logarithm of the fragment size; native: reserved
    pipeline: u8,
    /// 28
    checksum: U16,
    /// 30
    reserved: [u8; 2],
}
const _: () = assert!(size_of::<Raw>() == 32);

/// The logarithm of compat's fragment size, the only one that is sent.
const PIPELINE: u8 = 12;

/// One fragment of a message; its bytes are the frame's payload.
///
/// A parsed one fits its message: every fragment is full but the last, so a message whose fragments have
/// all come has no holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Medium {
    /// What all messages carry; the same in every fragment.
    pub head: MessageHead,
    /// The whole message's bytes, at most [`Dialect::max_medium_received`].
    pub length: u32,
    /// The fragment's number, below [`Dialect::FRAGMENT_NUMBERS`].
    pub fragment: u8,
}

impl Medium {
    /// Where in the message this fragment's payload lies.
    #[must_use]
    #[inline]
    pub fn range(&self, dialect: Dialect) -> Range<u32> {
        let full = dialect.fragment_payload();
        let start = u32::from(self.fragment).saturating_mul(full);
        start..start.saturating_add(full).min(self.length)
    }

    /// How many fragments the message has: at least one, even when it is empty.
    #[must_use]
    #[inline]
    pub fn fragments(&self, dialect: Dialect) -> u32 {
        self.length.div_ceil(dialect.fragment_payload()).max(1)
    }

    #[inline]
    pub(super) fn parse(dialect: Dialect, body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        let length = match dialect {
            Dialect::Compat => {
                let [high, low, ..] = raw.length;
                u16::from_be_bytes([high, low]).into()
            }
            Dialect::Native { .. } | Dialect::Wide { .. } => u32::from_be_bytes(raw.length),
        };
        let limit = dialect.max_medium_received();
        if length > limit {
            return Err(WireError::TooLong { length, limit });
        }
        // Every peer known sends 12. With another fragment size the message would not be cut at
        // our multiples, and holes could not be told from duplicates.
        if dialect == Dialect::Compat && raw.pipeline != PIPELINE {
            let (value, limit) = (raw.pipeline.into(), PIPELINE.into());
            return Err(WireError::OutOfRange { value, limit });
        }
        let medium = Self {
            head: raw.head(),
            length,
            fragment: raw.fragment,
        };
        medium.check(dialect, raw.fragment_length.get())?;
        let payload = body.payload::<Raw>(raw.fragment_length.get().into())?;
        Ok(Parsed {
            eth,
            frame: Frame::Medium(medium),
            payload,
        })
    }

    /// Section 7.2: all fragments are full but the last, and numbered below 32.
    #[inline]
    fn check(&self, dialect: Dialect, have: u16) -> Result<(), WireError> {
        let Range { start, end } = self.range(dialect);
        let numbered =
            u32::from(self.fragment) < self.fragments(dialect).min(Dialect::FRAGMENT_NUMBERS);
        if numbered && end.saturating_sub(start) == u32::from(have) {
            return Ok(());
        }
        let (number, message) = (self.fragment, self.length);
        Err(WireError::Fragment {
            number,
            have,
            message,
        })
    }

    #[inline]
    pub(super) fn emit(&self, dialect: Dialect, eth: &EthHead, out: &mut Head) {
        let (length, pipeline) = match dialect {
            Dialect::Compat => {
                let [high, low] = narrow(self.length).to_be_bytes();
                ([high, low, 0, 0], PIPELINE)
            }
            Dialect::Native { .. } | Dialect::Wide { .. } => (self.length.to_be_bytes(), 0),
        };
        let Range { start, end } = self.range(dialect);
        let raw = Raw {
            kind: Kind::Medium.to_wire(),
            to: self.head.to.get(),
            from: self.head.from.get(),
            generation: self.head.generation,
            length,
            seq: self.head.seq.to_wire().into(),
            piggyack: self.head.piggyack.to_wire().into(),
            match_info: self.head.match_info.into(),
            session: self.head.session.get().into(),
            fragment_length: narrow(end.saturating_sub(start)).into(),
            fragment: self.fragment,
            pipeline,
            checksum: self.head.checksum.into(),
            reserved: [0; 2],
        };
        out.put(eth, raw);
    }
}

impl Raw {
    #[inline]
    fn head(&self) -> MessageHead {
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
}
