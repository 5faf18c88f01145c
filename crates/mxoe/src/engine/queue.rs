//! Queues through entries of an arena: no allocation, and an entry leaves from anywhere in constant time.

use crate::matching::arena::{Arena, Key};

/// An entry's neighbours in the one queue it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    previous: Key,
    next: Key,
}

impl Links {
    /// In no queue.
    pub(super) const NONE: Self = Self {
        previous: Key::NIL,
        next: Key::NIL,
    };
}

/// Entries that can be queued. An entry is in one queue at a time; who queues it knows in which.
pub(super) trait Queued {
    fn links(&self) -> &Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// A queue's ends and length. The entries live in the arena that every operation is given, always the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    first: Key,
    last: Key,
    len: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            first: Key::NIL,
            last: Key::NIL,
            len: 0,
        }
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.first.some()
    }

    pub(super) fn last(&self) -> Option<Key> {
        self.last.some()
    }

    /// The entry behind this one.
    pub(super) fn after<T: Queued>(arena: &Arena<T>, key: Key) -> Option<Key> {
        arena[key].links().next.some()
    }

    /// The entry before this one.
    pub(super) fn before<T: Queued>(arena: &Arena<T>, key: Key) -> Option<Key> {
        arena[key].links().previous.some()
    }

    /// Puts an entry behind all others.
    #[inline]
    pub(super) fn push<T: Queued>(&mut self, arena: &mut Arena<T>, key: Key) {
        let last = std::mem::replace(&mut self.last, key);
        *arena[key].links_mut() = Links {
            previous: last,
            next: Key::NIL,
        };
        match last.some() {
            Some(last) => arena[last].links_mut().next = key,
            None => self.first = key,
        }
        self.len = self.len.wrapping_add(1);
    }

    /// Puts an entry behind another one of this queue, or before all for `None`.
    pub(super) fn insert_after<T: Queued>(
        &mut self,
        arena: &mut Arena<T>,
        place: Option<Key>,
        key: Key,
    ) {
        let next = match place {
            Some(place) => {
                let next = arena[place].links().next;
                arena[place].links_mut().next = key;
                next
            }
            None => {
                let next = self.first;
                self.first = key;
                next
            }
        };
        match next.some() {
            Some(next) => arena[next].links_mut().previous = key,
            None => self.last = key,
        }
        *arena[key].links_mut() = Links {
            previous: place.unwrap_or(Key::NIL),
            next,
        };
        self.len = self.len.wrapping_add(1);
    }

    /// Takes an entry of this queue out.
    pub(super) fn remove<T: Queued>(&mut self, arena: &mut Arena<T>, key: Key) {
        let Links { previous, next } = *arena[key].links();
        *arena[key].links_mut() = Links::NONE;
        match previous.some() {
            Some(previous) => arena[previous].links_mut().next = next,
            None => self.first = next,
        }
        match next.some() {
            Some(next) => arena[next].links_mut().previous = previous,
            None => self.last = previous,
        }
        self.len = self.len.wrapping_sub(1);
    }

    /// Takes the first entry out.
    #[inline]
    pub(super) fn pop<T: Queued>(&mut self, arena: &mut Arena<T>) -> Option<Key> {
        let key = self.first()?;
        let links = std::mem::replace(arena[key].links_mut(), Links::NONE);
        self.first = links.next;
        match links.next.some() {
            Some(next) => arena[next].links_mut().previous = Key::NIL,
            None => self.last = Key::NIL,
        }
        self.len = self.len.wrapping_sub(1);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry(Links);

    impl Queued for Entry {
        fn links(&self) -> &Links {
            &self.0
        }

        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    #[test]
    fn entries_leave_from_anywhere_and_the_order_stays() {
        let mut arena = Arena::default();
        let mut queue = Queue::default();
        let keys: Vec<Key> = (0..5).map(|_| arena.insert(Entry(Links::NONE))).collect();
        for &key in &keys[..4] {
            queue.push(&mut arena, key);
        }
        queue.insert_after(&mut arena, Some(keys[1]), keys[4]);
        queue.remove(&mut arena, keys[0]);
        queue.remove(&mut arena, keys[3]);
        let mut walk = vec![];
        let mut next = queue.first();
        while let Some(key) = next {
            walk.push(key);
            next = Queue::after(&arena, key);
        }
        assert_eq!(walk, [keys[1], keys[4], keys[2]]);
        assert_eq!(queue.last(), Some(keys[2]));
        assert_eq!(Queue::before(&arena, keys[4]), Some(keys[1]));
        assert_eq!(queue.pop(&mut arena), Some(keys[1]));
        assert_eq!(queue.len(), 2);
    }
}
