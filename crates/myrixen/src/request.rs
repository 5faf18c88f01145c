//! Requests in flight, and what became of them.

mod copied;
mod list;
mod parked;
mod straight;

use std::task::Waker;

use mxoe::engine::{self, Envelope, PartnerId, RegionId, Status};

use crate::error::UnknownRequest;
use list::{Ends, Link, List};
pub(crate) use parked::Parked;
pub(crate) use straight::Straight;

/// Names a request of one endpoint. A number is never taken for a later request in the same slot.
/// One word, the place in its lower half: halves that are written apart and read together have to be in the processor's cache first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    #[inline]
    fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    #[inline]
    pub(crate) fn slot(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    #[inline]
    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(crate) fn token(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn from_token(token: u64) -> Self {
        Self(token)
    }

    /// What the engine calls its memory: the same as its place, so that neither has to be looked up.
    #[inline]
    pub(crate) fn region(self) -> RegionId {
        RegionId(self.slot())
    }
}

/// What kind of operation a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A connect.
    Connect,
    /// A send, standard or synchronous.
    Send,
    /// A receive.
    Receive,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Connected(PartnerId),
    NotConnected(Status),
    Sent {
        status: Status,
        /// Bytes that the receiver took.
        length: u32,
    },
    Received {
        status: Status,
        envelope: Envelope,
        length: u32,
    },
    /// Before anything had happened for it.
    Unmet(Status),
}

/// Who wants to know the end of a request.
enum Interest {
    /// The holder of its handle, perhaps through a task to be woken.
    Handle(Option<Waker>),
    /// The endpoint's completion queue, under the program's number.
    Queue(u64),
    /// Nobody: the handle was dropped, or the send was reported complete early.
    Nobody,
}

/// How a send that goes eagerly may end for the program before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    /// It may not: it is something else.
    No,
    /// When its buffer is given back, for a copy of it.
    Asked,
    /// The same, and whoever asks for any end may have it: it is in the list of those.
    Offered,
    /// It has; so many bytes are kept until it is acknowledged.
    Ended { kept: usize },
    /// It may not any more: its end is waited for, but its buffer is the program's again, and so many bytes were copied.
    Copied { kept: usize },
}

/// Slots are written where they lie, and used again: a request is large, and ends soon.
struct Slot {
    kind: Kind,
    /// 0 while nobody's.
    generation: u32,
    engine: Option<engine::RequestId>,
    /// Match information, for picking completions by it: what was sent or received.
    bits: u64,
    /// To whom a send is.
    partner: Option<PartnerId>,
    /// Length of what is sent, in bytes.
    len: u32,
    early: Early,
    /// What a binding calls it beside.
    label: u32,
    interest: Interest,
    outcome: Option<Outcome>,
    /// Its neighbours in the list that it is in; the next free one where it is nobody's.
    before: Link,
    after: Link,
}

impl Slot {
    const FREE: Self = Self {
        kind: Kind::Connect,
        generation: 0,
        engine: None,
        bits: 0,
        partner: None,
        len: 0,
        early: Early::No,
        label: 0,
        interest: Interest::Nobody,
        outcome: None,
        before: Link::NONE,
        after: Link::NONE,
    };

    /// From now on it is nobody's; the next such one is given.
    #[inline]
    fn vacate(&mut self, next: Link) {
        self.generation = 0;
        self.interest = Interest::Nobody;
        self.outcome = None;
        self.after = next;
    }

    /// The list that it is in.
    fn list(&self) -> Option<List> {
        match (&self.interest, &self.outcome, self.early) {
            (Interest::Queue(_), Some(_), _) => Some(List::Ended),
            (Interest::Queue(_), None, Early::Offered) => Some(List::Offered),
            _ => None,
        }
    }

    /// Bytes that are kept until it is acknowledged, though it is over for the program.
    fn kept(&self) -> Option<usize> {
        match self.early {
            Early::Ended { kept } => Some(kept),
            _ => None,
        }
    }
}

