//! An endpoint's works: the engine, its paths, the memory behind its names. One lock holds it all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use mxoe::addr::Address;
use mxoe::engine::{
    self, Arrival, ClaimedReceive, Event, PathId, RegionId, Space, Status, Taken, Target, Transmit,
    UnexpectedId,
};
use mxoe::frame::{Dialect, HEAD_BYTES};
use mxoe::time::Time;
use myrixen_platform::Ready;
use myrixen_ring::{PeerFault, ReserveError};
use slab::Slab;

use crate::buffer::Memory;
use crate::driver::Driver;
use crate::error::Result;
use crate::fetch::{Fetch, Fetches};
use crate::message::Match;
use crate::offer::{self, Guard, Guards, MAX_HINT, OWN_HINT, Offer, Offers};
use crate::path::{Incarnation, Path};
use crate::region::{Regions, Store};
use crate::request::{Ended, Key, Outcome, Requests};
use crate::shorts;
use crate::standby::Standby;

/// Whoever looks on, and could go on or let others go on at some cost, does so after this many turns that have found nothing: a microsecond or two, in which a
/// partner that looks on has answered.
pub(crate) const FRUITLESS_TURNS: u32 = 8;
/// Records taken from one path in one visit.
const RECEIVE_BUDGET: usize = 64;
/// Turns at single paths between two whole ones.
const SHORT_TURNS: u32 = 16;
/// Messages that are taken straight, without a turn, between two of these.
const STRAIGHT_TURNS: u32 = 128;
/// Bytes kept for sends that were reported complete early, per endpoint.
pub(crate) const RETAINED_CAP: usize = 16 << 20;

/// A message that nobody waited for, to be shown to the program's handler.
pub(crate) struct Announced {
    pub(crate) id: UnexpectedId,
    pub(crate) envelope: engine::Envelope,
}

/// Something that the control side of the endpoint has to act on, outside the lock.
pub(crate) enum Note {
    /// Connected to this partner, and it is for us to ask for a direct channel.
    Met(Address),
    /// A path's other end broke the rules or is gone.
    PathLost(PathId, Incarnation),
}

/// See the module.
pub(crate) struct Core {
    pub(crate) engine: engine::Endpoint,
    pub(crate) paths: Slab<Path>,
    pub(crate) regions: Regions,
    pub(crate) requests: Requests,
    pub(crate) announced: VecDeque<Announced>,
    pub(crate) notes: Vec<Note>,
    pub(crate) wakers: Vec<Waker>,
    /// Threads that sleep until some request ends.
    pub(crate) waiters: usize,
    /// A request has ended since the waiters were last told.
    pub(crate) ended: bool,
    /// Whoever goes out may have something to hand on, or somebody to tell. Set wherever that begins, and taken back by who finds that it is over: so most
    /// need not look at all that it stands for.
    pub(crate) errand: bool,
    /// The other ends of the paths have been told that we look on.
    pub(crate) looking: bool,
    /// How many times waits were told to end.
    pub(crate) wakeups: u64,
    /// How much has been done, without avail, for programs that look for ends without waiting, since the last send whose end need not be acknowledged.
    pub(crate) patience: u32,
    /// Turns that have found nothing since one that did.
    fruitless: u32,
    /// Times that something came since we sent a message, or waited for long.
    pub(crate) one_way: u32,
    /// Turns at single paths since the last whole one.
    short_turns: u32,
    /// Messages that were taken straight, without a turn, since then.
    straight_turns: u32,
    /// A receive that the engine has not been told of.
    pub(crate) standby: Option<Standby>,
    /// Frames wait for room on some path.
    blocked: bool,
    /// On which path a message has come, and when, of which only what the program waited for has been done.
    pub(crate) arrears: Option<(usize, Time)>,
    /// Frames were put into the ring to the back end since it was last looked at.
    pub(crate) sent: bool,
    pub(crate) dialect: Dialect,
    /// Messages up to this length go eagerly.
    pub(crate) eager_max: u32,
    /// Where the frame of a short message is put together.
    pub(crate) frame: Transmit,
    /// Direct channels are wanted.
    direct: bool,
    /// Of a back end that the program drives: whoever sends gives it a turn.
    pub(crate) driver: Option<Arc<dyn Driver>>,
    pub(crate) store: Store,
    pub(crate) offers: Offers,
    pub(crate) fetches: Fetches,
    guards: Option<Guards>,
    /// A binding looks at service messages.
    pub(crate) serves: bool,
    /// Those it has not seen yet.
    pub(crate) requested: VecDeque<Announced>,
    /// Those that nobody will look at.
    refused: Vec<UnexpectedId>,
    /// Guards of rendezvous sends in flight, by region.
    pub(crate) guarded: Vec<(RegionId, Guard)>,
}

