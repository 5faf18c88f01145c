//! Messages on their way out: queued, numbered, acknowledged, complete.

use super::Endpoint;
use super::brief::Brief;
use super::event::{Event, Send, SendMode, Space, Status};
use super::ids::{RegionId, RequestId, RequestKind};
use super::partner::{Flow, Partner, Recovery, Sending};
use super::queue::{Links, Queue, Queued};
use super::short::Delivered;
use super::timing::after;
use crate::addr::SeqNo;
use crate::frame::{Features, Rdma};
use crate::matching::arena::{Arena, Key};
use crate::time::Time;

/// What an outgoing entry is. Which of the ways a message takes is decided when its turn comes, for that depends on
/// the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message of the program's.
    Message { mode: SendMode },
    /// A message of the program's that has a region, and is announced by RNDV.
    Rendezvous {
        rdma: Rdma,
        /// What NOTIFY told.
        notified: Option<u32>,
    },
    /// Tells a sender how its large message went.
    Notify { rdma: Rdma, length: u32 },
}

/// Which queue of its partner's an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// `queued`, or `notifies` for a NOTIFY: without a number.
    Queued,
    /// `unacked`: with a number.
    Unacked,
    /// `parked`: acknowledged, and still being pulled.
    Parked,
}

/// How many bytes of a message its data are.
pub(super) const DATA_BYTES: u32 = 8;

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) partner: Key,
    links: Links,
    pub(super) stage: Stage,
    pub(super) kind: Kind,
    /// Meaningful once it has left `Stage::Queued`.
    pub(super) seq: SeqNo,
    /// When it was last sent, as far as it was.
    pub(super) sent: Time,
    /// Sent more than once, or at a time that nobody knows, so that an acknowledgement tells nothing about the round trip.
    pub(super) resent: bool,
    /// It went the short way.
    pub(super) at_once: bool,
    /// The next fragment of a MEDIUM that is being cut.
    pub(super) fragment: u8,
    pub(super) space: Space,
    pub(super) match_info: u64,
    pub(super) data: Option<u64>,
    pub(super) region: RegionId,
    pub(super) len: u32,
    token: u64,
    pub(super) deadline: Option<Time>,
}

impl Queued for Outgoing {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Outgoing {
    /// A message of the program's, queued.
    #[inline(always)]
    pub(super) fn message(now: Time, partner: Key, send: &Send) -> Self {
        Self {
            partner,
            links: Links::NONE,
            stage: Stage::Queued,
            kind: Kind::Message { mode: send.mode },
            seq: SeqNo::FIRST,
            sent: now,
            resent: false,
            at_once: false,
            fragment: 0,
            space: send.space,
            match_info: send.match_info,
            data: send.data,
            region: send.region,
            len: send.len,
            token: send.token,
            deadline: None,
        }
    }

    /// One that went the short way. Exactly when is not known, so that its acknowledgement tells nothing of the round trip.
    pub(super) fn spelled_out(partner: Key, brief: &Brief, seq: SeqNo, sent: Time) -> Self {
        Self {
            partner,
            links: Links::NONE,
            stage: Stage::Unacked,
            kind: Kind::Message {
                mode: SendMode::Standard,
            },
            seq,
            sent,
            resent: true,
            at_once: true,
            fragment: 0,
            space: brief.space,
            match_info: brief.match_info,
            data: brief.data,
            region: brief.region,
            len: brief.len,
            token: brief.token,
            deadline: None,
        }
    }

    /// Payload bytes that count against the partner's limit.
    fn eager_bytes(&self) -> u32 {
        match self.kind {
            Kind::Message { .. } => self.len,
            Kind::Rendezvous { .. } | Kind::Notify { .. } => 0,
        }
    }

    /// Bytes of the message's on the wire that are none of its payload.
    pub(super) fn data_bytes(&self) -> u32 {
        if self.data.is_some() { DATA_BYTES } else { 0 }
    }

    fn is_request(&self) -> bool {
        !matches!(self.kind, Kind::Notify { .. })
    }
}

impl Partner {
    fn queue_of(&mut self, stage: Stage, kind: Kind) -> &mut Queue {
        match (stage, kind) {
            (Stage::Queued, Kind::Notify { .. }) => &mut self.sending.notifies,
            (Stage::Queued, _) => &mut self.sending.queued,
            (Stage::Unacked, _) => &mut self.sending.unacked,
            (Stage::Parked, _) => &mut self.sending.parked,
        }
    }
}

impl Sending {
    /// How many messages are under way.
    #[inline]
    pub(super) fn under_way(&self) -> u32 {
        self.unacked.len().wrapping_add(self.brief.len())
    }

