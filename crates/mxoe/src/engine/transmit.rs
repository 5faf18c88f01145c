//! What goes out next on a path.
//!
//! First what keeps others going: answers, handshakes, acknowledgements, NOTIFYs, requests for data. Then data, by deficit
//! round robin over the flows that have some. A partner has two flows, its messages and what it pulls, so that neither
//! holds the other up.

use std::collections::VecDeque;

use super::Endpoint;
use super::config::PathProfile;
use super::counters::Ignored;
use super::event::{SendMode, Slice, Transmit};
use super::ids::PathId;
use super::outgoing::DATA_BYTES;
use super::outgoing::Kind;
use super::partner::{Flow, Partner, Turn};
use crate::addr::{Address, NicAddr, PeerIndex};
use crate::frame::{
    Dialect, EthHead, Features, Frame, Head, Medium, MessageHead, Notify, Rdma, Rndv, Small, Tiny,
};
use crate::matching::Space;
use crate::matching::arena::Key;
use crate::time::Time;

/// Bytes that a flow may send in one turn: a few frames, so that turns come often and are not all overhead.
const QUANTUM: i64 = 16 << 10;

/// A frame that belongs to no partner's state: a rejection, or the reply to a connect request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) to: NicAddr,
    pub(super) peer_index: PeerIndex,
    pub(super) frame: Frame,
}

/// A way that frames take, and what waits for it.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) profile: PathProfile,
    /// What frames look like.
    pub(super) dialect: Dialect,
    /// The only one whose frames may come by it.
    pub(super) peer: Option<Address>,
    /// The partner whose frame came last, by packed address.
    pub(super) last_partner: Option<(u64, Key)>,
    pub(super) answers: VecDeque<Answer>,
    /// Partners with control frames. May hold some that have none any more.
    control: VecDeque<Key>,
    /// Flows with data. May hold some that have none any more.
    data: VecDeque<(Key, Flow)>,
    /// Pulls that want to ask for more.
    pub(super) asking: VecDeque<Key>,
    /// Bytes that pulls have asked for and that have not arrived.
    pub(super) outstanding: u64,
}

impl Path {
    pub(super) fn new(profile: PathProfile) -> Self {
        Self {
            profile,
            dialect: profile.frames(),
            peer: None,
            last_partner: None,
            answers: VecDeque::new(),
            control: VecDeque::new(),
            data: VecDeque::new(),
            asking: VecDeque::new(),
            outstanding: 0,
        }
    }
}

impl Path {
    /// Whether there may be anything to send before data.
    fn is_urgent(&self) -> bool {
        !(self.answers.is_empty() && self.control.is_empty() && self.asking.is_empty())
    }
}

impl Partner {
    /// The turn of one of its flows.
    fn turn(&mut self, flow: Flow) -> &mut Turn {
        match flow {
            Flow::Messages => &mut self.messages,
            Flow::Replies => &mut self.replies,
        }
    }
}

/// A frame's bytes as far as turns are concerned: also an empty one costs something.
fn cost(transmit: &Transmit) -> i64 {
    let payload = transmit.payload.map_or(0, |slice| slice.len);
    i64::from(payload).saturating_add(64)
}

impl Endpoint {
    pub(super) fn path(&self, id: PathId) -> Option<&Path> {
        self.paths.get(id.place())?.as_ref()
    }

    pub(super) fn path_mut(&mut self, id: PathId) -> Option<&mut Path> {
        self.paths.get_mut(id.place())?.as_mut()
    }

    /// A partner has something for the control queue.
    pub(super) fn wake_control(&mut self, key: Key) {
        let partner = &mut self.partners[key];
        if partner.in_control {
            return;
        }
        if let Some(Some(path)) = self.paths.get_mut(partner.path.place()) {
            partner.in_control = true;
            path.control.push_back(key);
            self.stirred = true;
        }
    }

    /// A partner has data for one of its flows.
    pub(super) fn wake_data(&mut self, key: Key, flow: Flow) {
        let path = match flow {
            Flow::Messages => self.partners[key].path,
            Flow::Replies => match self.partners[key].jobs.first() {
                Some(job) => self.jobs[job].path,
                None => return,
            },
        };
        let turn = self.turn(key, flow);
        if turn.queued {
            return;
        }
        turn.credit = QUANTUM;
        if let Some(path) = self.path_mut(path) {
            path.data.push_back((key, flow));
            self.turn(key, flow).queued = true;
            self.stirred = true;
        }
    }

