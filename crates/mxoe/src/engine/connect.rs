//! The handshake (specification, section 5.2), and what a new session means for an old partner.

use super::Endpoint;
use super::counters::Ignored;
use super::event::{Connect, Event, Status};
use super::ids::{PartnerId, PathId, RequestId, RequestKind};
use super::partner::{Flow, Link, Recovery};
use super::queue::{Links, Queue, Queued};
use super::timing::after;
use super::transmit::Answer;
use crate::addr::{Address, NicAddr, PeerIndex, SeqNo, SessionId};
use crate::frame::{self, ConnectRole, ConnectStatus, Features, Frame};
use crate::matching::arena::Key;
use crate::time::Time;

/// What we can do beyond the specification.
pub(super) const FEATURES: Features = Features::SPACES
    .union(Features::DATA)
    .union(Features::SERVICE);

/// A connect request of ours.
#[derive(Debug)]
pub(super) struct Connecting {
    partner: Key,
    links: Links,
    key: u32,
    /// Tells its reply from those to other requests.
    attempt: u8,
    token: u64,
    began: Time,
    /// To go out as soon as there is room.
    wanted: bool,
    /// When it is to go out again.
    due: Time,
    /// How often it went out.
    sent: u8,
    pub(super) deadline: Option<Time>,
}

impl Queued for Connecting {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Endpoint {
    /// Connects to another endpoint. The request ends with [`Event::Connected`] or [`Event::ConnectFailed`].
    ///
    /// Also an endpoint that has connected to us can be connected to: it checks the key. Sending to it does not need it.
    ///
    /// # Errors
    /// [`Status::Closed`], [`Status::TooManyPartners`].
    pub fn connect(&mut self, now: Time, connect: Connect) -> Result<RequestId, Status> {
        if !self.open {
            return Err(Status::Closed);
        }
        let key = self.meet(connect.to).map_err(|_| Status::TooManyPartners)?;
        let partner = &mut self.partners[key];
        let attempt = partner.attempt;
        partner.attempt = attempt.wrapping_add(1);
        let connecting = self.connecting.insert(Connecting {
            partner: key,
            links: Links::NONE,
            key: connect.key,
            attempt,
            token: connect.token,
            began: now,
            wanted: true,
            due: after(now, self.config.timers.rto_initial),
            sent: 0,
            deadline: None,
        });
        partner.connects.push(&mut self.connecting, connecting);
        self.wake_control(key);
        self.arm(key);
        let request = RequestId::new(RequestKind::Connect, &self.connecting, connecting);
        self.set_deadline(request, connect.deadline);
        Ok(request)
    }

    /// No new sends to this partner until it is connected to again; messages without a number fail with
    /// [`Status::NotConnected`]. Those under way complete, for their numbers cannot be left out. What the partner sends still
    /// arrives. Nothing is sent about it (specification, section 5.4).
    pub fn disconnect(&mut self, _now: Time, partner: PartnerId) {
        let Some(key) = partner.find(&self.partners) else {
            return;
        };
        if let Link::Up { open, .. } = &mut self.partners[key].link {
            *open = false;
        }
        while let Some(queued) = self.partners[key].sending.queued.first() {
            self.finish_outgoing(queued, Status::NotConnected, 0);
        }
    }

    /// Ends a connect request.
    pub(super) fn finish_connect(&mut self, key: Key, result: Result<(), Status>) {
        let request = RequestId::new(RequestKind::Connect, &self.connecting, key);
        let Some(connecting) = self.take_connect(key) else {
            return;
        };
        let token = connecting.token;
        let partner = self.partners[connecting.partner].id;
        self.emit(match result {
            Ok(()) => Event::Connected {
                token,
                request,
                partner,
            },
            Err(status) => Event::ConnectFailed {
                token,
                request,
                partner,
                status,
            },
        });
    }

