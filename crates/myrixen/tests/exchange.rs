//! Messages of every kind between two guests of one host, over the back end and over a direct channel.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use myrixen::{
    Completes, Embedded, Endpoint, EndpointOptions, Error, Fabric, Inside, Launch, Match, PathKind,
    Peer, Space, Status, Verdict, Wait,
};

const KEY: u32 = 0x1234_5678;
const PATIENCE: Duration = Duration::from_secs(30);

/// Lengths around every boundary of the protocol.
const LENGTHS: [usize; 18] = [
    0,
    1,
    31,
    32,
    33,
    127,
    128,
    129,
    4096,
    8191,
    8193,
    32768,
    32769,
    100_000,
    286_976,
    286_977,
    1 << 20,
    16 << 20,
];

fn payload(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (7 * i + seed + (i >> 8)).to_le_bytes()[0])
        .collect()
}

struct Pair {
    _inside: Inside,
    fabrics: [Fabric; 2],
    a: Endpoint,
    b: Endpoint,
    to_b: Peer,
    to_a: Peer,
}

/// Two guests of one back end, connected both ways.
fn pair(options: EndpointOptions) -> Pair {
    let inside = Embedded::default().start().expect("a back end");
    let fabrics = [(); 2].map(|()| inside.join().expect("a guest"));
    let [a, b] = [0, 1].map(|i: usize| {
        fabrics[i]
            .open(options.clone().key(KEY))
            .expect("an endpoint")
    });
    let to_b = a.connect(b.address(), KEY, PATIENCE).expect("connected");
    let to_a = b.connect(a.address(), KEY, PATIENCE).expect("connected");
    Pair {
        _inside: inside,
        fabrics,
        a,
        b,
        to_b,
        to_a,
    }
}

fn switched() -> EndpointOptions {
    EndpointOptions::default().direct(false)
}

/// Waits until both ends use a direct channel.
fn until_direct(pair: &Pair) {
    for (end, peer) in [(&pair.a, &pair.to_b), (&pair.b, &pair.to_a)] {
        while !matches!(end.path(peer), PathKind::Direct { .. }) {
            end.progress();
            std::thread::yield_now();
        }
    }
}

fn exchange_all(pair: &Pair) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (i, &len) in LENGTHS.iter().enumerate() {
                let mut buffer = vec![0xee; len + 1];
                let got = pair
                    .b
                    .recv(Match::exact(i as u64), &mut buffer)
                    .expect("received");
                assert_eq!((got.len, got.message_len), (len, len));
                assert_eq!(got.source, pair.a.address());
                assert!(
                    buffer[..len] == payload(len, i),
                    "message {i} of {len} bytes"
                );
                assert_eq!(buffer[len], 0xee, "nothing is written past the message");
                pair.b
                    .send(&pair.to_a, 1000 + i as u64, &buffer[..len])
                    .expect("sent");
            }
        });
        for (i, &len) in LENGTHS.iter().enumerate() {
            let sent = payload(len, i);
            pair.a.send(&pair.to_b, i as u64, &sent).expect("sent");
            let (back, got) = pair
                .a
                .wait_recv(
                    pair.a
                        .irecv(Match::exact(1000 + i as u64), vec![0; len])
                        .expect("posted"),
                )
                .expect("received");
            assert_eq!(got.len, len);
            assert!(back == sent, "message {i} of {len} bytes came back changed");
        }
    });
}

#[test]
fn every_length_crosses_the_switch_unchanged() {
    let pair = pair(switched());
    exchange_all(&pair);
    assert_eq!(pair.a.path(&pair.to_b), PathKind::Switched);
}

#[test]
fn every_length_crosses_a_direct_channel_unchanged() {
    let pair = pair(EndpointOptions::default());
    until_direct(&pair);
    exchange_all(&pair);
}

#[test]
fn every_length_crosses_a_direct_channel_by_pulling() {
    let pair = pair(EndpointOptions::default().read_in_place(false));
    until_direct(&pair);
    exchange_all(&pair);
}