    fn turn(&mut self, key: Key, flow: Flow) -> &mut Turn {
        self.partners[key].turn(flow)
    }

    /// Queues an answer for the path its cause came by.
    pub(super) fn answer(&mut self, path: PathId, answer: Answer) {
        let limit = self.config.limits.answers;
        let Some(path) = self.path_mut(path) else {
            return;
        };
        if path.answers.len() >= limit {
            self.counters.ignore(Ignored::TooManyAnswers);
            return;
        }
        path.answers.push_back(answer);
        self.stirred = true;
    }

    /// Whether there may be a frame for a path: false spares looking for room.
    #[inline]
    pub fn may_transmit(&self, path: PathId) -> bool {
        self.path(path)
            .is_some_and(|path| path.is_urgent() || !path.data.is_empty())
    }

    /// The same for any path. Costs next to nothing where nothing has come up for a while.
    #[inline]
    pub fn may_transmit_any(&mut self) -> bool {
        self.stirred && self.is_stirred()
    }

    fn is_stirred(&mut self) -> bool {
        let waits = |path: &Path| path.is_urgent() || !path.data.is_empty();
        self.stirred = self.paths.iter().flatten().any(waits);
        self.stirred
    }

    /// The next frame for a path that has room for one; `None` when there is none. What it names is to be gathered
    /// before the engine is called again.
    pub fn poll_transmit(&mut self, now: Time, path: PathId) -> Option<Transmit> {
        self.date(now);
        // A frame is moved as seldom as may be: it is some hundred bytes.
        let urgent = self.path(path)?.is_urgent();
        let mut next = None;
        if urgent {
            next = self.next_urgent(now, path);
        }
        if next.is_none() {
            next = self.next_data(now, path);
        }
        if let Some(transmit) = &next {
            self.counters.frames_out = self.counters.frames_out.wrapping_add(1);
            if let Some(slice) = transmit.payload {
                self.counters.bytes_out = self.counters.bytes_out.wrapping_add(slice.len.into());
            }
        }
        next
    }

    /// The next frame that keeps others going.
    fn next_urgent(&mut self, now: Time, id: PathId) -> Option<Transmit> {
        self.next_answer(id)
            .or_else(|| self.next_control(now, id))
            .or_else(|| self.next_ask(now, id))
    }

    fn next_answer(&mut self, id: PathId) -> Option<Transmit> {
        let source = self.config.address.nic;
        let path = self.path_mut(id)?;
        let Answer {
            to,
            peer_index,
            frame,
        } = path.answers.pop_front()?;
        let dialect = path.dialect;
        if matches!(frame, Frame::NackLib(_) | Frame::NackMcp(_)) {
            self.counters.nacks_out = self.counters.nacks_out.wrapping_add(1);
        }
        let eth = EthHead {
            destination: to,
            source,
            peer_index,
        };
        Some(transmit(dialect, &eth, &frame))
    }

    fn next_control(&mut self, now: Time, id: PathId) -> Option<Transmit> {
        loop {
            let key = *self.path(id)?.control.front()?;
            let partner = self.partners.peek_mut(key);
            if let Some(partner) = partner
                && partner.in_control
                && partner.path == id
            {
                if let Some(transmit) = self.control_frame(now, id, key) {
                    return Some(transmit);
                }
                self.partners[key].in_control = false;
            }
            self.path_mut(id)?.control.pop_front();
        }
    }

    /// The next control frame for a partner.
    fn control_frame(&mut self, now: Time, id: PathId, key: Key) -> Option<Transmit> {
        let frame = self.next_connect(now, key).or_else(|| self.next_probe(key));
        if let Some(frame) = frame.or_else(|| self.next_liback(key)) {
            return self.to_partner(id, key, &frame);
        }
        let notify = self.partners[key].sending.notifies.first()?;
        if !self.has_window(key, 0) {
            // An acknowledgement will wake it.
            return None;
        }
        self.number(now, notify);
        self.arm(key);
        self.message_frame(now, id, notify)
    }

    /// A frame without payload to a partner.
    pub(super) fn to_partner(&self, id: PathId, key: Key, frame: &Frame) -> Option<Transmit> {
        let eth = self.partners[key].eth(self.config.address.nic);
        Some(transmit(self.path(id)?.dialect, &eth, frame))
    }

