//! Every packet type of MXoE: bytes to meaning and back, in both dialects.
//!
//! One file a packet type, with the offset of each field. [`parse`] and [`Frame::emit`] undo each other;
//! reserved bytes are sent as 0 and ignored on receipt. Nothing here allocates, panics on a peer's bytes, or
//! believes a length that the frame does not hold.
//!
//! ```
//! use mxoe::addr::{EndpointId, NicAddr, PeerIndex, SeqNo, SessionId};
//! use mxoe::frame::{Dialect, EthHead, Frame, Head, MessageHead, Tiny, parse};
//!
//! let eth = EthHead {
//!     destination: NicAddr::new([2, 0, 0, 0, 0, 11]),
//!     source: NicAddr::new([2, 0, 0, 0, 0, 10]),
//!     peer_index: PeerIndex::UNKNOWN,
//! };
//! let head = MessageHead {
//!     to: EndpointId::new(3),
//!     from: EndpointId::new(1),
//!     generation: 0,
//!     checksum: 0,
//!     seq: SeqNo::FIRST,
//!     piggyack: SeqNo::FIRST,
//!     match_info: 0xdead_beef,
//!     session: SessionId::new(7),
//! };
//! let tiny = Frame::Tiny(Tiny { head, length: 5 });
//! let mut out = Head::new();
//! tiny.emit(Dialect::DEFAULT, &eth, &mut out);
//!
//! let mut wire = out.to_vec();
//! wire.extend(b"hello");
//! let parsed = parse(Dialect::DEFAULT, &wire, wire.len())?;
//! assert_eq!((parsed.eth, parsed.frame), (eth, tiny));
//! assert_eq!(&wire[parsed.payload], b"hello");
//! # Ok::<(), mxoe::frame::WireError>(())
//! ```

// Peers' bytes are read here.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod connect;
mod dialect;
mod error;
mod guess;
mod head;
mod host_query;
mod host_reply;
mod kind;
mod medium;
mod message;
mod nack_lib;
mod nack_mcp;
mod notify;
mod pull;
mod pull_reply;
mod raw;
mod rndv;
mod route;
mod short;
mod small;
mod tiny;
mod truc;

use std::ops::Range;

pub use connect::{Connect, ConnectRole, ConnectStatus, Features};
pub use dialect::{BadDialect, Dialect, Mtu};
pub use error::{WireError, WireErrorKind};
pub use head::{ETH_BYTES, ETHER_TYPE, EthHead, HEAD_BYTES, Head};
pub use host_query::HostQuery;
pub use host_reply::{BadHostName, HostName, HostReply};
pub use kind::Kind;
pub use medium::Medium;
pub use message::MessageHead;
pub use nack_lib::{NackKind, NackLib};
pub use nack_mcp::NackMcp;
pub use notify::Notify;
pub use pull::{Pull, PullHandle, PullMagic};
pub use pull_reply::PullReply;
pub use raw::Announcement;
pub use rndv::{Rdma, Rndv};
pub use route::{Nack, Route, nack_for, rewrite_destination, rewrite_source, route};
pub(crate) use short::ShortMessage;
pub use small::Small;
pub use tiny::Tiny;
pub use truc::Liback;

use head::Body;

/// The meaning of a frame, without Ethernet header and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// To or from a discovery daemon; opaque, all of it payload. See [`Announcement`].
    Raw,
    /// Asks a board for its name.
    HostQuery(HostQuery),
    /// Tells a board's name.
    HostReply(HostReply),
    /// An explicit acknowledgement.
    Truc(Liback),
    /// Request or reply of the handshake.
    Connect(Connect),
    /// A message of at most 32 bytes.
    Tiny(Tiny),
    /// A message of at most 128 bytes.
    Small(Small),
    /// A fragment of a message.
    Medium(Medium),
    /// Announces a large message.
    Rndv(Rndv),
    /// Asks for a block of a large message.
    Pull(Pull),
    /// A piece of a large message.
    PullReply(PullReply),
    /// Says that a large message has been pulled.
    Notify(Notify),
    /// Rejects a packet of the library.
    NackLib(NackLib),
    /// Rejects a PULL.
    NackMcp(NackMcp),
}

