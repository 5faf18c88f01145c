//! A back end that the program's own threads drive: whoever waits for a message looks at the network himself, so that nobody else has to be
//! woken for it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use myrixen_platform::{Interest, Ready, WaitSet};

/// What may happen after [`Driver::prepare_sleep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "embedded"),
    allow(dead_code, reason = "nothing is driven")
)]
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

/// What a thread sleeps on that has an endpoint and drives: the endpoint's doorbells, and the driver's descriptor. Apart from the former, because the
/// fabric's thread watches those of endpoints nobody sleeps for, and is not to be woken by every frame.
pub(crate) struct Bed {
    both: WaitSet,
}

const BELLS: u64 = 0;
const DRIVER: u64 = 1;

impl Bed {
    pub(crate) fn new(bells: &WaitSet, driver: &dyn Driver) -> io::Result<Self> {
        let both = WaitSet::new()?;
        both.add(bells.as_fd(), BELLS, Interest::Read)?;
        both.add(driver.fd(), DRIVER, Interest::Read)?;
        Ok(Self { both })
    }

    /// As `bells.wait`, but for anything that the driver has to do as well.
    pub(crate) fn wait(
        &self,
        bells: &WaitSet,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        self.both.wait(timeout, ready)?;
        let rung = ready.iter().any(|ready| ready.token == BELLS);
        ready.clear();
        if rung {
            bells.wait(Some(Duration::ZERO), ready)?;
        }
        Ok(())
    }
}