/// What an endpoint starts with.
pub(crate) struct Start {
    pub(crate) engine: engine::Endpoint,
    pub(crate) dialect: Dialect,
    /// Messages up to this length go eagerly.
    pub(crate) eager_max: u32,
    /// Direct channels are wanted.
    pub(crate) direct: bool,
    /// Of the back end, where the program drives it.
    pub(crate) driver: Option<Arc<dyn Driver>>,
    pub(crate) guards: Option<Guards>,
}

impl Core {
    pub(crate) fn new(start: Start) -> Self {
        Self {
            engine: start.engine,
            paths: Slab::new(),
            regions: Regions::default(),
            requests: Requests::default(),
            announced: VecDeque::new(),
            notes: Vec::new(),
            wakers: Vec::new(),
            waiters: 0,
            ended: false,
            errand: false,
            looking: false,
            wakeups: 0,
            patience: 0,
            fruitless: 0,
            one_way: 0,
            short_turns: 0,
            straight_turns: 0,
            standby: None,
            blocked: false,
            arrears: None,
            sent: false,
            dialect: start.dialect,
            eager_max: start.eager_max,
            frame: Transmit::new(),
            direct: start.direct,
            driver: start.driver,
            store: Store::default(),
            offers: Offers::default(),
            fetches: Fetches::default(),
            guards: start.guards,
            serves: false,
            requested: VecDeque::new(),
            refused: Vec::new(),
            guarded: Vec::new(),
        }
    }

