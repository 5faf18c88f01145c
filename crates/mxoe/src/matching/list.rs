//! Doubly linked lists through entries of an arena: an entry leaves from anywhere in constant time.

use super::arena::Key;

/// An entry's neighbours in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) previous: Key,
    pub(super) next: Key,
}

impl Links {
    /// In no list.
    pub(super) const NONE: Self = Self {
        previous: Key::NIL,
        next: Key::NIL,
    };
}

/// A list's first and last entry. Never empty: an empty list is removed from where it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) first: Key,
    pub(super) last: Key,
}

/// Where an entry keeps its neighbours in the list meant.
pub(super) trait Linked {
    fn links(&mut self, key: Key) -> &mut Links;
}

impl Ends {
    /// A list of one.
    pub(super) fn of(key: Key) -> Self {
        Self {
            first: key,
            last: key,
        }
    }

    /// Puts an entry behind all others.
    pub(super) fn push(&mut self, entries: &mut impl Linked, key: Key) {
        *entries.links(key) = Links {
            previous: self.last,
            next: Key::NIL,
        };
        entries.links(self.last).next = key;
        self.last = key;
    }

    /// Takes an entry of this list out; `None` when it was the only one.
    pub(super) fn without(mut self, entries: &mut impl Linked, key: Key) -> Option<Self> {
        let Links { previous, next } = *entries.links(key);
        *entries.links(key) = Links::NONE;
        if previous == Key::NIL && next == Key::NIL {
            return None;
        }
        match previous.some() {
            Some(previous) => entries.links(previous).next = next,
            None => self.first = next,
        }
        match next.some() {
            Some(next) => entries.links(next).previous = previous,
            None => self.last = previous,
        }
        Some(self)
    }
}
