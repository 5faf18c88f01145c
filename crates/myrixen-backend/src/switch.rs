//! The frame switch of one worker: takes frames out of its ports' rings, says where they come from, and puts
//! them where they go: another port's ring, an uplink, another worker.
//!
//! It keeps no connection, trusts no guest and allocates nothing for a frame. A head is copied to private memory
//! before it is looked at; what was checked there is what is sent on. The rest of a frame goes from ring to ring
//! in one copy.

mod forward;
mod mesh;
mod port;
mod table;
mod uplink;
mod wire;

use std::sync::Arc;

use mxoe::addr::{Address, NicAddr};
use mxoe::frame::{Dialect, Head};
use mxoe::time::Time;
use myrixen_link::Tag;
use slab::Slab;

use crate::ids::{GuestId, PartitionId, PortId, UplinkId, WorkerId};
use crate::mailbox::{Flag, Outbox};
use crate::meter::WorkerMeter;
use crate::quota::Bucket;
use crate::sched::{Deficit, QUANTUM, Rotation};

use forward::Step;
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

/// One guest's share of this worker.
#[derive(Debug)]
struct Turn {
    guest: GuestId,
    ports: Vec<usize>,
    rotation: Rotation,
    deficit: Deficit,
    bucket: Option<Bucket>,
}

/// What a guest's turn came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    /// Frames taken from rings.
    pub(crate) frames: usize,
    /// A frame waits for an uplink.
    pub(crate) blocked: bool,
}

