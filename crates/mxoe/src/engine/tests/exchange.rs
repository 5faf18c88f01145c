//! Every message arrives exactly once and in order, whatever the network does.

use std::time::Duration;

use super::dialects;
use super::net::{Faults, Net, pattern};
use crate::engine::{Event, PathId, PathProfile, RegionId, RequestId, SendMode, Status};
use crate::frame::Dialect;

/// One of each class, and the edges between them.
const SIZES: [usize; 16] = [
    0, 1, 8, 32, 33, 128, 129, 1452, 1453, 4096, 8192, 20_000, 32_768, 32_769, 100_000, 300_001,
];

/// Messages from every host to every other one, and the receives for them.
struct Exchange {
    sends: Vec<(usize, RequestId)>,
    /// Where, from whom, which of its messages, and the receive for it.
    receives: Vec<(usize, usize, u64, RequestId, RegionId)>,
    /// Receives to be posted later.
    later: Vec<(usize, usize, u64)>,
}

fn size(net: &mut Net, largest: usize) -> usize {
    let sizes = SIZES.iter().filter(|size| **size <= largest).count();
    let choice = usize::try_from(net.random(sizes as u64)).unwrap();
    SIZES[choice]
}

fn seed_of(from: usize, to: usize, number: u64) -> u64 {
    (from as u64) << 40 | (to as u64) << 32 | number
}

fn message(from: usize, number: u64) -> u64 {
    (from as u64) << 32 | number
}