    /// Whether one more message of `bytes` eager bytes may be under way, of which there may be `limit`.
    #[inline(always)]
    pub(super) fn has_window(&self, bytes: u32, limit: u32) -> bool {
        /// How far ahead of a lost message others are kept by the receiver (section 6.2).
        const EARLY: u32 = 255;
        let under_way = self.under_way();
        if under_way == 0 {
            return true;
        }
        let window = match self.recovery {
            Recovery::None => self.window,
            // More would only be dropped.
            Recovery::Resending { .. } => self.window.min(EARLY),
        };
        under_way < window && self.bytes.saturating_add(bytes) <= limit
    }

    /// An entry is not to be sent (again) any more.
    fn uncut(&mut self, outgoing: &Arena<Outgoing>, key: Key) {
        if self.cutting == key {
            self.cutting = Key::NIL;
        }
        if let Recovery::Resending { cursor, .. } = &mut self.recovery
            && *cursor == key
        {
            *cursor = Queue::after(outgoing, key).unwrap_or(Key::NIL);
        }
    }
}

/// What a partner must know of to be sent this.
#[cold]
pub(super) fn wanted(send: &Send) -> Features {
    let space = match send.space {
        Space::Tagged => Features::NONE,
        Space::Plain => Features::SPACES,
        Space::Service => Features::SERVICE.union(Features::DATA),
    };
    match send.data {
        Some(_) => space.union(Features::DATA),
        None => space,
    }
}

impl Endpoint {
    /// Sends a message. Its request ends with [`Event::Sent`], or [`Event::Cancelled`] if it was never begun.
    ///
    /// Messages to one partner arrive in the order of these calls.
    ///
    /// # Errors
    /// [`Status::Closed`], [`Status::BadHandle`], [`Status::NotConnected`], [`Status::NoPlainSpace`], [`Status::NoSuchFeature`].
    pub fn send(&mut self, now: Time, send: Send) -> Result<RequestId, Status> {
        if !self.open {
            return Err(Status::Closed);
        }
        let key = send.to.find(&self.partners).ok_or(Status::BadHandle)?;
        let partner = &self.partners[key];
        if !partner.is_open() {
            return Err(Status::NotConnected);
        }
        if send.space == Space::Plain && !partner.features.contains(Features::SPACES) {
            return Err(Status::NoPlainSpace);
        }
        let more = send.data.is_some() || send.space == Space::Service;
        if more && !partner.features.contains(wanted(&send)) {
            return Err(Status::NoSuchFeature);
        }
        let outgoing = self.outgoing.insert(Outgoing::message(now, key, &send));
        let queued = &mut self.partners[key].sending.queued;
        queued.push(&mut self.outgoing, outgoing);
        self.wake_data(key, Flow::Messages);
        Ok(RequestId::new(RequestKind::Send, &self.outgoing, outgoing))
    }

    /// Queues a NOTIFY: so much of the sender's message was transferred.
    pub(super) fn queue_notify(&mut self, now: Time, key: Key, rdma: Rdma, length: u32) {
        if self.partners[key].session().is_none() {
            return;
        }
        let outgoing = self.outgoing.insert(Outgoing {
            partner: key,
            links: Links::NONE,
            stage: Stage::Queued,
            kind: Kind::Notify { rdma, length },
            seq: SeqNo::FIRST,
            sent: now,
            resent: false,
            at_once: false,
            fragment: 0,
            space: Space::Tagged,
            match_info: 0,
            data: None,
            region: RegionId(0),
            len: 0,
            token: 0,
            deadline: None,
        });
        let notifies = &mut self.partners[key].sending.notifies;
        notifies.push(&mut self.outgoing, outgoing);
        self.wake_control(key);
    }