#[test]
fn every_way_of_waiting_ends() {
    for wait in [
        Wait::Spin,
        Wait::Sleep,
        Wait::Adaptive(Duration::from_micros(5)),
    ] {
        let pair = pair(EndpointOptions::default().wait(wait));
        exchange_all(&pair);
    }
}

#[test]
fn memory_of_the_pool_is_sent_and_received_in() {
    let pair = pair(EndpointOptions::default());
    until_direct(&pair);
    let mut buffer = pair.fabrics[0].alloc(1 << 20).expect("memory");
    buffer.copy_from_slice(&payload(1 << 20, 9));
    let room = pair.fabrics[1].alloc(1 << 20).expect("memory");
    let receive = pair.b.irecv(Match::exact(9), room).expect("posted");
    let send = pair.a.isend(&pair.to_b, 9, buffer).expect("started");
    let (got, _) = pair.b.wait_recv(receive).expect("received");
    assert!(got[..] == payload(1 << 20, 9)[..]);
    let back = pair.a.wait_send(send).expect("sent");
    assert_eq!(back.len(), 1 << 20);
}

#[test]
fn scattered_buffers_are_one_message() {
    let pair = pair(EndpointOptions::default());
    let sent = payload(100_000, 3);
    let parts: Vec<Vec<u8>> = sent.chunks(33_333).map(<[u8]>::to_vec).collect();
    let room = vec![vec![0; 1], vec![0; 70_000], Vec::new(), vec![0; 29_999]];
    let receive = pair.b.irecv(Match::exact(3), room).expect("posted");
    let send = pair.a.isend(&pair.to_b, 3, parts).expect("started");
    let (got, _) = pair.b.wait_recv(receive).expect("received");
    assert!(got.concat() == sent);
    drop(pair.a.wait_send(send).expect("sent"));
}

#[test]
fn what_does_not_fit_is_cut_and_said() {
    for len in [20, 100, 5000, 100_000] {
        let pair = pair(EndpointOptions::default());
        let receive = pair
            .b
            .irecv(Match::any(), vec![0; len / 2])
            .expect("posted");
        let sent = payload(len, 1);
        pair.a
            .send(&pair.to_b, 1, &sent)
            .expect("a cut message is sent");
        let (got, what) = pair.b.wait_recv(receive).expect("received");
        assert!(what.truncated());
        assert_eq!((what.len, what.message_len), (len / 2, len));
        assert!(got[..] == sent[..len / 2]);
    }
}

#[test]
fn a_synchronous_send_waits_for_its_receive() {
    for len in [0, 10, 5000, 100_000] {
        let pair = pair(EndpointOptions::default());
        let send = pair
            .a
            .issend(&pair.to_b, 5, payload(len, 5))
            .expect("started");
        let there = pair.b.probe(Match::exact(5), None).expect("announced");
        assert_eq!(there.len, len);
        let Ok(Err(send)) = pair.a.test_send(send) else {
            panic!("complete before it was received");
        };
        let mut buffer = vec![0; len];
        pair.b.recv(Match::exact(5), &mut buffer).expect("received");
        assert!(pair.a.wait_send(send).expect("sent") == buffer);
    }
}

/// The fabric's thread works for an endpoint whose program is elsewhere. A program that looks in for a moment takes its endpoint
/// back, and must not leave it to nobody.
#[test]
fn an_endpoint_is_worked_for_again_after_its_program_looked_in() {
    let pair = pair(switched());
    for round in 0..5 {
        for _ in 0..2 {
            let receive = pair.b.irecv(Match::exact(1), vec![0; 8]).expect("posted");
            receive.queue(0);
        }
        for message in 0..2 {
            let send = pair.a.issend(&pair.to_b, 1, payload(8, 0)).expect("sent");
            send.queue(1);
            let done = pair.a.wait_any(Match::any(), Some(PATIENCE));
            assert!(
                done.is_some(),
                "round {round}: nobody took message {message}"
            );
            // It computes for so long that the fabric's thread takes over and no timer is near, looks in, and is off again.
            std::thread::sleep(Duration::from_millis(20));
            assert!(pair.b.iprobe(Match::exact(2)).is_none());
        }
        while pair.b.test_any(Match::any()).is_some() {}
    }
}

