//! What becomes of requests: truncated, cancelled, late, claimed, without room.

use std::time::Duration;

use super::dialects;
use super::net::{Net, pattern};
use crate::engine::{
    ClaimedReceive, Config, Event, Filter, Ignored, PartnerId, Receive, RegionId, RequestId, Send,
    SendMode, Space, Status,
};
use crate::frame::Dialect;

const LONG: Duration = Duration::from_secs(200);
const SOON: Duration = Duration::from_millis(1);

fn pair() -> (Net, PartnerId) {
    pair_with(|_| {})
}

fn pair_with(adjust: impl Fn(&mut Config)) -> (Net, PartnerId) {
    let mut net = Net::with(2, Dialect::DEFAULT, 11, adjust);
    let partner = net.connect(0, 1);
    (net, partner)
}

fn any(space: Space) -> Filter {
    Filter {
        space,
        match_info: 0,
        mask: 0,
        source: None,
    }
}

fn received(net: &Net, at: usize, request: RequestId) -> (Status, u32, u32) {
    match net.hosts[at].end_of(request) {
        Some(Event::Received {
            status,
            length,
            envelope,
            ..
        }) => (status, length, envelope.length),
        other => panic!("not received: {other:?}"),
    }
}

fn claimed_receive(net: &mut Net, room: usize) -> ClaimedReceive {
    let region = net.hosts[1].region(vec![0; room]);
    ClaimedReceive {
        region,
        len: u32::try_from(room).unwrap(),
        token: 0,
    }
}

#[test]
fn messages_are_truncated_to_the_room_there_is() {
    for dialect in dialects() {
        for posted_first in [true, false] {
            for (size, room) in [
                (20, 7),
                (20, 0),
                (5000, 4999),
                (20_000, 1),
                (32_768, 5000),
                (100_000, 50_001),
                (40_000, 0),
            ] {
                let mut net = Net::new(2, dialect, 2);
                net.connect(0, 1);
                let early = posted_first.then(|| net.receive(1, 0, room));
                let send = net.send(0, 1, 0, pattern(size, 3));
                net.run(SOON);
                let (got, region) = early.unwrap_or_else(|| net.receive(1, 0, room));
                net.run(LONG);
                let (room_len, len) = (u32::try_from(room).unwrap(), u32::try_from(size).unwrap());
                assert_eq!(received(&net, 1, got), (Status::Truncated, room_len, len));
                assert_eq!(
                    net.hosts[1].regions[region.0 as usize],
                    pattern(size, 3)[..room]
                );
                let large = size > 32_768;
                let expected = if large {
                    Status::Truncated
                } else {
                    Status::Success
                };
                assert_eq!(
                    net.hosts[0].status_of(send),
                    Some(expected),
                    "{size} {room}"
                );
                net.hosts.iter().for_each(super::net::Host::assert_clean);
            }
        }
    }
}

#[test]
fn a_synchronous_send_of_any_size_ends_when_it_is_matched() {
    for size in [0, 1, 32, 128, 5000, 50_000] {
        let (mut net, _) = pair();
        let send = net.send_as(0, 1, 0, pattern(size, 1), SendMode::Synchronous);
        net.run(LONG);
        assert_eq!(net.hosts[0].status_of(send), None);
        let (got, region) = net.receive(1, 0, size);
        net.run(LONG);
        assert_eq!(net.hosts[0].status_of(send), Some(Status::Success));
        assert_eq!(received(&net, 1, got).0, Status::Success);
        assert_eq!(net.hosts[1].regions[region.0 as usize], pattern(size, 1));
    }
}

#[test]
fn a_receive_is_cancelled_as_long_as_it_has_not_matched() {
    let (mut net, _) = pair();
    let (first, _) = net.receive(1, 0, 8);
    let (second, _) = net.receive(1, 0, 8);
    assert!(net.hosts[1].endpoint.cancel(net.now, first));
    assert!(!net.hosts[1].endpoint.cancel(net.now, first));
    net.send(0, 1, 0, pattern(8, 1));
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(first), Some(Status::Cancelled));
    assert_eq!(received(&net, 1, second).0, Status::Success);
    assert!(!net.hosts[1].endpoint.cancel(net.now, second));
}