    fn take_connect(&mut self, key: Key) -> Option<Connecting> {
        let Connecting {
            partner, deadline, ..
        } = self.connecting[key];
        let connects = &mut self.partners[partner].connects;
        connects.remove(&mut self.connecting, key);
        if deadline.is_some() {
            self.deadlines = self.deadlines.wrapping_sub(1);
        }
        self.connecting.remove(key)
    }

    /// Takes a connect request back.
    pub(super) fn cancel_connect(&mut self, key: Key) -> bool {
        let request = RequestId::new(RequestKind::Connect, &self.connecting, key);
        if let Some(connecting) = self.take_connect(key) {
            self.emit(Event::Cancelled {
                token: connecting.token,
                request,
                status: Status::Cancelled,
            });
        }
        true
    }

    /// The requests to a partner, oldest first.
    fn find_connect(&self, key: Key, wanted: impl Fn(&Connecting) -> bool) -> Option<Key> {
        let mut next = self.partners[key].connects.first();
        while let Some(connect) = next {
            if wanted(&self.connecting[connect]) {
                return Some(connect);
            }
            next = Queue::after(&self.connecting, connect);
        }
        None
    }

    /// When a request to a partner goes out (again).
    pub(super) fn connect_due(&self, key: Key) -> Option<Time> {
        let mut next = self.partners[key].connects.first();
        let mut due: Option<Time> = None;
        while let Some(connect) = next {
            let connecting = &self.connecting[connect];
            due = Some(due.map_or(connecting.due, |due| due.min(connecting.due)));
            next = Queue::after(&self.connecting, connect);
        }
        due
    }

    /// Sends requests again that were not answered, or gives them up.
    pub(super) fn connect_again_if_due(&mut self, now: Time, key: Key) {
        let give_up = self.config.timers.give_up;
        let hopeless = |connecting: &Connecting| after(connecting.began, give_up) <= now;
        while let Some(connect) = self.find_connect(key, hopeless) {
            self.finish_connect(connect, Err(Status::Unreachable));
        }
        while let Some(connect) = self.find_connect(key, |connecting| connecting.due <= now) {
            self.connecting[connect].wanted = true;
            self.wait_for_reply(now, connect);
            self.wake_control(key);
        }
    }

    /// Sets when a request is to go out again.
    fn wait_for_reply(&mut self, now: Time, connect: Key) {
        let timers = &self.config.timers;
        let connecting = &mut self.connecting[connect];
        let factor = 1_u32
            .checked_shl(connecting.sent.into())
            .unwrap_or(u32::MAX);
        let delay = timers.rto_initial.saturating_mul(factor);
        connecting.due = after(now, delay.min(timers.rto_max));
    }

    /// Requests to a partner go out again at once: their path has changed.
    pub(super) fn connect_again(&mut self, key: Key) {
        let mut next = self.partners[key].connects.first();
        while let Some(connect) = next {
            self.connecting[connect].wanted = true;
            next = Queue::after(&self.connecting, connect);
        }
        self.wake_control(key);
    }

    /// Requests to a partner are to be taken for new ones, for they announce other numbers now.
    pub(super) fn renew_connects(&mut self, key: Key) {
        let mut next = self.partners[key].connects.first();
        while let Some(connect) = next {
            let partner = &mut self.partners[key];
            let connecting = &mut self.connecting[connect];
            connecting.attempt = partner.attempt;
            partner.attempt = partner.attempt.wrapping_add(1);
            next = Queue::after(&self.connecting, connect);
        }
        self.connect_again(key);
    }

    /// The next request to a partner that wants to go out.
    pub(super) fn next_connect(&mut self, now: Time, key: Key) -> Option<Frame> {
        let connect = self.find_connect(key, |connecting| connecting.wanted)?;
        self.wait_for_reply(now, connect);
        let connecting = &mut self.connecting[connect];
        connecting.wanted = false;
        connecting.sent = connecting.sent.saturating_add(1);
        let (attempt, app_key) = (connecting.attempt, connecting.key);
        let partner = &self.partners[key];
        let frame = Frame::Connect(frame::Connect {
            to: partner.address.endpoint,
            from: self.config.address.endpoint,
            seq: SeqNo::from_wire(0),
            index: index_of(key),
            session: self.config.session,
            recv_start: partner.receiving.next,
            attempt,
            role: ConnectRole::Request { key: app_key },
            features: Some(FEATURES),
        });
        self.arm(key);
        Some(frame)
    }

