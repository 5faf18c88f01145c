//! An endpoint: where messages are sent from and received at.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mxoe::addr::{Address, SessionId};
use mxoe::engine::{self, ClaimedReceive, Connect, PartnerId, Send as SendArgs, SendMode, Space};
use mxoe::time::Time;
use myrixen_shm::{PoolBuf, lend, lend_ref};

use crate::buffer::{Buffer, Memory, RecvBuffer, SendBuffer};
use crate::core::Core;
use crate::error::{Error, Result, Status};
use crate::handle::{Raw, RecvRequest, SendRequest};
use crate::message::{Match, PathKind, Peer, Pending, Received};
use crate::path::Wait;
use crate::posted::Connecting;
use crate::request::{Key, Kind, New, Outcome};
use crate::shared::Shared;
use crate::shorts::INLINE;

/// The most that data beside a message takes of it.
const DATA: u32 = 8;

/// What is on a message's cover.
pub(crate) struct Cover {
    pub(crate) to: PartnerId,
    /// Where that has to be, if it may be a partner of another endpoint.
    pub(crate) address: Option<Address>,
    pub(crate) space: Space,
    pub(crate) bits: u64,
    pub(crate) data: Option<u64>,
    /// What the request is called beside.
    pub(crate) label: u32,
}

impl Cover {
    /// An MX message's.
    pub(crate) fn tagged(to: &Peer, bits: u64) -> Self {
        Self {
            to: to.partner,
            address: Some(to.address),
            space: Space::Tagged,
            bits,
            data: None,
            label: 0,
        }
    }
}

/// An MX endpoint. Cheap to clone; all clones are the same endpoint. Threads may share it.
///
/// Closed when the last clone and the last request are gone.
pub struct Endpoint {
    pub(crate) shared: Arc<Shared>,
}

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }
}

impl Drop for Endpoint {
    /// Whoever drops the last handle closes the endpoint, and finds it closed. The fabric's thread, which may have it in hand just now, would close it later, and
    /// look after no other meanwhile.
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.fabric.let_go_of(&self.shared);
        }
    }
}

