//! One run: nodes, network and oracle on a virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use mxoe::engine::{Gone, PathId, PullId, RegionId};
use mxoe::time::Time;

use crate::network::{Network, Traffic};
use crate::node::{Node, channel_path};
use crate::oracle::{Life, Oracle, Tally};
use crate::rng::Rng;
use crate::scenario::{Happening, PostId, Scenario, What};
use crate::violation::Violation;

mod contacts;
mod program;
mod service;
mod standby;
mod wires;

/// Steps after which a run is taken to go round in circles. The longest take a few hundred thousand.
const MOST_STEPS: u64 = 5_000_000;
/// Virtual time after the last planned action in which everything must have come to its end.
const PATIENCE: Duration = Duration::from_secs(600);
/// Timers that a node handles at one moment before it is taken to be stuck.
const MOST_TIMERS: u32 = 1_000;

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Messages.
    pub tally: Tally,
    /// Frames on the switched paths.
    pub traffic: Traffic,
    /// Frames on direct channels.
    pub direct: u64,
    /// How long it took, in virtual time.
    pub took: Duration,
    /// Steps of the simulation.
    pub steps: u64,
    /// A digest of every frame and its time: the same for every run of one scenario.
    pub digest: u64,
}

impl Outcome {
    /// All frames that engines have sent.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.traffic.sent + self.direct
    }
}

/// Something that will happen.
#[derive(Debug)]
enum Pending {
    /// A program does the action of this number.
    Act(usize),
    /// The disruption of this number happens.
    Disrupt(usize),
    /// A direct channel comes or goes.
    Channel { channel: usize, up: bool },
    /// A frame arrives.
    Frame(wires::Flight),
    /// A program calls its engine.
    Drive(usize),
    /// An engine's timer.
    Timer(usize),
    /// A program loses patience with a receive.
    Withdraw { life: Life, post: PostId },
    /// A driver that has asked for what it could read has waited for long enough.
    ReadAfterAll {
        life: Life,
        pull: PullId,
        offer: u32,
        to: RegionId,
        len: u32,
    },
    /// Offered data has been read, or not.
    Fetched {
        life: Life,
        pull: PullId,
        offer: u32,
        to: RegionId,
        len: u32,
    },
    /// A program tries to connect again.
    Retry { life: Life, to: usize },
    /// Programs begin to take in the rest.
    Drain,
}

/// Orders by time, then by when it was scheduled.
#[derive(Debug)]
struct Scheduled {
    at: Time,
    number: u64,
    pending: Pending,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Where a run tells what happens, line by line.
pub type Trace<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

/// One run of a scenario.
pub struct World<'a> {
    scenario: &'a Scenario,
    now: Time,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    /// The living.
    nodes: Vec<Option<Node>>,
    /// How often each node has started.
    lives: Vec<u32>,
    network: Network,
    oracle: Oracle,
    rng: Rng,
    /// Frames in the rings of a back end that has died are lost: each back end has its number.
    backend: u64,
    /// The back end is there.
    backend_up: bool,
    /// Which direct channels are there, and how often each has been up.
    channels: Vec<Link>,
    /// Frames under way.
    flying: u64,
    /// Frames on direct channels.
    direct: u64,
    /// What is scheduled and was planned: programs still have something to do.
    planned: usize,
    /// All is said: receives are withdrawn, engines come to rest.
    finishing: bool,
    /// Timers handled by each node at this moment.
    timers_now: Vec<(Time, u32)>,
    /// Connects that were tried.
    attempts: u64,
    digest: u64,
    /// Which action each message is, by number.
    sends: Vec<usize>,
    spare: Vec<Vec<u8>>,
    trace: Option<Trace<'a>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Link {
    up: bool,
    epoch: u64,
}

/// Says what happens to whoever listens.
macro_rules! tell {
    ($world:expr, $($text:tt)*) => {
        if let Some(trace) = &mut $world.trace {
            trace(format_args!("{} {}", $world.now, format_args!($($text)*)));
        }
    };
}
use tell;

