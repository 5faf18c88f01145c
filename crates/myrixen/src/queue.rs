//! The completion queue: requests whose end is picked up by match information rather than by
//! handle, as `mx_test_any`, `mx_wait_any` and `mx_peek` do it.

use std::ops::Deref;
use std::time::Duration;

use mxoe::engine::{self, Brought, RegionId};

use crate::buffer::{Buffer, Memory, RecvBuffer, SendBuffer};
use crate::core::Core;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result, Status, UnknownRequest};
use crate::handle::{RecvRequest, SendRequest};
use crate::message::{Match, Peer, Received};
use crate::posted::RequestId;
use crate::request::{Key, Kind, Parked, Queued, Straight, Told};

/// How a request has ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Connect, send or receive.
    pub kind: Kind,
    /// The number the program gave with [`SendRequest::queue`], [`RecvRequest::queue`] or when it posted the request.
    pub context: u64,
    /// The message's match information.
    pub bits: u64,
    /// How it ended.
    pub status: Status,
    /// Who was connected to or sent to, or who has sent; unknown where a connect failed, or a receive for which nothing had come.
    pub peer: Option<Peer>,
    /// Length of the message as it was sent, in bytes.
    pub message_len: usize,
    /// Bytes of it that were transferred.
    pub len: usize,
}

/// A request that has ended, out of the completion queue, with its buffer.
pub struct Completion {
    end: End,
    memory: Memory,
}

impl Deref for Completion {
    type Target = End;
    fn deref(&self) -> &End {
        &self.end
    }
}

impl End {
    /// How it ended: what was received, `None` for a send or connect.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn result(&self) -> Result<Option<Received>> {
        let what = match self.kind {
            Kind::Connect => "connect",
            Kind::Send => "send",
            Kind::Receive => "receive",
        };
        match (self.kind, self.status, self.peer) {
            (Kind::Receive, Status::Success | Status::Truncated, Some(peer)) => {
                Ok(Some(Received {
                    len: self.len,
                    message_len: self.message_len,
                    bits: self.bits,
                    source: peer.address,
                }))
            }
            (Kind::Connect | Kind::Send, Status::Success, _) => Ok(None),
            (_, status, _) => Err(Error::Failed { what, status }),
        }
    }
}

/// What can be called once, for a place where the compiler does not see that it is.
fn once<T>(look: impl FnOnce(&End) -> T) -> impl FnMut(&End) -> Option<T> {
    let mut look = Some(look);
    move |end| look.take().map(|look| look(end))
}

/// Has an end outlast the look at it.
pub(crate) fn keep(end: &End) -> End {
    *end
}

impl Completion {
    pub(crate) fn new(end: End, memory: Memory) -> Self {
        Self { end, memory }
    }

    /// The request's buffer, given the type it was started with; `None` for another type.
    #[allow(
        private_bounds,
        reason = "buffers are a closed set: `SendBuffer` and `RecvBuffer` name it"
    )]
    pub fn into_buffer<B: Buffer>(self) -> Option<B> {
        B::from_memory(self.memory)
    }
}

/// What the completion queue holds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Connect, send or receive.
    pub kind: Kind,
    /// Its name.
    pub id: RequestId,
    /// The program's number.
    pub context: u64,
    /// The message's match information.
    pub bits: u64,
}

impl<B: SendBuffer> SendRequest<B> {
    /// Lets the completion queue have the end of this send, under the program's number.
    pub fn queue(mut self, context: u64) {
        self.raw.queue(context);
    }
}

impl<B: RecvBuffer> RecvRequest<B> {
    /// Lets the completion queue have the end of this receive, under the program's number.
    pub fn queue(mut self, context: u64) {
        self.raw.queue(context);
    }
}

impl Endpoint {
    /// The oldest completion whose match information fits, if there is one.
    pub fn test_any(&self, matching: Match) -> Option<Completion> {
        let mut memory = Memory::Empty;
        let end = self
            .shared
            .poll(|core, hurried| core.next_end(matching, hurried, Some(&mut memory), keep))?;
        Some(Completion::new(end, memory))
    }

    /// As [`test_any`](Self::test_any), for programs that do not want the buffer back: shows the end to `look`, which must not call the endpoint.
    #[inline]
    pub fn test_any_with<T>(&self, matching: Match, look: impl FnOnce(&End) -> T) -> Option<T> {
        let mut look = once(look);
        self.shared
            .poll(|core, hurried| core.next_end(matching, hurried, None, &mut look))?
    }

    /// Waits for a completion whose match information fits. `None` when the time is over, or at a [`wakeup`](Self::wakeup).
    pub fn wait_any(&self, matching: Match, timeout: Option<Duration>) -> Option<Completion> {
        let mut memory = Memory::Empty;
        let end = self.drive_until_woken(timeout, |core, hurried| {
            core.next_end(matching, hurried, Some(&mut memory), keep)
        })?;
        Some(Completion::new(end, memory))
    }

