//! Getting the data of large messages: by fetching what is offered, else by PULL (specification, sections 7.3, 7.4).

mod offered;

use std::collections::VecDeque;

use super::Endpoint;
use super::arrive::Via;
use super::counters::Ignored;
use super::event::{Envelope, Event, Placement, Status, Target, Transmit};
use super::ids::{OfferId, PathId, PullId, RegionId};
use super::incoming::Body;
use super::receive::{Wait, received_status};
use super::timing::{Whose, after};
use super::window::Window;
use crate::addr::NicAddr;
use crate::frame::{self, Frame, NackMcp, PullHandle, PullMagic, PullReply, Rdma};
use crate::matching::arena::Key;
use crate::matching::hash::splitmix;
use crate::time::Time;

/// A handle's upper bits are a slot, its lower ones random: a reply to a former pull, or to that of a former endpoint,
/// is recognised.
const SLOT_SHIFT: u32 = 22;

/// So many slots fit a handle.
const SLOTS: usize = 1 << (u32::BITS - SLOT_SHIFT);

/// How a pull stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The driver is reading what was offered.
    Fetching,
    /// Too many are running.
    Waiting,
    /// Asking, in this slot and by this handle.
    Running { slot: u16, handle: PullHandle },
}

/// Data on its way to a receive.
#[derive(Debug)]
pub(super) struct Pull {
    partner: Key,
    receiver: Key,
    region: RegionId,
    envelope: Envelope,
    rdma: Rdma,
    rdma_offset: u16,
    /// Bytes to be transferred: what of the message fits the buffer.
    total: u32,
    stage: Stage,
    /// What is being read, or may be if the partner is slow to answer.
    offer: Option<OfferId>,
    pub(super) path: PathId,
    /// P and K of the path.
    payload: u32,
    block: u32,
    window: Window,
    /// In its path's queue.
    asking: bool,
    /// When data last arrived, or the pull began.
    advanced: Time,
    /// The same, or when the timer last ran out: from here on it runs.
    progress: Time,
    in_vain: u8,
    armed: Option<Time>,
}

impl Pull {
    /// Bytes that the first frame lacks at its front: frames are cut at multiples of P of the sender's region.
    fn skew(&self) -> u32 {
        u32::from(self.rdma_offset)
            .checked_rem(self.payload)
            .unwrap_or(0)
    }

    /// Where in the message a frame begins; its end for the frame after the last one.
    fn offset_of(&self, frame: u32) -> u32 {
        let start = u64::from(frame).saturating_mul(self.payload.into());
        let start = start
            .saturating_sub(self.skew().into())
            .min(self.total.into());
        u32::try_from(start).unwrap_or(self.total)
    }

    /// The frame that begins there.
    fn frame_at(&self, offset: u32) -> Option<u32> {
        if offset == 0 {
            return Some(0);
        }
        let place = u64::from(offset).saturating_add(self.skew().into());
        let payload = u64::from(self.payload);
        if place.checked_rem(payload)? != 0 {
            return None;
        }
        u32::try_from(place.checked_div(payload)?).ok()
    }

    fn frames(&self) -> u32 {
        let bytes = u64::from(self.total).saturating_add(self.skew().into());
        u32::try_from(bytes.div_ceil(self.payload.max(1).into())).unwrap_or(u32::MAX)
    }

    /// The PULL for a run of frames.
    fn request(&self, handle: PullHandle, first: u32, count: u32) -> frame::Pull {
        let start = self.offset_of(first);
        let end = self.offset_of(first.saturating_add(count));
        let skew = if first == 0 { self.skew() } else { 0 };
        frame::Pull {
            to: self.envelope.address.endpoint,
            // The caller's own.
            from: self.envelope.address.endpoint,
            session: crate::addr::SessionId::UNKNOWN,
            total_length: self.total,
            rdma: self.rdma,
            rdma_offset: self.rdma_offset,
            handle,
            magic: PullMagic::from_wire(0),
            first_frame_offset: u16::try_from(skew).unwrap_or(0),
            block_length: end.saturating_sub(start),
            frame_index: first,
        }
    }
}

/// Who runs, who waits, and memory for further ones.
#[derive(Debug)]
pub(super) struct Slots {
    /// The pull in each slot, or NIL.
    slots: Vec<Key>,
    free: Vec<u16>,
    waiting: VecDeque<Key>,
    spare: Vec<Window>,
}

