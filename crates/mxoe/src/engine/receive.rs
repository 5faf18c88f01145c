//! Receives: posted, matched, completed, taken back; and what the program can do with unexpected messages.

use super::Endpoint;
use super::event::{ClaimedReceive, Envelope, Event, Filter, Receive, Status};
use super::ids::{PartnerId, RegionId, RequestId, RequestKind, UnexpectedId};
use super::incoming::{Body, Incoming, Stage};
use crate::frame::MessageHead;
use crate::matching::arena::Key;
use crate::matching::{Pattern, Posted, Space};
use crate::time::Time;

/// What a receive is waiting for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// A message that it matches.
    Match(Posted),
    /// The rest of an eager message.
    Message(Key),
    /// The data of a large message.
    Pull(Key),
}

/// A receive in progress.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) wait: Wait,
    pub(super) region: RegionId,
    pub(super) len: u32,
    token: u64,
    pub(super) deadline: Option<Time>,
}

impl Endpoint {
    /// Posts a receive. It takes the oldest unexpected message that it accepts; else it waits behind all receives posted
    /// before. Its request ends with [`Event::Received`], or with [`Event::Cancelled`] if nothing was matched.
    ///
    /// What time it is is asked where there is such a message only. Where not, there is no event, and nothing to be sent.
    ///
    /// # Errors
    /// [`Status::Closed`]; [`Status::BadHandle`] for an unknown source; [`Status::NotConnected`] for one from which nothing has come and nothing can come, as it
    /// is lost and not being connected to.
    pub fn receive(
        &mut self,
        now: impl FnOnce() -> Time,
        receive: Receive,
    ) -> Result<RequestId, Status> {
        if !self.open {
            return Err(Status::Closed);
        }
        let find = |source: PartnerId| source.find(&self.partners).ok_or(Status::BadHandle);
        let source = receive.source.map(find).transpose()?;
        let pattern = Pattern {
            match_info: receive.match_info,
            mask: receive.mask,
            source: receive.source,
        };
        let into = ClaimedReceive {
            region: receive.region,
            len: receive.len,
            token: receive.token,
        };
        if let Some(incoming) = self.matcher.take_arrived(receive.space, &pattern) {
            return Ok(self.receive_incoming(now(), incoming, into));
        }
        if source.is_some_and(|source| !self.partners[source].may_send()) {
            return Err(Status::NotConnected);
        }
        // Where the next receiver will be: its place is named before it is made.
        let receiver = self.receivers.next();
        let posted = self.matcher.post(receive.space, pattern, receiver);
        let (receiver, generation) = self.insert_receiver(into, Wait::Match(posted));
        Ok(RequestId::with_kind(
            RequestKind::Receive,
            receiver,
            generation,
        ))
    }

    /// Whether messages can come from this partner: it is connected, or a connect is under way. Receives from another one alone would wait for ever.
    #[must_use]
    pub fn may_send(&self, partner: PartnerId) -> bool {
        let key = partner.find(&self.partners);
        key.is_some_and(|key| self.partners[key].may_send())
    }

    /// Whether any receive waits for a message.
    #[inline]
    #[must_use]
    pub fn has_posted(&self) -> bool {
        self.matcher.has_posted()
    }

    #[inline(always)]
    fn insert_receiver(&mut self, into: ClaimedReceive, wait: Wait) -> (Key, u32) {
        self.receivers.insert_named(Receiver {
            wait,
            region: into.region,
            len: into.len,
            token: into.token,
            deadline: None,
        })
    }

    /// Receives a message that is there, at least in part. It is out of the matcher already.
    #[inline(never)]
    fn receive_incoming(&mut self, now: Time, incoming: Key, into: ClaimedReceive) -> RequestId {
        let (receiver, generation) = self.insert_receiver(into, Wait::Message(incoming));
        let request = RequestId::with_kind(RequestKind::Receive, receiver, generation);
        self.bind(now, incoming, receiver);
        request
    }

    /// The message that a receive with this filter would get: of those it accepts, the oldest unexpected one. It stays
    /// where it is.
    pub fn probe(&mut self, filter: &Filter) -> Option<Envelope> {
        let incoming = self.matcher.find_arrived(filter.space, &filter.pattern())?;
        Some(self.envelope(&self.incoming[incoming]))
    }

