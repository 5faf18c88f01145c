//! Entries with stable small handles, reused without allocating.

use std::ops::{Index, IndexMut};

/// Where an entry lies. Valid until the entry is removed; the place is then used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u32);

impl Key {
    /// No entry. Indexing with it is a mistake of ours.
    pub(crate) const NIL: Self = Self(u32::MAX);

    /// The handle with this number.
    #[cfg(test)]
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The place's number.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    /// `None` for [`Key::NIL`].
    pub(crate) fn some(self) -> Option<Self> {
        (self != Self::NIL).then_some(self)
    }

    const fn place(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
struct Slot<T> {
    /// How often the place has been given out, so that a handle kept too long can be told.
    generation: u32,
    /// The next free place while this one is.
    next_free: Key,
    value: Option<T>,
}

impl<T> Slot<T> {
    /// The place, whose key this is, is the first free one now.
    #[inline]
    fn vacate(&mut self, free: &mut Key, key: Key) {
        self.generation = self.generation.wrapping_add(1);
        self.next_free = std::mem::replace(free, key);
    }
}

/// A growing array of entries with a free list: it allocates only when more entries live than ever before.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Key,
    len: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Key::NIL,
            len: 0,
        }
    }
}

impl<T> Arena<T> {
    /// How many entries live.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key of the entry that is put in next.
    ///
    /// # Panics
    /// As [`insert`](Self::insert).
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Key {
        if self.free == Key::NIL {
            self.grow();
        }
        self.free
    }

    /// Puts an entry in.
    ///
    /// # Panics
    /// When 2^32 - 1 entries live: memory is used up long before.
    // In line, and with nothing that wants the entry's address, so that it is made where it stays: what is put together elsewhere and copied in larger
    // pieces than it was stored in has a processor wait.
    #[inline(always)]
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.insert_named(value).0
    }

    /// The same; gives the generation too.
    #[inline(always)]
    pub(crate) fn insert_named(&mut self, value: T) -> (Key, u32) {
        let key = self.next();
        let slot = &mut self.slots[key.place()];
        self.free = slot.next_free;
        self.len += 1;
        slot.value = Some(value);
        (key, slot.generation)
    }

    /// Makes a place.
    #[cold]
    fn grow(&mut self) {
        let key = Key(u32::try_from(self.slots.len()).expect("fewer than 2^32 entries"));
        assert!(key != Key::NIL, "fewer than 2^32 - 1 entries");
        self.slots.push(Slot {
            generation: 0,
            next_free: std::mem::replace(&mut self.free, key),
            value: None,
        });
    }

    /// Takes an entry out; `None` when there is none.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.place())?;
        let value = slot.value.take()?;
        slot.vacate(&mut self.free, key);
        self.len -= 1;
        Some(value)
    }

    /// Drops an entry where it is, which saves moving it; nothing when there is none.
    #[inline]
    pub(crate) fn discard(&mut self, key: Key) {
        if let Some(slot) = self.slots.get_mut(key.place())
            && slot.value.is_some()
        {
            slot.value = None;
            slot.vacate(&mut self.free, key);
            self.len -= 1;
        }
    }

    /// The entry, if there is one.
    #[inline]
    pub(crate) fn peek(&self, key: Key) -> Option<&T> {
        self.slots.get(key.place())?.value.as_ref()
    }

    /// The entry, if there is one.
    #[inline]
    pub(crate) fn peek_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key.place())?.value.as_mut()
    }

    /// How often this place was used before; with the key it names one entry for ever (in effect).
    pub(crate) fn generation(&self, key: Key) -> u32 {
        self.slots
            .get(key.place())
            .map_or(0, |slot| slot.generation)
    }

    /// The living entry that was given this key and generation.
    pub(crate) fn find(&self, number: u32, generation: u32) -> Option<Key> {
        let slot = self.slots.get(number as usize)?;
        (slot.generation == generation && slot.value.is_some()).then_some(Key(number))
    }

    /// All living entries, by place.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.value.is_some())
            .map(|(number, _)| Key(number))
    }
}

impl<T> Index<Key> for Arena<T> {
    type Output = T;

    /// # Panics
    /// When no entry has this key: keys are ours, never a peer's.
    #[inline]
    fn index(&self, key: Key) -> &T {
        self.peek(key).expect("a key names a living entry")
    }
}

impl<T> IndexMut<Key> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, key: Key) -> &mut T {
        self.peek_mut(key).expect("a key names a living entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_a_new_generation() {
        let mut arena = Arena::default();
        let first = arena.insert('a');
        let generation = arena.generation(first);
        assert_eq!(arena.remove(first), Some('a'));
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.next(), first);
        let (second, named) = arena.insert_named('b');
        assert_eq!(first, second);
        assert_eq!(named, arena.generation(second));
        assert_eq!(arena.find(first.number(), generation), None);
        assert_eq!(
            arena.find(second.number(), arena.generation(second)),
            Some(second)
        );
        assert_eq!(arena.keys().collect::<Vec<_>>(), [second]);
        let generation = arena.generation(second);
        arena.discard(second);
        arena.discard(second);
        assert!(arena.is_empty());
        assert_eq!(arena.find(second.number(), generation), None);
        assert_eq!(arena.insert('c'), second);
    }
}
