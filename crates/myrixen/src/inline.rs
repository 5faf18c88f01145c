//! Driving an embedded back end from the program's threads ([`Driver`]), and from a thread of its own, the *keeper*, while none of them
//! comes in.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use mxoe::time::Time;
use myrixen_backend::{Clock, Rest as WorkerRest, Worker};
use myrixen_bias::thread_number;
use myrixen_platform::Waker;

use crate::driver::{Driver, Rest, Turn, Watch, Watched};

/// How often the keeper looks whether programs still come in, while any does.
const TICK: Duration = Duration::from_millis(5);

/// So many times a sender looks whether another thread that drives takes what it has sent, or looks on, before it does so itself: a few hundred nanoseconds,
/// in which that one is back from a message that it has just got.
const GLANCES: u32 = 16;

/// Apart from all that other threads write.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// Which thread of a program drives. Whose turn it was last has the worker's tables in its caches, and those of the ports: so others that wait leave it to
/// that one while it goes on.
#[derive(Debug, Default)]
struct Reign {
    /// Whose turn it was last.
    holder: AtomicU64,
    /// How many there have been; wraps.
    turns: AtomicU32,
    /// The holder looks on: it takes another one.
    looks_on: AtomicBool,
    /// A turn looks at all rings.
    saw_all: AtomicBool,
}

impl Reign {
    fn is_held_by_me(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == thread_number()
    }

    /// The calling thread has had a turn, which looked at all rings or not.
    fn took_turn(&self, saw_all: bool) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns.wrapping_add(1), Ordering::Relaxed);
        set(&self.saw_all, saw_all);
        if !self.is_held_by_me() {
            self.looks_on.store(false, Ordering::Relaxed);
            self.holder.store(thread_number(), Ordering::Relaxed);
        }
    }
}

/// A store only where there is something to be changed: others look at the line.
fn set(flag: &AtomicBool, to: bool) {
    if flag.load(Ordering::Relaxed) != to {
        flag.store(to, Ordering::Release);
    }
}

/// How often programs have come in, by threads: the keeper sees by it whether one still does.
#[derive(Debug, Default)]
struct Visits([Apart<AtomicUsize>; 8]);

impl Visits {
    /// A thread with this number comes in. Two that share a place may count as one.
    fn note(&self, thread: u64) {
        let places = self.0.len() as u64;
        // The two lowest bits of such numbers are 0.
        let at = usize::try_from(thread / 4 % places).unwrap_or(0);
        let Apart(visits) = &self.0[at];
        visits.store(
            visits.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// Another number whenever somebody has come in.
    fn sum(&self) -> usize {
        let visits = self.0.iter().map(|Apart(own)| own.load(Ordering::Relaxed));
        visits.fold(0, usize::wrapping_add)
    }
}

/// So many turns in a row are taken at one time, as the worker sees it: nothing in it needs the time of each, and to read it takes a fifth of a turn.
const TURNS_AT_ONE_TIME: u32 = 8;

/// What time it is for a worker.
#[derive(Debug, Default)]
struct Dial {
    time: Time,
    /// How many more turns are taken at this time.
    left: u32,
}

impl Dial {
    fn tell(&mut self, clock: &Clock) -> Time {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                self.time = clock.recent();
                self.left = TURNS_AT_ONE_TIME - 1;
            }
        }
        self.time
    }
}

/// What whoever takes a turn has for himself meanwhile.
struct Works {
    worker: Worker,
    dial: Dial,
}

