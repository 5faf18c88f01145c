//! What a seed means: the nodes, what they do and when, and what happens to them.
//!
//! A scenario is made before the simulation starts and depends on the seed alone, not on how the
//! engines behave; so one scenario can be run on a good network and on a bad one, and compared.

use std::time::Duration;

use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::engine::{Limits, Numbering, PathProfile, Timers};
use mxoe::frame::{Dialect, Mtu};

use crate::network::{Faults, Speed};
use crate::rng::{Ppm, Rng};

mod disruption;
mod work;

pub use disruption::{Disruption, Happening};
pub use work::{Action, Give, MessageId, PostId, What};

/// One simulated network and what goes on in it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Where it came from.
    pub seed: u64,
    /// Its nodes, one endpoint each.
    pub nodes: Vec<NodePlan>,
    /// What all switched paths look like.
    pub profile: PathProfile,
    /// How links behave, but for `odd_links`.
    pub faults: Faults,
    /// Directions that behave otherwise: from, to, how.
    pub odd_links: Vec<(usize, usize, Faults)>,
    /// How fast links are.
    pub speed: Speed,
    /// Direct channels.
    pub channels: Vec<Channel>,
    /// What the programs do, in order of time.
    pub actions: Vec<Action>,
    /// What happens to network and nodes, in order of time.
    pub disruptions: Vec<Disruption>,
    /// When the engines act.
    pub timers: Timers,
    /// What the engines bound.
    pub limits: Limits,
    /// How messages are numbered.
    pub numbering: Numbering,
    /// Messages up to this length are sent eagerly.
    pub eager_max: u32,
    /// So many times the frames of [`Scenario::calm`] may be sent, where the two can be compared.
    pub most_times: Option<u64>,
    /// The shortest frame; shorter ones are padded with garbage, as an Ethernet card does.
    pub pad_to: usize,
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Where its endpoint is. Nodes may share a board.
    pub address: Address,
    /// The key others must show.
    pub key: u32,
    /// How long after something has happened the program calls the engine again. What arrives meanwhile is
    /// handled in one go.
    pub lag: Duration,
    /// How it takes in what no planned receive has taken.
    pub drain: Drain,
    /// It tells its engine to acknowledge before it waits.
    pub flushes: bool,
    /// It takes service messages that no receive waits for in hand as they are announced, as the provider of libfabric does; else they wait as all
    /// others.
    pub serves: bool,
}

/// How a node takes in the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// By receives that match anything.
    Anything,
    /// By looking at unexpected messages and claiming them.
    Claims,
    /// By looking at unexpected messages and posting a receive for just that one.
    Probes,
}

/// A direct channel between two nodes.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// One end.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// What both ends think of it.
    pub profile: PathProfile,
    /// When it is there.
    pub from: Duration,
    /// When it goes away, with what is in it.
    pub until: Option<Duration>,
    /// How often reading an offer does not work.
    pub fetch_fails: Ppm,
}

/// The kinds of scenarios, and how many of a hundred seeds each gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// At most 10 % loss, nothing else: compared with the loss-free run.
    Lossy,
    /// Up to 20 % loss, duplication, reordering, other faults in each direction.
    Hostile,
    /// Cut links, back ends that are away.
    Outages,
    /// Nodes that die and come back, or do not.
    Restarts,
    /// Tight limits, many to one.
    Tight,
    /// Very many tiny messages: numbers wrap.
    Many,
}

const KINDS: [(u32, Kind); 6] = [
    (300, Kind::Lossy),
    (250, Kind::Hostile),
    (180, Kind::Outages),
    (180, Kind::Restarts),
    (88, Kind::Tight),
    (2, Kind::Many),
];

/// Makes another seed of a scenario's.
const SERVICES: u64 = 0x7365_7276_6963_6573;

/// An engine that has heard nothing for so long gives up, in virtual time.
pub const GIVE_UP: Duration = Duration::from_secs(30);