/// The data beside a message: every other one has some.
fn beside(number: u64) -> Option<u64> {
    (number % 2 == 1).then_some(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Exchange {
    fn start(net: &mut Net, count: u64, largest: usize) -> Self {
        let mut this = Self {
            sends: vec![],
            receives: vec![],
            later: vec![],
        };
        let hosts = net.hosts.len();
        for number in 0..count {
            for from in 0..hosts {
                for to in (0..hosts).filter(|to| *to != from) {
                    if number % 3 != 2 {
                        this.post(net, to, from, number, largest);
                    } else {
                        this.later.push((to, from, number));
                    }
                    let bytes = pattern(size(net, largest), seed_of(from, to, number));
                    let mode = match net.random(8) {
                        0 => SendMode::Synchronous,
                        _ => SendMode::Standard,
                    };
                    let cover = (message(from, number), beside(number));
                    let send = net.send_with(from, to, cover, bytes, mode);
                    this.sends.push((from, send));
                }
            }
        }
        this
    }

    fn post(&mut self, net: &mut Net, at: usize, from: usize, number: u64, largest: usize) {
        let (request, region) = net.receive(at, message(from, 0), largest);
        self.receives.push((at, from, number, request, region));
    }

    /// Posts the remaining receives. They get what the others left, in order.
    fn post_rest(&mut self, net: &mut Net, largest: usize) {
        for (at, from, number) in std::mem::take(&mut self.later) {
            self.post(net, at, from, number, largest);
        }
    }

    fn check(&self, net: &Net) {
        for (from, send) in &self.sends {
            assert_eq!(net.hosts[*from].status_of(*send), Some(Status::Success));
        }
        let mut next = std::collections::HashMap::new();
        for (at, from, _, request, region) in &self.receives {
            let host = &net.hosts[*at];
            let Some(Event::Received {
                status,
                envelope,
                length,
                ..
            }) = host.end_of(*request)
            else {
                panic!("a message from {from} to {at} is missing");
            };
            assert_eq!(status, Status::Success);
            // Receives were posted in order for each pair, so they take messages in order.
            let number = next.entry((at, from)).or_insert(0_u64);
            assert_eq!(
                envelope.match_info,
                message(*from, *number),
                "{from} to {at}"
            );
            assert_eq!(envelope.address, net.hosts[*from].address);
            assert_eq!(envelope.data, beside(*number), "{from} to {at}");
            let expected = pattern(length as usize, seed_of(*from, *at, *number));
            assert_eq!(length, envelope.length);
            assert!(host.regions[region.0 as usize][..length as usize] == expected);
            *number += 1;
        }
        net.hosts.iter().for_each(super::net::Host::assert_clean);
    }
}

/// Connects all to all and exchanges `count` messages each way. Gives the frames that took.
fn exchange(mut net: Net, count: u64, largest: usize) -> (u64, Net) {
    let hosts = net.hosts.len();
    for from in 0..hosts {
        for to in (0..hosts).filter(|to| *to != from) {
            net.connect(from, to);
        }
    }
    let before = net.frames;
    let mut exchange = Exchange::start(&mut net, count, largest);
    net.run(Duration::from_millis(3));
    exchange.post_rest(&mut net, largest);
    net.run(Duration::from_secs(300));
    exchange.check(&net);
    (net.frames - before, net)
}

fn lossy(dialect: Dialect, seed: u64, loss: u64) -> Net {
    let mut net = Net::new(2, dialect, seed);
    net.faults = Faults {
        loss,
        duplicates: loss / 2,
        jitter: Duration::from_micros(if seed.is_multiple_of(2) { 0 } else { 300 }),
    };
    net
}

#[test]
fn all_sizes_arrive_in_every_dialect() {
    for dialect in dialects() {
        exchange(Net::new(3, dialect, 1), 40, 300_001);
    }
}

#[test]
fn messages_survive_loss_duplication_and_reordering() {
    for seed in 0..60 {
        let dialect = dialects()[usize::try_from(seed % 3).unwrap()];
        println!("seed {seed}, {dialect}");
        exchange(lossy(dialect, seed, 10 + seed % 7 * 30), 20, 100_000);
    }
}

#[test]
fn small_messages_survive_heavy_loss_in_long_runs() {
    for seed in 0..12 {
        println!("seed {seed}");
        exchange(lossy(Dialect::DEFAULT, seed, 200), 400, 129);
    }
}

#[test]
fn a_tenth_of_frames_lost_costs_less_than_three_times_the_frames() {
    for largest in [128, 32_768, 300_001] {
        for dialect in dialects() {
            let quiet = exchange(Net::new(2, dialect, 5), 100, largest).0;
            let mut net = Net::new(2, dialect, 5);
            net.faults.loss = 100;
            let (noisy, net) = exchange(net, 100, largest);
            println!(
                "{largest} {dialect}: {quiet} {noisy} {:?}",
                net.hosts[0].endpoint.counters()
            );
            assert!(
                noisy < 3 * quiet,
                "{largest} {dialect}: {noisy} frames for {quiet}"
            );
        }
    }
}

#[test]
fn the_same_calls_give_the_same_frames() {
    let frames = |seed| {
        let mut net = lossy(Dialect::DEFAULT, seed, 50);
        let (count, hash) = (std::rc::Rc::default(), std::rc::Rc::default());
        let (c, h): (
            std::rc::Rc<std::cell::Cell<u64>>,
            std::rc::Rc<std::cell::Cell<u64>>,
        ) = (std::rc::Rc::clone(&count), std::rc::Rc::clone(&hash));
        net.filter = Box::new(move |_, bytes| {
            c.set(c.get() + 1);
            for byte in bytes {
                h.set(h.get().wrapping_mul(31).wrapping_add(u64::from(*byte)));
            }
            true
        });
        exchange(net, 10, 100_000);
        (count.get(), hash.get())
    };
    assert_eq!(frames(3), frames(3));
    assert_ne!(frames(3), frames(4));
}

#[test]
fn a_blocked_path_is_back_pressure_and_not_loss() {
    let mut net = Net::new(2, Dialect::DEFAULT, 1);
    net.connect(0, 1);
    let mut exchange = Exchange::start(&mut net, 50, 32_768);
    net.blocked = true;
    net.run(Duration::from_secs(5));
    net.blocked = false;
    exchange.post_rest(&mut net, 32_768);
    net.run(Duration::from_secs(5));
    exchange.check(&net);
    for host in &net.hosts {
        assert_eq!(host.endpoint.counters().timeouts, 0);
        assert_eq!(host.endpoint.counters().resends, 0);
    }
}

#[test]
fn numbers_wrap_without_anybody_noticing() {
    for seed in 0..2 {
        let mut net = lossy(Dialect::DEFAULT, seed, seed * 20);
        net.connect(0, 1);
        for round in 0..6 {
            let mut waiting = vec![];
            for number in 0..3000_u64 {
                let (request, _) = net.receive(1, 0, 8);
                net.send(0, 1, number, number.to_le_bytes().to_vec());
                waiting.push((number, request));
            }
            net.run(Duration::from_secs(200));
            for (number, request) in waiting {
                let end = net.hosts[1].end_of(request);
                let Some(Event::Received { envelope, .. }) = end else {
                    panic!("round {round}: {number} is missing");
                };
                assert_eq!(envelope.match_info, number);
            }
            for host in &mut net.hosts {
                host.events.clear();
                host.regions.clear();
            }
        }
    }
}

#[test]
fn messages_keep_their_order_when_the_path_changes_under_way() {
    for seed in 0..10 {
        let mut net = lossy(Dialect::DEFAULT, seed, 30);
        net.connect(0, 1);
        net.connect(1, 0);
        let mut exchange = Exchange::start(&mut net, 60, 100_000);
        let direct = PathId::new(2);
        net.run(Duration::from_micros(40));
        let profile = PathProfile {
            fetch: seed.is_multiple_of(2),
            max_frame: 40_000,
            ..PathProfile::new(Dialect::DEFAULT, 128 << 10)
        };
        for host in &mut net.hosts {
            host.fetches = seed.is_multiple_of(4);
        }
        net.make_direct(direct, profile);
        net.run(Duration::from_micros(60));
        // And back again: what was in the path is lost.
        for host in &mut net.hosts {
            host.endpoint.drop_path(net.now, direct);
        }
        exchange.post_rest(&mut net, 100_000);
        net.run(Duration::from_secs(300));
        exchange.check(&net);
    }
}

#[test]
fn what_waits_when_the_path_changes_goes_out_by_the_new_one() {
    let mut net = Net::new(2, Dialect::DEFAULT, 1);
    net.connect(0, 1);
    let (got, _) = net.receive(1, 0, 8);
    net.blocked = true;
    net.send(0, 1, 0, pattern(8, 1));
    let direct = PathId::new(1);
    net.make_direct(direct, PathProfile::new(Dialect::DEFAULT, 128 << 10));
    // The old path is looked at first.
    net.blocked = false;
    net.run(Duration::from_millis(1));
    assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
}

#[test]
fn a_message_that_comes_again_in_pieces_gets_one_answer() {
    let dialect = Dialect::Native {
        mtu: crate::frame::Mtu::STANDARD,
    };
    let mut net = Net::new(2, dialect, 1);
    net.connect(0, 1);
    net.faults.jitter = Duration::from_micros(100);
    let (got, _) = net.receive(1, 0, 20_000);
    let acks = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = acks.clone();
    net.filter = Box::new(move |from, _| {
        seen.set(seen.get() + u32::from(from == 1));
        // The first acknowledgement is lost, so that all 14 pieces come again.
        from != 1 || seen.get() > 1
    });
    let send = net.send(0, 1, 0, pattern(20_000, 1));
    net.run(Duration::from_secs(5));
    assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
    assert_eq!(net.hosts[0].status_of(send), Some(Status::Success));
    assert_eq!(acks.get(), 2);
}

#[test]
fn data_asked_for_on_a_path_that_goes_does_not_stop_the_next_path() {
    let mut net = Net::new(2, Dialect::DEFAULT, 1);
    net.connect(0, 1);
    let (got, _) = net.receive(1, 0, 100_000);
    let asked = std::rc::Rc::new(std::cell::Cell::new(false));
    let seen = asked.clone();
    net.filter = Box::new(move |from, _| {
        seen.set(seen.get() || from == 1);
        true
    });
    net.send(0, 1, 0, pattern(100_000, 1));
    while !asked.get() {
        net.step(net.now + Duration::from_secs(1));
    }
    // The request for the data arrives, but the data does not go out any more.
    net.blocked = true;
    net.run(Duration::from_micros(20));
    let direct = PathId::new(1);
    let profile = PathProfile::new(Dialect::DEFAULT, 128 << 10);
    net.make_direct(direct, profile);
    let now = net.now;
    for host in &mut net.hosts {
        host.endpoint.set_path(now, PathId::SWITCH, profile);
    }
    net.blocked = false;
    net.run(Duration::from_secs(1));
    assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
}

#[test]
fn a_back_end_that_comes_back_is_not_noticed() {
    for seed in 0..10 {
        let mut net = Net::new(3, Dialect::DEFAULT, seed);
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
            net.connect(from, to);
        }
        let mut exchange = Exchange::start(&mut net, 40, 300_001);
        exchange.post_rest(&mut net, 300_001);
        for _ in 0..5 {
            net.run(Duration::from_micros(30 + seed * 7));
            net.faults.loss = 1000;
            net.run(Duration::from_millis(200));
            net.faults.loss = 0;
            for host in &mut net.hosts {
                let profile = PathProfile::new(Dialect::DEFAULT, super::net::WINDOW);
                host.endpoint.set_path(net.now, PathId::SWITCH, profile);
            }
        }
        net.run(Duration::from_secs(100));
        exchange.check(&net);
    }
}

#[test]
fn a_direct_path_carries_offers_in_place_of_data() {
    let (_, net) = exchange(direct_pair(), 30, 300_001);
    for host in &net.hosts {
        assert_eq!(host.endpoint.counters().pulls_out, 0);
    }
}

/// Two hosts on a path that carries offers.
fn direct_pair() -> Net {
    let mut net = Net::new(2, Dialect::DEFAULT, 1);
    let direct = PathId::new(1);
    let profile = PathProfile {
        fetch: true,
        ..PathProfile::new(Dialect::DEFAULT, 128 << 10)
    };
    net.make_direct(direct, profile);
    net
}

#[test]
fn much_that_came_by_a_direct_path_is_acknowledged_in_a_quiet_moment() {
    let switched = || Net::new(2, Dialect::DEFAULT, 1);
    for (mut net, size, acks) in [
        (direct_pair(), 5000, 1),
        (direct_pair(), 1000, 0),
        (switched(), 5000, 0),
    ] {
        net.connect(0, 1);
        net.latency = Duration::ZERO;
        // Longer than frames take, and shorter than the receiver waits for data to send.
        let end = net.now + Duration::from_micros(100);
        net.receive(1, 0, size);
        let sent = net.send(0, 1, 0, pattern(size, 1));
        while net.step(end) {}
        assert_eq!(net.hosts[0].status_of(sent), None);
        net.hosts[1].endpoint.flush_large_acks(end);
        while net.step(end) {}
        assert_eq!(net.hosts[1].endpoint.counters().acks_out, acks);
        assert_eq!(net.hosts[0].status_of(sent).is_some(), acks > 0);
        // What is left is not forgotten.
        net.hosts[1].endpoint.flush_acks(end);
        while net.step(end) {}
        assert_eq!(net.hosts[1].endpoint.counters().acks_out, 1);
        assert_eq!(net.hosts[0].status_of(sent), Some(Status::Success));
    }
}

#[test]
fn what_is_offered_can_be_asked_for_first() {
    let mut net = direct_pair();
    for host in &mut net.hosts {
        host.asks_first = true;
    }
    let (_, net) = exchange(net, 30, 300_001);
    for host in &net.hosts {
        assert!(host.endpoint.counters().pulls_out > 0);
        assert_eq!(host.endpoint.counters().fetches, 0);
    }
}

#[test]
fn what_was_asked_for_and_does_not_come_is_read_after_all() {
    let (mut read, mut in_part) = (0, 0);
    for steps in 0..60 {
        let mut net = direct_pair();
        net.hosts[1].asks_first = true;
        net.connect(0, 1);
        let size = 400_001;
        let (got, region) = net.receive(1, 0, size);
        net.send(0, 1, 0, pattern(size, 1));
        let end = net.now + Duration::from_secs(100);
        for _ in 0..steps {
            net.step(end);
        }
        let now = net.now;
        in_part += u32::from(net.hosts[1].read_asked(now) > 0);
        if net.hosts[1].endpoint.counters().fetches > 0 {
            read += 1;
            assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
            let bytes = &mut net.hosts[1].regions[region.0 as usize];
            assert!(*bytes == pattern(size, 1));
            // The buffer may be in use for something else: late answers must not change it.
            bytes.fill(0);
            net.run(Duration::from_secs(100));
            let bytes = &net.hosts[1].regions[region.0 as usize];
            assert!(bytes.iter().all(|byte| *byte == 0));
        } else {
            net.run(Duration::from_secs(100));
            assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
            assert!(net.hosts[1].regions[region.0 as usize] == pattern(size, 1));
        }
    }
    assert!(read > in_part && in_part > 0);
}

#[test]
fn a_large_transfer_keeps_a_third_of_its_rate_at_a_hundredth_of_frames_lost() {
    let duration = |dialect, loss| {
        let mut net = Net::new(2, dialect, 9);
        net.connect(0, 1);
        net.faults.loss = loss;
        // As on a link that some hosts share: a frame takes as long as a handful does to be sent.
        net.latency = Duration::from_micros(100);
        let size = 16 << 20;
        let (got, region) = net.receive(1, 0, size);
        net.send(0, 1, 0, pattern(size, 1));
        let begin = net.now;
        let end = begin + Duration::from_secs(100);
        while net.hosts[1].end_of(got).is_none() && net.step(end) {}
        assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
        assert!(net.hosts[1].regions[region.0 as usize] == pattern(size, 1));
        net.now.since(begin)
    };
    for dialect in dialects() {
        let (quiet, lossy) = (duration(dialect, 0), duration(dialect, 10));
        println!("{dialect}: {quiet:?} {lossy:?}");
        assert!(
            lossy < 3 * quiet,
            "{dialect}: {lossy:?} instead of {quiet:?}"
        );
    }
}
