//! Where open endpoints are found: a call holds what it has found without a lock, and a close waits until the last call has let go.
//!
//! For the first thread that uses a place that costs no atomic read-modify-write, for others two a call.

use std::ops::Deref;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use myrixen_bias::{Presence, Present};

use crate::endpoint::Ep;

/// Endpoints of one process at a time: an address names its endpoint in one byte.
pub(crate) const MOST: usize = 255;

/// The place of one endpoint. Apart from its neighbours in cache, since other threads work with those.
#[repr(align(64))]
struct Place {
    /// The endpoint, from a `Box`; null before it is open and once it is being closed.
    open: AtomicPtr<Ep>,
    /// Calls that may be using it.
    calls: Presence,
}

static TABLE: [Place; MOST] = [const {
    Place {
        open: AtomicPtr::new(null_mut()),
        calls: Presence::new(),
    }
}; MOST];

/// Which places are taken: from before an endpoint is open until it is gone.
static TAKEN: Mutex<[bool; MOST]> = Mutex::new([false; MOST]);

/// An endpoint in use: it is not gone before this is.
pub(crate) struct InUse {
    slot: &'static Place,
    ep: NonNull<Ep>,
    /// What it is waited for by.
    _call: Present<'static>,
}

impl Deref for InUse {
    type Target = Ep;
    #[inline]
    fn deref(&self) -> &Ep {
        // SAFETY: whoever closes the endpoint takes it out of its place and then waits for all calls, and we were counted before we found it there.
        unsafe { self.ep.as_ref() }
    }
}

/// The endpoint in this place (from 1 on), if there is one.
#[inline]
pub(crate) fn at(place: usize) -> Option<InUse> {
    let slot = TABLE.get(place.wrapping_sub(1))?;
    // Counted before the look.
    let call = slot.calls.enter();
    let ep = NonNull::new(slot.open.load(Ordering::SeqCst))?;
    Some(InUse {
        slot,
        ep,
        _call: call,
    })
}

/// Every open endpoint.
pub(crate) fn all() -> impl Iterator<Item = InUse> {
    (1..=MOST).filter_map(at)
}

/// A place of its own for an endpoint that is to be opened; `None`: all are taken.
pub(crate) struct Reserved(u8);

impl Reserved {
    pub(crate) fn new() -> Option<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, free) = (1..=u8::MAX)
            .zip(taken.iter_mut())
            .find(|(_, taken)| !**taken)?;
        *free = true;
        Some(Self(number))
    }

    /// Its number, from 1 on.
    pub(crate) fn number(&self) -> u8 {
        self.0
    }

    /// Opens the endpoint there.
    pub(crate) fn open(self, ep: Ep) {
        let ep = Box::into_raw(Box::new(ep));
        let place = &TABLE[usize::from(self.0) - 1];
        place.calls.renew();
        place.open.store(ep, Ordering::SeqCst);
        std::mem::forget(self);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken[usize::from(self.0) - 1] = false;
    }
}

/// Takes an endpoint away from its place, so that no new call finds it, and drops it when the last call has let go; `meanwhile` is done again and again until
/// then. False: another thread closes it.
pub(crate) fn close(in_use: InUse, mut meanwhile: impl FnMut(&Ep)) -> bool {
    let (place, ep) = (in_use.slot, in_use.ep);
    let number = in_use.place;
    let taken =
        place
            .open
            .compare_exchange(ep.as_ptr(), null_mut(), Ordering::SeqCst, Ordering::SeqCst);
    if taken.is_err() {
        return false;
    }
    drop(in_use);
    place.calls.wait_for_all(|| {
        // SAFETY: it is ours: nobody else takes it out, and it is dropped below.
        meanwhile(unsafe { ep.as_ref() });
    });
    // SAFETY: it came from a `Box`, we have taken it out, and all who had found it before have let go.
    drop(unsafe { Box::from_raw(ep.as_ptr()) });
    drop(Reserved(number));
    true
}
