//! Guests that write whatever they like, and die when they like.

use std::sync::atomic::Ordering;

use myrixen_control::DropReason;
use myrixen_platform::message::Notice;
use myrixen_platform::process::News;

use crate::host::{Host, config, sized, tiny};

/// Where the rings' words are: ring-abi.md, "Layout".
const FORWARD_RECORDS: usize = 4096;
const BACKWARD_CONSUMED: usize = 768;

#[test]
fn a_broken_ring_costs_its_guest_the_attachment_and_nobody_else_anything() {
    let mut host = Host::new(config());
    let (bad, good, other) = (
        host.attach("bad"),
        host.attach("good"),
        host.attach("other"),
    );
    let bad_port = bad.open(1);
    let (mut a, mut b) = (good.open(1), other.open(1));
    let pages = bad_port.handles.pair.producer.memory().clone();
    pages.store_u64(FORWARD_RECORDS, u64::MAX, Ordering::Release);
    a.send(&tiny(a.address(), b.address(), b"before"));
    host.settle();
    bad.wait_lost();
    assert!(b.receive().is_some());
    a.send(&tiny(a.address(), b.address(), b"after"));
    host.settle();
    assert!(b.receive().is_some());
    let snapshot = host.snapshot();
    assert_eq!(snapshot.status.faults.get("port_ring"), Some(&1));
    assert_eq!(
        (
            snapshot.guests.len(),
            snapshot.ports.len(),
            snapshot.boards.len()
        ),
        (2, 2, 2)
    );
}

#[test]
fn a_receiver_that_lies_about_what_it_consumed_is_detached() {
    let mut host = Host::new(config());
    let (bad, good) = (host.attach("bad"), host.attach("good"));
    let (bad_port, mut a) = (bad.open(1), good.open(1));
    let pages = bad_port.handles.pair.producer.memory().clone();
    pages.store_u32(BACKWARD_CONSUMED, 0x7fff_0000, Ordering::Release);
    // The lie is looked at when the ring seems full.
    for _ in 0..20 {
        while a.try_send(&sized(a.address(), bad_port.address(), 4000)) {}
        host.settle();
    }
    bad.wait_lost();
    assert_eq!(host.snapshot().status.faults.get("port_ring"), Some(&1));
}

#[test]
fn arbitrary_bytes_in_a_ring_never_stop_the_others() {
    let mut host = Host::new(config());
    let (good, other) = (host.attach("good"), host.attach("other"));
    let (mut a, mut b) = (good.open(1), other.open(1));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..50 {
        let bad = host.attach(&format!("bad{round}"));
        let port = bad.open_sized(1, 1 << 15);
        let pages = port.handles.pair.producer.memory().clone();
        for at in (256..pages.len()).step_by(8) {
            // Small lengths and valid kinds now and then, so that some of it is taken for frames.
            let word = if random().is_multiple_of(2) {
                random()
            } else {
                (1 << 32) | (random() % 512)
            };
            pages.store_u64(at, word, Ordering::Relaxed);
        }
        for _ in 0..8 {
            host.turn();
        }
        a.send(&tiny(a.address(), b.address(), b"still here"));
        host.settle();
        assert!(b.receive().is_some(), "round {round}");
    }
}

#[test]
fn a_flood_to_a_guest_that_does_not_read_takes_nothing_from_others() {
    let mut host = Host::new(config());
    let guests: Vec<_> = ["flood", "deaf", "a", "b"]
        .iter()
        .map(|n| host.attach(n))
        .collect();
    let mut ports: Vec<_> = guests.iter().map(|g| g.open(1)).collect();
    let (mut b, mut a) = (ports.pop().unwrap(), ports.pop().unwrap());
    let (deaf, mut flood) = (ports.pop().unwrap(), ports.pop().unwrap());
    let mut got = 0;
    for _ in 0..100 {
        while flood.try_send(&sized(flood.address(), deaf.address(), 64)) {}
        a.send(&sized(a.address(), b.address(), 9000));
        host.turn();
        got += usize::from(b.receive().is_some());
    }
    assert_eq!(got, 100, "one frame a turn, flood or not");
    assert!(host.counters(&flood).drops.get(DropReason::RingFull) > 0);
}

#[test]
fn death_is_noticed_told_and_leaves_nothing() {
    let mut host = Host::new(config());
    let (first, second, witness) = (host.attach("a"), host.attach("a"), host.attach("w"));
    let (one, two) = (first.open(1), second.open(2));
    let (nic, watch) = (first.nic(), witness.open(1));
    drop(first);
    let News::Notice(Notice::EndpointGone(gone)) = witness.news() else {
        panic!("no news")
    };
    assert_eq!(
        (gone.mac.bytes(), gone.endpoint),
        (nic.octets(), one.address().endpoint.get())
    );
    drop(second);
    let News::Notice(Notice::BoardGone(mac)) = witness.news() else {
        panic!("no news")
    };
    assert_eq!(mac.bytes(), nic.octets());
    host.settle();
    let snapshot = host.snapshot();
    assert_eq!(
        (
            snapshot.guests.len(),
            snapshot.boards.len(),
            snapshot.ports.len()
        ),
        (1, 1, 1)
    );
    assert_eq!(snapshot.status.workers[0].ports, 1);
    // What is left of the dead ones' mappings is theirs; frames to them have nowhere to go.
    let mut watch = watch;
    watch.send(&tiny(watch.address(), two.address(), b"anybody?"));
    host.settle();
    assert_eq!(host.counters(&watch).drops.get(DropReason::NoRoute), 1);
}
