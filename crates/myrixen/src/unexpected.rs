//! Messages that arrived before anybody asked for them: hearing of them, taking one, refusing one.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use mxoe::engine::{ClaimedReceive, UnexpectedId};

use crate::buffer::RecvBuffer;
use crate::core::{Announced, Core};
use crate::endpoint::{Endpoint, message_len};
use crate::error::{Error, Result};
use crate::handle::{Raw, RecvRequest};
use crate::message::{Match, Pending};
use crate::request::{Kind, New};
use crate::shared::Shared;

/// A message that nobody waited for.
///
/// One that [`Endpoint::claim`] gave belongs to its holder alone. One that [`Endpoint::next_unexpected`] told of
/// stays where it is, for any receive to take.
#[derive(Debug)]
pub struct Unexpected {
    /// What is on its cover.
    pub message: Pending,
    id: UnexpectedId,
}

/// What a program does with messages that nobody waited for.
#[derive(Clone)]
pub(crate) struct UnexpectedHandler(pub(crate) Arc<Handler>);

type Handler = dyn Fn(&Endpoint, Unexpected) + Send + Sync;

impl std::fmt::Debug for UnexpectedHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UnexpectedHandler")
    }
}

impl Shared {
    /// Shows the handler what it has not seen yet. A handler that calls the endpoint is not called from inside itself.
    pub(crate) fn show_unexpected(&self) {
        let (Some(UnexpectedHandler(handler)), Some(shared)) = (&self.handler, self.me.upgrade())
        else {
            return;
        };
        let endpoint = Endpoint { shared };
        let mut guarded = self.lock();
        if guarded.handling {
            return;
        }
        while let Some(announced) = guarded.core.announced.pop_front() {
            guarded.handling = true;
            drop(guarded);
            handler(&endpoint, announced.into());
            guarded = self.lock();
            guarded.handling = false;
        }
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
        self.shared.poll(|core| {
            core.engine.claim(&filter).map(|(id, envelope)| Unexpected {
                message: Pending::from(&envelope),
                id,
            })
        })
    }

    /// Receives this very message.
    ///
    /// # Errors
    /// [`Error::Failed`] if another receive has taken it.
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
        let region = core.regions.add(memory);
        let key = core.requests.add(New {
            kind: Kind::Receive,
            region: Some(region),
            bits: message.message.bits,
            may_end_early: false,
        });
        let into = ClaimedReceive {
            region,
            len,
            token: key.token(),
        };
        match core.engine.receive_claimed(now, message.id, into) {
            Ok(id) => core.requests.started(key, id),
            Err(status) => {
                core.requests.withdraw(key);
                drop(core.reclaim(region));
                return Err(Error::Failed {
                    what: "receive",
                    status,
                });
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
