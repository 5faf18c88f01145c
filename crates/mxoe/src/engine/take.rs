//! Short messages taken in at once: see [`short`](super::short).

use std::ops::Range;

use super::Endpoint;
use super::date::Unheeded;
use super::event::{Envelope, Event, Filter, Placement, Status, Target};
use super::ids::{PathId, RegionId, RequestId, RequestKind};
use super::outgoing::DATA_BYTES;
use super::partner::{Link, packed};
use super::receive::{received_status, space_of};
use crate::addr::{Address, NicAddr, SeqNo};
use crate::frame::{Features, MessageHead, ShortMessage};
use crate::matching::arena::Key;
use crate::matching::{Space, Tag};
use crate::time::Time;

/// What a short message has brought that was taken at once.
#[derive(Clone, Copy, Debug)]
pub struct Brought {
    /// [`Status::Success`] or [`Status::Truncated`].
    pub status: Status,
    /// The message's cover.
    pub envelope: Envelope,
    /// How many bytes there was room for.
    pub length: u32,
    /// Where in the frame they begin.
    at: usize,
}

impl Brought {
    /// Where in the frame the bytes are that are to be copied.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> Range<usize> {
        self.at..self.at.saturating_add(self.length as usize)
    }
}

/// A receive that a short message has completed at once.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The receive's.
    pub token: u64,
    /// The receive.
    pub request: RequestId,
    /// Where its bytes go, from the region's first one on.
    pub region: RegionId,
    /// What it has got.
    pub brought: Brought,
}

impl Taken {
    /// What the long way would have had copied.
    #[must_use]
    pub fn placement(&self) -> Option<Placement> {
        let target = Target::Region {
            region: self.region,
            offset: 0,
        };
        (self.brought.length > 0).then(|| Placement {
            payload: self.brought.payload(),
            target,
        })
    }

    /// The event that the long way would have told it by.
    #[must_use]
    pub fn event(&self) -> Event {
        Event::Received {
            token: self.token,
            request: self.request,
            status: self.brought.status,
            envelope: self.brought.envelope,
            length: self.brought.length,
        }
    }
}

/// A short message whose turn has come, and that nothing was done with yet.
struct Turn {
    partner: Key,
    envelope: Envelope,
    seq: SeqNo,
    /// The acknowledgement that it brings, if that is news.
    news: Option<SeqNo>,
    /// Where in the frame the payload begins.
    at: usize,
}

impl Turn {
    fn tag(&self) -> Tag<super::PartnerId> {
        Tag {
            match_info: self.envelope.match_info,
            source: self.envelope.source,
        }
    }
}

impl Endpoint {
    /// A frame has arrived: takes it in if it is a short message whose turn has come and for which a receive is posted. The arguments are those
    /// of [`Arrival`](super::Arrival); what it gives is to be copied before the engine is called again. It is told by no event.
    ///
    /// The acknowledgement that comes with it is heeded, and the one that is owed for it, by the next [`send_now`](Self::send_now) or call that is told the time,
    /// [`date`](Self::date) being one.
    ///
    /// `None`: nothing was done, and the frame is to go to [`handle_frame`](Self::handle_frame). So it is while there are events, which come first.
    #[inline(always)]
    pub fn take_now(
        &mut self,
        now: Time,
        path: PathId,
        from: NicAddr,
        head: &[u8],
        len: usize,
    ) -> Option<Taken> {
        self.heed();
        let turn = self.turn_of(path, from, head, len)?;
        let receiver = self.matcher.take_posted(turn.envelope.space, &turn.tag())?;
        let request = RequestId::new(RequestKind::Receive, &self.receivers, receiver);
        let record = &self.receivers[receiver];
        let (region, room) = (record.region, record.len);
        let token = self.take_receiver(receiver)?;
        Some(Taken {
            token,
            request,
            region,
            brought: self.bring(now, &turn, room),
        })
    }

