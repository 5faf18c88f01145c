//! Requests known by a number: for programs, and bindings to other languages, that cannot keep typed handles.
//!
//! Such a request is one of the completion queue from its start. Whoever asks first gets its end: by its number ([`Endpoint::test`],
//! [`Endpoint::wait`]), or by match information ([`Endpoint::test_any`], [`Endpoint::wait_any`]).

use std::time::Duration;

use mxoe::addr::Address;
use mxoe::engine::{Brought, SendMode, Taken};
use mxoe::time::Time;

use crate::buffer::{Memory, RecvBuffer, SendBuffer};
use crate::core::{Core, RETAINED_CAP};
use crate::endpoint::{Cover, Endpoint, message_len};
use crate::error::{Error, Result, Status, UnknownRequest};
use crate::message::{Match, Peer};
use crate::queue::{Completion, End, keep};
use crate::request::{Key, Kind, New, Outcome, Parked};
use crate::shared::{Guarded, Inside, Quest};
use crate::short::AHEAD;
use crate::shorts::INLINE;

/// The name of a request of one endpoint. It is recognised when the request is over and taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    pub(crate) fn new(key: Key) -> Self {
        Self(key.token())
    }

    fn key(self) -> Key {
        Key::from_token(self.0)
    }

    /// As one word, never 0.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// The name that [`to_u64`](Self::to_u64) gave. Any other word names nothing.
    pub fn from_u64(word: u64) -> Self {
        Self(word)
    }
}

/// When a posted send is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completes {
    /// When the buffer can be used again. A message that goes eagerly (up to 32 KiB) need not be acknowledged for that: of a short one a copy is kept for
    /// resending at once, of others when somebody asks for the end and little is left to be done but to wait. What becomes of it later is not reported.
    WhenBuffered,
    /// When the receiving endpoint has it.
    WhenDelivered,
    /// When a receive has matched it.
    WhenMatched,
}

impl Completes {
    /// What the engine is to wait for.
    pub(crate) fn mode(self) -> SendMode {
        match self {
            Self::WhenMatched => SendMode::Synchronous,
            Self::WhenBuffered | Self::WhenDelivered => SendMode::Standard,
        }
    }
}

/// What a posted send says beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// The match information.
    pub bits: u64,
    /// When it is complete.
    pub completes: Completes,
    /// The program's number, which comes back in the [`Completion`].
    pub context: u64,
}

/// What a posted connect asks for.
#[derive(Clone, Copy, Debug)]
pub struct Connecting {
    /// Which endpoint.
    pub to: Address,
    /// The key it was opened with.
    pub key: u32,
    /// By which match information its end is picked up.
    pub bits: u64,
    /// How long to try; `None`: until the partner counts as unreachable.
    pub timeout: Option<Duration>,
    /// The program's number, which comes back in the [`Completion`].
    pub context: u64,
}

impl Endpoint {
    /// Starts a send. One that cannot be, since the peer is not connected any more or is a peer of another endpoint, ends at once with the reason.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than 4 GiB.
    pub fn post_send<B: SendBuffer>(
        &self,
        to: &Peer,
        buffer: B,
        outgoing: Outgoing,
    ) -> Result<RequestId> {
        let memory = buffer.into_memory();
        message_len(memory.len())?;
        let core = self.shared.enter();
        Ok(self.post_known(core, to, memory, outgoing))
    }

    /// As [`post_send`](Self::post_send), for up to [`INLINE`] bytes, which are copied.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more.
    #[inline(always)]
    pub fn post_short(&self, to: &Peer, payload: &[u8], outgoing: Outgoing) -> Result<RequestId> {
        if payload.len() > INLINE {
            return Err(too_long(payload.len()));
        }
        let mut core = self.shared.enter();
        let clock = || self.shared.recent();
        match core.post_short_ahead(clock, to, payload, outgoing) {
            Some(id) => {
                self.shared.leave(core);
                Ok(id)
            }
            None => Ok(self.post_copied(core, to, payload, outgoing)),
        }
    }