    /// Moves an entry to another queue of its partner's.
    fn restage(&mut self, key: Key, stage: Stage) {
        let Outgoing {
            partner,
            stage: former,
            kind,
            ..
        } = self.outgoing[key];
        let partner = &mut self.partners[partner];
        partner
            .queue_of(former, kind)
            .remove(&mut self.outgoing, key);
        partner.queue_of(stage, kind).push(&mut self.outgoing, key);
        self.outgoing[key].stage = stage;
    }

    /// Whether one more message of `bytes` eager bytes may be under way.
    pub(super) fn has_window(&self, key: Key, bytes: u32) -> bool {
        let limit = self.config.limits.unacked_bytes;
        self.partners[key].sending.has_window(bytes, limit)
    }

    /// Gives an entry its number, the first of its queue.
    pub(super) fn number(&mut self, now: Time, key: Key) {
        let outgoing = &self.outgoing[key];
        let (partner, kind, bytes) = (outgoing.partner, outgoing.kind, outgoing.eager_bytes());
        let request = outgoing.is_request();
        self.spell_out(partner);
        let partner = &mut self.partners[partner];
        let first = partner
            .queue_of(Stage::Queued, kind)
            .pop(&mut self.outgoing);
        debug_assert_eq!(first, Some(key), "numbers are given in order");
        let sending = &mut partner.sending;
        if sending.unacked.is_empty() {
            // From now on something is waited for.
            sending.advanced = now;
            sending.progress = now;
        }
        sending.unacked.push(&mut self.outgoing, key);
        let outgoing = &mut self.outgoing[key];
        outgoing.stage = Stage::Unacked;
        outgoing.seq = sending.next;
        outgoing.sent = now;
        sending.next = sending.next.next();
        sending.bytes = sending.bytes.saturating_add(bytes);
        if request {
            self.counters.messages_out = self.counters.messages_out.wrapping_add(1);
        }
    }

    /// The partner has everything before number `value` (section 6.3). Tells whether that was news.
    pub(super) fn acknowledge(&mut self, now: Time, key: Key, value: SeqNo) -> bool {
        let sending = &self.partners[key].sending;
        let under_way = sending.next.distance_from(sending.acked);
        let count = value.distance_from(sending.acked);
        if count == 0 || count > under_way {
            return false;
        }
        let brief = !sending.brief.is_empty();
        if brief {
            self.acknowledged_briefly(now, key, count, value);
        } else {
            self.acknowledged_entries(now, key, count);
        }
        let largest = self.largest_window();
        let sending = &mut self.partners[key].sending;
        sending.acked = value;
        sending.advanced = now;
        sending.progress = now;
        sending.in_vain = 0;
        sending.repeats = 0;
        sending.window = sending.window.saturating_add(count.into()).min(largest);
        let (queued, notifies) = (!sending.queued.is_empty(), !sending.notifies.is_empty());
        if !brief {
            self.recover(now, key, count);
        }
        if queued {
            self.wake_data(key, Flow::Messages);
        }
        if notifies {
            self.wake_control(key);
        }
        true
    }

    /// The oldest `count` messages under way to a partner have been acknowledged.
    fn acknowledged_entries(&mut self, now: Time, key: Key, count: u16) {
        let mut sent = None;
        for _ in 0..count {
            let Some(first) = self.partners[key].sending.unacked.first() else {
                break;
            };
            let outgoing = &self.outgoing[first];
            sent = (!outgoing.resent).then_some(outgoing.sent);
            match outgoing.kind {
                Kind::Message { .. } if outgoing.deadline.is_none() => {
                    self.acknowledged_message(key, first);
                }
                _ => self.acknowledged(first),
            }
        }
        if let Some(sent) = sent {
            let trips = &mut self.partners[key].sending.trips;
            trips.sample(now.since(sent));
        }
    }

    /// An eager message, the first of its partner's, has been acknowledged. As [`acknowledged`](Self::acknowledged), for the many.
    #[inline]
    fn acknowledged_message(&mut self, key: Key, first: Key) {
        let Outgoing {
            len,
            token,
            at_once,
            ..
        } = self.outgoing[first];
        let request = RequestId::new(RequestKind::Send, &self.outgoing, first);
        let sending = &mut self.partners[key].sending;
        sending.uncut(&self.outgoing, first);
        sending.bytes = sending.bytes.saturating_sub(len);
        sending.unacked.pop(&mut self.outgoing);
        self.outgoing.discard(first);
        if at_once {
            self.delivered.push_back(Delivered { token, length: len });
        } else {
            self.emit(Event::Sent {
                token,
                request,
                status: Status::Success,
                length: len,
            });
        }
    }

