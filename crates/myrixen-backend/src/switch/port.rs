//! A port: the back end's side of one open endpoint.

use std::sync::Arc;

use mxoe::addr::Address;
use myrixen_platform::{Ringer, Waiter};
use myrixen_ring::{Consumer, Producer, QueuePair};

use super::table::Cached;
use crate::ids::{GuestId, PartitionId, PortId};
use crate::meter::PortMeter;
use crate::quota::Quota;

/// A port as the control side hands it to the worker that will own it.
#[derive(Debug)]
pub(crate) struct NewPort {
    pub(crate) id: PortId,
    pub(crate) guest: GuestId,
    pub(crate) partition: PartitionId,
    pub(crate) address: Address,
    pub(crate) pair: QueuePair,
    pub(crate) ringer: Ringer,
    pub(crate) waiter: Waiter,
    pub(crate) meter: Arc<PortMeter>,
    /// The guest's; that of its first port counts.
    pub(crate) quota: Option<Quota>,
}

/// What a guest sends.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(super) id: PortId,
    pub(super) guest: GuestId,
    pub(super) partition: PartitionId,
    pub(super) address: Address,
    pub(super) consumer: Consumer,
    pub(super) meter: Arc<PortMeter>,
    pub(super) cache: Cached,
    /// The ring says that we sleep. It goes on saying so until its bell is heard or something is found in it: a
    /// guest that sends nothing costs nothing when others wake us.
    pub(super) asleep: bool,
    /// The next frame waits for an uplink.
    pub(super) blocked: bool,
    /// The guest broke the rules: not looked at any more.
    pub(super) dead: bool,
}

/// What a guest receives.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) producer: Producer,
    ringer: Ringer,
    pub(super) meter: Arc<PortMeter>,
    /// Written since the bell was last thought of.
    pub(super) touched: bool,
    pub(super) dead: bool,
}

impl NewPort {
    pub(super) fn split(self) -> (Inbound, Outbound) {
        let inbound = Inbound {
            id: self.id,
            guest: self.guest,
            partition: self.partition,
            address: self.address,
            consumer: self.pair.consumer,
            meter: Arc::clone(&self.meter),
            cache: Cached::default(),
            asleep: false,
            blocked: false,
            dead: false,
        };
        let outbound = Outbound {
            producer: self.pair.producer,
            ringer: self.ringer,
            meter: self.meter,
            touched: false,
            dead: false,
        };
        (inbound, outbound)
    }
}

impl Inbound {
    /// Takes back that we sleep; false if the ring did not say so.
    pub(super) fn wake_up(&mut self) -> bool {
        let was_asleep = std::mem::take(&mut self.asleep);
        if was_asleep {
            self.consumer.end_sleep();
        }
        was_asleep
    }
}

impl Outbound {
    pub(super) fn ring(&self) {
        self.ringer.ring();
    }

    /// Rings if the guest sleeps; says whether it did.
    pub(super) fn ring_if_asleep(&mut self) -> bool {
        self.touched = false;
        let due = !self.dead && self.producer.needs_bell();
        if due {
            self.ringer.ring();
        }
        due
    }

    /// Says that nothing more will come. Dropping the ringer hangs up as well.
    pub(super) fn hang_up(mut self) {
        self.producer.close();
        self.ringer.ring();
    }
}
