//! Receives waiting for messages.
//!
//! Receives that look at the same bits (and either all at the source or none) form a class. A message has one value
//! under each class in use, and a hash lookup gives the receives of the class that accept it, oldest first. Of the
//! candidates, at most one a class, the one posted first wins. Programs use a handful of masks, so a message costs a
//! handful of lookups however many receives are posted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::arena::{Arena, Key};
use super::hash::Keyed;
use super::list::{Ends, Linked, Links};
use super::{Class, Pattern, Tag, Value};

#[derive(Debug)]
struct Node<R, S> {
    receive: R,
    value: Value<S>,
    /// Which place in `classes`.
    class: usize,
    /// Position in posting order.
    stamp: u64,
    links: Links,
}

#[derive(Debug)]
struct ClassInUse {
    class: Class,
    /// Receives of the class. A place whose count is 0 serves the next new class.
    count: usize,
}

#[derive(Debug)]
struct Nodes<R, S>(Arena<Node<R, S>>);

impl<R, S> Linked for Nodes<R, S> {
    fn links(&mut self, key: Key) -> &mut Links {
        &mut self.0[key].links
    }
}

#[derive(Debug)]
pub(super) struct PostedQueue<R, S> {
    nodes: Nodes<R, S>,
    classes: Vec<ClassInUse>,
    lists: HashMap<(usize, Value<S>), Ends, Keyed>,
    next_stamp: u64,
}

impl<R: Copy, S: Copy + Eq + Hash> PostedQueue<R, S> {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            nodes: Nodes(Arena::default()),
            classes: Vec::new(),
            lists: HashMap::with_hasher(keyed),
            next_stamp: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.0.len()
    }

    pub(super) fn push(&mut self, pattern: Pattern<S>, receive: R) -> (u32, u32) {
        let class = self.enter_class(pattern.class());
        let value = pattern.value();
        let key = self.nodes.0.insert(Node {
            receive,
            value,
            class,
            stamp: self.next_stamp,
            links: Links::NONE,
        });
        self.next_stamp += 1;
        match self.lists.entry((class, value)) {
            Entry::Occupied(mut list) => list.get_mut().push(&mut self.nodes, key),
            Entry::Vacant(place) => {
                place.insert(Ends::of(key));
            }
        }
        (key.number(), self.nodes.0.generation(key))
    }

    /// Counts one more receive of the class and gives its place.
    fn enter_class(&mut self, class: Class) -> usize {
        let mut unused = None;
        for (place, known) in self.classes.iter_mut().enumerate() {
            if known.class == class {
                known.count += 1;
                return place;
            }
            if known.count == 0 {
                unused = Some(place);
            }
        }
        let fresh = ClassInUse { class, count: 1 };
        match unused {
            Some(place) => {
                self.classes[place] = fresh;
                place
            }
            None => {
                self.classes.push(fresh);
                self.classes.len() - 1
            }
        }
    }

    /// The oldest receive that accepts the message.
    fn find(&self, tag: &Tag<S>) -> Option<Key> {
        let mut oldest: Option<(u64, Key)> = None;
        for (place, known) in self.classes.iter().enumerate() {
            if known.count == 0 {
                continue;
            }
            let Some(list) = self.lists.get(&(place, known.class.value_of(tag))) else {
                continue;
            };
            let stamp = self.nodes.0[list.first].stamp;
            if oldest.is_none_or(|(least, _)| stamp < least) {
                oldest = Some((stamp, list.first));
            }
        }
        oldest.map(|(_, key)| key)
    }

    pub(super) fn take(&mut self, tag: &Tag<S>) -> Option<R> {
        if self.nodes.0.is_empty() {
            return None;
        }
        let mut used = self.classes.iter().enumerate();
        let mut used = used.by_ref().filter(|(_, known)| known.count > 0);
        let (place, class) = used.next().map(|(place, known)| (place, known.class))?;
        if used.next().is_some() {
            let key = self.find(tag)?;
            return self.unlink(key);
        }
        // With one class in use the only candidate is found and taken in one lookup.
        let Entry::Occupied(mut list) = self.lists.entry((place, class.value_of(tag))) else {
            return None;
        };
        let key = list.get().first;
        match list.get().without(&mut self.nodes, key) {
            Some(rest) => *list.get_mut() = rest,
            None => {
                list.remove();
            }
        }
        self.classes[place].count -= 1;
        self.nodes.0.remove(key).map(|node| node.receive)
    }

    pub(super) fn remove(&mut self, number: u32, generation: u32) -> Option<R> {
        let key = self.nodes.0.find(number, generation)?;
        self.unlink(key)
    }

    fn unlink(&mut self, key: Key) -> Option<R> {
        let (class, value) = (self.nodes.0[key].class, self.nodes.0[key].value);
        if let Entry::Occupied(mut list) = self.lists.entry((class, value)) {
            match list.get().without(&mut self.nodes, key) {
                Some(rest) => *list.get_mut() = rest,
                None => {
                    list.remove();
                }
            }
        }
        self.classes[class].count -= 1;
        self.nodes.0.remove(key).map(|node| node.receive)
    }
}