/// The ports of one worker and the way between them.
pub(crate) struct Switch {
    worker: WorkerId,
    partitions: Vec<Partition>,
    /// What ports send and what they receive, under the same keys: apart, so that a frame can go from one to the
    /// other, or from a port to itself.
    inbound: Slab<Inbound>,
    outbound: Slab<Outbound>,
    turns: Vec<Turn>,
    rotation: Rotation,
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
            turns: Vec::new(),
            rotation: Rotation::default(),
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
        let (guest, quota) = (port.guest, port.quota);
        let (partition, address) = (port.partition, port.address);
        let (inbound, outbound) = port.split();
        let key = self.inbound.insert(inbound);
        let same = self.outbound.insert(outbound);
        assert_eq!(
            key, same,
            "the two halves of a port are added and removed together"
        );
        self.table.set(partition, address, Place::Here(key));
        match self.turns.iter_mut().find(|t| t.guest == guest) {
            Some(turn) => turn.ports.push(key),
            None => self.turns.push(Turn {
                guest,
                ports: vec![key],
                rotation: Rotation::default(),
                deficit: Deficit::default(),
                bucket: quota.map(|quota| Bucket::new(now, quota)),
            }),
        }
        self.meter.ports.add(1);
        key
    }

    /// Stops serving a port; gives its key. What its guest sent last (an endpoint's last acknowledgements) still goes,
    /// as far as one visit takes it.
    pub(crate) fn remove_port(&mut self, port: PortId, uplinks: &mut Uplinks) -> Option<usize> {
        let key = self.inbound.iter().find(|(_, p)| p.id == port)?.0;
        self.take_last_words(key, uplinks);
        let inbound = self.inbound.remove(key);
        self.outbound.remove(key).hang_up();
        self.touched.retain(|&k| k != key);
        self.table
            .set(inbound.partition, inbound.address, Place::Closed);
        for turn in &mut self.turns {
            turn.ports.retain(|&k| k != key);
        }
        self.turns.retain(|t| !t.ports.is_empty());
        self.meter.ports.add(u64::MAX);
        Some(key)
    }

    /// One more visit to a port that is about to go, paid for by its guest.
    fn take_last_words(&mut self, key: usize, uplinks: &mut Uplinks) {
        let Some(index) = self.turns.iter().position(|t| t.ports.contains(&key)) else {
            return;
        };
        let mut account = Account {
            deficit: Deficit::default(),
            bucket: self.turns.get(index).and_then(|t| t.bucket),
        };
        account.deficit.begin(QUANTUM);
        self.drain(key, &mut account, &mut 0, uplinks);
        if let Some(turn) = self.turns.get_mut(index) {
            turn.bucket = account.bucket;
        }
    }

    /// How many guests have ports here.
    pub(crate) fn guests(&self) -> usize {
        self.turns.len()
    }

    /// Gives the next guest its turn.
    pub(crate) fn serve_next(&mut self, now: Time, uplinks: &mut Uplinks) -> Served {
        let Some(index) = self.rotation.current(self.turns.len()) else {
            return Served::default();
        };
        self.rotation.advance();
        let Some(turn) = self.turns.get_mut(index) else {
            return Served::default();
        };
        if turn.bucket.as_mut().is_some_and(|b| !b.may_send(now)) {
            return Served::default();
        }
        let mut account = Account {
            deficit: turn.deficit,
            bucket: turn.bucket,
        };
        let mut rotation = turn.rotation;
        account.deficit.begin(QUANTUM);
        let members = turn.ports.len();
        let mut served = Served::default();
        let mut all_empty = true;
        for _ in 0..members {
            let Some(at) = rotation.current(members) else {
                break;
            };
            let Some(&key) = self.turns.get(index).and_then(|t| t.ports.get(at)) else {
                break;
            };
            let end = self.drain(key, &mut account, &mut served.frames, uplinks);
            if end == Drained::Blocked {
                // It goes on with the same port: its turn is not over.
                served.blocked = true;
                all_empty = false;
                break;
            }
            rotation.advance();
            if end == Drained::Exhausted {
                all_empty = false;
                break;
            }
        }
        if all_empty {
            account.deficit.clear();
        }
        if let Some(turn) = self.turns.get_mut(index) {
            (turn.deficit, turn.bucket, turn.rotation) =
                (account.deficit, account.bucket, rotation);
        }
        served
    }

    /// Moves frames out of one port's ring until it is empty or the guest's turn is over.
    fn drain(
        &mut self,
        key: usize,
        account: &mut Account,
        frames: &mut usize,
        uplinks: &mut Uplinks,
    ) -> Drained {
        let mut end = Drained::Exhausted;
        for _ in 0..VISIT {
            let Some(port) = self.inbound.get_mut(key).filter(|p| !p.dead) else {
                return Drained::Empty;
            };
            let record = match port.consumer.peek() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    end = Drained::Empty;
                    break;
                }
                Err(fault) => {
                    self.fault(key, &fault.to_string());
                    return Drained::Empty;
                }
            };
            port.wake_up();
            let before = *account;
            if !account.take(record.len()) {
                break;
            }
            if self.forward(key, &record, uplinks) == Step::Blocked {
                *account = before;
                end = Drained::Blocked;
                break;
            }
            *frames += 1;
            let Some(port) = self.inbound.get_mut(key) else {
                break;
            };
            port.meter.sent_frames.add(1);
            port.meter.sent_bytes.add(record.len() as u64);
            port.consumer.advance(record);
            if port.consumer.release() {
                self.ring(key);
            }
        }
        let Some(port) = self.inbound.get_mut(key) else {
            return end;
        };
        port.blocked = end == Drained::Blocked;
        if port.consumer.release() {
            self.ring(key);
        }
        end
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

    /// The bell of a port was heard.
    pub(crate) fn rung(&mut self, key: usize) {
        if let Some(port) = self.inbound.get_mut(key) {
            port.wake_up();
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

    /// Says in all rings that we are about to sleep. False when there is something to do; then sleep is off,
    /// though some rings may go on saying so, which costs their producers a bell at most.
    ///
    /// `until` becomes the moment when a guest may send again, if one has to wait for its quota.
    pub(crate) fn prepare_sleep(&mut self, until: &mut Option<Time>) -> bool {
        for turn in 0..self.turns.len() {
            for place in 0..self.turns[turn].ports.len() {
                let key = self.turns[turn].ports[place];
                let Some(port) = self.inbound.get_mut(key) else {
                    continue;
                };
                if port.dead || port.asleep || port.blocked {
                    continue;
                }
                let sleep = port.consumer.prepare_sleep();
                port.asleep = sleep.may_sleep;
                if sleep.ring {
                    self.ring(key);
                }
                if !sleep.may_sleep {
                    match self.turns[turn].bucket.as_ref().filter(|b| b.is_dry()) {
                        Some(bucket) => {
                            let ready = bucket.ready_at();
                            *until = Some(until.map_or(ready, |u| u.min(ready)));
                        }
                        None => return false,
                    }
                }
            }
        }
        self.mesh.iter_mut().flatten().all(MeshEnd::prepare_sleep)
    }

    /// The bells to wait for besides the ports': those of the other workers.
    pub(crate) fn mesh_ends(&self) -> impl Iterator<Item = &MeshEnd> {
        self.mesh.iter().flatten()
    }

    /// Whether a guest's frame waits for an uplink.
    pub(crate) fn is_blocked(&self) -> bool {
        self.inbound.iter().any(|(_, port)| port.blocked)
    }
}

/// The uplinks of one worker, by number; `None` for those of other workers.
pub(crate) type Uplinks = Vec<Option<Uplink>>;

/// What a guest has left in this turn.
#[derive(Clone, Copy)]
struct Account {
    deficit: Deficit,
    bucket: Option<Bucket>,
}

impl Account {
    /// Pays for a frame; false when the turn is over.
    fn take(&mut self, bytes: usize) -> bool {
        if self.bucket.as_ref().is_some_and(Bucket::is_dry) || !self.deficit.take(bytes) {
            return false;
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(bytes);
        }
        true
    }
}

/// How a visit to a port ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// The ring is empty, or dead.
    Empty,
    /// The guest's turn is over.
    Exhausted,
    /// The next frame waits for an uplink.
    Blocked,
}
