//! A back end that the program's own threads drive: whoever waits for a message looks at the network himself, so that nobody else has to be
//! woken for it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The token under which an endpoint's wait set has the driver's descriptor.
pub(crate) const DRIVER: u64 = u64::MAX - 2;

/// What may happen after [`Driver::prepare_sleep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// There is something to do.
    Awake,
    /// The descriptor becomes ready when there is; look again after this time, if one is given.
    Asleep(Option<Duration>),
}

/// See the module. Any thread may call at any time; one at a time drives, and the others find nothing to do.
pub(crate) trait Driver: Send + Sync {
    /// A program's thread comes in: from now on threads of programs drive.
    fn enter(&self);

    /// One round of the back end. True if there was anything to do.
    fn turn(&self) -> bool;

    /// The caller is about to sleep, on [`fd`](Self::fd) among others. Then it calls [`wake_up`](Self::wake_up), unless it is to stay awake.
    fn prepare_sleep(&self) -> Rest;

    /// The caller has slept.
    fn wake_up(&self);

    /// Ready when there is something to do, for whoever sleeps.
    fn fd(&self) -> BorrowedFd<'_>;
}