    /// As [`take_now`](Self::take_now), for a program that waits with `room` bytes for such a message, and has posted no receive: it needs none where it has the
    /// message at once. Only while no message waits in that space ([`has_none`](Self::has_none)), and not if a receive is posted that accepts it, since these come
    /// first.
    #[inline(always)]
    pub fn take_unposted(
        &mut self,
        now: Time,
        path: PathId,
        from: NicAddr,
        (head, len): (&[u8], usize),
        (wanted, room): (&Filter, u32),
    ) -> Option<Brought> {
        self.heed();
        let turn = self.turn_of(path, from, head, len)?;
        let (space, tag) = (wanted.space, turn.tag());
        let fits = turn.envelope.space == space && wanted.pattern().accepts(&tag);
        if !(fits && self.has_none(space)) || self.matcher.is_wanted(space, &tag) {
            return None;
        }
        Some(self.bring(now, &turn, room))
    }

    /// Whether no message waits in a space.
    #[inline]
    #[must_use]
    pub fn has_none(&self, space: Space) -> bool {
        self.matcher.has_no_arrived(space)
    }

    /// Whether a receive like this one may wait without being posted for what [`take_unposted`](Self::take_unposted) takes: it would be posted.
    #[inline]
    #[must_use]
    pub fn may_stand_by(&self, wanted: &Filter) -> bool {
        let may_come = |source| self.may_send(source);
        self.open && self.has_none(wanted.space) && wanted.source.is_none_or(may_come)
    }

    /// Whether the frame is a short message whose turn has come. Nothing is done.
    #[inline(always)]
    fn turn_of(&self, path: PathId, from: NicAddr, frame: &[u8], len: usize) -> Option<Turn> {
        let ShortMessage { head, length } = ShortMessage::read(frame, len)?;
        let own = head.to == self.config.address.endpoint && head.session == self.config.session;
        if !(own && self.open && self.events.is_empty()) {
            return None;
        }
        let way = self.paths.get(path.place())?.as_ref()?;
        let address = Address::new(from, head.from);
        let (known, key) = way.last_partner?;
        if known != packed(address) || way.peer.is_some_and(|owner| owner != address) {
            return None;
        }
        let partner = self.partners.peek(key)?;
        let receiving = &partner.receiving;
        let turn = head.seq == receiving.next
            && receiving.complete == receiving.next
            && receiving.early.is_empty();
        if !(turn && matches!(partner.link, Link::Up { .. })) {
            return None;
        }
        let features = partner.features;
        let (mut whole, mut at, mut data) = (u32::from(length), ShortMessage::PAYLOAD_AT, None);
        if head.generation & MessageHead::DATA != 0 && features.contains(Features::DATA) {
            let bytes = frame.get(at..)?.first_chunk()?;
            whole = whole.checked_sub(DATA_BYTES)?;
            at = at.saturating_add(bytes.len());
            data = Some(u64::from_be_bytes(*bytes));
        }
        let news = (head.piggyack != partner.sending.acked).then_some(head.piggyack);
        if news.is_some_and(|value| !value.same_session(partner.sending.next)) {
            return None;
        }
        let space = if features.contains(Features::SPACES) {
            space_of(head.generation)
        } else {
            Space::Tagged
        };
        Some(Turn {
            partner: key,
            envelope: Envelope {
                source: partner.id,
                address,
                space,
                match_info: head.match_info,
                data,
                length: whole,
            },
            seq: head.seq,
            news,
            at,
        })
    }

    /// Takes note of a message that somebody has with `room` bytes for it.
    #[inline(always)]
    fn bring(&mut self, now: Time, turn: &Turn, room: u32) -> Brought {
        let whole = turn.envelope.length;
        let length = room.min(whole);
        let counters = &mut self.counters;
        counters.frames_in = counters.frames_in.wrapping_add(1);
        counters.messages_in = counters.messages_in.wrapping_add(1);
        counters.bytes_in = counters.bytes_in.wrapping_add(length.into());
        let partner = &mut self.partners[turn.partner];
        partner.heard = now;
        // None has begun that is not complete.
        partner.receiving.next = turn.seq.next();
        partner.receiving.complete = partner.receiving.next;
        partner.receiving.gap_libacks = 0;
        self.unheeded = Some(Unheeded {
            partner: turn.partner,
            value: turn.news,
            bytes: length,
            at: now,
        });
        Brought {
            status: received_status(length, whole),
            envelope: turn.envelope,
            length,
            at: turn.at,
        }
    }
}
