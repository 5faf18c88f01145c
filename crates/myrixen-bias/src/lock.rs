//! The lock.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, transmute};
use std::ops::{Deref, DerefMut};
use std::sync::TryLockError;
use std::time::Duration;

use crate::fence::{available, heavy, light};
use crate::sync::{AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, whole, yield_now};
use crate::thread;

/// How many times in a row a thread comes before it gets the bias: at first, and at most, where taking it back has come too soon.
#[cfg(not(loom))]
const RUN: (u32, u32) = (16, 1 << 16);
#[cfg(loom)]
const RUN: (u32, u32) = (2, 2);

/// How many times a thread has to have come by its bias for this to have paid.
const PAYS: u32 = 1000;

/// How often whoever takes the bias back looks before it lets others have the processor.
const LOOKS: u32 = if cfg!(loom) { 0 } else { 100 };

/// How many living threads can have had the bias of one lock.
const OWNERS: usize = 4;
const _: () = assert!(thread::FREE + 1 == OWNERS as u64, "see `Owner::word`");

/// See the crate.
pub struct Lock<T> {
    /// Who has the bias, as [`Owner::word`], or [`thread::NOBODY`]. Written by whoever holds `queue`.
    owner: AtomicU64,
    /// Odd while that owner is inside, or about to find out that it is the owner no more. Each thread has one of its own, so that whoever finds that out
    /// late spoils nothing. Counts how often it came and went.
    passages: [AtomicU32; OWNERS],
    /// Held by whoever is inside without a bias, or gives or takes one.
    queue: Mutex<History>,
    told: Condvar,
    /// How whoever is inside has come. In here, so that a guard is one word: it goes from hand to hand.
    way: UnsafeCell<Way>,
    value: UnsafeCell<T>,
}

/// A thread, and which of the passages is its own.
#[derive(Clone, Copy)]
struct Owner {
    thread: u64,
    at: usize,
}

impl Owner {
    /// The number of its thread, with the passage in the bits that all numbers leave free.
    fn word(self) -> u64 {
        self.thread | self.at as u64
    }

    /// Which passage is this thread's, if it is the owner by that word.
    #[inline]
    fn passage_of(word: u64, thread: u64) -> Option<usize> {
        let at = word ^ thread;
        let at = usize::try_from(at).ok()?;
        (at < OWNERS).then_some(at)
    }

    /// The passage of an owner; `None` for nobody.
    fn passage_in(word: u64) -> Option<usize> {
        let at = word & thread::FREE;
        let at = usize::try_from(at).ok()?;
        (word != thread::NOBODY).then_some(at)
    }
}

/// Who came of late.
struct History {
    last: u64,
    /// How many times in a row.
    run: u32,
    /// After how many it gets the bias; `None`: there is none to be had.
    needed: Option<u32>,
    /// What the owner's passage was when it got the bias.
    given: u32,
    /// Whose the passages are; [`thread::NONE`]: nobody's.
    threads: [u64; OWNERS],
}

// SAFETY: a `Lock` hands out its value to one thread at a time, as a `Mutex` does.
unsafe impl<T: Send> Sync for Lock<T> {}
// SAFETY: what is not `Send` in it is of a guard, and nobody else touches it; while there is one the lock is borrowed.
unsafe impl<T: Send> Send for Lock<T> {}

/// The right to use what a lock guards, until it is dropped.
pub struct Guard<'a, T> {
    lock: &'a Lock<T>,
    /// The bias is a thread's.
    stays: PhantomData<*const ()>,
}

/// How somebody has come in.
enum Way {
    /// By the bias, past this passage. It stays so until somebody comes by the queue.
    Bias(usize),
    /// By the queue, which this holds. Its lock is borrowed by the guard until this is taken out; where the guard is forgotten, this is never dropped.
    Queue(ManuallyDrop<MutexGuard<'static, History>>),
}

impl<T> Lock<T> {
    /// Guards a value.
    pub fn new(value: T) -> Self {
        Self {
            owner: AtomicU64::new(thread::NOBODY),
            passages: std::array::from_fn(|_| AtomicU32::new(0)),
            queue: Mutex::new(History {
                last: thread::NONE,
                run: 0,
                needed: available().then_some(RUN.0),
                given: 0,
                threads: [thread::NONE; OWNERS],
            }),
            told: Condvar::new(),
            way: UnsafeCell::new(Way::Bias(0)),
            value: UnsafeCell::new(value),
        }
    }