impl Scenario {
    /// The scenario of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let kind = rng.weighted(&KINDS).unwrap_or(Kind::Lossy);
        let dialect = match rng.below(4) {
            0 => Dialect::Compat,
            1 => Dialect::Native { mtu: Mtu::STANDARD },
            _ => Dialect::Native { mtu: Mtu::DEFAULT },
        };
        let nodes = nodes(kind, &mut rng);
        let faults = faults(kind, &mut rng);
        let mut scenario = Self {
            seed,
            profile: PathProfile::new(dialect, 1 << rng.between(16, 19)),
            odd_links: Vec::new(),
            speed: Speed {
                byte_picos: 800,
                queue_bytes: 4 << 20,
            },
            channels: Vec::new(),
            actions: Vec::new(),
            disruptions: Vec::new(),
            timers: Timers {
                give_up: GIVE_UP,
                ..Timers::default()
            },
            limits: Limits::default(),
            numbering: if rng.chance(Ppm::percent(25)) {
                Numbering::One
            } else {
                Numbering::Seeded
            },
            eager_max: 32768,
            most_times: match kind {
                Kind::Lossy => Some(3),
                Kind::Hostile => Some(8),
                _ => None,
            },
            pad_to: if rng.chance(Ppm::percent(50)) { 60 } else { 0 },
            nodes,
            faults,
        };
        match kind {
            Kind::Lossy | Kind::Many | Kind::Restarts => {}
            Kind::Hostile | Kind::Outages => scenario.make_links_odd(&mut rng),
            Kind::Tight => scenario.tighten(&mut rng),
        }
        let services = scenario.add_services(kind);
        scenario.actions = match kind {
            Kind::Many => work::stream(&mut rng),
            Kind::Tight => work::many_to_one(scenario.nodes.len(), services, &mut rng),
            _ => work::mixed(scenario.nodes.len(), services, &mut rng),
        };
        if !matches!(kind, Kind::Lossy | Kind::Many) {
            scenario.add_channels(&mut rng);
        }
        let end = scenario.last_action();
        scenario.disruptions = match kind {
            Kind::Outages => disruption::outages(scenario.nodes.len(), end, &mut rng),
            Kind::Restarts => disruption::restarts(scenario.nodes.len(), end, &mut rng),
            _ => Vec::new(),
        };
        scenario
    }

    /// The same programs on a network without faults, where nothing happens to anybody.
    #[must_use]
    pub fn calm(&self) -> Self {
        Self {
            faults: Faults::none(self.faults.delay),
            odd_links: Vec::new(),
            disruptions: Vec::new(),
            most_times: None,
            ..self.clone()
        }
    }

    /// When the last program acts.
    #[must_use]
    pub fn last_action(&self) -> Duration {
        self.actions
            .last()
            .map_or(Duration::ZERO, |action| action.at)
    }

    /// How many sends there are.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.actions
            .iter()
            .filter(|action| matches!(action.what, What::Send { .. }))
            .count()
    }

    /// In some scenarios nodes say things to each other beside the programs' messages, and some of them serve. Gives what decides which messages
    /// these are: a generator of its own, so that all else is as it is without.
    fn add_services(&mut self, kind: Kind) -> Option<Rng> {
        let mut rng = Rng::new(self.seed ^ SERVICES);
        if kind == Kind::Many || !rng.chance(Ppm::percent(40)) {
            return None;
        }
        for node in &mut self.nodes {
            node.serves = rng.chance(Ppm::percent(70));
        }
        Some(rng)
    }

    fn make_links_odd(&mut self, rng: &mut Rng) {
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                if from != to && rng.chance(Ppm::percent(30)) {
                    self.odd_links.push((from, to, faults(Kind::Hostile, rng)));
                }
            }
        }
    }

    /// Limits that are hit all the time, and a receiver whose queue overflows.
    fn tighten(&mut self, rng: &mut Rng) {
        self.speed.queue_bytes = u32::try_from(rng.between(64, 512)).unwrap_or(64) << 10;
        self.limits.unexpected_bytes = rng.between(256, 1024) << 10;
        self.limits.unexpected_messages = rng.index(64) + 16;
        self.limits.unacked_bytes = rng.length(16, 256) << 10;
        self.limits.unacked_messages = u16::try_from(rng.between(1, 40)).unwrap_or(1);
        self.limits.pulls = rng.index(4) + 1;
        self.limits.rendezvous = u16::try_from(rng.between(1, 8)).unwrap_or(1);
        self.limits.pull_jobs = u16::try_from(rng.between(4, 16)).unwrap_or(4);
        self.limits.answers = rng.index(8) + 4;
        self.eager_max = rng.length(0, 32768);
    }

    fn add_channels(&mut self, rng: &mut Rng) {
        let end = self.last_action();
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                if !rng.chance(Ppm::percent(20)) {
                    continue;
                }
                let wide = rng.chance(Ppm::percent(50)) && self.profile.dialect != Dialect::Compat;
                let max_frame = if wide { 60_000 } else { self.profile.max_frame };
                let profile = PathProfile {
                    fetch: rng.chance(Ppm::percent(50)),
                    max_frame,
                    ..self.profile
                };
                let from = rng.up_to(end);
                let until = rng.chance(Ppm::percent(40)).then(|| from + rng.up_to(end));
                let fetch_fails = Ppm::percent(rng.length(0, 1) * 30);
                self.channels.push(Channel {
                    a,
                    b,
                    profile,
                    from,
                    until,
                    fetch_fails,
                });
            }
        }
    }
}

