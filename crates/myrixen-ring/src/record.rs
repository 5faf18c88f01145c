//! Header words. `docs/ring-abi.md`, "Records".

use std::num::NonZeroU64;

use crate::error::PeerFault;
use crate::layout::{Features, LINE, Ring};

/// Bytes of a header word.
pub(crate) const HEADER: usize = 8;

/// A header word that says "nothing here yet".
pub(crate) const STOP: u64 = 0;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An Ethernet frame, from the destination MAC on.
    Frame,
    /// A control message.
    Control,
}

const FRAME: u8 = 1;
const PAD: u8 = 2;
const CONTROL: u8 = 3;

/// A record that was found in a ring: its checked header, copied out, and where it is.
///
/// It stays readable until it has been passed to [`Consumer::advance`](crate::Consumer::advance) and
/// [`Consumer::release`](crate::Consumer::release) has been called; after that the producer may write over it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a record stays in the ring until it is passed to `advance`"]
pub struct Record {
    pub(crate) position: u32,
    pub(crate) lines: u32,
    /// The header word, which has been checked. It is taken apart where that is needed: what is put together of small pieces and read in
    /// larger ones has a processor wait until all that it stored before is in its cache, which may be the frame before.
    word: NonZeroU64,
}

impl Record {
    /// What it carries.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> Kind {
        if kind_of(self.word.get()) == CONTROL {
            Kind::Control
        } else {
            Kind::Frame
        }
    }

    /// Bytes of frame or message.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        len_of(self.word.get()) as usize
    }

    /// Whether there is no byte of frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of hint; 0 when there is none.
    #[inline]
    #[must_use]
    pub fn hint_len(&self) -> usize {
        usize::from(hint_len_of(self.word.get()))
    }

    /// Where the frame begins, counted from the record's first line.
    pub(crate) const FRAME_AT: usize = HEADER;

    /// Where the hint begins, counted from the record's first line.
    pub(crate) fn hint_at(&self) -> usize {
        hint_at(self.len())
    }
}

/// Where the hint of a frame of `len` bytes begins, counted from the record's first line.
pub(crate) fn hint_at(len: usize) -> usize {
    (HEADER + len).next_multiple_of(8)
}

/// Lines of a record. `len` must be below 2^33, as any `u32` is.
#[inline(always)]
pub(crate) fn lines_of(len: usize, hint_len: usize) -> usize {
    let bytes = if hint_len == 0 {
        HEADER + len
    } else {
        hint_at(len) + hint_len
    };
    bytes.div_ceil(LINE)
}

/// The header word of a record.
#[inline(always)]
pub(crate) fn word(kind: Kind, len: u32, hint_len: u16) -> u64 {
    let kind = match kind {
        Kind::Frame => FRAME,
        Kind::Control => CONTROL,
    };
    u64::from(len) | u64::from(kind) << 32 | u64::from(hint_len) << 48
}

/// The header word of a pad: skip to the start of the ring.
pub(crate) const PAD_WORD: u64 = (PAD as u64) << 32;

/// Whether a header word says to skip to the start of the ring. The rest of the word is not looked at.
#[inline(always)]
pub(crate) fn is_pad(word: u64) -> bool {
    kind_of(word) == PAD
}

#[inline(always)]
fn kind_of(word: u64) -> u8 {
    word.to_le_bytes()[4]
}

#[inline(always)]
fn len_of(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[inline(always)]
fn hint_len_of(word: u64) -> u16 {
    let [.., a, b] = word.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// The record that a header word at `position` announces, when it obeys the rules.
// In line, and apart from what is told of one that does not: a record that is returned by memory is waited for.
#[inline(always)]
pub(crate) fn check(
    word: u64,
    position: u32,
    ring: &Ring,
    features: Features,
) -> Result<Record, PeerFault> {
    let [_, _, _, _, kind, flags, _, _] = word.to_le_bytes();
    let (len, hint_len) = (len_of(word), hint_len_of(word));
    let checked = NonZeroU64::new(word).filter(|_| matches!(kind, FRAME | CONTROL) && flags == 0);
    let Some(checked) = checked else {
        return Err(fault(word, position, ring, None));
    };
    if hint_len != 0 && !features.contains(Features::HINTS) {
        return Err(fault(word, position, ring, None));
    }
    let lines = u32::try_from(lines_of(len as usize, usize::from(hint_len))).unwrap_or(u32::MAX);
    if lines > ring.largest() || lines > ring.lines_to_end(position) {
        return Err(fault(word, position, ring, Some(lines)));
    }
    Ok(Record {
        position,
        lines,
        word: checked,
    })
}

/// Which rule a header word breaks that breaks one; `lines` if its hint breaks none.
#[cold]
fn fault(word: u64, position: u32, ring: &Ring, lines: Option<u32>) -> PeerFault {
    let line = ring.index(position);
    let [.., kind, flags, h0, h1] = word.to_le_bytes();
    let (largest, end) = (ring.largest(), ring.lines);
    match (kind, flags, lines) {
        (FRAME | CONTROL, 0, None) => PeerFault::HintNotAgreed {
            hint_len: u16::from_le_bytes([h0, h1]),
            line,
        },
        (FRAME | CONTROL, 0, Some(lines)) if lines > largest => PeerFault::TooLong {
            lines,
            line,
            largest,
        },
        (FRAME | CONTROL, 0, Some(lines)) => PeerFault::AcrossEnd { lines, line, end },
        (FRAME | CONTROL, flags, _) => PeerFault::UnknownFlags { flags, line },
        (kind, ..) => PeerFault::UnknownKind { kind, line },
    }
}