    #[cold]
    fn post_copied(
        &self,
        core: Inside<'_>,
        to: &Peer,
        payload: &[u8],
        outgoing: Outgoing,
    ) -> RequestId {
        self.post_known(core, to, Memory::Vec(payload.to_vec()), outgoing)
    }

    /// Sends up to 4 GiB, if the peer is one of this endpoint's.
    fn post_known(
        &self,
        mut core: Inside<'_>,
        to: &Peer,
        memory: Memory,
        outgoing: Outgoing,
    ) -> RequestId {
        let cover = Cover::tagged(to, outgoing.bits);
        let len = u32::try_from(memory.len()).unwrap_or(u32::MAX);
        let with = (memory, outgoing.completes.mode());
        let posted = self.post(&mut core, &cover, with, Some(outgoing.context));
        let key = match posted {
            Ok(key) => {
                if outgoing.completes == Completes::WhenBuffered {
                    core.offer_early(key);
                    // Whoever waits for any end may have this one.
                    core.ended |= core.leader || core.waiters > 0;
                }
                key
            }
            // Over before it began.
            Err(status) => core.add_ended_send(&cover, len, outgoing.context, (status, 0)),
        };
        self.shared.leave(core);
        RequestId::new(key)
    }

    /// Posts a receive.
    #[inline]
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than 4 GiB of room.
    pub fn post_recv<B: RecvBuffer>(
        &self,
        matching: Match,
        buffer: B,
        context: u64,
    ) -> Result<RequestId> {
        let mut core = self.shared.enter();
        let clock = || self.shared.recent();
        let key = core.begin_recv(clock, matching, buffer, Some(context))?;
        self.shared.leave(core);
        Ok(RequestId::new(key))
    }

    /// Starts a connect.
    ///
    /// # Errors
    /// [`Error::ConnectRefused`] if there are as many partners as allowed.
    pub fn post_connect(&self, connecting: Connecting) -> Result<RequestId> {
        let mut core = self.shared.enter();
        let key = self.begin_connect(&mut core, &connecting)?;
        core.requests.enqueue(key, connecting.context);
        self.shared.leave(core);
        Ok(RequestId::new(key))
    }

    /// The end of a request, if it is over. Works for the endpoint once if it is not.
    ///
    /// # Errors
    /// [`Error::UnknownRequest`].
    pub fn test(&self, id: RequestId) -> Result<Option<Completion>> {
        let mut memory = Memory::Empty;
        let end = self.test_into(id, Some(&mut memory), keep)?;
        Ok(end.map(|end| Completion::new(end, memory)))
    }

    /// As [`test`](Self::test), for programs that do not want the buffer back: shows the end to `look`, which must not call the endpoint.
    ///
    /// # Errors
    /// [`UnknownRequest`].
    #[inline(always)]
    pub fn test_with<T>(
        &self,
        id: RequestId,
        look: impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        self.test_into(id, None, look)
    }

    #[inline(always)]
    fn test_into<T>(
        &self,
        id: RequestId,
        mut memory: Option<&mut Memory>,
        look: impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        match self.end_at_once(id, memory.as_deref_mut(), &look) {
            Ok(ended) => ended,
            Err(core) => self.test_for_end(core, id, memory, &look),
        }
    }

