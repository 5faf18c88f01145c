//! Handshakes, restarts, partners that vanish.

use std::time::Duration;

use super::dialects;
use super::net::{KEY, Net, WINDOW, address, pattern};
use crate::addr::{Address, EndpointId, PeerIndex, SeqNo, SessionId};
use crate::engine::{
    Connect, Event, Numbering, PathId, PathProfile, Receive, RequestId, Space, Status,
};
use crate::frame::{
    self, ConnectRole, Dialect, EthHead, Frame, HEAD_BYTES, Head, NackKind, NackLib, parse,
};

const LONG: Duration = Duration::from_secs(400);

fn net(count: u8) -> Net {
    Net::new(count, Dialect::DEFAULT, 7)
}

fn ask(net: &mut Net, from: usize, to: Address, key: u32) -> RequestId {
    let connect = Connect {
        to,
        key,
        deadline: None,
        token: 9,
    };
    let now = net.now;
    net.hosts[from].endpoint.connect(now, connect).unwrap()
}

fn events(net: &Net, at: usize, wanted: impl Fn(&Event) -> bool) -> usize {
    net.hosts[at]
        .events
        .iter()
        .filter(|event| wanted(event))
        .count()
}

fn arrivals(net: &Net, at: usize) -> usize {
    events(net, at, |event| {
        matches!(event, Event::PartnerArrived { .. })
    })
}

fn losses(net: &Net, at: usize, wanted: Status) -> usize {
    events(
        net,
        at,
        |event| matches!(event, Event::PartnerLost { status, .. } if *status == wanted),
    )
}

fn bytes(frame: &Frame, from: usize, to: usize) -> Vec<u8> {
    let mut head = Head::new();
    let nic = |host| address(u8::try_from(host).unwrap()).nic;
    let eth = EthHead {
        destination: nic(to),
        source: nic(from),
        peer_index: PeerIndex::UNKNOWN,
    };
    frame.emit(Dialect::DEFAULT, &eth, &mut head);
    head.to_vec()
}

/// Has the first host's CONNECT to the second nacked, as the switch does for who is not there.
pub(super) fn nack_connect(net: &mut Net) {
    nack(net, SeqNo::from_wire(0));
}

/// The same of its message with this number.
fn nack(net: &mut Net, seq: SeqNo) {
    let nack = Frame::NackLib(NackLib {
        to: EndpointId::new(0),
        from: EndpointId::new(1),
        nack: NackKind::EndpointClosed,
        seq,
    });
    net.inject(0, 1, bytes(&nack, 1, 0));
}

fn parsed(bytes: &[u8]) -> Frame {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    parse(Dialect::DEFAULT, head, bytes.len()).unwrap().frame
}

#[test]
fn one_connect_opens_both_directions() {
    let mut net = net(2);
    net.connect(0, 1);
    assert_eq!(arrivals(&net, 1), 1);
    let (there, _) = net.receive(1, 1 << 32, 10);
    let (back, _) = net.receive(0, 2 << 32, 100_000);
    net.send(0, 1, 1 << 32, pattern(10, 1));
    // Also a large one: its NOTIFY and acknowledgements go against the direction of the handshake.
    net.send(1, 0, 2 << 32, pattern(100_000, 2));
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(there), Some(Status::Success));
    assert_eq!(net.hosts[0].status_of(back), Some(Status::Success));
    net.hosts.iter().for_each(super::net::Host::assert_clean);
}

#[test]
fn both_may_connect_at_once() {
    for loss in [0, 300] {
        let mut net = net(2);
        net.faults.loss = loss;
        let one = ask(&mut net, 0, address(1), KEY);
        let two = ask(&mut net, 1, address(0), KEY);
        net.run(LONG);
        assert_eq!(net.hosts[0].status_of(one), Some(Status::Success));
        assert_eq!(net.hosts[1].status_of(two), Some(Status::Success));
        let (got, _) = net.receive(0, 0, 4);
        net.send(1, 0, 0, pattern(4, 1));
        net.run(LONG);
        assert_eq!(net.hosts[0].status_of(got), Some(Status::Success));
    }
}