    /// Takes that message out of matching. It must be ended by [`receive_claimed`](Self::receive_claimed) or
    /// [`discard`](Self::discard).
    pub fn claim(&mut self, filter: &Filter) -> Option<(UnexpectedId, Envelope)> {
        let key = self.matcher.take_arrived(filter.space, &filter.pattern())?;
        let incoming = &mut self.incoming[key];
        incoming.stage = Stage::Claimed;
        let envelope = self.envelope(&self.incoming[key]);
        Some((UnexpectedId::of(&self.incoming, key), envelope))
    }

    /// Receives a message that was claimed, or announced and not received since.
    ///
    /// # Errors
    /// [`Status::Closed`], [`Status::BadHandle`].
    pub fn receive_claimed(
        &mut self,
        now: Time,
        id: UnexpectedId,
        into: ClaimedReceive,
    ) -> Result<RequestId, Status> {
        if !self.open {
            return Err(Status::Closed);
        }
        let key = self.take_unexpected(id).ok_or(Status::BadHandle)?;
        Ok(self.receive_incoming(now, key, into))
    }

    /// Throws a message away that was claimed, or announced and not received since. Its sender sees it taken; that of a
    /// large one is told that nothing was transferred.
    pub fn discard(&mut self, now: Time, id: UnexpectedId) {
        if let Some(key) = self.take_unexpected(id) {
            self.discard_incoming(now, key);
        }
    }

    /// The message by its handle, out of the matcher.
    fn take_unexpected(&mut self, id: UnexpectedId) -> Option<Key> {
        let key = id.find(&self.incoming)?;
        match self.incoming[key].stage {
            Stage::Unexpected(arrived) => {
                self.matcher.remove_arrived(arrived);
                Some(key)
            }
            Stage::Claimed => Some(key),
            Stage::Early | Stage::Bound(_) | Stage::Unwanted => None,
        }
    }

    /// What is on a message's cover.
    pub(super) fn envelope(&self, incoming: &Incoming) -> Envelope {
        Envelope {
            source: incoming.source,
            address: incoming.address,
            space: incoming.space,
            match_info: incoming.match_info,
            data: incoming.data,
            length: incoming.length,
        }
    }

    /// A receive is complete.
    pub(super) fn finish_receive(
        &mut self,
        receiver: Key,
        status: Status,
        envelope: Envelope,
        length: u32,
    ) {
        let request = RequestId::new(RequestKind::Receive, &self.receivers, receiver);
        if let Some(token) = self.take_receiver(receiver) {
            if status == Status::Success || status == Status::Truncated {
                self.counters.messages_in = self.counters.messages_in.wrapping_add(1);
            }
            self.emit(Event::Received {
                token,
                request,
                status,
                envelope,
                length,
            });
        }
    }

    /// Forgets a receive; gives its token.
    #[inline]
    pub(super) fn take_receiver(&mut self, key: Key) -> Option<u64> {
        let receiver = self.receivers.peek(key)?;
        let (token, deadline) = (receiver.token, receiver.deadline);
        self.receivers.discard(key);
        if deadline.is_some() {
            self.deadlines = self.deadlines.wrapping_sub(1);
        }
        Some(token)
    }

    /// Takes a receive back that has not matched.
    pub(super) fn cancel_receive(&mut self, key: Key, status: Status) -> bool {
        let Wait::Match(posted) = self.receivers[key].wait else {
            return false;
        };
        self.matcher.unpost(posted);
        let request = RequestId::new(RequestKind::Receive, &self.receivers, key);
        if let Some(token) = self.take_receiver(key) {
            self.emit(Event::Cancelled {
                token,
                request,
                status,
            });
        }
        true
    }

    /// Ends a receive, in whatever state it is. The rest of a message that has begun to arrive goes nowhere.
    pub(super) fn abandon_receive(&mut self, now: Time, key: Key, status: Status) {
        match self.receivers[key].wait {
            Wait::Match(_) => {
                self.cancel_receive(key, status);
            }
            Wait::Message(incoming) => {
                let envelope = self.envelope(&self.incoming[incoming]);
                self.discard_incoming(now, incoming);
                self.finish_receive(key, status, envelope, 0);
            }
            Wait::Pull(pull) => self.fail_pull(now, pull, status),
        }
    }