/// A completion, where it lies: what is as large is not to be handed about.
pub(crate) struct Queued<'a> {
    slot: &'a Slot,
    outcome: &'a Outcome,
    pub(crate) context: u64,
}

/// What became of a request.
pub(crate) struct Told {
    pub(crate) status: Status,
    /// Who was connected to or sent to, or who has sent, where that is known.
    pub(crate) partner: Option<PartnerId>,
    /// Length of the message as it was sent, in bytes.
    pub(crate) message_len: u32,
    /// Bytes of it that were transferred.
    pub(crate) len: u32,
}

impl Queued<'_> {
    pub(crate) fn kind(&self) -> Kind {
        self.slot.kind
    }

    /// Match information of what was sent or received.
    pub(crate) fn bits(&self) -> u64 {
        self.slot.bits
    }

    /// What a binding calls it beside.
    pub(crate) fn label(&self) -> u32 {
        self.slot.label
    }

    #[inline(always)]
    pub(crate) fn told(&self) -> Told {
        let sent = |status, length| (status, self.slot.partner, self.slot.len, length);
        let (status, partner, message_len, len) = match *self.outcome {
            Outcome::Connected(partner) => (Status::Success, Some(partner), 0, 0),
            Outcome::NotConnected(status) => (status, None, 0, 0),
            Outcome::Unmet(status) => sent(status, 0),
            Outcome::Sent { status, length } => sent(status, length),
            Outcome::Received {
                status,
                ref envelope,
                length,
            } => (status, Some(envelope.source), envelope.length, length),
        };
        Told {
            status,
            partner,
            message_len,
            len,
        }
    }

    /// The cover of what was received.
    #[inline]
    pub(crate) fn envelope(&self) -> Option<&Envelope> {
        match self.outcome {
            Outcome::Received { envelope, .. } => Some(envelope),
            _ => None,
        }
    }
}

/// What the core has to do after a request has ended.
pub(crate) enum Ended {
    /// Somebody waits for it in a blocking call, or will ask later.
    Waiting,
    /// The buffer can be dropped now.
    Drop,
    /// Wake this task, outside the lock.
    Wake(Waker),
    /// It is not known (any more).
    Unknown,
}

/// What a new request is.
pub(crate) struct New {
    pub(crate) kind: Kind,
    pub(crate) bits: u64,
    /// To whom a send is.
    pub(crate) partner: Option<PartnerId>,
    /// Length of what is sent, in bytes.
    pub(crate) len: u32,
    pub(crate) may_end_early: bool,
    /// Where its end goes to the completion queue: under which number of the program's.
    pub(crate) queue: Option<u64>,
}

/// Places of requests are less, and the regions above are those of short messages.
const MOST: u32 = 1 << 31;

/// All requests of one endpoint.
pub(crate) struct Requests {
    slots: Vec<Slot>,
    /// The first free one.
    free: Link,
    next_generation: u32,
    parked: Option<(Key, Parked)>,
    /// The place kept for it.
    berth: Option<u32>,
    lists: [Ends; 2],
    /// Bytes copied for sends that were reported complete before they were acknowledged.
    retained: usize,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Link::NONE,
            next_generation: 0,
            parked: None,
            berth: None,
            lists: [Ends::NONE; 2],
            retained: 0,
        }
    }
}

impl Requests {
    #[inline(always)]
    pub(crate) fn add(&mut self, new: New) -> Key {
        let key = self.reserve();
        self.fill(key, new, None);
        key
    }

    /// A name for a request that is about to begin: to be filled or vacated before anything else is done.
    #[inline(always)]
    pub(crate) fn reserve(&mut self) -> Key {
        let generation = self.name_next();
        Key::new(self.take_place(), generation)
    }

    /// What tells the next request from those before it in its place. Not 0, so that no request's number is 0.
    #[inline]
    fn name_next(&mut self) -> u32 {
        self.next_generation = self.next_generation.wrapping_add(1).max(1);
        self.next_generation
    }

