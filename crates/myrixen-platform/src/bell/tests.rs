use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::*;

fn readable(waiter: &Waiter) -> bool {
    let fd = waiter.fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap();
    fds[0].revents().contains(PollFlags::IN)
}

#[test]
fn rings_merge_and_drain_at_once() {
    let (ringer, waiter) = bell().unwrap();
    assert_eq!(waiter.drain(), Drained::Silent);
    for _ in 0..3 {
        ringer.ring();
    }
    assert!(readable(&waiter));
    assert_eq!(waiter.drain(), Drained::Rung);
    assert!(!readable(&waiter));
    assert_eq!(waiter.drain(), Drained::Silent);
}

#[test]
fn a_bell_that_nobody_hears_never_blocks_its_ringer() {
    let (ringer, waiter) = bell().unwrap();
    for _ in 0..10_000 {
        ringer.ring();
    }
    assert_eq!(waiter.drain(), Drained::Rung);
    assert_eq!(waiter.drain(), Drained::Silent);
    ringer.ring();
    assert_eq!(waiter.drain(), Drained::Rung);
}

#[test]
fn a_gone_waiter_neither_signals_nor_fails_the_ringer() {
    let (ringer, waiter) = bell().unwrap();
    drop(waiter);
    // With the default action of SIGPIPE this would end the process; with it ignored, as Rust's
    // runtime does, the write would fail.
    let wrote = rustix::io::write(ringer.fds()[0], &[1]);
    assert_eq!(wrote, Ok(1));
    ringer.ring();
}

#[test]
fn a_gone_ringer_hangs_up_after_its_last_ring() {
    let (ringer, waiter) = bell().unwrap();
    assert!(!waiter.hung_up());
    ringer.ring();
    drop(ringer);
    assert!(waiter.hung_up());
    assert_eq!(waiter.drain(), Drained::Rung);
    assert_eq!(waiter.drain(), Drained::HungUp);
}

/// The ringer holds a duplicate of the read end: flags set there show at the waiter's.
#[test]
fn a_hostile_ringer_cannot_make_the_waiter_block() {
    let (ringer, waiter) = bell().unwrap();
    let flags = fcntl_getfl(ringer.fds()[1]).unwrap();
    fcntl_setfl(ringer.fds()[1], flags - OFlags::NONBLOCK).unwrap();
    assert!(!fcntl_getfl(waiter.fd()).unwrap().contains(OFlags::NONBLOCK));
    assert_eq!(waiter.drain(), Drained::Silent);
    ringer.ring();
    assert_eq!(waiter.drain(), Drained::Rung);
    assert_eq!(waiter.drain(), Drained::Silent);
}

/// Flags of the read end are not those of the write end.
#[test]
fn a_hostile_waiter_cannot_make_the_ringer_block() {
    let (ringer, waiter) = bell().unwrap();
    let flags = fcntl_getfl(waiter.fd()).unwrap();
    fcntl_setfl(waiter.fd(), flags - OFlags::NONBLOCK).unwrap();
    for _ in 0..10_000 {
        ringer.ring();
    }
    assert!(
        fcntl_getfl(ringer.fds()[0])
            .unwrap()
            .contains(OFlags::NONBLOCK)
    );
}

#[test]
fn a_ringer_that_was_handed_over_blocking_is_made_nonblocking() {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let keep = read.try_clone().unwrap();
    let ringer = Ringer::from_pipe(write, keep).unwrap();
    let waiter = Waiter::from_pipe(read).unwrap();
    for _ in 0..100_000 {
        ringer.ring();
    }
    assert_eq!(waiter.drain(), Drained::Rung);
    assert_eq!(waiter.drain(), Drained::Silent);
}

/// A guest may put anything into the pipe, pages of files included.
#[test]
fn whatever_is_in_the_pipe_is_drained_in_one_go() {
    let (ringer, waiter) = bell().unwrap();
    let _ = fcntl_setpipe_size(ringer.fds()[0], 1 << 20);
    while rustix::io::write(ringer.fds()[0], &[7; 4096]).is_ok() {}
    assert_eq!(waiter.drain(), Drained::Rung);
    assert_eq!(waiter.drain(), Drained::Silent);
}

#[test]
fn a_ring_wakes_a_sleeper() {
    let (ringer, waiter) = bell().unwrap();
    let set = crate::WaitSet::new().unwrap();
    set.add_bell(&waiter, 7).unwrap();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut ready = Vec::new();
            set.wait(Some(Duration::from_secs(60)), &mut ready).unwrap();
            ready.iter().map(|r| r.token).collect::<Vec<_>>()
        });
        ringer.ring();
        assert_eq!(sleeper.join().unwrap(), [7]);
    });
}
