//! The frame switch of one worker: takes frames out of its ports' rings, says where they come from, and puts
//! them where they go: another port's ring, an uplink, another worker.
//!
//! It keeps no connection, trusts no guest and allocates nothing for a frame. A head is copied to private memory
//! before it is looked at; what was checked there is what is sent on. The rest of a frame goes from ring to ring
//! in one copy.

mod forward;
mod mesh;
mod port;
mod rota;
mod serve;
mod table;
mod uplink;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use mxoe::addr::{Address, NicAddr};
use mxoe::frame::{Dialect, Head};
use mxoe::time::Time;
use myrixen_link::Tag;
use slab::Slab;

use crate::ids::{GuestId, PartitionId, PortId, UplinkId, WorkerId};
use crate::mailbox::{Flag, Outbox};
use crate::meter::WorkerMeter;

use rota::Rota;
use table::{Place, Table};

pub(crate) use mesh::{MeshEnd, mesh};
pub(crate) use port::NewPort;
pub(crate) use uplink::Uplink;

use port::{Inbound, Outbound};

/// Frames that one visit to a port, an uplink or another worker moves at most.
pub(crate) const VISIT: usize = 256;

/// Nacks to the wire that may wait until the visit to the uplink is over. What comes on top is not
/// nacked: whoever sent it will try again.
const MAX_REPLIES: usize = 64;

/// What all workers know of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    /// What its members speak.
    pub(crate) dialect: Dialect,
    /// How it leaves the host, if it does.
    pub(crate) way_out: Option<WayOut>,
}

/// Where frames for boards of other hosts go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WayOut {
    pub(crate) uplink: UplinkId,
    /// Who owns the uplink.
    pub(crate) worker: WorkerId,
    /// How the partition is marked there.
    pub(crate) tag: Tag,
}

/// What a worker tells the control side.
#[derive(Debug)]
pub(crate) enum Report {
    /// A guest broke the rules of its ring: nothing of this port is served any more.
    Fault {
        guest: GuestId,
        port: PortId,
        fault: String,
    },
    /// The other end of a port's bell is gone.
    HungUp { guest: GuestId, port: PortId },
    /// A discovery frame arrived.
    Heard {
        partition: PartitionId,
        uplink: UplinkId,
        frame: Vec<u8>,
    },
    /// Something about an uplink that an operator wants to know, at most once a second.
    Uplink { uplink: UplinkId, problem: String },
}

/// The ports of one worker and the way between them.
pub(crate) struct Switch {
    worker: WorkerId,
    partitions: Vec<Partition>,
    /// What ports send and what they receive, under the same keys: apart, so that a frame can go from one to the
    /// other, or from a port to itself.
    inbound: Slab<Inbound>,
    outbound: Slab<Outbound>,
    rota: Rota,
    /// Ports by their numbers.
    keys: BTreeMap<PortId, usize>,
    table: Table,
    mesh: Vec<Option<MeshEnd>>,
    reports: Outbox<Report>,
    /// What the control side has to hear of ports and found its mailbox full.
    unheard: Vec<Report>,
    meter: Arc<WorkerMeter>,
    /// Ports whose rings were written since the bells were last rung.
    touched: Vec<usize>,
    /// Nacks for the wire, kept until the uplink can be written.
    replies: Vec<(Tag, Head)>,
    /// Frames to endpoints that are not open are answered.
    nacking: bool,
    /// Up while the worker has commands that it has not carried out: ports may be open that are not here yet.
    commands: Option<Flag>,
}

impl Switch {
    pub(crate) fn new(
        worker: WorkerId,
        partitions: Vec<Partition>,
        mesh: Vec<Option<MeshEnd>>,
        reports: Outbox<Report>,
        meter: Arc<WorkerMeter>,
    ) -> Self {
        Self {
            worker,
            partitions,
            inbound: Slab::new(),
            outbound: Slab::new(),
            rota: Rota::default(),
            keys: BTreeMap::new(),
            table: Table::new(),
            mesh,
            reports,
            unheard: Vec::new(),
            meter,
            touched: Vec::new(),
            replies: Vec::with_capacity(MAX_REPLIES),
            nacking: true,
            commands: None,
        }
    }

    /// Says nothing of endpoints that are not open while this flag is up.
    pub(crate) fn watch_commands(&mut self, flag: Flag) {
        self.commands = Some(flag);
    }

    pub(crate) fn set_nacking(&mut self, nacking: bool) {
        self.nacking = nacking;
    }

    pub(crate) fn add_board(&mut self, partition: PartitionId, nic: NicAddr) {
        self.table.add_board(partition, nic);
    }

    pub(crate) fn remove_board(&mut self, partition: PartitionId, nic: NicAddr) {
        self.table.remove_board(partition, nic);
    }

    /// A board's guest is being saved, restored or moved, or is back.
    pub(crate) fn hold_board(&mut self, partition: PartitionId, nic: NicAddr, held: bool) {
        self.table.hold_board(partition, nic, held);
    }

