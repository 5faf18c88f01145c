//! What bindings of other message interfaces need beside the rest: requests that are known by two numbers of the program's, all ends of requests
//! in their order, data beside messages, service messages, and a bell for programs that sleep on descriptors.

use std::sync::Arc;

pub use mxoe::engine::Space;
use mxoe::engine::{PartnerId, SendMode};

use crate::buffer::{Memory, RecvBuffer, SendBuffer};
use crate::core::{Core, RETAINED_CAP};
use crate::endpoint::{Cover, Endpoint};
use crate::error::{Error, Result, Status};
use crate::message::Match;
use crate::posted::{Completes, Connecting};
use crate::region::Regions;
use crate::request::{Kind, Queued, Requests};
use crate::shared::{Inside, Seen};
use crate::short::AHEAD;
use crate::shorts::INLINE;
use crate::straight::Passed;
use crate::unexpected::{Unexpected, UnexpectedHandler, Verdict};
use mxoe::addr::Address;

/// Called when a request has ended.
#[derive(Clone)]
pub(crate) struct Bell(pub(crate) Arc<dyn Fn() + Send + Sync>);

/// What a message says beside its bytes, and how its end is told.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// The peer's number, see [`Peer::id`](crate::Peer::id).
    pub to: u64,
    /// The matching space.
    pub space: Space,
    /// The match information.
    pub bits: u64,
    /// For the receiver's envelope.
    pub data: Option<u64>,
    /// When it is complete.
    pub completes: Completes,
    /// The program's number, which comes back in [`Ended`].
    pub context: u64,
    /// Another one.
    pub label: u32,
}

/// The end of a request.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Connect, send or receive.
    pub kind: Kind,
    /// The program's number.
    pub context: u64,
    /// The other one.
    pub label: u32,
    /// How it ended.
    pub status: Status,
    /// The peer's number, where it is known.
    pub peer: Option<u64>,
    /// Where a message came from.
    pub source: Option<Address>,
    /// The message's match information.
    pub bits: u64,
    /// What the sender gave beside it.
    pub data: Option<u64>,
    /// Length of the message as it was sent, in bytes.
    pub message_len: u32,
    /// Bytes of it that were transferred.
    pub len: u32,
}

/// Who is shown the ends of requests. No function must call the endpoint.
pub trait Reaper {
    /// The end of a request.
    fn end(&mut self, ended: &Ended);

    /// Whether receives with this label may end by [`short`](Self::short).
    fn takes_short(&self, label: u32) -> bool;

    /// The end of a receive whose message is short, has come just now, and was not longer than the buffer.
    fn short(&mut self, ended: Ended);
}

impl Endpoint {
    /// Starts a send; its end comes by [`reap`](Self::reap). The buffer is dropped then.
    ///
    /// # Errors
    /// [`Status::NotConnected`] and the other reasons for which nothing was begun.
    pub fn launch<B: SendBuffer>(&self, buffer: B, launch: &Launch) -> Result<(), Status> {
        let memory = buffer.into_memory();
        let mut core = self.shared.enter();
        let mode = launch.completes.mode();
        let queue = Some(launch.context);
        let posted = self.post(&mut core, &launch.cover(), (memory, mode), queue);
        if let Ok(key) = posted
            && launch.completes == Completes::WhenBuffered
        {
            core.offer_early(key);
        }
        self.shared.leave(core);
        posted.map(drop)
    }

    /// The same for up to [`INLINE`] bytes, which are copied. Longer ones are copied as well, to memory of their own.
    ///
    /// # Errors
    /// As for [`launch`](Self::launch).
    pub fn launch_short(&self, payload: &[u8], launch: &Launch) -> Result<(), Status> {
        if launch.completes == Completes::WhenBuffered && payload.len() <= INLINE {
            let mut core = self.shared.enter_to_send();
            let clock = || self.shared.recent();
            let sent = core.send_short_ended(clock, &launch.cover(), payload, launch.context);
            self.shared.leave(core);
            if sent.is_some() {
                return Ok(());
            }
        }
        self.launch(payload.to_vec(), launch)
    }

