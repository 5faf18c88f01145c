//! Lists of requests, linked through their places, since they are taken out of the middle too.

use super::{Key, Requests};

/// The place of another request, or of none. In one word, which is written and read as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) u32);

impl Link {
    /// More than [`super::MOST`].
    pub(super) const NONE: Self = Self(u32::MAX);

    #[inline]
    pub(super) fn at(self) -> Option<usize> {
        (self != Self::NONE).then_some(self.0 as usize)
    }
}

/// A list of requests, linked through their slots, since they are taken out of its middle too.
#[derive(Clone, Copy)]
pub(super) enum List {
    /// The completion queue: what has ended, oldest first.
    Ended,
    /// Sends that the completion queue may have before they end ([`super::Early::Offered`]), oldest first.
    Offered,
}

/// The first and the last of a list.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) first: Link,
    last: Link,
}

impl Ends {
    pub(super) const NONE: Self = Self {
        first: Link::NONE,
        last: Link::NONE,
    };
}

impl Requests {
    pub(super) fn find(&self, list: List, fits: impl Fn(u64) -> bool) -> Option<(Key, u64)> {
        let mut next = self.lists[list as usize].first;
        while let Some(at) = next.at() {
            let slot = &self.slots[at];
            if fits(slot.bits) {
                let key = Key::new(next.0, slot.generation);
                return Some((key, slot.bits));
            }
            next = slot.after;
        }
        None
    }

    /// Puts a request at the end of a list.
    #[inline]
    pub(super) fn link(&mut self, list: List, at: u32) {
        let ends = &mut self.lists[list as usize];
        let last = std::mem::replace(&mut ends.last, Link(at));
        let slot = &mut self.slots[at as usize];
        (slot.before, slot.after) = (last, Link::NONE);
        match last.at() {
            Some(last) => self.slots[last].after = Link(at),
            None => ends.first = Link(at),
        }
    }

    /// Takes a request out of the list that it is in.
    pub(super) fn unlink(&mut self, at: u32) {
        let Some(slot) = self.slots.get(at as usize) else {
            return;
        };
        if let Some(list) = slot.list() {
            self.unlink_from(list, at);
        }
    }

    /// Takes a request out of a list that it is in.
    #[inline]
    pub(super) fn unlink_from(&mut self, list: List, at: u32) {
        let slot = &self.slots[at as usize];
        self.close_gap(list, slot.before, slot.after);
    }

    /// Has these two be neighbours in a list whose one between them leaves it.
    #[inline]
    pub(super) fn close_gap(&mut self, list: List, before: Link, after: Link) {
        let ends = &mut self.lists[list as usize];
        match before.at() {
            Some(before) => self.slots[before].after = after,
            None => ends.first = after,
        }
        match after.at() {
            Some(after) => self.slots[after].before = before,
            None => ends.last = before,
        }
    }
}
