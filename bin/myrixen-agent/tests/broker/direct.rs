//! Direct channels: within the domain and to others.

use std::time::Duration;

use myrixen_platform::message::{
    Brought, ChannelId, DirectPeer, FailReason, Failure, Lent, MemoryProbe, Notice, Reply, Request,
};
use myrixen_platform::process::{Attachment, DirectHandles, News};
use myrixen_ring::{Kind, Side};

use super::bench::{Bench, OURS, THEIRS, at, open_direct, terms, uid};

/// The channel that the other domain's back end speaks of, and one before it.
const CHANNEL: ChannelId = ChannelId::new(40);
const EARLIER: ChannelId = ChannelId::new(39);

fn offered(program: &Attachment) -> DirectHandles {
    match program.next_news() {
        Some(News::Direct(handles)) => *handles,
        other => panic!("{other:?}"),
    }
}

fn notice(program: &Attachment) -> Notice {
    match program.next_news() {
        Some(News::Notice(notice)) => notice,
        other => panic!("{other:?}"),
    }
}

/// The other domain's end, as its back end tells of it: with numbers that mean nothing here.
fn peer(endpoint: u8, request: &Request) -> DirectPeer {
    DirectPeer {
        address: at(THEIRS, endpoint),
        pid: 1,
        uid: uid(),
        memory: Some(MemoryProbe {
            address: 4096,
            cookie: [1; 16],
        }),
        terms: terms(request),
        channel: CHANNEL,
    }
}

fn two(bench: &mut Bench) -> (Attachment, Attachment) {
    let (one, two) = (bench.attach(), bench.attach());
    bench.open(&one, 1);
    bench.open(&two, 2);
    (one, two)
}

#[test]
fn two_programs_of_the_domain_are_joined_without_the_back_end() {
    let mut bench = Bench::new();
    let (one, two) = two(&mut bench);
    let answer = bench.ask_here(&one, &open_direct(1, at(OURS, 2)));
    let mut front = answer.into_direct().unwrap();
    let mut back = offered(&two);
    assert_eq!((back.endpoint, back.side), (2, Side::Back));
    assert_eq!(back.peer.address, at(OURS, 1));
    assert!(front.same_user, "the kernel's word for it");

    let mut slot = front.pair.producer.reserve(5, 0).unwrap().unwrap();
    slot.write(0, b"hello");
    slot.publish(Kind::Frame);
    let record = back.pair.consumer.peek().unwrap().unwrap();
    assert_eq!(record.len(), 5);

    let (reason, _) = bench.fails(&one, &open_direct(1, at(OURS, 2)));
    assert_eq!(reason, FailReason::InUse);
    let close = Request::CloseDirect {
        endpoint: 2,
        to: at(OURS, 1),
        channel: back.channel,
    };
    assert_eq!(bench.ask_here(&two, &close).reply, Reply::Done);
    let gone = Notice::DirectGone {
        endpoint: 1,
        peer: at(OURS, 2),
        channel: front.channel,
    };
    assert_eq!(notice(&one), gone);
    let (reason, _) = bench.fails(&two, &close);
    assert_eq!(reason, FailReason::NotFound);
}

#[test]
fn a_channel_needs_two_programs_and_an_endpoint_each() {
    let mut bench = Bench::new();
    let (one, _two) = two(&mut bench);
    bench.open(&one, 3);
    for (request, why) in [
        (open_direct(9, at(OURS, 2)), FailReason::NotFound),
        (open_direct(1, at(OURS, 9)), FailReason::NotFound),
        (open_direct(1, at(OURS, 3)), FailReason::NoDirectPath),
    ] {
        let (reason, text) = bench.fails(&one, &request);
        assert_eq!(reason, why, "{text}");
    }
}

#[test]
fn the_number_of_channels_is_limited_at_both_ends() {
    let mut bench = Bench::new();
    let (one, two) = two(&mut bench);
    let three = bench.attach();
    bench.open(&three, 3);
    bench.open(&three, 4);
    bench.open(&three, 5);
    bench
        .ask_here(&one, &open_direct(1, at(OURS, 3)))
        .into_direct()
        .unwrap();
    bench
        .ask_here(&one, &open_direct(1, at(OURS, 4)))
        .into_direct()
        .unwrap();
    let (reason, text) = bench.fails(&one, &open_direct(1, at(OURS, 5)));
    assert_eq!(reason, FailReason::Limit);
    assert!(text.contains("`directs`"), "{text}");
    let (reason, _) = bench.fails(&two, &open_direct(2, at(OURS, 1)));
    assert_eq!(reason, FailReason::Limit);
}

