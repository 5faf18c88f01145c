//! Numbers of threads: unlike the system's, none is ever used again.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::whole;

/// Of a thread that has none, or has none any more.
pub(crate) const NONE: u64 = 0;

/// The numbers of threads that have not ended.
static ALIVE: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// Ends with its thread.
struct Life(u64);

impl Drop for Life {
    fn drop(&mut self) {
        // What is dropped after this has no number.
        own::set(NONE);
        whole(ALIVE.lock()).remove(&self.0);
    }
}

#[cfg(not(loom))]
mod own {
    use std::cell::Cell;

    use super::{Life, NONE};

    thread_local! {
        /// This thread's, if it has one. Apart from the other, so that looking at it is no more than a load.
        static NUMBER: Cell<u64> = const { Cell::new(NONE) };
        static LIFE: Cell<Option<Life>> = const { Cell::new(None) };
    }

    #[inline]
    pub(crate) fn number() -> u64 {
        NUMBER.get()
    }

    pub(super) fn set(number: u64) {
        NUMBER.set(number);
    }

    /// Ends `life` with this thread, which has no number where that is about to be.
    pub(super) fn begin(life: Life) {
        let number = life.0;
        if LIFE.try_with(|own| own.set(Some(life))).is_ok() {
            set(number);
        }
    }
}

/// Loom's threads are one to the system.
#[cfg(loom)]
mod own {
    use std::cell::Cell;

    use super::{Life, NONE};

    loom::thread_local! {
        static NUMBER: Cell<u64> = Cell::new(NONE);
    }

    pub(crate) fn number() -> u64 {
        NUMBER.with(Cell::get)
    }

    pub(super) fn set(number: u64) {
        NUMBER.with(|own| own.set(number));
    }

    pub(super) fn begin(life: Life) {
        set(life.0);
        std::mem::forget(life);
    }
}

/// This thread's number, if it has one.
pub(crate) use own::number;

/// The same; gives it one if it can have one.
pub(crate) fn numbered() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(NONE + 1);
    if number() == NONE {
        let new = NEXT.fetch_add(1, Ordering::Relaxed);
        whole(ALIVE.lock()).insert(new);
        own::begin(Life(new));
    }
    number()
}

/// Whether this thread may still do something.
pub(crate) fn is_alive(number: u64) -> bool {
    whole(ALIVE.lock()).contains(&number)
}
