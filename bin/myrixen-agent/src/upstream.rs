//! What the broker needs of the platform, so that it can be tried without one.

use std::io;
use std::time::Instant;

use myrixen_platform::message::{Brought, Request, Serial};
use myrixen_platform::xen::front::FrontEvent;
use myrixen_platform::{Handover, SetupError, WaitSet};
use myrixen_ring::Terms;

/// The way to the back end of one device.
pub trait Upstream {
    /// Keeps it in a wait set under `token`.
    ///
    /// # Errors
    /// As [`WaitSet::add`].
    fn watch(&mut self, set: &WaitSet, token: u64) -> io::Result<()>;

    /// What happened next; `None`: nothing more for now. Does not block.
    fn poll(&mut self, now: Instant) -> Option<FrontEvent>;

    /// When it is to be polled although the wait set is silent.
    fn next_timeout(&self) -> Option<Instant>;

    /// Asks the back end; `None` when it is away.
    fn ask(&mut self, request: &Request) -> Option<Serial>;

    /// Leaves it, until it begins anew.
    fn leave(&mut self, now: Instant);
}

/// Memory that domains share.
pub trait Lender {
    /// A queue pair in memory of ours that domain `to` may map; of what is handed over we keep nothing.
    ///
    /// # Errors
    /// [`SetupError`] names the limit.
    fn lend(&mut self, to: u16, terms: &Terms) -> Result<(Brought, Handover), SetupError>;

    /// A queue pair that domain `from` has lent us.
    ///
    /// # Errors
    /// [`SetupError`] says why it cannot be used.
    fn borrow(
        &mut self,
        from: u16,
        brought: Brought,
        terms: &Terms,
    ) -> Result<Handover, SetupError>;

    /// A pool in memory of ours that domain `to` may read; of what is handed over we keep nothing.
    ///
    /// # Errors
    /// [`SetupError`] names the limit.
    fn lend_pool(&mut self, to: u16, bytes: u32) -> Result<(Brought, Handover), SetupError>;

    /// A pool that domain `from` has lent us.
    ///
    /// # Errors
    /// [`SetupError`] says why it cannot be used.
    fn borrow_pool(
        &mut self,
        from: u16,
        brought: Brought,
        bytes: u32,
    ) -> Result<Handover, SetupError>;
}