#[test]
fn an_endpoint_that_takes_the_place_of_another_is_worked_for() {
    let pair = pair(switched());
    for _ in 0..5 {
        let passing = pair.fabrics[1]
            .open(switched().key(KEY))
            .expect("an endpoint");
        pair.a
            .connect(passing.address(), KEY, PATIENCE)
            .expect("the fabric's thread answers for it");
    }
}

#[test]
fn match_bits_masks_and_sources_choose() {
    let pair = pair(EndpointOptions::default());
    for bits in [0x11, 0x21, 0x12] {
        pair.a
            .send(&pair.to_b, bits, &bits.to_le_bytes()[..1])
            .expect("sent");
    }
    let mut one = [0];
    let got = pair
        .b
        .recv(Match::masked(0x20, 0xf0), &mut one)
        .expect("received");
    assert_eq!((got.bits, one), (0x21, [0x21]));
    let got = pair
        .b
        .recv(Match::masked(0x02, 0x0f).from(&pair.to_a), &mut one)
        .expect("received");
    assert_eq!(got.bits, 0x12);
    let got = pair.b.recv(Match::any(), &mut one).expect("received");
    assert_eq!(got.bits, 0x11);
    assert_eq!(pair.b.iprobe(Match::any()), None);
}

#[test]
fn messages_of_one_sender_stay_in_order() {
    let pair = pair(EndpointOptions::default());
    const COUNT: u64 = 5000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..COUNT {
                let len = [8, 100, 3000, 40_000][usize::try_from(i % 4).unwrap()];
                let mut message = payload(len, 0);
                message[..8].copy_from_slice(&i.to_le_bytes());
                pair.a.send(&pair.to_b, 1, &message).expect("sent");
            }
        });
        let mut buffer = vec![0; 40_000];
        for i in 0..COUNT {
            pair.b.recv(Match::exact(1), &mut buffer).expect("received");
            assert_eq!(u64::from_le_bytes(buffer[..8].try_into().unwrap()), i);
        }
    });
}

/// Its sender may be waiting to have the memory back.
#[test]
fn who_looks_on_and_finds_nothing_acknowledges_what_was_large() {
    let pair = pair(EndpointOptions::default().wait(Wait::Spin));
    until_direct(&pair);
    let acknowledged = || pair.b.counters().acks_out;
    for len in [4096, 20_000] {
        let before = acknowledged();
        let receive = pair.b.irecv(Match::any(), vec![0; len]).expect("posted");
        let send = pair.a.isend(&pair.to_b, 1, payload(len, 1));
        pair.b.wait_recv(receive).expect("received");
        // Far less than an acknowledgement waits for data to ride on.
        for _ in 0..20 {
            pair.b.progress();
        }
        assert!(acknowledged() > before, "{len} bytes");
        drop(pair.a.wait_send(send.expect("started")).expect("sent"));
    }
}

#[test]
fn a_receive_can_be_taken_back() {
    let pair = pair(EndpointOptions::default());
    let receive = pair.b.irecv(Match::exact(1), vec![7; 10]).expect("posted");
    let Ok(buffer) = pair.b.cancel(receive) else {
        panic!("nothing had matched it");
    };
    assert_eq!(buffer, vec![7; 10]);
    let mut short = [0; 4];
    let none = pair
        .b
        .recv_timeout(Match::exact(1), &mut short, Duration::from_millis(1))
        .expect("no error");
    assert_eq!(none, None);
    // What comes afterwards is not lost in the cancelled ones.
    pair.a.send(&pair.to_b, 1, b"here").expect("sent");
    pair.b.recv(Match::exact(1), &mut short).expect("received");
    assert_eq!(&short, b"here");
}