    /// What becomes of a request that is over, or unknown. Else whoever asks is inside, to go on.
    #[inline(always)]
    fn end_at_once<T>(
        &self,
        id: RequestId,
        memory: Option<&mut Memory>,
        look: &impl Fn(&End) -> T,
    ) -> Result<Result<Option<T>, UnknownRequest>, Inside<'_>> {
        let mut core = self.shared.enter_to_ask();
        let ended = core.end_now(id, memory, look);
        if matches!(ended, Ok(None)) {
            return Err(core);
        }
        self.shared.leave(core);
        Ok(ended)
    }

    /// As [`test`](Self::test), for a request that is not over.
    pub(crate) fn test_for_end<T>(
        &self,
        core: Inside<'_>,
        id: RequestId,
        memory: Option<&mut Memory>,
        look: &impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        let mut core = self.work_for(core, id);
        let ended = core.take_end(id.key(), memory, look);
        self.shared.leave(core);
        ended
    }

    /// Works for the endpoint once; as far as that helps, for this request.
    fn work_for<'a>(&'a self, core: Inside<'a>, id: RequestId) -> Inside<'a> {
        let (mut core, hurried) = self.shared.poll_once(core);
        if hurried {
            core.hurry(id.key());
        }
        core
    }

    /// Waits for the end of a request. `None` when the time is over, or at a [`wakeup`](Self::wakeup).
    ///
    /// # Errors
    /// [`Error::UnknownRequest`], also when somebody else has taken its end meanwhile.
    pub fn wait(&self, id: RequestId, timeout: Option<Duration>) -> Result<Option<Completion>> {
        let mut memory = Memory::Empty;
        let end = self.wait_into(id, timeout, Some(&mut memory), keep)?;
        Ok(end.map(|end| Completion::new(end, memory)))
    }

    /// As [`wait`](Self::wait), for programs that do not want the buffer back: shows the end to `look`, which must not call the endpoint.
    ///
    /// # Errors
    /// As for [`test_with`](Self::test_with).
    #[inline(always)]
    pub fn wait_with<T>(
        &self,
        id: RequestId,
        timeout: Option<Duration>,
        look: impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        self.wait_into(id, timeout, None, look)
    }

    #[inline(always)]
    fn wait_into<T>(
        &self,
        id: RequestId,
        timeout: Option<Duration>,
        mut memory: Option<&mut Memory>,
        look: impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        match self.end_at_once(id, memory.as_deref_mut(), &look) {
            Ok(ended) => ended,
            Err(core) => self.wait_for_end(core, (id, timeout), memory, &look),
        }
    }

    /// As [`wait`](Self::wait), for a request that is not over. Not where it is called: most of what is waited for is over already, and is taken in a few
    /// registers.
    #[inline(never)]
    pub(crate) fn wait_for_end<T>(
        &self,
        mut core: Inside<'_>,
        (id, timeout): (RequestId, Option<Duration>),
        mut memory: Option<&mut Memory>,
        look: &impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        if core.stands_by(id.key())
            && let Some(seen) = self.wait_straight(&mut core, timeout, memory.as_deref_mut(), look)
        {
            self.shared.leave(core);
            return Ok(Some(seen));
        }
        let awaited = AwaitedEnd {
            key: id.key(),
            wakeups: core.wakeups,
            memory: memory.as_deref_mut(),
            look,
            seen: None,
        };
        let Some((mut core, seen)) = self.shared.drive_on(core, timeout, awaited) else {
            return Ok(None);
        };
        let ended = match seen {
            Some(seen) => Ok(Some(seen)),
            // It is where it always is, or there was a wakeup.
            None => core.take_end(id.key(), memory, look),
        };
        self.shared.leave(core);
        ended
    }

    /// The first looks of a wait for the receive that stands by: its end, if what it waits for comes.
    #[inline(always)]
    fn wait_straight<T>(
        &self,
        core: &mut Guarded,
        timeout: Option<Duration>,
        memory: Option<&mut Memory>,
        look: &impl Fn(&End) -> T,
    ) -> Option<T> {
        // Asked before the looks: what comes is not to wait for it.
        let now = self.shared.recent();
        let at = self
            .shared
            .look_first(core, timeout != Some(Duration::ZERO))?;
        let (key, brought) = core.take_standby(now, at)?;
        let straight = core.requests.end_straight(key.token(), |_| true)?;
        let seen = look(&End::of_brought(&straight, &brought));
        core.give_memory(key.region(), memory);
        self.shared.took_straight(core);
        Some(seen)
    }

    /// Waits until the memory of a send is the program's again, though the send may not be over: whatever is sent eagerly, or would be if it were not
    /// synchronous, is copied for that. False when the time is over, or at a [`wakeup`](Self::wakeup).
    ///
    /// # Errors
    /// [`Error::UnknownRequest`].
    pub fn await_buffered(&self, id: RequestId, timeout: Option<Duration>) -> Result<bool> {
        let buffered = self.drive_until_woken(timeout, |core, _| {
            if core.requests.queued(id.key()).is_none() {
                return Some(Err(Error::UnknownRequest));
            }
            core.give_back(id.key()).then_some(Ok(true))
        });
        buffered.unwrap_or(Ok(false))
    }

    /// What a request is, the program's number of it, and whether it is over.
    ///
    /// # Errors
    /// [`Error::UnknownRequest`].
    pub fn look_at(&self, id: RequestId) -> Result<(Kind, u64, bool)> {
        let core = self.shared.enter();
        let (kind, context) = core
            .requests
            .queued(id.key())
            .ok_or(Error::UnknownRequest)?;
        Ok((kind, context, core.requests.is_done(id.key())))
    }

    /// Takes a request back for which nothing has happened yet. True if it is gone, and its end will not come.
    ///
    /// # Errors
    /// [`Error::UnknownRequest`].
    pub fn take_back(&self, id: RequestId) -> Result<bool> {
        let mut core = self.shared.enter();
        core.requests
            .queued(id.key())
            .ok_or(Error::UnknownRequest)?;
        let gone = core.cancel(self.shared.recent(), id.key()).is_some();
        // Whoever waits for it has to see that it is gone.
        core.ended |= gone;
        core.events();
        self.shared.leave(core);
        Ok(gone)
    }

    /// Nobody will ask for the end of this request.
    ///
    /// # Errors
    /// [`Error::UnknownRequest`].
    pub fn forget(&self, id: RequestId) -> Result<()> {
        let mut core = self.shared.enter();
        core.requests
            .queued(id.key())
            .ok_or(Error::UnknownRequest)?;
        // The program may think that it has its buffer back.
        core.hurry(id.key());
        if core.requests.abandon(id.key()) {
            core.let_go(id.key().region());
        }
        core.ended = true;
        self.shared.leave(core);
        Ok(())
    }

    /// Has a request fail with [`Status::Timeout`] unless it is over within `timeout` from now, or a send gets on within so long again and again (its
    /// partner acknowledges messages before it, or asks for some of its data); `None`: takes that back.
    ///
    /// # Errors
    /// [`Error::UnknownRequest`].
    pub fn set_timeout(&self, id: RequestId, timeout: Option<Duration>) -> Result<()> {
        let mut core = self.shared.enter();
        core.requests
            .queued(id.key())
            .ok_or(Error::UnknownRequest)?;
        let pending = !core.requests.is_done(id.key());
        if let Some(request) = core.requests.engine_id(id.key()).filter(|_| pending) {
            let now = self.shared.now();
            core.engine.set_patience(now, request, timeout);
        }
        self.shared.leave(core);
        Ok(())
    }

    /// Ends everything with a peer now: what is begun fails, what it has sent and nobody has received is dropped. Sends that were
    /// reported complete are waited for first, for up to a second. Both sides have to connect anew.
    pub fn break_off(&self, peer: &Peer) {
        let lingers = |core: &mut Core, _| {
            let gone = !core.engine.is_connected(peer.partner);
            let under_way = core.requests.lingers_to(peer.partner)
                || core.regions.shorts.linger_to(peer.partner);
            (gone || !under_way).then_some(())
        };
        self.shared.drive(Some(PARTING), lingers);
        let mut core = self.shared.enter();
        let now = self.shared.recent();
        core.engine.break_off(now, peer.partner);
        core.events();
        core.transmit(now);
        self.shared.leave(core);
    }
}

