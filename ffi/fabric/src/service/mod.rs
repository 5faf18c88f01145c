//! Operations on peers' memory, as messages between endpoints in the engine's service space.
//!
//! | message | match information | what it holds |
//! |---|---|---|
//! | request | 1 in the upper two bits, the operation's number below | a [`Request`], and what goes with it: bytes to be written, operands |
//! | reply | 2, the same number | what was asked for; its data are 0, or the error number for which nothing was done |
//! | bulk | 3, the same number | bytes to be written that are too many for a request, which comes before it |
//!
//! A request is no longer than one frame, and is carried out when it arrives, on whatever thread finds it. The bytes of a bulk go straight into the
//! memory that its request has named; that it was taken tells its sender that they are there. docs/libfabric.md has the rest.

mod origin;
mod target;
mod works;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use slab::Slab;

pub(crate) use origin::Operation;
use origin::Pending;
use works::Works;

use crate::host::{self, Level};

/// The most bytes that go with a request or a small reply. Fewer where frames are shorter.
pub(crate) const SHORT: usize = 1024;

/// What of a frame is not the application's: heads, and the request.
const HEADS: usize = 64 + Request::BYTES;

/// The most bytes that go with a request, on a board with frames of this length.
pub(crate) fn short(max_frame: u32) -> usize {
    (max_frame as usize).saturating_sub(HEADS).min(SHORT)
}

/// An endpoint's operations on memory, those of its own and those of its peers.
#[derive(Default)]
pub(crate) struct Service {
    /// Our operations that are not over, by the number in their messages.
    pending: Mutex<Slab<Pending>>,
    /// Tells operations apart that had the same place.
    begun: AtomicU64,
    /// Peers' operations that still move bytes.
    works: Mutex<Works>,
    /// Requests of peers that were not carried out.
    refused: AtomicU64,
    /// Other messages of peers that nothing here has asked for, or asks for any more.
    unasked: AtomicU64,
    /// Times that a peer was disconnected, since it asked and asked and took no answers.
    dropped: AtomicU64,
}

impl Service {
    /// Forgets everything: the endpoint is closed. Says in the log what peers have wished in vain.
    pub(crate) fn end(&self) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (refused, unasked) = (count(&self.refused), count(&self.unasked));
        let dropped = count(&self.dropped);
        if refused + unasked + dropped > 0 {
            let line = format!(
                "operations of peers: {refused} refused, {unasked} messages that nothing waited for, {dropped} disconnects"
            );
            host::log(Level::Info, &line);
        }
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.works
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// What a service message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Reply,
    Bulk,
}

/// The bits of match information that number the operation.
const NUMBER: u64 = u64::MAX >> 2;

impl Kind {
    fn bits(self, number: u64) -> u64 {
        let kind: u64 = match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Bulk => 3,
        };
        kind << 62 | number & NUMBER
    }

    fn of(bits: u64) -> Option<(Self, u64)> {
        let kind = match bits >> 62 {
            1 => Self::Request,
            2 => Self::Reply,
            3 => Self::Bulk,
            _ => return None,
        };
        Some((kind, bits & NUMBER))
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The reply brings the bytes.
    Read,
    /// The bytes are here.
    Write,
    /// The bytes follow as a bulk.
    WriteBulk,
    /// Operands are here.
    Atomic,
    /// The same, and the reply brings what was there before.
    Fetch,
    /// Operands and then what to compare with are here; the reply brings what was there before.
    Compare,
}

const ACTIONS: [Action; 6] = [
    Action::Read,
    Action::Write,
    Action::WriteBulk,
    Action::Atomic,
    Action::Fetch,
    Action::Compare,
];

/// The beginning of a request, little-endian.
///
/// | offset | bytes | |
/// |---|---|---|
/// | 0 | 1 | [`Action`] |
/// | 1 | 1 | 1: the target's application is told, with data |
/// | 2 | 1 | type of elements, as libfabric numbers them |
/// | 3 | 1 | what to do with each |
/// | 4 | 4 | 0 |
/// | 8 | 8 | key of the memory |
/// | 16 | 8 | address |
/// | 24 | 8 | bytes there |
/// | 32 | 8 | data |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) action: Action,
    pub(crate) datatype: u8,
    pub(crate) op: u8,
    pub(crate) key: u64,
    pub(crate) addr: u64,
    pub(crate) len: u64,
    pub(crate) data: Option<u64>,
}

impl Request {
    /// Length of a request without what goes with it.
    pub(crate) const BYTES: usize = 40;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = self.action as u8;
        bytes[1] = u8::from(self.data.is_some());
        bytes[2] = self.datatype;
        bytes[3] = self.op;
        bytes[8..16].copy_from_slice(&self.key.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.addr.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.len.to_le_bytes());
        bytes[32..].copy_from_slice(&self.data.unwrap_or(0).to_le_bytes());
        bytes
    }

    /// `None` for what is no request.
    fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<{ Self::BYTES }>()?;
        let word = |at: usize| Some(u64::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let action = *ACTIONS.get(usize::from(head[0]))?;
        let data = match head[1] {
            0 => None,
            1 => Some(word(32)?),
            _ => return None,
        };
        let request = Self {
            action,
            datatype: head[2],
            op: head[3],
            key: word(8)?,
            addr: word(16)?,
            len: word(24)?,
            data,
        };
        Some((request, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_was_made_of_it() {
        for (at, action) in ACTIONS.into_iter().enumerate() {
            assert_eq!(action as usize, at);
            let request = Request {
                action,
                datatype: 7,
                op: 2,
                key: u64::MAX - 1,
                addr: 1 << 40,
                len: 12,
                data: (at % 2 == 0).then_some(99),
            };
            let mut bytes = request.to_bytes().to_vec();
            bytes.extend_from_slice(b"abc");
            assert_eq!(Request::parse(&bytes), Some((request, &b"abc"[..])));
            assert_eq!(Request::parse(&bytes[..Request::BYTES - 1]), None);
        }
        assert_eq!(Request::parse(&[99; 64]), None);
    }

    #[test]
    fn kinds_and_numbers_are_apart() {
        for kind in [Kind::Request, Kind::Reply, Kind::Bulk] {
            assert_eq!(Kind::of(kind.bits(NUMBER)), Some((kind, NUMBER)));
        }
        assert_eq!(Kind::of(5), None);
    }
}