#[test]
fn a_channel_to_another_domain_is_lent_to_it() {
    let mut bench = Bench::new();
    let (one, _two) = two(&mut bench);
    let to = at(THEIRS, 5);
    let (serial, asked) = bench.ask(&one, &open_direct(1, to));
    let (ask, request) = asked.unwrap();
    assert_eq!(request, Request::AskGrantee { to });
    bench.back.reply(ask, Reply::Grantee { domain: 12 });
    bench.turn();
    let (ask, request) = bench.back.asked().unwrap();
    assert!(matches!(request, Request::OpenDirect { endpoint: 1, to: other, .. } if other == to));
    assert_eq!(
        bench.memory.lock().unwrap().lent.last(),
        Some(&(12, terms(&request)))
    );
    bench.back.reply(ask, Reply::Direct(peer(5, &request)));
    let handles = bench.answer(&one, serial).into_direct().unwrap();
    assert_eq!(handles.side, Side::Front);
    assert_eq!((handles.peer.pid, handles.peer.uid), (0, u32::MAX));
    assert!(
        !handles.same_user && handles.peer_memory.is_none(),
        "another kernel's numbers"
    );

    let close = Request::CloseDirect {
        endpoint: 1,
        to,
        channel: CHANNEL,
    };
    let (serial, asked) = bench.ask(&one, &close);
    let (ask, request) = asked.unwrap();
    assert_eq!(request, close);
    bench.back.reply(ask, Reply::Done);
    assert_eq!(bench.answer(&one, serial).reply, Reply::Done);
}

#[test]
fn late_news_of_an_earlier_channel_does_not_end_one_that_is_being_opened() {
    let mut bench = Bench::new();
    let (one, _two) = two(&mut bench);
    let to = at(THEIRS, 5);
    let (serial, asked) = bench.ask(&one, &open_direct(1, to));
    bench.back.say(Notice::DirectGone {
        endpoint: 1,
        peer: to,
        channel: EARLIER,
    });
    bench
        .back
        .reply(asked.unwrap().0, Reply::Grantee { domain: 12 });
    bench.turn();
    assert!(one.next_news().is_none());
    let (ask, request) = bench.back.asked().unwrap();
    bench.back.reply(ask, Reply::Direct(peer(5, &request)));
    let handles = bench.answer(&one, serial).into_direct().unwrap();
    assert_eq!(handles.channel, CHANNEL);

    let close = Request::CloseDirect {
        endpoint: 1,
        to,
        channel: EARLIER,
    };
    assert_eq!(bench.fails(&one, &close).0, FailReason::NotFound);
}

#[test]
fn where_there_is_no_direct_path_the_program_is_told() {
    let mut bench = Bench::new();
    let (one, _two) = two(&mut bench);
    let to = at(THEIRS, 5);
    for _ in 0..3 {
        let (serial, asked) = bench.ask(&one, &open_direct(1, to));
        let none = Failure::new(FailReason::NoDirectPath, "a process");
        bench
            .back
            .reply(asked.unwrap().0, Reply::Failed(none.clone()));
        assert_eq!(bench.answer(&one, serial).reply, Reply::Failed(none));
    }
}

#[test]
fn a_channel_with_other_terms_than_the_pages_have_is_closed() {
    let mut bench = Bench::new();
    let (one, _two) = two(&mut bench);
    let to = at(THEIRS, 5);
    let (serial, asked) = bench.ask(&one, &open_direct(1, to));
    bench
        .back
        .reply(asked.unwrap().0, Reply::Grantee { domain: 12 });
    bench.turn();
    let (ask, request) = bench.back.asked().unwrap();
    let mut peer = peer(5, &request);
    peer.terms.support.features = myrixen_ring::Features::empty();
    bench.back.reply(ask, Reply::Direct(peer));
    let Reply::Failed(failure) = bench.answer(&one, serial).reply else {
        panic!("handed on")
    };
    assert_eq!(failure.reason, FailReason::NoDirectPath);
    let close = Request::CloseDirect {
        endpoint: 1,
        to,
        channel: CHANNEL,
    };
    assert_eq!(bench.back.asked().unwrap().1, close);
}