/// See the module.
pub(crate) struct Inline {
    works: Apart<Mutex<Works>>,
    reign: Apart<Reign>,
    visits: Visits,
    uplinks: Mutex<Vec<Uplink>>,
    clock: Clock,
    /// The worker's, to be had without the lock.
    fd: OwnedFd,
    waker: Waker,
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
            works: Apart(Mutex::new(Works {
                worker,
                dial: Dial::default(),
            })),
            reign: Apart::default(),
            visits: Visits::default(),
            uplinks: Mutex::default(),
            clock,
            sleepers: AtomicUsize::new(0),
            undrained: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            wanted: AtomicUsize::new(0),
            idle: AtomicBool::new(false),
            stop: Mutex::default(),
            changed: Condvar::new(),
        });
        inline.note_uplinks(&lock(&inline.works.0).worker)?;
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
        let (mut seen, mut turns) = (self.visits.sum(), 0);
        loop {
            let guard = lock(&self.stop);
            let (guard, _) = self
                .changed
                .wait_timeout(guard, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            if *guard {
                return;
            }
            let visits = self.visits.sum();
            if std::mem::replace(&mut seen, visits) != visits {
                drop(guard);
                let now = self.reign.0.turns.load(Ordering::Relaxed);
                if std::mem::replace(&mut turns, now) == now {
                    // Whoever comes in leaves it to somebody who has gone.
                    self.turn_now();
                }
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
        let mut works = lock(&self.works.0);
        let worker = &mut works.worker;
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
        if self.kept.load(Ordering::SeqCst) {
            drop(self.await_works());
        }
    }

    /// The worker, when whoever has it has had his turn; the keeper lets go of it.
    #[cold]
    fn await_works(&self) -> MutexGuard<'_, Works> {
        self.wanted.fetch_add(1, Ordering::SeqCst); // pairs with: drive
        if self.kept.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
        let works = lock(&self.works.0);
        self.wanted.fetch_sub(1, Ordering::SeqCst);
        works
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

    fn try_works(&self) -> Option<MutexGuard<'_, Works>> {
        match self.works.0.try_lock() {
            Ok(works) => Some(works),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// A turn, unless somebody else is in the middle of one.
    fn turn_now(&self) -> Turn {
        let Some(mut works) = self.try_works() else {
            return Turn {
                busy: false,
                saw_all: false,
            };
        };
        let Works { worker, dial } = &mut *works;
        let activity = worker.turn(dial.tell(&self.clock));
        let saw_all = worker.looks_at_all();
        self.reign.0.took_turn(saw_all);
        Turn {
            busy: activity.is_busy(),
            saw_all,
        }
    }
}

impl Driver for Inline {
    #[inline]
    fn enter(&self) {
        self.visits.note(thread_number());
        if self.kept.load(Ordering::Relaxed) {
            self.take_back();
        }
    }

    fn turn_of_holder(&self) -> Option<Turn> {
        self.reign.0.is_held_by_me().then(|| self.turn_now())
    }

    fn turn(&self, is_taken: &dyn Fn() -> bool) -> Turn {
        let Apart(reign) = &self.reign;
        if !reign.is_held_by_me() {
            for _ in 0..GLANCES {
                if reign.looks_on.load(Ordering::Acquire) || is_taken() {
                    return Turn {
                        busy: false,
                        saw_all: reign.saw_all.load(Ordering::Relaxed),
                    };
                }
                std::hint::spin_loop();
            }
        }
        self.turn_now()
    }

    fn turn_of_waiter(&self, watch: &mut Watch) -> Option<Turn> {
        let Apart(reign) = &self.reign;
        if !reign.is_held_by_me() && watch.goes_on(reign.turns.load(Ordering::Relaxed)) {
            return None;
        }
        Some(self.turn_now())
    }

    fn look_on(&self, looks_on: bool) {
        let Apart(reign) = &self.reign;
        if reign.is_held_by_me() {
            set(&reign.looks_on, looks_on);
        }
    }

    fn prepare_sleep(&self, uplinks: &mut Vec<Watched>) -> Rest {
        uplinks.clear();
        // Before the look at the worker: from here on the keeper leaves it to us.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut limit = None;
        // Whose turn it is may have looked at our rings already, and take no other one, or have lost its processor to us: so it is waited for.
        let mut works = self.try_works().unwrap_or_else(|| self.await_works());
        // A sleep may take its time.
        let Works { worker, dial } = &mut *works;
        dial.left = 0;
        if self.undrained.swap(false, Ordering::Relaxed) {
            worker.wake_up();
        }
        let now = self.clock.now();
        match worker.prepare_sleep(now) {
            WorkerRest::Awake => {
                drop(works);
                self.sleepers.fetch_sub(1, Ordering::SeqCst);
                return Rest::Awake;
            }
            WorkerRest::Until(time) => limit = Some(time.since(now)),
            WorkerRest::Asleep => {}
        }
        if self.note_uplinks(worker).is_err() {
            // No descriptor is left to sleep on: by the clock then.
            limit = Some(limit.map_or(TICK, |limit: Duration| limit.min(TICK)));
        }
        drop(works);
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
