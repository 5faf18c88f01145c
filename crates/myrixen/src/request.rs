//! Requests in flight, and what became of them.

use std::task::Waker;

use mxoe::engine::{self, Envelope, PartnerId, RegionId, Status};
use slab::Slab;

/// Names a request of one endpoint. A number is never taken for a later request in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    pub(crate) fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    pub(crate) fn from_token(token: u64) -> Self {
        Self {
            slot: (token & 0xffff_ffff) as u32,
            generation: (token >> 32) as u32,
        }
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
    Nobody { retained: usize },
}

struct Slot {
    kind: Kind,
    generation: u32,
    engine: Option<engine::RequestId>,
    region: Option<RegionId>,
    /// Match information, for picking completions by it: what was sent or received.
    bits: u64,
    /// To whom a send is.
    partner: Option<PartnerId>,
    /// Length of what is sent, in bytes.
    len: u32,
    /// What a binding calls it beside.
    label: u32,
    /// Early completion may give the buffer back: a standard send that goes eagerly.
    may_end_early: bool,
    interest: Interest,
    outcome: Option<Outcome>,
    /// Its neighbours in the completion queue, where it is from its end on if that is its interest.
    before: Option<u32>,
    after: Option<u32>,
}

impl Slot {
    fn is_queued(&self) -> bool {
        matches!(self.interest, Interest::Queue(_)) && self.outcome.is_some()
    }
}

/// A completed request, out of the completion queue.
pub(crate) struct Queued {
    pub(crate) kind: Kind,
    pub(crate) context: u64,
    pub(crate) bits: u64,
    pub(crate) partner: Option<PartnerId>,
    pub(crate) len: u32,
    pub(crate) label: u32,
    pub(crate) region: Option<RegionId>,
    pub(crate) outcome: Outcome,
}

/// What the core has to do after a request has ended.
pub(crate) enum Ended {
    /// Somebody waits for it in a blocking call, or will ask later.
    Waiting,
    /// The buffer can be dropped now.
    Drop(Option<RegionId>),
    /// Wake this task, outside the lock.
    Wake(Waker),
    /// It is not known (any more).
    Unknown,
}

/// What a new request is.
pub(crate) struct New {
    pub(crate) kind: Kind,
    pub(crate) region: Option<RegionId>,
    pub(crate) bits: u64,
    /// To whom a send is.
    pub(crate) partner: Option<PartnerId>,
    /// Length of what is sent, in bytes.
    pub(crate) len: u32,
    pub(crate) may_end_early: bool,
}

/// All requests of one endpoint.
#[derive(Default)]
pub(crate) struct Requests {
    slots: Slab<Slot>,
    next_generation: u32,
    /// The ends of the completion queue: requests that have ended, oldest first. A list through the slots, since they are taken out of its middle too.
    first: Option<u32>,
    last: Option<u32>,
    /// Bytes copied for sends that were reported complete before they were acknowledged.
    retained: usize,
}

impl Requests {
    pub(crate) fn add(&mut self, new: New) -> Key {
        // Not 0, so that no request's number is 0.
        self.next_generation = self.next_generation.wrapping_add(1).max(1);
        let generation = self.next_generation;
        let slot = self.slots.insert(Slot {
            kind: new.kind,
            generation,
            engine: None,
            region: new.region,
            bits: new.bits,
            partner: new.partner,
            len: new.len,
            label: 0,
            may_end_early: new.may_end_early,
            interest: Interest::Handle(None),
            outcome: None,
            before: None,
            after: None,
        });
        Key {
            slot: u32::try_from(slot).expect("more than 2^32 requests in flight"),
            generation,
        }
    }

