//! Numbered packets as they arrive: checked, put in order, matched (specification, section 6.2).

use std::ops::Range;

use super::Endpoint;
use super::counters::Ignored;
use super::event::{Arrival, Event, Placement, Target};
use super::ids::{OfferId, PathId, UnexpectedId};
use super::incoming::{Beside, Body, Cover, Fragments, Stage};
use super::partner::Link;
use super::receive::{received_status, space_of};
use super::transmit::Answer;
use crate::addr::{Address, EndpointId, NicAddr, PeerIndex, SeqNo, SessionId};
use crate::frame::{Features, Frame, MessageHead, NackKind, NackLib, Notify, Rdma, Rndv};
use crate::matching::arena::Key;
use crate::matching::{Space, Tag};
use crate::time::Time;

/// How far ahead of its turn a message is kept (section 6.2).
const EARLY: u16 = 255;

/// How a frame came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Via {
    pub(super) path: PathId,
    pub(super) from: NicAddr,
    pub(super) offer: Option<OfferId>,
}

/// What all numbered packets have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    pub(super) to: EndpointId,
    pub(super) from: EndpointId,
    pub(super) session: SessionId,
    pub(super) seq: SeqNo,
    pub(super) piggyack: SeqNo,
}

impl Piece {
    /// A message in one frame.
    pub(super) fn whole(length: u32, payload: Range<usize>) -> Self {
        Self {
            length,
            number: 0,
            total: 1,
            offset: 0,
            payload,
        }
    }

    /// Takes the data out that the message begins with. `None` when it is too short to have any.
    fn take_data(&mut self, cover: &mut Cover, head: &[u8]) -> Option<()> {
        const BYTES: u32 = 8;
        self.length = self.length.checked_sub(BYTES)?;
        cover.length = self.length;
        if self.number == 0 {
            let start = self.payload.start;
            // Of a longer frame the head is only its beginning, in which they are.
            let bytes = head.get(start..)?.first_chunk()?;
            let next = start.saturating_add(bytes.len());
            if next > self.payload.end {
                return None;
            }
            cover.data = Beside::Here(u64::from_be_bytes(*bytes));
            self.payload.start = next;
        } else {
            self.offset = self.offset.checked_sub(BYTES)?;
            cover.data = Beside::Before;
        }
        Some(())
    }
}

impl Numbered {
    fn of(head: &MessageHead) -> Self {
        Self {
            to: head.to,
            from: head.from,
            session: head.session,
            seq: head.seq,
            piggyack: head.piggyack,
        }
    }

    fn of_notify(notify: &Notify) -> Self {
        Self {
            to: notify.to,
            from: notify.from,
            session: notify.session,
            seq: notify.seq,
            piggyack: notify.piggyack,
        }
    }
}

/// A number's place in its partner's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Its turn has come.
    Next,
    /// It has begun already, or is complete.
    Begun,
    /// Its turn will come.
    Early,
}

/// A piece of an eager message.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// The message's bytes.
    pub(super) length: u32,
    /// The fragment's number.
    pub(super) number: u8,
    /// How many fragments the message has.
    pub(super) total: u8,
    /// Where in the message this one's bytes belong.
    pub(super) offset: u32,
    /// Where in the frame they are.
    pub(super) payload: Range<usize>,
}

impl Endpoint {
    /// A piece of an eager message.
    pub(super) fn on_eager(
        &mut self,
        now: Time,
        via: Via,
        head: &MessageHead,
        piece: Piece,
        arrival: &Arrival<'_>,
    ) -> Option<Placement> {
        let (key, place) = self.admit(now, via, &Numbered::of(head))?;
        let mut cover = self.cover(key, head, piece.length);
        let mut piece = piece;
        if head.generation & MessageHead::DATA != 0 {
            (cover, piece) = self.take_data(head, place, cover, piece, arrival.head)?;
        }
        match place {
            Place::Next => self.on_next_eager(now, &cover, piece),
            Place::Begun => self.on_begun_eager(now, &cover, piece),
            Place::Early => self.on_early_eager(&cover, piece),
        }
    }

