//! A VXLAN link whose remote ends can be changed while a worker drives it.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mxoe::addr::NicAddr;
use myrixen_link::vxlan::VxlanLink;
use myrixen_link::{Incoming, Interest, Link, LinkCounters, LinkError, LinkInfo, Outgoing};

/// Where other remote ends are left for the link to find.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remotes(Arc<Left>);

#[derive(Debug, Default)]
struct Left {
    new: Mutex<Option<Vec<SocketAddr>>>,
    /// There is something in `new`: looked at for each burst, so it is a flag and no lock.
    some: AtomicBool,
}

impl Remotes {
    /// Has the link use these remote ends from its next burst on.
    pub(crate) fn set(&self, remotes: Vec<SocketAddr>) {
        let mut new = self.0.new.lock().unwrap_or_else(PoisonError::into_inner);
        *new = Some(remotes);
        self.0.some.store(true, Ordering::Release); // pairs with: take
    }

    fn take(&self) -> Option<Vec<SocketAddr>> {
        if !self.0.some.load(Ordering::Acquire) {
            return None;
        }
        let mut new = self.0.new.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.some.store(false, Ordering::Relaxed); // under the lock
        new.take()
    }
}

/// The link.
#[derive(Debug)]
pub(crate) struct Reloadable {
    inner: VxlanLink,
    remotes: Remotes,
}

impl Reloadable {
    pub(crate) fn new(inner: VxlanLink, remotes: Remotes) -> Self {
        Self { inner, remotes }
    }

    /// Takes over what was left for us.
    fn refresh(&mut self) {
        if let Some(remotes) = self.remotes.take() {
            match self.inner.set_remotes(&remotes) {
                Ok(()) => tracing::info!(?remotes, "remote ends changed"),
                Err(error) => tracing::error!(%error, "remote ends not changed"),
            }
        }
    }
}

impl Link for Reloadable {
    fn describe(&self) -> LinkInfo {
        self.inner.describe()
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        self.inner.transmit(frame)
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.inner.flush()
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        // Every turn of a worker begins here, so this is before the next frame leaves.
        self.refresh();
        self.inner.receive(budget, sink)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        self.inner.readiness()
    }

    fn set_addresses(&mut self, macs: &[NicAddr]) -> Result<(), LinkError> {
        self.inner.set_addresses(macs)
    }

    fn counters(&self) -> LinkCounters {
        self.inner.counters()
    }
}