#[test]
fn a_channel_that_another_domain_offers_goes_to_the_endpoint_or_back() {
    let mut bench = Bench::new();
    let (one, two) = two(&mut bench);
    let brought = Brought { page: 77, event: 5 };
    let offer = |endpoint, from| Notice::DirectOffered {
        endpoint,
        peer: peer(
            from,
            &Request::OpenPort {
                endpoint: None,
                forward: 1 << 16,
                backward: 1 << 16,
                brought: Some(brought),
            },
        ),
        lent: Some(Lent {
            domain: 12,
            brought,
        }),
    };
    bench.back.say(offer(2, 5));
    bench.turn();
    let handles = offered(&two);
    assert_eq!(
        (handles.endpoint, handles.side, handles.peer.address),
        (2, Side::Back, at(THEIRS, 5))
    );
    assert_eq!(handles.peer.uid, u32::MAX);
    assert_eq!(bench.memory.lock().unwrap().borrowed, [(12, brought)]);
    assert!(one.next_news().is_none());

    bench.back.say(offer(200, 5));
    bench.memory.lock().unwrap().full = true;
    bench.back.say(offer(1, 6));
    bench.turn();
    for (endpoint, from) in [(200, 5), (1, 6)] {
        let close = Request::CloseDirect {
            endpoint,
            to: at(THEIRS, from),
            channel: CHANNEL,
        };
        assert_eq!(bench.back.asked().unwrap().1, close);
    }
    let gone = |channel| Notice::DirectGone {
        endpoint: 2,
        peer: at(THEIRS, 5),
        channel,
    };
    bench.back.say(gone(EARLIER));
    bench.turn();
    assert!(two.next_news().is_none(), "late news of an earlier channel");
    bench.back.say(gone(CHANNEL));
    bench.turn();
    assert_eq!(notice(&two), gone(CHANNEL));
    assert!(one.next_news().is_none());
}

#[test]
fn channels_older_than_the_agent_are_adopted() {
    let mut bench = Bench::new();
    let one = bench.attach();
    bench.open(&one, 1);
    // Its partner in this domain has not come back yet.
    for to in [at(OURS, 2), at(OURS, 3)] {
        let adopt = Request::AdoptDirect {
            endpoint: 1,
            to,
            channel: CHANNEL,
        };
        assert_eq!(bench.ask_here(&one, &adopt).reply, Reply::Done);
    }
    let two = bench.attach();
    bench.open(&two, 2);
    bench.now += Duration::from_secs(6);
    bench.turn();
    assert_eq!(
        notice(&one),
        Notice::EndpointGone(at(OURS, 3)),
        "which did not come"
    );
    assert!(one.next_news().is_none());

    let to = at(THEIRS, 5);
    let adopt = Request::AdoptDirect {
        endpoint: 2,
        to,
        channel: CHANNEL,
    };
    let (serial, asked) = bench.ask(&two, &adopt);
    let (ask, request) = asked.unwrap();
    assert_eq!(request, adopt);
    bench.back.reply(ask, Reply::Done);
    assert_eq!(bench.answer(&two, serial).reply, Reply::Done);
    bench.back.say(Notice::DirectGone {
        endpoint: 2,
        peer: to,
        channel: CHANNEL,
    });
    bench.turn();
    assert!(matches!(notice(&two), Notice::DirectGone { .. }));
}

/// A program says so right after it has asked for its port, and does not wait for the answer.
#[test]
fn a_channel_may_be_adopted_while_its_port_is_being_opened() {
    let mut bench = Bench::new();
    let one = bench.attach();
    let open = one
        .send_request(&super::bench::open_port(Some(1), 1 << 16))
        .unwrap();
    let adopt = Request::AdoptDirect {
        endpoint: 1,
        to: at(THEIRS, 5),
        channel: CHANNEL,
    };
    let (serial, asked) = bench.ask(&one, &adopt);
    let (port, request) = asked.unwrap();
    bench.back.reply(port, super::bench::port(1, &request));
    let (ask, request) = bench.back.asked().unwrap();
    assert_eq!(request, adopt);
    bench.back.reply(ask, Reply::Done);
    assert_eq!(bench.answer(&one, serial).reply, Reply::Done);
    bench.answer(&one, open).into_port().unwrap();
}