impl<'a> World<'a> {
    /// A world at the beginning of a scenario.
    #[must_use]
    pub fn new(scenario: &'a Scenario, trace: Option<Trace<'a>>) -> Self {
        let count = scenario.nodes.len();
        let mut rng = Rng::new(scenario.seed ^ 0x776f_726c_6400);
        let mut network = Network::new(count, scenario.faults, scenario.speed, rng.fork());
        for (from, to, faults) in &scenario.odd_links {
            network.set_faults(*from, *to, *faults);
        }
        let mut nodes = Vec::new();
        nodes.resize_with(count, || None);
        let mut world = Self {
            now: Time::ZERO,
            queue: BinaryHeap::new(),
            scheduled: 0,
            nodes,
            lives: vec![0; count],
            oracle: Oracle::new(count, scenario.messages()),
            network,
            rng,
            backend: 0,
            backend_up: true,
            channels: vec![Link::default(); scenario.channels.len()],
            flying: 0,
            direct: 0,
            planned: 0,
            finishing: false,
            timers_now: vec![(Time::ZERO, 0); count],
            attempts: 0,
            digest: 0,
            sends: sends(scenario),
            spare: Vec::new(),
            trace,
            scenario,
        };
        (0..count).for_each(|node| world.start(node));
        world.plan();
        world
    }

    /// Schedules what the scenario plans.
    fn plan(&mut self) {
        let begin = Time::ZERO;
        for (number, action) in self.scenario.actions.iter().enumerate() {
            self.schedule(begin + action.at, Pending::Act(number));
        }
        for (number, disruption) in self.scenario.disruptions.iter().enumerate() {
            self.schedule(begin + disruption.at, Pending::Disrupt(number));
        }
        for (channel, plan) in self.scenario.channels.iter().enumerate() {
            self.schedule(begin + plan.from, Pending::Channel { channel, up: true });
            if let Some(until) = plan.until {
                self.schedule(begin + until, Pending::Channel { channel, up: false });
            }
        }
        self.schedule(begin + self.scenario.last_action(), Pending::Drain);
        self.planned = self.queue.len();
    }