#[test]
fn a_send_is_cancelled_as_long_as_it_was_not_begun() {
    let (mut net, _) = pair();
    let (got, region) = net.receive(1, 0, 8);
    let first = net.send(0, 1, 0, pattern(8, 1));
    let second = net.send(0, 1, 0, pattern(8, 2));
    assert!(net.hosts[0].endpoint.cancel(net.now, first));
    net.run(SOON);
    assert!(!net.hosts[0].endpoint.cancel(net.now, second));
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(first), Some(Status::Cancelled));
    assert_eq!(net.hosts[0].status_of(second), Some(Status::Success));
    assert_eq!(received(&net, 1, got).0, Status::Success);
    assert_eq!(net.hosts[1].regions[region.0 as usize], pattern(8, 2));
}

#[test]
fn probing_changes_nothing_and_claiming_takes_the_message() {
    let (mut net, partner) = pair();
    for (info, size) in [(1, 10), (2, 20_000), (3, 90_000)] {
        net.send(0, 1, info, pattern(size, info));
    }
    net.run(SOON);
    let endpoint = &mut net.hosts[1].endpoint;
    assert_eq!(endpoint.probe(&any(Space::Plain)), None);
    let seen = endpoint.probe(&any(Space::Tagged)).unwrap();
    assert_eq!((seen.match_info, seen.length), (1, 10));
    let third = Filter {
        match_info: 3,
        mask: 3,
        ..any(Space::Tagged)
    };
    let (third, envelope) = endpoint.claim(&third).unwrap();
    assert_eq!(envelope.length, 90_000);
    let (first, _) = endpoint.claim(&any(Space::Tagged)).unwrap();
    assert_eq!(endpoint.probe(&any(Space::Tagged)).unwrap().match_info, 2);
    let into = claimed_receive(&mut net, 90_000);
    let now = net.now;
    let got = net.hosts[1]
        .endpoint
        .receive_claimed(now, third, into)
        .unwrap();
    net.hosts[1].endpoint.discard(now, first);
    let again = net.hosts[1].endpoint.receive_claimed(now, first, into);
    assert_eq!(again, Err(Status::BadHandle));
    net.run(LONG);
    assert_eq!(received(&net, 1, got), (Status::Success, 90_000, 90_000));
    let (second, _) = net.receive(1, 0, 20_000);
    net.run(LONG);
    assert_eq!(received(&net, 1, second).0, Status::Success);
    net.hosts.iter().for_each(super::net::Host::assert_clean);
    assert_eq!(
        net.hosts[0].endpoint.address_of(partner),
        Some(net.hosts[1].address)
    );
}

#[test]
fn a_discarded_large_message_tells_its_sender_that_nothing_was_taken() {
    let (mut net, _) = pair();
    let send = net.send(0, 1, 0, pattern(60_000, 1));
    net.run(SOON);
    let (id, _) = net.hosts[1].endpoint.claim(&any(Space::Tagged)).unwrap();
    net.hosts[1].endpoint.discard(net.now, id);
    net.run(LONG);
    let end = net.hosts[0].end_of(send);
    assert!(
        matches!(
            end,
            Some(Event::Sent {
                status: Status::Truncated,
                length: 0,
                ..
            })
        ),
        "{end:?}"
    );
    net.hosts.iter().for_each(super::net::Host::assert_clean);
}

#[test]
fn announced_messages_can_be_received_by_their_handle() {
    let (mut net, _) = pair_with(|config| config.announce_unexpected = true);
    net.send(0, 1, 5, pattern(3000, 1));
    net.run(SOON);
    let announced = net.hosts[1].events.iter().find_map(|event| match event {
        Event::Unexpected { id, envelope } => Some((*id, *envelope)),
        _ => None,
    });
    let (id, envelope) = announced.unwrap();
    assert_eq!((envelope.match_info, envelope.length), (5, 3000));
    let into = claimed_receive(&mut net, 3000);
    let now = net.now;
    let got = net.hosts[1]
        .endpoint
        .receive_claimed(now, id, into)
        .unwrap();
    net.run(LONG);
    assert_eq!(received(&net, 1, got).0, Status::Success);
    assert_eq!(
        net.hosts[1].regions[into.region.0 as usize],
        pattern(3000, 1)
    );
}