    /// A message and a receive have met. The message is out of the matcher.
    pub(super) fn bind(&mut self, now: Time, key: Key, receiver: Key) {
        self.uncount(key);
        let incoming = &mut self.incoming[key];
        incoming.stage = Stage::Bound(receiver);
        self.receivers[receiver].wait = Wait::Message(key);
        match incoming.body {
            Body::Eager(fragments) => {
                if fragments.is_complete() {
                    self.finish_eager(key);
                }
            }
            Body::Rendezvous { .. } => self.begin_pull(now, key, receiver),
            Body::Lost(status) => {
                let envelope = self.envelope(&self.incoming[key]);
                self.incoming.discard(key);
                self.finish_receive(receiver, status, envelope, 0);
            }
            // A NOTIFY matches nothing.
            Body::Notify { .. } => {}
        }
    }

    /// All of an eager message has arrived, or nobody wants it: hands it over.
    pub(super) fn finish_eager(&mut self, key: Key) {
        let incoming = &self.incoming[key];
        let envelope = self.envelope(incoming);
        let store = incoming.store;
        match incoming.stage {
            Stage::Bound(receiver) => {
                let Receiver { region, len, .. } = self.receivers[receiver];
                let length = len.min(envelope.length);
                if let Some(from) = store {
                    if length > 0 {
                        let (to, len) = (region, length);
                        self.emit(Event::Copy { from, to, len });
                    }
                    self.emit(Event::StoreFreed { id: from });
                }
                self.incoming.discard(key);
                self.finish_receive(
                    receiver,
                    received_status(length, envelope.length),
                    envelope,
                    length,
                );
            }
            Stage::Unwanted => {
                if let Some(id) = store {
                    self.emit(Event::StoreFreed { id });
                }
                self.incoming.discard(key);
            }
            // It waits for a receive.
            Stage::Early | Stage::Unexpected(_) | Stage::Claimed => {}
        }
    }

    /// A message for nobody: what is left of it goes nowhere. It is out of the matcher.
    fn discard_incoming(&mut self, now: Time, key: Key) {
        self.uncount(key);
        let incoming = &mut self.incoming[key];
        incoming.stage = Stage::Unwanted;
        let partner = incoming.partner;
        match incoming.body {
            Body::Eager(fragments) => {
                if fragments.is_complete() {
                    self.finish_eager(key);
                } else if let Some(id) = incoming.store.take() {
                    self.emit(Event::StoreFreed { id });
                }
            }
            Body::Rendezvous {
                rdma, epoch, offer, ..
            } => {
                self.forget_rendezvous(partner, epoch);
                if let Some(offer) = offer {
                    self.emit(Event::OfferFreed { offer });
                }
                if self.is_current(partner, epoch) {
                    self.queue_notify(now, partner, rdma, 0);
                }
                self.incoming.discard(key);
            }
            Body::Lost(_) | Body::Notify { .. } => {
                self.incoming.discard(key);
            }
        }
    }

    /// Whether a partner's state is still that of then.
    pub(super) fn is_current(&self, partner: Key, epoch: u64) -> bool {
        self.partners
            .peek(partner)
            .is_some_and(|partner| partner.epoch == epoch)
    }

    /// A rendezvous is not waiting for a receive any more.
    pub(super) fn forget_rendezvous(&mut self, partner: Key, epoch: u64) {
        if self.is_current(partner, epoch) {
            let waiting = &mut self.partners[partner].receiving.rendezvous;
            *waiting = waiting.wrapping_sub(1);
        }
    }
}

/// How a receive went that got `length` bytes of a message of `whole`.
pub(super) fn received_status(length: u32, whole: u32) -> Status {
    if length < whole {
        Status::Truncated
    } else {
        Status::Success
    }
}

/// The space that byte 3 of a message names (`docs/wire.md`, "Extension in CONNECT").
pub(super) fn space_of(generation: u8) -> Space {
    match generation & !MessageHead::DATA {
        1 => Space::Plain,
        2 => Space::Service,
        _ => Space::Tagged,
    }
}
