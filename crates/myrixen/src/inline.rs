//! Driving an embedded back end from the program's threads ([`Driver`]), and from a thread of its own, the *keeper*, while none of them
//! comes in.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use myrixen_backend::{Clock, Rest as WorkerRest, Worker};
use myrixen_platform::Waker;

use crate::driver::{Driver, Rest, Turn, Watched};

/// How often the keeper looks whether programs still come in, while any does.
const TICK: Duration = Duration::from_millis(5);

/// See the module.
pub(crate) struct Inline {
    worker: Mutex<Worker>,
    uplinks: Mutex<Vec<Uplink>>,
    clock: Clock,
    /// The worker's, to be had without the lock.
    fd: OwnedFd,
    waker: Waker,
    /// How often programs have come in: the keeper sees by it whether one still does.
    visits: AtomicUsize,
    /// Threads of programs that sleep on the descriptor: they will drive when it is ready.
    sleepers: AtomicUsize,
    /// Somebody has slept since the bells that can wake him were last drained.
    undrained: AtomicBool,
    /// The keeper drives.
    kept: AtomicBool,
    /// Threads of programs that want the worker back from the keeper.
    wanted: AtomicUsize,
    /// The keeper waits for a sleeper to wake.
    idle: AtomicBool,
    /// The keeper is to end.
    stop: Mutex<bool>,
    changed: Condvar,
}