#[test]
fn an_endpoint_can_talk_to_itself() {
    let mut net = net(1);
    net.connect(0, 0);
    let mut waiting = vec![];
    for (number, size) in [(0, 0), (1, 20), (2, 100), (3, 20_000), (4, 200_000)] {
        waiting.push(net.receive(0, 0, size).0);
        waiting.push(net.send(0, 0, number, pattern(size, number)));
    }
    net.run(LONG);
    for request in waiting {
        assert_eq!(net.hosts[0].status_of(request), Some(Status::Success));
    }
    net.hosts[0].assert_clean();
}

#[test]
fn what_comes_from_oneself_is_acknowledged_without_a_frame() {
    let mut net = net(1);
    let (now, own) = (net.now, PathId::new(1));
    let endpoint = &mut net.hosts[0].endpoint;
    endpoint.acknowledge_own(now);
    let profile = PathProfile {
        fetch: true,
        ..PathProfile::new(Dialect::DEFAULT, WINDOW)
    };
    endpoint.set_path(now, own, profile);
    endpoint.route(now, address(0), own);
    let partner = net.connect(0, 0);
    assert_eq!(net.hosts[0].endpoint.path_of(partner), Some(own));
    net.latency = Duration::ZERO;
    // Shorter than an acknowledgement may wait for data to ride on.
    let end = net.now + Duration::from_micros(100);
    for (number, size) in [(0, 0), (1, 20), (2, 20_000), (3, 200_000)] {
        let got = net.receive(0, 0, size).0;
        let sent = net.send(0, 0, number, pattern(size, number));
        while net.step(end) {}
        net.hosts[0].endpoint.acknowledge_own(end);
        while net.step(end) {}
        for request in [got, sent] {
            assert_eq!(net.hosts[0].status_of(request), Some(Status::Success));
        }
        assert!(net.hosts[0].endpoint.is_idle());
    }
    assert_eq!(net.hosts[0].endpoint.counters().acks_out, 0);
    net.hosts[0].assert_clean();
}

#[test]
fn a_wrong_key_is_refused_and_leaves_nothing_behind() {
    let mut net = net(2);
    let refused = ask(&mut net, 0, address(1), KEY + 1);
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(refused), Some(Status::BadKey));
    assert_eq!(net.hosts[1].endpoint.find_partner(address(0)), None);
    net.connect(0, 1);
}

#[test]
fn a_connect_to_nobody_fails_in_time_or_by_its_deadline() {
    let mut net = net(1);
    let nobody = Address::new(address(9).nic, EndpointId::new(3));
    let patient = ask(&mut net, 0, nobody, KEY);
    let (now, second) = (net.now, Duration::from_secs(1));
    let connect = Connect {
        to: nobody,
        key: KEY,
        deadline: Some(now + second),
        token: 1,
    };
    let hurried = net.hosts[0].endpoint.connect(now, connect).unwrap();
    net.run(second + second);
    assert_eq!(net.hosts[0].status_of(hurried), Some(Status::Timeout));
    assert_eq!(net.hosts[0].status_of(patient), None);
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(patient), Some(Status::Unreachable));
    assert!(net.frames < 100, "{} connects", net.frames);
    net.hosts[0].assert_clean();
}

#[test]
fn what_a_lost_partner_cannot_send_is_not_waited_for() {
    let mut net = net(2);
    let partner = net.connect(0, 1);
    net.connect(1, 0);
    net.send(1, 0, 5 << 32, pattern(40, 5));
    net.run(LONG);
    // Old enough to be lost at once.
    net.now += Duration::from_secs(30);
    let receive = |net: &mut Net| {
        let host = &mut net.hosts[0];
        let region = host.region(vec![0; 100]);
        let receive = Receive {
            space: Space::Tagged,
            match_info: 0,
            mask: 0,
            source: Some(partner),
            region,
            len: 100,
            token: 1,
        };
        host.endpoint.receive(|| net.now, receive)
    };
    net.gone(0, 1);
    net.hosts[0].process_events(net.now);
    assert!(!net.hosts[0].endpoint.may_send(partner));
    // What has come before is there.
    let there = receive(&mut net).unwrap();
    net.hosts[0].process_events(net.now);
    assert_eq!(net.hosts[0].status_of(there), Some(Status::Success));
    assert_eq!(receive(&mut net), Err(Status::NotConnected));
    // More may come while it is being connected to, and when it is connected again.
    ask(&mut net, 0, address(1), KEY);
    let waiting = receive(&mut net).unwrap();
    net.run(Duration::from_secs(1));
    assert!(net.hosts[0].endpoint.may_send(partner));
    assert_eq!(net.hosts[0].status_of(waiting), None);
    net.send(1, 0, 6 << 32, pattern(40, 6));
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(waiting), Some(Status::Success));
}

