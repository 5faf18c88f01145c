//! Real threads, and the kernel's fence.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Lock, Presence};

/// Long enough for any of this.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn who_comes_often_and_who_visits_lose_no_count() {
    const VISITS: u64 = 500;
    let lock = Lock::new((0_u64, 0_u64));
    thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut visits = 0;
            while visits < VISITS {
                let visit = match visits % 2 {
                    0 => Some(lock.visit()),
                    _ => lock.try_visit(),
                };
                if let Some(mut both) = visit {
                    both.0 += 1;
                    thread::yield_now();
                    both.1 += 1;
                    visits += 1;
                }
                thread::sleep(Duration::from_micros(visits % 200));
            }
        });
        let mut often = 0;
        while !visitor.is_finished() {
            let mut both = lock.lock();
            both.0 += 1;
            assert_eq!(both.0, both.1 + 1, "somebody else is inside");
            both.1 += 1;
            often += 1;
        }
        visitor.join().unwrap();
        assert_eq!(*lock.lock(), (often + VISITS, often + VISITS));
    });
}

#[test]
fn threads_that_come_by_turns_lose_no_count() {
    let lock = Lock::new((0_u64, 0_u64));
    // More than have a passage each, one after another as well.
    for _ in 0..2 {
        thread::scope(|scope| {
            for turn in 1..=6_u64 {
                let lock = &lock;
                scope.spawn(move || {
                    for at in 0..20_000 {
                        let mut both = lock.lock();
                        both.0 += 1;
                        assert_eq!(both.0, both.1 + 1, "somebody else is inside");
                        both.1 += 1;
                        drop(both);
                        // So that each is alone for a while.
                        if at % (100 * turn) == 0 {
                            thread::sleep(Duration::from_micros(50));
                        }
                    }
                });
            }
        });
    }
    assert_eq!(*lock.lock(), (240_000, 240_000));
}

#[test]
fn who_is_inside_is_waited_for_and_who_waits_is_told() {
    let lock = Lock::new(0);
    for _ in 0..100 {
        *lock.lock() += 1;
    }
    let inside = lock.lock();
    thread::scope(|scope| {
        assert!(scope.spawn(|| lock.try_visit().is_none()).join().unwrap());
        let visitor = scope.spawn(|| *lock.visit());
        thread::sleep(Duration::from_millis(20));
        assert!(!visitor.is_finished(), "somebody is inside");
        drop(inside);
        assert_eq!(visitor.join().unwrap(), 100);
    });
    for _ in 0..100 {
        *lock.lock() += 1;
    }
    thread::scope(|scope| {
        let teller = scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            *lock.lock() = 0;
            lock.notify_all();
        });
        let began = Instant::now();
        let mut guard = lock.lock();
        while *guard != 0 {
            guard = guard.wait(SOON);
        }
        assert!(began.elapsed() < SOON);
        drop(guard);
        teller.join().unwrap();
    });
    // The time passes for nothing, too.
    let mut guard = lock.lock();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(5) {
        guard = guard.wait(Duration::from_millis(1));
    }
    assert_eq!(*guard, 0);
}

/// What is taken away again and again while others look at it: whoever has found it finds it whole.
#[test]
fn nobody_is_left_with_what_is_taken_away() {
    const WHOLE: u64 = 7;
    let presence = Presence::new();
    let there = AtomicBool::new(false);
    let thing = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let looks = || {
        let mut found = 0_u64;
        while !over.load(Ordering::Relaxed) {
            let present = presence.enter();
            if there.load(Ordering::SeqCst) {
                // Once more inside, as a handler calls.
                let again = presence.enter();
                assert_eq!(thing.load(Ordering::Relaxed), WHOLE, "it is gone");
                drop(again);
                assert_eq!(thing.load(Ordering::Relaxed), WHOLE, "it is gone");
                found += 1;
            }
            drop(present);
        }
        found
    };
    thread::scope(|scope| {
        let users = [scope.spawn(looks), scope.spawn(looks)];
        for _ in 0..500 {
            thing.store(WHOLE, Ordering::Relaxed);
            there.store(true, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(20));
            there.store(false, Ordering::SeqCst);
            presence.wait_for_all(thread::yield_now);
            thing.store(0, Ordering::Relaxed);
            presence.renew();
        }
        over.store(true, Ordering::Relaxed);
        let found = users.map(|user| user.join().unwrap());
        assert!(found.iter().all(|found| *found > 0), "{found:?}");
    });
}