/// A request whose end somebody waits for. That of a receive which a short message completes is shown as it comes: it does not go into the completion queue
/// and out of it again.
struct AwaitedEnd<'a, L, T> {
    key: Key,
    /// How many times waits were told to end when it began.
    wakeups: u64,
    /// Where the buffer goes, where somebody wants it.
    memory: Option<&'a mut Memory>,
    look: &'a L,
    seen: Option<T>,
}

impl<T, L: Fn(&End) -> T> Quest for AwaitedEnd<'_, L, T> {
    /// What was shown as it came. `None`: the end is where it always is, or there was a wakeup.
    type Found = Option<T>;

    #[inline(always)]
    fn done(&mut self, core: &mut Core, hurried: bool) -> Option<Option<T>> {
        if let Some(seen) = self.seen.take() {
            return Some(Some(seen));
        }
        if hurried || core.is_cheap(self.key) {
            core.hurry(self.key);
        }
        let over = core.requests.is_done(self.key) || core.wakeups != self.wakeups;
        over.then_some(None)
    }

    #[inline]
    fn turn_at(&mut self, core: &mut Core, now: Time, looks_on: bool, at: usize) -> bool {
        if let Some((key, brought)) = core.take_standby(now, at) {
            self.end_by(core, key, &brought);
            if self.seen.is_none() {
                // Whoever waits on may do so asleep.
                core.settle_arrears();
            }
            return true;
        }
        core.turn_at(now, looks_on, at, &mut |core, taken| self.end(core, taken))
    }
}