#[test]
fn a_rejection_by_a_former_path_says_nothing_of_what_the_present_one_brings() {
    let mut net = net(2);
    net.connect(0, 1);
    let (got, _) = net.receive(1, 0, 100);
    // The message is lost as it were: nothing is known of it when it is rejected.
    let last = std::rc::Rc::new(std::cell::Cell::new(SeqNo::FIRST));
    let seen = last.clone();
    net.filter = Box::new(move |_, bytes| {
        if let Frame::Small(small) = parsed(bytes) {
            seen.set(small.head.seq);
        }
        false
    });
    let send = net.send(0, 1, 0, pattern(100, 1));
    net.run(Duration::from_millis(1));
    net.filter = Box::new(|_, _| true);
    let direct = PathId::new(1);
    net.make_direct(direct, PathProfile::new(Dialect::DEFAULT, WINDOW));
    nack(&mut net, last.get());
    net.run(LONG);
    assert_eq!(losses(&net, 0, Status::EndpointClosed), 0);
    for (host, request) in [(0, send), (1, got)] {
        assert_eq!(net.hosts[host].status_of(request), Some(Status::Success));
    }
    // By the present one it is what it says.
    net.filter = Box::new(|_, _| false);
    let send = net.send(0, 1, 0, pattern(100, 1));
    net.run(Duration::from_millis(1));
    let now = net.now;
    net.hosts[0].endpoint.drop_path(now, direct);
    nack(&mut net, last.get().advance(1));
    net.run(Duration::from_millis(1));
    assert_eq!(net.hosts[0].status_of(send), Some(Status::EndpointClosed));
}

#[test]
fn without_a_path_nothing_spins_and_what_waits_goes_out_later() {
    let mut net = net(2);
    net.hosts[0].endpoint.drop_path(net.now, PathId::SWITCH);
    let request = ask(&mut net, 0, address(1), KEY);
    net.run(Duration::from_secs(10));
    assert_eq!((net.hosts[0].status_of(request), net.frames), (None, 0));
    let profile = PathProfile::new(Dialect::DEFAULT, WINDOW);
    net.hosts[0]
        .endpoint
        .set_path(net.now, PathId::SWITCH, profile);
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(request), Some(Status::Success));
}

#[test]
fn a_nacked_connect_fails_at_once() {
    let mut net = net(2);
    net.filter = Box::new(|_, _| false);
    let request = ask(&mut net, 0, address(1), KEY);
    net.run(Duration::from_millis(1));
    nack_connect(&mut net);
    net.run(Duration::from_millis(1));
    assert_eq!(
        net.hosts[0].status_of(request),
        Some(Status::EndpointClosed)
    );
}

#[test]
fn a_restarted_partner_is_told_from_its_former_life() {
    for dialect in dialects() {
        let mut net = Net::new(2, dialect, 3);
        net.connect(0, 1);
        net.connect(1, 0);
        for number in 0..10 {
            net.send(0, 1, number, pattern(100, number));
        }
        net.run(LONG);
        // Under way when it ends: an unexpected message, a large one, one that is not even begun.
        let pending = [10, 60_000, 10].map(|size| net.send(1, 0, 5, pattern(size, 1)));
        net.run(Duration::from_micros(15));
        net.restart(0, 1234, dialect);
        net.connect(0, 1);
        net.run(LONG);
        for send in pending {
            assert!(net.hosts[1].status_of(send).is_some());
        }
        assert_eq!(losses(&net, 1, Status::PartnerRestarted), 1);
        assert_eq!(arrivals(&net, 1), 2);
        let (got, region) = net.receive(1, 7 << 32, 50);
        net.send(0, 1, 7 << 32, pattern(50, 4));
        let (back, _) = net.receive(0, 8 << 32, 50_000);
        net.send(1, 0, 8 << 32, pattern(50_000, 4));
        net.run(LONG);
        assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
        assert_eq!(net.hosts[1].regions[region.0 as usize], pattern(50, 4));
        assert_eq!(net.hosts[0].status_of(back), Some(Status::Success));
    }
}