    /// Comes in, when nobody else is. A thread that is inside already waits for ever.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        match self.lock_biased() {
            Some(guard) => guard,
            None => self.by_queue(true),
        }
    }

    /// As [`lock`](Self::lock), for a thread that is not the lock's usual one: it never gets the bias.
    pub fn visit(&self) -> Guard<'_, T> {
        self.by_queue(false)
    }

    /// As [`visit`](Self::visit), if nobody is inside.
    pub fn try_visit(&self) -> Option<Guard<'_, T>> {
        let queue = match self.queue.try_lock() {
            Ok(queue) => queue,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let owner = self.owner.load(Ordering::Relaxed);
        if let Some(at) = Owner::passage_in(owner)
            && is_inside(self.passage(at).load(Ordering::Relaxed))
        {
            return None;
        }
        Some(self.enter(queue, false))
    }

    /// Whether a thread that comes often gets the bias.
    pub fn set_biased(&self, biased: bool) {
        let mut queue = whole(self.queue.lock());
        self.take_back(&mut queue);
        queue.needed = (biased && available()).then_some(RUN.0);
    }

    /// A number that is another one each time that a thread has come in, or gone out, by its bias. It wraps around.
    pub fn passages(&self) -> u32 {
        let all = self.passages.iter();
        all.fold(0, |sum, own| sum.wrapping_add(own.load(Ordering::Relaxed)))
    }

    /// Ends every [`Guard::wait`].
    pub fn notify_all(&self) {
        self.told.notify_all();
    }

    #[inline]
    fn passage(&self, at: usize) -> &AtomicU32 {
        &self.passages[at % OWNERS]
    }

    /// Comes in, if this thread has the bias, and is not inside. `None` says nothing of others; [`lock`](Self::lock) tells.
    #[inline]
    pub fn lock_biased(&self) -> Option<Guard<'_, T>> {
        self.pass()?;
        Some(self.guard())
    }

    /// The same; gives the passage.
    #[inline]
    pub(crate) fn pass(&self) -> Option<usize> {
        let word = self.owner.load(Ordering::Relaxed);
        let at = Owner::passage_of(word, thread::number())?;
        let passage = self.passage(at).load(Ordering::Relaxed);
        if is_inside(passage) {
            return None;
        }
        self.passage(at)
            .store(passage.wrapping_add(1), Ordering::Relaxed);
        // pairs with: `take_back`
        light();
        if self.owner.load(Ordering::Relaxed) != word {
            self.go_out(at);
            return None;
        }
        Some(at)
    }

    /// An owner is not inside any more.
    #[inline]
    pub(crate) fn go_out(&self, at: usize) {
        let passage = self.passage(at).load(Ordering::Relaxed);
        self.passage(at)
            .store(passage.wrapping_add(1), Ordering::Release);
    }

    #[cold]
    fn by_queue(&self, usual: bool) -> Guard<'_, T> {
        self.enter(whole(self.queue.lock()), usual)
    }

    fn enter<'a>(&'a self, mut queue: MutexGuard<'a, History>, usual: bool) -> Guard<'a, T> {
        self.take_back(&mut queue);
        let given = usual.then(|| queue.came(thread::thread_number())).flatten();
        let Some(owner) = given else {
            return self.guard_of(queue);
        };
        let passage = self.passage(owner.at).load(Ordering::Relaxed);
        queue.given = passage;
        // SAFETY: nobody else is inside.
        unsafe { *self.way.get() = Way::Bias(owner.at) };
        // Whoever takes it back holds `queue` after us, and sees both.
        self.passage(owner.at)
            .store(passage.wrapping_add(1), Ordering::Relaxed);
        self.owner.store(owner.word(), Ordering::Relaxed);
        self.guard()
    }

    fn guard_of<'a>(&'a self, queue: MutexGuard<'a, History>) -> Guard<'a, T> {
        // SAFETY: the two types differ in nothing but how long they live, and see `Way::Queue`.
        let queue =
            unsafe { transmute::<MutexGuard<'a, History>, MutexGuard<'static, History>>(queue) };
        // SAFETY: nobody else is inside.
        unsafe { *self.way.get() = Way::Queue(ManuallyDrop::new(queue)) };
        self.guard()
    }

    /// Has the bias be nobody's, and its owner outside.
    fn take_back(&self, history: &mut History) {
        let word = self.owner.load(Ordering::Relaxed);
        let Some(at) = Owner::passage_in(word) else {
            return;
        };
        self.owner.store(thread::NOBODY, Ordering::Relaxed);
        // pairs with: `pass`
        heavy();
        let mut looks = 0;
        let passage = loop {
            let passage = self.passage(at).load(Ordering::Acquire);
            if !is_inside(passage) {
                break passage;
            }
            if looks < LOOKS {
                looks += 1;
                std::hint::spin_loop();
            } else {
                yield_now();
            }
        };
        history.taken_back(passage);
    }

    /// What it guards, for whoever is inside.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn value(&self) -> *mut T {
        self.value.get()
    }

    /// Of whoever is inside.
    #[inline]
    pub(crate) fn guard(&self) -> Guard<'_, T> {
        Guard {
            lock: self,
            stays: PhantomData,
        }
    }
}

