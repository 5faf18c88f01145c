//! Partners that die while something is under way that only they could finish.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::net::{Net, pattern};
use super::partners::nack_connect;
use crate::engine::{Event, Status};
use crate::frame::{Dialect, Frame, HEAD_BYTES, Mtu, parse};

const DIALECT: Dialect = Dialect::Native { mtu: Mtu::STANDARD };
/// Longer than engines are patient.
const LONG: Duration = Duration::from_secs(400);
/// Longer than the silence after which they ask.
const A_WHILE: Duration = Duration::from_secs(20);

fn net() -> Net {
    let mut net = Net::new(2, DIALECT, 11);
    net.connect(0, 1);
    net
}

/// Has every frame for which `lost` says so lost.
fn lose(net: &mut Net, lost: impl Fn(usize, &Frame) -> bool + 'static) {
    net.filter = Box::new(move |from, bytes| {
        let head = &bytes[..bytes.len().min(HEAD_BYTES)];
        !lost(from, &parse(DIALECT, head, bytes.len()).unwrap().frame)
    });
}

#[test]
fn a_large_send_to_a_partner_that_fell_silent_fails_in_time() {
    let mut net = net();
    let send = net.send(0, 1, 0, pattern(100_000, 1));
    // It is acknowledged, and nobody pulls it.
    net.run(Duration::from_secs(1));
    net.filter = Box::new(|_, _| false);
    let before = net.frames;
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(send), Some(Status::Unreachable));
    assert!(net.frames - before < 100, "{} frames", net.frames - before);
    net.hosts[0].assert_clean();
}

#[test]
fn a_large_send_to_a_partner_that_closes_fails_when_it_is_asked_and_that_is_at_once() {
    // Before anybody wants the message, and while it is transferred.
    for wanted in [false, true] {
        let mut net = net();
        let send = net.send(0, 1, 0, pattern(100_000, 1));
        if wanted {
            lose(&mut net, |_, frame| matches!(frame, Frame::PullReply(_)));
            net.receive(1, 0, 100_000);
        }
        net.run(Duration::from_secs(1));
        assert_eq!(net.hosts[0].status_of(send), None);
        let now = net.now;
        net.hosts[1].endpoint.close(now);
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        lose(&mut net, move |from, frame| {
            let question = from == 0 && matches!(frame, Frame::Connect(_));
            count.set(count.get() + u32::from(question));
            question
        });
        net.run(Duration::from_millis(1));
        assert_eq!(asked.get(), 1, "{wanted}");
        assert_eq!(net.hosts[0].status_of(send), None);
        nack_connect(&mut net);
        net.run(Duration::from_millis(1));
        assert_eq!(
            net.hosts[0].status_of(send),
            Some(Status::EndpointClosed),
            "{wanted}"
        );
        net.hosts[0].assert_clean();
    }
}

#[test]
fn a_large_send_to_a_partner_that_restarted_fails_when_it_is_asked() {
    let mut net = net();
    let send = net.send(0, 1, 0, pattern(100_000, 1));
    net.run(Duration::from_secs(1));
    net.restart(1, 99, DIALECT);
    net.run(A_WHILE);
    assert_eq!(net.hosts[0].status_of(send), Some(Status::PartnerRestarted));
    net.hosts[0].assert_clean();
    // And both can go on.
    let (got, _) = net.receive(1, 0, 8);
    let again = net.send(0, 1, 0, pattern(8, 2));
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
    assert_eq!(net.hosts[0].status_of(again), Some(Status::Success));
}

#[test]
fn a_receive_of_half_a_message_ends_when_its_sender_fell_silent() {
    let mut net = net();
    let (got, _) = net.receive(1, 0, 10_000);
    lose(
        &mut net,
        |_, frame| matches!(frame, Frame::Medium(medium) if medium.fragment == 2),
    );
    net.send(0, 1, 0, pattern(10_000, 1));
    net.run(Duration::from_millis(5));
    assert!(!net.hosts[1].endpoint.is_idle());
    net.filter = Box::new(|_, _| false);
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(got), Some(Status::Unreachable));
    assert!(net.hosts[1].endpoint.is_idle());
}

#[test]
fn a_partner_that_is_there_and_takes_its_time_is_asked_now_and_then() {
    let mut net = net();
    let send = net.send(0, 1, 0, pattern(100_000, 1));
    net.run(Duration::from_secs(1));
    let before = net.frames;
    net.run(LONG);
    let asked = net.frames - before;
    assert!((20..200).contains(&asked), "{asked} frames");
    assert_eq!(net.hosts[0].status_of(send), None);
    // Nobody was told of a connection that came or went.
    let news = |event: &&Event| {
        matches!(
            event,
            Event::PartnerArrived { .. } | Event::PartnerLost { .. }
        )
    };
    assert_eq!(net.hosts[0].events.iter().filter(news).count(), 0);
    assert_eq!(net.hosts[1].events.iter().filter(news).count(), 1);
    let (got, _) = net.receive(1, 0, 100_000);
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
    assert_eq!(net.hosts[0].status_of(send), Some(Status::Success));
    net.hosts.iter().for_each(super::net::Host::assert_clean);
}

#[test]
fn an_endpoint_that_never_connected_asks_with_a_key_it_does_not_know() {
    let mut net = Net::with(2, DIALECT, 12, |config| {
        config.key = config.address.endpoint.get().into()
    });
    let to = net.hosts[1].address;
    let connect = crate::engine::Connect {
        to,
        key: 1,
        deadline: None,
        token: 0,
    };
    net.hosts[0].endpoint.connect(net.now, connect).unwrap();
    net.run(LONG);
    // The other direction: its key is 0, ours is 1.
    let send = net.send(1, 0, 0, pattern(100_000, 1));
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(send), None);
    net.restart(0, 5, DIALECT);
    net.run(A_WHILE);
    assert_eq!(net.hosts[1].status_of(send), Some(Status::PartnerRestarted));
    net.hosts[1].assert_clean();
}