    /// Takes the data out that a message begins with, if its head says that there are some. By value: what is seldom changed stays where it is.
    #[cold]
    fn take_data(
        &mut self,
        head: &MessageHead,
        place: Place,
        mut cover: Cover,
        mut piece: Piece,
        frame: &[u8],
    ) -> Option<(Cover, Piece)> {
        if self.brings_data(cover.partner, head) && piece.take_data(&mut cover, frame).is_none() {
            self.counters.ignore(Ignored::Inconsistent);
            return None;
        }
        if cover.data == Beside::Before && place == Place::Next {
            // It comes again, with the others.
            self.counters.ignore(Ignored::TooEarly);
            return None;
        }
        Some((cover, piece))
    }

    /// The announcement of a large message.
    pub(super) fn on_rndv(&mut self, now: Time, via: Via, rndv: &Rndv) {
        let Some((key, place)) = self.admit(now, via, &Numbered::of(&rndv.head)) else {
            return self.free_offer(via.offer);
        };
        let mut cover = self.cover(key, &rndv.head, rndv.length);
        if self.brings_data(key, &rndv.head) {
            cover.data = rndv.data.map_or(Beside::Nothing, Beside::Here);
        }
        let body = Body::Rendezvous {
            rdma: rndv.rdma,
            rdma_offset: rndv.rdma_offset,
            offer: via.offer,
            path: via.path,
            epoch: self.partners[key].epoch,
        };
        if !self.on_single(now, &cover, place, body) {
            self.free_offer(via.offer);
        }
    }

    /// The end of a large message of ours.
    pub(super) fn on_notify(&mut self, now: Time, via: Via, notify: &Notify) {
        let Some((key, place)) = self.admit(now, via, &Numbered::of_notify(notify)) else {
            return;
        };
        let cover = Cover {
            partner: key,
            seq: notify.seq,
            space: Space::Tagged,
            match_info: 0,
            data: Beside::Nothing,
            length: 0,
        };
        let body = Body::Notify {
            rdma: notify.rdma,
            length: notify.total_length,
        };
        self.on_single(now, &cover, place, body);
    }

    /// Checks a numbered packet and takes its acknowledgement in. `None` when it is not to be looked at further.
    fn admit(&mut self, now: Time, via: Via, packet: &Numbered) -> Option<(Key, Place)> {
        if packet.to != self.config.address.endpoint {
            self.counters.ignore(Ignored::OtherEndpoint);
            return None;
        }
        let known = self.partner_at(via.path, Address::new(via.from, packet.from));
        if packet.session != self.config.session {
            self.counters.ignore(Ignored::BadSession);
            self.reject(via, packet, known);
            return None;
        }
        let Some(key) = known else {
            self.counters.ignore(Ignored::UnknownPartner);
            return None;
        };
        let partner = &mut self.partners[key];
        match partner.link {
            Link::Up { .. } => {}
            // It does not know that we have given it up: it would wait in vain.
            Link::Lost { .. } if partner.connects.is_empty() => {
                self.counters.ignore(Ignored::UnknownPartner);
                self.reject(via, packet, known);
                return None;
            }
            Link::Lost { .. } | Link::Unmet => {
                self.counters.ignore(Ignored::UnknownPartner);
                return None;
            }
        }
        let fits = packet.seq.same_session(partner.receiving.complete)
            && packet.piggyack.same_session(partner.sending.next);
        if !fits {
            self.counters.ignore(Ignored::SessionBits);
            return None;
        }
        partner.heard = now;
        if packet.piggyack != partner.sending.acked {
            self.acknowledge(now, key, packet.piggyack);
        }
        self.place(now, key, packet.seq).map(|place| (key, place))
    }

    /// Where a number stands; `None` when it is of no use.
    fn place(&mut self, now: Time, key: Key, seq: SeqNo) -> Option<Place> {
        let receiving = &self.partners[key].receiving;
        let ahead = seq.distance_from(receiving.complete);
        let next = receiving.next.distance_from(receiving.complete);
        if ahead == next {
            return Some(Place::Next);
        }
        if ahead < next {
            return Some(Place::Begun);
        }
        if ahead <= next.saturating_add(EARLY) {
            return Some(Place::Early);
        }
        // Half of all numbers count as past, half as yet to come.
        if ahead < SeqNo::MODULUS / 2 {
            self.counters.ignore(Ignored::TooEarly);
            self.tell_gap(key);
        } else {
            self.counters.ignore(Ignored::Duplicate);
            // Its acknowledgement was probably lost. The specification asks for an answer to the very last message;
            // one to older ones lets a sender that resends several go on as well.
            self.answer_duplicate(now, key, seq);
        }
        None
    }

