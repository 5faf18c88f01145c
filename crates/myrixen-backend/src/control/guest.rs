//! What the control side keeps of one guest.

use std::collections::BTreeMap;
use std::sync::Arc;

use mxoe::addr::{Address, NicAddr};
use mxoe::time::Time;
use myrixen_control::{GuestCounters, PortCounters};
use myrixen_platform::message::{ChannelId, GuestLimits};
use myrixen_platform::{GuestLink, Owner};

use crate::boards::BoardKey;
use crate::ids::{GuestId, PartitionId, PortId, WorkerId};
use crate::meter::PortMeter;

/// A guest that has arrived.
pub(super) struct Guest {
    pub(super) id: GuestId,
    pub(super) link: Box<dyn GuestLink>,
    pub(super) since: Time,
    /// `None` until it has been welcomed.
    pub(super) seat: Option<Seat>,
    requests: u64,
    refusals: u64,
}

/// What a guest was given.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) nic: NicAddr,
    pub(super) board: String,
    pub(super) partition: PartitionId,
    pub(super) owner: Owner,
    /// All its ports are with one worker, so that they share one turn.
    pub(super) worker: WorkerId,
    pub(super) limits: GuestLimits,
    pub(super) ports: BTreeMap<u8, Port>,
    /// Its direct channels, by its own endpoint and the other end.
    pub(super) directs: BTreeMap<(u8, Address), ChannelId>,
    /// Channels of an earlier back end whose other end is not here yet, and until when it may come.
    pub(super) adopted: BTreeMap<(u8, Address), Time>,
    /// What the ports that were closed had counted.
    closed: PortCounters,
}

/// An open port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) id: PortId,
    pub(super) meter: Arc<PortMeter>,
}

impl Guest {
    pub(super) fn new(id: GuestId, link: Box<dyn GuestLink>, now: Time) -> Self {
        Self {
            id,
            link,
            since: now,
            seat: None,
            requests: 0,
            refusals: 0,
        }
    }

    /// It has connected and is to say Hello. A device waits for its front end as long as it is there.
    pub(super) fn must_greet(&self) -> bool {
        self.seat.is_none() && !self.link.keeps_ports()
    }

    /// Counts a request.
    pub(super) fn asked(&mut self, refused: bool) {
        self.requests += 1;
        self.refusals += u64::from(refused);
    }

    pub(super) fn counters(&self) -> GuestCounters {
        let mut ports = PortCounters::default();
        if let Some(seat) = &self.seat {
            ports = seat.closed;
            for port in seat.ports.values() {
                ports.add(&port.meter.read());
            }
        }
        GuestCounters {
            ports,
            requests: self.requests,
            refusals: self.refusals,
        }
    }
}

impl Seat {
    pub(super) fn new(nic: NicAddr, key: BoardKey, worker: WorkerId, limits: GuestLimits) -> Self {
        Self {
            nic,
            board: key.name,
            partition: key.partition,
            owner: key.owner,
            worker,
            limits,
            ports: BTreeMap::new(),
            directs: BTreeMap::new(),
            adopted: BTreeMap::new(),
            closed: PortCounters::default(),
        }
    }

    /// Forgets a port, keeping what it counted.
    pub(super) fn close(&mut self, endpoint: u8) -> Option<Port> {
        let port = self.ports.remove(&endpoint)?;
        self.closed.add(&port.meter.read());
        Some(port)
    }
}
