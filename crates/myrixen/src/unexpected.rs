//! Messages that arrived before anybody asked for them: hearing of them, taking one, refusing one.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use mxoe::engine::{ClaimedReceive, UnexpectedId};
use mxoe::time::Time;

use crate::buffer::RecvBuffer;
use crate::core::{Announced, Core};
use crate::endpoint::{Endpoint, message_len, not_received};
use crate::error::Result;
use crate::handle::{Raw, RecvRequest};
use crate::message::{Match, Pending};
use crate::request::{Kind, New};
use crate::shared::{Guarded, Shared};

/// A message that nobody waited for.
///
/// One that [`Endpoint::claim`] gave belongs to its holder alone. One that [`Endpoint::next_unexpected`] told of
/// stays where it is, for any receive to take.
#[derive(Debug)]
pub struct Unexpected {
    /// What is on its cover.
    pub message: Pending,
    pub(crate) id: UnexpectedId,
}

/// What a handler says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has been dealt with: its sender sees it taken, and no receive gets it.
    Taken,
    /// A receive is to have it: one that was posted meanwhile, or a later one.
    Left,
}

/// What a program does with messages that nobody waited for.
#[derive(Clone)]
pub(crate) struct UnexpectedHandler(pub(crate) Arc<Handler>);

type Handler = dyn Fn(&Endpoint, &Unexpected, Option<&[u8]>) -> Verdict + Send + Sync;

impl std::fmt::Debug for UnexpectedHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UnexpectedHandler")
    }
}

impl Shared {
    /// Shows the handler what it has not seen yet. A handler that calls the endpoint is not called from inside itself.
    pub(crate) fn show_unexpected(&self) {
        let Some(shared) = self.me.upgrade() else {
            return;
        };
        let endpoint = Endpoint::of(shared);
        let mut guarded = self.lock();
        while let Some((UnexpectedHandler(handler), announced)) = guarded.next_to_show() {
            let unexpected = Unexpected::from(announced);
            let Some(held) = guarded.core.engine.hold(unexpected.id) else {
                continue;
            };
            // A copy: the handler may receive the message, which frees the entry.
            let store = &guarded.core.store;
            let bytes = held.store.map_or(Vec::new(), |id| {
                let bytes = store.bytes(id);
                bytes
                    .get(..unexpected.message.len)
                    .unwrap_or(bytes)
                    .to_vec()
            });
            guarded.handling = Some(std::thread::current().id());
            drop(guarded);
            let shown = held.complete.then_some(bytes.as_slice());
            let verdict = handler(&endpoint, &unexpected, shown);
            guarded = self.lock();
            guarded.handling = None;
            guarded.end_showing(self.recent(), &unexpected, verdict);
        }
        self.leave(guarded);
    }
}

impl Guarded {
    fn next_to_show(&mut self) -> Option<(UnexpectedHandler, Announced)> {
        if self.is_halted() {
            return None;
        }
        if let Some(announced) = self.core.requested.pop_front() {
            return Some((self.server.clone()?, announced));
        }
        let handler = self.handler.clone()?;
        Some((handler, self.core.announced.pop_front()?))
    }

    fn end_showing(&mut self, now: Time, unexpected: &Unexpected, verdict: Verdict) {
        let core = &mut self.core;
        match verdict {
            Verdict::Taken => core.engine.discard(now, unexpected.id),
            Verdict::Left => {
                core.engine.release(now, unexpected.id);
            }
        }
        core.events();
        core.transmit(now);
        // Whoever waited for the handler to end goes on.
        core.ended = true;
    }
}

impl From<Announced> for Unexpected {
    fn from(announced: Announced) -> Self {
        Self {
            message: Pending::from(&announced.envelope),
            id: announced.id,
        }
    }
}