impl Slots {
    /// At most `limit` pulls run at a time.
    pub(super) fn new(limit: usize) -> Self {
        let count = limit.clamp(1, SLOTS);
        let numbers = (0..u16::MAX).take(count);
        Self {
            slots: vec![Key::NIL; count],
            free: numbers.rev().collect(),
            waiting: VecDeque::new(),
            spare: Vec::new(),
        }
    }
}

impl Endpoint {
    /// A large message and a receive have met: gets its data.
    pub(super) fn begin_pull(&mut self, now: Time, key: Key, receiver: Key) {
        let incoming = &self.incoming[key];
        let envelope = self.envelope(incoming);
        let (partner, body) = (incoming.partner, incoming.body);
        self.incoming.discard(key);
        let Body::Rendezvous {
            rdma,
            rdma_offset,
            offer,
            path,
            epoch,
        } = body
        else {
            return;
        };
        self.forget_rendezvous(partner, epoch);
        let record = &self.receivers[receiver];
        let (region, total) = (record.region, record.len.min(envelope.length));
        if total == 0 {
            self.free_offer(offer);
            self.queue_notify(now, partner, rdma, 0);
            let status = received_status(0, envelope.length);
            return self.finish_receive(receiver, status, envelope, 0);
        }
        let fetches = self.path(path).is_some_and(|path| path.profile.fetch);
        let window = self.slots.spare.pop().unwrap_or_default();
        let pull = self.pulls.insert(Pull {
            partner,
            receiver,
            region,
            envelope,
            rdma,
            rdma_offset,
            total,
            stage: Stage::Waiting,
            offer: None,
            path,
            payload: 1,
            block: 1,
            window,
            asking: false,
            advanced: now,
            progress: now,
            in_vain: 0,
            armed: None,
        });
        self.receivers[receiver].wait = Wait::Pull(pull);
        match offer {
            Some(offer) if fetches => {
                let record = &mut self.pulls[pull];
                record.stage = Stage::Fetching;
                record.offer = Some(offer);
                self.emit(Event::Fetch {
                    pull: PullId::of(&self.pulls, pull),
                    offer,
                    to: region,
                    len: total,
                });
            }
            offer => {
                self.free_offer(offer);
                self.run_pull(now, pull);
            }
        }
    }

    /// An offer is of no use (any more).
    pub(super) fn free_offer(&mut self, offer: Option<OfferId>) {
        if let Some(offer) = offer {
            self.emit(Event::OfferFreed { offer });
        }
    }

    /// Begins to ask, or to wait for a slot.
    fn run_pull(&mut self, now: Time, key: Key) {
        let Some(slot) = self.slots.free.pop() else {
            self.slots.waiting.push_back(key);
            return;
        };
        if let Some(place) = self.slots.slots.get_mut(usize::from(slot)) {
            *place = key;
        }
        self.start_pull(now, key, slot);
    }

    /// Begins to ask from the first frame on, by the partner's path as it is now.
    fn start_pull(&mut self, now: Time, key: Key, slot: u16) {
        const RANDOM_BITS: u32 = (1 << SLOT_SHIFT) - 1;
        let [a, b, c, d, ..] = splitmix(&mut self.random).to_be_bytes();
        let random = u32::from_be_bytes([a, b, c, d]) & RANDOM_BITS;
        let handle = PullHandle::new((u32::from(slot) << SLOT_SHIFT) | random);
        let pull = &mut self.pulls[key];
        let partner = &self.partners[pull.partner];
        pull.path = partner.path;
        pull.stage = Stage::Running { slot, handle };
        pull.advanced = now;
        pull.progress = now;
        pull.in_vain = 0;
        pull.asking = false;
        let Some(Some(path)) = self.paths.get(pull.path.place()) else {
            // It starts over when there is a path.
            return;
        };
        let dialect = path.dialect;
        pull.payload = dialect.pull_payload().max(1);
        pull.block = dialect.pull_block_frames();
        /// Blocks asked for at first, as the reference peer does.
        const FIRST_BLOCKS: u32 = 4;
        let usual = pull.block.saturating_mul(FIRST_BLOCKS);
        let limit = match partner.pulling.window.checked_div(pull.payload) {
            None | Some(0) => usual,
            // What the last pull has found out, but a few frames at least.
            Some(frames) => frames.max(pull.block / 2),
        };
        let frames = pull.frames();
        pull.window.restart(frames, limit);
        self.want_to_ask(key);
    }

