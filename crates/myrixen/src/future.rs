//! Requests as futures, for any runtime. The fabric's progress thread wakes the tasks.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mxoe::addr::Address;

use crate::buffer::{RecvBuffer, SendBuffer, restore};
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::handle::{Raw, RecvRequest, SendRequest};
use crate::message::{Match, Peer, Received};

/// What a send or receive turns into with `.await`.
pub type RequestFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

impl<B: SendBuffer + Send + 'static> IntoFuture for SendRequest<B> {
    type Output = Result<B>;
    type IntoFuture = RequestFuture<B>;

    /// Resolves to the buffer when it can be used again.
    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(std::future::poll_fn(move |task| {
            let ended = poll_raw(&mut self.raw, task, |core, key| core.send_ended(key, true));
            ended.map(|memory| Ok(restore(memory?)))
        }))
    }
}

impl<B: RecvBuffer + Send + 'static> IntoFuture for RecvRequest<B> {
    type Output = Result<(B, Received)>;
    type IntoFuture = RequestFuture<(B, Received)>;

    /// Resolves to the buffer and what is in it.
    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(std::future::poll_fn(move |task| {
            let ended = poll_raw(&mut self.raw, task, |core, key| core.recv_ended(key));
            ended.map(|ended| {
                let (memory, received) = ended?;
                Ok((restore(memory), received))
            })
        }))
    }
}

fn poll_raw<T>(
    raw: &mut Raw,
    task: &mut Context<'_>,
    mut ended: impl FnMut(&mut crate::core::Core, crate::request::Key) -> Option<T>,
) -> Poll<T> {
    let key = raw.key;
    let waker = task.waker();
    let found = raw.shared.poll_with_waker(|core| {
        let found = ended(core, key);
        if found.is_none() {
            core.requests.set_waker(key, waker);
        }
        found
    });
    match found {
        Some(found) => {
            raw.disarm();
            Poll::Ready(found)
        }
        None => Poll::Pending,
    }
}

impl Endpoint {
    /// [`Endpoint::connect`] for tasks.
    ///
    /// # Errors
    /// As [`Endpoint::connect`].
    pub async fn connect_async(&self, to: Address, key: u32, timeout: Duration) -> Result<Peer> {
        let mut request = self.start_connect(to, key, timeout)?;
        let outcome = std::future::poll_fn(|task| {
            poll_raw(&mut request, task, |core, key| core.requests.take(key))
        })
        .await;
        Self::connected(to, timeout, &outcome)
    }

    /// Receives the next message that fits, into a buffer that is given back.
    ///
    /// # Errors
    /// [`Error::Failed`](crate::Error::Failed).
    pub async fn recv_async<B: RecvBuffer + Send + 'static>(
        &self,
        matching: Match,
        buffer: B,
    ) -> Result<(B, Received)> {
        self.irecv(matching, buffer)?.await
    }

    /// Sends, and gives the buffer back when it can be used again.
    ///
    /// # Errors
    /// As [`Endpoint::send`].
    pub async fn send_async<B: SendBuffer + Send + 'static>(
        &self,
        to: &Peer,
        bits: u64,
        buffer: B,
    ) -> Result<B> {
        self.isend(to, bits, buffer)?.await
    }
}
