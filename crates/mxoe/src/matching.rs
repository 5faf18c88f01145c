//! Bringing messages and receives together.
//!
//! A message carries 64 bits of *match information*; a receive accepts it when `posted == incoming & mask`, and when
//! its source filter, if any, names the sender. Among the receives that accept a message the one posted
//! first takes it; among the messages that a receive accepts, the one that arrived first. Three *spaces* are
//! matched apart from each other.
//!
//! Either question is answered by hashing where the queues are long: see `posted` and `arrived`. What is queued is
//! the caller's own, of any type; nothing here knows of packets.
//!
//! ```
//! use mxoe::matching::{Matcher, Pattern, Space, Tag};
//!
//! let mut matcher: Matcher<&str, &str, u32> = Matcher::new(42);
//! let any_of_group_7 = Pattern { match_info: 7 << 32, mask: 0xffff_ffff_0000_0000, source: None };
//! matcher.post(Space::Tagged, any_of_group_7, "a receive");
//!
//! let message = Tag { match_info: 7 << 32 | 3, source: 1 };
//! assert_eq!(matcher.take_posted(Space::Plain, &message), None);
//! assert_eq!(matcher.take_posted(Space::Tagged, &message), Some("a receive"));
//! assert_eq!(matcher.take_posted(Space::Tagged, &message), None);
//!
//! matcher.arrive(Space::Tagged, message, "a message");
//! assert_eq!(matcher.take_arrived(Space::Tagged, &any_of_group_7), Some("a message"));
//! ```

use std::hash::Hash;

pub(crate) mod arena;
mod arrived;
pub(crate) mod hash;
mod list;
mod posted;
#[cfg(test)]
mod tests;

use arrived::ArrivedQueue;
use posted::PostedQueue;

/// One of three sets of messages and receives that never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Space {
    /// MX's own.
    #[default]
    Tagged,
    /// A second one, for programs that also send messages without a tag.
    Plain,
    /// A third one, for what endpoints say to each other beside the program's messages.
    Service,
}

/// What a message is matched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<S> {
    /// What its sender gave.
    pub match_info: u64,
    /// Its sender.
    pub source: S,
}

/// Which messages a receive accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Copied in pieces of 16 bytes, as the receive is that it comes from: what is loaded across two pieces that were just stored is waited for.
#[repr(C)]
pub struct Pattern<S> {
    /// What the message's match information must be under the mask.
    pub match_info: u64,
    /// The bits that count.
    pub mask: u64,
    /// Who it must be from.
    pub source: Option<S>,
}

impl<S: Copy + Eq> Pattern<S> {
    /// Whether a receive with this pattern accepts that message.
    #[must_use]
    pub fn accepts(&self, tag: &Tag<S>) -> bool {
        tag.match_info & self.mask == self.match_info
            && self.source.is_none_or(|source| source == tag.source)
    }

    fn class(&self) -> Class {
        Class {
            mask: self.mask,
            by_source: self.source.is_some(),
        }
    }

    fn value(&self) -> Value<S> {
        Value {
            match_info: self.match_info,
            source: self.source,
        }
    }
}

/// Patterns of one class look at the same parts of a tag, so that one hash lookup decides among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    mask: u64,
    by_source: bool,
}

impl Class {
    fn value_of<S: Copy>(self, tag: &Tag<S>) -> Value<S> {
        Value {
            match_info: tag.match_info & self.mask,
            source: self.by_source.then_some(tag.source),
        }
    }
}

/// What the patterns of a class are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Value<S> {
    match_info: u64,
    source: Option<S>,
}

/// A receive in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    space: Space,
    number: u32,
    generation: u32,
}

/// A message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    space: Space,
    number: u32,
    generation: u32,
}

/// Posted receives, known by an `R` each, and arrived messages, known by an `M` each, whose senders are told
/// apart by `S`.
#[derive(Debug)]
pub struct Matcher<R, M, S> {
    tagged: Queues<R, M, S>,
    plain: Queues<R, M, S>,
    service: Queues<R, M, S>,
}

#[derive(Debug)]
struct Queues<R, M, S> {
    posted: PostedQueue<R, S>,
    arrived: ArrivedQueue<M, S>,
}

