//! What happens to network and nodes while programs talk.

use std::time::Duration;

use super::GIVE_UP;
use crate::rng::{Ppm, Rng};

/// Something happens.
#[derive(Debug, Clone)]
pub struct Disruption {
    /// When.
    pub at: Duration,
    /// What.
    pub what: Happening,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// These links are cut (or healed), each as (from, to).
    Links {
        /// The directions.
        links: Vec<(usize, usize)>,
        /// Cut, not healed.
        cut: bool,
    },
    /// The back end of all nodes dies; what is in the rings is lost.
    BackendDies,
    /// A node finds the new back end.
    BackendReturns {
        /// The node.
        node: usize,
    },
    /// A node's program dies.
    Dies {
        /// The node.
        node: usize,
        /// It closes its endpoint before, in good order.
        orderly: bool,
        /// The back end tells the other nodes.
        told: bool,
    },
    /// A node's program starts again.
    Starts {
        /// The node.
        node: usize,
    },
}

/// Cuts and heals links, takes the back end away and brings it back. Seldom for longer than engines are
/// patient.
pub(super) fn outages(nodes: usize, end: Duration, rng: &mut Rng) -> Vec<Disruption> {
    let mut all = Vec::new();
    for _ in 0..rng.between(1, 3) {
        let links = some_links(nodes, rng);
        let at = rng.up_to(end);
        let lasts = if rng.chance(Ppm::percent(5)) {
            GIVE_UP * 2 + rng.up_to(GIVE_UP)
        } else {
            short_or_long(20, 3_000, rng)
        };
        all.push(Disruption {
            at,
            what: Happening::Links {
                links: links.clone(),
                cut: true,
            },
        });
        all.push(Disruption {
            at: at + lasts,
            what: Happening::Links { links, cut: false },
        });
    }
    if rng.chance(Ppm::percent(50)) {
        let at = rng.up_to(end);
        let lasts = rng.up_to(Duration::from_secs(2));
        all.push(Disruption {
            at,
            what: Happening::BackendDies,
        });
        for node in 0..nodes {
            let found = at + lasts + rng.up_to(Duration::from_millis(500));
            all.push(Disruption {
                at: found,
                what: Happening::BackendReturns { node },
            });
        }
    }
    all.sort_by_key(|disruption| disruption.at);
    all
}

/// Nodes die; most come back.
pub(super) fn restarts(nodes: usize, end: Duration, rng: &mut Rng) -> Vec<Disruption> {
    let mut all = Vec::new();
    for node in 0..nodes {
        let mut at = Duration::ZERO;
        while rng.chance(Ppm::percent(40)) {
            at += rng.up_to(end) + Duration::from_micros(1);
            let (orderly, told) = (rng.chance(Ppm::percent(30)), rng.chance(Ppm::percent(30)));
            all.push(Disruption {
                at,
                what: Happening::Dies {
                    node,
                    orderly,
                    told,
                },
            });
            if rng.chance(Ppm::percent(10)) {
                break;
            }
            at += short_or_long(1, 200, rng);
            all.push(Disruption {
                at,
                what: Happening::Starts { node },
            });
        }
    }
    all.sort_by_key(|disruption| disruption.at);
    all
}

/// Up to one or the other number of milliseconds.
fn short_or_long(short: u64, long: u64, rng: &mut Rng) -> Duration {
    let most = if rng.chance(Ppm::percent(50)) {
        short
    } else {
        long
    };
    rng.up_to(Duration::from_millis(most))
}

/// One direction, both, everything from or to one node, or everything between two halves.
fn some_links(nodes: usize, rng: &mut Rng) -> Vec<(usize, usize)> {
    let (a, b) = (rng.index(nodes), rng.index(nodes));
    let all = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
    match rng.below(4) {
        0 => vec![(a, b)],
        1 => vec![(a, b), (b, a)],
        2 => all
            .filter(|(from, to)| (*from == a) != (*to == a))
            .collect(),
        _ => all
            .filter(|(from, to)| (*from < nodes / 2) != (*to < nodes / 2))
            .collect(),
    }
}
