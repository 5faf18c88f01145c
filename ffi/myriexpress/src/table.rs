//! Where open endpoints are found: a call holds what it has found without a lock, and a close waits until the last call has let go.
//!
//! For the first thread that uses a place that costs no atomic read-modify-write, for others two a call. Short calls of the thread that uses an endpoint as a
//! rule are counted by nobody: they come in by the endpoint's lock ([`Call`]), for which a close waits as well.

use std::num::NonZeroU64;
use std::ops::Deref;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use myrixen::{Door, Guest};
use myrixen_bias::{Presence, Present};

use crate::endpoint::Ep;
use crate::types::mx_endpoint_t;

/// Endpoints of one process at a time: an address names its endpoint in one byte.
pub(crate) const MOST: usize = 255;

/// The place of one endpoint. Apart from its neighbours in cache, since other threads work with those.
#[repr(align(64))]
struct Place {
    /// The endpoint, from a `Box`; null before it is open and once it is being closed.
    open: AtomicPtr<Ep>,
    /// Calls that may be using it.
    calls: Presence,
    /// The way past them into the endpoint, whose name is its handle.
    door: Door,
}

static TABLE: [Place; MOST] = [const {
    Place {
        open: AtomicPtr::new(null_mut()),
        calls: Presence::new(),
        door: Door::new(),
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

/// A short call of the thread that uses an endpoint as a rule. It is inside the endpoint's lock, and so the endpoint stays.
pub(crate) struct Call {
    place: &'static Place,
    ep: NonNull<Ep>,
    guest: Guest,
}

impl Call {
    /// Finds an endpoint by its handle. `None` says nothing of the endpoint.
    #[inline(always)]
    pub(crate) fn of(handle: mx_endpoint_t) -> Option<Self> {
        let place = TABLE.get(place_of(handle).wrapping_sub(1))?;
        let guest = place.door.enter(NonZeroU64::new(handle as u64)?)?;
        let ep = NonNull::new(place.open.load(Ordering::Relaxed))?;
        Some(Self { place, ep, guest })
    }

    /// The endpoint, and what is inside.
    #[inline(always)]
    pub(crate) fn parts(&mut self) -> (&Ep, &mut Guest) {
        // SAFETY: whoever closes the endpoint shuts its door first, for which he waits until we have gone out; it was put into its place before the door led
        // there by this name.
        (unsafe { self.ep.as_ref() }, &mut self.guest)
    }

    /// Goes out.
    #[inline(always)]
    pub(crate) fn leave(self) {
        let Self { place, ep, guest } = self;
        if let Some(guest) = guest.leave() {
            Self { place, ep, guest }.see_off();
        }
    }

    /// The same where others wait for what was done.
    #[cold]
    fn see_off(self) {
        let (in_use, guest) = self.stay();
        in_use.endpoint.see_off(guest);
    }

    /// Is counted from now on, so that the endpoint stays when it is not inside any more.
    #[inline(always)]
    pub(crate) fn stay(self) -> (InUse, Guest) {
        let in_use = InUse {
            slot: self.place,
            ep: self.ep,
            // Inside, before the door can be shut: so it is waited for.
            _call: self.place.calls.enter(),
        };
        (in_use, self.guest)
    }
}

/// The place of an endpoint, from 1 on, as its handle says; 0 where it is none.
#[inline]
pub(crate) fn place_of(handle: mx_endpoint_t) -> usize {
    (handle >> 4) & 0xff
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
        let place = &TABLE[usize::from(self.0) - 1];
        place.calls.renew();
        let name = NonZeroU64::new(ep.handle as u64);
        let ep = Box::leak(Box::new(ep));
        place.open.store(ep, Ordering::SeqCst);
        if let Some(name) = name {
            place.door.lead_to(&ep.endpoint, name);
        }
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
    // First, so that whoever is inside finds the endpoint in its place.
    in_use.endpoint.shut_doors();
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