    /// Everything that can be done without waiting. True if anything was. `looks_on` says that the next turn comes at once, whatever this one
    /// has found.
    pub(crate) fn turn(&mut self, now: Time, looks_on: bool) -> bool {
        self.short_turns = 0;
        self.straight_turns = 0;
        self.date(now);
        let mut busy = false;
        for at in 0..self.paths.capacity() {
            if self.is_live(at) {
                busy |= self.receive(now, at, &mut Self::end_taken);
            }
        }
        busy |= self.fetch(now, looks_on);
        if !self.refused.is_empty() {
            self.refuse_services(now);
            self.events();
        }
        if self.engine.next_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
            self.events();
        }
        busy |= self.transmit(now);
        self.fruitless = if busy {
            0
        } else {
            self.fruitless.saturating_add(1)
        };
        if self.fruitless == FRUITLESS_TURNS {
            self.engine.flush_large_acks(now);
            self.transmit(now);
        }
        busy
    }

    /// Does what short messages have left for later.
    #[inline]
    pub(crate) fn date(&mut self, now: Time) {
        if self.engine.has_undated() {
            self.engine.date(now);
            self.events();
        }
    }

    /// As [`turn`](Self::turn), for a path on which a look has found something. All else waits for the next turn, which is never far: before anybody
    /// sleeps, when this has not brought what was waited for, and after a few of these.
    /// Receives that short messages complete end by `end`, unless that turn has to be a whole one.
    pub(crate) fn turn_at(
        &mut self,
        now: Time,
        looks_on: bool,
        at: usize,
        end: &mut impl FnMut(&mut Self, &Taken),
    ) -> bool {
        self.short_turns += 1;
        let whole = self.short_turns > SHORT_TURNS || self.straight_turns >= STRAIGHT_TURNS;
        if whole || !self.is_live(at) {
            return self.turn(now, looks_on);
        }
        self.fruitless = 0;
        let busy = self.receive(now, at, end);
        if self.fetches.has_reads() {
            // What was offered is not overtaken by what comes behind it.
            return self.turn(now, looks_on) | busy;
        }
        busy | self.transmit(now)
    }

    /// Whether what has come on a path may be taken without a turn.
    #[inline]
    pub(crate) fn may_turn_straight(&self) -> bool {
        self.straight_turns < STRAIGHT_TURNS && !self.fetches.has_reads()
    }

    /// It was: as for [`turn_at`](Self::turn_at), all else waits.
    #[inline]
    pub(crate) fn begin_straight_turn(&mut self) {
        self.straight_turns += 1;
        self.fruitless = 0;
    }

    /// Whether a turn can be left out, where a look has found nothing: there is nothing else to do, and it is not long since a whole one. It counts as one
    /// that has found nothing.
    pub(crate) fn rests(&mut self, now: Time) -> bool {
        // While there is time, and not when something has come.
        self.date(now);
        let due = self.engine.next_timeout().is_some_and(|due| due <= now);
        let idle = self.fetches.is_empty() && self.refused.is_empty();
        let fruitless = self.fruitless.saturating_add(1);
        if due
            || !idle
            || fruitless == FRUITLESS_TURNS
            || self.short_turns >= SHORT_TURNS
            || self.straight_turns >= STRAIGHT_TURNS
            || self.may_transmit()
        {
            return false;
        }
        self.short_turns += 1;
        self.fruitless = fruitless;
        true
    }

    /// Whether the last turn has found nothing.
    #[inline]
    pub(crate) fn has_found_nothing(&self) -> bool {
        self.fruitless > 0
    }

    pub(crate) fn is_live(&self, at: usize) -> bool {
        self.paths.get(at).is_some_and(|path| !path.dead)
    }

    /// Takes what has arrived on a path, within a budget; no more than what a program has waited for, if it waits for nothing else: the next message
    /// would be put aside, and taken from there by a receive that is about to be posted, which is dearer than to leave it where it is.
    #[inline(never)]
    fn receive(&mut self, now: Time, at: usize, end: &mut impl FnMut(&mut Self, &Taken)) -> bool {
        self.settle_standby(|| now);
        let mut taken = 0;
        while taken < RECEIVE_BUDGET {
            match self.receive_one(now, at, end) {
                Ok(true) if self.ended && !self.engine.has_posted() => {
                    taken += 1;
                    break;
                }
                Ok(true) => taken += 1,
                Ok(false) => break,
                Err(_) => {
                    self.lose(at);
                    return true;
                }
            }
        }
        if taken > 0 {
            self.have_received(now, at);
        } else if self.is_over(at) {
            self.lose(at);
            return true;
        }
        taken > 0
    }

    /// Takes what is left on a path that is about to be let go of, or of whose other end there is bad news: whoever has ended sends nothing a second time. No more
    /// than the ring holds, for the other end may be there and go on.
    pub(crate) fn take_rest(&mut self, now: Time, at: usize) {
        self.settle_standby(|| now);
        let most = self.paths.get(at).map_or(0, Path::most_records);
        let mut taken = 0;
        // A ring that is broken holds nothing more.
        while taken < most && matches!(self.receive_one(now, at, &mut Self::end_taken), Ok(true)) {
            taken += 1;
        }
        if taken > 0 {
            self.have_received(now, at);
        }
    }

    /// Something was taken from a path.
    #[inline(always)]
    pub(crate) fn have_received(&mut self, now: Time, at: usize) {
        self.one_way = self.one_way.saturating_add(1);
        let path = &mut self.paths[at];
        path.pace.heard();
        path.release();
        if path.is_loop_back() {
            self.engine.acknowledge_own(now);
            self.events();
        }
    }

    /// Whether nothing more comes from the other end, and all that came before is taken.
    fn is_over(&mut self, at: usize) -> bool {
        let path = &mut self.paths[at];
        // ring-abi.md, Close: first the word, then the ring.
        (path.hung_up || path.consumer.is_closed())
            && path.consumer.peek().is_ok_and(|next| next.is_none())
    }

    #[inline(always)]
    fn receive_one(
        &mut self,
        now: Time,
        at: usize,
        end: &mut impl FnMut(&mut Self, &Taken),
    ) -> Result<bool, PeerFault> {
        let path = &mut self.paths[at];
        let Some(record) = path.consumer.peek()? else {
            return Ok(false);
        };
        let mut head = [0; HEAD_BYTES];
        let len = record.len();
        let head = &mut head[..len.min(HEAD_BYTES)];
        path.consumer.read(&record, 0, head);
        if record.hint_len() == 0 && self.take_short(now, at, &record, head, end) {
            self.paths[at].consumer.advance(record);
            self.events();
            return Ok(true);
        }
        let path = &mut self.paths[at];
        let offer = match &path.direct {
            Some(direct) if record.hint_len() > 0 => {
                let mut hint = [0; MAX_HINT];
                let hint = &mut hint[..record.hint_len().min(MAX_HINT)];
                path.consumer.read_hint(&record, hint);
                Offer::parse(hint, &direct.theirs, at).and_then(|offer| self.offers.add(offer))
            }
            None if record.hint_len() == OWN_HINT && path.is_loop_back() => {
                let mut hint = [0; OWN_HINT];
                path.consumer.read_hint(&record, &mut hint);
                self.offers.add(Offer::own(hint))
            }
            _ => None,
        };
        if let Some(from) = path.source(head) {
            let arrival = Arrival {
                path: path.id,
                from,
                head,
                len,
                offer,
            };
            // A frame that cannot be read is counted by the engine and goes no further.
            if let Ok(Some(placement)) = self.engine.handle_frame(now, arrival) {
                let from = placement.payload.start;
                let len = placement.payload.len();
                let path = &self.paths[at];
                match placement.target {
                    Target::Region { region, offset } => {
                        self.regions
                            .write(region, offset as usize, len, |at, piece| {
                                path.consumer.read(&record, from + at, piece);
                            });
                    }
                    Target::Store { id, size, offset } => {
                        let entry = self.store.entry(id, size as usize);
                        if let Some(into) = entry.get_mut(offset as usize..offset as usize + len) {
                            path.consumer.read(&record, from, into);
                        }
                    }
                }
            }
        }
        self.paths[at].consumer.advance(record);
        self.events();
        Ok(true)
    }

    /// Posts a receive, and sees to a message that is there already: it may be large where it comes from, and to be asked for. What time it is is asked
    /// then only. `begun` takes note of the engine's request before anything comes of it.
    #[inline]
    pub(crate) fn begin_receive(
        &mut self,
        clock: impl Fn() -> Time,
        matching: &Match,
        into: ClaimedReceive,
        begun: impl FnOnce(&mut Self, engine::RequestId),
    ) -> Result<engine::RequestId, Status> {
        self.settle_standby(&clock);
        let mut there = None;
        let receive = matching.receive(into);
        let request = self.engine.receive(|| *there.insert(clock()), receive)?;
        begun(self, request);
        if let Some(now) = there {
            self.events();
            self.transmit(now);
        }
        Ok(request)
    }

    /// Sends what the engine wants sent, as far as there is room.
    #[inline]
    pub(crate) fn transmit(&mut self, now: Time) -> bool {
        self.may_transmit() && self.transmit_all(now)
    }

    /// Whether there may be anything to send, or a path waits for room.
    #[inline]
    fn may_transmit(&mut self) -> bool {
        self.blocked || self.engine.may_transmit_any()
    }

    fn transmit_all(&mut self, now: Time) -> bool {
        let mut busy = false;
        for at in 0..self.paths.capacity() {
            if self.is_live(at) {
                match self.transmit_on(now, at) {
                    Ok(sent) => busy |= sent,
                    Err(_) => self.lose(at),
                }
            }
        }
        self.blocked = self.paths.iter().any(|(_, path)| path.blocked());
        busy
    }

    fn transmit_on(&mut self, now: Time, at: usize) -> Result<bool, ReserveError> {
        let mut sent = false;
        // Read once: it is a neighbour of what `has_room` stores, and who reads it behind that may have to wait for a frame's copy.
        let id = self.paths[at].id;
        if !self.engine.may_transmit(id) {
            self.paths[at].has_nothing();
            return Ok(false);
        }
        while self.paths[at].has_room()? {
            let Some(transmit) = self.engine.poll_transmit(now, id) else {
                break;
            };
            let mut hint = [0; MAX_HINT];
            let hint_len = self.hint_for(at, &transmit, &mut hint);
            self.paths[at].send(&transmit, &self.regions, &hint[..hint_len])?;
            sent = true;
        }
        if sent {
            self.after_sending(at);
        }
        Ok(sent)
    }

    /// Frames were put into a path's ring.
    #[inline]
    pub(crate) fn after_sending(&mut self, at: usize) {
        let path = &mut self.paths[at];
        let back_end = path.leads_to_back_end();
        if !(back_end && self.driver.is_some()) {
            path.ring();
        }
        self.sent |= back_end;
        self.errand |= back_end;
    }

    /// Whether the back end has taken all that we have put into its ring.
    pub(crate) fn is_taken_by_back_end(&self) -> bool {
        let path = self.paths.get(usize::from(PathId::SWITCH.get()));
        path.is_none_or(|path| path.producer.is_consumed())
    }

    /// Rings a back end that was to be driven, and could not be.
    pub(crate) fn ring_back_end(&mut self) {
        for (_, path) in &mut self.paths {
            if path.leads_to_back_end() && !path.dead {
                path.ring();
            }
        }
    }

    /// The hint for a rendezvous on a path whose other end can read us.
    fn hint_for(&mut self, at: usize, transmit: &Transmit, hint: &mut [u8; MAX_HINT]) -> usize {
        let Some(offer) = transmit.offer else {
            return 0;
        };
        if self.paths[at].is_loop_back() {
            let own = self.regions.offer(offer.region).to_le_bytes();
            hint[..OWN_HINT].copy_from_slice(&own);
            return OWN_HINT;
        }
        let (Some(direct), Some(memory)) = (&self.paths[at].direct, self.regions.get(offer.region))
        else {
            return 0;
        };
        let Some(guards) = self
            .guards
            .as_ref()
            .map(|own| direct.guards_of(memory).unwrap_or(own))
        else {
            return 0;
        };
        let held = self.guarded.iter().position(|(region, guard)| {
            // One that has been offered on another path before needs another guard.
            *region == offer.region && guard.is_of(guards)
        });
        let at = match held {
            Some(at) => at,
            None => match guards.take() {
                Some(guard) => {
                    self.guarded.retain(|(region, _)| *region != offer.region);
                    self.guarded.push((offer.region, guard));
                    self.guarded.len() - 1
                }
                None => return 0,
            },
        };
        let (_, guard) = &self.guarded[at];
        offer::describe(memory, guards, guard, direct.readable, hint).unwrap_or(0)
    }

    /// Takes a buffer back from the engine's names. Nobody reads it in place after this.
    pub(crate) fn reclaim(&mut self, region: RegionId) -> Memory {
        if let Some(at) = self.guarded.iter().position(|(held, _)| *held == region) {
            // Which ends the offer.
            self.guarded.swap_remove(at);
        }
        self.regions.remove(region)
    }

    /// As [`reclaim`](Self::reclaim), where nobody wants it back.
    #[inline]
    pub(crate) fn let_go(&mut self, region: RegionId) {
        if self.guarded.is_empty() {
            self.regions.let_go(region);
        } else {
            drop(self.reclaim(region));
        }
    }

    /// Carries out what the engine reports.
    #[inline]
    pub(crate) fn events(&mut self) {
        while let Some(delivered) = self.engine.poll_delivered() {
            if let Some(slot) = shorts::of_token(delivered.token) {
                self.regions.shorts.delivered(slot);
            }
        }
        if self.engine.has_events() {
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Connected { token, partner, .. } => {
                    if let Some(address) = self.engine.address_of(partner) {
                        self.meet(address);
                    }
                    self.end(token, Outcome::Connected(partner));
                }
                Event::ConnectFailed {
                    token,
                    partner,
                    status,
                    ..
                } => {
                    self.end(token, Outcome::NotConnected(status));
                    if !self.engine.may_send(partner) {
                        self.fail_receives_from(partner, status);
                    }
                }
                Event::Sent {
                    token,
                    status,
                    length,
                    ..
                } => {
                    // The receiver chose the room: a message that was cut there has been sent.
                    let status = match status {
                        Status::Truncated => Status::Success,
                        other => other,
                    };
                    self.end(token, Outcome::Sent { status, length });
                }
                Event::Received {
                    token,
                    status,
                    envelope,
                    length,
                    ..
                } => self.end(
                    token,
                    Outcome::Received {
                        status,
                        envelope,
                        length,
                    },
                ),
                Event::Copy { from, to, len } => {
                    let bytes = self.store.bytes(from);
                    self.regions.write(to, 0, len as usize, |at, piece| {
                        if let Some(bytes) = bytes.get(at..at + piece.len()) {
                            myrixen_shm::copy_slice(piece, bytes);
                        }
                    });
                }
                Event::StoreFreed { id } => self.store.free(id),
                Event::Fetch {
                    pull,
                    offer,
                    to,
                    len,
                } => {
                    let path = self.offers.get(offer).and_then(Offer::asked_on);
                    self.fetches
                        .add(Fetch::new(pull, offer, to, len as usize, path));
                }
                Event::OfferFreed { offer } => self.offer_freed(offer),
                Event::Unexpected { id, envelope } => self.announce(Announced { id, envelope }),
                Event::PartnerArrived { address, .. } => self.meet(address),
                // Its deadline has passed. Whoever cancels has taken the request out already.
                Event::Cancelled { token, status, .. } => self.end(token, Outcome::Unmet(status)),
                // What was pending to it ends by events of its own.
                Event::PartnerLost {
                    partner, status, ..
                } => self.fail_receives_from(partner, status),
            }
        }
    }

    /// A message that nobody waits for is shown to whom it is for. What endpoints say to each other is for nobody where no binding has asked for it.
    fn announce(&mut self, announced: Announced) {
        self.errand = true;
        if announced.envelope.space != Space::Service {
            self.announced.push_back(announced);
        } else if self.serves {
            self.requested.push_back(announced);
        } else {
            self.refused.push(announced.id);
        }
    }

    /// Throws away what is for nobody.
    pub(crate) fn refuse_services(&mut self, now: Time) {
        while let Some(id) = self.refused.pop() {
            self.engine.discard(now, id);
        }
    }

    /// One of two who are connected asks for a direct channel; which, both can tell. The fabric's thread is not woken for nothing.
    fn meet(&mut self, partner: Address) {
        if self.direct && self.engine.config().address < partner {
            self.notes.push(Note::Met(partner));
            self.errand = true;
        }
    }

    pub(crate) fn end(&mut self, token: u64, outcome: Outcome) {
        if let Some(slot) = shorts::of_token(token) {
            self.ended |= self.regions.shorts.end(slot, outcome);
            return;
        }
        match self.requests.end(token, outcome) {
            Ended::Waiting => self.ended = true,
            Ended::Wake(waker) => {
                self.wakers.push(waker);
                self.errand = true;
            }
            Ended::Drop => self.let_go(Key::from_token(token).region()),
            Ended::Unknown => {}
        }
    }

    /// There are tasks to be woken, or the fabric's thread has something to see to.
    pub(crate) fn has_word(&self) -> bool {
        !(self.wakers.is_empty() && self.notes.is_empty())
    }

    /// Says on every path that we are about to sleep. False if there is something to do.
    pub(crate) fn prepare_sleep(&mut self, now: Time) -> bool {
        self.stop_waiting_for_offered(now);
        self.engine.flush_acks(now);
        self.transmit(now);
        let mut quiet = !self.fetches.has_reads();
        if std::mem::take(&mut self.looking) {
            for (_, path) in &mut self.paths {
                path.consumer.give_notice();
            }
        }
        for at in 0..self.paths.capacity() {
            if !self.is_live(at) {
                continue;
            }
            match self.paths[at].prepare_sleep() {
                // Who has hung up rings no more: the end is to be seen first.
                Ok(may_sleep) => quiet &= may_sleep && !self.paths[at].hung_up,
                Err(_) => {
                    self.lose(at);
                    quiet = false;
                }
            }
        }
        quiet
    }

    /// Takes `prepare_sleep` back.
    pub(crate) fn end_sleep(&mut self) {
        for (_, path) in &mut self.paths {
            path.end_sleep();
        }
    }

    /// The doorbells of these paths rang, or their ringers are gone.
    pub(crate) fn rung(&mut self, ready: &[Ready]) {
        for ready in ready {
            if let Some(path) = self.paths.get_mut(Path::number_of(ready.token)) {
                path.rung(ready);
            }
        }
    }

    /// The other end of a path broke the rules or is gone: the fabric's thread replaces the path or
    /// takes it away.
    pub(crate) fn lose(&mut self, at: usize) {
        let path = &mut self.paths[at];
        if !std::mem::replace(&mut path.dead, true) {
            let lost = Note::PathLost(path.id, path.incarnation);
            self.notes.push(lost);
            self.errand = true;
        }
    }
}
