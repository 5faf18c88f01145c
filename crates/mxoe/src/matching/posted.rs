//! Receives waiting for messages.
//!
//! A few of them form one list in posting order, which is searched. When there are more, they are *sorted*: receives that look at
//! the same bits (and either all at the source or none) form a class. A message has one value under each class in use, and a
//! hash lookup gives the receives of the class that accept it, oldest first. Of the candidates, at most one a class, the one
//! posted first wins. Programs use a handful of masks, so a message costs a handful of lookups however many receives are
//! posted. Once sorted they stay so until none is left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::arena::{Arena, Key};
use super::hash::Keyed;
use super::list::{Ends, Linked, Links};
use super::{Class, Pattern, Tag, Value};

/// Up to so many receives are searched one after the other: that costs less than to hash what each is looking for.
const SHORT: usize = 8;

#[derive(Debug)]
struct Node<R, S> {
    receive: R,
    pattern: Pattern<S>,
    /// Which place in `classes`, once sorted.
    class: usize,
    /// Position in posting order.
    stamp: u64,
    /// Neighbours in `all`, or those of equal value once sorted.
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
    #[inline]
    fn links(&mut self, key: Key) -> &mut Links {
        &mut self.0[key].links
    }
}

#[derive(Debug)]
pub(super) struct PostedQueue<R, S> {
    nodes: Nodes<R, S>,
    /// All of them in posting order, until they are sorted.
    all: Option<Ends>,
    /// They are in `lists`. Then `all` is empty.
    sorted: bool,
    classes: Vec<ClassInUse>,
    lists: Lists<S>,
    next_stamp: u64,
}

/// Receives by class and value, oldest first. Programs post receives of one kind in runs: what is asked for twice in a row is kept where no hash is needed
/// to find it.
#[derive(Debug)]
struct Lists<S> {
    by_value: HashMap<(usize, Value<S>), Ends, Keyed>,
    /// One that is not in the map.
    handy: Option<((usize, Value<S>), Ends)>,
    /// What was last asked for in the map.
    last: Option<(usize, Value<S>)>,
}

impl<S: Copy + Eq + Hash> Lists<S> {
    fn new(keyed: Keyed) -> Self {
        Self {
            by_value: HashMap::with_hasher(keyed),
            handy: None,
            last: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.handy.is_none() && self.by_value.is_empty()
    }

    #[inline]
    fn get(&self, at: &(usize, Value<S>)) -> Option<Ends> {
        match &self.handy {
            Some((handy, ends)) if handy == at => Some(*ends),
            _ => self.by_value.get(at).copied(),
        }
    }

    /// Changes a list; `None` stands for one that is empty, which is not kept.
    #[inline]
    fn change(&mut self, at: (usize, Value<S>), change: impl FnOnce(Option<Ends>) -> Option<Ends>) {
        if let Some((handy, ends)) = &mut self.handy
            && *handy == at
        {
            match change(Some(*ends)) {
                Some(changed) => *ends = changed,
                None => self.handy = None,
            }
            return;
        }
        self.change_in_map(at, change);
    }

    fn change_in_map(
        &mut self,
        at: (usize, Value<S>),
        change: impl FnOnce(Option<Ends>) -> Option<Ends>,
    ) {
        if self.last.replace(at) == Some(at) {
            let changed = change(self.by_value.remove(&at));
            if let Some(changed) = changed
                && let Some((other, ends)) = self.handy.replace((at, changed))
            {
                self.by_value.insert(other, ends);
            }
            return;
        }
        match self.by_value.entry(at) {
            Entry::Occupied(mut list) => match change(Some(*list.get())) {
                Some(changed) => *list.get_mut() = changed,
                None => {
                    list.remove();
                }
            },
            Entry::Vacant(place) => {
                if let Some(ends) = change(None) {
                    place.insert(ends);
                }
            }
        }
    }
}

impl<R: Copy, S: Copy + Eq + Hash> PostedQueue<R, S> {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            nodes: Nodes(Arena::default()),
            all: None,
            sorted: false,
            classes: Vec::new(),
            lists: Lists::new(keyed),
            next_stamp: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.0.len()
    }

    #[inline(always)]
    pub(super) fn push(&mut self, pattern: Pattern<S>, receive: R) -> (u32, u32) {
        if self.sorted {
            return self.push_sorted(pattern, receive);
        }
        let (key, generation) = self.add(pattern, receive, 0);
        match &mut self.all {
            Some(all) => all.push(&mut self.nodes, key),
            None => self.all = Some(Ends::of(key)),
        }
        if self.nodes.0.len() > SHORT {
            self.sort();
        }
        (key.number(), generation)
    }