    /// As [`wait_any`](Self::wait_any), for programs that do not want the buffer back: shows the end to `look`, which must not call the endpoint.
    #[inline]
    pub fn wait_any_with<T>(
        &self,
        matching: Match,
        timeout: Option<Duration>,
        look: impl FnOnce(&End) -> T,
    ) -> Option<T> {
        let mut look = once(look);
        self.drive_until_woken(timeout, |core, hurried| {
            core.next_end(matching, hurried, None, &mut look)
        })?
    }

    /// Waits until there is a completion, and leaves it in the queue. `None` when the time is over, or at a [`wakeup`](Self::wakeup).
    pub fn peek(&self, timeout: Option<Duration>) -> Option<Peeked> {
        if timeout == Some(Duration::ZERO) {
            return self.shared.poll(Core::peek);
        }
        self.drive_until_woken(timeout, Core::peek)
    }

    /// Has every wait of another thread for completions, posted requests or probes end now, with nothing.
    pub fn wakeup(&self) {
        let mut core = self.shared.enter();
        core.wakeups = core.wakeups.wrapping_add(1);
        core.ended = true;
        self.shared.leave(core);
    }

    pub(crate) fn drive_until_woken<T>(
        &self,
        timeout: Option<Duration>,
        mut done: impl FnMut(&mut Core, bool) -> Option<T>,
    ) -> Option<T> {
        let mut before = None;
        let found = self.shared.drive(timeout, |core, hurried| {
            let before = *before.get_or_insert(core.wakeups);
            match done(core, hurried) {
                Some(found) => Some(Some(found)),
                None => (core.wakeups != before).then_some(None),
            }
        });
        found.flatten()
    }
}

impl Core {
    fn next_end<T>(
        &mut self,
        matching: Match,
        hurried: bool,
        memory: Option<&mut Memory>,
        look: impl FnOnce(&End) -> T,
    ) -> Option<T> {
        let fits = |bits| matching.fits(bits);
        self.hurry_any(hurried, fits);
        let (key, _) = self.requests.peek(fits)?;
        self.take_end(key, memory, look).ok().flatten()
    }

    /// Takes a request out of the completion queue if it is over: shows its end to `look`, and gives its buffer to `memory`, where somebody wants it. So
    /// little is moved about, which costs more than all else that is done here.
    #[inline(always)]
    pub(crate) fn take_end<T>(
        &mut self,
        key: Key,
        memory: Option<&mut Memory>,
        look: impl FnOnce(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        let engine = &self.engine;
        let look = |done: &Queued<'_>| look(&End::of(done, engine));
        let Some((seen, free)) = self.requests.take_queued(key, look)? else {
            return Ok(None);
        };
        if free {
            self.give_memory(key.region(), memory);
        }
        Ok(Some(seen))
    }

    /// The memory of a request that is over goes where somebody wants it.
    #[inline(always)]
    pub(crate) fn give_memory(&mut self, region: RegionId, memory: Option<&mut Memory>) {
        match memory {
            Some(memory) => *memory = self.reclaim(region),
            None => self.let_go(region),
        }
    }

    fn peek(&mut self, hurried: bool) -> Option<Peeked> {
        self.hurry_any(hurried, |_| true);
        let (key, bits) = self.requests.peek(|_| true)?;
        let (kind, context) = self.requests.queued(key)?;
        Some(Peeked {
            kind,
            id: RequestId::new(key),
            context,
            bits,
        })
    }
}

impl End {
    #[inline(always)]
    pub(crate) fn of_parked(send: &Parked) -> Self {
        Self {
            kind: Kind::Send,
            context: send.context,
            bits: send.bits,
            status: Status::Success,
            peer: Some(send.peer),
            message_len: send.len as usize,
            len: send.len as usize,
        }
    }

    /// That of a receive which a short message has completed.
    #[inline(always)]
    pub(crate) fn of_brought(straight: &Straight, brought: &Brought) -> Self {
        let envelope = &brought.envelope;
        let peer = Peer {
            partner: envelope.source,
            address: envelope.address,
        };
        Self {
            kind: Kind::Receive,
            context: straight.context,
            bits: envelope.match_info,
            status: brought.status,
            peer: Some(peer),
            message_len: envelope.length as usize,
            len: brought.length as usize,
        }
    }

    #[inline(always)]
    fn of(done: &Queued<'_>, engine: &engine::Endpoint) -> Self {
        let Told {
            status,
            partner,
            message_len,
            len,
        } = done.told();
        let source = done.envelope().map(|envelope| envelope.address);
        let peer = partner.and_then(|partner| {
            let address = source.or_else(|| engine.address_of(partner))?;
            Some(Peer { partner, address })
        });
        Self {
            kind: done.kind(),
            context: done.context,
            bits: done.bits(),
            status,
            peer,
            message_len: message_len as usize,
            len: len as usize,
        }
    }
}
