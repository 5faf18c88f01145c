//! Locks in memory that is never freed, but used again: who has kept the way to one may come in at any time, and sees inside whether what he looks for is
//! still there. So one step finds a thing and locks it, where else a user has to be counted before he may touch the lock.

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::ops::{Deref, DerefMut};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use crate::sync::{Mutex, MutexGuard, whole};
use crate::{Guard, Lock};

/// What there is room for. A room keeps its size in memory when it is left.
pub struct Rooms<T: 'static> {
    vacant: Mutex<Vec<&'static Lock<Content<T>>>>,
}

/// A thing behind a lock, and the right to take it out: it is dropped with this.
pub struct Room<T: Send + 'static> {
    rooms: &'static Rooms<T>,
    lock: &'static Lock<Content<T>>,
}

/// A way into a room for whoever knows its name. It may outlive what is in there.
pub struct Door<T: 'static> {
    room: AtomicPtr<Lock<Content<T>>>,
}

/// The right to use what is in a room, until it is dropped.
pub struct Inside<'a, T: 'static>(Guard<'a, Content<T>>);

/// The same for whoever has come by a door, and so by the bias.
pub struct Guest<T: 'static> {
    room: &'static Lock<Content<T>>,
    passage: usize,
    /// The bias is a thread's.
    stays: PhantomData<*const ()>,
}

struct Content<T> {
    /// By which name a door leads here. None where there is nothing.
    name: Option<NonZeroU64>,
    thing: Option<T>,
}

impl<T: Send + 'static> Rooms<T> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            vacant: Mutex::new(Vec::new()),
        }
    }

    /// A room for a thing. `biased`: a thread that comes often gets the bias of its lock.
    pub fn take(&'static self, thing: T, biased: bool) -> Room<T> {
        let vacant = self.vacant().pop();
        let lock = vacant.unwrap_or_else(|| {
            let (name, thing) = (None, None);
            Box::leak(Box::new(Lock::new(Content { name, thing })))
        });
        lock.set_biased(biased);
        lock.visit().thing = Some(thing);
        Room { rooms: self, lock }
    }

    fn vacant(&self) -> MutexGuard<'_, Vec<&'static Lock<Content<T>>>> {
        whole(self.vacant.lock())
    }
}

impl<T: Send + 'static> Default for Rooms<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + 'static> Room<T> {
    /// As [`Lock::lock`].
    #[inline]
    pub fn lock(&self) -> Inside<'_, T> {
        Inside(self.lock.lock())
    }

    /// As [`Lock::lock_biased`].
    #[inline]
    pub fn lock_biased(&self) -> Option<Inside<'_, T>> {
        self.lock.lock_biased().map(Inside)
    }

    /// As [`Lock::visit`].
    pub fn visit(&self) -> Inside<'_, T> {
        Inside(self.lock.visit())
    }

    /// As [`Lock::try_visit`].
    pub fn try_visit(&self) -> Option<Inside<'_, T>> {
        self.lock.try_visit().map(Inside)
    }

    /// As [`Lock::notify_all`].
    pub fn notify_all(&self) {
        self.lock.notify_all();
    }

    /// As [`Lock::passages`].
    pub fn passages(&self) -> u32 {
        self.lock.passages()
    }

    /// A guest has as much right as others who are inside. `None`, and he has gone out, if he is in another room.
    #[inline]
    pub fn welcome(&self, guest: Guest<T>) -> Option<Inside<'_, T>> {
        let here = std::ptr::eq(guest.room, self.lock);
        here.then(|| Inside(ManuallyDrop::new(guest).room.guard()))
    }

    /// By what name doors lead here from now on; `None`: by none. Whoever has come in by another name before has gone out.
    pub fn set_name(&self, name: Option<NonZeroU64>) {
        self.lock.visit().name = name;
    }
}

impl<T: Send + 'static> Drop for Room<T> {
    fn drop(&mut self) {
        let mut content = self.lock.lock();
        content.name = None;
        let thing = content.thing.take();
        drop(content);
        // It may take its time, and rooms of its own kind.
        drop(thing);
        self.rooms.vacant().push(self.lock);
    }
}

impl<T: Send + 'static> Door<T> {
    /// Leads nowhere.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            room: AtomicPtr::new(null_mut()),
        }
    }

    /// Leads to this room from now on.
    pub fn lead_to(&self, room: &Room<T>) {
        let to = std::ptr::from_ref(room.lock).cast_mut();
        self.room.store(to, Ordering::Release);
    }

    /// Comes into the room where the door leads, if that has this name and [`Lock::lock_biased`] would give its lock. `None` says nothing of the room.
    #[inline]
    pub fn enter(&self, name: NonZeroU64) -> Option<Guest<T>> {
        let room = self.room.load(Ordering::Acquire);
        // SAFETY: it is null, or came from a reference in `lead_to`, to what is never freed.
        let lock = unsafe { room.as_ref::<'static>() }?;
        let guest = Guest {
            room: lock,
            passage: lock.pass()?,
            stays: PhantomData,
        };
        (guest.content().name == Some(name)).then_some(guest)
    }
}

impl<T: Send + 'static> Default for Door<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Inside<'_, T> {
    /// As [`Guard::wait`].
    #[must_use]
    pub fn wait(self, limit: Duration) -> Self {
        Self(self.0.wait(limit))
    }
}

impl<T> Content<T> {
    /// What is in the room.
    ///
    /// # Safety
    /// It has a name, or there is its `Room`.
    #[inline]
    unsafe fn thing(&self) -> &T {
        // SAFETY: from `Rooms::take` until its `Room` is dropped there is something, and a name only in between.
        unsafe { self.thing.as_ref().unwrap_unchecked() }
    }

    /// The same.
    ///
    /// # Safety
    /// As for [`thing`](Self::thing).
    #[inline]
    unsafe fn thing_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { self.thing.as_mut().unwrap_unchecked() }
    }
}

impl<T> Deref for Inside<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this borrows the `Room`.
        unsafe { self.0.thing() }
    }
}

impl<T> DerefMut for Inside<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this borrows the `Room`.
        unsafe { self.0.thing_mut() }
    }
}

impl<T> Guest<T> {
    #[inline]
    fn content(&self) -> &Content<T> {
        // SAFETY: this is inside, and borrowed.
        unsafe { &*self.room.value() }
    }

    #[inline]
    fn content_mut(&mut self) -> &mut Content<T> {
        // SAFETY: this is inside, and borrowed for whoever gets it alone.
        unsafe { &mut *self.room.value() }
    }
}

impl<T> Drop for Guest<T> {
    #[inline]
    fn drop(&mut self) {
        self.room.go_out(self.passage);
    }
}

impl<T> Deref for Guest<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: it had a name when this came in, and whoever would change that waits.
        unsafe { self.content().thing() }
    }
}

impl<T> DerefMut for Guest<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: it had a name when this came in, and whoever would change that waits.
        unsafe { self.content_mut().thing_mut() }
    }
}

impl<T> fmt::Debug for Rooms<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

impl<T: Send> fmt::Debug for Room<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Door<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Inside<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Guest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}