/// Two to six nodes; some share a board.
fn nodes(kind: Kind, rng: &mut Rng) -> Vec<NodePlan> {
    let count = match kind {
        Kind::Many => 2,
        Kind::Tight => rng.between(3, 6),
        _ => rng.between(2, 5),
    };
    let shared = rng.chance(Ppm::percent(25));
    (0..count)
        .map(|number| {
            let board = if shared { number / 2 } else { number };
            let nic = NicAddr::from_u64(0x0200_0000_0100 + board);
            let endpoint = EndpointId::new(u8::try_from(number * 37 % 256).unwrap_or(0));
            NodePlan {
                address: Address::new(nic, endpoint),
                key: u32::try_from(rng.below(1 << 32)).unwrap_or(0),
                lag: if rng.chance(Ppm::percent(50)) {
                    Duration::ZERO
                } else {
                    rng.up_to(Duration::from_micros(200))
                },
                drain: match rng.below(3) {
                    0 => Drain::Anything,
                    1 => Drain::Claims,
                    _ => Drain::Probes,
                },
                flushes: rng.chance(Ppm::percent(50)),
                serves: false,
            }
        })
        .collect()
}

/// How links behave in general.
fn faults(kind: Kind, rng: &mut Rng) -> Faults {
    let delay = Duration::from_micros(rng.between(1, 60));
    let percent =
        |rng: &mut Rng, most: u64| Ppm::new(u32::try_from(rng.below(most * 10_000)).unwrap_or(0));
    match kind {
        Kind::Many => Faults {
            loss: percent(rng, 2),
            ..Faults::none(delay)
        },
        Kind::Tight | Kind::Restarts => Faults {
            loss: percent(rng, 5),
            jitter: rng.up_to(Duration::from_micros(50)),
            ..Faults::none(delay)
        },
        Kind::Lossy => Faults {
            loss: if rng.chance(Ppm::percent(50)) {
                Ppm::percent(10)
            } else {
                percent(rng, 10)
            },
            duplication: percent(rng, 2),
            reordering: percent(rng, 5),
            held: Duration::from_micros(rng.between(50, 2_000)),
            delay,
            jitter: rng.up_to(Duration::from_micros(20)),
        },
        Kind::Hostile | Kind::Outages => Faults {
            loss: percent(rng, 20),
            duplication: percent(rng, 20),
            reordering: percent(rng, 30),
            held: Duration::from_micros(rng.between(50, 20_000)),
            delay: if rng.chance(Ppm::percent(10)) {
                Duration::from_millis(rng.between(1, 30))
            } else {
                delay
            },
            jitter: rng.up_to(Duration::from_micros(500)),
        },
    }
}

#[cfg(test)]
mod tests {
    use mxoe::engine::Space;

    use super::*;
    use crate::payload;

    #[test]
    fn a_seed_always_means_the_same() {
        for seed in 0..50 {
            let text = |scenario: &Scenario| format!("{scenario:?}");
            assert_eq!(text(&Scenario::new(seed)), text(&Scenario::new(seed)));
        }
    }

    #[test]
    fn actions_are_in_order_and_name_nodes_that_exist() {
        for seed in 0..200 {
            let scenario = Scenario::new(seed);
            let nodes = scenario.nodes.len();
            assert!(
                scenario.actions.is_sorted_by_key(|action| action.at),
                "seed {seed}"
            );
            assert!(
                scenario.disruptions.is_sorted_by_key(|d| d.at),
                "seed {seed}"
            );
            assert!(
                scenario.actions.iter().all(|action| action.node < nodes),
                "seed {seed}"
            );
            assert!(scenario.messages() > 0, "seed {seed}");
            let mut addresses: Vec<_> = scenario.nodes.iter().map(|node| node.address).collect();
            addresses.sort_unstable();
            addresses.dedup();
            assert_eq!(addresses.len(), nodes, "seed {seed}");
        }
    }

    #[test]
    fn many_scenarios_have_service_messages_with_data_and_nodes_that_serve() {
        let (mut scenarios, mut with_data, mut served) = (0, 0, 0);
        for seed in 0..200 {
            let scenario = Scenario::new(seed);
            let mut any = false;
            for action in &scenario.actions {
                let What::Send {
                    space: Space::Service,
                    to,
                    match_info,
                    len,
                    ..
                } = action.what
                else {
                    continue;
                };
                any = true;
                with_data += usize::from(payload::beside(match_info, len).is_some());
                served += usize::from(scenario.nodes[to].serves);
            }
            scenarios += usize::from(any);
        }
        assert!((50..110).contains(&scenarios), "{scenarios}");
        assert!(
            with_data > 300 && served > 700,
            "{with_data} with data, {served} to nodes that serve"
        );
    }

    #[test]
    fn a_calm_run_has_the_same_programs_and_no_faults() {
        let scenario = Scenario::new(3);
        let calm = scenario.calm();
        assert_eq!(calm.actions.len(), scenario.actions.len());
        assert_eq!(calm.faults.loss, Ppm::NEVER);
        assert!(calm.disruptions.is_empty() && calm.odd_links.is_empty());
    }
}
