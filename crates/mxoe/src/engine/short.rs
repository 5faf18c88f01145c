//! Short messages whose turn is now: sent, or taken in, in one step, without the queues and events that others go through.
//!
//! Nothing here is another protocol. Either step does what the long way would have done, and is only open where that is
//! easily told: nothing of the partner's is waiting, lost or before its turn, and a receive is there already. In all other cases it changes
//! nothing, and the driver goes the long way.

use std::ops::Range;

use super::Endpoint;
use super::date::Unheeded;
use super::event::{Envelope, Event, Placement, Send, SendMode, Slice, Status, Target, Transmit};
use super::ids::{PathId, RegionId, RequestId, RequestKind};
use super::outgoing::{DATA_BYTES, Outgoing, wanted};
use super::partner::{Link, Recovery, packed};
use super::receive::{received_status, space_of};
use super::transmit::generation;
use crate::addr::{Address, NicAddr, SeqNo};
use crate::frame::{Features, Head, MessageHead, ShortMessage, Small};
use crate::matching::arena::Key;
use crate::matching::{Space, Tag};
use crate::time::Time;

/// A message that went out at once.
#[derive(Clone, Copy, Debug)]
pub struct SentNow {
    /// The request, which ends as any other.
    pub request: RequestId,
    /// Which way its frame goes.
    pub path: PathId,
}

/// A message that can go out at once.
#[derive(Clone, Copy, Debug)]
#[must_use = "whoever sends it has to say so"]
pub struct ReadyNow {
    partner: Key,
    address: Address,
    path: PathId,
    seq: SeqNo,
}

impl ReadyNow {
    /// Which way its frame goes.
    #[inline]
    #[must_use]
    pub fn path(&self) -> PathId {
        self.path
    }

    /// Where the partner is.
    #[inline]
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }
}

/// A message that went out at once has been acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The request's.
    pub token: u64,
    /// The request, which is over.
    pub request: RequestId,
    /// Bytes that were sent.
    pub length: u32,
}

impl Delivered {
    /// The event that the long way would have told it by.
    #[must_use]
    pub fn event(&self) -> Event {
        Event::Sent {
            token: self.token,
            request: self.request,
            status: Status::Success,
            length: self.length,
        }
    }
}

/// A receive that a short message has completed at once.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The receive's.
    pub token: u64,
    /// The receive.
    pub request: RequestId,
    /// [`Status::Success`] or [`Status::Truncated`].
    pub status: Status,
    /// The message's cover.
    pub envelope: Envelope,
    /// Where its bytes go, from the region's first one on.
    pub region: RegionId,
    /// How many there was room for.
    pub length: u32,
    /// Where in the frame they begin.
    at: usize,
}

impl Taken {
    /// Where in the frame the bytes are that are to be copied.
    #[must_use]
    pub fn payload(&self) -> Range<usize> {
        self.at..self.at.saturating_add(self.length as usize)
    }

    /// What the long way would have had copied.
    #[must_use]
    pub fn placement(&self) -> Option<Placement> {
        let target = Target::Region {
            region: self.region,
            offset: 0,
        };
        (self.length > 0).then(|| Placement {
            payload: self.payload(),
            target,
        })
    }

    /// The event that the long way would have told it by.
    #[must_use]
    pub fn event(&self) -> Event {
        Event::Received {
            token: self.token,
            request: self.request,
            status: self.status,
            envelope: self.envelope,
            length: self.length,
        }
    }
}

impl Endpoint {
    /// Sends a message of up to 128 bytes, if it need not wait for anything and `has_room` says that its path has room for its frame. The frame, which
    /// is written to `transmit`, is to be gathered before the engine is called again. Otherwise as [`send`](Self::send), but that
    /// [`poll_delivered`](Self::poll_delivered) tells of its acknowledgement, and an event of all that goes wrong. When that was is for the next call to say that is
    /// told the time, or [`date`](Self::date).
    ///
    /// `None`: nothing was done; `send` will say why, or queue it.
    #[inline]
    pub fn send_now(
        &mut self,
        send: &Send,
        has_room: impl FnOnce(PathId) -> bool,
        transmit: &mut Transmit,
    ) -> Option<SentNow> {
        let ready = self.ready_now(send, has_room, &mut transmit.head)?;
        let slice = Slice {
            region: send.region,
            offset: 0,
            len: send.len,
        };
        transmit.to = self.partners[ready.partner].address.nic;
        transmit.payload = (send.len > 0).then_some(slice);
        transmit.offer = None;
        Some(self.sent_now(send, ready))
    }

