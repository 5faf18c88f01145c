//! A program of this domain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use myrixen_platform::message::{ChannelId, GuestLimits, Hello, PortAddress};
use myrixen_platform::{GuestLink, Identity};

/// A connected program.
pub(super) struct Program {
    pub(super) link: Box<dyn GuestLink>,
    pub(super) stage: Stage,
}

/// How far it is.
pub(super) enum Stage {
    /// It has not said Hello; it should by then.
    Quiet(Instant),
    /// It has, and its board is not there (yet).
    Waiting(Box<Hello>),
    /// It is welcomed.
    Seated(Seat),
}

/// Who has lent a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Ours,
    Theirs,
}

/// What a welcomed program has.
pub(super) struct Seat {
    /// The place of its board.
    pub(super) board: usize,
    pub(super) limits: GuestLimits,
    pub(super) ports: BTreeSet<u8>,
    /// Ports that are being opened or adopted; `None` where any number will do.
    pub(super) opening: Vec<Option<u8>>,
    /// Its direct channels by its endpoint and the other end; `None` is on its way.
    pub(super) directs: BTreeMap<(u8, PortAddress), Option<ChannelId>>,
    /// Channels that have a pool each way, once for all: the way and the channel.
    pools: BTreeSet<(Way, ChannelId)>,
    /// Adopted channels whose other end, a program of this domain, has not come back yet.
    pub(super) awaited: BTreeMap<(u8, PortAddress), Instant>,
}

impl Seat {
    pub(super) fn new(board: usize, limits: GuestLimits) -> Self {
        Self {
            board,
            limits,
            ports: BTreeSet::new(),
            opening: Vec::new(),
            directs: BTreeMap::new(),
            pools: BTreeSet::new(),
            awaited: BTreeMap::new(),
        }
    }

    /// Whether it has this endpoint, or will as soon as the back end has answered.
    pub(super) fn has_or_opens(&self, endpoint: u8) -> bool {
        self.ports.contains(&endpoint) || self.opening.contains(&Some(endpoint))
    }

    /// One of the ports that were being opened is no more (opened, or failed).
    pub(super) fn opened(&mut self, wanted: Option<u8>) {
        if let Some(at) = self.opening.iter().position(|o| *o == wanted) {
            self.opening.swap_remove(at);
        }
    }

    /// The channel between these two, if it is the one that is meant.
    pub(super) fn channel(
        &self,
        endpoint: u8,
        to: PortAddress,
        channel: ChannelId,
    ) -> Option<ChannelId> {
        let held = *self.directs.get(&(endpoint, to))?;
        held.filter(|held| held.may_be(channel))
    }

    /// Takes the place that a channel has for a pool each way. False: it is taken.
    pub(super) fn take_pool(&mut self, way: Way, channel: ChannelId) -> bool {
        let directs = &self.directs;
        let open = |id: ChannelId| directs.values().any(|held| *held == Some(id));
        self.pools.retain(|(_, id)| open(*id));
        self.pools.insert((way, channel))
    }

    /// The pool did not come to be: its place is free.
    pub(super) fn free_pool(&mut self, way: Way, channel: ChannelId) {
        self.pools.remove(&(way, channel));
    }

    /// An endpoint of its own is no more; gives the other ends of its channels.
    pub(super) fn close(&mut self, endpoint: u8) -> Vec<PortAddress> {
        self.ports.remove(&endpoint);
        self.awaited.retain(|(own, _), _| *own != endpoint);
        let (gone, stay) = std::mem::take(&mut self.directs)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|((own, _), _)| *own == endpoint);
        self.directs = stay;
        gone.into_keys().map(|(_, to)| to).collect()
    }

    /// Whatever channel there was to this end is no more. Whether there was one.
    pub(super) fn forget(&mut self, endpoint: u8, to: PortAddress) -> bool {
        self.take(endpoint, to, ChannelId::ANY).is_some()
    }

    /// A channel is no more, if it is still the one that is meant.
    pub(super) fn take(
        &mut self,
        endpoint: u8,
        to: PortAddress,
        channel: ChannelId,
    ) -> Option<ChannelId> {
        let held = *self.directs.get(&(endpoint, to))?;
        // Of one that is on its way there is no news before its answer.
        let meant = held.map_or(channel == ChannelId::ANY, |held| held.may_be(channel));
        if !meant {
            return None;
        }
        self.awaited.remove(&(endpoint, to));
        self.directs.remove(&(endpoint, to));
        Some(held.unwrap_or(ChannelId::ANY))
    }
}

impl Program {
    /// Somebody who has just connected, and is to say Hello by then.
    pub(super) fn new(link: Box<dyn GuestLink>, until: Instant) -> Self {
        Self {
            link,
            stage: Stage::Quiet(until),
        }
    }

    pub(super) fn uid(&self) -> u32 {
        match self.link.identity() {
            Identity::Process(who) => who.uid,
            // No other arrives at a socket: nobody, whom no rule names.
            _ => u32::MAX,
        }
    }

    pub(super) fn seat(&self) -> Option<&Seat> {
        match &self.stage {
            Stage::Seated(seat) => Some(seat),
            _ => None,
        }
    }

    pub(super) fn seat_mut(&mut self) -> Option<&mut Seat> {
        match &mut self.stage {
            Stage::Seated(seat) => Some(seat),
            _ => None,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Quiet(until) => Some(*until),
            Stage::Waiting(_) => None,
            Stage::Seated(seat) => seat.awaited.values().min().copied(),
        }
    }
}