impl<R: Copy, M: Copy, S: Copy + Eq + Hash> Matcher<R, M, S> {
    /// Empty queues. `seed` keys the hash tables; peers must not know it, for they choose the match values.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut queues = || {
            let keyed = hash::Keyed::new(hash::splitmix(&mut state));
            Queues {
                posted: PostedQueue::new(keyed),
                arrived: ArrivedQueue::new(keyed),
            }
        };
        Self {
            tagged: queues(),
            plain: queues(),
            service: queues(),
        }
    }

    fn queues(&mut self, space: Space) -> &mut Queues<R, M, S> {
        match space {
            Space::Tagged => &mut self.tagged,
            Space::Plain => &mut self.plain,
            Space::Service => &mut self.service,
        }
    }

    #[inline]
    fn queues_of(&self, space: Space) -> &Queues<R, M, S> {
        match space {
            Space::Tagged => &self.tagged,
            Space::Plain => &self.plain,
            Space::Service => &self.service,
        }
    }

    /// Whether no message waits in a space, hidden ones included.
    #[inline]
    #[must_use]
    pub fn has_no_arrived(&self, space: Space) -> bool {
        self.queues_of(space).arrived.len() == 0
    }

    /// Whether a receive is posted that accepts this message.
    #[inline]
    #[must_use]
    pub fn is_wanted(&self, space: Space, tag: &Tag<S>) -> bool {
        self.queues_of(space).posted.accepts(tag)
    }

    /// Queues a receive behind all others. Whether a message that it accepts is there already is the caller's to
    /// ask first.
    #[inline(always)]
    pub fn post(&mut self, space: Space, pattern: Pattern<S>, receive: R) -> Posted {
        let (number, generation) = self.queues(space).posted.push(pattern, receive);
        Posted {
            space,
            number,
            generation,
        }
    }

    /// Takes a receive back; `None` when it has been matched or taken back before.
    pub fn unpost(&mut self, posted: Posted) -> Option<R> {
        let queue = &mut self.queues(posted.space).posted;
        queue.remove(posted.number, posted.generation)
    }

    /// Takes out the receive that this message belongs to: of those that accept it, the one posted first.
    pub fn take_posted(&mut self, space: Space, tag: &Tag<S>) -> Option<R> {
        self.queues(space).posted.take(tag)
    }

    /// Queues a message that no receive was waiting for.
    pub fn arrive(&mut self, space: Space, tag: Tag<S>, message: M) -> Arrived {
        let (number, generation) = self.queues(space).arrived.push(tag, message);
        Arrived {
            space,
            number,
            generation,
        }
    }

    /// Takes a message out; `None` when it has been taken out before.
    pub fn remove_arrived(&mut self, arrived: Arrived) -> Option<M> {
        let queue = &mut self.queues(arrived.space).arrived;
        queue.remove(arrived.number, arrived.generation)
    }

    /// Hides a message from receives and searches; it keeps its place. `None` when it has been taken out before.
    pub fn hold_arrived(&mut self, arrived: Arrived) -> Option<()> {
        let queue = &mut self.queues(arrived.space).arrived;
        queue.set_held(arrived.number, arrived.generation, true)
    }

    /// Shows a message again that was hidden. Whether a receive was posted meanwhile that accepts it is the caller's to ask first.
    pub fn release_arrived(&mut self, arrived: Arrived) -> Option<()> {
        let queue = &mut self.queues(arrived.space).arrived;
        queue.set_held(arrived.number, arrived.generation, false)
    }

    /// The message that a receive with this pattern would get: of those it accepts, the one that arrived first.
    pub fn find_arrived(&mut self, space: Space, pattern: &Pattern<S>) -> Option<M> {
        self.queues(space).arrived.find(pattern)
    }

    /// Takes that message out.
    pub fn take_arrived(&mut self, space: Space, pattern: &Pattern<S>) -> Option<M> {
        self.queues(space).arrived.take(pattern)
    }

    /// Whether any receive is posted.
    #[inline]
    #[must_use]
    pub fn has_posted(&self) -> bool {
        self.posted_len() > 0
    }

    /// How many receives are posted, in all spaces.
    #[must_use]
    pub fn posted_len(&self) -> usize {
        self.tagged.posted.len() + self.plain.posted.len() + self.service.posted.len()
    }

    /// How many messages are waiting, in all spaces.
    #[must_use]
    pub fn arrived_len(&self) -> usize {
        self.tagged.arrived.len() + self.plain.arrived.len() + self.service.arrived.len()
    }
}