#[test]
fn a_late_connect_of_a_former_session_changes_nothing() {
    let mut net = net(2);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(vec![]));
    let copy = std::rc::Rc::clone(&seen);
    net.filter = Box::new(move |from, bytes| {
        if from == 0 {
            copy.borrow_mut().push(bytes.to_vec());
        }
        true
    });
    net.connect(0, 1);
    let former = seen.borrow()[0].clone();
    net.restart(0, 77, Dialect::DEFAULT);
    net.connect(0, 1);
    net.inject(1, 0, former);
    let (got, _) = net.receive(1, 0, 8);
    let send = net.send(0, 1, 0, pattern(8, 1));
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
    assert_eq!(net.hosts[0].status_of(send), Some(Status::Success));
    assert_eq!(losses(&net, 1, Status::PartnerRestarted), 1);
}

#[test]
fn what_is_sent_to_a_former_session_is_rejected_and_the_sender_learns_it() {
    let mut net = net(2);
    net.connect(0, 1);
    let first = net.send(0, 1, 0, pattern(5, 1));
    net.run(LONG);
    net.restart(1, 99, Dialect::DEFAULT);
    let sends = [10, 100, 5000, 50_000].map(|size| net.send(0, 1, 1, pattern(size, 1)));
    net.run(Duration::from_secs(1));
    assert_eq!(net.hosts[0].status_of(first), Some(Status::Success));
    for send in sends {
        assert_eq!(net.hosts[0].status_of(send), Some(Status::BadSession));
    }
    assert_eq!(losses(&net, 0, Status::BadSession), 1);
    net.connect(0, 1);
    let (got, _) = net.receive(1, 0, 8);
    net.send(0, 1, 0, pattern(8, 1));
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));
}

#[test]
fn a_silent_partner_is_given_up_and_can_be_met_again() {
    for numbering in [Numbering::Seeded, Numbering::One] {
        let adjust = |config: &mut crate::engine::Config| config.numbering = numbering;
        let mut net = Net::with(2, Dialect::DEFAULT, 5, adjust);
        net.connect(0, 1);
        let (got, _) = net.receive(1, 0, 8);
        net.send(0, 1, 0, pattern(8, 1));
        net.run(LONG);
        assert_eq!(net.hosts[1].status_of(got), Some(Status::Success));

        let before = net.frames;
        net.filter = Box::new(|_, _| false);
        let lost = [8, 1000, 70_000].map(|size| net.send(0, 1, 0, pattern(size, 1)));
        net.run(LONG);
        for send in lost {
            assert_eq!(net.hosts[0].status_of(send), Some(Status::Unreachable));
        }
        assert!(net.frames - before < 100, "{} frames", net.frames - before);
        assert_eq!(losses(&net, 0, Status::Unreachable), 1);
        net.hosts[0].assert_clean();

        // Only one side has given up: the other one learns it from the handshake.
        net.filter = Box::new(|_, _| true);
        net.connect(0, 1);
        let (there, _) = net.receive(1, 0, 8);
        let (back, _) = net.receive(0, 0, 8);
        net.send(0, 1, 0, pattern(8, 2));
        net.send(1, 0, 0, pattern(8, 3));
        net.run(LONG);
        assert_eq!(net.hosts[1].status_of(there), Some(Status::Success));
        assert_eq!(net.hosts[0].status_of(back), Some(Status::Success));
    }
}

#[test]
fn who_was_given_up_learns_it_from_a_rejection() {
    let mut net = net(2);
    net.connect(0, 1);
    net.run(LONG);
    net.now += LONG;
    net.gone(0, 1);
    let send = net.send(1, 0, 0, pattern(8, 1));
    net.run(Duration::from_secs(1));
    assert_eq!(net.hosts[1].status_of(send), Some(Status::BadSession));
}