    fn slot(&self, key: Key) -> Option<&Slot> {
        self.slots
            .get(key.slot as usize)
            .filter(|slot| slot.generation == key.generation)
    }

    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots
            .get_mut(key.slot as usize)
            .filter(|slot| slot.generation == key.generation)
    }

    /// Adds a request that is over for the program, under its number.
    pub(crate) fn add_ended(&mut self, new: New, context: u64, outcome: Outcome) -> Key {
        let key = self.add(new);
        if let Some(slot) = self.slot_mut(key) {
            slot.interest = Interest::Queue(context);
            slot.outcome = Some(outcome);
        }
        self.link(key.slot);
        key
    }

    /// Forgets a request: the engine refused it, or it was taken back.
    pub(crate) fn withdraw(&mut self, key: Key) {
        if self.slot(key).is_some() {
            self.remove(key.slot);
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

    pub(crate) fn region(&self, key: Key) -> Option<RegionId> {
        self.slot(key)?.region
    }

    /// To whom a send is.
    pub(crate) fn partner(&self, key: Key) -> Option<PartnerId> {
        self.slot(key)?.partner
    }

    pub(crate) fn is_done(&self, key: Key) -> bool {
        self.slot(key).is_none_or(|slot| slot.outcome.is_some())
    }

    /// Records how a request ended.
    pub(crate) fn end(&mut self, token: u64, outcome: Outcome) -> Ended {
        let key = Key::from_token(token);
        let Some(slot) = self.slot_mut(key) else {
            return Ended::Unknown;
        };
        match std::mem::replace(&mut slot.interest, Interest::Handle(None)) {
            Interest::Handle(waker) => {
                slot.outcome = Some(outcome);
                waker.map_or(Ended::Waiting, Ended::Wake)
            }
            Interest::Queue(context) => {
                slot.interest = Interest::Queue(context);
                if let Outcome::Received { envelope, .. } = &outcome {
                    slot.bits = envelope.match_info;
                }
                slot.outcome = Some(outcome);
                self.link(key.slot);
                Ended::Waiting
            }
            Interest::Nobody { retained } => {
                self.retained -= retained;
                let slot = self.slots.remove(key.slot as usize);
                Ended::Drop(slot.region)
            }
        }
    }

    /// Takes a finished request out, with its region.
    pub(crate) fn take(&mut self, key: Key) -> Option<(Outcome, Option<RegionId>)> {
        self.slot(key)?.outcome.as_ref()?;
        let slot = self.remove(key.slot);
        Some((slot.outcome?, slot.region))
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
        if slot.is_queued() {
            return;
        }
        slot.interest = Interest::Queue(context);
        if let Some(outcome) = slot.outcome.take() {
            self.end(key.token(), outcome);
        }
    }

    /// Nobody asks for the request any more. Returns its region if it was over already.
    pub(crate) fn abandon(&mut self, key: Key) -> Option<RegionId> {
        let slot = self.slot_mut(key)?;
        if slot.outcome.is_some() {
            return self.remove(key.slot).region;
        }
        slot.interest = Interest::Nobody { retained: 0 };
        None
    }

    /// As [`add_ended`](Self::add_ended), with another name beside its number.
    pub(crate) fn add_ended_as(&mut self, new: New, context: u64, label: u32, outcome: Outcome) {
        let key = self.add_ended(new, context, outcome);
        self.set_label(key, label);
    }

    /// Length of what is sent, in bytes.
    pub(crate) fn len_of(&self, key: Key) -> u32 {
        self.slot(key).map_or(0, |slot| slot.len)
    }

    /// A send of the completion queue is over for the program, with success, and goes on for itself; `retained` bytes stay behind.
    pub(crate) fn end_twice(&mut self, key: Key, retained: usize) {
        let Some(slot) = self.slot_mut(key) else {
            return;
        };
        let Interest::Queue(context) = slot.interest else {
            return;
        };
        let new = New {
            kind: slot.kind,
            region: None,
            bits: slot.bits,
            partner: slot.partner,
            len: slot.len,
            may_end_early: false,
        };
        let (label, length) = (slot.label, slot.len);
        self.ended_early(key, retained);
        let status = Status::Success;
        self.add_ended_as(new, context, label, Outcome::Sent { status, length });
    }

    /// Gives a request another name beside its number, which comes back with its end. Made before it has begun, or it may be over already.
    pub(crate) fn set_label(&mut self, key: Key, label: u32) {
        if let Some(slot) = self.slot_mut(key) {
            slot.label = label;
        }
    }

    /// From whom a receive is to be, if that matters for its end.
    pub(crate) fn set_partner(&mut self, key: Key, partner: Option<PartnerId>) {
        if let Some(slot) = self.slot_mut(key) {
            slot.partner = partner;
        }
    }

    /// Receives for messages of this partner alone that are not over.
    pub(crate) fn receives_from(&self, partner: PartnerId) -> Vec<engine::RequestId> {
        let of = |slot: &Slot| {
            slot.kind == Kind::Receive && slot.partner == Some(partner) && slot.outcome.is_none()
        };
        let slots = self.slots.iter().filter(|(_, slot)| of(slot));
        slots.filter_map(|(_, slot)| slot.engine).collect()
    }

    pub(crate) fn label(&self, key: Key) -> u32 {
        self.slot(key).map_or(0, |slot| slot.label)
    }

    /// A receive that waits for the completion queue under this number of the program, with such a label.
    pub(crate) fn receive_of(&self, context: u64, of: impl Fn(u32) -> bool) -> Option<Key> {
        let found = self.slots.iter().find(|(_, slot)| {
            slot.kind == Kind::Receive
                && slot.outcome.is_none()
                && matches!(slot.interest, Interest::Queue(held) if held == context)
                && of(slot.label)
        });
        let (at, slot) = found?;
        let generation = slot.generation;
        let slot = u32::try_from(at).ok()?;
        Some(Key { slot, generation })
    }

    /// The oldest completion, out of the queue.
    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let slot = self.first?;
        let generation = self.slots[slot as usize].generation;
        self.take_queued(Key { slot, generation })
    }

    /// Bytes kept of sends that were reported complete.
    pub(crate) fn retained(&self) -> usize {
        self.retained
    }

    /// What the request is and under which number of the program, if it is one of the completion queue's or to be.
    pub(crate) fn queued(&self, key: Key) -> Option<(Kind, u64)> {
        match self.slot(key)?.interest {
            Interest::Queue(context) => Some((self.slot(key)?.kind, context)),
            _ => None,
        }
    }

    /// The region of a send that may be reported complete now, given that a copy of `len` bytes
    /// stays behind for resending.
    pub(crate) fn may_end_early(&self, key: Key, cap: usize) -> Option<RegionId> {
        let slot = self.slot(key)?;
        let fits = self.retained < cap;
        (slot.may_end_early && slot.outcome.is_none() && fits)
            .then_some(slot.region)
            .flatten()
    }

    /// A send was reported complete; `retained` bytes stay behind until it really is.
    pub(crate) fn ended_early(&mut self, key: Key, retained: usize) {
        if let Some(slot) = self.slot_mut(key) {
            slot.interest = Interest::Nobody { retained };
            self.retained += retained;
        }
    }

    /// The oldest completion whose match information fits, without taking it.
    pub(crate) fn peek(&self, fits: impl Fn(u64) -> bool) -> Option<(Key, u64)> {
        let mut next = self.first;
        while let Some(at) = next {
            let slot = &self.slots[at as usize];
            if fits(slot.bits) {
                let generation = slot.generation;
                return Some((
                    Key {
                        slot: at,
                        generation,
                    },
                    slot.bits,
                ));
            }
            next = slot.after;
        }
        None
    }

    /// Takes a completion out of the queue.
    pub(crate) fn take_queued(&mut self, key: Key) -> Option<Queued> {
        let slot = self.slot(key)?;
        let Interest::Queue(context) = slot.interest else {
            return None;
        };
        slot.outcome.as_ref()?;
        let slot = self.remove(key.slot);
        Some(Queued {
            kind: slot.kind,
            context,
            bits: slot.bits,
            partner: slot.partner,
            len: slot.len,
            label: slot.label,
            region: slot.region,
            outcome: slot.outcome?,
        })
    }

    /// Takes the oldest completion whose match information fits.
    pub(crate) fn next_completion(&mut self, fits: impl Fn(u64) -> bool) -> Option<Queued> {
        let (key, _) = self.peek(fits)?;
        self.take_queued(key)
    }

    /// Puts a request at the end of the completion queue.
    fn link(&mut self, at: u32) {
        let last = self.last.replace(at);
        self.slots[at as usize].before = last;
        match last {
            Some(last) => self.slots[last as usize].after = Some(at),
            None => self.first = Some(at),
        }
    }

    /// Takes a request out, of the completion queue as well.
    fn remove(&mut self, at: u32) -> Slot {
        let slot = self.slots.remove(at as usize);
        if slot.is_queued() {
            match slot.before {
                Some(before) => self.slots[before as usize].after = slot.after,
                None => self.first = slot.after,
            }
            match slot.after {
                Some(after) => self.slots[after as usize].before = slot.before,
                None => self.last = slot.before,
            }
        }
        slot
    }

    /// Sends to this partner that were reported complete and are not acknowledged.
    pub(crate) fn lingers_to(&self, partner: PartnerId) -> bool {
        self.slots.iter().any(|(_, slot)| {
            slot.partner == Some(partner) && matches!(slot.interest, Interest::Nobody { .. })
        })
    }

    /// Sends whose message may not have arrived yet, those reported complete early included.
    pub(crate) fn unfinished_sends(&self) -> usize {
        let open = |slot: &Slot| slot.kind == Kind::Send && slot.outcome.is_none();
        self.slots.iter().filter(|(_, slot)| open(slot)).count()
    }

    /// Every request whose end is still to come.
    pub(crate) fn pending(&self) -> usize {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.outcome.is_none())
            .count()
    }
}