    /// A place that is nobody's, and stays so until it is filled.
    #[inline]
    fn take_place(&mut self) -> u32 {
        if self.free == Link::NONE {
            self.grow();
        }
        let Link(at) = self.free;
        self.free = self.slots[at as usize].after;
        at
    }

    /// Has a place be this request's, which the engine may have begun already.
    #[inline(always)]
    pub(crate) fn fill(&mut self, key: Key, new: New, engine: Option<engine::RequestId>) {
        let slot = &mut self.slots[key.slot() as usize];
        slot.kind = new.kind;
        slot.generation = key.generation();
        slot.engine = engine;
        slot.bits = new.bits;
        slot.partner = new.partner;
        slot.len = new.len;
        slot.early = if new.may_end_early {
            Early::Asked
        } else {
            Early::No
        };
        slot.label = 0;
        slot.interest = match new.queue {
            Some(context) => Interest::Queue(context),
            None => Interest::Handle(None),
        };
        slot.before = Link::NONE;
    }

    #[cold]
    fn grow(&mut self) {
        let at = u32::try_from(self.slots.len()).ok();
        let at = at.filter(|at| *at < MOST);
        self.slots.push(Slot::FREE);
        self.free = Link(at.expect("fewer than 2^31 requests in flight"));
    }

    /// Frees a slot, which is in no list.
    #[inline]
    pub(crate) fn vacate(&mut self, at: u32) {
        self.slots[at as usize].vacate(std::mem::replace(&mut self.free, Link(at)));
    }

    /// All requests, with their places.
    fn living(&self) -> impl Iterator<Item = (u32, &Slot)> {
        let slots = (0..).zip(&self.slots);
        slots.filter(|(_, slot)| slot.generation != 0)
    }

    #[inline]
    fn slot(&self, key: Key) -> Option<&Slot> {
        self.slots
            .get(key.slot() as usize)
            .filter(|slot| slot.generation == key.generation() && slot.generation != 0)
    }

