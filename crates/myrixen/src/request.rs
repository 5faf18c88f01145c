//! Requests in flight, and what became of them.

use std::collections::VecDeque;
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
    Sent(Status),
    Received {
        status: Status,
        envelope: Envelope,
        length: u32,
    },
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
    /// Match information of a send, for picking completions by it.
    bits: u64,
    /// Early completion may give the buffer back: a standard send that goes eagerly.
    may_end_early: bool,
    interest: Interest,
    outcome: Option<Outcome>,
}

/// A completed request that waits in the completion queue.
pub(crate) struct Queued {
    pub(crate) kind: Kind,
    pub(crate) context: u64,
    pub(crate) bits: u64,
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
    pub(crate) may_end_early: bool,
}

/// All requests of one endpoint.
#[derive(Default)]
pub(crate) struct Requests {
    slots: Slab<Slot>,
    next_generation: u32,
    queue: VecDeque<Queued>,
    /// Bytes copied for sends that were reported complete before they were acknowledged.
    retained: usize,
}

impl Requests {
    pub(crate) fn add(&mut self, new: New) -> Key {
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let slot = self.slots.insert(Slot {
            kind: new.kind,
            generation,
            engine: None,
            region: new.region,
            bits: new.bits,
            may_end_early: new.may_end_early,
            interest: Interest::Handle(None),
            outcome: None,
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

    /// Forgets a request that the engine refused.
    pub(crate) fn withdraw(&mut self, key: Key) {
        if self.slot(key).is_some() {
            self.slots.remove(key.slot as usize);
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
                let slot = self.slots.remove(key.slot as usize);
                self.queue.push_back(Queued {
                    kind: slot.kind,
                    context,
                    bits: match &outcome {
                        Outcome::Received { envelope, .. } => envelope.match_info,
                        _ => slot.bits,
                    },
                    region: slot.region,
                    outcome,
                });
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
        let slot = self.slots.remove(key.slot as usize);
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
        slot.interest = Interest::Queue(context);
        if let Some(outcome) = slot.outcome.take() {
            self.end(key.token(), outcome);
        }
    }

    /// Nobody asks for the request any more. Returns its region if it was over already.
    pub(crate) fn abandon(&mut self, key: Key) -> Option<RegionId> {
        let slot = self.slot_mut(key)?;
        if slot.outcome.is_some() {
            return self.slots.remove(key.slot as usize).region;
        }
        slot.interest = Interest::Nobody { retained: 0 };
        None
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
    pub(crate) fn peek(&self, fits: impl Fn(u64) -> bool) -> Option<&Queued> {
        self.queue.iter().find(|done| fits(done.bits))
    }

    /// Takes the oldest completion whose match information fits.
    pub(crate) fn next_completion(&mut self, fits: impl Fn(u64) -> bool) -> Option<Queued> {
        let at = self.queue.iter().position(|done| fits(done.bits))?;
        self.queue.remove(at)
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
