//! The control side: one thread that takes guests in, answers what they ask, runs discovery, and
//! answers operators. It never touches a frame of a guest; it tells the workers where frames go.

mod admit;
mod direct;
mod guest;
mod held;
mod operator;
mod requests;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::time::Time;
use myrixen_control::{Reply as OperatorReply, Request as OperatorRequest};
use myrixen_link::{LinkCounters, LinkInfo};
use myrixen_platform::message::{ChannelId, Mac, Notice, PortAddress};
use myrixen_platform::{Handover, Heard, Meeting, Owner, PeerFault, Policy, Ready, WaitSet};

use crate::boards::Boards;
use crate::clock::Clock;
use crate::config::{HostConfig, Limits, PartitionConfig};
use crate::discovery::{self, Discovery, Segment};
use crate::ids::{GuestId, PartitionId, PortId, UplinkId, WorkerId};
use crate::mailbox::{Inbox, Outbox};
use crate::meter::{UplinkMeter, WorkerMeter};
use crate::switch::{Partition, Report};
use crate::worker::Command;

use guest::Guest;
use held::HeldBoard;
use operator::Operators;

/// Things a guest may say in one visit, so that one that never stops talking does not keep the others waiting.
const VISIT: usize = 16;
/// How long a guest may take to say Hello.
const GREETING: Duration = Duration::from_secs(5);
/// Guests of one user that have connected and not said Hello yet.
const MAX_UNGREETED: usize = 32;
/// How long a meeting place is left alone after it failed, most likely for want of descriptors.
const BREATHER: Duration = Duration::from_millis(100);
/// Between two lines in the log about the same user's misbehaviour.
const QUIET: Duration = Duration::from_secs(1);
/// How long the other end of an adopted channel may take to come back before it counts as gone.
const RETURN: Duration = Duration::from_secs(10);

const MEETING: u64 = 1 << 56;
const GUEST: u64 = 2 << 56;
const OPERATOR: u64 = 3 << 56;

/// What the control side is asked from within the process.
pub(crate) enum Order {
    /// Answer as to an operator.
    Ask(OperatorRequest, Sender<OperatorReply>),
    /// Other rules for guests that come from now on.
    Policy(Box<Policy>),
    /// Take no more guests, and stop when all have left or this much time has passed.
    Drain(Duration),
    /// Stop now.
    Stop,
}

/// The control side's handle of a worker.
pub(crate) struct WorkerHandle {
    pub(crate) commands: Outbox<Command>,
    pub(crate) meter: Arc<WorkerMeter>,
}

/// The control side's handle of an uplink.
pub(crate) struct UplinkHandle {
    pub(crate) name: String,
    pub(crate) info: LinkInfo,
    pub(crate) worker: WorkerId,
    pub(crate) meter: Arc<UplinkMeter>,
    pub(crate) counters: Arc<Mutex<LinkCounters>>,
}

/// What the control side is made of.
pub(crate) struct Parts {
    pub(crate) host: HostConfig,
    pub(crate) partitions: Vec<PartitionConfig>,
    pub(crate) ways: Vec<Partition>,
    pub(crate) boards: Boards,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) uplinks: Vec<UplinkHandle>,
    pub(crate) meetings: Vec<Box<dyn Meeting>>,
    pub(crate) operator: Option<UnixListener>,
    pub(crate) wait: WaitSet,
    pub(crate) orders: Inbox<Order>,
    pub(crate) reports: Inbox<Report>,
    pub(crate) clock: Clock,
    pub(crate) seed: u32,
}

/// The control side.
pub(crate) struct Control {
    host: HostConfig,
    partitions: Vec<PartitionConfig>,
    ways: Vec<Partition>,
    boards: Boards,
    policy: Policy,
    limits: Limits,
    workers: Vec<WorkerHandle>,
    uplinks: Vec<UplinkHandle>,
    meetings: Vec<Place>,
    operators: Operators,
    wait: WaitSet,
    orders: Inbox<Order>,
    reports: Inbox<Report>,
    clock: Clock,
    discovery: Discovery,
    guests: BTreeMap<GuestId, Guest>,
    held: BTreeMap<NicAddr, HeldBoard>,
    /// Guests that have more to say than one visit takes.
    talking: VecDeque<GuestId>,
    next_guest: u64,
    next_port: u64,
    /// The number that the last direct channel got.
    last_channel: ChannelId,
    refused: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    /// Guests that could not be told something.
    doomed: Vec<(GuestId, PeerFault)>,
    /// When something was last logged about an owner of guests.
    logged: BTreeMap<Option<Owner>, Time>,
    /// The back end is going to stop, at this time at the latest.
    draining: Option<Time>,
    stopped: bool,
}