/// An uplink's descriptor as the worker told it last, and a duplicate of it, which can be slept on without the worker's lock.
struct Uplink {
    raw: RawFd,
    watched: Watched,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under a lock is a bug of ours that has been reported; what is behind it is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inline {
    /// Takes a worker over, and starts the keeper.
    pub(crate) fn start(mut worker: Worker, clock: Clock) -> io::Result<Arc<Self>> {
        worker.keep_uplinks_apart(true);
        let inline = Arc::new(Self {
            fd: worker.as_fd().try_clone_to_owned()?,
            waker: worker.waker(),
            worker: Mutex::new(worker),
            uplinks: Mutex::default(),
            clock,
            visits: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            undrained: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            wanted: AtomicUsize::new(0),
            idle: AtomicBool::new(false),
            stop: Mutex::default(),
            changed: Condvar::new(),
        });
        inline.note_uplinks(&lock(&inline.worker))?;
        let kept = Arc::clone(&inline);
        std::thread::Builder::new()
            .name("myrixen-keeper".into())
            .spawn(move || kept.keep())?;
        Ok(inline)
    }

    /// Ends the keeper. Nobody may drive any more.
    pub(crate) fn stop(&self) {
        *lock(&self.stop) = true;
        self.changed.notify_all();
        self.take_back();
    }

    fn keep(&self) {
        let mut seen = self.visits.load(Ordering::Relaxed);
        loop {
            let guard = lock(&self.stop);
            let (guard, _) = self
                .changed
                .wait_timeout(guard, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            if *guard {
                return;
            }
            let visits = self.visits.load(Ordering::Relaxed);
            if std::mem::replace(&mut seen, visits) != visits {
                continue;
            }
            if self.sleepers.load(Ordering::SeqCst) > 0 {
                self.wait_for_sleepers(guard);
                continue;
            }
            drop(guard);
            if self.drive() {
                return;
            }
        }
    }

    /// Whoever sleeps will drive; the keeper need not look before one of them wakes.
    fn wait_for_sleepers(&self, mut guard: MutexGuard<'_, bool>) {
        self.idle.store(true, Ordering::SeqCst); // pairs with: wake_up
        while self.sleepers.load(Ordering::SeqCst) > 0
            && !*guard
            && self.idle.load(Ordering::SeqCst)
        {
            guard = self
                .changed
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.idle.store(false, Ordering::SeqCst);
    }

    /// Drives until a program comes in. True when the back end has stopped.
    fn drive(&self) -> bool {
        let mut worker = lock(&self.worker);
        worker.keep_uplinks_apart(false);
        self.kept.store(true, Ordering::SeqCst);
        worker.wake_up();
        // Not while somebody wants it: he may have told an earlier round of ours to end, and be about to wait for this one.
        while self.kept.load(Ordering::SeqCst) && self.wanted.load(Ordering::SeqCst) == 0 {
            let activity = worker.turn(self.clock.now());
            if activity.stopped {
                self.kept.store(false, Ordering::SeqCst);
                return true;
            }
            if !activity.is_busy() && worker.sleep(&self.clock, None).is_err() {
                // For want of memory; going on without sleeping would burn a core.
                std::thread::sleep(TICK);
            }
        }
        self.kept.store(false, Ordering::SeqCst);
        worker.keep_uplinks_apart(true);
        false
    }

    /// Has the keeper let go of the worker.
    fn take_back(&self) {
        self.wanted.fetch_add(1, Ordering::SeqCst); // pairs with: drive
        if self.kept.swap(false, Ordering::SeqCst) {
            self.waker.wake();
            drop(lock(&self.worker));
        }
        self.wanted.fetch_sub(1, Ordering::SeqCst);
    }

    /// Notes what the uplinks are to be waited for.
    fn note_uplinks(&self, worker: &Worker) -> io::Result<()> {
        let mut uplinks = lock(&self.uplinks);
        for (place, (fd, interest)) in worker.uplinks().enumerate() {
            let raw = fd.as_raw_fd();
            match uplinks.get_mut(place).filter(|held| held.raw == raw) {
                Some(held) => held.watched.1 = interest,
                None => {
                    let fd = Arc::new(fd.try_clone_to_owned()?);
                    let watched = (fd, interest);
                    uplinks.truncate(place);
                    uplinks.push(Uplink { raw, watched });
                }
            }
        }
        Ok(())
    }

    fn try_worker(&self) -> Option<MutexGuard<'_, Worker>> {
        match self.worker.try_lock() {
            Ok(worker) => Some(worker),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Driver for Inline {
    fn enter(&self) {
        let visits = self.visits.load(Ordering::Relaxed);
        self.visits.store(visits.wrapping_add(1), Ordering::Relaxed);
        if self.kept.load(Ordering::Relaxed) {
            self.take_back();
        }
    }

    fn turn(&self) -> Turn {
        let Some(mut worker) = self.try_worker() else {
            return Turn {
                busy: false,
                saw_all: false,
            };
        };
        Turn {
            busy: worker.turn(self.clock.recent()).is_busy(),
            saw_all: worker.looks_at_all(),
        }
    }

    fn prepare_sleep(&self, uplinks: &mut Vec<Watched>) -> Rest {
        uplinks.clear();
        // Before the look at the worker: from here on the keeper leaves it to us.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut limit = None;
        // Else somebody else drives, and rings for us. When he stops, we are the one who watches the uplinks.
        if let Some(mut worker) = self.try_worker() {
            if self.undrained.swap(false, Ordering::Relaxed) {
                worker.wake_up();
            }
            let now = self.clock.now();
            match worker.prepare_sleep(now) {
                WorkerRest::Awake => {
                    drop(worker);
                    self.sleepers.fetch_sub(1, Ordering::SeqCst);
                    return Rest::Awake;
                }
                WorkerRest::Until(time) => limit = Some(time.since(now)),
                WorkerRest::Asleep => {}
            }
            if self.note_uplinks(&worker).is_err() {
                // No descriptor is left to sleep on: by the clock then.
                limit = Some(limit.map_or(TICK, |limit: Duration| limit.min(TICK)));
            }
        }
        let noted = lock(&self.uplinks);
        uplinks.extend(noted.iter().map(|uplink| uplink.watched.clone()));
        Rest::Asleep(limit)
    }

    fn wake_up(&self, rung: bool) {
        if rung {
            // Draining takes system calls, and is not urgent: see `prepare_sleep`.
            self.undrained.store(true, Ordering::Relaxed);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        // Once: then it looks at its ticks again, until it finds somebody asleep.
        if self.idle.load(Ordering::SeqCst) && self.idle.swap(false, Ordering::SeqCst) {
            drop(lock(&self.stop));
            self.changed.notify_all();
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
