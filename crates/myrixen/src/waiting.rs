//! Waiting for requests, looking whether they are over, taking them back.

use std::time::Duration;

use crate::buffer::{Memory, RecvBuffer, SendBuffer, restore};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::handle::{Raw, RecvRequest, SendRequest};
use crate::message::Received;

impl Endpoint {
    /// Waits until the buffer can be used again, and gives it back. See [`Endpoint::send`].
    ///
    /// # Errors
    /// [`Error::Failed`] with what became of the message.
    pub fn wait_send<B: SendBuffer>(&self, mut request: SendRequest<B>) -> Result<B> {
        let memory = self.finish_send(&mut request.raw, None)?;
        memory.map(restore).ok_or(Error::Timeout(Duration::MAX))
    }

    /// As [`Endpoint::wait_send`], for at most this long: gives the request back when the time is over.
    ///
    /// # Errors
    /// As [`Endpoint::wait_send`].
    pub fn wait_send_timeout<B: SendBuffer>(
        &self,
        mut request: SendRequest<B>,
        timeout: Duration,
    ) -> Result<Result<B, SendRequest<B>>> {
        let memory = self.finish_send(&mut request.raw, Some(timeout))?;
        Ok(memory.map(restore).ok_or(request))
    }

    /// The buffer, if the send is complete; the request again, if it is not.
    ///
    /// # Errors
    /// As [`Endpoint::wait_send`].
    pub fn test_send<B: SendBuffer>(
        &self,
        request: SendRequest<B>,
    ) -> Result<Result<B, SendRequest<B>>> {
        self.wait_send_timeout(request, Duration::ZERO)
    }

    pub(crate) fn finish_send(
        &self,
        raw: &mut Raw,
        timeout: Option<Duration>,
    ) -> Result<Option<Memory>> {
        let key = raw.key;
        let ended = self
            .shared
            .drive(timeout, |core, idle| core.send_ended(key, idle));
        raw.settle(ended)
    }

    /// Waits for a message, and gives it and the buffer back.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn wait_recv<B: RecvBuffer>(&self, mut request: RecvRequest<B>) -> Result<(B, Received)> {
        let (memory, received) = self
            .finish_recv(&mut request.raw, None)?
            .ok_or(Error::Timeout(Duration::MAX))?;
        Ok((restore(memory), received))
    }

    /// As [`Endpoint::wait_recv`], for at most this long: gives the request back when the time is over.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn wait_recv_timeout<B: RecvBuffer>(
        &self,
        mut request: RecvRequest<B>,
        timeout: Duration,
    ) -> Result<Result<(B, Received), RecvRequest<B>>> {
        match self.finish_recv(&mut request.raw, Some(timeout))? {
            Some((memory, received)) => Ok(Ok((restore(memory), received))),
            None => Ok(Err(request)),
        }
    }

    /// The message and the buffer, if it is there; the request again, if it is not.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn test_recv<B: RecvBuffer>(
        &self,
        request: RecvRequest<B>,
    ) -> Result<Result<(B, Received), RecvRequest<B>>> {
        self.wait_recv_timeout(request, Duration::ZERO)
    }

    pub(crate) fn finish_recv(
        &self,
        raw: &mut Raw,
        timeout: Option<Duration>,
    ) -> Result<Option<(Memory, Received)>> {
        let key = raw.key;
        let ended = self.shared.drive(timeout, |core, _| core.recv_ended(key));
        raw.settle(ended)
    }

    /// Takes a receive back. `Err` holds the request if a message has already begun to arrive in it.
    pub fn cancel<B: RecvBuffer>(&self, mut request: RecvRequest<B>) -> Result<B, RecvRequest<B>> {
        self.cancel_raw(&mut request.raw)
            .map(restore)
            .ok_or(request)
    }

    pub(crate) fn cancel_raw(&self, raw: &mut Raw) -> Option<Memory> {
        let mut core = self.shared.enter();
        let memory = core.cancel(self.shared.recent(), raw.key)?;
        self.shared.leave(core);
        raw.disarm();
        Some(memory)
    }
}
