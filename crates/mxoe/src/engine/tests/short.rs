//! The short way and the long way are the same: what one does not do, the other does, and nobody can tell which it was.

use super::net::{Net, pattern};
use crate::addr::NicAddr;
use crate::engine::{
    Event, Filter, PartnerId, PathId, RegionId, Send, SendMode, SentNow, Space, Status, Transmit,
};
use crate::frame::{Dialect, HEAD_BYTES};

const INFO: u64 = 0xfeed;
const TOKEN: u64 = 5;

/// Two hosts, the first connected to the second.
fn connected() -> (Net, PartnerId) {
    let mut net = Net::new(2, Dialect::DEFAULT, 77);
    let partner = net.connect(0, 1);
    net.run(std::time::Duration::from_secs(1));
    (net, partner)
}

fn short(partner: PartnerId, region: RegionId, len: u32) -> Send {
    Send {
        to: partner,
        space: Space::Tagged,
        match_info: INFO,
        data: None,
        region,
        len,
        mode: SendMode::Standard,
        token: TOKEN,
    }
}

/// Sends from the first host; `None` where the short way is closed.
fn send_now(
    net: &mut Net,
    partner: PartnerId,
    bytes: &[u8],
    has_room: bool,
) -> Option<(SentNow, Transmit)> {
    send_now_from(net, (0, partner), bytes, has_room)
}

fn send_now_from(
    net: &mut Net,
    (host, partner): (usize, PartnerId),
    bytes: &[u8],
    has_room: bool,
) -> Option<(SentNow, Transmit)> {
    let region = net.hosts[host].region(bytes.to_vec());
    let send = short(partner, region, u32::try_from(bytes.len()).unwrap());
    let mut transmit = Transmit::new();
    let endpoint = &mut net.hosts[host].endpoint;
    let sent = endpoint.send_now(&send, |_| has_room, &mut transmit)?;
    Some((sent, transmit))
}