impl Endpoint {
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared }
    }

    /// Where this endpoint is.
    pub fn address(&self) -> Address {
        self.shared.address
    }

    /// Changes how waits poll and sleep.
    pub fn set_wait(&self, wait: Wait) {
        self.shared.set_wait(wait);
    }

    /// Connects to an endpoint that was opened with `key`. Connecting again to the same endpoint is
    /// harmless.
    ///
    /// # Errors
    /// [`Error::ConnectTimeout`], or [`Error::ConnectRefused`] with the reason.
    pub fn connect(&self, to: Address, key: u32, timeout: Duration) -> Result<Peer> {
        let mut request = self.start_connect(to, key, timeout)?;
        match self.shared.wait_for(request.key, None) {
            Some(outcome) => {
                request.disarm();
                Self::connected(to, timeout, &outcome)
            }
            None => Err(Error::ConnectTimeout {
                to,
                waited: timeout,
            }),
        }
    }

    pub(crate) fn start_connect(&self, to: Address, key: u32, timeout: Duration) -> Result<Raw> {
        let mut core = self.shared.enter();
        let connecting = Connecting {
            to,
            key,
            bits: 0,
            timeout: Some(timeout),
            context: 0,
        };
        let request = self.begin_connect(&mut core, &connecting)?;
        self.shared.leave(core);
        Ok(Raw::new(&self.shared, request, Kind::Connect))
    }

    /// Has the engine connect.
    pub(crate) fn begin_connect(&self, core: &mut Core, connecting: &Connecting) -> Result<Key> {
        let &Connecting { to, key, bits, .. } = connecting;
        if to == self.shared.address {
            self.shared.loop_back(core);
        }
        let now = self.shared.recent();
        let request = core.requests.add(New {
            kind: Kind::Connect,
            bits,
            partner: None,
            len: 0,
            may_end_early: false,
            queue: None,
        });
        let started = core.engine.connect(
            now,
            Connect {
                to,
                key,
                deadline: connecting.timeout.map(|timeout| now + timeout),
                token: request.token(),
            },
        );
        match started {
            Ok(id) => core.requests.started(request, id),
            Err(status) => {
                core.requests.withdraw(request);
                return Err(Error::ConnectRefused { to, status });
            }
        }
        core.transmit(now);
        Ok(request)
    }

    pub(crate) fn connected(to: Address, waited: Duration, outcome: &Outcome) -> Result<Peer> {
        match *outcome {
            Outcome::Connected(partner) => Ok(Peer {
                partner,
                address: to,
            }),
            Outcome::NotConnected(Status::Timeout) => Err(Error::ConnectTimeout { to, waited }),
            Outcome::NotConnected(status) => Err(Error::ConnectRefused { to, status }),
            _ => unreachable!("a connect ends as a connect"),
        }
    }

    /// The peer at this address, if it is connected (it may have connected to us).
    pub fn peer(&self, address: Address) -> Option<Peer> {
        let core = self.shared.enter();
        let partner = core.engine.find_partner(address)?;
        if !core.engine.is_connected(partner) {
            return None;
        }
        Some(Peer { partner, address })
    }

    /// The random number that tells this opening of the endpoint from others.
    pub fn session(&self) -> u32 {
        self.shared.enter().engine.config().session.get()
    }

    /// That of a peer's present opening; `None` while it is not connected.
    pub fn session_of(&self, peer: &Peer) -> Option<u32> {
        let core = self.shared.enter();
        core.engine.session_of(peer.partner).map(SessionId::get)
    }

    /// Which way messages to this peer go at the moment.
    pub fn path(&self, peer: &Peer) -> PathKind {
        let core = self.shared.enter();
        core.paths
            .iter()
            .find_map(|(_, path)| {
                if path.is_loop_back() && peer.address == self.shared.address {
                    return Some(PathKind::LoopBack);
                }
                let direct = path.direct.as_ref()?;
                (direct.peer == peer.address).then_some(PathKind::Direct {
                    reads_memory: direct.readable.memory,
                })
            })
            .unwrap_or(PathKind::Switched)
    }

    /// Memory to send large messages to this peer from, in one copy: memory that the peer can read in place and nobody else can write. Takes it
    /// from [`Fabric::alloc`](crate::Fabric::alloc)'s, which every guest of this host that we have a direct channel with can read. Where
    /// guests are domains, it takes it from granted pages that this peer's domain alone can read, of which there are
    /// [`EndpointOptions::lent_bytes`](crate::EndpointOptions::lent_bytes): the first call for a direct channel asks the agent for them, and
    /// waits a few milliseconds. A buffer outlives its channel; what is sent from it to others, or when there is another channel, goes as from
    /// ordinary memory. So it does if there is no direct channel yet (see [`path`](Self::path)), or no more of that memory.
    ///
    /// `None` if there is no memory at all.
    pub fn alloc_for(&self, peer: &Peer, len: usize) -> Option<PoolBuf> {
        self.shared.alloc_for(peer.address, len)
    }

    /// Forgets a peer: what is pending to it fails. Only while the opening with this number ([`session_of`](Self::session_of)) is connected: an
    /// endpoint that was opened anew under the same address may have connected since, which is the same peer to us and another program.
    pub fn disconnect(&self, peer: &Peer, session: u32) {
        let mut core = self.shared.enter();
        let present = core.engine.session_of(peer.partner).map(SessionId::get);
        if present != Some(session) {
            return;
        }
        let now = self.shared.recent();
        core.engine.disconnect(now, peer.partner);
        core.events();
        core.transmit(now);
        self.shared.leave(core);
    }

    /// Sends and returns when `payload` can be used again. A message of up to 32 KiB may still be
    /// under way then; it is delivered while the program goes on.
    ///
    /// # Errors
    /// [`Error::Failed`] with what became of it.
    pub fn send(&self, to: &Peer, bits: u64, payload: &[u8]) -> Result<()> {
        if self.send_at_once(to, bits, payload) {
            return Ok(());
        }
        lend_ref(payload, |lent| {
            let memory = Memory::Lent(lent.clone());
            let mut raw = self.start_send(to, bits, memory, SendMode::Standard)?;
            self.finish_send(&mut raw, None).map(drop)
        })
    }

    /// Starts a send. The buffer comes back from [`Endpoint::wait_send`].
    ///
    /// # Errors
    /// [`Error::Failed`] if the peer is not connected any more; [`Error::Invalid`] for more than 4 GiB.
    pub fn isend<B: SendBuffer>(&self, to: &Peer, bits: u64, buffer: B) -> Result<SendRequest<B>> {
        self.start_typed_send(to, bits, buffer, SendMode::Standard)
    }

    /// Starts a synchronous send: complete only when the receiver has matched it.
    ///
    /// # Errors
    /// As [`Endpoint::isend`].
    pub fn issend<B: SendBuffer>(&self, to: &Peer, bits: u64, buffer: B) -> Result<SendRequest<B>> {
        self.start_typed_send(to, bits, buffer, SendMode::Synchronous)
    }

    fn start_typed_send<B: SendBuffer>(
        &self,
        to: &Peer,
        bits: u64,
        buffer: B,
        mode: SendMode,
    ) -> Result<SendRequest<B>> {
        let raw = self.start_send(to, bits, buffer.into_memory(), mode)?;
        Ok(SendRequest {
            raw,
            buffer: PhantomData,
        })
    }

    fn start_send(&self, to: &Peer, bits: u64, memory: Memory, mode: SendMode) -> Result<Raw> {
        message_len(memory.len())?;
        let mut core = self.shared.enter();
        let sent = self.post(&mut core, &Cover::tagged(to, bits), (memory, mode), None);
        let key = sent.map_err(send_failed)?;
        self.shared.leave(core);
        Ok(Raw::new(&self.shared, key, Kind::Send))
    }

    /// Hands a message to the engine and writes what it wants sent into the rings. The memory holds less than 4 GiB. `queue` as in [`New`].
    pub(crate) fn post(
        &self,
        core: &mut Core,
        cover: &Cover,
        (memory, mode): (Memory, SendMode),
        queue: Option<u64>,
    ) -> Result<Key, Status> {
        if cover.address.is_some() && core.engine.address_of(cover.to) != cover.address {
            return Err(Status::NotConnected);
        }
        let len = u32::try_from(memory.len()).unwrap_or(u32::MAX);
        let now = self.shared.recent();
        let beside = if cover.data.is_some() { DATA } else { 0 };
        let key = core.requests.add(New {
            kind: Kind::Send,
            bits: cover.bits,
            partner: Some(cover.to),
            len,
            may_end_early: len.saturating_add(beside) <= core.eager_max
                && mode == SendMode::Standard,
            queue,
        });
        core.requests.set_label(key, cover.label);
        core.regions.put(key.region(), memory);
        core.one_way = 0;
        let started = core.engine.send(
            now,
            SendArgs {
                to: cover.to,
                space: cover.space,
                match_info: cover.bits,
                data: cover.data,
                region: key.region(),
                len,
                mode,
                token: key.token(),
            },
        );
        match started {
            Ok(id) => core.requests.started(key, id),
            Err(status) => {
                core.requests.withdraw(key);
                core.let_go(key.region());
                return Err(status);
            }
        }
        core.transmit(now);
        Ok(key)
    }

    /// Receives into the caller's buffer and returns when the message is there.
    ///
    /// # Errors
    /// [`Error::Failed`], which one from a certain peer does also where that is lost before anything has met it.
    pub fn recv(&self, matching: Match, buffer: &mut [u8]) -> Result<Received> {
        self.recv_within(matching, buffer, None)?
            .ok_or_else(|| Error::Timeout(Duration::ZERO))
    }

    /// As [`Endpoint::recv`], for at most this long: `None` when the time is over. The receive is
    /// cancelled then.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn recv_timeout(
        &self,
        matching: Match,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<Option<Received>> {
        self.recv_within(matching, buffer, Some(timeout))
    }

    fn recv_within(
        &self,
        matching: Match,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<Option<Received>> {
        if buffer.len() <= INLINE {
            return self.recv_short(&matching, buffer, timeout);
        }
        lend(buffer, |lent| {
            let mut raw = self.start_recv(matching, Memory::Lent(lent.clone()))?;
            if let Some((_, received)) = self.finish_recv(&mut raw, timeout)? {
                return Ok(Some(received));
            }
            let cancelled = self.cancel_raw(&mut raw).is_some();
            if cancelled {
                return Ok(None);
            }
            // A message has begun to arrive in the buffer: it is ours, so wait for its end.
            Ok(self
                .finish_recv(&mut raw, None)?
                .map(|(_, received)| received))
        })
    }

    /// Posts a receive. The buffer comes back from [`Endpoint::wait_recv`]; its length is the room.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than 4 GiB of room; [`Error::Failed`] for one from a certain peer that is lost.
    pub fn irecv<B: RecvBuffer>(&self, matching: Match, buffer: B) -> Result<RecvRequest<B>> {
        let raw = self.start_recv(matching, buffer)?;
        Ok(RecvRequest {
            raw,
            buffer: PhantomData,
        })
    }

    fn start_recv(&self, matching: Match, buffer: impl Buffer) -> Result<Raw> {
        let mut core = self.shared.enter();
        let key = core.begin_recv(|| self.shared.recent(), matching, buffer, None)?;
        self.shared.leave(core);
        Ok(Raw::new(&self.shared, key, Kind::Receive))
    }

    /// The oldest message that fits and that no receive has taken, if there is one.
    pub fn iprobe(&self, matching: Match) -> Option<Pending> {
        let filter = matching.filter();
        self.shared.poll(|core, _| {
            core.engine
                .probe(&filter)
                .map(|envelope| Pending::from(&envelope))
        })
    }

    /// Waits for a message that fits, and leaves it where it is. `None` when the time is over, or at a [`wakeup`](Self::wakeup).
    pub fn probe(&self, matching: Match, timeout: Option<Duration>) -> Option<Pending> {
        let filter = matching.filter();
        self.drive_until_woken(timeout, |core, _| {
            core.engine
                .probe(&filter)
                .map(|envelope| Pending::from(&envelope))
        })
    }

    /// Works for the endpoint without waiting: takes what has arrived, sends what is due. Programs that
    /// never wait may call it; otherwise the progress thread does the same a little later.
    pub fn progress(&self) {
        self.shared.poll(|_, _| None::<()>);
    }

    /// Requests in flight.
    pub fn pending_requests(&self) -> usize {
        let core = self.shared.enter();
        core.requests.pending() + core.regions.shorts.pending()
    }

    /// What the endpoint's engine has counted.
    pub fn counters(&self) -> engine::Counters {
        self.shared.enter().engine.counters().clone()
    }
}