#[test]
fn a_dropped_receive_takes_no_message() {
    let pair = pair(EndpointOptions::default());
    drop(pair.b.irecv(Match::any(), vec![0; 10]).expect("posted"));
    pair.a.send(&pair.to_b, 1, b"x").expect("sent");
    let mut one = [0];
    pair.b.recv(Match::any(), &mut one).expect("received");
    assert_eq!(&one, b"x");
}

#[test]
fn completions_are_picked_by_match_bits() {
    let pair = pair(EndpointOptions::default());
    for context in [10, 20] {
        pair.b
            .irecv(Match::exact(context), vec![0; 8])
            .expect("posted")
            .queue(context);
    }
    pair.a
        .isend(&pair.to_b, 20, b"second".to_vec())
        .expect("started")
        .queue(99);
    let done = pair
        .b
        .wait_any(Match::exact(20), None)
        .expect("a completion");
    assert_eq!(done.context, 20);
    let received = done.result().expect("success").expect("a receive");
    assert_eq!(received.len, 6);
    let bytes: Vec<u8> = done.into_buffer().expect("what was posted");
    assert_eq!(&bytes[..6], b"second");
    assert!(
        pair.b.test_any(Match::any()).is_none(),
        "the other one is still waiting"
    );
    let sent = pair.a.wait_any(Match::any(), None).expect("the send");
    assert_eq!(sent.context, 99);
    assert_eq!(sent.result().expect("success"), None);
    pair.a.send(&pair.to_b, 10, b"first").expect("sent");
    assert_eq!(pair.b.peek(None).map(|next| next.context), Some(10));
    assert!(pair.b.test_any(Match::any()).is_some());
}

#[test]
fn messages_that_nobody_waits_for_are_announced_claimed_and_refused() {
    let pair = pair(EndpointOptions::default().announce_unexpected(true));
    for (bits, text) in [(1, &b"take me"[..]), (2, b"refuse me"), (3, b"claim me")] {
        pair.a.send(&pair.to_b, bits, text).expect("sent");
    }
    let first = pair.b.next_unexpected(None).expect("announced");
    assert_eq!((first.message.bits, first.message.len), (1, 7));
    let receive = pair.b.receive(&first, vec![0; 7]).expect("still there");
    assert_eq!(pair.b.wait_recv(receive).expect("received").0, b"take me");
    let second = pair.b.next_unexpected(None).expect("announced");
    pair.b.discard(second);
    assert_eq!(pair.b.iprobe(Match::exact(2)), None);
    pair.b.probe(Match::exact(3), None).expect("there");
    let third = pair.b.claim(Match::exact(3)).expect("there");
    assert_eq!(pair.b.iprobe(Match::any()), None, "it is ours now");
    let receive = pair.b.receive(&third, vec![0; 8]).expect("ours");
    assert_eq!(pair.b.wait_recv(receive).expect("received").0, b"claim me");
}

