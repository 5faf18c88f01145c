//! The completion queue: requests whose end is picked up by match information rather than by
//! handle, as `mx_test_any`, `mx_wait_any` and `mx_peek` do it.

use std::time::Duration;

use crate::buffer::{Buffer, Memory, RecvBuffer, SendBuffer};
use crate::core::Core;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result, Status};
use crate::handle::{RecvRequest, SendRequest};
use crate::message::{Match, Received};
use crate::request::{Kind, Outcome, Queued};

/// A request that has ended, out of the completion queue.
pub struct Completion {
    /// Send or receive.
    pub kind: Kind,
    /// The number the program gave with [`SendRequest::queue`] or [`RecvRequest::queue`].
    pub context: u64,
    /// The message's match information.
    pub bits: u64,
    result: Result<Option<Received>>,
    memory: Memory,
}

impl Completion {
    /// How it ended: what was received, `None` for a send.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn result(&self) -> Result<Option<Received>, &Error> {
        self.result.as_ref().copied()
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
    /// Send or receive.
    pub kind: Kind,
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
        self.shared.poll(|core| core.next_completion(matching))
    }

    /// Waits for a completion whose match information fits. `None` when the time is over.
    pub fn wait_any(&self, matching: Match, timeout: Option<Duration>) -> Option<Completion> {
        self.shared
            .drive(timeout, |core, _| core.next_completion(matching))
    }

    /// Waits until there is a completion, and leaves it in the queue. `None` when the time is over.
    pub fn peek(&self, timeout: Option<Duration>) -> Option<Peeked> {
        self.shared.drive(timeout, |core, _| {
            core.requests.peek(|_| true).map(|done| Peeked {
                kind: done.kind,
                context: done.context,
                bits: done.bits,
            })
        })
    }
}

impl Core {
    fn next_completion(&mut self, matching: Match) -> Option<Completion> {
        let done = self.requests.next_completion(|bits| matching.fits(bits))?;
        Some(self.completion(done))
    }

    fn completion(&mut self, done: Queued) -> Completion {
        let memory = done
            .region
            .map_or(Memory::Empty, |region| self.reclaim(region));
        let result = match done.outcome {
            Outcome::Sent(Status::Success) => Ok(None),
            Outcome::Sent(status) => Err(Error::Failed {
                what: "send",
                status,
            }),
            outcome => self.received(&outcome).map(Some),
        };
        Completion {
            kind: done.kind,
            context: done.context,
            bits: done.bits,
            result,
            memory,
        }
    }
}
