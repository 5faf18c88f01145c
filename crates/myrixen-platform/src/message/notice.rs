//! What the back end says unasked.

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::{Header, body, invalid, kind};
use super::reply::RawPeer;
use super::request::{Brought, RawBrought};
use super::words::RawChannel;
use super::{ChannelId, DirectPeer, Mac, MessageError, PortAddress, Serial};

/// A queue pair or a pool that lies in another guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent {
    /// Whose memory it is: a domain id of Xen.
    pub domain: u16,
    /// Where in its tables.
    pub brought: Brought,
}

/// Something that happened, said unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Another guest has opened a direct channel to an endpoint of this one; pages, two bells, and the peer's
    /// pool if it has one, are handed over. This guest is the channel's back end.
    DirectOffered {
        /// The endpoint of this guest.
        endpoint: u8,
        /// Who opened it.
        peer: DirectPeer,
        /// Where the channel lies, where it is not handed over.
        lent: Option<Lent>,
    },
    /// The other end closed a direct channel or is gone; the switched path may still lead there.
    DirectGone {
        /// The endpoint of this guest.
        endpoint: u8,
        /// The other end.
        peer: PortAddress,
        /// Which channel between them.
        channel: ChannelId,
    },
    /// The other end of a direct channel has lent us memory to read large messages in. Handed over to programs.
    PoolLent {
        /// The endpoint of this guest.
        endpoint: u8,
        /// The other end.
        peer: PortAddress,
        /// Which channel between them.
        channel: ChannelId,
        /// Its length.
        bytes: u32,
        /// Where it lies, where it is not handed over.
        lent: Option<Lent>,
    },
    /// An endpoint is gone for good: what is pending to it fails.
    EndpointGone(PortAddress),
    /// A board is gone for good, with all its endpoints.
    BoardGone(Mac),
    /// The back end is about to stop: reattach when it is back.
    Draining {
        /// It goes on for about this long, in milliseconds.
        grace_ms: u32,
    },
    /// The guest is about to be saved or moved, and nothing shared survives that: let go of every port and channel, leave, and come
    /// back. Conversations are not over: ports opened again under the same numbers go on with them.
    LetGo,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawOffered {
    endpoint: u8,
    reserved: [u8; 7],
    peer: RawPeer,
}

/// What follows PoolLent, and DirectOffered where the channel lies in the other guest's memory; absent or all 0: it was handed over.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLent {
    domain: U16,
    reserved: U16,
    brought: RawBrought,
}

impl RawLent {
    fn of(lent: Option<Lent>) -> Self {
        Self {
            domain: lent.map_or(0, |lent| lent.domain).into(),
            reserved: 0.into(),
            brought: RawBrought::of(lent.map(|lent| lent.brought)),
        }
    }

    /// Also gives what follows it.
    fn after(rest: &[u8]) -> (Option<Lent>, &[u8]) {
        let Ok((raw, rest)) = Self::ref_from_prefix(rest) else {
            return (None, &[]);
        };
        (raw.get(), rest)
    }

    fn get(&self) -> Option<Lent> {
        let domain = self.domain.get();
        self.brought.get().map(|brought| Lent { domain, brought })
    }
}

/// What follows the channel in PoolLent.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPoolLent {
    bytes: U32,
    lent: RawLent,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawGone {
    endpoint: u8,
    peer: u8,
    mac: [u8; 6],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDraining {
    grace_ms: U32,
}

impl Notice {
    /// The message, with the number of things handed over. `serial` counts the notices of a guest and
    /// tags what is handed over.
    pub fn emit(&self, serial: Serial, handed: u8) -> Vec<u8> {
        let gone = |endpoint, peer, mac: Mac| RawGone {
            endpoint,
            peer,
            mac: mac.bytes(),
        };
        let (kind, body) = match self {
            Self::DirectOffered {
                endpoint,
                peer,
                lent,
            } => {
                let (channel, peer) = (peer.channel, RawPeer::of(peer));
                let raw = RawOffered {
                    endpoint: *endpoint,
                    reserved: [0; 7],
                    peer,
                };
                let body = [raw.as_bytes(), RawLent::of(*lent).as_bytes()].concat();
                (kind::DIRECT_OFFERED, RawChannel::follow(body, channel))
            }
            Self::DirectGone {
                endpoint,
                peer,
                channel,
            } => {
                let raw = gone(*endpoint, peer.endpoint, peer.mac);
                let body = RawChannel::follow(raw.as_bytes().to_vec(), *channel);
                (kind::DIRECT_GONE, body)
            }
            Self::PoolLent {
                endpoint,
                peer,
                channel,
                bytes,
                lent,
            } => {
                let raw = gone(*endpoint, peer.endpoint, peer.mac);
                let mut body = RawChannel::follow(raw.as_bytes().to_vec(), *channel);
                let tail = RawPoolLent {
                    bytes: (*bytes).into(),
                    lent: RawLent::of(*lent),
                };
                body.extend_from_slice(tail.as_bytes());
                (kind::POOL_LENT, body)
            }
            Self::EndpointGone(who) => (
                kind::ENDPOINT_GONE,
                gone(0, who.endpoint, who.mac).as_bytes().to_vec(),
            ),
            Self::BoardGone(mac) => (kind::BOARD_GONE, gone(0, 0, *mac).as_bytes().to_vec()),
            Self::Draining { grace_ms } => {
                let raw = RawDraining {
                    grace_ms: (*grace_ms).into(),
                };
                (kind::DRAINING, raw.as_bytes().to_vec())
            }
            Self::LetGo => (kind::LET_GO, Vec::new()),
        };
        Header {
            kind,
            answer: false,
            handed,
            serial,
        }
        .emit(&body)
    }

    /// `None`: a notice of a later version.
    pub(super) fn parse(kind: u16, bytes: &[u8]) -> Result<Option<Self>, MessageError> {
        let gone = || body::<RawGone>(kind, bytes).map(|(raw, _)| raw);
        let who = |raw: &RawGone| PortAddress {
            mac: Mac::new(raw.mac),
            endpoint: raw.peer,
        };
        Ok(Some(match kind {
            kind::DIRECT_OFFERED => {
                let (raw, rest) = body::<RawOffered>(kind, bytes)?;
                let (lent, rest) = RawLent::after(rest);
                Self::DirectOffered {
                    endpoint: raw.endpoint,
                    peer: raw.peer.parse(kind, RawChannel::after(rest))?,
                    lent,
                }
            }
            kind::DIRECT_GONE => {
                let (raw, rest) = body::<RawGone>(kind, bytes)?;
                Self::DirectGone {
                    endpoint: raw.endpoint,
                    peer: who(raw),
                    channel: RawChannel::after(rest),
                }
            }
            kind::POOL_LENT => {
                let (raw, rest) = body::<RawGone>(kind, bytes)?;
                let (channel, rest) = RawChannel::split(rest);
                let (tail, _) = RawPoolLent::ref_from_prefix(rest)
                    .map_err(|_| invalid(kind, "length of the pool"))?;
                Self::PoolLent {
                    endpoint: raw.endpoint,
                    peer: who(raw),
                    channel,
                    bytes: tail.bytes.get(),
                    lent: tail.lent.get(),
                }
            }
            kind::ENDPOINT_GONE => Self::EndpointGone(who(gone()?)),
            kind::BOARD_GONE => Self::BoardGone(Mac::new(gone()?.mac)),
            kind::DRAINING => Self::Draining {
                grace_ms: body::<RawDraining>(kind, bytes)?.0.grace_ms.get(),
            },
            kind::LET_GO => Self::LetGo,
            _ => return Ok(None),
        }))
    }
}