#[inline]
fn is_inside(passage: u32) -> bool {
    passage % 2 == 1
}

impl History {
    /// A thread has come. It gets the bias if it has come often enough in a row.
    fn came(&mut self, who: u64) -> Option<Owner> {
        if who == thread::NONE {
            return None;
        }
        if self.last == who {
            self.run = self.run.saturating_add(1);
        } else {
            (self.last, self.run) = (who, 1);
        }
        self.needed.filter(|needed| self.run >= *needed)?;
        self.run = 0;
        self.owner(who)
    }

    /// A thread with its passage, if there is one for it.
    fn owner(&mut self, thread: u64) -> Option<Owner> {
        let own = |held: &u64| *held == thread;
        let free = |held: &u64| !thread::is_alive(*held);
        let threads = &mut self.threads;
        let at = threads.iter().position(own);
        let at = at.or_else(|| threads.iter().position(free))?;
        threads[at] = thread;
        Some(Owner { thread, at })
    }

    /// The next bias is to be earned as the first was, if this one has paid, and by twice as many visits if not.
    fn taken_back(&mut self, passage: u32) {
        self.run = 0;
        let came = passage.wrapping_sub(self.given) / 2;
        self.needed = self.needed.map(|needed| match came >= PAYS {
            true => RUN.0,
            false => needed.saturating_mul(2).min(RUN.1),
        });
    }
}

impl<'a, T> Guard<'a, T> {
    /// Goes out, and comes in again when [`notify_all`](Lock::notify_all) is called, when `limit` has passed, or sooner: whoever waits for something looks
    /// again, and waits again.
    #[must_use]
    pub fn wait(self, limit: Duration) -> Self {
        let lock = self.lock;
        let Some(queue) = self.into_queue() else {
            // Nobody can wait by a bias. Whoever looks again does so by the queue.
            return lock.by_queue(false);
        };
        let (queue, _) = whole(lock.told.wait_timeout(queue, limit));
        lock.enter(queue, false)
    }

    /// Goes out by the bias, or else is no guard any more but that of the queue.
    fn into_queue(self) -> Option<MutexGuard<'a, History>> {
        let lock = self.lock;
        std::mem::forget(self);
        lock.leave()
    }
}

impl<T> Lock<T> {
    /// Ends what a guard has begun; to be called once for each.
    #[inline]
    fn leave(&self) -> Option<MutexGuard<'_, History>> {
        // SAFETY: who leaves is inside.
        let way = unsafe { &mut *self.way.get() };
        match way {
            Way::Bias(at) => {
                let at = *at;
                self.go_out(at);
                None
            }
            Way::Queue(queue) => {
                // SAFETY: the next line forgets it.
                let queue = unsafe { ManuallyDrop::take(queue) };
                *way = Way::Bias(0);
                Some(queue)
            }
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: nobody else is inside while there is a guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: nobody else is inside while there is a guard, and this borrows it for itself.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        drop(self.lock.leave());
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}