#[test]
fn a_handler_sees_what_nobody_waits_for_and_may_act_on_it() {
    let pair = pair(
        EndpointOptions::default().on_unexpected(|endpoint, unexpected, bytes| {
            match unexpected.message.bits {
                // Answered from inside the handler: a second unexpected message, which must not nest.
                1 => {
                    let peer = endpoint.peer(unexpected.message.source).expect("connected");
                    let room = vec![0; unexpected.message.len];
                    assert_eq!(bytes, Some(&b"question"[..]));
                    endpoint
                        .receive(unexpected, room)
                        .expect("nobody else has it")
                        .queue(1);
                    endpoint.send(&peer, 2, b"answer").expect("sent");
                    Verdict::Left
                }
                2 => Verdict::Left,
                _ => Verdict::Taken,
            }
        }),
    );
    pair.a.send(&pair.to_b, 1, b"question").expect("sent");
    pair.a.send(&pair.to_b, 3, b"rubbish").expect("sent");
    let mut answer = [0; 6];
    pair.a
        .recv(Match::exact(2), &mut answer)
        .expect("left alone by the handler, taken by a receive");
    assert_eq!(&answer, b"answer");
    let question = pair.b.wait_any(Match::exact(1), None).expect("queued");
    assert_eq!(
        question.into_buffer::<Vec<u8>>().expect("a Vec"),
        b"question"
    );
    pair.a.send(&pair.to_b, 2, b"end").expect("sent");
    pair.b.probe(Match::exact(2), None).expect("left alone");
    // The handler may be at it on another thread.
    while pair.b.iprobe(Match::exact(3)).is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn a_wait_with_a_timeout_gives_the_request_back() {
    let pair = pair(EndpointOptions::default());
    let short = Duration::from_millis(1);
    let receive = pair.b.irecv(Match::exact(1), vec![0; 5]).expect("posted");
    let Ok(Err(receive)) = pair.b.wait_recv_timeout(receive, short) else {
        panic!("nothing was sent");
    };
    let send = pair
        .a
        .issend(&pair.to_b, 2, b"later".to_vec())
        .expect("started");
    let Ok(Err(send)) = pair.a.wait_send_timeout(send, short) else {
        panic!("nobody has received it");
    };
    pair.a.send(&pair.to_b, 1, b"first").expect("sent");
    assert_eq!(pair.b.wait_recv(receive).expect("received").0, b"first");
    let mut buffer = [0; 5];
    pair.b.recv(Match::exact(2), &mut buffer).expect("received");
    assert_eq!(pair.a.wait_send(send).expect("sent"), buffer);
}

#[test]
fn what_an_endpoint_sent_on_a_direct_channel_before_it_closed_is_not_lost() {
    for round in 0..10 {
        let pair = pair(EndpointOptions::default());
        until_direct(&pair);
        // It is received, and the acknowledgement is the last thing that the receiver says.
        let text = payload(20_000, round);
        let send = pair.a.isend(&pair.to_b, 1, text.clone()).expect("posted");
        let mut back = vec![0; text.len()];
        pair.b.recv(Match::exact(1), &mut back).expect("received");
        assert!(back == text, "round {round}");
        drop((pair.to_a, pair.b));
        pair.a.wait_send(send).expect("acknowledged");
        // Whoever is left sees that the channel is over.
        while matches!(pair.a.path(&pair.to_b), PathKind::Direct { .. }) {
            pair.a.progress();
            std::thread::yield_now();
        }
    }
}

#[test]
fn who_closes_before_a_direct_channel_is_taken_up_has_acknowledged_all() {
    let inside = Embedded::default().start().expect("a back end");
    let open = || {
        let fabric = inside.join().expect("a guest");
        let endpoint = fabric.open(EndpointOptions::default().key(KEY));
        (fabric, endpoint.expect("an endpoint"))
    };
    let (one, other) = (open(), open());
    // Who asks for the channel is who has the lower address.
    let in_order = one.1.address() < other.1.address();
    let ((_asks, b), (held_up, a)) = if in_order { (one, other) } else { (other, one) };
    // The other's thread does not come to it meanwhile.
    let (entered, has_entered) = mpsc::channel();
    let (let_go, is_let_go) = mpsc::channel::<()>();
    let both = Mutex::new((entered, is_let_go));
    let holds_up = held_up.open(switched().key(KEY).on_unexpected(move |_, _, _| {
        let both = both.lock().expect("no panic");
        both.0.send(()).expect("somebody waits");
        let _ = both.1.recv_timeout(PATIENCE);
        Verdict::Taken
    }));
    let holds_up = holds_up.expect("an endpoint");
    let to_it = b
        .connect(holds_up.address(), KEY, PATIENCE)
        .expect("connected");
    b.send(&to_it, 1, b"hold").expect("sent");
    has_entered.recv_timeout(PATIENCE).expect("it is held up");

    let to_b = a.connect(b.address(), KEY, PATIENCE).expect("connected");
    let to_a = b.peer(a.address()).expect("connected");
    while !matches!(b.path(&to_a), PathKind::Direct { .. }) {
        b.progress();
        std::thread::yield_now();
    }
    assert!(matches!(a.path(&to_b), PathKind::Switched));
    let launch = Launch {
        to: to_b.id(),
        space: Space::Tagged,
        bits: 1,
        data: None,
        completes: Completes::WhenDelivered,
        context: 0,
        label: 0,
    };
    a.launch(payload(100, 0), &launch).expect("posted");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            b.recv(Match::exact(1), &mut [0; 100]).expect("there");
            drop(b);
        });
        let mut status = None;
        a.reap_wait(1, Some(PATIENCE), |ended| status = Some(ended.status));
        assert_eq!(status, Some(Status::Success), "it was received");
    });
    let_go.send(()).expect("it is held up");
}

