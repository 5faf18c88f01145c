//! What can go wrong, one enum for each reaction.

use crate::layout::Version;

/// The peer broke the rules of the ring. The queue pair is dead: detach that peer, serve the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// A header word with a kind that does not exist.
    #[error("record of unknown kind {kind} at line {line}")]
    UnknownKind {
        /// The kind as written.
        kind: u8,
        /// The line in the ring.
        line: u32,
    },
    /// A header word with flags that were not agreed.
    #[error("record with unknown flags {flags:#x} at line {line}")]
    UnknownFlags {
        /// The flags as written.
        flags: u8,
        /// The line in the ring.
        line: u32,
    },
    /// A hint where hints were not agreed.
    #[error("record with a hint of {hint_len} bytes, which was not agreed, at line {line}")]
    HintNotAgreed {
        /// Bytes of hint as written.
        hint_len: u16,
        /// The line in the ring.
        line: u32,
    },
    /// A record longer than half the ring.
    #[error("record of {lines} lines at line {line}, where the largest is {largest}")]
    TooLong {
        /// Lines it would take.
        lines: u32,
        /// The line in the ring.
        line: u32,
        /// The largest record in lines.
        largest: u32,
    },
    /// A record that would cross the end of the ring.
    #[error("record of {lines} lines at line {line} crosses the end of the ring at {end}")]
    AcrossEnd {
        /// Lines it would take.
        lines: u32,
        /// The line in the ring.
        line: u32,
        /// Lines in the ring.
        end: u32,
    },
    /// A pad at the start of the ring would skip everything.
    #[error("pad record at the start of the ring")]
    PadAtStart,
    /// The consumer says that it has consumed what was never there, or takes back what it said before.
    #[error("consumed {consumed} is not between {before} and {tail}")]
    ConsumedOutsideRing {
        /// The position as written.
        consumed: u32,
        /// The position that it wrote before.
        before: u32,
        /// Our own position.
        tail: u32,
    },
}

/// A record cannot be reserved, not even later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// The consumer at the other end broke the rules.
    #[error("the peer at the other end of the ring broke its rules")]
    Peer(#[from] PeerFault),
    /// The record is longer than half the ring; drop the frame.
    #[error("record of {lines} lines for a ring whose largest is {largest}")]
    TooLong {
        /// Lines it would take.
        lines: usize,
        /// The largest record in lines.
        largest: usize,
    },
    /// A hint where hints were not agreed.
    #[error("a hint, which was not agreed")]
    HintNotAgreed,
}

/// A queue pair cannot be made of these pages on these terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// A capacity that no ring has.
    #[error("ring capacity {0}: not a power of two from 4096 to 67108864 bytes")]
    Capacity(u32),
    /// Two builds that cannot work together.
    #[error("ring ABI {ours} here, {theirs} there")]
    Version {
        /// What we speak.
        ours: Version,
        /// What the peer speaks.
        theirs: Version,
    },
    /// The rings do not fit.
    #[error("{have} bytes of pages for a queue pair of {need}")]
    PagesTooShort {
        /// Bytes there are.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// The pages cannot be written.
    #[error("the pages of a queue pair are read-only")]
    ReadOnly,
    /// The header block is not the one that was agreed.
    #[error("header word at {offset} is {found:#x}, agreed was {agreed:#x}")]
    Header {
        /// Where the word is, in bytes.
        offset: usize,
        /// What is there.
        found: u64,
        /// What ought to be there.
        agreed: u64,
    },
}
