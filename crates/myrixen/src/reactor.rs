//! An endpoint driven by a tokio runtime: its doorbells in the runtime's reactor, its work in a task, without a
//! switch to the fabric's own thread and back for every message.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::shared::Shared;

/// Turns made before other tasks get theirs.
const TURNS: usize = 16;

/// The task that works for an endpoint. The work goes back to the fabric's thread when this is dropped.
#[must_use = "the task ends when its handle is dropped"]
#[derive(Debug)]
pub struct TokioDriver {
    task: JoinHandle<()>,
}

impl Drop for TokioDriver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Endpoint {
    /// Lets the current tokio runtime work for this endpoint: sends, receives and connects that tasks await are woken
    /// from the runtime's own reactor. The runtime needs its I/O and time drivers.
    ///
    /// # Errors
    /// [`Error::System`] when descriptors are used up.
    ///
    /// # Panics
    /// Outside a tokio runtime, or if its I/O or time driver is not enabled, as everything of tokio does.
    #[allow(
        deprecated,
        reason = "its replacement is unsafe, for types that lie about their descriptor; an OwnedFd does not"
    )]
    pub fn drive_on_tokio(&self) -> Result<TokioDriver> {
        let bells = self
            .shared
            .bells_fd()
            .try_clone_to_owned()
            .and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE))
            .map_err(Error::system(
                "could not put the doorbells into the reactor",
            ))?;
        let shared = Arc::downgrade(&self.shared);
        Ok(TokioDriver {
            task: tokio::spawn(drive(shared, bells)),
        })
    }
}

/// Gives up the leader's place also when the task is aborted while it sleeps.
struct Place<'a>(&'a Weak<Shared>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            let mut guarded = shared.lock();
            guarded.look_at_bells(&shared.bells);
            shared.end_sleep(&mut guarded);
            shared.leave(guarded);
        }
    }
}

async fn drive(endpoint: Weak<Shared>, bells: AsyncFd<OwnedFd>) {
    while let Some(due) = work(&endpoint) {
        let Some(wait) = due else {
            tokio::task::yield_now().await;
            continue;
        };
        let place = Place(&endpoint);
        let rung = match wait {
            Some(wait) => tokio::time::timeout(wait, readable(&bells))
                .await
                .unwrap_or(Ok(())),
            None => readable(&bells).await,
        };
        drop(place);
        if rung.is_err() {
            return;
        }
    }
}

async fn readable(bells: &AsyncFd<OwnedFd>) -> io::Result<()> {
    // The set stays readable until its bells are drained, which happens under the endpoint's lock afterwards.
    bells.readable().await?.clear_ready();
    Ok(())
}

/// Works for the endpoint. `None`: it is closed. Else how long to sleep, as its leader: `Some(None)` until a doorbell rings;
/// or not at all.
#[allow(
    clippy::option_option,
    reason = "closed, busy, for ever and for a time are four things"
)]
fn work(endpoint: &Weak<Shared>) -> Option<Option<Option<Duration>>> {
    let shared = endpoint.upgrade()?;
    let mut guarded = shared.enter();
    let mut now = shared.now();
    for _ in 0..TURNS {
        if !guarded.turn(now, false)
            && !guarded.leader
            && let Some(due) = guarded.begin_sleep(now)
        {
            shared.leave(guarded);
            return Some(Some(due.map(|due| due.since(now))));
        }
        now = shared.now();
    }
    shared.leave(guarded);
    Some(None)
}
