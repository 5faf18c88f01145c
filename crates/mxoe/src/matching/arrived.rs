//! Messages waiting for receives.
//!
//! All messages form one list in arrival order, and short lists are simply searched. When a receive searches a long one,
//! an *index* for the receive's class (its mask, and whether it looks at the source) is made and kept up from then on:
//! a hash table from the value under that class to the messages that have it, oldest first. Programs use a handful
//! of masks, so there is room for a handful of indexes; the one that was not used for longest makes room.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::arena::{Arena, Key};
use super::hash::Keyed;
use super::list::{Ends, Linked, Links};
use super::{Class, Pattern, Tag, Value};

/// How many classes have an index at a time. Each costs every message a link and every arrival a hash lookup.
const INDEXES: usize = 4;

/// Lists up to this length are searched without an index: that costs less than to hash each arrival.
const SHORT: usize = 8;

#[derive(Debug)]
struct Node<M, S> {
    message: M,
    tag: Tag<S>,
    /// Not to be found: somebody is looking at it.
    held: bool,
    /// Neighbours among all messages, in arrival order.
    arrival: Links,
    /// Neighbours among the messages of equal value, for each index.
    indexed: [Links; INDEXES],
}

#[derive(Debug)]
struct Index<S> {
    class: Class,
    lists: HashMap<Value<S>, Ends, Keyed>,
    /// When it was last searched.
    used: u64,
}

#[derive(Debug)]
struct Nodes<M, S>(Arena<Node<M, S>>);

impl<M, S> Linked for Nodes<M, S> {
    fn links(&mut self, key: Key) -> &mut Links {
        &mut self.0[key].arrival
    }
}

/// The nodes, seen through the links of one index.
struct ThroughIndex<'a, M, S>(&'a mut Nodes<M, S>, usize);

impl<M, S> Linked for ThroughIndex<'_, M, S> {
    fn links(&mut self, key: Key) -> &mut Links {
        &mut self.0.0[key].indexed[self.1]
    }
}

impl<S: Copy + Eq + Hash> Index<S> {
    fn add<M>(&mut self, nodes: &mut Nodes<M, S>, place: usize, key: Key) {
        let value = self.class.value_of(&nodes.0[key].tag);
        match self.lists.entry(value) {
            Entry::Occupied(mut list) => list.get_mut().push(&mut ThroughIndex(nodes, place), key),
            Entry::Vacant(list) => {
                nodes.0[key].indexed[place] = Links::NONE;
                list.insert(Ends::of(key));
            }
        }
    }

    fn remove<M>(&mut self, nodes: &mut Nodes<M, S>, place: usize, key: Key) {
        let value = self.class.value_of(&nodes.0[key].tag);
        if let Entry::Occupied(mut list) = self.lists.entry(value) {
            match list.get().without(&mut ThroughIndex(nodes, place), key) {
                Some(rest) => *list.get_mut() = rest,
                None => {
                    list.remove();
                }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct ArrivedQueue<M, S> {
    nodes: Nodes<M, S>,
    /// All messages, in arrival order.
    all: Option<Ends>,
    indexes: [Option<Index<S>>; INDEXES],
    /// Searches made so far: the time by which indexes age.
    searches: u64,
    keyed: Keyed,
}

impl<M: Copy, S: Copy + Eq + Hash> ArrivedQueue<M, S> {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            nodes: Nodes(Arena::default()),
            all: None,
            indexes: [const { None }; INDEXES],
            searches: 0,
            keyed,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.0.len()
    }

    pub(super) fn push(&mut self, tag: Tag<S>, message: M) -> (u32, u32) {
        let key = self.nodes.0.insert(Node {
            message,
            tag,
            held: false,
            arrival: Links::NONE,
            indexed: [Links::NONE; INDEXES],
        });
        match &mut self.all {
            Some(all) => all.push(&mut self.nodes, key),
            None => self.all = Some(Ends::of(key)),
        }
        for (place, index) in self.indexes.iter_mut().enumerate() {
            if let Some(index) = index {
                index.add(&mut self.nodes, place, key);
            }
        }
        (key.number(), self.nodes.0.generation(key))
    }

    pub(super) fn find(&mut self, pattern: &Pattern<S>) -> Option<M> {
        let key = self.search(pattern)?;
        Some(self.nodes.0[key].message)
    }

    pub(super) fn take(&mut self, pattern: &Pattern<S>) -> Option<M> {
        let key = self.search(pattern)?;
        self.unlink(key)
    }

    pub(super) fn remove(&mut self, number: u32, generation: u32) -> Option<M> {
        let key = self.nodes.0.find(number, generation)?;
        self.unlink(key)
    }

    /// Hides a message from searches, or shows it again at its old place. `None` when it has been taken out.
    pub(super) fn set_held(&mut self, number: u32, generation: u32, held: bool) -> Option<()> {
        let key = self.nodes.0.find(number, generation)?;
        self.nodes.0[key].held = held;
        Some(())
    }

    /// The oldest message that the pattern accepts.
    fn search(&mut self, pattern: &Pattern<S>) -> Option<Key> {
        let all = self.all?;
        if self.nodes.0.len() <= SHORT {
            let mut next = all.first;
            while let Some(key) = next.some() {
                let node = &self.nodes.0[key];
                if pattern.accepts(&node.tag) && !node.held {
                    return Some(key);
                }
                next = node.arrival.next;
            }
            return None;
        }
        let place = self.index(pattern.class());
        let list = self.indexes[place].as_ref()?.lists.get(&pattern.value())?;
        let mut next = list.first;
        while let Some(key) = next.some() {
            let node = &self.nodes.0[key];
            if !node.held {
                return Some(key);
            }
            next = node.indexed[place].next;
        }
        None
    }

    /// Where the index for a class is, made now if there is none.
    fn index(&mut self, class: Class) -> usize {
        self.searches += 1;
        let searches = self.searches;
        let known = |index: &Option<Index<S>>| index.as_ref().is_some_and(|i| i.class == class);
        let place = match self.indexes.iter().position(known) {
            Some(place) => place,
            None => self.make_index(class),
        };
        if let Some(index) = &mut self.indexes[place] {
            index.used = searches;
        }
        place
    }

    /// Makes an index over all messages, in place of the one that was not used for longest.
    fn make_index(&mut self, class: Class) -> usize {
        let age = |place: &usize| self.indexes[*place].as_ref().map_or(0, |index| index.used);
        let place = (0..INDEXES).min_by_key(age).unwrap_or(0);
        let lists = match self.indexes[place].take() {
            // The table's memory serves again.
            Some(Index { mut lists, .. }) => {
                lists.clear();
                lists
            }
            None => HashMap::with_hasher(self.keyed),
        };
        let mut index = Index {
            class,
            lists,
            used: 0,
        };
        let mut next = self.all.map_or(Key::NIL, |all| all.first);
        while let Some(key) = next.some() {
            index.add(&mut self.nodes, place, key);
            next = self.nodes.0[key].arrival.next;
        }
        self.indexes[place] = Some(index);
        place
    }

    fn unlink(&mut self, key: Key) -> Option<M> {
        for (place, index) in self.indexes.iter_mut().enumerate() {
            if let Some(index) = index {
                index.remove(&mut self.nodes, place, key);
            }
        }
        self.all = self.all.and_then(|all| all.without(&mut self.nodes, key));
        let message = self.nodes.0[key].message;
        self.nodes.0.discard(key);
        Some(message)
    }
}