#[test]
fn a_wrong_key_and_a_closed_endpoint_are_refused() {
    let pair = pair(EndpointOptions::default());
    let refused = pair.a.connect(pair.b.address(), KEY + 1, PATIENCE);
    assert!(
        matches!(
            refused,
            Err(Error::ConnectRefused {
                status: Status::BadKey,
                ..
            })
        ),
        "{refused:?}"
    );
    let mut nobody = pair.b.address();
    nobody.endpoint = myrixen::EndpointId::new(200);
    let refused = pair.a.connect(nobody, KEY, PATIENCE);
    assert!(
        matches!(
            refused,
            Err(Error::ConnectRefused {
                status: Status::EndpointClosed,
                ..
            })
        ),
        "{refused:?}"
    );
    let mut elsewhere = pair.b.address();
    elsewhere.nic = myrixen::NicAddr::new([2, 9, 9, 9, 9, 9]);
    let unanswered = pair.a.connect(elsewhere, KEY, Duration::from_millis(20));
    assert!(
        matches!(unanswered, Err(Error::ConnectTimeout { .. })),
        "{unanswered:?}"
    );
}

#[test]
fn the_death_of_a_partner_ends_what_waits_for_it() {
    let pair = pair(EndpointOptions::default());
    let send = pair.a.issend(&pair.to_b, 1, vec![0; 100]).expect("started");
    let from_b = Match::any().from(&pair.to_b);
    let posted = pair.a.irecv(from_b, vec![0; 100]).expect("posted");
    let Pair {
        _inside,
        fabrics: [_ours, theirs],
        a,
        b,
        ..
    } = pair;
    drop(b);
    drop(theirs);
    let failed = a.wait_send(send);
    assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
    let failed = a.wait_recv(posted);
    assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
    // Nor is what it cannot send any more waited for, into a short buffer or a long one.
    for len in [8, 5000] {
        let failed = a.recv(from_b, &mut vec![0; len]);
        assert!(
            matches!(
                failed,
                Err(Error::Failed {
                    status: Status::NotConnected,
                    ..
                })
            ),
            "{failed:?}"
        );
    }
}

#[test]
fn a_short_receive_ends_with_its_partner() {
    let pair = pair(switched());
    let (a, to_b, b) = (&pair.a, &pair.to_b, pair.b);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| a.recv(Match::any().from(to_b), &mut [0; 8]));
        while a.pending_requests() == 0 {
            std::thread::yield_now();
        }
        drop(b);
        // What is sent to it now is refused.
        let _refused = a.issend(to_b, 1, vec![0; 100]);
        let failed = waits.join().expect("no panic");
        assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
    });
}

#[test]
fn many_threads_share_one_endpoint() {
    let pair = Arc::new(pair(EndpointOptions::default()));
    const EACH: u64 = 300;
    std::thread::scope(|scope| {
        for lane in 0..4u64 {
            let pair = &pair;
            scope.spawn(move || {
                for i in 0..EACH {
                    pair.a
                        .send(&pair.to_b, lane, &(lane << 32 | i).to_le_bytes())
                        .expect("sent");
                }
            });
            scope.spawn(move || {
                let mut word = [0; 8];
                for i in 0..EACH {
                    pair.b
                        .recv(Match::exact(lane), &mut word)
                        .expect("received");
                    assert_eq!(u64::from_le_bytes(word), lane << 32 | i);
                }
            });
        }
    });
}

