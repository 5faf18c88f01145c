//! A list that every call looks at and that seldom changes: looked at without a lock, and for the first thread that does so without an atomic
//! read-modify-write.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use myrixen_bias::Presence;

/// See the module.
pub(crate) struct Listed<T> {
    /// What is listed, from a `Box`; null for nothing.
    now: AtomicPtr<Vec<T>>,
    /// Who may be looking at it.
    readers: Presence,
    /// Held by whoever changes it.
    changing: Mutex<()>,
}

// SAFETY: it owns what it lists, and is as good as a `Vec` in all that concerns threads.
unsafe impl<T: Send + Sync> Send for Listed<T> {}
// SAFETY: as above; a change may drop on one thread what another has listed.
unsafe impl<T: Send + Sync> Sync for Listed<T> {}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            now: AtomicPtr::new(null_mut()),
            readers: Presence::new(),
            changing: Mutex::default(),
        }
    }
}

impl<T> Listed<T> {
    /// Shows the list. `look` must not change it, and whoever does waits until it is over: it is not to sleep.
    #[inline]
    pub(crate) fn with<R>(&self, look: impl FnOnce(&[T]) -> R) -> R {
        // Counted before the look, and until it is over.
        let _present = self.readers.enter();
        let now = self.now.load(Ordering::SeqCst);
        // SAFETY: null, or from a `Box`; whoever takes it out of its place then waits for all who may have found it there, and we have been counted.
        look(unsafe { now.as_ref() }.map_or(&[], Vec::as_slice))
    }

    /// A copy of the list, for looks that take their time.
    pub(crate) fn to_vec(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.with(<[T]>::to_vec)
    }

    /// Lists what `change` makes of the list. What is not listed any more is dropped when nobody looks at it.
    pub(crate) fn change(&self, change: impl FnOnce(&[T]) -> Vec<T>) {
        let changing = self.changing.lock();
        let _changing = changing.unwrap_or_else(PoisonError::into_inner);
        let new = Box::into_raw(Box::new(self.with(change)));
        let old = self.now.swap(new, Ordering::SeqCst);
        self.readers.wait_for_all(std::thread::yield_now);
        self.readers.renew();
        if !old.is_null() {
            // SAFETY: it came from a `Box`, we have taken it out, and all who had found it before have let go.
            drop(unsafe { Box::from_raw(old) });
        }
    }
}

impl<T> Drop for Listed<T> {
    fn drop(&mut self) {
        let now = *self.now.get_mut();
        if !now.is_null() {
            // SAFETY: it came from a `Box`, and nobody looks at it any more.
            drop(unsafe { Box::from_raw(now) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn what_is_taken_off_the_list_is_dropped_at_once_and_the_rest_with_it() {
        let list = Listed::default();
        assert!(list.to_vec().is_empty());
        let things = [Arc::new(1), Arc::new(2)];
        for thing in &things {
            list.change(|held| [held, &[Arc::clone(thing)]].concat());
        }
        assert_eq!(list.with(|held| held.iter().map(|x| **x).sum::<i32>()), 3);
        list.change(|held| held[1..].to_vec());
        let holds = || things.each_ref().map(Arc::strong_count);
        assert_eq!(holds(), [1, 2]);
        drop(list);
        assert_eq!(holds(), [1, 1]);
    }

    #[test]
    fn nothing_is_dropped_while_anybody_looks() {
        struct Thing(Arc<AtomicBool>);
        impl Drop for Thing {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let list = &Listed::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let is_gone = |thing: &Thing| thing.0.load(Ordering::SeqCst);
                    let mut seen = 0;
                    while seen < 1000 {
                        list.with(|held: &[Arc<Thing>]| {
                            for thing in held {
                                assert!(!is_gone(thing));
                                seen += 1;
                                std::thread::yield_now();
                                assert!(!is_gone(thing));
                            }
                        });
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..2000 {
                    let gone = Arc::default();
                    let thing = Arc::new(Thing(Arc::clone(&gone)));
                    list.change(|_| vec![thing]);
                    list.change(|held| held.to_vec());
                    assert!(!gone.load(Ordering::SeqCst));
                }
            });
        });
        list.change(|_| Vec::new());
    }
}
