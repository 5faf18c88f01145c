//! When the fabric's thread has endpoints in hand.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// A round takes microseconds, unless a handler of the program is called in it, which may wait for whoever waits for the round.
const LONGEST: Duration = Duration::from_millis(100);

/// The rounds of the fabric's thread. It holds endpoints within a round only.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Odd within one.
    count: AtomicU64,
    thread: OnceLock<ThreadId>,
}

impl Rounds {
    /// The fabric's thread does what is within a round.
    pub(crate) fn within<T>(&self, round: impl FnOnce() -> T) -> T {
        self.thread.get_or_init(|| std::thread::current().id());
        self.count.fetch_add(1, Ordering::SeqCst);
        let done = round();
        self.count.fetch_add(1, Ordering::SeqCst);
        done
    }

    /// For [`wait_past`](Self::wait_past).
    pub(crate) fn now(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until the round is over that it was in `then`. False: it was in none and has been in none since, or it is ours, or takes too long.
    pub(crate) fn wait_past(&self, then: u64) -> bool {
        if self.thread.get() == Some(&std::thread::current().id()) {
            return false;
        }
        if then.is_multiple_of(2) {
            return self.now() != then;
        }
        let until = Instant::now() + LONGEST;
        while self.now() == then {
            if Instant::now() > until {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }
}
