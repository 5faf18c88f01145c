//! What a switch needs of a frame, without parsing it: who, to whom, and the source it writes.

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::head::{ETH_BYTES, ETHER_TYPE, EthHead};
use super::pull::PullMagic;
use super::{Connect, Dialect, Frame, Kind, NackKind, NackLib, NackMcp, Parsed, WireError, parse};
use crate::addr::{EndpointId, NicAddr};

/// Where a frame comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The board it goes to.
    pub destination: NicAddr,
    /// The board it says it comes from.
    pub source: NicAddr,
    /// The packet type.
    pub kind: Kind,
    /// The endpoint it goes to; `None` for RAW, HOST_QUERY and HOST_REPLY, which are for the board.
    /// For PULL_REPLY and NACK_MCP it is what [`PullMagic::endpoint`] says, and `None` for a magic that is
    /// not ours: a board elsewhere knows what it means.
    pub to: Option<EndpointId>,
    /// The endpoint it comes from; `None` where the packet type does not say.
    pub from: Option<EndpointId>,
}

/// The bytes that tell where a frame goes, whatever its packet type; see the types' own layouts.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRoute {
    /// Frame offset 0
    destination: [u8; 6],
    /// 6
    source: [u8; 6],
    /// 12
    ether_type: U16,
    /// 14
    peer_index: U16,
    /// 16, body offset 0
    kind: u8,
    /// Body offset 1: the endpoint it goes to, but for NACK_LIB that it comes from
    one: u8,
    /// 2: the endpoint it comes from
    two: u8,
    /// 3
    three_to_eight: [u8; 6],
    /// 9: the endpoint that a NACK_LIB goes to
    nine: u8,
    /// 10
    ten: [u8; 2],
    /// 12: the magic of PULL_REPLY and NACK_MCP
    magic: U32,
}

/// From so many bytes on any frame that names an endpoint can be routed. None is shorter.
const ROUTE_BYTES: usize = size_of::<RawRoute>();

/// Reads where a frame goes. `head` holds its first bytes, at least `min(length, HEAD_BYTES)`.
///
/// # Errors
/// [`WireError::Truncated`], [`WireError::EtherType`] or [`WireError::UnknownKind`]. That the frame can be
/// routed does not mean that it can be parsed.
// In line: what is returned by memory in pieces is waited for.
#[inline(always)]
pub fn route(head: &[u8]) -> Result<Route, WireError> {
    let Ok((raw, _)) = RawRoute::ref_from_prefix(head) else {
        return route_short(head);
    };
    if raw.ether_type.get() != ETHER_TYPE {
        return Err(WireError::EtherType(raw.ether_type.get()));
    }
    let kind = Kind::from_wire(raw.kind)?;
    let (to, from) = match kind {
        Kind::Raw | Kind::HostQuery | Kind::HostReply => (None, None),
        Kind::Truc
        | Kind::Connect
        | Kind::Tiny
        | Kind::Small
        | Kind::Medium
        | Kind::Rndv
        | Kind::Pull
        | Kind::Notify => (Some(raw.one), Some(raw.two)),
        Kind::NackLib => (Some(raw.nine), Some(raw.one)),
        Kind::PullReply | Kind::NackMcp => {
            let magic = PullMagic::from_wire(raw.magic.get());
            (magic.endpoint().ok().map(EndpointId::get), None)
        }
    };
    Ok(Route {
        destination: NicAddr::new(raw.destination),
        source: NicAddr::new(raw.source),
        kind,
        to: to.map(EndpointId::new),
        from: from.map(EndpointId::new),
    })
}

/// Only a RAW frame may be so short.
#[cold]
fn route_short(head: &[u8]) -> Result<Route, WireError> {
    let Parsed { eth, frame, .. } = parse(Dialect::Compat, head, head.len())?;
    match frame {
        Frame::Raw => Ok(Route {
            destination: eth.destination,
            source: eth.source,
            kind: Kind::Raw,
            to: None,
            from: None,
        }),
        _ => Err(WireError::Truncated {
            have: head.len(),
            need: ROUTE_BYTES,
        }),
    }
}

/// Writes the source MAC of a frame, wherever it said that it comes from. A `head` without room for
/// one is left alone; [`route`] refuses it.
#[inline]
pub fn rewrite_source(head: &mut [u8], mac: NicAddr) {
    if let Some(source) = head.get_mut(6..12) {
        source.copy_from_slice(&mac.octets());
    }
}

/// Writes the destination MAC of a frame. A `head` without room for one is left alone.
#[inline]
pub fn rewrite_destination(head: &mut [u8], mac: NicAddr) {
    if let Some(destination) = head.get_mut(..6) {
        destination.copy_from_slice(&mac.octets());
    }
}

/// An answer that a board gives on behalf of an endpoint that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nack {
    /// Back to where the rejected frame came from. The index under which that board lists ours is left
    /// [`crate::addr::PeerIndex::UNKNOWN`], which nacks may carry (specification, section 4.2).
    pub eth: EthHead,
    /// A [`Frame::NackLib`] or [`Frame::NackMcp`].
    pub frame: Frame,
}

/// The nack that section 8 of the specification asks for when this frame's endpoint is not there, or its session
/// is not the endpoint's. `head` and `len` are as for [`parse`].
///
/// `None` for packet types that are dropped silently, for frames that do not parse, and for frames to or from
/// group addresses. A CONNECT names no session, and no packet but PULL names a region: `None` as well
/// for such a nack.
#[must_use]
pub fn nack_for(dialect: Dialect, head: &[u8], len: usize, nack: NackKind) -> Option<Nack> {
    let Parsed { eth, frame, .. } = parse(dialect, head, len).ok()?;
    if eth.destination.is_multicast() || eth.source.is_multicast() {
        return None;
    }
    let (to, from, seq) = match frame {
        Frame::Connect(Connect { .. }) if nack == NackKind::BadSession => return None,
        Frame::Connect(connect) => (connect.from, connect.to, connect.seq),
        Frame::Tiny(tiny) => tiny.head.rejected(),
        Frame::Small(small) => small.head.rejected(),
        Frame::Medium(medium) => medium.head.rejected(),
        Frame::Rndv(rndv) => rndv.head.rejected(),
        Frame::Notify(notify) => (notify.from, notify.to, notify.seq),
        Frame::Pull(pull) => {
            let (puller, handle, magic) = (pull.from, pull.handle, pull.magic);
            let frame = Frame::NackMcp(NackMcp {
                puller,
                nack,
                handle,
                magic,
            });
            return Some(Nack {
                eth: eth.answer(),
                frame,
            });
        }
        Frame::Raw
        | Frame::HostQuery(_)
        | Frame::HostReply(_)
        | Frame::Truc(_)
        | Frame::PullReply(_)
        | Frame::NackLib(_)
        | Frame::NackMcp(_) => return None,
    };
    let frame = Frame::NackLib(NackLib {
        to,
        from,
        nack,
        seq,
    });
    (nack != NackKind::BadRdmaWindow).then(|| Nack {
        eth: eth.answer(),
        frame,
    })
}

const _: () = assert!(ROUTE_BYTES == ETH_BYTES + 16);
