//! Handles of requests in flight.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::buffer::{RecvBuffer, SendBuffer};
use crate::error::Result;
use crate::request::{Key, Kind};
use crate::shared::Shared;

/// A send in flight. Dropping it does not stop the send.
#[must_use = "a send reports its errors when it is waited for"]
pub struct SendRequest<B: SendBuffer> {
    pub(crate) raw: Raw,
    pub(crate) buffer: PhantomData<B>,
}

/// A receive in flight. Dropping it cancels the receive.
#[must_use = "a receive that is dropped is cancelled"]
pub struct RecvRequest<B: RecvBuffer> {
    pub(crate) raw: Raw,
    pub(crate) buffer: PhantomData<B>,
}

/// A request's name at its endpoint. Knows what to do when nobody asks any more.
pub(crate) struct Raw {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
    kind: Kind,
    armed: bool,
}

impl Raw {
    pub(crate) fn new(shared: &Arc<Shared>, key: Key, kind: Kind) -> Self {
        Self {
            shared: Arc::clone(shared),
            key,
            kind,
            armed: true,
        }
    }

    /// The completion queue gets the end of the request.
    pub(crate) fn queue(&mut self, context: u64) {
        let mut core = self.shared.enter();
        core.requests.enqueue(self.key, context);
        core.ended = true;
        self.shared.leave(core);
        self.disarm();
    }

    /// What became of the request, if it is over.
    pub(crate) fn settle<T>(&mut self, ended: Option<Result<T>>) -> Result<Option<T>> {
        if ended.is_some() {
            self.disarm();
        }
        ended.transpose()
    }

    /// The request is over or has another owner.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let mut core = self.shared.enter();
        if self.kind == Kind::Receive {
            core.cancel(self.shared.recent(), self.key);
        }
        if core.requests.abandon(self.key) {
            core.let_go(self.key.region());
        }
        self.shared.leave(core);
    }
}