    /// A CONNECT has arrived.
    pub(super) fn on_connect(
        &mut self,
        now: Time,
        path: PathId,
        from: NicAddr,
        connect: &frame::Connect,
    ) {
        if connect.to != self.config.address.endpoint {
            return self.counters.ignore(Ignored::OtherEndpoint);
        }
        match connect.role {
            ConnectRole::Request { key } => self.on_connect_request(now, path, from, connect, key),
            ConnectRole::Reply { session, status } => {
                self.on_connect_reply(now, from, connect, session, status);
            }
        }
    }

    /// Another endpoint wants to connect. Every copy of a request is answered alike.
    fn on_connect_request(
        &mut self,
        now: Time,
        path: PathId,
        from: NicAddr,
        connect: &frame::Connect,
        app_key: u32,
    ) {
        let address = Address::new(from, connect.from);
        if app_key != self.config.key {
            let known = self.partner_at(path, address);
            let start = known.map_or(SeqNo::FIRST, |key| self.partners[key].receiving.next);
            let index = known.map_or(PeerIndex::new(0), index_of);
            return self.reply(path, from, connect, start, index, ConnectStatus::BadKey);
        }
        let key = match self.meet(address) {
            Ok(key) => key,
            Err(reason) => return self.counters.ignore(reason),
        };
        let partner = &mut self.partners[key];
        if partner.superseded == Some(connect.session) {
            return self.counters.ignore(Ignored::Duplicate);
        }
        let newer = partner
            .attempt_heard
            .is_none_or(|heard| connect.attempt.wrapping_sub(heard).cast_signed() > 0);
        let renumbered = !connect.recv_start.same_session(partner.sending.next);
        let anew = match partner.link {
            // The partner has given us up, and now asks for other numbers (section 6.4).
            Link::Up { session, .. } if session == connect.session => newer && renumbered,
            Link::Up { .. } | Link::Unmet | Link::Lost { .. } => true,
        };
        if anew {
            self.supersede(key, connect.session);
            if self.partners[key].session().is_some() {
                self.lose(now, key, Status::PartnerRestarted);
            }
        }
        let partner = &mut self.partners[key];
        partner.heard = now;
        partner.peer_index = connect.index;
        if newer || anew {
            partner.attempt_heard = Some(connect.attempt);
        }
        self.come_up(now, key, connect, connect.session, anew);
        let start = self.partners[key].receiving.next;
        self.reply(
            path,
            from,
            connect,
            start,
            index_of(key),
            ConnectStatus::Success,
        );
    }

    /// The partner's session is this one now: a CONNECT of the former one that is still on the way is not to undo it.
    pub(super) fn supersede(&mut self, key: Key, by: SessionId) {
        let partner = &mut self.partners[key];
        match partner.link {
            Link::Up { session, .. } | Link::Lost { session } if session != by => {
                partner.superseded = Some(session);
            }
            _ => {}
        }
    }

    /// A handshake has succeeded.
    fn come_up(
        &mut self,
        now: Time,
        key: Key,
        connect: &frame::Connect,
        session: SessionId,
        anew: bool,
    ) {
        let partner = &mut self.partners[key];
        let arrived = anew || !partner.is_open();
        partner.features = connect.features.unwrap_or_default().intersection(FEATURES);
        partner.link = Link::Up {
            session,
            open: true,
        };
        if anew {
            partner.met = now;
            partner.sending.next = connect.recv_start;
            partner.sending.acked = connect.recv_start;
        }
        let is_request = matches!(connect.role, ConnectRole::Request { .. });
        if arrived && is_request {
            let (partner, address) = (partner.id, partner.address);
            self.emit(Event::PartnerArrived { partner, address });
        }
    }