    /// One message has been acknowledged.
    fn acknowledged(&mut self, key: Key) {
        let outgoing = &self.outgoing[key];
        let (len, kind) = (outgoing.len, outgoing.kind);
        match kind {
            Kind::Rendezvous { notified: None, .. } => {
                let partner = self.outgoing[key].partner;
                self.partners[partner].sending.uncut(&self.outgoing, key);
                self.restage(key, Stage::Parked);
            }
            Kind::Rendezvous {
                notified: Some(length),
                ..
            } => self.finish_rendezvous(key, length),
            Kind::Message { .. } => self.finish_outgoing(key, Status::Success, len),
            Kind::Notify { .. } => self.finish_outgoing(key, Status::Success, 0),
        }
    }

    /// A rendezvous is acknowledged, and its data taken (section 7.3).
    pub(super) fn finish_rendezvous(&mut self, key: Key, length: u32) {
        let len = self.outgoing[key].len;
        let (status, length) = if length < len {
            (Status::Truncated, length)
        } else {
            (Status::Success, len)
        };
        self.finish_outgoing(key, status, length);
    }

    /// Ends an entry, wherever it is, and tells the program if it was the program's.
    pub(super) fn finish_outgoing(&mut self, key: Key, status: Status, length: u32) {
        let request = RequestId::new(RequestKind::Send, &self.outgoing, key);
        if let Some(token) = self.take_outgoing(key) {
            self.emit(Event::Sent {
                token,
                request,
                status,
                length,
            });
        }
    }

    /// Forgets an entry, with all that refers to it; gives the token of one that was the program's.
    fn take_outgoing(&mut self, key: Key) -> Option<u64> {
        let outgoing = &self.outgoing[key];
        let (bytes, request) = (outgoing.eager_bytes(), outgoing.is_request());
        let &Outgoing {
            partner,
            stage,
            kind,
            deadline,
            token,
            ..
        } = outgoing;
        let record = &mut self.partners[partner];
        if stage == Stage::Unacked {
            record.sending.uncut(&self.outgoing, key);
            record.sending.bytes = record.sending.bytes.saturating_sub(bytes);
        }
        record.queue_of(stage, kind).remove(&mut self.outgoing, key);
        if let Kind::Rendezvous { rdma, .. } = kind {
            self.free_region(rdma);
        }
        if deadline.is_some() {
            self.patience.remove(&key);
            self.deadlines = self.deadlines.wrapping_sub(1);
        }
        self.outgoing.discard(key);
        request.then_some(token)
    }

    /// Takes a message back that was not begun.
    pub(super) fn cancel_send(&mut self, key: Key, status: Status) -> bool {
        if self.outgoing[key].stage != Stage::Queued {
            return false;
        }
        let request = RequestId::new(RequestKind::Send, &self.outgoing, key);
        if let Some(token) = self.take_outgoing(key) {
            self.emit(Event::Cancelled {
                token,
                request,
                status,
            });
        }
        true
    }

    /// A message's deadline has passed.
    ///
    /// A message with a number cannot be left out: those behind it would wait for it for ever. So a partner that has not
    /// acknowledged it in time is given up.
    pub(super) fn expire_send(&mut self, now: Time, key: Key) {
        match self.outgoing[key].stage {
            Stage::Queued => {
                self.cancel_send(key, Status::Timeout);
            }
            Stage::Parked => self.finish_outgoing(key, Status::Timeout, 0),
            Stage::Unacked => {
                let partner = self.outgoing[key].partner;
                self.lose(now, partner, Status::Timeout);
            }
        }
    }

    /// When the oldest message is to be sent again.
    pub(super) fn resend_due(&self, key: Key) -> Option<Time> {
        let partner = &self.partners[key];
        let sending = &partner.sending;
        let sent = match sending.unacked.first() {
            Some(oldest) => self.outgoing[oldest].sent,
            // Brief ones were sent before the last acknowledgement came, or are what progress is reckoned from.
            None if !sending.brief.is_empty() => sending.progress,
            None => return None,
        };
        let since = sent.max(sending.progress);
        Some(after(since, partner.resend_delay(&self.config)))
    }
}