impl<T, L: Fn(&End) -> T> AwaitedEnd<'_, L, T> {
    /// A receive has got a short message.
    #[inline(always)]
    fn end(&mut self, core: &mut Core, taken: &Taken) {
        self.end_by(core, Key::from_token(taken.token), &taken.brought);
    }

    /// The receive of this name has got it, or that of a slot.
    #[inline(always)]
    fn end_by(&mut self, core: &mut Core, key: Key, brought: &Brought) {
        if key == self.key
            && let Some(straight) = core.requests.end_straight(key.token(), |_| true)
        {
            self.seen = Some((self.look)(&End::of_brought(&straight, brought)));
            core.give_memory(self.key.region(), self.memory.as_deref_mut());
            core.ended = true;
        } else {
            core.end_brought(key.token(), brought);
        }
    }
}

#[cold]
fn too_long(len: usize) -> Error {
    let why = format!("{len} bytes are more than the {INLINE} of a short payload");
    Error::Invalid(why)
}

/// Bytes that may be kept of sends which are copied at once rather than waited for: a sender that never waits is to be held up before it has filled the caches.
const AT_ONCE: usize = 32 << 10;

/// How long breaking off waits for the last acknowledgements.
const PARTING: Duration = Duration::from_secs(1);

impl Core {
    /// Sends up to [`INLINE`] bytes that are over for the program at once, if they can go out now and not too many are under way. `None`: nothing was done.
    #[inline(always)]
    pub(crate) fn post_short_ahead(
        &mut self,
        clock: impl FnOnce() -> Time,
        to: &Peer,
        payload: &[u8],
        outgoing: Outgoing,
    ) -> Option<RequestId> {
        if outgoing.completes != Completes::WhenBuffered {
            return None;
        }
        let cover = Cover::tagged(to, outgoing.bits);
        if !self.send_short_ahead(clock, &cover, payload) {
            return None;
        }
        let key = self.park(Parked {
            peer: *to,
            bits: outgoing.bits,
            context: outgoing.context,
            // Not longer than INLINE.
            len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        });
        Some(RequestId::new(key))
    }

    /// The end of a request, if it is over, for whoever comes in to ask for it.
    #[inline(always)]
    pub(crate) fn end_now<T>(
        &mut self,
        id: RequestId,
        memory: Option<&mut Memory>,
        look: impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        if let Some(send) = self.requests.take_parked(id.key()) {
            return Ok(Some(look(&End::of_parked(&send))));
        }
        self.requests.settle();
        self.take_end(id.key(), memory, look)
    }

    /// A send that is over for the program, with so much transferred.
    #[inline]
    fn add_ended_send(
        &mut self,
        cover: &Cover,
        len: u32,
        context: u64,
        (status, length): (Status, u32),
    ) -> Key {
        let new = New {
            kind: Kind::Send,
            bits: cover.bits,
            partner: Some(cover.to),
            len,
            may_end_early: false,
            queue: Some(context),
        };
        let outcome = Outcome::Sent { status, length };
        self.requests.add_ended(new, cover.label, outcome)
    }