#[test]
fn the_two_spaces_do_not_mix() {
    let (mut net, partner) = pair();
    let post = |net: &mut Net, space| {
        let region = net.hosts[1].region(vec![0; 8]);
        let receive = Receive {
            space,
            match_info: 0,
            mask: 0,
            source: None,
            region,
            len: 8,
            token: 0,
        };
        net.hosts[1].endpoint.receive(|| net.now, receive).unwrap()
    };
    let tagged = post(&mut net, Space::Tagged);
    let plain = post(&mut net, Space::Plain);
    for (info, space) in [(1, Space::Plain), (2, Space::Tagged)] {
        let region = net.hosts[0].region(pattern(8, info));
        let send = Send {
            to: partner,
            space,
            match_info: info,
            data: None,
            region,
            len: 8,
            mode: SendMode::Standard,
            token: 0,
        };
        net.hosts[0].endpoint.send(net.now, send).unwrap();
    }
    net.run(LONG);
    let info = |request| match net.hosts[1].end_of(request) {
        Some(Event::Received { envelope, .. }) => (envelope.match_info, envelope.space),
        other => panic!("{other:?}"),
    };
    assert_eq!(info(plain), (1, Space::Plain));
    assert_eq!(info(tagged), (2, Space::Tagged));
}

#[test]
fn deadlines_end_requests_in_whatever_state_they_are() {
    let (mut net, _) = pair();
    let (unmatched, _) = net.receive(1, 9 << 32, 8);
    let soon = net.now + Duration::from_millis(500);
    net.hosts[1].endpoint.set_deadline(unmatched, Some(soon));
    let (kept, _) = net.receive(1, 8 << 32, 8);
    net.hosts[1].endpoint.set_deadline(kept, Some(soon));
    net.hosts[1].endpoint.set_deadline(kept, None);
    // Announced and never received: acknowledged, so that it can fail alone.
    let parked = net.send_as(0, 1, 7 << 32, pattern(8, 1), SendMode::Synchronous);
    net.hosts[0].endpoint.set_deadline(parked, Some(soon));
    net.run(Duration::from_secs(1));
    assert_eq!(net.hosts[1].status_of(unmatched), Some(Status::Timeout));
    assert_eq!(net.hosts[1].status_of(kept), None);
    assert_eq!(net.hosts[0].status_of(parked), Some(Status::Timeout));
    // Its data is not to be had any more.
    let (late, _) = net.receive(1, 7 << 32, 8);
    net.run(LONG);
    assert_eq!(received(&net, 1, late).0, Status::PullFailed);
    net.send(0, 1, 8 << 32, pattern(8, 1));
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(kept), Some(Status::Success));
    net.hosts.iter().for_each(super::net::Host::assert_clean);
}

#[test]
fn a_send_that_gets_on_may_take_longer_than_it_may_be_silent() {
    const PATIENCE: Duration = Duration::from_secs(3);
    let (mut net, _) = pair();
    let (got, _) = net.receive(1, 0, 500_000);
    let send = net.send(0, 1, 0, pattern(500_000, 1));
    let now = net.now;
    let endpoint = &mut net.hosts[0].endpoint;
    endpoint.set_patience(now, send, Some(PATIENCE));
    // PULL_REPLYs are lost: its data is asked for again and again.
    net.filter = Box::new(|_, bytes| bytes[16] != 42);
    net.run(5 * PATIENCE);
    assert_eq!(net.hosts[0].status_of(send), None);
    // Nothing is asked for any more.
    net.filter = Box::new(|_, _| false);
    net.run(PATIENCE + Duration::from_millis(1));
    assert_eq!(net.hosts[0].status_of(send), Some(Status::Timeout));
    net.run(LONG);
    assert_ne!(received(&net, 1, got).0, Status::Success);
    net.hosts.iter().for_each(super::net::Host::assert_clean);
}

#[test]
fn a_send_that_nobody_wants_ends_when_its_patience_does_and_one_that_may_wait_does_not() {
    const PATIENCE: Duration = Duration::from_secs(3);
    let (mut net, _) = pair();
    let sends = [1, 2, 3].map(|info| net.send(0, 1, info << 32, pattern(500_000, 1)));
    let now = net.now;
    let endpoint = &mut net.hosts[0].endpoint;
    for send in sends {
        endpoint.set_patience(now, send, Some(PATIENCE));
    }
    endpoint.set_patience(now, sends[1], None);
    endpoint.set_deadline(sends[2], Some(now + PATIENCE * 9));
    net.run(2 * PATIENCE);
    let statuses = sends.map(|send| net.hosts[0].status_of(send));
    assert_eq!(statuses, [Some(Status::Timeout), None, None]);
}