    /// A port of another worker was opened.
    pub(crate) fn set_elsewhere(&mut self, partition: PartitionId, at: Address, worker: WorkerId) {
        self.table.set(partition, at, Place::At(worker));
    }

    /// An endpoint is closed that is not ours.
    pub(crate) fn set_closed(&mut self, partition: PartitionId, at: Address) {
        self.table.set(partition, at, Place::Closed);
    }

    /// Serves a port from now on; gives its key.
    pub(crate) fn add_port(&mut self, now: Time, port: NewPort) -> usize {
        let (id, guest, quota) = (port.id, port.guest, port.quota);
        let (partition, address) = (port.partition, port.address);
        let (inbound, outbound) = port.split();
        let key = self.inbound.insert(inbound);
        let same = self.outbound.insert(outbound);
        assert_eq!(
            key, same,
            "the two halves of a port are added and removed together"
        );
        self.table.set(partition, address, Place::Here(key));
        self.rota.add(now, key, guest, quota);
        self.keys.insert(id, key);
        self.meter.ports.add(1);
        key
    }

    /// Stops serving a port; gives its key. What its guest sent last (an endpoint's last acknowledgements) still goes,
    /// as far as one visit takes it.
    pub(crate) fn remove_port(&mut self, port: PortId, uplinks: &mut Uplinks) -> Option<usize> {
        let key = self.keys.remove(&port)?;
        self.take_last_words(key, uplinks);
        let inbound = self.inbound.remove(key);
        self.outbound.remove(key).hang_up();
        self.touched.retain(|&k| k != key);
        self.table
            .set(inbound.partition, inbound.address, Place::Closed);
        self.rota.remove(key);
        self.meter.ports.add(u64::MAX);
        Some(key)
    }

    /// A guest broke the rules of one of its rings: the port is dead, the control side does the rest.
    fn fault(&mut self, key: usize, fault: &str) {
        let Some(port) = self.inbound.get_mut(key).filter(|p| !p.dead) else {
            return;
        };
        port.dead = true;
        if let Some(outbound) = self.outbound.get_mut(key) {
            outbound.dead = true;
        }
        let report = Report::Fault {
            guest: port.guest,
            port: port.id,
            fault: fault.to_owned(),
        };
        self.report(report);
    }

    /// Tells the control side what it learns from nobody else. The wire can fill its mailbox: then it is told later.
    fn report(&mut self, report: Report) {
        self.unheard.extend(self.reports.send(report).err());
    }

    /// Tells what there was no room for.
    #[inline]
    pub(crate) fn report_again(&mut self) {
        while let Some(report) = self.unheard.pop() {
            if let Err(report) = self.reports.send(report) {
                self.unheard.push(report);
                return;
            }
        }
    }

    /// Whether [`Self::report_again`] has something to tell.
    pub(crate) fn has_unheard(&self) -> bool {
        !self.unheard.is_empty()
    }

    /// The bell of a port was heard, or something was found there: its producer need not ring any more. Or it has rung, and will not
    /// ring a second time for this sleep, even if what it rang for had been taken before.
    pub(crate) fn rung(&mut self, key: usize) {
        if let Some(port) = self.inbound.get_mut(key)
            && port.wake_up()
        {
            self.rota.wake(key);
        }
    }

    /// The bell of another worker was heard.
    pub(crate) fn rung_by_worker(&mut self, end: usize) {
        if let Some(end) = self.mesh.iter_mut().flatten().nth(end) {
            end.rung();
        }
    }

    /// Whoever had this port is gone: the control side does what is to be done.
    pub(crate) fn hung_up(&mut self, key: usize) {
        if let Some(port) = self.inbound.get(key) {
            let (guest, port) = (port.guest, port.id);
            self.report(Report::HungUp { guest, port });
        }
    }

    fn ring(&self, key: usize) {
        if let Some(outbound) = self.outbound.get(key) {
            outbound.ring();
            self.meter.bells.add(1);
        }
    }

    /// Rings everybody who sleeps and was given something.
    #[inline]
    pub(crate) fn ring_bells(&mut self) {
        while let Some(key) = self.touched.pop() {
            if self
                .outbound
                .get_mut(key)
                .is_some_and(Outbound::ring_if_asleep)
            {
                self.meter.bells.add(1);
            }
        }
        for end in self.mesh.iter_mut().flatten() {
            if end.ring_if_asleep() {
                self.meter.bells.add(1);
            }
        }
    }

    /// The bells to wait for besides the ports': those of the other workers.
    pub(crate) fn mesh_ends(&self) -> impl Iterator<Item = &MeshEnd> {
        self.mesh.iter().flatten()
    }
}

/// The uplinks of one worker, by number; `None` for those of other workers.
pub(crate) type Uplinks = Vec<Option<Uplink>>;
