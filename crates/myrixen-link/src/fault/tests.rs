//! What becomes of frames on a bad link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::Tag;
use crate::memory::{self, MemoryLink};

const FRAMES: u8 = 200;

fn frame(number: u8) -> Vec<u8> {
    let mut bytes = vec![0xff; 60];
    bytes[59] = number;
    bytes
}

/// Sends numbered frames through a faulty link and gives the numbers that arrive, in order.
fn run(config: &FaultConfig) -> (Vec<u8>, FaultCounters) {
    let (near, mut far) = memory::pair(100, 10_000).unwrap();
    let time = Arc::new(AtomicU64::new(0));
    let ticks = Arc::clone(&time);
    let clock = Box::new(move || Duration::from_micros(ticks.load(Ordering::Relaxed)));
    let mut near = FaultLink::with_clock(near, config, clock).unwrap();
    for number in 0..FRAMES {
        near.transmit(&Outgoing::bytes(&frame(number), Tag::Vlan(3)))
            .unwrap();
        time.fetch_add(100, Ordering::Relaxed);
        near.flush().unwrap();
    }
    time.fetch_add(1_000_000, Ordering::Relaxed);
    near.flush().unwrap();
    (drain(&mut far), near.faults())
}

fn drain(link: &mut impl Link) -> Vec<u8> {
    let mut numbers = Vec::new();
    link.receive(usize::MAX, &mut |incoming| {
        assert_eq!((incoming.len, incoming.tag), (60, Tag::Vlan(3)));
        let mut bytes = [0; 60];
        incoming.bytes.read(0, &mut bytes);
        numbers.push(bytes[59]);
    })
    .unwrap();
    numbers
}

fn only(change: impl FnOnce(&mut Faults)) -> FaultConfig {
    let mut config = FaultConfig {
        seed: 42,
        ..FaultConfig::default()
    };
    change(&mut config.transmit);
    config
}

#[test]
fn without_faults_all_passes_in_order() {
    let (numbers, done) = run(&FaultConfig::default());
    assert_eq!(numbers, (0..FRAMES).collect::<Vec<_>>());
    assert_eq!(done, FaultCounters::default());
}

#[test]
fn a_seed_determines_what_happens() {
    let mixed = |seed| {
        let mut config = only(|f| (f.drop, f.duplicate, f.reorder, f.delay) = (0.1, 0.1, 0.1, 0.1));
        config.seed = seed;
        run(&config)
    };
    assert_eq!(mixed(1), mixed(1));
    assert_ne!(mixed(1).0, mixed(2).0);
}

#[test]
fn lost_frames_are_missing_and_counted() {
    let (numbers, done) = run(&only(|f| f.drop = 0.2));
    assert!(done.dropped > 10);
    assert_eq!(numbers.len() as u64 + done.dropped, u64::from(FRAMES));
    assert!(numbers.is_sorted());
    assert!(run(&only(|f| f.drop = 1.0)).0.is_empty());
}

#[test]
fn doubled_frames_arrive_twice() {
    let (numbers, done) = run(&only(|f| f.duplicate = 0.2));
    assert!(done.duplicated > 10);
    assert_eq!(numbers.len() as u64, u64::from(FRAMES) + done.duplicated);
}

#[test]
fn reordered_frames_arrive_once_and_not_far_from_their_place() {
    for config in [only(|f| f.reorder = 0.2), only(|f| f.delay = 0.2)] {
        let (numbers, done) = run(&config);
        assert!(done.reordered + done.delayed > 10);
        assert!(!numbers.is_sorted());
        let mut sorted = numbers;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..FRAMES).collect::<Vec<_>>());
    }
}

#[test]
fn damage_turns_one_bit_behind_the_ethernet_header() {
    let (near, mut far) = memory::pair(100, 1000).unwrap();
    let mut near = FaultLink::new(near, &only(|f| f.corrupt = 1.0)).unwrap();
    for _ in 0..50 {
        near.transmit(&Outgoing::bytes(&[0xff; 60], Tag::None))
            .unwrap();
    }
    near.flush().unwrap();
    let mut seen = 0;
    far.receive(100, &mut |incoming| {
        let mut bytes = [0; 60];
        incoming.bytes.read(0, &mut bytes);
        assert_eq!(bytes[..14], [0xff; 14]);
        assert_eq!(bytes.iter().map(|b| b.count_zeros()).sum::<u32>(), 1);
        seen += 1;
    })
    .unwrap();
    assert_eq!(seen, 50);
}

fn receiving(change: impl FnOnce(&mut Faults)) -> (MemoryLink, FaultLink<MemoryLink>) {
    let mut config = FaultConfig {
        seed: 1,
        ..FaultConfig::default()
    };
    change(&mut config.receive);
    let (mut far, near) = memory::pair(100, 1000).unwrap();
    for number in 0..100 {
        far.transmit(&Outgoing::bytes(&frame(number), Tag::Vlan(3)))
            .unwrap();
    }
    far.flush().unwrap();
    (far, FaultLink::new(near, &config).unwrap())
}

#[test]
fn arriving_frames_suffer_too_and_a_budget_is_kept() {
    let (_far, mut near) = receiving(|f| (f.drop, f.duplicate) = (0.3, 0.3));
    let (mut total, mut calls) = (0, 0);
    loop {
        let mut sunk = 0;
        let count = near.receive(7, &mut |_| sunk += 1).unwrap();
        assert_eq!(count, sunk);
        assert!(count <= 7);
        if count == 0 {
            break;
        }
        (total, calls) = (total + count as u64, calls + 1);
    }
    let done = near.faults();
    assert_eq!(total, 100 - done.dropped + done.duplicated);
    assert_eq!(near.counters().drops[DropReason::Injected], done.dropped);
    assert!(calls > 10);
}

#[test]
fn a_sleeper_is_woken_for_frames_that_are_held() {
    let (_far, mut near) = receiving(|f| (f.delay, f.delay_by) = (1.0, Duration::from_millis(2)));
    let mut numbers = drain(&mut near);
    while numbers.len() < 100 {
        let (fd, interest) = near.readiness();
        assert_eq!(interest, Interest::Read);
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
        numbers.extend(drain(&mut near));
    }
    assert_eq!(near.faults().delayed, 100);
}

#[test]
fn a_rate_must_be_a_probability() {
    for rate in [-0.1, 1.1, f64::NAN] {
        let error = only(|f| f.reorder = rate).check().unwrap_err();
        assert!(error.to_string().starts_with("reorder: "), "{error}");
    }
}