#[test]
fn tasks_exchange_messages() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let pair = pair(EndpointOptions::default());
    runtime.block_on(async {
        let (a, to_b) = (pair.a.clone(), pair.to_b);
        let sender = tokio::spawn(async move {
            for (i, len) in [0, 64, 5000, 300_000].into_iter().enumerate() {
                a.send_async(&to_b, i as u64, payload(len, i))
                    .await
                    .expect("sent");
            }
        });
        for (i, len) in [0, 64, 5000, 300_000].into_iter().enumerate() {
            let (got, what) = pair
                .b
                .recv_async(Match::exact(i as u64), vec![0; len])
                .await
                .expect("received");
            assert_eq!(what.len, len);
            assert!(got == payload(len, i));
        }
        sender.await.expect("no panic");
    });
}

#[cfg(feature = "tokio")]
#[test]
fn tasks_exchange_messages_on_the_runtime_s_own_reactor() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let pair = pair(EndpointOptions::default());
    runtime.block_on(async {
        let _drivers = [&pair.a, &pair.b].map(|end| end.drive_on_tokio().expect("driven"));
        let (a, to_b) = (pair.a.clone(), pair.to_b);
        let echo = tokio::spawn(async move {
            for (i, len) in [0, 64, 5000, 300_000]
                .into_iter()
                .cycle()
                .take(200)
                .enumerate()
            {
                let (got, _) = a
                    .recv_async(Match::exact(i as u64), vec![0; len])
                    .await
                    .expect("received");
                a.send_async(&to_b, i as u64, got).await.expect("sent");
            }
        });
        for (i, len) in [0, 64, 5000, 300_000]
            .into_iter()
            .cycle()
            .take(200)
            .enumerate()
        {
            let sent = payload(len, i);
            let sent = pair
                .b
                .send_async(&pair.to_a, i as u64, sent)
                .await
                .expect("sent");
            let (back, _) = pair
                .b
                .recv_async(Match::exact(i as u64), vec![0; len])
                .await
                .expect("received");
            assert!(back == sent);
        }
        echo.await.expect("no panic");
    });
    // Without its driver the endpoint still works, by the fabric's thread.
    pair.a.send(&pair.to_b, 7, b"after").expect("sent");
    pair.b.recv(Match::exact(7), &mut [0; 5]).expect("received");
}

#[test]
fn a_thread_that_waits_for_nothing_does_not_hold_up_the_timers_of_another() {
    let pair = pair(EndpointOptions::default().wait(Wait::Sleep));
    std::thread::scope(|scope| {
        // Sleeps on the doorbells, with nothing due.
        let idle = scope.spawn(|| {
            let mut end = [0; 3];
            pair.a.recv(Match::exact(99), &mut end).expect("received");
        });
        for i in 0..20 {
            // More than a ring holds, into a queue that nobody empties meanwhile: some of it has to be sent again.
            for _ in 0..40 {
                pair.a
                    .send(&pair.to_b, i, &payload(30_000, 1))
                    .expect("sent");
            }
            let mut buffer = vec![0; 30_000];
            for _ in 0..40 {
                pair.b.recv(Match::exact(i), &mut buffer).expect("received");
            }
        }
        pair.b.send(&pair.to_a, 99, b"end").expect("sent");
        idle.join().expect("no panic");
    });
}

#[test]
fn progress_is_made_while_the_receiver_computes() {
    let pair = pair(EndpointOptions::default().read_in_place(false));
    // Two large messages into posted receives; then the receiver never calls in again.
    let receives: Vec<_> = (0..2)
        .map(|i| {
            pair.b
                .irecv(Match::exact(i), vec![0; 1 << 20])
                .expect("posted")
        })
        .collect();
    for i in 0..2 {
        pair.a
            .send(
                &pair.to_b,
                i,
                &payload(1 << 20, usize::try_from(i).unwrap()),
            )
            .expect("sent, with nobody but the receiver's thread to pull it");
    }
    for (i, receive) in receives.into_iter().enumerate() {
        assert!(pair.b.wait_recv(receive).expect("received").0 == payload(1 << 20, i));
    }
}