#[test]
fn a_send_that_nobody_acknowledges_by_its_deadline_takes_the_connection_with_it() {
    let (mut net, partner) = pair();
    net.faults.loss = 1000;
    let send = net.send(0, 1, 0, pattern(8, 1));
    let soon = net.now + Duration::from_millis(100);
    net.hosts[0].endpoint.set_deadline(send, Some(soon));
    net.run(Duration::from_secs(1));
    assert_eq!(net.hosts[0].status_of(send), Some(Status::Timeout));
    assert!(!net.hosts[0].endpoint.is_connected(partner));
    net.hosts[0].assert_clean();
}

#[test]
fn a_receive_whose_data_stops_coming_ends_by_its_deadline() {
    let (mut net, _) = pair();
    let (got, _) = net.receive(1, 0, 500_000);
    let (next, _) = net.receive(1, 0, 8);
    let send = net.send(0, 1, 0, pattern(500_000, 1));
    let soon = net.now + Duration::from_millis(100);
    net.hosts[1].endpoint.set_deadline(got, Some(soon));
    // PULL_REPLYs are lost, all else is not.
    net.filter = Box::new(|_, bytes| bytes[16] != 42);
    net.run(LONG);
    assert_eq!(received(&net, 1, got).0, Status::Timeout);
    assert_eq!(net.hosts[0].status_of(send), Some(Status::Truncated));
    net.send(0, 1, 0, pattern(8, 2));
    net.run(LONG);
    assert_eq!(received(&net, 1, next).0, Status::Success);
    net.hosts.iter().for_each(super::net::Host::assert_clean);
}

#[test]
fn what_finds_no_room_comes_again_when_there_is() {
    for seed in 0..4 {
        let mut net = Net::with(2, Dialect::DEFAULT, seed, |config| {
            config.limits.unexpected_bytes = 40_000;
            config.limits.unexpected_messages = 16;
        });
        net.faults.loss = seed * 20;
        net.connect(0, 1);
        let sizes = [8, 0, 20_000, 3, 15_000, 60_000];
        let sends: Vec<_> = (0..60_u64)
            .map(|number| {
                let size = sizes[usize::try_from(number % 6).unwrap()];
                net.send(0, 1, number, pattern(size, number))
            })
            .collect();
        // The receiver does not look for longer than a partner may be silent: it is alive all the same.
        net.run(LONG);
        assert!(net.hosts[1].endpoint.store_bytes() <= 40_000);
        assert!(net.hosts[1].endpoint.counters().ignored(Ignored::StoreFull) > 0);
        for number in 0..60_u64 {
            let (got, _) = net.receive(1, 0, 60_000);
            net.run(LONG);
            let Some(Event::Received { envelope, .. }) = net.hosts[1].end_of(got) else {
                panic!("seed {seed}: {number} is missing");
            };
            assert_eq!(envelope.match_info, number);
        }
        for send in sends {
            assert_eq!(net.hosts[0].status_of(send), Some(Status::Success));
        }
        net.hosts.iter().for_each(super::net::Host::assert_clean);
    }
}

#[test]
fn more_large_sends_than_regions_wait_their_turn() {
    let (mut net, _) = pair_with(|config| {
        config.limits.rendezvous = 3;
        config.limits.pulls = 2;
    });
    let all: Vec<_> = (0..40_u64)
        .map(|number| {
            let (got, region) = net.receive(1, 0, 50_000);
            (net.send(0, 1, number, pattern(50_000, number)), got, region)
        })
        .collect();
    net.run(LONG);
    for (number, (send, got, region)) in (0..).zip(all) {
        assert_eq!(net.hosts[0].status_of(send), Some(Status::Success));
        assert_eq!(received(&net, 1, got).0, Status::Success);
        assert_eq!(
            net.hosts[1].regions[region.0 as usize],
            pattern(50_000, number)
        );
    }
}

