//! Finding the boards of other hosts, as the reference daemon does (specification, sections 4.3 and
//! 4.4), for each board of this host.
//!
//! A pure state machine: [`Discovery::hear`] takes what arrived, [`Discovery::handle_timeout`] the time,
//! [`Discovery::poll_say`] gives what to send until `None`. Each board announces itself in rounds of
//! eight, a second apart, and then every three minutes; whoever is unknown is added to the table and asked
//! for its name. The table is bounded: the wire is not trusted.

mod peers;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mxoe::addr::NicAddr;
use mxoe::time::Time;

use crate::ids::{PartitionId, UplinkId};

pub use peers::{Peer, PeerTable};

/// Announcements in a round (specification, 4.4).
const ROUND: u8 = 8;
/// Between the announcements of a round.
const ROUND_GAP: Duration = Duration::from_secs(1);
/// Between announcements when no round is running.
const CALM_GAP: Duration = Duration::from_secs(180);
/// Announcements that are due so soon go out with the first one: a host with many boards wakes up for all of them together.
const TOGETHER: Duration = Duration::from_millis(250);
/// Between queries to a board whose name is not known (specification, 4.3).
const QUERY_GAP: Duration = Duration::from_secs(5);
/// Between queries once this many went unanswered: most likely it never answers.
const PATIENCE: u32 = 12;
/// Between queries to one that seems never to answer.
const QUERY_RARELY: Duration = Duration::from_secs(60);
/// The first value of the query magic (specification, 4.3).
const QUERY_MAGIC: u32 = 0x1305_2008;
/// What may wait to be sent; what comes on top is not said, and will be said with the next round.
const MAX_SAYINGS: usize = 4096;

/// Where something was heard or is to be said: a partition on the uplink that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// The partition.
    pub partition: PartitionId,
    /// The uplink.
    pub uplink: UplinkId,
}

/// A discovery frame that arrived, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A board announces itself to everybody.
    Announcement {
        /// The board.
        nic: NicAddr,
        /// Random, new with each run of the announcing daemon.
        serial: u32,
    },
    /// A board asks for the name of another.
    Query {
        /// Who asks.
        from: NicAddr,
        /// Who is asked.
        to: NicAddr,
        /// To be given back in the answer.
        magic: u32,
    },
    /// A board tells its name.
    Answer {
        /// Whose name it is.
        from: NicAddr,
        /// Who had asked.
        to: NicAddr,
        /// From the query.
        magic: u32,
        /// The name, without the final NUL.
        name: String,
    },
}

/// A discovery frame to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// To everybody: this board is here.
    Announcement {
        /// The board.
        nic: NicAddr,
        /// This run's number.
        serial: u32,
    },
    /// To one board: what is your name?
    Query {
        /// The board of this host that asks.
        from: NicAddr,
        /// The board that is asked.
        to: NicAddr,
        /// Its index in this host's table.
        index: u16,
        /// To be given back in the answer.
        magic: u32,
    },
    /// To one board: my name.
    Answer {
        /// The board of this host.
        from: NicAddr,
        /// Who had asked.
        to: NicAddr,
        /// Its index in this host's table.
        index: u16,
        /// From the query.
        magic: u32,
        /// The name.
        name: String,
    },
}

/// A board of this host, as discovery sees it.
#[derive(Debug)]
struct Local {
    name: String,
    segment: Segment,
    serial: u32,
    /// Announcements still to be sent in the running round.
    left: u8,
    due: Time,
}

/// What is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Announce(NicAddr),
    Query(u16),
}

/// The state machine.
#[derive(Debug)]
pub struct Discovery {
    locals: BTreeMap<NicAddr, Local>,
    peers: PeerTable,
    timers: BTreeSet<(Time, Due)>,
    sayings: VecDeque<(Segment, Say)>,
    serial: u32,
}

impl Discovery {
    /// With room for `max_peers` boards of other hosts (at most 65,535: an index is 16 bits and the last one
    /// means "unknown"). `seed` should differ with each run: the boards' serials come from it.
    #[must_use]
    pub fn new(seed: u32, max_peers: usize) -> Self {
        Self {
            locals: BTreeMap::new(),
            peers: PeerTable::new(max_peers),
            timers: BTreeSet::new(),
            sayings: VecDeque::new(),
            serial: seed,
        }
    }

    /// The boards of other hosts.
    #[must_use]
    pub fn peers(&self) -> &PeerTable {
        &self.peers
    }

    /// Introduces a board of this host: a round of announcements begins at once.
    pub fn add_board(&mut self, now: Time, nic: NicAddr, name: &str, segment: Segment) {
        self.remove_board(nic);
        // Any odd step visits all numbers; neighbours should not look alike.
        self.serial = self.serial.wrapping_add(0x9e37_79b9);
        let name = name.to_owned();
        let local = Local {
            name,
            segment,
            serial: self.serial,
            left: ROUND,
            due: now,
        };
        self.timers.insert((now, Due::Announce(nic)));
        self.locals.insert(nic, local);
        self.handle_timeout(now);
        // Whoever was heard before there was a board to ask in the name of.
        let unasked = self
            .peers
            .iter()
            .filter(|p| p.segment == segment && p.is_unasked());
        for index in unasked.map(|p| p.index).collect::<Vec<_>>() {
            self.ask(now, index);
        }
    }

    /// A board of this host is gone. Nothing is said: the protocol has no word for it.
    pub fn remove_board(&mut self, nic: NicAddr) {
        if let Some(local) = self.locals.remove(&nic) {
            self.timers.remove(&(local.due, Due::Announce(nic)));
        }
    }

