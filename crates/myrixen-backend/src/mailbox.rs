//! A queue between the control side and a worker: many writers, one reader that sleeps elsewhere.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use myrixen_platform::Waker;

#[derive(Debug)]
struct Shared<T> {
    /// `None` when nobody reads any more.
    queue: Mutex<Option<VecDeque<T>>>,
    /// Set with the lock held whenever the queue may hold something, so that a busy reader looks at one word.
    filled: Arc<AtomicBool>,
    waker: Waker,
    capacity: usize,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<T>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Outbox<T>(Arc<Shared<T>>);

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct Inbox<T>(Arc<Shared<T>>);

/// Tells whether there is mail, to who may not read it.
#[derive(Debug)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    /// Whether there may be something that the reader has not taken. What was sent before somebody heard of it
    /// is seen by who has heard.
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::Acquire) // look
    }
}

/// A mailbox that holds at most `capacity` items and wakes its reader by `waker`.
pub(crate) fn mailbox<T>(capacity: usize, waker: Waker) -> (Outbox<T>, Inbox<T>) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Some(VecDeque::new())),
        filled: Arc::new(AtomicBool::new(false)),
        waker,
        capacity,
    });
    (Outbox(Arc::clone(&shared)), Inbox(shared))
}

impl<T> Outbox<T> {
    /// Adds an item and wakes the reader; gives it back when the mailbox is full or its reader is gone.
    pub(crate) fn send(&self, item: T) -> Result<(), T> {
        {
            let mut queue = self.0.lock();
            let Some(queue) = queue.as_mut().filter(|q| q.len() < self.0.capacity) else {
                return Err(item);
            };
            queue.push_back(item);
            self.0.filled.store(true, Ordering::Release); // pairs with: look
        }
        self.0.waker.wake();
        Ok(())
    }
}

impl<T> Inbox<T> {
    /// Whether there may be something.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.0.filled.load(Ordering::Acquire) // look
    }

    /// What tells others that there is mail.
    pub(crate) fn flag(&self) -> Flag {
        Flag(Arc::clone(&self.0.filled))
    }

    /// The next item. Costs one load when there is none.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        if self.has_mail() {
            self.take_first()
        } else {
            None
        }
    }

    #[cold]
    fn take_first(&mut self) -> Option<T> {
        let mut queue = self.0.lock();
        let queue = queue.as_mut()?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.0.filled.store(false, Ordering::Relaxed); // under the lock
        }
        item
    }
}

impl<T> Drop for Inbox<T> {
    /// What was not read is dropped, so that whoever waits for an answer to it does not wait for ever.
    fn drop(&mut self) {
        let unread = self.0.lock().take();
        drop(unread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myrixen_platform::WaitSet;

    #[test]
    fn what_is_sent_arrives_in_order_and_wakes_the_reader() {
        let set = WaitSet::new().unwrap();
        let (outbox, mut inbox) = mailbox(2, set.waker());
        let flag = inbox.flag();
        assert!(!flag.is_up());
        let writer = std::thread::spawn(move || (outbox.send(1), outbox.send(2), outbox.send(3)));
        // Ends only by the waker.
        set.wait(None, &mut Vec::new()).unwrap();
        assert_eq!(writer.join().unwrap(), (Ok(()), Ok(()), Err(3)));
        assert!(flag.is_up());
        assert_eq!(
            (inbox.take(), inbox.take(), inbox.take()),
            (Some(1), Some(2), None)
        );
        assert!(!inbox.has_mail() && !flag.is_up());
    }

    #[test]
    fn nothing_is_left_with_a_reader_that_is_gone() {
        let set = WaitSet::new().unwrap();
        let (outbox, inbox) = mailbox(2, set.waker());
        let item = Arc::new(());
        assert!(outbox.send(Arc::clone(&item)).is_ok());
        drop(inbox);
        assert_eq!(Arc::strong_count(&item), 1);
        assert!(outbox.send(item).is_err());
    }
}