impl Core {
    /// Hands a receive to the engine, with its buffer. `queue` as in [`New`].
    #[inline(always)]
    pub(crate) fn begin_recv(
        &mut self,
        clock: impl Fn() -> Time,
        matching: Match,
        buffer: impl Buffer,
        queue: Option<u64>,
    ) -> Result<Key> {
        let len = message_len(buffer.room())?;
        let key = self.requests.reserve();
        self.regions.put(key.region(), buffer);
        let new = New {
            kind: Kind::Receive,
            bits: matching.bits,
            partner: matching.source,
            len: 0,
            may_end_early: false,
            queue,
        };
        if queue.is_some() && len as usize <= INLINE && self.may_stand_by(&matching) {
            self.requests.fill(key, new, None);
            self.stand_by(key, matching, len);
            return Ok(key);
        }
        let into = ClaimedReceive {
            region: key.region(),
            len,
            token: key.token(),
        };
        let begun = self.begin_receive(clock, &matching, into, |core, engine| {
            core.requests.fill(key, new, Some(engine));
        });
        match begun {
            Ok(_) => Ok(key),
            Err(status) => {
                self.let_go(key.region());
                self.requests.vacate(key.slot());
                Err(not_received(status))
            }
        }
    }
}

fn send_failed(status: Status) -> Error {
    Error::Failed {
        what: "send",
        status,
    }
}

#[inline]
pub(crate) fn message_len(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| too_long(len))
}

#[cold]
fn too_long(len: usize) -> Error {
    Error::Invalid(format!("a message of {len} bytes is longer than 4 GiB - 1"))
}

/// The engine has refused a receive.
#[cold]
pub(crate) fn not_received(status: Status) -> Error {
    Error::Failed {
        what: "receive",
        status,
    }
}