    /// The next frame with data, from the flow whose turn it is.
    #[inline]
    fn next_data(&mut self, now: Time, id: PathId) -> Option<Transmit> {
        loop {
            let path = self.paths.get_mut(id.place())?.as_mut()?;
            let (key, flow) = *path.data.front()?;
            // An entry may be left over from before the partner moved to another path, where it has another one now.
            let here = self.partners.peek_mut(key);
            let here = here.filter(|partner| flow == Flow::Replies || partner.path == id);
            let turn = here.map(|partner| partner.turn(flow));
            let Some(turn) = turn.filter(|turn| turn.queued) else {
                path.data.pop_front();
                continue;
            };
            if turn.credit <= 0 {
                turn.credit = turn.credit.saturating_add(QUANTUM);
                path.data.rotate_left(1);
                continue;
            }
            let transmit = match flow {
                Flow::Messages => self.next_message(now, id, key),
                Flow::Replies => self.next_reply(id, key),
            };
            if let Some(frame) = &transmit {
                let turn = self.turn(key, flow);
                turn.credit = turn.credit.saturating_sub(cost(frame));
                return transmit;
            }
            self.path_mut(id)?.data.pop_front();
            self.turn(key, flow).queued = false;
            if flow == Flow::Replies {
                // What it has next may be for another path.
                self.wake_data(key, flow);
            }
        }
    }

    /// The next frame of a partner's messages: of the one being cut, of one to be sent again, or of the next one.
    #[inline]
    fn next_message(&mut self, now: Time, id: PathId, key: Key) -> Option<Transmit> {
        let partner = &self.partners[key];
        if partner.path != id || partner.session().is_none() {
            return None;
        }
        let sending = &partner.sending;
        let queued = sending.queued.first();
        if let Some(cutting) = sending.cutting.some() {
            return self.message_frame(now, id, cutting);
        }
        if let Some(again) = self.next_resend(key) {
            let outgoing = &mut self.outgoing[again];
            outgoing.resent = true;
            outgoing.fragment = 0;
            self.counters.resends = self.counters.resends.wrapping_add(1);
            self.arm(key);
            return self.message_frame(now, id, again);
        }
        let next = queued?;
        self.begin_message(now, id, next)?;
        self.arm_resend(now, key);
        self.message_frame(now, id, next)
    }

    /// Gives the next queued message its number, if it may go out now.
    #[inline]
    fn begin_message(&mut self, now: Time, id: PathId, next: Key) -> Option<()> {
        let outgoing = &self.outgoing[next];
        let (key, len, kind) = (outgoing.partner, outgoing.len, outgoing.kind);
        let eager = match kind {
            Kind::Message {
                mode: SendMode::Standard,
            } => {
                // By another path it must fit as well: frames may be shorter there.
                let whole = len.saturating_add(outgoing.data_bytes());
                len <= self.config.eager_max && whole <= self.path(id)?.profile.dialect.max_medium()
            }
            _ => false,
        };
        if !self.has_window(key, if eager { len } else { 0 }) {
            return None;
        }
        if !eager && matches!(kind, Kind::Message { .. }) {
            let Some(rdma) = self.regions.take(next) else {
                self.wait_for_region(key);
                return None;
            };
            self.outgoing[next].kind = Kind::Rendezvous {
                rdma,
                notified: None,
            };
        }
        self.number(now, next);
        Some(())
    }

    /// A frame of a numbered message: the next fragment of a MEDIUM, the only one of all others.
    #[inline]
    pub(super) fn message_frame(&mut self, now: Time, id: PathId, key: Key) -> Option<Transmit> {
        // Nothing of what data take is left in the frames of the many messages that bring none.
        if self.outgoing[key].data.is_some() {
            return self.message_frame_with_data(now, id, key);
        }
        self.message_frame_as::<false>(now, id, key)
    }

    #[cold]
    fn message_frame_with_data(&mut self, now: Time, id: PathId, key: Key) -> Option<Transmit> {
        self.message_frame_as::<true>(now, id, key)
    }