#[test]
fn everything_pending_to_what_is_gone_fails() {
    let mut net = net(2);
    net.connect(0, 1);
    net.now += LONG;
    let small = net.send(0, 1, 0, pattern(8, 1));
    let large = net.send(0, 1, 0, pattern(80_000, 1));
    let connect = ask(&mut net, 0, address(1), KEY);
    net.gone(0, 1);
    net.run(Duration::from_millis(1));
    for request in [small, large, connect] {
        assert_eq!(net.hosts[0].status_of(request), Some(Status::PartnerGone));
    }
    net.hosts[0].assert_clean();
}

/// A program that ends and is started again may have its endpoint open, and be connected, before its first end is heard of.
#[test]
fn late_news_of_an_end_do_not_end_the_successor() {
    let mut net = net(2);
    net.connect(0, 1);
    net.now += LONG;
    net.restart(1, 77, Dialect::DEFAULT);
    net.connect(1, 0);
    let (got, _) = net.receive(0, 0, 8);
    net.gone(0, 1);
    net.send(1, 0, 0, pattern(8, 1));
    net.run(LONG);
    assert_eq!(net.hosts[0].status_of(got), Some(Status::Success));
    let (back, _) = net.receive(1, 0, 8);
    net.send(0, 1, 0, pattern(8, 1));
    net.run(LONG);
    assert_eq!(net.hosts[1].status_of(back), Some(Status::Success));
}

#[test]
fn a_new_partner_that_is_said_to_be_gone_and_is_fails_within_seconds() {
    let mut net = net(2);
    net.connect(0, 1);
    let large = net.send(0, 1, 0, pattern(80_000, 1));
    net.filter = Box::new(|_, _| false);
    net.gone(0, 1);
    net.run(Duration::from_secs(2));
    assert_eq!(net.hosts[0].status_of(large), None);
    net.run(Duration::from_secs(2));
    assert_eq!(net.hosts[0].status_of(large), Some(Status::PartnerGone));
    net.hosts[0].assert_clean();
}

#[test]
fn a_disconnected_partner_can_be_connected_again_with_nothing_lost() {
    let mut net = net(2);
    let partner = net.connect(0, 1);
    let sent = net.send(0, 1, 0, pattern(8, 1));
    net.run(Duration::from_micros(1));
    net.hosts[0].endpoint.disconnect(net.now, partner);
    assert!(!net.hosts[0].endpoint.is_connected(partner));
    let send = crate::engine::Send {
        to: partner,
        space: crate::engine::Space::Tagged,
        match_info: 0,
        data: None,
        region: crate::engine::RegionId(0),
        len: 8,
        mode: crate::engine::SendMode::Standard,
        token: 0,
    };
    let refused = net.hosts[0].endpoint.send(net.now, send);
    assert_eq!(refused, Err(Status::NotConnected));
    net.connect(0, 1);
    let again = net.send(0, 1, 0, pattern(8, 2));
    let got = [net.receive(1, 0, 8).0, net.receive(1, 0, 8).0];
    net.run(LONG);
    for request in [sent, again] {
        assert_eq!(net.hosts[0].status_of(request), Some(Status::Success));
    }
    for request in got {
        assert_eq!(net.hosts[1].status_of(request), Some(Status::Success));
    }
}

#[test]
fn partners_beyond_the_limit_are_not_taken_in_unless_one_is_lost() {
    let adjust = |config: &mut crate::engine::Config| config.limits.partners = 2;
    let mut net = Net::with(4, Dialect::DEFAULT, 1, adjust);
    net.connect(1, 0);
    net.connect(2, 0);
    net.now += LONG;
    let third = ask(&mut net, 3, address(0), KEY);
    net.run(Duration::from_secs(1));
    assert_eq!(net.hosts[3].status_of(third), None);
    net.gone(0, 1);
    net.run(Duration::from_secs(3));
    assert_eq!(net.hosts[3].status_of(third), Some(Status::Success));
    assert_eq!(net.hosts[0].endpoint.find_partner(address(1)), None);
}