    /// The pull may have something to ask for.
    fn want_to_ask(&mut self, key: Key) {
        let pull = &mut self.pulls[key];
        if pull.asking || !pull.window.wants_more() {
            return;
        }
        if let Some(Some(path)) = self.paths.get_mut(pull.path.place()) {
            pull.asking = true;
            path.asking.push_back(key);
            self.stirred = true;
        }
    }

    /// The next PULL for a path.
    pub(super) fn next_ask(&mut self, now: Time, id: PathId) -> Option<Transmit> {
        loop {
            let path = self.path_mut(id)?;
            let key = *path.asking.front()?;
            let (allowed, outstanding) = (u64::from(path.profile.pull_window), path.outstanding);
            let pull = self.pulls.peek_mut(key);
            let running = pull.filter(|pull| pull.asking && pull.path == id);
            let Some((pull, handle)) = running.and_then(|pull| match pull.stage {
                Stage::Running { handle, .. } => Some((pull, handle)),
                Stage::Fetching | Stage::Waiting => None,
            }) else {
                self.path_mut(id)?.asking.pop_front();
                continue;
            };
            let room = allowed.saturating_sub(outstanding);
            let room = room.checked_div(pull.payload.into()).unwrap_or(0);
            // A window smaller than a frame must not stop everything.
            let room = u32::try_from(room)
                .unwrap_or(u32::MAX)
                .max((outstanding == 0).into());
            if room == 0 {
                return None;
            }
            let fresh = pull.window.next_fresh();
            let asked = pull.window.ask(now, pull.block, room);
            pull.asking = pull.window.wants_more() && asked.is_some();
            let keeps = pull.asking;
            let bytes = asked.map_or(0, |(_, count)| {
                u64::from(count).saturating_mul(pull.payload.into())
            });
            let request = asked.map(|(first, count)| (first, pull.request(handle, first, count)));
            let path = self.path_mut(id)?;
            path.asking.pop_front();
            if keeps {
                path.asking.push_back(key);
            }
            path.outstanding = path.outstanding.saturating_add(bytes);
            if let Some((first, request)) = request {
                if first != fresh {
                    self.counters.pull_repeats = self.counters.pull_repeats.wrapping_add(1);
                }
                self.counters.pulls_out = self.counters.pulls_out.wrapping_add(1);
                self.arm_pull(key);
                return self.pull_frame(id, key, request);
            }
        }
    }

    fn pull_frame(&self, id: PathId, key: Key, request: frame::Pull) -> Option<Transmit> {
        let own = self.config.address.endpoint;
        let partner = self.pulls[key].partner;
        let request = frame::Pull {
            from: own,
            session: self.partners[partner].session()?,
            magic: PullMagic::for_endpoint(own),
            ..request
        };
        self.to_partner(id, partner, &Frame::Pull(request))
    }

    /// The running pull that a peer means.
    fn pull_of(&self, from: NicAddr, handle: PullHandle, magic: PullMagic) -> Option<Key> {
        if magic != PullMagic::for_endpoint(self.config.address.endpoint) {
            return None;
        }
        let place = usize::try_from(handle.get() >> SLOT_SHIFT).ok()?;
        let key = self.slots.slots.get(place)?.some()?;
        let pull = self.pulls.peek(key)?;
        let current = matches!(pull.stage, Stage::Running { handle: known, .. } if known == handle);
        (current && pull.envelope.address.nic == from).then_some(key)
    }

