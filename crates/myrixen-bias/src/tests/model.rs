//! Every interleaving, and every order that the memory model allows, by loom: `RUSTFLAGS="--cfg loom" cargo test --release -p myrixen-bias --lib`. The kernel's
//! fence is one in the thread that asks for it here, and its partner a fence of its own: loom knows no fence that is in other threads.

use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::{Lock, Presence};

/// Something that loom watches: two who touch it at once, or one who does not see what the other has done, are an error.
fn touch(value: &UnsafeCell<u32>) -> u32 {
    // SAFETY: the lock is held.
    value.with_mut(|value| unsafe {
        *value += 1;
        *value
    })
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn an_owner_and_a_visitor_are_never_inside_together() {
    check(|| {
        let lock = Arc::new(Lock::new(UnsafeCell::new(0)));
        let visitor = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                touch(&lock.visit());
            })
        };
        // The second time it gets the bias, the third it comes by it, unless that is taken back.
        for _ in 0..4 {
            touch(&lock.lock());
        }
        visitor.join().unwrap();
        assert_eq!(touch(&lock.lock()), 6);
    });
}

#[test]
fn two_who_get_the_bias_by_turns_are_never_inside_together() {
    check(|| {
        let lock = Arc::new(Lock::new(UnsafeCell::new(0)));
        let other = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                for _ in 0..3 {
                    touch(&lock.lock());
                }
            })
        };
        for _ in 0..3 {
            touch(&lock.lock());
        }
        other.join().unwrap();
        assert_eq!(touch(&lock.lock()), 7);
    });
}

#[test]
fn who_waits_is_told() {
    check(|| {
        let lock = Arc::new(Lock::new(UnsafeCell::new(0)));
        touch(&lock.lock());
        let teller = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                touch(&lock.visit());
                lock.notify_all();
            })
        };
        let mut guard = lock.lock();
        // SAFETY: the lock is held.
        while guard.with(|value| unsafe { *value }) < 2 {
            guard = guard.wait(Duration::MAX);
        }
        drop(guard);
        teller.join().unwrap();
    });
}

#[test]
fn who_has_found_a_thing_is_waited_for_before_it_is_gone() {
    check(|| {
        let shared = Arc::new((
            Presence::default(),
            AtomicBool::new(true),
            UnsafeCell::new(0),
        ));
        let user = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (presence, there, thing) = &*shared;
                for _ in 0..2 {
                    let _present = presence.enter();
                    if there.load(Ordering::SeqCst) {
                        // SAFETY: loom says if it is not.
                        thing.with(|thing| unsafe { *thing });
                    }
                }
            })
        };
        let (presence, there, thing) = &*shared;
        there.store(false, Ordering::SeqCst);
        presence.wait_for_all(thread::yield_now);
        touch(thing);
        user.join().unwrap();
    });
}