    /// Tells the sender that its packet is for a session that is no more.
    fn reject(&mut self, via: Via, packet: &Numbered, known: Option<Key>) {
        let peer_index = known.map_or(PeerIndex::UNKNOWN, |key| self.partners[key].peer_index);
        let frame = Frame::NackLib(NackLib {
            to: packet.from,
            from: packet.to,
            nack: NackKind::BadSession,
            seq: packet.seq,
        });
        let to = via.from;
        self.answer(
            via.path,
            Answer {
                to,
                peer_index,
                frame,
            },
        );
    }

    fn cover(&self, key: Key, head: &MessageHead, length: u32) -> Cover {
        let partner = &self.partners[key];
        let space = if partner.features.contains(Features::SPACES) {
            space_of(head.generation)
        } else {
            Space::Tagged
        };
        Cover {
            partner: key,
            seq: head.seq,
            space,
            match_info: head.match_info,
            data: Beside::Nothing,
            length,
        }
    }

    /// Whether a message brings data for its envelope: who does not know of that may have anything in its head.
    fn brings_data(&self, key: Key, head: &MessageHead) -> bool {
        head.generation & MessageHead::DATA != 0
            && self.partners[key].features.contains(Features::DATA)
    }

    fn take_posted(&mut self, cover: &Cover) -> Option<Key> {
        let tag = Tag {
            match_info: cover.match_info,
            source: self.partners[cover.partner].id,
        };
        self.matcher.take_posted(cover.space, &tag)
    }

    /// A message whose turn has come, or the first piece of one.
    fn on_next_eager(&mut self, now: Time, cover: &Cover, piece: Piece) -> Option<Placement> {
        let key = cover.partner;
        let open = self.partners[key].receiving.open.len();
        if piece.total > 1 && open >= self.config.limits.open_mediums.into() {
            self.counters.ignore(Ignored::TooManyOpen);
            return None;
        }
        let placement = match self.take_posted(cover) {
            Some(receiver) => self.deliver(cover, piece, receiver),
            None => {
                if !self.store_has_room(piece.length, false) {
                    self.counters.ignore(Ignored::StoreFull);
                    self.refuse(key);
                    return None;
                }
                let mut fragments = Fragments::none_of(piece.total);
                fragments.add(piece.number);
                let body = Body::Eager(fragments);
                let incoming = self.insert_incoming(cover, body, Stage::Unwanted);
                self.count_in(incoming);
                self.enter_unexpected(incoming);
                if !fragments.is_complete() {
                    self.open(incoming);
                }
                let target = self.store_target(incoming, piece.offset);
                self.put(piece.payload, target)
            }
        };
        self.advance(now, key, placement.as_ref().map_or(0, |p| p.payload.len()));
        placement
    }

    /// The first piece of a message that a receive was waiting for.
    fn deliver(&mut self, cover: &Cover, piece: Piece, receiver: Key) -> Option<Placement> {
        let record = &self.receivers[receiver];
        let (region, room) = (record.region, record.len);
        if piece.total == 1 {
            let partner = &self.partners[cover.partner];
            let envelope = super::event::Envelope {
                source: partner.id,
                address: partner.address,
                space: cover.space,
                match_info: cover.match_info,
                data: cover.data.get(),
                length: cover.length,
            };
            let length = room.min(cover.length);
            self.finish_receive(
                receiver,
                received_status(length, cover.length),
                envelope,
                length,
            );
        } else {
            let mut fragments = Fragments::none_of(piece.total);
            fragments.add(piece.number);
            let stage = Stage::Bound(receiver);
            let incoming = self.insert_incoming(cover, Body::Eager(fragments), stage);
            self.receivers[receiver].wait = super::receive::Wait::Message(incoming);
            self.open(incoming);
        }
        let offset = piece.offset;
        let target = Target::Region { region, offset };
        self.put(clip(piece.payload, offset, room), Some(target))
    }

