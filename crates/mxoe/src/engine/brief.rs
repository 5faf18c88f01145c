//! Short messages under way while all goes well.
//!
//! Most messages are sent once, acknowledged in their order, and never looked at in between. Of short ones sent at once, behind which nothing else is under way to
//! their partner, only so much is kept as it takes to send them again. As soon as there is anything to be done with one of them, or something else goes out
//! behind them, all of the partner's are [spelled out](Endpoint::spell_out): from then on they are entries as all others.

use super::Endpoint;
use super::event::{Send, Space};
use super::ids::RegionId;
use super::outgoing::Outgoing;
use super::short::Delivered;
use crate::addr::SeqNo;
use crate::matching::arena::Key;
use crate::time::Time;

/// What is kept of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief {
    pub(super) match_info: u64,
    pub(super) data: Option<u64>,
    pub(super) token: u64,
    pub(super) region: RegionId,
    pub(super) len: u32,
    pub(super) space: Space,
    /// The one behind it, or the next free place.
    next: u32,
}

impl Brief {
    #[inline(always)]
    fn of(send: &Send) -> Self {
        Self {
            match_info: send.match_info,
            data: send.data,
            token: send.token,
            region: send.region,
            len: send.len,
            space: send.space,
            next: NOWHERE,
        }
    }
}

/// No place.
const NOWHERE: u32 = u32::MAX;

/// Those of one partner, oldest first. They have the last numbers that were given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    first: u32,
    last: u32,
    len: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            first: NOWHERE,
            last: NOWHERE,
            len: 0,
        }
    }
}

impl Chain {
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Those of all partners. Places are used again.
#[derive(Debug)]
pub(super) struct Briefs {
    places: Vec<Brief>,
    free: u32,
    taken: u32,
}

impl Default for Briefs {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: NOWHERE,
            taken: 0,
        }
    }
}

impl Briefs {
    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Adds one behind a partner's others.
    #[inline(always)]
    pub(super) fn push(&mut self, chain: &mut Chain, send: &Send) {
        let at = self.free;
        let at = match self.places.get_mut(at as usize) {
            Some(place) => {
                self.free = place.next;
                *place = Brief::of(send);
                at
            }
            None => self.grow(send),
        };
        match self.places.get_mut(chain.last as usize) {
            Some(last) if chain.len > 0 => last.next = at,
            _ => chain.first = at,
        }
        chain.last = at;
        chain.len = chain.len.wrapping_add(1);
        self.taken = self.taken.wrapping_add(1);
    }

    #[cold]
    fn grow(&mut self, send: &Send) -> u32 {
        let at = u32::try_from(self.places.len()).unwrap_or(NOWHERE);
        self.places.push(Brief::of(send));
        at
    }

    /// Takes a partner's oldest one.
    #[inline(always)]
    pub(super) fn pop(&mut self, chain: &mut Chain) -> Option<Brief> {
        if chain.len == 0 {
            return None;
        }
        let at = chain.first;
        let place = self.places.get_mut(at as usize)?;
        let brief = *place;
        place.next = self.free;
        self.free = at;
        chain.first = brief.next;
        chain.len = chain.len.wrapping_sub(1);
        self.taken = self.taken.wrapping_sub(1);
        Some(brief)
    }
}

impl Endpoint {
    /// Makes a partner's brief messages entries as all others. What is done with one of them by name, or what goes out behind them, comes after that.
    #[inline]
    pub(super) fn spell_out(&mut self, key: Key) {
        if !self.partners[key].sending.brief.is_empty() {
            self.spell_out_all(key);
        }
    }

    #[cold]
    fn spell_out_all(&mut self, key: Key) {
        let sending = &mut self.partners[key].sending;
        sending.timed = None;
        // Fewer than half of all numbers are under way.
        let count = u16::try_from(sending.brief.len()).unwrap_or(u16::MAX);
        let mut seq = sending.next.retreat(count);
        while let Some(brief) = self.briefs.pop(&mut sending.brief) {
            let message = Outgoing::spelled_out(key, &brief, seq, sending.progress);
            let entry = self.outgoing.insert(message);
            sending.unacked.push(&mut self.outgoing, entry);
            seq = seq.next();
        }
    }

    /// The oldest `count` messages under way to a partner, all of them brief, have been acknowledged.
    #[inline(always)]
    pub(super) fn acknowledged_briefly(&mut self, now: Time, key: Key, count: u16, value: SeqNo) {
        let sending = &mut self.partners[key].sending;
        for _ in 0..count {
            let Some(brief) = self.briefs.pop(&mut sending.brief) else {
                break;
            };
            sending.bytes = sending.bytes.saturating_sub(brief.len);
            self.delivered.push_back(Delivered {
                token: brief.token,
                length: brief.len,
            });
        }
        if let Some((next, at)) = sending.timed
            && next.distance_from(sending.acked) <= value.distance_from(sending.acked)
        {
            sending.timed = None;
            sending.trips.sample(now.since(at));
        }
    }
}