    #[inline]
    fn message_frame_as<const DATA: bool>(
        &mut self,
        now: Time,
        id: PathId,
        key: Key,
    ) -> Option<Transmit> {
        let path = self.path(id)?;
        let (dialect, fetch) = (path.dialect, path.profile.fetch);
        let own = self.config.address;
        let outgoing = &mut self.outgoing[key];
        outgoing.sent = now;
        let owner = outgoing.partner;
        let partner = &mut self.partners[owner];
        let head = MessageHead {
            to: partner.address.endpoint,
            from: own.endpoint,
            generation: generation(partner.features, outgoing.space, DATA),
            checksum: 0,
            seq: outgoing.seq,
            piggyack: partner.receiving.complete,
            match_info: outgoing.match_info,
            session: partner.session()?,
        };
        let eth = partner.eth(own.nic);
        let mut slice = Slice {
            region: outgoing.region,
            offset: 0,
            len: outgoing.len,
        };
        let mut carries = Carries::Payload;
        let mut data = if DATA { outgoing.data } else { None };
        let before = if DATA { DATA_BYTES } else { 0 };
        let whole = slice.len.saturating_add(before);
        let frame = match (outgoing.kind, u8::try_from(whole)) {
            (Kind::Message { .. }, Ok(length @ ..=Tiny::MAX)) => Frame::Tiny(Tiny { head, length }),
            (Kind::Message { .. }, Ok(length @ ..=Small::MAX)) => {
                Frame::Small(Small { head, length })
            }
            (Kind::Message { .. }, _) => {
                let mut medium = Medium {
                    head,
                    length: whole,
                    fragment: outgoing.fragment,
                };
                let mut range = medium.range(dialect);
                if range.start >= medium.length && medium.fragment > 0 {
                    // Begun on a path of shorter frames, which is gone: what went out there is lost.
                    medium.fragment = 0;
                    outgoing.fragment = 0;
                    range = medium.range(dialect);
                }
                // The message's first bytes are the data, and the first fragment's.
                slice.offset = range.start.saturating_sub(before);
                slice.len = range.end.saturating_sub(before.max(range.start));
                data = data.filter(|_| medium.fragment == 0);
                outgoing.fragment = outgoing.fragment.saturating_add(1);
                let more = range.end < medium.length;
                partner.sending.cutting = if more { key } else { Key::NIL };
                Frame::Medium(medium)
            }
            (Kind::Rendezvous { rdma, .. }, _) => {
                carries = Carries::Offer;
                rendezvous(head, slice.len, rdma, data.take())
            }
            (Kind::Notify { rdma, length }, _) => {
                carries = Carries::Nothing;
                notify(&head, rdma, length)
            }
        };
        if partner.receiving.settle() {
            self.owed = self.owed.wrapping_sub(1);
        }
        let slice = (slice.len > 0).then_some(slice);
        // Made where it is returned: wrapped afterwards, it would be moved once more.
        let mut transmit = Some(Transmit {
            to: eth.destination,
            head: Head::new(),
            payload: slice.filter(|_| carries == Carries::Payload),
            offer: slice.filter(|_| carries == Carries::Offer && fetch),
        });
        if let Some(transmit) = &mut transmit {
            frame.emit(dialect, &eth, &mut transmit.head);
            if let Some(data) = data {
                transmit.head.append(data.to_be_bytes());
            }
        }
        transmit
    }
}

/// What a frame brings besides its head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    Payload,
    Offer,
    Nothing,
}

fn rendezvous(head: MessageHead, length: u32, rdma: Rdma, data: Option<u64>) -> Frame {
    Frame::Rndv(Rndv {
        head,
        length,
        rdma,
        rdma_offset: 0,
        data,
    })
}

fn notify(head: &MessageHead, rdma: Rdma, length: u32) -> Frame {
    Frame::Notify(Notify {
        to: head.to,
        from: head.from,
        session: head.session,
        total_length: length,
        rdma,
        seq: head.seq,
        piggyack: head.piggyack,
    })
}

/// A frame without payload.
#[inline]
pub(super) fn transmit(dialect: Dialect, eth: &EthHead, frame: &Frame) -> Transmit {
    // The head is written where it stays.
    let mut transmit = Transmit {
        to: eth.destination,
        head: Head::new(),
        payload: None,
        offer: None,
    };
    frame.emit(dialect, eth, &mut transmit.head);
    transmit
}

/// Byte 3 of a message: the matching space, towards those who look at it, and whether it brings data.
#[inline]
pub(super) fn generation(features: Features, space: Space, data: bool) -> u8 {
    let space = match space {
        Space::Plain if features.contains(Features::SPACES) => 1,
        Space::Service => 2,
        Space::Plain | Space::Tagged => 0,
    };
    if data {
        space | MessageHead::DATA
    } else {
        space
    }
}