    /// A further piece of a message that has begun, or a duplicate.
    fn on_begun_eager(&mut self, now: Time, cover: &Cover, piece: Piece) -> Option<Placement> {
        let Some(incoming) = self.find_open(cover.partner, cover.seq) else {
            self.counters.ignore(Ignored::Duplicate);
            return None;
        };
        if !self.add_piece(incoming, cover, &piece) {
            return None;
        }
        let placement = self.place_piece(incoming, piece);
        if let Body::Eager(fragments) = self.incoming[incoming].body
            && fragments.is_complete()
        {
            self.close_open(incoming);
            self.finish_eager(incoming);
        }
        let bytes = placement.as_ref().map_or(0, |p| p.payload.len());
        self.owe(now, cover.partner, narrow(bytes));
        placement
    }

    /// Takes a piece into its message's account; `false` when it is of no use.
    fn add_piece(&mut self, key: Key, cover: &Cover, piece: &Piece) -> bool {
        let incoming = &mut self.incoming[key];
        let same = incoming.length == cover.length
            && incoming.match_info == cover.match_info
            && incoming.space == cover.space
            && !matches!(cover.data, Beside::Here(_) if cover.data.get() != incoming.data);
        match &mut incoming.body {
            Body::Eager(fragments) if same => {
                fragments.recut(piece.total);
                let news = fragments.add(piece.number);
                if !news {
                    self.counters.ignore(Ignored::Duplicate);
                }
                news
            }
            _ => {
                self.counters.ignore(Ignored::Inconsistent);
                false
            }
        }
    }

    /// Where a piece of a kept message goes.
    fn place_piece(&mut self, key: Key, piece: Piece) -> Option<Placement> {
        let offset = piece.offset;
        if let Some(target) = self.store_target(key, offset) {
            return self.put(piece.payload, Some(target));
        }
        let Stage::Bound(receiver) = self.incoming[key].stage else {
            return None;
        };
        let record = &self.receivers[receiver];
        let region = record.region;
        let payload = clip(piece.payload, offset, record.len);
        self.put(payload, Some(Target::Region { region, offset }))
    }

    /// A piece of a message whose turn will come.
    fn on_early_eager(&mut self, cover: &Cover, piece: Piece) -> Option<Placement> {
        self.tell_gap(cover.partner);
        let incoming = match self.find_early(cover.partner, cover.seq) {
            Ok(incoming) => incoming,
            Err(_) if cover.data == Beside::Before => {
                self.counters.ignore(Ignored::TooEarly);
                return None;
            }
            Err(behind) => {
                let body = Body::Eager(Fragments::none_of(piece.total));
                self.keep_early(cover, body, behind, piece.length)?
            }
        };
        if !self.add_piece(incoming, cover, &piece) {
            return None;
        }
        self.place_piece(incoming, piece)
    }

    /// Keeps a message before its turn, if there is room.
    fn keep_early(
        &mut self,
        cover: &Cover,
        body: Body,
        behind: Option<Key>,
        size: u32,
    ) -> Option<Key> {
        if !self.store_has_room(size, true) {
            self.counters.ignore(Ignored::StoreFull);
            return None;
        }
        let incoming = self.insert_incoming(cover, body, Stage::Early);
        self.count_in(incoming);
        self.insert_early(incoming, behind);
        Some(incoming)
    }

    /// A packet that is a whole message without payload. Tells whether it was taken.
    fn on_single(&mut self, now: Time, cover: &Cover, place: Place, body: Body) -> bool {
        let key = cover.partner;
        match place {
            Place::Begun => {
                self.counters.ignore(Ignored::Duplicate);
                false
            }
            Place::Early => {
                self.tell_gap(key);
                match self.find_early(key, cover.seq) {
                    Ok(_) => {
                        self.counters.ignore(Ignored::Duplicate);
                        false
                    }
                    Err(behind) => self.keep_early(cover, body, behind, 0).is_some(),
                }
            }
            Place::Next => {
                if !self.take_single(now, cover, body) {
                    return false;
                }
                self.advance(now, key, 0);
                let compat = matches!(body, Body::Notify { .. }) && self.is_compat(key);
                if compat && self.partners[key].receiving.open.is_empty() {
                    self.liback_now(key);
                }
                true
            }
        }
    }

    /// Whether a NOTIFY wants an answer at once (section 6.3).
    fn is_compat(&self, key: Key) -> bool {
        let path = self.path(self.partners[key].path);
        path.is_some_and(|path| path.dialect.acknowledges_notify_at_once())
    }