    #[cold]
    fn push_sorted(&mut self, pattern: Pattern<S>, receive: R) -> (u32, u32) {
        let class = self.enter_class(pattern.class());
        let (key, generation) = self.add(pattern, receive, class);
        self.enter(class, pattern.value(), key);
        (key.number(), generation)
    }

    /// Makes a node that is in no list.
    #[inline(always)]
    fn add(&mut self, pattern: Pattern<S>, receive: R, class: usize) -> (Key, u32) {
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        self.nodes.0.insert_named(Node {
            receive,
            pattern,
            class,
            stamp,
            links: Links::NONE,
        })
    }

    /// From now on receives are found by hashing.
    #[cold]
    fn sort(&mut self) {
        self.sorted = true;
        let mut next = self.all.take().map_or(Key::NIL, |all| all.first);
        while let Some(key) = next.some() {
            next = std::mem::replace(self.nodes.links(key), Links::NONE).next;
            let pattern = self.nodes.0[key].pattern;
            let class = self.enter_class(pattern.class());
            self.nodes.0[key].class = class;
            self.enter(class, pattern.value(), key);
        }
    }

    /// Puts a receive behind those of its class and value.
    #[inline]
    fn enter(&mut self, class: usize, value: Value<S>, key: Key) {
        let nodes = &mut self.nodes;
        self.lists.change((class, value), |list| match list {
            Some(mut list) => {
                list.push(nodes, key);
                Some(list)
            }
            None => Some(Ends::of(key)),
        });
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
    fn find_sorted(&self, tag: &Tag<S>) -> Option<Key> {
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

    /// Whether any receive accepts the message.
    #[inline]
    pub(super) fn accepts(&self, tag: &Tag<S>) -> bool {
        if self.sorted {
            return self.find_sorted(tag).is_some();
        }
        let mut next = self.all.map_or(Key::NIL, |all| all.first);
        while let Some(key) = next.some() {
            let node = &self.nodes.0[key];
            if node.pattern.accepts(tag) {
                return true;
            }
            next = node.links.next;
        }
        false
    }

    #[inline]
    pub(super) fn take(&mut self, tag: &Tag<S>) -> Option<R> {
        if self.sorted {
            return self.take_sorted(tag);
        }
        let mut next = self.all?.first;
        loop {
            let node = &self.nodes.0[next];
            if node.pattern.accepts(tag) {
                return self.unlink(next);
            }
            next = node.links.next.some()?;
        }
    }

    fn take_sorted(&mut self, tag: &Tag<S>) -> Option<R> {
        let mut used = self.classes.iter().enumerate();
        let mut used = used.by_ref().filter(|(_, known)| known.count > 0);
        let (place, class) = used.next().map(|(place, known)| (place, known.class))?;
        if used.next().is_some() {
            let key = self.find_sorted(tag)?;
            return self.unlink(key);
        }
        // With one class in use the only candidate is found and taken in one lookup.
        let nodes = &mut self.nodes;
        let mut found = None;
        self.lists.change((place, class.value_of(tag)), |list| {
            let list = list?;
            found = Some(list.first);
            list.without(nodes, list.first)
        });
        let key = found?;
        self.leave_class(place);
        let receive = self.nodes.0[key].receive;
        self.nodes.0.discard(key);
        Some(receive)
    }

    pub(super) fn remove(&mut self, number: u32, generation: u32) -> Option<R> {
        let key = self.nodes.0.find(number, generation)?;
        self.unlink(key)
    }

    #[inline]
    fn unlink(&mut self, key: Key) -> Option<R> {
        if self.sorted {
            self.unlink_sorted(key);
        } else {
            self.all = self.all.and_then(|all| all.without(&mut self.nodes, key));
        }
        let receive = self.nodes.0[key].receive;
        self.nodes.0.discard(key);
        Some(receive)
    }

    fn unlink_sorted(&mut self, key: Key) {
        let Node { class, pattern, .. } = self.nodes.0[key];
        let nodes = &mut self.nodes;
        self.lists
            .change((class, pattern.value()), |list| list?.without(nodes, key));
        self.leave_class(class);
    }

    /// Counts one receive of the class less. The last of all leaves nothing that is sorted.
    fn leave_class(&mut self, place: usize) {
        self.classes[place].count -= 1;
        self.sorted = !self.lists.is_empty();
    }
}
