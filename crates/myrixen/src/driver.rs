//! A back end that the program's own threads drive: whoever waits for a message looks at the network himself, so that nobody else has to be
//! woken for it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
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
    /// A descriptor becomes ready when there is; look again after this time, if one is given.
    Asleep(Option<Duration>),
}

/// What came of [`Driver::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// There was something to do.
    pub(crate) busy: bool,
    /// All rings were looked at, or will be by who looks on. Else whoever has put something into one is to ring its bell.
    pub(crate) saw_all: bool,
}

/// So many looks at a thread that drives have to find nothing new before another one takes its place. Between two of them that one looks at its rings for the
/// time of a turn.
const PATIENCE: u32 = 4;

/// What a waiter has seen of another thread that drives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// How many turns there had been.
    turns: u32,
    /// How many times no more than that.
    in_vain: u32,
}

impl Watch {
    /// There have been so many turns by now: whether whoever has them goes on.
    #[cfg_attr(
        not(feature = "embedded"),
        allow(dead_code, reason = "nothing is driven")
    )]
    pub(crate) fn goes_on(&mut self, turns: u32) -> bool {
        if std::mem::replace(&mut self.turns, turns) != turns {
            self.in_vain = 0;
        }
        self.in_vain += 1;
        if self.in_vain > PATIENCE {
            self.in_vain = 0;
        }
        self.in_vain > 0
    }
}

/// A descriptor of an uplink to sleep on, and for what.
pub(crate) type Watched = (Arc<OwnedFd>, Interest);

/// See the module. Any thread may call at any time; one at a time drives, and the others find nothing to do.
pub(crate) trait Driver: Send + Sync {
    /// A program's thread comes in: from now on threads of programs drive.
    fn enter(&self);

    /// One round of the back end, if the caller has had the last one.
    fn turn_of_holder(&self) -> Option<Turn>;

    /// The same by who has put something into a ring. Not where another thread drives, and looks on, or has taken all of it: `is_taken`
    /// tells.
    fn turn(&self, is_taken: &dyn Fn() -> bool) -> Turn;

    /// The same by who waits. `None`: another thread is at it, and the caller has nothing to do but to look at its rings. `watch` is the caller's own.
    fn turn_of_waiter(&self, watch: &mut Watch) -> Option<Turn>;

    /// Whether the caller, who has had the last turn, takes another one whatever comes, so that others may leave things to it.
    fn look_on(&self, looks_on: bool);

    /// The caller is about to sleep, on [`fd`](Self::fd) and on what is put into `uplinks`, which is cleared first. Then it calls
    /// [`wake_up`](Self::wake_up), unless it is to stay awake.
    fn prepare_sleep(&self, uplinks: &mut Vec<Watched>) -> Rest;

    /// The caller has slept; `rung` if [`fd`](Self::fd) may be ready.
    fn wake_up(&self, rung: bool);

    /// Ready when there is something to do besides what the uplinks have.
    fn fd(&self) -> BorrowedFd<'_>;
}

/// What a thread sleeps on that has an endpoint and drives: the endpoint's doorbells and the driver's descriptor, which are not what ends most sleeps,
/// in one set; the uplinks beside it. Apart from the endpoint's doorbells, because the fabric's thread watches those of endpoints nobody
/// sleeps for, and is not to be woken by every frame.
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

    /// As `bells.wait`, but for anything that the driver has to do as well. True when the driver's descriptor is ready.
    pub(crate) fn wait(
        &self,
        bells: &WaitSet,
        uplinks: &[Watched],
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<bool> {
        self.both.wait_beside(uplinks, timeout, ready)?;
        let of = |token| move |ready: &Ready| ready.token == token;
        let (rung, driver) = (ready.iter().any(of(BELLS)), ready.iter().any(of(DRIVER)));
        ready.clear();
        if rung {
            bells.wait(Some(Duration::ZERO), ready)?;
        }
        Ok(driver)
    }
}