    /// Answers a connect request.
    fn reply(
        &mut self,
        path: PathId,
        to: NicAddr,
        request: &frame::Connect,
        recv_start: SeqNo,
        index: PeerIndex,
        status: ConnectStatus,
    ) {
        let frame = Frame::Connect(frame::Connect {
            to: request.from,
            from: self.config.address.endpoint,
            seq: SeqNo::from_wire(0),
            index,
            session: request.session,
            recv_start,
            attempt: request.attempt,
            role: ConnectRole::Reply {
                session: self.config.session,
                status,
            },
            features: Some(FEATURES),
        });
        let peer_index = request.index;
        self.answer(
            path,
            Answer {
                to,
                peer_index,
                frame,
            },
        );
    }

    /// The other endpoint has answered.
    fn on_connect_reply(
        &mut self,
        now: Time,
        from: NicAddr,
        connect: &frame::Connect,
        session: SessionId,
        status: ConnectStatus,
    ) {
        if connect.session != self.config.session {
            return self.counters.ignore(Ignored::BadSession);
        }
        let address = Address::new(from, connect.from);
        let known = self
            .by_address
            .get(&super::partner::packed(address))
            .copied();
        let asked = known.and_then(|key| {
            let request = self.find_connect(key, |c| c.attempt == connect.attempt && c.sent > 0)?;
            Some((key, request))
        });
        let Some((key, request)) = asked else {
            let probed =
                known.is_some_and(|key| self.on_probe_reply(now, key, connect, session, status));
            if !probed {
                self.counters.ignore(Ignored::Unasked);
            }
            return;
        };
        match status {
            ConnectStatus::Success => {}
            ConnectStatus::BadKey => return self.finish_connect(request, Err(Status::BadKey)),
            ConnectStatus::Other(_) => return self.counters.ignore(Ignored::Unasked),
        }
        let partner = &mut self.partners[key];
        partner.heard = now;
        partner.peer_index = connect.index;
        let renumbered = !connect.recv_start.same_session(partner.sending.next);
        let anew = match partner.link {
            // The partner had given us up, and our request has made it start over.
            Link::Up { session: known, .. } if known == session => renumbered,
            Link::Up { .. } | Link::Unmet | Link::Lost { .. } => true,
        };
        partner.probe.key = Some(self.connecting[request].key);
        if anew {
            self.renew(now, key, connect, session);
        } else {
            self.come_up(now, key, connect, session, false);
        }
        self.finish_connect(request, Ok(()));
    }

    /// A reply shows that the partner is another than the one we knew, or begins other numbers.
    pub(super) fn renew(
        &mut self,
        now: Time,
        key: Key,
        connect: &frame::Connect,
        session: SessionId,
    ) {
        self.supersede(key, session);
        // The request has announced our receiving numbers: they stay as they are.
        self.start_over(now, key);
        self.come_up(now, key, connect, session, true);
    }

    /// The partner turns out to be another than the one we knew: what was under way is lost.
    fn start_over(&mut self, now: Time, key: Key) {
        let was_up = self.partners[key].session().is_some();
        let status = Status::PartnerRestarted;
        self.fail_sending(key, status);
        self.fail_receiving(now, key, status);
        debug_assert!(matches!(
            self.partners[key].sending.recovery,
            Recovery::None
        ));
        if was_up {
            let (partner, address) = (self.partners[key].id, self.partners[key].address);
            self.counters.partners_lost = self.counters.partners_lost.wrapping_add(1);
            self.emit(Event::PartnerLost {
                partner,
                address,
                status,
            });
        }
        self.wake_data(key, Flow::Messages);
    }
}

/// What the partner is to put in the heads of its frames. We never look at it, but it must be a number that a table
/// could have (section 4.2).
pub(super) fn index_of(key: Key) -> PeerIndex {
    let number = u16::try_from(key.number() % 0xffff).unwrap_or(0);
    PeerIndex::new(number)
}