/// A meeting place.
struct Place {
    meeting: Box<dyn Meeting>,
    /// It failed and is left alone until then.
    paused: Option<Time>,
    /// More may wait there than one visit takes, or than its descriptor shows: those who came before we watched.
    more: bool,
}

impl Place {
    /// Whether somebody is to be taken in there without its descriptor saying so.
    fn has_more(&self) -> bool {
        self.more && self.paused.is_none()
    }
}

impl Control {
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let mut meetings = Vec::new();
        for (place, meeting) in parts.meetings.into_iter().enumerate() {
            meeting.watch(&parts.wait, MEETING | place as u64)?;
            meetings.push(Place {
                meeting,
                paused: None,
                more: true,
            });
        }
        let operators = Operators::new(parts.operator, &parts.wait, OPERATOR)?;
        let discovery = Discovery::new(parts.seed, parts.limits.peers);
        Ok(Self {
            host: parts.host,
            partitions: parts.partitions,
            ways: parts.ways,
            boards: parts.boards,
            policy: parts.policy,
            limits: parts.limits,
            workers: parts.workers,
            uplinks: parts.uplinks,
            meetings,
            operators,
            wait: parts.wait,
            orders: parts.orders,
            reports: parts.reports,
            clock: parts.clock,
            discovery,
            guests: BTreeMap::new(),
            held: BTreeMap::new(),
            talking: VecDeque::new(),
            next_guest: 1,
            next_port: 1,
            // An earlier back end's numbers are still in use by channels that outlived it.
            last_channel: ChannelId::new(u64::from(parts.seed) << 32),
            refused: BTreeMap::new(),
            faults: BTreeMap::new(),
            doomed: Vec::new(),
            logged: BTreeMap::new(),
            draining: None,
            stopped: false,
        })
    }

    /// Serves until it is told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while !self.stopped {
            let now = self.clock.now();
            self.turn(now, &ready);
            if self.stopped {
                break;
            }
            let timeout = if self.has_work() {
                Some(Duration::ZERO)
            } else {
                self.next_timeout().map(|due| due.since(self.clock.now()))
            };
            self.wait.wait(timeout, &mut ready)?;
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        let arrivals = self.meetings.iter().any(Place::has_more);
        arrivals || !self.talking.is_empty() || self.orders.has_mail() || self.reports.has_mail()
    }

    fn turn(&mut self, now: Time, ready: &[Ready]) {
        while let Some(order) = self.orders.take() {
            self.obey(now, order);
        }
        // Bounded by what the mailbox holds: discovery frames come from the wire.
        for _ in 0..crate::backend::REPORTS {
            let Some(report) = self.reports.take() else {
                break;
            };
            self.take_report(now, report);
        }
        for event in ready {
            let number = event.token & (MEETING - 1);
            match event.token & !(MEETING - 1) {
                MEETING => self.accept(now, usize::try_from(number).unwrap_or(usize::MAX)),
                GUEST => self.talking.push_back(GuestId::new(number)),
                OPERATOR => self.hear_operators(now, number),
                _ => {}
            }
        }
        for place in 0..self.meetings.len() {
            if self.meetings.get(place).is_some_and(Place::has_more) {
                self.accept(now, place);
            }
        }
        for _ in 0..self.talking.len() {
            let Some(id) = self.talking.pop_front() else {
                break;
            };
            self.hear_guest(now, id);
        }
        self.discovery.handle_timeout(now);
        self.say_discovery();
        self.check_deadlines(now);
        while let Some((id, fault)) = self.doomed.pop() {
            self.expel(now, id, &fault);
        }
    }

    fn obey(&mut self, now: Time, order: Order) {
        match order {
            Order::Ask(request, answer) => {
                let reply = self.answer_operator(now, request);
                let _ = answer.send(reply);
            }
            Order::Policy(policy) => self.policy = *policy,
            Order::Drain(grace) => self.drain(now, grace),
            Order::Stop => self.stopped = true,
        }
    }

    fn take_report(&mut self, now: Time, report: Report) {
        match report {
            Report::Fault { guest, port, fault } => {
                let ours = |g: &Guest| {
                    g.seat
                        .as_ref()
                        .is_some_and(|s| s.ports.values().any(|p| p.id == port))
                };
                if self.guests.get(&guest).is_some_and(ours) {
                    self.blame(now, guest, "port_ring", &fault);
                    self.detach(now, guest);
                }
            }
            Report::HungUp { guest, port } => self.port_hung_up(guest, port),
            Report::Heard {
                partition,
                uplink,
                frame,
            } => {
                if let Some(heard) = discovery::wire::hear(&frame) {
                    if let discovery::Heard::Announcement { nic, .. } = heard {
                        self.end_moved(partition, nic);
                    }
                    self.discovery
                        .hear(now, Segment { partition, uplink }, heard);
                }
            }
            Report::Uplink { uplink, problem } => {
                let name = self
                    .uplinks
                    .get(usize::from(uplink.get()))
                    .map(|u| u.name.as_str());
                tracing::warn!(uplink = name, "{problem}");
            }
        }
    }

    /// Takes in who waits at a meeting place.
    fn accept(&mut self, now: Time, place: usize) {
        for _ in 0..VISIT {
            let Some(at) = self.meetings.get_mut(place) else {
                return;
            };
            at.more = true;
            match at.meeting.accept() {
                Ok(Some(link)) => self.arrive(now, link),
                Ok(None) => {
                    at.more = false;
                    return;
                }
                Err(error) => {
                    at.meeting.unwatch(&self.wait);
                    at.paused = Some(now + BREATHER);
                    if self.may_log(now, None) {
                        tracing::warn!(%error, "cannot take in a guest");
                    }
                    return;
                }
            }
        }
    }

    /// Lets one guest speak.
    fn hear_guest(&mut self, now: Time, id: GuestId) {
        for _ in 0..VISIT {
            let Some(guest) = self.guests.get_mut(&id) else {
                return;
            };
            match guest.link.hear() {
                Ok(None) => return,
                Ok(Some(Heard::Hello(hello))) => self.greet(now, id, &hello),
                Ok(Some(Heard::Request(serial, request))) => {
                    self.answer_guest(now, id, serial, request);
                }
                Ok(Some(Heard::Hold(hold))) => self.hold(now, id, hold),
                Ok(Some(Heard::Left)) => return self.detach(now, id),
                // Also what a later version of the platform says: nothing to do for us.
                Ok(Some(_)) => {}
                Err(fault) => return self.expel(now, id, &fault),
            }
        }
        self.talking.push_back(id);
    }

    /// Tells a guest something. One that cannot be told is detached at the end of the turn: its end is news for others,
    /// who may not listen either.
    fn notify(&mut self, id: GuestId, notice: &Notice, with: Handover) {
        let Some(guest) = self.guests.get_mut(&id) else {
            return;
        };
        if let Err(fault) = guest.link.notify(notice, with) {
            self.doomed.push((id, fault));
        }
    }

    /// Tells all guests of a partition, perhaps but for one.
    fn notify_all(&mut self, partition: PartitionId, but: Option<GuestId>, notice: &Notice) {
        let of = |g: &Guest| g.seat.as_ref().is_some_and(|s| s.partition == partition);
        let ids: Vec<GuestId> = self
            .guests
            .values()
            .filter(|g| Some(g.id) != but && of(g))
            .map(|g| g.id)
            .collect();
        for id in ids {
            self.notify(id, notice, Handover::none());
        }
    }

    /// Tells a worker something. Its mailbox has no bound that this side could reach.
    fn tell(&self, worker: WorkerId, command: Command) {
        if let Some(worker) = self.workers.get(usize::from(worker.get())) {
            let _ = worker.commands.send(command);
        }
    }

    /// Tells every worker.
    fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in self.worker_ids() {
            self.tell(worker, command());
        }
    }

    fn worker_ids(&self) -> impl Iterator<Item = WorkerId> + use<> {
        let count = u16::try_from(self.workers.len()).unwrap_or(u16::MAX);
        (0..count).map(WorkerId::new)
    }

    fn say_discovery(&mut self) {
        while let Some((at, say)) = self.discovery.poll_say() {
            let way = self
                .ways
                .get(usize::from(at.partition.get()))
                .and_then(|p| p.way_out);
            if let Some(way) = way {
                let frame = discovery::wire::say(&say);
                self.tell(way.worker, Command::Say(at.uplink, way.tag, frame));
            }
        }
    }

    fn segment(&self, partition: PartitionId) -> Option<Segment> {
        let way = self.ways.get(usize::from(partition.get()))?.way_out?;
        Some(Segment {
            partition,
            uplink: way.uplink,
        })
    }

    /// A board came: all workers and discovery are told.
    fn board_came(&mut self, now: Time, partition: PartitionId, nic: NicAddr, name: &str) {
        self.tell_all(|| Command::AddBoard(partition, nic));
        if let Some(segment) = self.segment(partition) {
            self.set_addresses(segment.uplink);
            self.discovery.add_board(now, nic, name, segment);
            self.say_discovery();
        }
    }

    /// A board went.
    fn board_went(&mut self, partition: PartitionId, nic: NicAddr) {
        self.tell_all(|| Command::RemoveBoard(partition, nic));
        self.discovery.remove_board(nic);
        if let Some(segment) = self.segment(partition) {
            self.set_addresses(segment.uplink);
        }
    }

    /// Tells an uplink which boards it serves.
    fn set_addresses(&self, uplink: UplinkId) {
        let serves = |p: PartitionId| {
            self.segment(p)
                .is_some_and(|segment| segment.uplink == uplink)
        };
        let boards = self.boards.iter().filter(|b| serves(b.key.partition));
        let nics: Vec<NicAddr> = boards.map(|b| b.nic).collect();
        if let Some(handle) = self.uplinks.get(usize::from(uplink.get())) {
            self.tell(handle.worker, Command::Addresses(uplink, nics));
        }
    }

    fn drain(&mut self, now: Time, grace: Duration) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(now + grace);
        let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        for id in self.guests.keys().copied().collect::<Vec<_>>() {
            if self.guests.get(&id).is_some_and(|g| g.seat.is_some()) {
                self.notify(id, &Notice::Draining { grace_ms }, Handover::none());
            }
        }
    }

    fn check_deadlines(&mut self, now: Time) {
        for place in 0..self.meetings.len() {
            let at = &mut self.meetings[place];
            if at.paused.is_some_and(|until| until <= now) {
                at.paused = match at.meeting.watch(&self.wait, MEETING | place as u64) {
                    Ok(()) => None,
                    Err(_) => Some(now + BREATHER),
                };
            }
        }
        let late = |g: &&Guest| g.must_greet() && g.since + GREETING <= now;
        let late: Vec<GuestId> = self.guests.values().filter(late).map(|g| g.id).collect();
        for id in late {
            *self.refused.entry("silent").or_default() += 1;
            self.detach(now, id);
        }
        self.operators.resume(now);
        self.give_up_adopted(now);
        self.end_held(now);
        if let Some(end) = self.draining {
            self.stopped |= end <= now || self.guests.is_empty();
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        let greetings = self
            .guests
            .values()
            .filter(|g| g.must_greet())
            .map(|g| g.since + GREETING);
        let adopted = self
            .guests
            .values()
            .filter_map(|g| g.seat.as_ref())
            .filter_map(|seat| seat.adopted.values().min().copied());
        let paused = self.meetings.iter().filter_map(|p| p.paused);
        greetings
            .chain(adopted)
            .chain(paused)
            .chain(self.operators.paused)
            .chain(self.discovery.next_timeout())
            .chain(self.draining)
            .chain(self.next_held())
            .min()
    }

    /// Whether another line about this owner of guests may be logged now.
    fn may_log(&mut self, now: Time, owner: Option<Owner>) -> bool {
        self.logged.retain(|_, at| now.since(*at) < QUIET);
        // Users are many and lines few: whoever comes first in this second is heard.
        if self.logged.len() >= 8 || self.logged.contains_key(&owner) {
            return false;
        }
        self.logged.insert(owner, now);
        true
    }

    fn new_guest_id(&mut self) -> GuestId {
        let id = GuestId::new(self.next_guest);
        self.next_guest += 1;
        id
    }

    fn new_port_id(&mut self) -> PortId {
        let id = PortId::new(self.next_port);
        self.next_port += 1;
        id
    }

    /// How many ports are open.
    fn open_ports(&self) -> usize {
        self.guests
            .values()
            .filter_map(|g| g.seat.as_ref())
            .map(|s| s.ports.len())
            .sum()
    }
}

impl Drop for Control {
    /// However it ends, the workers do not go on without it.
    fn drop(&mut self) {
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Stop);
        }
    }
}

/// An address as control messages have it.
fn port_address(at: Address) -> PortAddress {
    PortAddress {
        mac: Mac::new(at.nic.octets()),
        endpoint: at.endpoint.get(),
    }
}

/// An address from a control message.
fn address(at: PortAddress) -> Address {
    Address::new(NicAddr::new(at.mac.bytes()), EndpointId::new(at.endpoint))
}