    #[inline]
    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots
            .get_mut(key.slot() as usize)
            .filter(|slot| slot.generation == key.generation() && slot.generation != 0)
    }

    /// Adds a request of the completion queue's that is over for the program, with another name beside its number.
    #[inline]
    pub(crate) fn add_ended(&mut self, new: New, label: u32, outcome: Outcome) -> Key {
        let key = self.add(new);
        let slot = &mut self.slots[key.slot() as usize];
        slot.label = label;
        slot.outcome = Some(outcome);
        self.link(List::Ended, key.slot());
        key
    }

    /// Forgets a request: the engine refused it, or it was taken back.
    pub(crate) fn withdraw(&mut self, key: Key) {
        if self.slot(key).is_some() {
            self.drop_copy(key.slot());
            self.discard(key.slot());
        }
    }

    pub(crate) fn started(&mut self, key: Key, id: engine::RequestId) {
        if let Some(slot) = self.slot_mut(key) {
            slot.engine = Some(id);
        }
    }

    pub(crate) fn engine_id(&self, key: Key) -> Option<engine::RequestId> {
        self.slot(key)?.engine
    }

    #[inline]
    pub(crate) fn is_done(&self, key: Key) -> bool {
        self.slot(key).is_none_or(|slot| slot.outcome.is_some())
    }

    /// Records how a request ended.
    #[inline]
    pub(crate) fn end(&mut self, token: u64, outcome: Outcome) -> Ended {
        let key = Key::from_token(token);
        match self.slot(key) {
            Some(slot)
                if slot.early == Early::No && matches!(slot.interest, Interest::Queue(_)) =>
            {
                self.finish_queued(key.slot(), outcome);
                Ended::Waiting
            }
            Some(_) => self.end_otherwise(key, outcome),
            None => Ended::Unknown,
        }
    }

    /// The same for a request that is not one of the completion queue's, or of which more is to be told.
    fn end_otherwise(&mut self, key: Key, outcome: Outcome) -> Ended {
        let slot = &mut self.slots[key.slot() as usize];
        if let Some(kept) = slot.kept() {
            // What was kept of a send that was over for the program before is not needed any more.
            self.retained -= kept;
            slot.early = Early::No;
            if matches!(slot.interest, Interest::Nobody) {
                self.vacate(key.slot());
            }
            return Ended::Drop;
        }
        if matches!(slot.early, Early::Copied { .. }) {
            self.drop_copy(key.slot());
        }
        let slot = &mut self.slots[key.slot() as usize];
        match &mut slot.interest {
            Interest::Handle(waker) => {
                let waker = waker.take();
                slot.outcome = Some(outcome);
                waker.map_or(Ended::Waiting, Ended::Wake)
            }
            Interest::Queue(_) => {
                self.unlink(key.slot());
                self.finish_queued(key.slot(), outcome);
                Ended::Waiting
            }
            Interest::Nobody => {
                self.vacate(key.slot());
                Ended::Drop
            }
        }
    }

    /// Puts a request of the completion queue's there.
    #[inline]
    fn finish_queued(&mut self, at: u32, outcome: Outcome) {
        let slot = &mut self.slots[at as usize];
        if let Outcome::Received { envelope, .. } = &outcome {
            slot.bits = envelope.match_info;
        }
        slot.outcome = Some(outcome);
        self.link(List::Ended, at);
    }

    /// Takes a finished request out. Its memory is nobody's now.
    pub(crate) fn take(&mut self, key: Key) -> Option<Outcome> {
        let outcome = self.slot(key)?.outcome.clone()?;
        self.discard(key.slot());
        Some(outcome)
    }

    /// The task to wake when the request ends.
    pub(crate) fn set_waker(&mut self, key: Key, waker: &Waker) {
        if let Some(Slot {
            interest: Interest::Handle(held),
            ..
        }) = self.slot_mut(key)
        {
            match held {
                Some(held) => held.clone_from(waker),
                None => *held = Some(waker.clone()),
            }
        }
    }

    /// From now on the completion queue gets the end of the request.
    pub(crate) fn enqueue(&mut self, key: Key, context: u64) {
        let Some(slot) = self.slot_mut(key) else {
            return;
        };
        if matches!(slot.interest, Interest::Queue(_)) {
            return;
        }
        slot.interest = Interest::Queue(context);
        if let Some(outcome) = slot.outcome.take() {
            self.finish_queued(key.slot(), outcome);
        }
    }

    /// Nobody asks for the request any more. True if it was over already, and its memory is nobody's now.
    pub(crate) fn abandon(&mut self, key: Key) -> bool {
        let Some(slot) = self.slot(key) else {
            return false;
        };
        let over = slot.outcome.is_some() && slot.kept().is_none();
        if over {
            self.discard(key.slot());
        } else {
            self.disown(key.slot());
        }
        over
    }

    /// Nobody asks for the request any more, which the engine still knows.
    fn disown(&mut self, at: u32) {
        self.unlink(at);
        let slot = &mut self.slots[at as usize];
        slot.interest = Interest::Nobody;
        slot.outcome = None;
    }

    /// Gives a request another name beside its number, which comes back with its end. Made before it has begun, or it may be over already.
    pub(crate) fn set_label(&mut self, key: Key, label: u32) {
        if let Some(slot) = self.slot_mut(key) {
            slot.label = label;
        }
    }

    /// Receives for messages of this partner alone that are not over.
    pub(crate) fn receives_from(&self, partner: PartnerId) -> Vec<engine::RequestId> {
        let of = |slot: &Slot| {
            slot.kind == Kind::Receive && slot.partner == Some(partner) && slot.outcome.is_none()
        };
        let slots = self.living().filter(|(_, slot)| of(slot));
        slots.filter_map(|(_, slot)| slot.engine).collect()
    }

    pub(crate) fn label(&self, key: Key) -> u32 {
        self.slot(key).map_or(0, |slot| slot.label)
    }

    /// A receive that waits for the completion queue under this number of the program, with such a label.
    pub(crate) fn receive_of(&self, context: u64, of: impl Fn(u32) -> bool) -> Option<Key> {
        let found = self.living().find(|(_, slot)| {
            slot.kind == Kind::Receive
                && slot.outcome.is_none()
                && matches!(slot.interest, Interest::Queue(held) if held == context)
                && of(slot.label)
        });
        let (slot, Slot { generation, .. }) = found?;
        Some(Key::new(slot, *generation))
    }

    /// Bytes kept of sends that were reported complete.
    pub(crate) fn retained(&self) -> usize {
        self.retained
    }

    /// Bytes of a request's buffer.
    pub(crate) fn len(&self, key: Key) -> usize {
        self.slot(key).map_or(0, |slot| slot.len as usize)
    }

    /// What the request is and under which number of the program, if it is one of the completion queue's or to be.
    pub(crate) fn queued(&self, key: Key) -> Option<(Kind, u64)> {
        match self.slot(key)?.interest {
            Interest::Queue(context) => Some((self.slot(key)?.kind, context)),
            _ => None,
        }
    }

    /// Whether a send may be reported complete now, given that a copy stays behind for resending, and that so many bytes may.
    pub(crate) fn may_end_early(&self, key: Key, cap: usize) -> bool {
        self.slot(key).is_some_and(|slot| {
            let may = matches!(slot.early, Early::Asked | Early::Offered);
            may && slot.outcome.is_none() && self.retained < cap
        })
    }

    /// A send was reported complete; `kept` bytes stay behind until it really is.
    pub(crate) fn ended_early(&mut self, key: Key, kept: usize) {
        if let Some(slot) = self.slot_mut(key) {
            slot.interest = Interest::Nobody;
            slot.early = Early::Ended { kept };
            self.retained += kept;
        }
    }

    /// The same for a send of the completion queue's, which goes there.
    pub(crate) fn queue_early(&mut self, key: Key, kept: usize) {
        self.unlink(key.slot());
        if let Some(slot) = self.slot_mut(key) {
            slot.early = Early::Ended { kept };
            let (status, length) = (Status::Success, slot.len);
            self.retained += kept;
            self.finish_queued(key.slot(), Outcome::Sent { status, length });
        }
    }

    /// Whoever asks for any end of the completion queue's may have this send's before it is acknowledged.
    pub(crate) fn offer_early(&mut self, key: Key) {
        let slot = self.slot_mut(key);
        if let Some(slot) = slot.filter(|slot| slot.early == Early::Asked) {
            slot.early = Early::Offered;
            if slot
                .list()
                .is_some_and(|list| matches!(list, List::Offered))
            {
                self.link(List::Offered, key.slot());
            }
        }
    }

    /// Whether there are sends whose end may be had before they are acknowledged.
    #[inline]
    pub(crate) fn offers_any(&self) -> bool {
        self.lists[List::Offered as usize].first != Link::NONE
    }

    /// Whether this send's end may be had before it is acknowledged.
    pub(crate) fn is_offered(&self, key: Key) -> bool {
        let list = self.slot(key).and_then(Slot::list);
        list.is_some_and(|list| matches!(list, List::Offered))
    }

    /// The oldest send whose end may be had before it is acknowledged, and whose match information fits.
    pub(crate) fn offered(&self, fits: impl Fn(u64) -> bool) -> Option<Key> {
        self.find(List::Offered, fits).map(|(key, _)| key)
    }

    /// Whether there are completions.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.lists[List::Ended as usize].first != Link::NONE
    }

    /// The oldest completion whose match information fits, without taking it.
    pub(crate) fn peek(&self, fits: impl Fn(u64) -> bool) -> Option<(Key, u64)> {
        self.find(List::Ended, fits)
    }

    /// Takes a request of the completion queue's out, if it is over: shows it to `look`, and tells whether its memory is nobody's now. `Err`: there is no such
    /// request there, nor will it come there.
    #[inline(always)]
    pub(crate) fn take_queued<T>(
        &mut self,
        key: Key,
        look: impl FnOnce(&Queued<'_>) -> T,
    ) -> Result<Option<(T, bool)>, UnknownRequest> {
        let slot = self.slots.get_mut(key.slot() as usize);
        let slot = slot.filter(|slot| slot.generation == key.generation());
        let slot = slot.ok_or(UnknownRequest)?;
        // One that is nobody's is not the queue's, whatever it is called.
        let Interest::Queue(context) = slot.interest else {
            return Err(UnknownRequest);
        };
        let Some(outcome) = &slot.outcome else {
            return Ok(None);
        };
        let seen = look(&Queued {
            slot,
            outcome,
            context,
        });
        if slot.kept().is_some() {
            // A send that the engine still knows: its slot stays.
            self.disown(key.slot());
            return Ok(Some((seen, false)));
        }
        let (before, after) = (slot.before, slot.after);
        slot.vacate(std::mem::replace(&mut self.free, Link(key.slot())));
        self.close_gap(List::Ended, before, after);
        Ok(Some((seen, true)))
    }

    /// Takes a request out, of its list as well.
    fn discard(&mut self, at: u32) {
        self.unlink(at);
        self.vacate(at);
    }

    /// Sends to this partner that are not acknowledged, and that the program has been told, or may think, are complete.
    pub(crate) fn lingers_to(&self, partner: PartnerId) -> bool {
        let lingers = |slot: &Slot| match (&slot.interest, slot.early) {
            (Interest::Nobody, _) | (_, Early::Ended { .. }) => true,
            (_, Early::Offered) => slot.outcome.is_none(),
            _ => false,
        };
        self.living().any(|(_, slot)| {
            slot.kind == Kind::Send && slot.partner == Some(partner) && lingers(slot)
        })
    }

    /// Sends whose message may not have arrived yet, those reported complete early included.
    pub(crate) fn unfinished_sends(&self) -> usize {
        let open = |slot: &Slot| {
            slot.kind == Kind::Send && (slot.outcome.is_none() || slot.kept().is_some())
        };
        self.living().filter(|(_, slot)| open(slot)).count()
    }

    /// Every request whose end is still to come.
    pub(crate) fn pending(&self) -> usize {
        self.living()
            .filter(|(_, slot)| slot.outcome.is_none())
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive() -> New {
        New {
            kind: Kind::Receive,
            bits: 1,
            partner: None,
            len: 0,
            may_end_early: false,
            queue: None,
        }
    }

    #[test]
    fn a_place_that_is_used_again_has_another_name_and_knows_nothing_of_the_last() {
        let mut requests = Requests::default();
        let first = requests.add(receive());
        requests.set_label(first, 3);
        requests.enqueue(first, 5);
        let take = |requests: &mut Requests, key| {
            requests.take_queued(key, |done| (done.context, done.label(), done.bits()))
        };
        assert_eq!(take(&mut requests, first), Ok(None));
        requests.end(first.token(), Outcome::Unmet(Status::Closed));
        assert_eq!(take(&mut requests, first), Ok(Some(((5, 3, 1), true))));
        // The place is nobody's, whatever it is called by.
        for key in [first, Key::from_token(u64::from(first.slot()))] {
            assert_eq!(take(&mut requests, key), Err(UnknownRequest));
            assert!(requests.is_done(key));
        }
        assert_eq!(requests.pending(), 0);
        let second = requests.add(receive());
        assert_eq!(second.slot(), first.slot());
        assert_ne!(second.token(), first.token());
        assert!(take(&mut requests, second).is_err(), "nobody queued it");
        assert_eq!(requests.label(second), 0);
        assert!(!requests.is_done(second) && requests.pending() == 1);
        // Two at a time have places of their own.
        let third = requests.add(receive());
        assert_ne!(third.slot(), second.slot());
        for key in [second, third] {
            requests.withdraw(key);
        }
        let places = [
            requests.add(receive()).slot(),
            requests.add(receive()).slot(),
        ];
        assert_eq!(places, [third.slot(), second.slot()]);
    }
}