    /// A piece of data.
    pub(super) fn on_pull_reply(
        &mut self,
        now: Time,
        via: Via,
        reply: &PullReply,
        payload: std::ops::Range<usize>,
    ) -> Option<Placement> {
        let Some(key) = self.pull_of(via.from, reply.handle, reply.magic) else {
            self.counters.ignore(Ignored::Unasked);
            return None;
        };
        let pull = &mut self.pulls[key];
        let frame = pull.frame_at(reply.offset);
        let fits = |frame: &u32| {
            let end = pull.offset_of(frame.saturating_add(1));
            pull.path == via.path
                && *frame < pull.frames()
                && frame.to_le_bytes().first() == Some(&reply.frame_seqnum)
                && end.saturating_sub(reply.offset) == u32::from(reply.length)
        };
        let Some(frame) = frame.filter(fits) else {
            self.counters.ignore(Ignored::Inconsistent);
            return None;
        };
        if !pull.window.expects(frame) {
            self.counters.ignore(Ignored::Duplicate);
            return None;
        }
        let pace = self.partners[pull.partner].pulling.trips.pace();
        let arrived = pull.window.arrive(now, frame, pull.block, pace);
        pull.advanced = now;
        pull.progress = now;
        pull.in_vain = 0;
        let target = Target::Region {
            region: pull.region,
            offset: reply.offset,
        };
        let bytes = u64::from(arrived.settled).saturating_mul(pull.payload.into());
        let complete = pull.window.is_complete();
        let partner = &mut self.partners[pull.partner];
        partner.heard = now;
        if let Some(sample) = arrived.sample {
            partner.pulling.trips.sample(sample);
        }
        if let Some(path) = self.path_mut(via.path) {
            path.outstanding = path.outstanding.saturating_sub(bytes);
        }
        self.counters.bytes_in = self.counters.bytes_in.wrapping_add(payload.len() as u64);
        if complete {
            self.finish_pull(now, key);
        } else {
            self.want_to_ask(key);
            if self.pulls[key].window.loss_due(pace.apart).is_some() {
                self.arm_pull(key);
            }
        }
        Some(Placement { payload, target })
    }

    /// A PULL was rejected (section 8).
    pub(super) fn on_nack_mcp(&mut self, now: Time, from: NicAddr, nack: &NackMcp) {
        match self.pull_of(from, nack.handle, nack.magic) {
            Some(key) => self.fail_pull(now, key, Status::PullFailed),
            None => self.counters.ignore(Ignored::Unasked),
        }
    }

    /// All data is there.
    fn finish_pull(&mut self, now: Time, key: Key) {
        if let Some(pull) = self.take_pull(now, key) {
            self.queue_notify(now, pull.partner, pull.rdma, pull.total);
            let status = received_status(pull.total, pull.envelope.length);
            self.finish_receive(pull.receiver, status, pull.envelope, pull.total);
        }
    }

    /// The data will not come: the receive fails, and the sender is told.
    pub(super) fn fail_pull(&mut self, now: Time, key: Key, status: Status) {
        if let Some(pull) = self.take_pull(now, key) {
            self.queue_notify(now, pull.partner, pull.rdma, 0);
            self.finish_receive(pull.receiver, status, pull.envelope, 0);
        }
    }

    /// The pulls from a lost partner fail.
    pub(super) fn fail_pulls_of(&mut self, now: Time, partner: Key, status: Status) {
        if self.pulls.is_empty() {
            return;
        }
        let keys = self.pulls.keys();
        let keys: Vec<Key> = keys
            .filter(|key| self.pulls[*key].partner == partner)
            .collect();
        for key in keys {
            if let Some(pull) = self.take_pull(now, key) {
                self.finish_receive(pull.receiver, status, pull.envelope, 0);
            }
        }
    }

    /// Whose data is being transferred, or waits for that.
    pub(super) fn pulled_from(&self) -> impl Iterator<Item = Key> {
        self.pulls.keys().map(|key| self.pulls[key].partner)
    }

    /// Takes a pull out, with all that refers to it. Its slot serves the next one.
    fn take_pull(&mut self, now: Time, key: Key) -> Option<Pull> {
        let freed = self.leave_slot(key, Stage::Waiting);
        let mut pull = self.pulls.remove(key)?;
        self.free_offer(pull.offer.take());
        self.slots.spare.push(std::mem::take(&mut pull.window));
        if freed {
            // Now that it cannot be taken for one that waits.
            self.run_waiting(now);
        }
        Some(pull)
    }

    /// What the pull has asked for counts no more. True if it had a slot, which is free now.
    fn leave_slot(&mut self, key: Key, stage: Stage) -> bool {
        self.stop_asking(key);
        let Some(pull) = self.pulls.peek_mut(key) else {
            return false;
        };
        let Stage::Running { slot, .. } = std::mem::replace(&mut pull.stage, stage) else {
            return false;
        };
        if let Some(place) = self.slots.slots.get_mut(usize::from(slot)) {
            *place = Key::NIL;
        }
        self.slots.free.push(slot);
        true
    }