    /// Sends a short message if it can go out now and not too many are under way, and ends it for the program under its number. `None`: nothing was
    /// done.
    pub(crate) fn send_short_ended(
        &mut self,
        clock: impl FnOnce() -> Time,
        cover: &Cover,
        payload: &[u8],
        context: u64,
    ) -> Option<Key> {
        if !self.send_short_ahead(clock, cover, payload) {
            return None;
        }
        // Not longer than INLINE.
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let key = self.add_ended_send(cover, len, context, (Status::Success, len));
        // Whoever waits for any end may have this one.
        self.ended = true;
        Some(key)
    }

    /// Sends a short message if it can go out now and not too many are under way. False: nothing was done.
    #[inline]
    fn send_short_ahead(
        &mut self,
        clock: impl FnOnce() -> Time,
        cover: &Cover,
        payload: &[u8],
    ) -> bool {
        self.regions.shorts.sends() < AHEAD && self.send_short(clock, cover, payload)
    }

    /// A short message has gone out, and is over for the program.
    #[inline]
    fn park(&mut self, send: Parked) -> Key {
        let key = self.requests.park(send);
        if self.errand {
            // Whoever waits for any end may have this one.
            self.requests.settle();
            self.ended = true;
        }
        key
    }

    /// A send need not be acknowledged to be over for the program.
    pub(crate) fn offer_early(&mut self, key: Key) {
        self.requests.offer_early(key);
        self.patience = 0;
    }

    /// Ends a send for the program that need not be acknowledged for that; a copy of the bytes stays behind.
    #[inline]
    fn hurry(&mut self, key: Key) {
        if self.requests.offers_any() && self.requests.is_offered(key) {
            self.end_early(key);
        }
    }

    fn end_early(&mut self, key: Key) {
        if !self.requests.may_end_early(key, RETAINED_CAP) {
            return;
        }
        let Some(held) = self.regions.get_mut(key.region()) else {
            return;
        };
        held.make_owned();
        let kept = held.len().max(INLINE);
        self.requests.queue_early(key, kept);
        if let Some(id) = self.requests.engine_id(key) {
            // What is complete does not fail for the program's patience.
            self.engine.set_deadline(id, None);
        }
    }

    /// The same for the oldest one whose match information fits, if nothing has ended that does; where nobody is `hurried`, if that is cheap.
    #[inline]
    pub(crate) fn hurry_any(&mut self, hurried: bool, fits: impl Fn(u64) -> bool) {
        if self.requests.offers_any()
            && self.requests.peek(&fits).is_none()
            && let Some(key) = self.requests.offered(fits)
            && (hurried || self.is_cheap(key))
        {
            self.hurry(key);
        }
    }

    /// Whether a send is rather to be ended by a copy than waited for: few bytes are kept, which have just been read and go to memory that has just been
    /// used, and there is nothing else to do. Who waited would still do so when the answer comes, which is then unexpected, and copied twice.
    pub(crate) fn is_cheap(&self, key: Key) -> bool {
        self.has_found_nothing() && self.requests.retained() + self.requests.len(key) <= AT_ONCE
    }

    /// Gives the program a send's memory back, where that takes no more than a copy. False: not yet.
    fn give_back(&mut self, key: Key) -> bool {
        self.hurry(key);
        if self.requests.is_done(key) {
            return true;
        }
        let Some(held) = self.regions.get_mut(key.region()) else {
            return false;
        };
        if held.is_owned() {
            return true;
        }
        let len = held.len();
        if len > self.eager_max as usize || !self.requests.may_be_copied(key, RETAINED_CAP) {
            return false;
        }
        // First of all: whoever was offered it where it is does not trust what he reads there any more, and asks for it.
        self.guarded.retain(|(region, _)| *region != key.region());
        held.make_owned();
        self.requests.copied(key, len.max(INLINE));
        true
    }
}