    fn schedule(&mut self, at: Time, pending: Pending) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            number: self.scheduled,
            pending,
        }));
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// With the first promise that was broken.
    pub fn run(mut self) -> Result<Outcome, Violation> {
        let last = self
            .scenario
            .disruptions
            .last()
            .map_or(Duration::ZERO, |d| d.at);
        let end = Time::ZERO + self.scenario.last_action().max(last) + PATIENCE;
        let mut steps = 0;
        while let Some(Reverse(next)) = self.queue.pop() {
            steps += 1;
            self.now = next.at;
            if steps > MOST_STEPS || self.now > end {
                let waiting = self.waiting();
                return Err(Violation::Livelock {
                    now: self.now,
                    steps,
                    waiting,
                });
            }
            self.step(next.pending)?;
            if self.finished()? {
                break;
            }
        }
        if !self.finishing {
            return Err(Violation::Livelock {
                now: self.now,
                steps,
                waiting: self.waiting(),
            });
        }
        self.check_rest()?;
        let tally = self.oracle.close()?;
        Ok(Outcome {
            tally,
            traffic: self.network.traffic(),
            direct: self.direct,
            took: self.now.since(Time::ZERO),
            steps,
            digest: self.digest,
        })
    }

    fn step(&mut self, pending: Pending) -> Result<(), Violation> {
        match pending {
            Pending::Act(number) => {
                self.planned -= 1;
                self.act(number)
            }
            Pending::Disrupt(number) => {
                self.planned -= 1;
                self.disrupt(number)
            }
            Pending::Channel { channel, up } => {
                self.planned -= 1;
                self.set_channel(channel, up)
            }
            Pending::Drain => {
                self.planned -= 1;
                (0..self.nodes.len()).try_for_each(|node| self.begin_draining(node))
            }
            Pending::Frame(flight) => self.arrive(flight),
            Pending::Drive(node) => {
                let due = self.nodes[node]
                    .as_mut()
                    .and_then(|node| node.due.take_if(|due| *due <= self.now));
                if due.is_some() {
                    self.drive(node)
                } else {
                    Ok(())
                }
            }
            Pending::Timer(node) => self.timer(node),
            Pending::Withdraw { life, post } => self.withdraw(life, post),
            Pending::Fetched {
                life,
                pull,
                offer,
                to,
                len,
            } => self.fetched(life, pull, offer, to, len),
            Pending::ReadAfterAll {
                life,
                pull,
                offer,
                to,
                len,
            } => {
                if self.reads_after_all(life, pull) {
                    self.fetched(life, pull, offer, to, len)?;
                }
                Ok(())
            }
            Pending::Retry { life, to } => self.retry(life, to),
        }
    }

    /// Begins the end when everything planned has been done and settled; tells when the end is reached.
    fn finished(&mut self) -> Result<bool, Violation> {
        if self.finishing {
            let idle = self
                .nodes
                .iter()
                .flatten()
                .all(|node| node.endpoint.is_idle() && node.due.is_none());
            return Ok(idle && self.flying == 0);
        }
        if self.planned > 0 || self.oracle.unsettled() > 0 {
            return Ok(false);
        }
        let waiting = |node: &Node| {
            node.contacts
                .iter()
                .any(|contact| !contact.waiting.is_empty())
        };
        if self.nodes.iter().flatten().any(waiting) {
            return Ok(false);
        }
        self.finishing = true;
        tell!(self, "everything is settled; receives are withdrawn");
        for index in 0..self.nodes.len() {
            let Some(node) = &self.nodes[index] else {
                continue;
            };
            let life = node.life;
            let open: Vec<_> = self.oracle.open_posts(life).collect();
            open.into_iter()
                .try_for_each(|post| self.withdraw(life, post))?;
            self.drive(index)?;
        }
        Ok(false)
    }

    /// After the end nobody holds on to anything.
    fn check_rest(&mut self) -> Result<(), Violation> {
        for node in self.nodes.iter().flatten() {
            let index = node.life.node;
            let fail = |what: String| Err(Violation::NotIdle { node: index, what });
            if !node.endpoint.is_idle() {
                return fail("its engine is not idle".to_owned());
            }
            if let Some((token, request)) = node.requests.first_key_value() {
                return fail(format!("request {token:#x}: {request:?}"));
            }
            let (entries, buffers) = node.memory.in_use();
            if buffers > 0 {
                return fail(format!("{buffers} buffers"));
            }
            // Messages that failed at their sender may lie unexpected for ever.
            if entries > 0 && self.scenario.disruptions.is_empty() {
                return fail(format!("{entries} entries of the unexpected store"));
            }
        }
        Ok(())
    }

    fn waiting(&self) -> Vec<String> {
        let mut waiting = self.oracle.waiting_for();
        for node in self.nodes.iter().flatten() {
            let (entries, buffers) = node.memory.in_use();
            waiting.push(format!(
                "node {}: idle {}, next timeout {:?}, {} requests, {entries} in store, {buffers} buffers",
                node.life.node,
                node.endpoint.is_idle(),
                node.endpoint.next_timeout(),
                node.requests.len(),
            ));
        }
        waiting
    }

    fn disrupt(&mut self, number: usize) -> Result<(), Violation> {
        let happening = &self.scenario.disruptions[number].what;
        tell!(self, "{happening:?}");
        match happening {
            Happening::Links { links, cut } => {
                links
                    .iter()
                    .for_each(|(from, to)| self.network.set_cut(*from, *to, *cut));
                Ok(())
            }
            Happening::BackendDies => {
                self.backend += 1;
                self.backend_up = false;
                self.nodes
                    .iter_mut()
                    .flatten()
                    .for_each(|node| node.switched = false);
                Ok(())
            }
            Happening::BackendReturns { node } => {
                self.backend_up = true;
                self.attach(*node)
            }
            Happening::Dies {
                node,
                orderly,
                told,
            } => self.die(*node, *orderly, *told),
            Happening::Starts { node } => {
                self.start(*node);
                let begun = self.scenario.last_action();
                if self.now >= Time::ZERO + begun {
                    self.begin_draining(*node)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// A node begins a life.
    fn start(&mut self, index: usize) {
        let life = Life {
            node: index,
            number: self.lives[index],
        };
        self.lives[index] += 1;
        self.oracle.born(life);
        let mut node = Node::new(self.scenario, life);
        if self.backend_up {
            node.switched = true;
            node.endpoint
                .set_path(self.now, PathId::SWITCH, self.scenario.profile);
        }
        self.nodes[index] = Some(node);
    }

    /// A node finds the back end again.
    fn attach(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        node.switched = true;
        node.paths_free[0] = now;
        node.endpoint
            .set_path(now, PathId::SWITCH, self.scenario.profile);
        self.drive(index)
    }

    /// A node's life ends.
    fn die(&mut self, index: usize, orderly: bool, told: bool) -> Result<(), Violation> {
        if self.nodes[index].is_none() {
            return Ok(());
        }
        if orderly {
            self.close(index)?;
        }
        self.nodes[index] = None;
        self.oracle.died(index);
        for channel in 0..self.channels.len() {
            let plan = &self.scenario.channels[channel];
            if plan.a == index || plan.b == index {
                self.set_channel(channel, false)?;
            }
        }
        if told {
            let gone = Gone::Endpoint(self.scenario.nodes[index].address);
            for other in 0..self.nodes.len() {
                if let Some(node) = &mut self.nodes[other] {
                    node.endpoint.peer_gone(self.now, gone);
                    self.drive(other)?;
                }
            }
        }
        Ok(())
    }

    /// Closes a node's endpoint: what is owed goes out, every request ends.
    fn close(&mut self, index: usize) -> Result<(), Violation> {
        self.post_standby(index)?;
        if let Some(node) = &mut self.nodes[index] {
            node.closed = true;
            node.endpoint.close(self.now);
        }
        self.drive(index)?;
        match self.nodes[index]
            .as_ref()
            .and_then(|node| node.requests.first_key_value())
        {
            Some((token, request)) => {
                let what = format!("request {token:#x} after closing: {request:?}");
                Err(Violation::NotIdle { node: index, what })
            }
            None => Ok(()),
        }
    }

    /// A direct channel comes, if both its ends live, or goes.
    fn set_channel(&mut self, channel: usize, up: bool) -> Result<(), Violation> {
        let plan = self.scenario.channels[channel];
        let both = [(plan.a, plan.b), (plan.b, plan.a)];
        let alive = both.iter().all(|(end, _)| self.nodes[*end].is_some());
        if self.channels[channel].up == up || (up && !alive) {
            return Ok(());
        }
        tell!(
            self,
            "channel {channel} between {} and {}: up {up}",
            plan.a,
            plan.b
        );
        self.channels[channel].up = up;
        self.channels[channel].epoch += 1;
        let (now, path) = (self.now, channel_path(channel));
        for (end, other) in both {
            let to = self.scenario.nodes[other].address;
            let Some(node) = &mut self.nodes[end] else {
                continue;
            };
            if up {
                node.paths_free[channel + 1] = now;
                node.endpoint.set_path(now, path, plan.profile);
                node.endpoint.route(now, to, path);
            } else {
                node.endpoint.drop_path(now, path);
            }
            self.drive(end)?;
        }
        Ok(())
    }

    fn timer(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        if node.timer.is_none_or(|timer| timer > now) {
            return Ok(());
        }
        node.timer = None;
        let Some(timer) = node.endpoint.next_timeout().filter(|timer| *timer <= now) else {
            self.arm(index);
            return Ok(());
        };
        let handled = &mut self.timers_now[index];
        *handled = if handled.0 == now {
            (now, handled.1 + 1)
        } else {
            (now, 1)
        };
        if handled.1 > MOST_TIMERS {
            return Err(Violation::StuckTimer {
                node: index,
                timer,
                now,
            });
        }
        node.endpoint.handle_timeout(now);
        self.drive(index)
    }

    /// Schedules the engine's timer.
    fn arm(&mut self, index: usize) {
        let Some(node) = &mut self.nodes[index] else {
            return;
        };
        node.endpoint.date(self.now);
        let Some(at) = node.endpoint.next_timeout() else {
            return;
        };
        let at = at.max(self.now);
        if node.timer.is_none_or(|timer| at < timer) {
            node.timer = Some(at);
            self.schedule(at, Pending::Timer(index));
        }
    }
}

/// The actions that are sends, in order: messages are numbered so.
fn sends(scenario: &Scenario) -> Vec<usize> {
    let numbered = scenario.actions.iter().enumerate();
    let sends = numbered.filter(|(_, action)| matches!(action.what, What::Send { .. }));
    sends.map(|(index, _)| index).collect()
}