    /// A slot is free.
    fn run_waiting(&mut self, now: Time) {
        while let Some(key) = self.slots.waiting.pop_front() {
            if self
                .pulls
                .peek(key)
                .is_some_and(|pull| pull.stage == Stage::Waiting)
            {
                return self.run_pull(now, key);
            }
        }
    }

    /// What the pull has asked for counts no more.
    fn stop_asking(&mut self, key: Key) {
        let Some(pull) = self.pulls.peek_mut(key) else {
            return;
        };
        pull.asking = false;
        let limit = pull.window.limit();
        let lost = u64::from(pull.window.lose_all()).saturating_mul(pull.payload.into());
        let (id, partner) = (pull.path, pull.partner);
        if matches!(pull.stage, Stage::Running { .. })
            && let Some(partner) = self.partners.peek_mut(partner)
        {
            partner.pulling.window = limit.saturating_mul(pull.payload);
        }
        if let Some(path) = self.path_mut(id) {
            path.outstanding = path.outstanding.saturating_sub(lost);
        }
    }

    /// The pulls of a path that is gone, or was replaced, start over.
    pub(super) fn restart_pulls(&mut self, now: Time, id: PathId) {
        let keys: Vec<Key> = self.pulls.keys().collect();
        for key in keys {
            let pull = &self.pulls[key];
            if pull.path == id
                && let Stage::Running { slot, .. } = pull.stage
            {
                self.stop_asking(key);
                self.start_pull(now, key, slot);
            }
        }
    }

    /// When nothing of a pull has come for too long.
    fn pull_timeout(&self, key: Key) -> Option<Time> {
        let pull = &self.pulls[key];
        let since = pull.window.last_sent()?.max(pull.progress);
        let trips = self.partners[pull.partner].pulling.trips;
        Some(after(
            since,
            trips.timeout(&self.config.timers, pull.in_vain),
        ))
    }

    /// When a pull is to ask again for what has not come.
    fn pull_due(&self, key: Key) -> Option<Time> {
        let pull = &self.pulls[key];
        let pace = self.partners[pull.partner].pulling.trips.pace();
        let lost = pull.window.loss_due(pace.apart);
        let timeout = self.pull_timeout(key)?;
        Some(lost.map_or(timeout, |lost| lost.min(timeout)))
    }

    fn arm_pull(&mut self, key: Key) {
        if let Some(due) = self.pull_due(key) {
            let armed = &mut self.pulls[key].armed;
            self.schedule.arm(armed, due, Whose::Pull(key));
        }
    }

    /// A pull's timer has gone off.
    pub(super) fn on_pull_timer(&mut self, now: Time, key: Key, due: Time) {
        match self.pulls.peek_mut(key) {
            Some(pull) if pull.armed == Some(due) => pull.armed = None,
            _ => return,
        }
        if self.pull_due(key).is_none_or(|due| due > now) {
            return self.arm_pull(key);
        }
        let pull = &mut self.pulls[key];
        let apart = self.partners[pull.partner].pulling.trips.pace().apart;
        let late = pull.window.give_up_passed(now, apart);
        if late > 0 {
            return self.ask_again(key, late);
        }
        if after(pull.advanced, self.config.timers.give_up) <= now {
            return self.fail_pull(now, key, Status::Unreachable);
        }
        self.counters.timeouts = self.counters.timeouts.wrapping_add(1);
        let pull = &mut self.pulls[key];
        pull.in_vain = pull.in_vain.saturating_add(1);
        pull.progress = now;
        let lost = pull.window.lose_all();
        self.ask_again(key, lost);
    }

    /// So many frames of a pull are outstanding no more: there is room for others.
    fn ask_again(&mut self, key: Key, lost: u32) {
        let pull = &self.pulls[key];
        let (id, bytes) = (
            pull.path,
            u64::from(lost).saturating_mul(pull.payload.into()),
        );
        if let Some(path) = self.path_mut(id) {
            path.outstanding = path.outstanding.saturating_sub(bytes);
        }
        self.want_to_ask(key);
        self.arm_pull(key);
    }
}
