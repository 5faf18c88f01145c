//! Who is using something that is to be taken away.

use std::marker::PhantomData;

use crate::fence::{available, heavy, light};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::thread;

/// Counts the users of something that can be taken away: each says so, and then looks whether it is still there. Whoever takes it away first sees to it
/// that nobody finds it any more, and then waits for the last user. One thread, the first that comes, is counted without an atomic read-modify-write.
#[derive(Debug)]
pub struct Presence {
    /// That thread, or [`thread::NOBODY`].
    owner: AtomicU64,
    /// How many times it is present: a user may use the thing once more in between.
    own: AtomicU32,
    /// How many times others are.
    others: AtomicU32,
}

/// A user is present until this is dropped.
#[derive(Debug)]
pub struct Present<'a> {
    presence: &'a Presence,
    own: bool,
    /// The count is a thread's.
    stays: PhantomData<*const ()>,
}

impl Presence {
    /// Of nobody.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            owner: AtomicU64::new(thread::NOBODY),
            own: AtomicU32::new(0),
            others: AtomicU32::new(0),
        }
    }

    /// The same: loom's atomics are made at run time.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            owner: AtomicU64::new(thread::NOBODY),
            own: AtomicU32::new(0),
            others: AtomicU32::new(0),
        }
    }

    /// From now on the calling thread is present. What it loads after this with [`Ordering::SeqCst`], it sees taken away, or it is waited for.
    #[inline]
    pub fn enter(&self) -> Present<'_> {
        let own = self.owner.load(Ordering::Relaxed) == thread::number();
        if own {
            self.count_own();
        }
        let own = own || self.count();
        Present {
            presence: self,
            own,
            stays: PhantomData,
        }
    }

    #[inline]
    fn count_own(&self) {
        let own = self.own.load(Ordering::Relaxed);
        self.own.store(own.wrapping_add(1), Ordering::Relaxed);
        // pairs with: `wait_for_all`
        light();
    }

    /// Counts somebody who is not the owner yet. True if it is now.
    #[cold]
    fn count(&self) -> bool {
        if self.owner.load(Ordering::Relaxed) == thread::NOBODY && available() {
            let me = thread::thread_number();
            let (nobody, order) = (thread::NOBODY, Ordering::SeqCst);
            let claims = || self.owner.compare_exchange(nobody, me, order, order);
            if me != thread::NONE && claims().is_ok() {
                self.count_own();
                return true;
            }
        }
        self.others.fetch_add(1, Ordering::SeqCst);
        false
    }

    /// What is counted is to be another thing from now on: an owner that has ended makes room for the next thread that comes.
    pub fn renew(&self) {
        let owner = self.owner.load(Ordering::Relaxed);
        if !thread::is_alive(owner) {
            let (nobody, order) = (thread::NOBODY, Ordering::SeqCst);
            let _ = self.owner.compare_exchange(owner, nobody, order, order);
        }
    }

    /// Waits until nobody is present who came before what is counted was taken away, which was done with [`Ordering::SeqCst`]; `meanwhile` is done again and
    /// again until then.
    pub fn wait_for_all(&self, mut meanwhile: impl FnMut()) {
        heavy();
        while self.own.load(Ordering::Acquire) > 0 || self.others.load(Ordering::SeqCst) > 0 {
            meanwhile();
        }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Present<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.own {
            let own = self.presence.own.load(Ordering::Relaxed);
            self.presence
                .own
                .store(own.wrapping_sub(1), Ordering::Release);
        } else {
            self.presence.others.fetch_sub(1, Ordering::Release);
        }
    }
}