fn frame((_, transmit): &(SentNow, Transmit), bytes: &[u8]) -> Vec<u8> {
    let mut frame = transmit.head.as_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

/// The second host takes what the first has sent.
fn take_now(net: &mut Net, frame: &[u8]) -> Option<crate::engine::Taken> {
    take_now_at(net, 1, frame)
}

fn take_now_at(net: &mut Net, host: usize, frame: &[u8]) -> Option<crate::engine::Taken> {
    let (now, from) = (net.now, net.hosts[1 - host].address.nic);
    let head = &frame[..frame.len().min(HEAD_BYTES)];
    let endpoint = &mut net.hosts[host].endpoint;
    endpoint.take_now(now, PathId::SWITCH, from, head, frame.len())
}

#[test]
fn a_message_goes_and_is_taken_by_the_short_way_and_is_acknowledged() {
    for len in [0, 1, 8, 32, 33, 128] {
        let (mut net, partner) = connected();
        // A first one the long way: the receiver has seen who comes by this path.
        net.receive(1, INFO, 200);
        net.send(0, 1, INFO, vec![1]);
        net.run(std::time::Duration::from_secs(1));
        let bytes = pattern(len, 3);
        let (request, region) = net.receive(1, INFO, 100);
        let sent = send_now(&mut net, partner, &bytes, true).expect("nothing waits");
        let frame = frame(&sent, &bytes);
        let taken = take_now(&mut net, &frame).expect("its turn, and wanted");
        let fits = len.min(100);
        assert_eq!((taken.request, taken.region), (request, region));
        assert_eq!(frame[taken.brought.payload()], bytes[..fits]);
        let status = if len > 100 {
            Status::Truncated
        } else {
            Status::Success
        };
        assert_eq!(
            (taken.brought.status, taken.brought.envelope.length as usize),
            (status, len)
        );
        assert!(matches!(taken.event(), Event::Received { token, .. } if token == taken.token));
        assert_eq!(taken.placement().is_some(), fits > 0);
        let now = net.now;
        net.hosts[1].endpoint.flush_acks(now);
        net.run(std::time::Duration::from_secs(1));
        assert_eq!(net.hosts[0].delivered, [TOKEN], "{len} bytes");
        assert!(net.hosts[0].endpoint.is_idle() && net.hosts[1].endpoint.is_idle());
    }
}

/// What an answer acknowledges is heeded when its answer is out, or by the next call that is told the time; the round trip is that to the answer.
#[test]
fn an_acknowledgement_that_comes_with_an_answer_is_heeded_behind_it() {
    for by_sending in [true, false] {
        let (mut net, to_second) = connected();
        let to_first = net.connect(1, 0);
        for (from, to) in [(0, 1), (1, 0)] {
            net.receive(to, INFO, 8);
            net.send(from, to, INFO, vec![1]);
        }
        net.run(std::time::Duration::from_secs(1));
        net.receive(1, INFO, 8);
        net.receive(0, INFO, 8);
        let asked = send_now(&mut net, to_second, &[2], true).expect("nothing waits");
        let now = net.now;
        net.hosts[0].endpoint.date(now);
        take_now(&mut net, &frame(&asked, &[2])).expect("wanted");
        let answered = send_now_from(&mut net, (1, to_first), &[3], true).expect("nothing waits");
        net.now += std::time::Duration::from_millis(1);
        take_now_at(&mut net, 0, &frame(&answered, &[3])).expect("wanted");
        let endpoint = &mut net.hosts[0].endpoint;
        assert!(endpoint.has_undated());
        assert!(endpoint.poll_delivered().is_none(), "not yet");
        net.now += std::time::Duration::from_secs(3600);
        if by_sending {
            send_now(&mut net, to_second, &[4], true).expect("nothing waits");
        } else {
            let now = net.now;
            net.hosts[0].endpoint.date(now);
        }
        let endpoint = &mut net.hosts[0].endpoint;
        let delivered = endpoint.poll_delivered();
        assert_eq!(delivered.map(|delivered| delivered.token), Some(TOKEN));
        let key = to_second.find(&endpoint.partners).unwrap();
        let trip = endpoint.partners[key].sending.trips.smoothed();
        assert!(trip < std::time::Duration::from_secs(1), "{trip:?}");
    }
}

#[test]
fn what_has_to_wait_goes_the_long_way_and_nothing_passes_it() {
    let (mut net, partner) = connected();
    let long = pattern(129, 1);
    assert!(
        send_now(&mut net, partner, &long, true).is_none(),
        "too long"
    );
    assert!(
        send_now(&mut net, partner, &[1], false).is_none(),
        "no room"
    );
    // Queued, and not sent yet.
    let first = net.send(0, 1, INFO, vec![1]);
    assert!(
        send_now(&mut net, partner, &[2], true).is_none(),
        "one waits"
    );
    net.run(std::time::Duration::from_secs(1));
    assert_eq!(net.hosts[0].status_of(first), Some(Status::Success));
    assert!(send_now(&mut net, partner, &[3], true).is_some());
    let strange = PartnerId::from_u64(u64::MAX);
    assert!(
        send_now(&mut net, strange, &[3], true).is_none(),
        "to nobody"
    );
}

#[test]
fn what_nobody_waits_for_or_whose_turn_has_not_come_is_not_taken() {
    let (mut net, partner) = connected();
    net.receive(1, INFO, 8);
    net.send(0, 1, INFO, vec![1]);
    net.run(std::time::Duration::from_secs(1));
    let first = send_now(&mut net, partner, &[1], true).unwrap();
    let second = send_now(&mut net, partner, &[2], true).unwrap();
    let (first, second) = (frame(&first, &[1]), frame(&second, &[2]));
    assert!(take_now(&mut net, &first).is_none(), "nobody waits");
    net.receive(1, INFO, 8);
    net.receive(1, INFO, 8);
    assert!(take_now(&mut net, &second).is_none(), "not its turn");
    assert!(
        take_now(&mut net, &first[..first.len() - 1]).is_none(),
        "cut off"
    );
    let strange = NicAddr::new([2, 0, 0, 0, 0, 99]);
    let now = net.now;
    let endpoint = &mut net.hosts[1].endpoint;
    let from_elsewhere = endpoint.take_now(now, PathId::SWITCH, strange, &first, first.len());
    assert!(from_elsewhere.is_none(), "from a stranger");
    assert!(take_now(&mut net, &first).is_some());
    assert!(take_now(&mut net, &first).is_none(), "a duplicate");
    assert!(take_now(&mut net, &second).is_some());
}

#[test]
fn what_went_at_once_counts_from_the_next_call_that_knows_the_time() {
    let (mut net, partner) = connected();
    let initial = net.hosts[0].endpoint.config().timers.rto_initial;
    for _ in 0..3 {
        assert!(send_now(&mut net, partner, &[1], true).is_some());
    }
    assert_eq!(net.hosts[0].endpoint.next_timeout(), None, "nobody knows");
    // The program computes, and comes again.
    net.now += initial * 3;
    let endpoint = &mut net.hosts[0].endpoint;
    assert!(endpoint.has_undated());
    endpoint.date(net.now);
    assert!(!endpoint.has_undated());
    let due = endpoint.next_timeout().expect("an answer is waited for");
    assert!(due > net.now, "{due} is before {}", net.now);
    endpoint.handle_timeout(net.now);
    assert!(
        !endpoint.may_transmit(PathId::SWITCH),
        "nothing is lost yet"
    );
    // None has arrived: all go again, and what is sent behind them waits its turn.
    net.run(std::time::Duration::from_secs(2));
    assert!(net.hosts[0].endpoint.is_idle());
}

/// The second host takes what the first has sent, without a receive, into `room` bytes.
fn take_unposted(
    net: &mut Net,
    frame: &[u8],
    info: u64,
    room: u32,
) -> Option<crate::engine::Brought> {
    let (now, from) = (net.now, net.hosts[0].address.nic);
    let head = &frame[..frame.len().min(HEAD_BYTES)];
    let wanted = Filter {
        space: Space::Tagged,
        match_info: info,
        mask: u64::MAX,
        source: None,
    };
    let endpoint = &mut net.hosts[1].endpoint;
    endpoint.take_unposted(
        now,
        PathId::SWITCH,
        from,
        (head, frame.len()),
        (&wanted, room),
    )
}

#[test]
fn a_message_completes_a_receive_that_is_not_posted_unless_others_come_first() {
    let (mut net, partner) = connected();
    net.receive(1, INFO, 8);
    net.send(0, 1, INFO, vec![1]);
    net.run(std::time::Duration::from_secs(1));
    let bytes = pattern(40, 3);
    let sent = send_now(&mut net, partner, &bytes, true).unwrap();
    let sent = frame(&sent, &bytes);
    assert!(
        take_unposted(&mut net, &sent, INFO + 1, 32).is_none(),
        "another one"
    );
    // A receive that was posted before and accepts it gets it; others are not in the way.
    net.receive_masked(1, INFO + 2, u64::MAX, 8);
    let (posted, _) = net.receive(1, INFO, 8);
    assert!(
        take_unposted(&mut net, &sent, INFO, 32).is_none(),
        "one is posted"
    );
    let now = net.now;
    assert!(net.hosts[1].endpoint.cancel(now, posted));
    net.hosts[1].process_events(now);
    let brought = take_unposted(&mut net, &sent, INFO, 32).expect("wanted");
    assert_eq!(sent[brought.payload()], bytes[..32]);
    assert_eq!((brought.status, brought.length), (Status::Truncated, 32));
    assert_eq!(
        (brought.envelope.length, brought.envelope.match_info),
        (40, INFO)
    );
    assert!(
        take_unposted(&mut net, &sent, INFO, 32).is_none(),
        "a duplicate"
    );
    // One that waits comes before the next.
    net.send(0, 1, INFO, vec![9]);
    net.run(std::time::Duration::from_secs(1));
    assert_eq!(net.hosts[0].delivered, [TOKEN], "acknowledged");
    let next = send_now(&mut net, partner, &[4], true).unwrap();
    let next = frame(&next, &[4]);
    assert!(
        take_unposted(&mut net, &next, INFO, 8).is_none(),
        "one waits"
    );
    net.receive(1, INFO, 8);
    let now = net.now;
    net.hosts[1].process_events(now);
    assert!(take_unposted(&mut net, &next, INFO, 8).is_some());
}

/// What went at once is nothing special to what comes behind it, or to a loss.
#[test]
fn short_messages_that_are_lost_come_again_in_their_order_with_what_is_behind_them() {
    for behind in [false, true] {
        let (mut net, partner) = connected();
        let texts: Vec<Vec<u8>> = (0..5).map(|seed| pattern(20, seed)).collect();
        for text in &texts {
            send_now(&mut net, partner, text, true).expect("nothing waits");
        }
        assert!(!net.hosts[0].endpoint.is_idle());
        let last = behind.then(|| net.send(0, 1, INFO, pattern(3000, 9)));
        let wanted: Vec<_> = (0..6).map(|_| net.receive(1, INFO, 4096)).collect();
        net.run(std::time::Duration::from_secs(3));
        for (text, (request, region)) in texts.iter().zip(&wanted) {
            assert_eq!(net.hosts[1].status_of(*request), Some(Status::Success));
            assert_eq!(&net.hosts[1].regions[region.0 as usize][..20], text);
        }
        assert_eq!(net.hosts[0].delivered, [TOKEN; 5]);
        if let Some(last) = last {
            assert_eq!(net.hosts[0].status_of(last), Some(Status::Success));
        }
        assert!(net.hosts[0].endpoint.is_idle());
    }
}

#[test]
fn short_messages_to_a_partner_that_is_gone_are_told_of_one_by_one() {
    let (mut net, partner) = connected();
    for _ in 0..3 {
        send_now(&mut net, partner, &[1], true).expect("nothing waits");
    }
    let now = net.now;
    net.hosts[0].endpoint.break_off(now, partner);
    net.hosts[0].process_events(now);
    let failed = |event: &&Event| matches!(event, Event::Sent { token: TOKEN, status, .. } if *status != Status::Success);
    assert_eq!(net.hosts[0].events.iter().filter(failed).count(), 3);
    assert!(net.hosts[0].delivered.is_empty());
}