    /// Sends a copy of `payload`, whose end nobody asks for. False: too many bytes are kept of such sends; again, when some are acknowledged.
    ///
    /// # Errors
    /// As for [`launch`](Self::launch).
    #[inline]
    pub fn inject(&self, payload: &[u8], launch: &Launch) -> Result<bool, Status> {
        let mut core = self.shared.enter_to_send();
        if payload.len() <= INLINE {
            if core.regions.shorts.sends() >= AHEAD {
                core.turn(self.shared.recent(), true);
            }
            if core.send_short(|| self.shared.recent(), &launch.cover(), payload) {
                self.shared.leave(core);
                return Ok(true);
            }
        }
        core.settle_arrears();
        self.inject_otherwise(core, payload, launch)
    }

    #[cold]
    fn inject_otherwise(
        &self,
        mut core: Inside<'_>,
        payload: &[u8],
        launch: &Launch,
    ) -> Result<bool, Status> {
        if core.requests.retained() >= RETAINED_CAP {
            core.turn(self.shared.recent(), true);
            if core.requests.retained() >= RETAINED_CAP {
                self.shared.leave(core);
                return Ok(false);
            }
        }
        let memory = Memory::Vec(payload.to_vec());
        let with = (memory, SendMode::Standard);
        let posted = self.post(&mut core, &launch.cover(), with, None);
        if let Ok(key) = posted {
            core.requests.ended_early(key, payload.len().max(INLINE));
        }
        self.shared.leave(core);
        posted.map(|_| true)
    }

    /// Posts a receive; its end comes by [`reap`](Self::reap). One from a certain peer fails when that is lost before anything has met it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than 4 GiB of room; [`Error::Failed`] for a source that there is not, that is lost and not being connected to
    /// ([`Status::NotConnected`]), or on a closed endpoint.
    #[inline]
    pub fn accept<B: RecvBuffer>(
        &self,
        matching: Match,
        buffer: B,
        context: u64,
        label: u32,
    ) -> Result<()> {
        let mut core = self.shared.enter();
        let clock = || self.shared.recent();
        let key = core.begin_recv(clock, matching, buffer, Some(context))?;
        core.requests.set_label(key, label);
        self.shared.leave(core);
        Ok(())
    }

    /// Receives a message that was claimed; its end comes by [`reap`](Self::reap).
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn accept_claimed<B: RecvBuffer>(
        &self,
        message: &Unexpected,
        buffer: B,
        context: u64,
        label: u32,
    ) -> Result<()> {
        let mut request = self.receive(message, buffer)?;
        let mut core = self.shared.enter();
        core.requests.set_label(request.raw.key, label);
        core.requests.enqueue(request.raw.key, context);
        core.ended = true;
        self.shared.leave(core);
        request.raw.disarm();
        Ok(())
    }

    /// Takes the oldest receive with this number and such a label back that has matched nothing; gives its label.
    pub fn take_back_receive(&self, context: u64, of: impl Fn(u32) -> bool) -> Option<u32> {
        let mut core = self.shared.enter();
        let label = core.requests.receive_of(context, of).and_then(|key| {
            let label = core.requests.label(key);
            let now = self.shared.recent();
            core.cancel(now, key).map(|_| label)
        });
        core.events();
        self.shared.leave(core);
        label
    }

    /// Gives the ends of up to `limit` requests to `each`, oldest first; works for the endpoint once if there are none. Gives how many there were.
    /// `each` must not call the endpoint.
    pub fn reap(&self, limit: usize, mut each: impl FnMut(&Ended)) -> usize {
        let found = self
            .shared
            .poll(|core, hurried| core.reap_some(limit, hurried, &mut each));
        found.unwrap_or(0)
    }

