//! Unexpected messages shown to the program first, and partners broken off with.

use std::time::Duration;

use super::net::{Net, pattern};
use crate::engine::{Event, Filter, Space, Status, UnexpectedId};
use crate::frame::Dialect;

const LONG: Duration = Duration::from_secs(200);
const SOON: Duration = Duration::from_millis(1);

fn pair() -> Net {
    let mut net = Net::with(2, Dialect::DEFAULT, 11, |config| {
        config.announce_unexpected = true;
    });
    net.connect(0, 1);
    net
}

fn announced(net: &Net) -> Vec<UnexpectedId> {
    let id = |event: &Event| match event {
        Event::Unexpected { id, .. } => Some(*id),
        _ => None,
    };
    net.hosts[1].events.iter().filter_map(id).collect()
}

fn exactly(match_info: u64) -> Filter {
    Filter {
        space: Space::Tagged,
        match_info,
        mask: u64::MAX,
        source: None,
    }
}

#[test]
fn a_held_message_is_hidden_and_goes_to_a_receive_posted_meanwhile() {
    // More than the matcher searches without an index as well.
    for others in [0, 20] {
        let mut net = pair();
        for _ in 0..others {
            net.send(0, 1, 9, pattern(4, 9));
        }
        net.send(0, 1, 5, pattern(100, 1));
        net.send(0, 1, 5, pattern(200, 2));
        net.run(SOON);
        let now = net.now;
        let first = announced(&net)[others];
        let held = net.hosts[1].endpoint.hold(first).expect("there");
        assert_eq!((held.envelope.length, held.complete), (100, true));
        assert!(held.store.is_some());
        let next = net.hosts[1].endpoint.probe(&exactly(5)).expect("the other");
        assert_eq!(next.length, 200);
        let (receive, region) = net.receive_masked(1, 5, u64::MAX, 200);
        assert_eq!(
            net.hosts[1].status_of(receive),
            None,
            "events are not processed yet"
        );
        net.hosts[1].process_events(now);
        assert_eq!(net.hosts[1].status_of(receive), Some(Status::Success));
        assert_eq!(
            net.hosts[1].regions[region.0 as usize],
            pattern(200, 2),
            "the held one was out of its reach"
        );
        let (receive, region) = net.receive_masked(1, 5, u64::MAX, 100);
        assert!(net.hosts[1].endpoint.release(now, first));
        net.hosts[1].process_events(now);
        assert_eq!(net.hosts[1].status_of(receive), Some(Status::Success));
        assert_eq!(net.hosts[1].regions[region.0 as usize], pattern(100, 1));
        assert!(!net.hosts[1].endpoint.release(now, first), "it is gone");
    }
}

#[test]
fn a_released_message_is_found_at_its_old_place() {
    let mut net = pair();
    net.send(0, 1, 5, pattern(100, 1));
    net.send(0, 1, 5, pattern(200, 2));
    net.run(SOON);
    let now = net.now;
    let first = announced(&net)[0];
    net.hosts[1].endpoint.hold(first).expect("there");
    assert!(net.hosts[1].endpoint.release(now, first));
    let next = net.hosts[1].endpoint.probe(&exactly(5)).expect("there");
    assert_eq!(next.length, 100);
}

#[test]
fn a_held_message_can_be_discarded_and_a_taken_one_not_be_held() {
    let mut net = pair();
    let large = net.send(0, 1, 5, pattern(100_000, 1));
    net.run(SOON);
    let now = net.now;
    let id = announced(&net)[0];
    let held = net.hosts[1].endpoint.hold(id).expect("there");
    assert_eq!((held.complete, held.store), (false, None));
    net.hosts[1].endpoint.discard(now, id);
    assert_eq!(net.hosts[1].endpoint.hold(id), None);
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(large), Some(Status::Truncated));
}

#[test]
fn announcing_can_begin_and_end_at_any_time() {
    let mut net = pair();
    net.hosts[1].endpoint.announce_unexpected(false);
    net.send(0, 1, 5, pattern(1, 1));
    net.run(SOON);
    assert!(announced(&net).is_empty());
    net.hosts[1].endpoint.announce_unexpected(true);
    net.send(0, 1, 5, pattern(1, 1));
    net.run(SOON);
    assert_eq!(announced(&net).len(), 1);
}

#[test]
fn breaking_off_ends_all_at_once_and_connecting_again_repairs_it() {
    let mut net = pair();
    let parked = net.send(0, 1, 1, pattern(100_000, 1));
    net.send(1, 0, 2, pattern(10, 2));
    net.run(SOON);
    let now = net.now;
    let partner = net.hosts[0].partner(net.hosts[1].address);
    assert!(net.hosts[0].endpoint.session_of(partner).is_some());
    net.hosts[0].endpoint.break_off(now, partner);
    net.hosts[0].process_events(now);
    assert_eq!(net.hosts[0].status_of(parked), Some(Status::NotConnected));
    assert_eq!(net.hosts[0].endpoint.probe(&exactly(2)), None);
    assert_eq!(net.hosts[0].endpoint.session_of(partner), None);
    net.connect(0, 1);
    let again = net.send(0, 1, 3, pattern(50_000, 3));
    let (receive, region) = net.receive_masked(1, 3, u64::MAX, 50_000);
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(again), Some(Status::Success));
    assert_eq!(net.hosts[1].status_of(receive), Some(Status::Success));
    assert_eq!(net.hosts[1].regions[region.0 as usize], pattern(50_000, 3));
}