#[test]
fn ten_thousand_idle_partners_leave_no_timer() {
    let adjust = |config: &mut crate::engine::Config| config.limits.partners = 10_000;
    let mut net = Net::with(2, Dialect::DEFAULT, 1, adjust);
    net.filter = Box::new(|from, _| from != 0);
    for number in 0..9_999_u32 {
        let [high, low, ..] = number.to_le_bytes();
        let connect = Frame::Connect(frame::Connect {
            to: EndpointId::new(0),
            from: EndpointId::new(low),
            seq: SeqNo::from_wire(0),
            index: PeerIndex::new(1),
            session: SessionId::new(number),
            recv_start: SeqNo::FIRST,
            attempt: 0,
            role: ConnectRole::Request { key: KEY },
            features: None,
        });
        let mut bytes = bytes(&connect, 1, 0);
        bytes[11] = high;
        let from = crate::addr::NicAddr::new([2, 1, 1, 1, 1, high]);
        let arrival = crate::engine::Arrival {
            path: PathId::SWITCH,
            from,
            head: &bytes,
            len: bytes.len(),
            offer: None,
        };
        let now = net.now;
        assert_eq!(net.hosts[0].endpoint.handle_frame(now, arrival), Ok(None));
        net.run(Duration::from_nanos(1));
    }
    assert_eq!(arrivals(&net, 0), 9_999);
    assert_eq!(net.frames, 9_999);
    assert_eq!(net.hosts[0].endpoint.next_timeout(), None);
    assert!(net.hosts[0].endpoint.is_idle());
}

#[test]
fn a_connect_is_answered_alike_however_often_it_comes() {
    let mut net = net(2);
    let replies = std::rc::Rc::new(std::cell::RefCell::new(vec![]));
    let requests = std::rc::Rc::new(std::cell::RefCell::new(vec![]));
    let (to, from) = (std::rc::Rc::clone(&replies), std::rc::Rc::clone(&requests));
    net.filter = Box::new(move |host, bytes| {
        let log = if host == 0 { &from } else { &to };
        log.borrow_mut().push(bytes.to_vec());
        true
    });
    net.connect(0, 1);
    let request = requests.borrow()[0].clone();
    for _ in 0..3 {
        net.inject(1, 0, request.clone());
        net.run(Duration::from_secs(1));
    }
    let replies = replies.borrow();
    assert_eq!(replies.len(), 4);
    assert!(
        replies
            .iter()
            .all(|reply| parsed(reply) == parsed(&replies[0]))
    );
    assert_eq!(arrivals(&net, 1), 1);
}

#[test]
fn restarts_under_loss_lose_nothing_silently() {
    for seed in 0..40 {
        let mut net = Net::new(2, Dialect::DEFAULT, seed);
        net.faults.loss = 50;
        net.faults.duplicates = 50;
        net.faults.jitter = Duration::from_micros(200);
        for life in 0..4_u64 {
            net.restart(0, seed * 100 + life, Dialect::DEFAULT);
            net.connect(0, 1);
            let there: Vec<_> = (0..20)
                .map(|number| {
                    let got = net.receive(1, (life + 1) << 32, 3000).0;
                    (
                        got,
                        net.send(0, 1, (life + 1) << 32 | number, pattern(150 * 20, number)),
                    )
                })
                .collect();
            let cut_short = life.is_multiple_of(2);
            let (short, long) = (Duration::from_micros(seed * 9), LONG);
            net.run(if cut_short { short } else { long });
            for (number, (got, send)) in (0..).zip(there) {
                match net.hosts[1].end_of(got) {
                    Some(Event::Received {
                        envelope,
                        status: Status::Success,
                        ..
                    }) => {
                        assert_eq!(
                            envelope.match_info,
                            (life + 1) << 32 | number,
                            "seed {seed}"
                        );
                    }
                    Some(_) | None => assert!(cut_short, "seed {seed}: {number} of life {life}"),
                }
                if !cut_short {
                    assert_eq!(net.hosts[0].status_of(send), Some(Status::Success));
                }
            }
        }
    }
}