#[test]
fn pulls_never_ask_for_more_than_the_window_of_their_path() {
    let (mut net, _) = pair();
    for number in 0..6 {
        net.receive(1, number << 32, 400_000);
        net.send(0, 1, number << 32, pattern(400_000, number));
    }
    // Blocks are asked for, and answers counted, as they pass.
    let balance = std::rc::Rc::new(std::cell::Cell::new(0_i64));
    let most = std::rc::Rc::new(std::cell::Cell::new(0_i64));
    let (b, m) = (std::rc::Rc::clone(&balance), std::rc::Rc::clone(&most));
    net.filter = Box::new(move |_, bytes| {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        match bytes[16] {
            41 => b.set(b.get() + i64::from(word(16 + 36))),
            42 => b.set(b.get() - i64::from(u16::from_be_bytes([bytes[18], bytes[19]]))),
            _ => {}
        }
        m.set(m.get().max(b.get()));
        true
    });
    net.run(LONG);
    net.hosts.iter().for_each(super::net::Host::assert_clean);
    assert_eq!(balance.get(), 0);
    assert!(
        most.get() > i64::from(super::net::WINDOW) / 2,
        "{}",
        most.get()
    );
    assert!(
        most.get() <= i64::from(super::net::WINDOW),
        "{}",
        most.get()
    );
}

#[test]
fn closing_ends_everything_and_acknowledges_what_has_come() {
    let (mut net, _) = pair();
    let sent = net.send(1, 0, 1, pattern(20, 1));
    let (bound, _) = net.receive(0, 1, 20);
    let (waiting, _) = net.receive(0, 9 << 32, 20);
    let step = net.now + Duration::from_micros(15);
    while net.step(step) {}
    let large = net.send(0, 1, 2, pattern(90_000, 1));
    net.hosts[0].endpoint.close(net.now);
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(bound), Some(Status::Success));
    assert_eq!(net.hosts[0].status_of(waiting), Some(Status::Closed));
    assert_eq!(net.hosts[0].status_of(large), Some(Status::Closed));
    assert_eq!(net.hosts[1].status_of(sent), Some(Status::Success));
    net.hosts[0].assert_clean();
    let receive = Receive {
        space: Space::Tagged,
        match_info: 0,
        mask: 0,
        source: None,
        region: RegionId(0),
        len: 0,
        token: 0,
    };
    assert_eq!(
        net.hosts[0].endpoint.receive(|| net.now, receive),
        Err(Status::Closed)
    );
}

#[test]
fn acknowledgements_of_a_stream_are_few_and_come_at_once_when_asked_for() {
    let (mut net, _) = pair();
    for number in 0..3200 {
        net.receive(1, 0, 8);
        net.send(0, 1, number, pattern(8, number));
    }
    net.latency = Duration::ZERO;
    let end = net.now + Duration::from_micros(10);
    while net.step(end) {}
    let acks = net.hosts[1].endpoint.counters().acks_out;
    assert!((1..=100).contains(&acks), "{acks}");
    net.send(0, 1, 0, pattern(8, 0));
    while net.step(end) {}
    let before = net.hosts[1].endpoint.counters().acks_out;
    net.hosts[1].endpoint.flush_acks(net.now);
    while net.step(end) {}
    assert_eq!(net.hosts[1].endpoint.counters().acks_out, before + 1);
    assert_eq!(net.hosts[0].endpoint.counters().timeouts, 0);
}

#[test]
fn partners_share_a_path_by_bytes() {
    let mut net = Net::new(4, Dialect::DEFAULT, 1);
    for to in 1..4 {
        net.connect(0, to);
    }
    // One partner's messages are small, one's are many; all are queued at once.
    for number in 0..600 {
        net.send(0, 1, number, pattern(8000, 1));
        net.send(0, 2, number, pattern(8000, 1));
        if number < 200 {
            net.send(0, 3, number, pattern(1000, 1));
        }
    }
    let mut sent = [0_u64; 4];
    for _ in 0..150 {
        let now = net.now;
        let path = crate::engine::PathId::SWITCH;
        let transmit = net.hosts[0].endpoint.poll_transmit(now, path).unwrap();
        let to = usize::from(transmit.to.octets()[5]);
        sent[to] += u64::from(transmit.payload.map_or(0, |slice| slice.len)) + 64;
    }
    let (least, most) = (
        sent[1..].iter().min().unwrap(),
        sent[1..].iter().max().unwrap(),
    );
    assert!(most - least <= 3 * (16 << 10), "{sent:?}");
}