impl Endpoint {
    /// Calls `handler` from now on for each message that arrives and that nobody waits for, on whatever thread finds it, the fabric's own
    /// included; `None`: nobody is called any more. It is given the message's bytes if they are there: large messages are still with their senders then.
    ///
    /// While it runs, no other message arrives, and no receive gets this one. It may call the endpoint: post receives, send, [`Endpoint::receive`] this
    /// very message. It cannot wait for anything on this endpoint: waits end at once, with nothing.
    pub fn set_unexpected_handler<H>(&self, handler: Option<H>)
    where
        H: Fn(&Endpoint, &Unexpected, Option<&[u8]>) -> Verdict + Send + Sync + 'static,
    {
        let mut guarded = self.shared.enter();
        guarded.core.engine.announce_unexpected(handler.is_some());
        guarded.core.announced.clear();
        guarded.handler = handler.map(|handler| UnexpectedHandler(Arc::new(handler)));
        self.shared.leave(guarded);
    }

    /// Stops the endpoint: nothing is taken from its rings, no handler called, until [`resume`](Self::resume). Waits for a handler that runs on
    /// another thread. Waits of others go on until their time is over.
    pub fn pause(&self) {
        self.shared.halt();
    }

    /// Takes [`pause`](Self::pause) back, and works for the endpoint once.
    pub fn resume(&self) {
        let mut guarded = self.shared.enter();
        guarded.paused = false;
        guarded.core.ended = true;
        self.shared.leave(guarded);
        self.progress();
    }

    /// Hears of the next message that arrived before a receive for it was posted. It stays in the queue for
    /// receives; [`Endpoint::receive`] or [`Endpoint::discard`] takes it out. `None` when the time is over, or if the endpoint was
    /// not opened with [`EndpointOptions::announce_unexpected`](crate::EndpointOptions::announce_unexpected).
    pub fn next_unexpected(&self, timeout: Option<Duration>) -> Option<Unexpected> {
        self.shared.drive(timeout, |core, _| {
            core.announced.pop_front().map(Unexpected::from)
        })
    }

    /// Takes the oldest message that fits out of the queue, so that no other receive can have it. It is kept until
    /// [`Endpoint::receive`] or [`Endpoint::discard`].
    pub fn claim(&self, matching: Match) -> Option<Unexpected> {
        let filter = matching.filter();
        self.shared.poll(|core, _| {
            core.engine.claim(&filter).map(|(id, envelope)| Unexpected {
                message: Pending::from(&envelope),
                id,
            })
        })
    }

    /// Receives this very message.
    ///
    /// # Errors
    /// [`Error::Failed`](crate::Error::Failed) if another receive has taken it.
    pub fn receive<B: RecvBuffer>(
        &self,
        message: &Unexpected,
        buffer: B,
    ) -> Result<RecvRequest<B>> {
        let memory = buffer.into_memory();
        let len = message_len(memory.len())?;
        let mut guarded = self.shared.enter();
        let now = self.shared.recent();
        let core: &mut Core = &mut guarded;
        let key = core.requests.add(New {
            kind: Kind::Receive,
            bits: message.message.bits,
            partner: None,
            len: 0,
            may_end_early: false,
            queue: None,
        });
        core.regions.put(key.region(), memory);
        let into = ClaimedReceive {
            region: key.region(),
            len,
            token: key.token(),
        };
        match core.engine.receive_claimed(now, message.id, into) {
            Ok(id) => core.requests.started(key, id),
            Err(status) => {
                core.requests.withdraw(key);
                core.let_go(key.region());
                return Err(not_received(status));
            }
        }
        core.events();
        core.transmit(now);
        self.shared.leave(guarded);
        Ok(RecvRequest {
            raw: Raw::new(&self.shared, key, Kind::Receive),
            buffer: PhantomData,
        })
    }

    /// Throws this message away. Its sender sees it taken; of a large one nothing is transferred.
    pub fn discard(&self, message: Unexpected) {
        let mut guarded = self.shared.enter();
        let now = self.shared.recent();
        guarded.core.engine.discard(now, message.id);
        guarded.core.events();
        guarded.core.transmit(now);
        self.shared.leave(guarded);
    }
}