    /// Takes a frame that arrived from the wire.
    pub fn hear(&mut self, now: Time, at: Segment, heard: Heard) {
        match heard {
            Heard::Announcement { nic, serial } => self.hear_announcement(now, at, nic, serial),
            Heard::Query { from, to, magic } => {
                // The reference drops a query from a board it does not know; we get to know it instead.
                let Some(index) = self.meet(now, at, from) else {
                    return;
                };
                let Some(local) = self.locals.get(&to).filter(|l| l.segment == at) else {
                    return;
                };
                let name = local.name.clone();
                self.say(
                    at,
                    Say::Answer {
                        from: to,
                        to: from,
                        index,
                        magic,
                        name,
                    },
                );
            }
            Heard::Answer {
                from,
                to,
                magic,
                name,
            } => {
                let asked = self.locals.get(&to).is_some_and(|l| l.segment == at);
                if magic == QUERY_MAGIC && asked && !self.locals.contains_key(&from) {
                    self.learn_name(now, at, from, name);
                }
            }
        }
    }

    fn hear_announcement(&mut self, now: Time, at: Segment, nic: NicAddr, serial: u32) {
        let known = self.peers.find(at, nic).map(|peer| peer.serial);
        let Some(index) = self.meet(now, at, nic) else {
            return;
        };
        let news = match known {
            None => true,
            // First heard of through a query: it is known, its serial is not.
            Some(None) => false,
            Some(Some(before)) => before != serial,
        };
        self.peers.set_serial(index, serial);
        if news {
            self.new_round(now, at);
        }
    }

    /// The table's entry for a board that was heard; a new one is asked for its name. `None` for boards of
    /// this host, group addresses, and when the table is full.
    fn meet(&mut self, now: Time, at: Segment, nic: NicAddr) -> Option<u16> {
        if self.locals.contains_key(&nic) || nic.is_multicast() || nic == NicAddr::ZERO {
            return None;
        }
        let before = self.peers.find(at, nic).map(|peer| peer.index);
        let (index, evicted) = self.peers.heard(now, at, nic)?;
        if let Some(due) = evicted {
            self.timers.remove(&(due, Due::Query(index)));
        }
        if before.is_none() {
            self.ask(now, index);
        }
        Some(index)
    }

    fn learn_name(&mut self, now: Time, at: Segment, nic: NicAddr, name: String) {
        let Some(peer) = self.peers.find(at, nic) else {
            return;
        };
        let (index, due) = (peer.index, peer.query_due);
        if let Some(due) = due {
            self.timers.remove(&(due, Due::Query(index)));
        }
        self.peers.set_name(now, index, name);
    }

    /// All boards of the segment announce themselves anew.
    fn new_round(&mut self, now: Time, at: Segment) {
        let gap = now + ROUND_GAP;
        for (&nic, local) in self.locals.iter_mut().filter(|(_, l)| l.segment == at) {
            self.timers.remove(&(local.due, Due::Announce(nic)));
            local.left = ROUND;
            // One that is about to speak anyway is not put off, or a steady stream of news would silence it.
            local.due = local.due.min(gap);
            self.timers.insert((local.due, Due::Announce(nic)));
        }
    }

    /// Does what is due, and what is due soon if anything is.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.timers.first().is_none_or(|(due, _)| *due > now) {
            return;
        }
        // What is done here is due again much later.
        let soon = now + TOGETHER;
        while let Some(&(due, what)) = self.timers.first().filter(|(due, _)| *due <= soon) {
            self.timers.remove(&(due, what));
            match what {
                Due::Announce(nic) => self.announce(now, nic),
                Due::Query(index) => self.ask(now, index),
            }
        }
    }

    fn announce(&mut self, now: Time, nic: NicAddr) {
        let Some(local) = self.locals.get_mut(&nic) else {
            return;
        };
        local.left = local.left.saturating_sub(1);
        local.due = now + if local.left > 0 { ROUND_GAP } else { CALM_GAP };
        let (segment, serial) = (local.segment, local.serial);
        self.timers.insert((local.due, Due::Announce(nic)));
        self.say(segment, Say::Announcement { nic, serial });
    }

    /// Asks a peer for its name, in the name of a board of ours that it can answer to.
    fn ask(&mut self, now: Time, index: u16) {
        let Some(peer) = self.peers.get(index) else {
            return;
        };
        if peer.name.is_some() {
            return;
        }
        let (segment, to, queries) = (peer.segment, peer.nic, peer.queries);
        let gap = if queries < PATIENCE {
            QUERY_GAP
        } else {
            QUERY_RARELY
        };
        let asker = self
            .locals
            .iter()
            .find(|(_, l)| l.segment == segment)
            .map(|(&nic, _)| nic);
        let due = now + gap;
        if let Some(before) = peer.query_due {
            self.timers.remove(&(before, Due::Query(index)));
        }
        self.peers.asked(index, due, asker.is_some());
        self.timers.insert((due, Due::Query(index)));
        if let Some(from) = asker {
            self.say(
                segment,
                Say::Query {
                    from,
                    to,
                    index,
                    magic: QUERY_MAGIC,
                },
            );
        }
    }

    fn say(&mut self, at: Segment, what: Say) {
        if self.sayings.len() < MAX_SAYINGS {
            self.sayings.push_back((at, what));
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.first().map(|&(due, _)| due)
    }

    /// What to send next.
    pub fn poll_say(&mut self) -> Option<(Segment, Say)> {
        self.sayings.pop_front()
    }
}

#[cfg(test)]
mod tests;