    /// As [`reap`](Self::reap). A short message that has just come does not go through the queue, if nothing is before it and `reaper` takes it so.
    #[inline]
    pub fn reap_for(&self, limit: usize, reaper: &mut impl Reaper) -> usize {
        let mut guarded = self.shared.enter_to_reap();
        let mut found = 0;
        if !guarded.requests.has_ended() {
            let seen = self.shared.look_once(&mut guarded);
            if let Seen::At(at) = seen
                && limit > 0
                && !guarded.is_halted()
            {
                let now = guarded.seen_at();
                let passed = guarded.turn_straight(now, at, reaper);
                found += usize::from(passed == Passed::Shown);
            }
            let more = || found < limit && guarded.engine.has_posted() && guarded.has_arrived();
            if found > 0 && !more() && !guarded.requests.has_ended() {
                self.shared.took(&mut guarded);
                self.shared.leave(guarded);
                return found;
            }
            guarded.settle_arrears();
            if seen != Seen::Enough {
                guarded = self.reap_on(guarded, seen);
            }
        }
        if guarded.requests.has_ended() && found < limit {
            found += guarded.reap(limit - found, &mut |ended: &Ended| reaper.end(ended));
        }
        self.shared.leave(guarded);
        found
    }

    /// The usual turn of [`reap_for`](Self::reap_for).
    #[inline(never)]
    fn reap_on<'a>(&'a self, guarded: Inside<'a>, seen: Seen) -> Inside<'a> {
        let (mut guarded, hurried) = self.shared.act_on(guarded, seen);
        guarded.hurry_any(hurried, |_| true);
        guarded
    }

    /// As [`reap`](Self::reap), and waits until there are some. 0 when the time is over, or at a [`wakeup`](Self::wakeup).
    pub fn reap_wait(
        &self,
        limit: usize,
        timeout: Option<std::time::Duration>,
        mut each: impl FnMut(&Ended),
    ) -> usize {
        let found = self.drive_until_woken(timeout, |core, hurried| {
            core.reap_some(limit, hurried, &mut each)
        });
        found.unwrap_or(0)
    }

    /// Ends everything: sends that are complete for the program are waited for, for up to two seconds; all else ends now, without a word. No
    /// memory of the program's is touched after this, whoever still holds the endpoint.
    pub fn shut(&self) {
        self.shared.linger();
        let mut core = self.shared.enter();
        core.say_last(self.shared.now());
        core.events();
        core.let_go_of_memory();
        self.shared.leave(core);
    }

    /// The number of the peer at this address, if the endpoint has ever heard of it or asked for it, and whether it is connected.
    pub fn peer_id(&self, address: Address) -> Option<(u64, bool)> {
        let core = self.shared.enter();
        let partner = core.engine.find_partner(address)?;
        Some((partner.to_u64(), core.engine.is_connected(partner)))
    }

    /// Starts a connect, and gives the number that the peer has from now on; its end comes by [`reap`](Self::reap) with this label.
    ///
    /// # Errors
    /// As for [`post_connect`](Self::post_connect).
    pub fn reach(&self, connecting: Connecting, label: u32) -> Result<u64> {
        let mut core = self.shared.enter();
        let key = self.begin_connect(&mut core, &connecting)?;
        core.requests.set_label(key, label);
        core.requests.enqueue(key, connecting.context);
        let partner = core.engine.find_partner(connecting.to);
        self.shared.leave(core);
        partner.map(PartnerId::to_u64).ok_or(Error::UnknownRequest)
    }

    /// Where the peer with this number is.
    pub fn address_of(&self, id: u64) -> Option<Address> {
        let core = self.shared.enter();
        core.engine.address_of(PartnerId::from_u64(id))
    }