    /// Takes a message without payload whose turn has come.
    fn take_single(&mut self, now: Time, cover: &Cover, body: Body) -> bool {
        if let Body::Notify { rdma, length } = body {
            self.notified(cover.partner, rdma, length);
            return true;
        }
        let receiver = self.take_posted(cover);
        if receiver.is_none() && !self.store_has_room(0, false) {
            self.counters.ignore(Ignored::StoreFull);
            self.refuse(cover.partner);
            return false;
        }
        let incoming = self.insert_incoming(cover, body, Stage::Unwanted);
        let waiting = &mut self.partners[cover.partner].receiving.rendezvous;
        *waiting = waiting.wrapping_add(1);
        match receiver {
            Some(receiver) => self.bind(now, incoming, receiver),
            None => {
                self.count_in(incoming);
                self.enter_unexpected(incoming);
            }
        }
        true
    }

    /// A large message of ours has been taken, `length` bytes of it (section 7.3, step 4).
    fn notified(&mut self, key: Key, rdma: Rdma, length: u32) {
        use super::outgoing::{Kind, Stage};
        let user = self.regions.user(rdma);
        let Some(outgoing) = user.filter(|user| self.outgoing[*user].partner == key) else {
            return self.counters.ignore(Ignored::Unasked);
        };
        match self.outgoing[outgoing].stage {
            Stage::Parked => self.finish_rendezvous(outgoing, length),
            Stage::Unacked | Stage::Queued => {
                if let Kind::Rendezvous { notified, .. } = &mut self.outgoing[outgoing].kind {
                    *notified = Some(length);
                }
            }
        }
    }

    /// A message waits for a receive.
    fn enter_unexpected(&mut self, key: Key) {
        let incoming = &self.incoming[key];
        let tag = Tag {
            match_info: incoming.match_info,
            source: incoming.source,
        };
        let arrived = self.matcher.arrive(incoming.space, tag, key);
        self.incoming[key].stage = Stage::Unexpected(arrived);
        self.counters.unexpected = self.counters.unexpected.wrapping_add(1);
        if self.config.announce_unexpected || self.incoming[key].space == Space::Service {
            let envelope = self.envelope(&self.incoming[key]);
            let id = UnexpectedId::of(&self.incoming, key);
            self.emit(Event::Unexpected { id, envelope });
        }
    }

    /// The message whose turn it was is taken: the next ones may be there already.
    fn advance(&mut self, now: Time, key: Key, bytes: usize) {
        let receiving = &mut self.partners[key].receiving;
        receiving.next = receiving.next.next();
        while let Some(incoming) = self.take_early(key) {
            self.take_turn(now, incoming);
            let receiving = &mut self.partners[key].receiving;
            receiving.next = receiving.next.next();
        }
        self.owe(now, key, narrow(bytes));
    }

    /// An early message's turn has come.
    fn take_turn(&mut self, now: Time, key: Key) {
        let incoming = &self.incoming[key];
        let cover = Cover {
            partner: incoming.partner,
            seq: incoming.seq,
            space: incoming.space,
            match_info: incoming.match_info,
            data: incoming.data.map_or(Beside::Nothing, Beside::Here),
            length: incoming.length,
        };
        match incoming.body {
            Body::Notify { rdma, length } => {
                self.uncount(key);
                self.incoming.discard(key);
                return self.notified(cover.partner, rdma, length);
            }
            Body::Eager(fragments) => {
                if !fragments.is_complete() {
                    self.open(key);
                }
            }
            Body::Rendezvous { .. } => {
                let waiting = &mut self.partners[cover.partner].receiving.rendezvous;
                *waiting = waiting.wrapping_add(1);
            }
            Body::Lost(_) => {}
        }
        match self.take_posted(&cover) {
            Some(receiver) => self.bind(now, key, receiver),
            None => self.enter_unexpected(key),
        }
    }

    /// The placement of what is left of a payload.
    fn put(&mut self, payload: Range<usize>, target: Option<Target>) -> Option<Placement> {
        let target = target.filter(|_| !payload.is_empty())?;
        let bytes = payload.len() as u64;
        self.counters.bytes_in = self.counters.bytes_in.wrapping_add(bytes);
        Some(Placement { payload, target })
    }
}

/// The part of a payload for byte `offset` on that a buffer of `room` bytes has place for.
pub(super) fn clip(payload: Range<usize>, offset: u32, room: u32) -> Range<usize> {
    let room = room.saturating_sub(offset) as usize;
    payload.start..payload.end.min(payload.start.saturating_add(room))
}

fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
