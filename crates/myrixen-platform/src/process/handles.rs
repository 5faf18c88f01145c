//! What a guest is handed, ready to use.

use std::os::fd::AsFd as _;

use myrixen_ring::{QueuePair, Side, Terms};
use myrixen_shm::{Access, Pages};

use crate::bell::{Ringer, Waiter};
use crate::handover::{self, Handover, HandoverError, Item};
use crate::memory::PeerMemory;
use crate::message::{ChannelId, DirectPeer, PortAddress};
use crate::xen::pair;

/// A guest's end of its port: a queue pair to the back end, and its bells.
#[derive(Debug)]
pub struct PortHandles {
    /// The endpoint's number.
    pub endpoint: u8,
    /// The rings; the guest is [`Side::Front`].
    pub pair: QueuePair,
    /// What was agreed on.
    pub terms: Terms,
    /// Wakes the back end.
    pub ringer: Ringer,
    /// Wakes this guest; hung up when the back end is gone.
    pub waiter: Waiter,
}

/// Who is at the other end of a direct channel, as the back end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its address.
    pub address: PortAddress,
    /// Its process id as the back end sees it; 0 when it is not known.
    pub pid: u32,
    /// Its user id.
    pub uid: u32,
}

/// A guest's end of a direct channel: a queue pair to another guest, and its bells.
#[derive(Debug)]
pub struct DirectHandles {
    /// This guest's endpoint.
    pub endpoint: u8,
    /// The other end.
    pub peer: PeerIdentity,
    /// The rings.
    pub pair: QueuePair,
    /// Which end this is: [`Side::Front`] for who asked for the channel.
    pub side: Side,
    /// What was agreed on.
    pub terms: Terms,
    /// Which channel between the two it is.
    pub channel: ChannelId,
    /// Wakes the peer.
    pub ringer: Ringer,
    /// Wakes this guest; hung up when the peer is gone, whether or not the back end lives.
    pub waiter: Waiter,
    /// The peer's pool, to be read only.
    pub peer_pool: Option<Pages>,
    /// The peer's memory, when the kernel was found to let us read it.
    pub peer_memory: Option<PeerMemory>,
    /// The peer runs as the user we run as.
    pub same_user: bool,
}

struct Parts {
    pair: QueuePair,
    ringer: Ringer,
    waiter: Waiter,
    rest: Vec<Item>,
}

fn parts(handover: Handover, terms: &Terms, side: Side) -> Result<Parts, HandoverError> {
    let have = handover.items.len();
    let mut items = handover.items.into_iter();
    let (pages, ringer, waiter) = match (items.next(), items.next()) {
        (Some(Item::Pages { fd, offset, len }), Some(Item::Ringer(ringer))) => {
            let Some(Item::Waiter(waiter)) = items.next() else {
                let what = "a waiter";
                return Err(HandoverError::Unexpected { have, what });
            };
            let pages = handover::map(&fd, offset, len, Access::ReadWrite, "queue pair")?;
            (pages, ringer, waiter)
        }
        (Some(Item::DevicePages { fd, offset, len }), Some(Item::Event(channel))) => {
            let pages = handover::map_device(&fd, offset, len, Access::ReadWrite)?;
            let mapped = (fd.as_fd(), offset, pages.len());
            pair::say_when_gone(mapped, &channel, side).map_err(|err| HandoverError::Unusable {
                what: "event channel",
                source: std::io::Error::other(err),
            })?;
            let (ringer, waiter) = pair::bell_of(channel, &pages, side);
            (pages, ringer, waiter)
        }
        _ => {
            return Err(HandoverError::Unexpected {
                have,
                what: "pages and two bells, or pages and an event channel",
            });
        }
    };
    let pair = QueuePair::join(pages, terms, side).map_err(|err| HandoverError::Unusable {
        what: "queue pair",
        source: std::io::Error::other(err),
    })?;
    Ok(Parts {
        pair,
        ringer,
        waiter,
        rest: items.collect(),
    })
}

/// The queue pair of the control ring.
pub(crate) fn control(
    handover: Handover,
    terms: &Terms,
) -> Result<(QueuePair, Ringer, Waiter), HandoverError> {
    let Parts {
        pair,
        ringer,
        waiter,
        ..
    } = parts(handover, terms, Side::Front)?;
    Ok((pair, ringer, waiter))
}

impl PortHandles {
    pub(super) fn new(
        endpoint: u8,
        terms: Terms,
        handover: Handover,
    ) -> Result<Self, HandoverError> {
        let Parts {
            pair,
            ringer,
            waiter,
            ..
        } = parts(handover, &terms, Side::Front)?;
        Ok(Self {
            endpoint,
            pair,
            terms,
            ringer,
            waiter,
        })
    }
}

impl DirectHandles {
    /// Lets go of a channel that is not used. Its ring says that nothing comes from us, since not every bell hangs up (`docs/control-plane.md`).
    pub fn refuse(mut self) {
        self.pair.producer.close();
        self.ringer.ring();
    }

    pub(super) fn new(
        endpoint: u8,
        peer: &DirectPeer,
        side: Side,
        handover: Handover,
    ) -> Result<Self, HandoverError> {
        let terms = peer.terms;
        let Parts {
            pair,
            ringer,
            waiter,
            rest,
        } = parts(handover, &terms, side)?;
        // A pool that cannot be used is the peer's doing: the channel works without it.
        let peer_pool = rest.iter().find_map(|item| match item {
            Item::Pool(pool) => pool.map().ok(),
            _ => None,
        });
        let peer_memory = peer
            .memory
            .and_then(|probe| PeerMemory::probe(peer.pid, probe));
        let same_user = rustix::process::geteuid().as_raw() == peer.uid;
        let channel = peer.channel;
        let peer = PeerIdentity {
            address: peer.address,
            pid: peer.pid,
            uid: peer.uid,
        };
        Ok(Self {
            endpoint,
            peer,
            pair,
            side,
            terms,
            channel,
            ringer,
            waiter,
            peer_pool,
            peer_memory,
            same_user,
        })
    }
}