    /// Calls `server` for every service message that no posted receive waits for, as
    /// [`set_unexpected_handler`](Self::set_unexpected_handler) does for the program's; messages are gone when it returns, unless it has received them.
    pub fn serve<S>(&self, server: S)
    where
        S: Fn(&Self, &Unexpected, Option<&[u8]>) + Send + Sync + 'static,
    {
        let handler = move |endpoint: &Self, message: &Unexpected, bytes: Option<&[u8]>| {
            server(endpoint, message, bytes);
            Verdict::Taken
        };
        let mut guarded = self.shared.enter();
        guarded.server = Some(UnexpectedHandler(Arc::new(handler)));
        guarded.core.serves = true;
        self.shared.leave(guarded);
    }

    /// Calls `bell` when a request ends after [`arm`](Self::arm), on whatever thread that happens.
    pub fn set_bell(&self, bell: Option<Arc<dyn Fn() + Send + Sync>>) {
        let mut guarded = self.shared.enter();
        guarded.bell = bell.map(Bell);
        guarded.armed = false;
        self.shared.leave(guarded);
    }

    /// Has the bell ring when the next request ends, and the fabric's thread work for the endpoint from now on. False: one has ended already.
    pub fn arm(&self) -> bool {
        let mut guarded = self.shared.enter();
        guarded.turn(self.shared.recent(), false);
        let none = !guarded.core.has_ends();
        guarded.armed = none;
        guarded.core.errand |= none;
        let leader = guarded.leader;
        self.shared.leave(guarded);
        if none && !leader {
            self.shared.adopt();
        }
        none
    }

    /// Whether there are ends of requests to be reaped. Does no work.
    pub fn has_ended(&self) -> bool {
        let core = self.shared.enter();
        core.has_ends()
    }
}

impl Launch {
    fn cover(&self) -> Cover {
        Cover {
            to: PartnerId::from_u64(self.to),
            address: None,
            space: self.space,
            bits: self.bits,
            data: self.data,
            label: self.label,
        }
    }
}

impl Core {
    /// Forgets all requests with their buffers.
    fn let_go_of_memory(&mut self) {
        self.guarded.clear();
        self.regions = Regions::default();
        self.requests = Requests::default();
    }

    /// A partner is lost: receives for its messages alone would wait for ever.
    pub(crate) fn fail_receives_from(&mut self, partner: PartnerId, status: Status) {
        let mut receives = self.requests.receives_from(partner);
        receives.extend(self.regions.shorts.awaited_from(partner));
        for id in receives {
            self.engine.give_up_receive(id, status);
        }
    }

    /// Whether a request has ended, or may be said to have.
    fn has_ends(&self) -> bool {
        self.requests.has_ended() || self.requests.offers_any()
    }

    /// Ends the oldest send for the program that may end, if nothing else has ended and nothing comes for a while.
    #[inline(always)]
    fn reap_some(
        &mut self,
        limit: usize,
        hurried: bool,
        each: &mut impl FnMut(&Ended),
    ) -> Option<usize> {
        self.hurry_any(hurried, |_| true);
        if !self.requests.has_ended() {
            return None;
        }
        let found = self.reap(limit, each);
        (found > 0).then_some(found)
    }

    fn reap(&mut self, limit: usize, each: &mut impl FnMut(&Ended)) -> usize {
        let mut found = 0;
        while found < limit
            && let Some((key, _)) = self.requests.peek(|_| true)
            && let Ok(Some((ended, free))) = self.requests.take_queued(key, Ended::of)
        {
            if free {
                self.let_go(key.region());
            }
            each(&ended);
            found += 1;
        }
        found
    }
}

impl Ended {
    fn of(done: &Queued<'_>) -> Self {
        let told = done.told();
        let envelope = done.envelope();
        Self {
            kind: done.kind(),
            context: done.context,
            label: done.label(),
            status: told.status,
            peer: told.partner.map(PartnerId::to_u64),
            source: envelope.map(|envelope| envelope.address),
            bits: done.bits(),
            data: envelope.and_then(|envelope| envelope.data),
            message_len: told.message_len,
            len: told.len,
        }
    }
}
