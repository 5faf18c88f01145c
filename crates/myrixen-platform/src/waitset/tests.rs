use std::time::Instant;

use super::*;
use crate::bell::{Drained, bell};

const LONG: Option<Duration> = Some(Duration::from_secs(60));
const NOW: Option<Duration> = Some(Duration::ZERO);

fn tokens(set: &WaitSet, timeout: Option<Duration>) -> Vec<u64> {
    let mut ready = Vec::new();
    set.wait(timeout, &mut ready).unwrap();
    ready.iter().map(|r| r.token).collect()
}

#[test]
fn a_rung_bell_stays_ready_until_it_is_drained() {
    let set = WaitSet::new().unwrap();
    let (ringer, waiter) = bell().unwrap();
    set.add_bell(&waiter, 3).unwrap();
    assert!(tokens(&set, NOW).is_empty());
    ringer.ring();
    assert_eq!(tokens(&set, LONG), [3]);
    assert_eq!(tokens(&set, LONG), [3]);
    assert_eq!(waiter.drain(), Drained::Rung);
    assert!(tokens(&set, NOW).is_empty());
}

#[test]
fn a_bell_that_is_seen_once_need_not_be_drained() {
    let set = WaitSet::new().unwrap();
    let (ringer, waiter) = bell().unwrap();
    if !set.add_bell_once(&waiter, 3).unwrap() {
        eprintln!("skipped: this kernel does not tell of each ring");
        return;
    }
    for _ in 0..MOST_UNDRAINED {
        // As many as there can be for each time it is seen.
        for _ in 0..4 {
            ringer.ring();
        }
        assert_eq!(tokens(&set, LONG), [3]);
        assert!(tokens(&set, NOW).is_empty());
    }
    assert_eq!(waiter.drain(), Drained::Rung);
    assert_eq!(waiter.drain(), Drained::Silent);
    ringer.ring();
    assert_eq!(tokens(&set, LONG), [3]);
    drop(ringer);
    let mut ready = Vec::new();
    set.wait(LONG, &mut ready).unwrap();
    assert!(ready.len() == 1 && ready[0].hung_up, "{ready:?}");
}

/// The ringer keeps a duplicate of the read end: without the set's care its entry would live on.
#[test]
fn a_removed_bell_is_never_heard_again() {
    let set = WaitSet::new().unwrap();
    let (ringer, waiter) = bell().unwrap();
    set.add_bell(&waiter, 3).unwrap();
    ringer.ring();
    set.remove_bell(&waiter);
    drop(waiter);
    ringer.ring();
    assert!(tokens(&set, NOW).is_empty());
}

#[test]
fn a_bell_that_is_dropped_in_the_set_can_still_be_told_apart() {
    let set = WaitSet::new().unwrap();
    let (first_ringer, first) = bell().unwrap();
    set.add_bell(&first, 1).unwrap();
    drop(first);
    let (second_ringer, second) = bell().unwrap();
    set.add_bell(&second, 2).unwrap();
    second_ringer.ring();
    assert_eq!(tokens(&set, LONG), [2]);
    first_ringer.ring();
    let mut both = tokens(&set, LONG);
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
}

#[test]
fn a_gone_ringer_is_reported_as_hung_up() {
    let set = WaitSet::new().unwrap();
    let (ringer, waiter) = bell().unwrap();
    set.add_bell(&waiter, 9).unwrap();
    drop(ringer);
    let mut ready = Vec::new();
    set.wait(LONG, &mut ready).unwrap();
    assert!(
        ready.len() == 1 && ready[0].token == 9 && ready[0].hung_up,
        "{ready:?}"
    );
}

#[test]
fn a_waker_ends_the_next_wait_once() {
    let set = WaitSet::new().unwrap();
    let waker = set.waker();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    assert!(tokens(&set, LONG).is_empty());
    let mut fds = [PollFd::new(&set, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&Timespec::default())), Ok(0));
}

#[test]
fn more_than_a_batch_is_seen_in_the_end() {
    let set = WaitSet::new().unwrap();
    let bells: Vec<_> = (0..100).map(|_| bell().unwrap()).collect();
    for (token, (ringer, waiter)) in bells.iter().enumerate() {
        set.add_bell(waiter, token as u64).unwrap();
        ringer.ring();
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < bells.len() {
        for token in tokens(&set, LONG) {
            let at = usize::try_from(token).unwrap();
            assert_eq!(bells[at].1.drain(), Drained::Rung);
            assert!(seen.insert(token));
        }
    }
}

#[test]
fn short_timeouts_are_kept_whether_or_not_something_else_ended_earlier_ones() {
    const WHILE: Duration = Duration::from_millis(2);
    let set = WaitSet::new().unwrap();
    let (ringer, waiter) = bell().unwrap();
    set.add_bell(&waiter, 3).unwrap();
    for _ in 0..3 {
        ringer.ring();
        assert_eq!(tokens(&set, Some(WHILE)), [3]);
        assert_eq!(waiter.drain(), Drained::Rung);
        let begun = Instant::now();
        while begun.elapsed() < WHILE {
            // It may come back early, and for nothing, but not for ever: each time the alarm of an earlier sleep is used up.
            assert!(tokens(&set, Some(WHILE)).is_empty());
        }
    }
    // Whoever is not the one to sleep for the alarm may be the one to see it.
    ringer.ring();
    assert_eq!(tokens(&set, Some(WHILE)), [3]);
    assert_eq!(waiter.drain(), Drained::Rung);
    let mut fds = [PollFd::new(&set, PollFlags::IN)];
    assert_eq!(poll(&mut fds, None), Ok(1));
    assert!(tokens(&set, NOW).is_empty());
    assert_eq!(poll(&mut fds, Some(&Timespec::default())), Ok(0));
}

#[test]
fn a_shorter_timeout_than_the_one_before_is_kept() {
    let set = WaitSet::new().unwrap();
    let (ringer, waiter) = bell().unwrap();
    set.add_bell(&waiter, 3).unwrap();
    ringer.ring();
    assert_eq!(tokens(&set, Some(Duration::from_millis(3))), [3]);
    assert_eq!(waiter.drain(), Drained::Rung);
    // Ends by itself; each of several that sleep at once keeps its own.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(tokens(&set, Some(Duration::from_micros(100))).is_empty()));
        }
    });
}

#[test]
fn a_descriptor_beside_the_set_ends_a_wait_and_is_not_told() {
    let (set, beside) = (WaitSet::new().unwrap(), WaitSet::new().unwrap());
    let (ringer, waiter) = bell().unwrap();
    set.add_bell(&waiter, 3).unwrap();
    let others = [(&beside, Interest::Read)];
    let mut ready = Vec::new();
    beside.waker().wake();
    set.wait_beside(&others, LONG, &mut ready).unwrap();
    assert!(ready.is_empty(), "{ready:?}");
    ringer.ring();
    set.wait_beside(&others, LONG, &mut ready).unwrap();
    assert_eq!(ready.len(), 1);
    assert!(tokens(&beside, NOW).is_empty());
    assert_eq!(waiter.drain(), Drained::Rung);
    for timeout in [1, 5].map(Duration::from_millis) {
        set.wait_beside(&others, Some(timeout), &mut ready).unwrap();
        assert!(ready.is_empty());
    }
}
