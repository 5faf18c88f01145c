//! The table of boards of other hosts.

use std::collections::HashMap;
use std::time::Duration;

use mxoe::addr::NicAddr;
use mxoe::time::Time;

use super::Segment;

/// A board that was silent for so long may lose its place to a new one when the table is full: a
/// live one announces itself every three minutes.
const FORGETTABLE: Duration = Duration::from_secs(600);

/// A board of another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub nic: NicAddr,
    /// Where it was heard.
    pub segment: Segment,
    /// Its place in the table.
    pub index: u16,
    /// Its name, once it has told it.
    pub name: Option<String>,
    /// When it was last heard.
    pub last_heard: Time,
    /// The number of its daemon's run, once it has announced itself.
    pub(super) serial: Option<u32>,
    /// Queries sent to it without an answer.
    pub(super) queries: u32,
    /// When it is to be asked again.
    pub(super) query_due: Option<Time>,
}

impl Peer {
    /// Its name is not known and nobody has asked for it.
    pub(super) fn is_unasked(&self) -> bool {
        self.name.is_none() && self.queries == 0
    }
}

/// The boards of other hosts, each with an index that stays while it is known.
#[derive(Debug)]
pub struct PeerTable {
    entries: Vec<Peer>,
    // The wire chooses the keys: the standard, keyed hash.
    by_place: HashMap<(Segment, NicAddr), u16>,
    max: usize,
}

impl PeerTable {
    pub(super) fn new(max: usize) -> Self {
        let max = max.min(usize::from(u16::MAX));
        Self {
            entries: Vec::new(),
            by_place: HashMap::new(),
            max,
        }
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.entries.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The board with this address.
    #[must_use]
    pub fn find(&self, at: Segment, nic: NicAddr) -> Option<&Peer> {
        self.get(*self.by_place.get(&(at, nic))?)
    }

    /// The board with this index.
    #[must_use]
    pub fn get(&self, index: u16) -> Option<&Peer> {
        self.entries.get(usize::from(index))
    }

    fn get_mut(&mut self, index: u16) -> Option<&mut Peer> {
        self.entries.get_mut(usize::from(index))
    }

    /// Notes that a board was heard, adding it if it is new. Gives its index, and the query that was
    /// due to a board that lost its place to it. `None` when there is no room.
    pub(super) fn heard(
        &mut self,
        now: Time,
        at: Segment,
        nic: NicAddr,
    ) -> Option<(u16, Option<Time>)> {
        if let Some(&index) = self.by_place.get(&(at, nic)) {
            self.get_mut(index)?.last_heard = now;
            return Some((index, None));
        }
        let mut peer = Peer {
            nic,
            segment: at,
            index: 0,
            name: None,
            last_heard: now,
            serial: None,
            queries: 0,
            query_due: None,
        };
        if self.entries.len() < self.max {
            let index = u16::try_from(self.entries.len()).ok()?;
            peer.index = index;
            self.entries.push(peer);
            self.by_place.insert((at, nic), index);
            return Some((index, None));
        }
        let oldest = self.entries.iter_mut().min_by_key(|p| p.last_heard)?;
        if now.since(oldest.last_heard) < FORGETTABLE {
            return None;
        }
        peer.index = oldest.index;
        let evicted = std::mem::replace(oldest, peer);
        self.by_place.remove(&(evicted.segment, evicted.nic));
        self.by_place.insert((at, nic), evicted.index);
        Some((evicted.index, evicted.query_due))
    }

    pub(super) fn set_serial(&mut self, index: u16, serial: u32) {
        if let Some(peer) = self.get_mut(index) {
            peer.serial = Some(serial);
        }
    }

    pub(super) fn set_name(&mut self, now: Time, index: u16, name: String) {
        if let Some(peer) = self.get_mut(index) {
            peer.name = Some(name);
            peer.last_heard = now;
            peer.query_due = None;
        }
    }

    pub(super) fn asked(&mut self, index: u16, due: Time, really: bool) {
        if let Some(peer) = self.get_mut(index) {
            peer.query_due = Some(due);
            peer.queries = peer.queries.saturating_add(u32::from(really));
        }
    }
}