/// A frame taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parsed {
    /// The head that all frames have in common.
    pub eth: EthHead,
    /// What it says.
    pub frame: Frame,
    /// Where in the frame its payload lies: always within the frame's length, though perhaps beyond the
    /// head that was parsed. Padding is not part of it.
    pub payload: Range<usize>,
}

/// Takes a frame apart.
///
/// `head` is a private copy of at least the first `min(len, HEAD_BYTES)` bytes of a frame, from the destination
/// MAC on; `len` is the whole frame's length, padding included, frame check sequence not.
///
/// # Errors
/// A [`WireError`] for whatever cannot be so: drop the frame and count it.
#[inline]
pub fn parse(dialect: Dialect, head: &[u8], len: usize) -> Result<Parsed, WireError> {
    let (kind, body) = Body::of(head, len)?;
    match kind {
        Kind::Tiny => Tiny::parse(body),
        Kind::Small => Small::parse(body),
        Kind::Medium => Medium::parse(dialect, body),
        Kind::PullReply => PullReply::parse(body),
        Kind::Pull => Pull::parse(dialect, body),
        Kind::Rndv => Rndv::parse(body),
        Kind::Notify => Notify::parse(body),
        Kind::Truc => Liback::parse(body),
        Kind::Connect => Connect::parse(body),
        Kind::NackLib => NackLib::parse(body),
        Kind::NackMcp => NackMcp::parse(body),
        Kind::Raw => raw::parse(body),
        Kind::HostQuery => HostQuery::parse(body),
        Kind::HostReply => HostReply::parse(body),
    }
}

impl Frame {
    /// Writes the frame's head, up to where its payload begins, replacing what `out` held.
    ///
    /// The payload, as long as the frame says, follows it on the wire. Values that the dialect has no room for are
    /// a mistake of the caller's: a [`Medium`] or [`Pull`] block beyond 65535 bytes in compat.
    // Not in line: the compiler would put the heads of all packet types together field by field, in registers and on the
    // stack, and copy the result.
    #[inline(never)]
    pub fn emit(&self, dialect: Dialect, eth: &EthHead, out: &mut Head) {
        match self {
            Self::Tiny(tiny) => tiny.emit(eth, out),
            Self::Small(small) => small.emit(eth, out),
            Self::Medium(medium) => medium.emit(dialect, eth, out),
            Self::PullReply(reply) => reply.emit(eth, out),
            Self::Pull(pull) => pull.emit(dialect, eth, out),
            Self::Rndv(rndv) => rndv.emit(eth, out),
            Self::Notify(notify) => notify.emit(eth, out),
            Self::Truc(liback) => liback.emit(eth, out),
            Self::Connect(connect) => connect.emit(eth, out),
            Self::NackLib(nack) => nack.emit(eth, out),
            Self::NackMcp(nack) => nack.emit(eth, out),
            Self::Raw => raw::emit(eth, out),
            Self::HostQuery(query) => query.emit(eth, out),
            Self::HostReply(reply) => reply.emit(eth, out),
        }
    }

    /// The packet type.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Raw => Kind::Raw,
            Self::HostQuery(_) => Kind::HostQuery,
            Self::HostReply(_) => Kind::HostReply,
            Self::Truc(_) => Kind::Truc,
            Self::Connect(_) => Kind::Connect,
            Self::Tiny(_) => Kind::Tiny,
            Self::Small(_) => Kind::Small,
            Self::Medium(_) => Kind::Medium,
            Self::Rndv(_) => Kind::Rndv,
            Self::Pull(_) => Kind::Pull,
            Self::PullReply(_) => Kind::PullReply,
            Self::Notify(_) => Kind::Notify,
            Self::NackLib(_) => Kind::NackLib,
            Self::NackMcp(_) => Kind::NackMcp,
        }
    }
}

/// Into a field of 16 bits. More is a mistake of the caller's, never of a peer's.
#[inline]
fn narrow(value: u32) -> u16 {
    debug_assert!(
        u16::try_from(value).is_ok(),
        "{value} does not fit the dialect"
    );
    u16::try_from(value).unwrap_or(u16::MAX)
}