    /// The first half of [`send_now`](Self::send_now): writes the beginning of the frame to `head`, behind which the payload comes. The frame can go out before
    /// the engine takes note of it, which takes as long again: [`sent_now`](Self::sent_now) does, and nothing else is to be asked of the engine in between.
    /// Nothing has been done if it does not go out.
    #[inline(always)]
    pub fn ready_now(
        &self,
        send: &Send,
        has_room: impl FnOnce(PathId) -> bool,
        head: &mut Head,
    ) -> Option<ReadyNow> {
        let beside = if send.data.is_some() { DATA_BYTES } else { 0 };
        let length = u8::try_from(send.len.saturating_add(beside)).ok();
        let length = length.filter(|len| *len <= Small::MAX)?;
        if !self.open || send.mode != SendMode::Standard || send.len > self.config.eager_max {
            return None;
        }
        let key = send.to.find(&self.partners)?;
        let partner = &self.partners[key];
        let Link::Up {
            session,
            open: true,
        } = partner.link
        else {
            return None;
        };
        let plain = send.space == Space::Tagged && send.data.is_none();
        if !plain && !partner.features.contains(wanted(send)) {
            return None;
        }
        let (path, sending) = (partner.path, &partner.sending);
        let free = sending.queued.is_empty()
            && sending.cutting.some().is_none()
            && matches!(sending.recovery, Recovery::None);
        if !(free && self.has_window(key, send.len) && has_room(path)) {
            return None;
        }
        let seq = sending.next;
        let cover = MessageHead {
            to: partner.address.endpoint,
            from: self.config.address.endpoint,
            generation: generation(partner.features, send.space, send.data.is_some()),
            checksum: 0,
            seq,
            piggyack: partner.receiving.complete,
            match_info: send.match_info,
            session,
        };
        let eth = partner.eth(self.config.address.nic);
        ShortMessage {
            head: cover,
            length,
        }
        .emit(&eth, head);
        if let Some(data) = send.data {
            head.append(data.to_be_bytes());
        }
        Some(ReadyNow {
            partner: key,
            address: partner.address,
            path,
            seq,
        })
    }

    /// The second half of [`send_now`](Self::send_now): the message that [`ready_now`](Self::ready_now) was asked for has gone out.
    #[inline(always)]
    pub fn sent_now(&mut self, send: &Send, ready: ReadyNow) -> SentNow {
        let ReadyNow {
            partner: key,
            path,
            seq,
            ..
        } = ready;
        // Before this one is among those under way.
        self.heed();
        let partner = &mut self.partners[key];
        let sending = &mut partner.sending;
        sending.next = seq.next();
        sending.bytes = sending.bytes.saturating_add(send.len);
        let message = Outgoing::at_once(key, send, seq);
        let entry = self.outgoing.insert(message);
        sending.unacked.push(&mut self.outgoing, entry);
        if partner.receiving.settle() {
            self.owed = self.owed.wrapping_sub(1);
        }
        let counters = &mut self.counters;
        counters.messages_out = counters.messages_out.wrapping_add(1);
        counters.frames_out = counters.frames_out.wrapping_add(1);
        counters.bytes_out = counters.bytes_out.wrapping_add(send.len.into());
        self.leave_undated(key);
        SentNow {
            request: RequestId::new(RequestKind::Send, &self.outgoing, entry),
            path,
        }
    }

    /// A frame has arrived: takes it in if it is a short message whose turn has come and for which a receive is posted. The arguments are those
    /// of [`Arrival`](super::Arrival); what it gives is to be copied before the engine is called again. It is told by no event.
    ///
    /// The acknowledgement that comes with it is heeded by the next [`send_now`](Self::send_now) or call that is told the time, [`date`](Self::date) being one.
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
        self.date(now);
        let ShortMessage {
            head: cover,
            length,
        } = ShortMessage::read(head, len)?;
        let frame = head;
        let head = cover;
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
        let partner = self.partners.peek_mut(key)?;
        let receiving = &partner.receiving;
        let turn = head.seq == receiving.next
            && receiving.complete == receiving.next
            && receiving.early.is_empty();
        if !(turn && matches!(partner.link, Link::Up { .. })) {
            return None;
        }
        let (source, features) = (partner.id, partner.features);
        let (mut whole, mut at, mut data) = (u32::from(length), ShortMessage::PAYLOAD_AT, None);
        if head.generation & MessageHead::DATA != 0 && features.contains(Features::DATA) {
            let bytes = frame.get(at..)?.first_chunk()?;
            whole = whole.checked_sub(DATA_BYTES)?;
            at = at.saturating_add(bytes.len());
            data = Some(u64::from_be_bytes(*bytes));
        }
        let news = head.piggyack != partner.sending.acked;
        if news && !head.piggyack.same_session(partner.sending.next) {
            return None;
        }
        let space = if features.contains(Features::SPACES) {
            space_of(head.generation)
        } else {
            Space::Tagged
        };
        let tag = Tag {
            match_info: head.match_info,
            source,
        };
        let receiver = self.matcher.take_posted(space, &tag)?;
        let request = RequestId::new(RequestKind::Receive, &self.receivers, receiver);
        let record = &self.receivers[receiver];
        let (region, room) = (record.region, record.len);
        let token = self.take_receiver(receiver)?;
        let counters = &mut self.counters;
        counters.frames_in = counters.frames_in.wrapping_add(1);
        counters.messages_in = counters.messages_in.wrapping_add(1);
        let length = room.min(whole);
        counters.bytes_in = counters.bytes_in.wrapping_add(length.into());
        let partner = &mut self.partners[key];
        partner.heard = now;
        partner.receiving.next = head.seq.next();
        self.owe(now, key, length);
        if news {
            self.unheeded = Some(Unheeded {
                partner: key,
                value: head.piggyack,
                at: now,
            });
        }
        Some(Taken {
            token,
            request,
            status: received_status(length, whole),
            envelope: Envelope {
                source,
                address,
                space,
                match_info: head.match_info,
                data,
                length: whole,
            },
            region,
            length,
            at,
        })
    }
}
