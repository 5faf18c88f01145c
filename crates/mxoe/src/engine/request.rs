//! Requests in general: taken back, given deadlines; time passing; the end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Endpoint;
use super::event::Status;
use super::ids::{RequestId, RequestKind};
use super::incoming::Body;
use super::outgoing::Stage;
use super::timing::{Whose, after};
use crate::matching::arena::Key;
use crate::time::Time;

/// How long a send may take without getting on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    patience: Duration,
    /// When it last did.
    pub(super) got_on: Time,
}

impl Endpoint {
    /// Takes a request back if nothing has happened for it yet: a receive that has not matched, a send that was not begun, a
    /// connect. It ends with [`Event::Cancelled`](super::Event::Cancelled) then. Tells whether it does.
    pub fn cancel(&mut self, _now: Time, request: RequestId) -> bool {
        match self.find_request(request) {
            Some((RequestKind::Send, key)) => self.cancel_send(key, Status::Cancelled),
            Some((RequestKind::Receive, key)) => self.cancel_receive(key, Status::Cancelled),
            Some((RequestKind::Connect, key)) => self.cancel_connect(key),
            None => false,
        }
    }

    /// Takes a receive back that has not matched, for a reason of the driver's: it ends with [`Event::Cancelled`](super::Event::Cancelled) and that
    /// status. Tells whether it does.
    pub fn give_up_receive(&mut self, request: RequestId, status: Status) -> bool {
        match self.find_request(request) {
            Some((RequestKind::Receive, key)) => self.cancel_receive(key, status),
            _ => false,
        }
    }

    fn find_request(&self, request: RequestId) -> Option<(RequestKind, Key)> {
        let kind = request.kind()?;
        let key = match kind {
            RequestKind::Send => request.find_in(&self.outgoing)?,
            RequestKind::Receive => request.find_in(&self.receivers)?,
            RequestKind::Connect => request.find_in(&self.connecting)?,
        };
        Some((kind, key))
    }

    /// Sets or takes away the moment at which the request is to fail with [`Status::Timeout`]. It replaces an earlier one.
    ///
    /// A receive that has matched fails although its message is lost with it. A send that is under way and not
    /// acknowledged cannot fail alone, since nothing behind it could be received: its partner is lost.
    pub fn set_deadline(&mut self, request: RequestId, deadline: Option<Time>) {
        let Some((kind, key)) = self.find_request(request) else {
            return;
        };
        let place = match kind {
            RequestKind::Send => {
                self.patience.remove(&key);
                &mut self.outgoing[key].deadline
            }
            RequestKind::Receive => &mut self.receivers[key].deadline,
            RequestKind::Connect => &mut self.connecting[key].deadline,
        };
        let former = std::mem::replace(place, deadline);
        if former.is_some() {
            self.deadlines = self.deadlines.wrapping_sub(1);
        }
        if let Some(due) = deadline {
            self.deadlines = self.deadlines.wrapping_add(1);
            self.schedule.add(due, Whose::Request(request));
        }
    }

    /// As [`set_deadline`](Self::set_deadline), so long from now; for a send, so long after it last got on: was posted, a message to its partner was
    /// acknowledged before it is itself, or some of its data was asked for.
    pub fn set_patience(&mut self, now: Time, request: RequestId, patience: Option<Duration>) {
        let deadline = patience.map(|patience| after(now, patience));
        self.set_deadline(request, deadline);
        if let (Some((RequestKind::Send, key)), Some(patience)) =
            (self.find_request(request), patience)
        {
            let got_on = now;
            self.patience.insert(key, Patience { patience, got_on });
        }
    }

    /// When a send is over that was to end now, if it has got on meanwhile.
    fn later(&self, now: Time, key: Key) -> Option<Time> {
        let Patience { patience, got_on } = *self.patience.get(&key)?;
        let outgoing = &self.outgoing[key];
        let got_on = match outgoing.stage {
            Stage::Parked => got_on,
            Stage::Queued | Stage::Unacked => {
                got_on.max(self.partners[outgoing.partner].sending.advanced)
            }
        };
        Some(after(got_on, patience)).filter(|later| *later > now)
    }

    /// Time has passed. Calling it early or late is harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.date(now);
        while let Some((due, whose)) = self.schedule.pop(now) {
            match whose {
                Whose::Partner(key) => self.on_partner_timer(now, key, due),
                Whose::Pull(key) => self.on_pull_timer(now, key, due),
                Whose::Request(request) => self.on_deadline(now, request, due),
            }
        }
    }

    fn on_deadline(&mut self, now: Time, request: RequestId, due: Time) {
        let Some((kind, key)) = self.find_request(request) else {
            return;
        };
        match kind {
            RequestKind::Send if self.outgoing[key].deadline == Some(due) => {
                match self.later(now, key) {
                    Some(later) => {
                        self.outgoing[key].deadline = Some(later);
                        self.schedule.add(later, Whose::Request(request));
                    }
                    None => self.expire_send(now, key),
                }
            }
            RequestKind::Receive if self.receivers[key].deadline == Some(due) => {
                self.abandon_receive(now, key, Status::Timeout);
            }
            RequestKind::Connect if self.connecting[key].deadline == Some(due) => {
                self.finish_connect(key, Err(Status::Timeout));
            }
            // The deadline was moved or taken away.
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` for never. It may turn out that nothing
    /// was due. What was sent at once counts from [`date`](Self::date) on.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.schedule.next()
    }

    /// The partners whose large messages are here and not complete.
    fn large_messages_of(&self) -> BTreeSet<Key> {
        let incoming = self.incoming.keys().filter_map(|key| {
            let incoming = &self.incoming[key];
            matches!(incoming.body, Body::Rendezvous { .. }).then_some(incoming.partner)
        });
        incoming.chain(self.pulled_from()).collect()
    }

    /// Closes the endpoint: requests end with [`Status::Closed`], further ones are refused, frames that arrive are dropped.
    /// What acknowledgements are owed go out with the following `poll_transmit` (section 5.4), and so do NACK_LIBs to partners whose large messages will
    /// not be asked for any more.
    pub fn close(&mut self, now: Time) {
        self.date(now);
        if !self.open {
            return;
        }
        self.flush_acks(now);
        for key in self.large_messages_of() {
            self.tell_closed(key);
        }
        self.open = false;
        let partners: Vec<Key> = self.partners.keys().collect();
        for key in partners {
            self.fail_connects(key, Status::Closed);
            self.fail_sending(key, Status::Closed);
            self.fail_pulls_of(now, key, Status::Closed);
            self.drop_partial(key, Status::Closed);
        }
        let receivers: Vec<Key> = self.receivers.keys().collect();
        for key in receivers {
            self.abandon_receive(now, key, Status::Closed);
        }
        let incoming: Vec<Key> = self.incoming.keys().collect();
        for key in incoming {
            self.drop_incoming(key, Status::Closed);
        }
    }
}
