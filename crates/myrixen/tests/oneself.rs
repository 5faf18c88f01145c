//! Messages of an endpoint to itself: of every kind, and none of them by way of the back end.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use myrixen::{
    Embedded, Endpoint, EndpointOptions, Error, Fabric, Inside, Match, PathKind, Peer, Verdict,
    Wait,
};
use myrixen_backend::secret::Secret;
use myrixen_platform::process::Listener;

const KEY: u32 = 0x0e5e_1f00;
const PATIENCE: Duration = Duration::from_secs(30);

/// Lengths on both sides of the protocol's boundaries: of short messages, of fragments, of rendezvous, of the steps in which it is read.
const LENGTHS: [usize; 12] = [
    0,
    1,
    33,
    128,
    129,
    5000,
    32_768,
    32_769,
    200_000,
    512 * 1024,
    512 * 1024 + 1,
    5_000_000,
];

fn payload(len: usize, seed: u64) -> Vec<u8> {
    let byte = |i: u64| (7 * i + seed + (i >> 8)).to_le_bytes()[0];
    (0..len as u64).map(byte).collect()
}

/// An endpoint that is connected to itself.
struct Alone {
    _inside: Inside,
    fabric: Fabric,
    end: Endpoint,
    myself: Peer,
}

fn alone(options: EndpointOptions) -> Alone {
    alone_with(Embedded::default(), options)
}

fn alone_with(back_end: Embedded, options: EndpointOptions) -> Alone {
    let inside = back_end.start().expect("a back end");
    let fabric = inside.join().expect("a guest");
    let end = fabric.open(options.key(KEY)).expect("an endpoint");
    let myself = end
        .connect(end.address(), KEY, PATIENCE)
        .expect("connected");
    Alone {
        _inside: inside,
        fabric,
        end,
        myself,
    }
}

impl Alone {
    /// Sends itself one message, with the receive posted first or last, and looks at what came.
    fn pass(&self, len: usize, receive_first: bool, synchronous: bool) {
        let Self { end, myself, .. } = self;
        let sent = payload(len, 3);
        let post = || {
            end.irecv(Match::exact(1), vec![0xee; len + 1])
                .expect("posted")
        };
        let early = receive_first.then(post);
        let send = match synchronous {
            true => end.issend(myself, 1, sent.clone()),
            false => end.isend(myself, 1, sent.clone()),
        };
        let send = send.expect("started");
        let receive = early.unwrap_or_else(|| {
            let there = end.probe(Match::exact(1), None).expect("announced");
            assert_eq!((there.len, there.source), (len, end.address()));
            post()
        });
        let (got, received) = end.wait_recv(receive).expect("received");
        assert_eq!((received.len, received.message_len), (len, len));
        assert!(got[..len] == sent, "{len} bytes came changed");
        assert_eq!(got[len], 0xee, "nothing is written past the message");
        drop(end.wait_send(send).expect("sent"));
    }

    /// Frames that the back end has seen of the endpoint and for it.
    fn frames_at_back_end(&self) -> u64 {
        let number = self.end.address().endpoint.get();
        let ports = self.fabric.ports().expect("told");
        let ours = ports.iter().find(|port| port.endpoint == number);
        let ours = ours.expect("it is open");
        ours.sent_frames + ours.received_frames
    }
}

fn ways_of_waiting() -> [Wait; 3] {
    [Wait::Spin, Wait::Sleep, Wait::default()]
}

#[test]
fn every_kind_of_message_comes_and_no_frame_reaches_the_back_end() {
    for wait in ways_of_waiting() {
        // Direct channels are another matter: this needs nobody else.
        for direct in [true, false] {
            let alone = alone(EndpointOptions::default().wait(wait).direct(direct));
            assert_eq!(alone.end.path(&alone.myself), PathKind::LoopBack);
            for len in LENGTHS {
                for receive_first in [true, false] {
                    for synchronous in [true, false] {
                        alone.pass(len, receive_first, synchronous);
                    }
                }
            }
            assert_eq!(alone.frames_at_back_end(), 0);
            let counters = alone.end.counters();
            assert_eq!((counters.resends, counters.acks_out), (0, 0));
        }
    }
}

#[test]
fn every_length_comes_where_the_program_drives_its_back_end() {
    for wait in ways_of_waiting() {
        let back_end = Embedded::default().inline(true);
        let alone = alone_with(back_end, EndpointOptions::default().wait(wait));
        for len in LENGTHS {
            alone.pass(len, len % 2 == 0, len % 3 == 0);
        }
    }
}

/// So that what is asserted above means something: frames to others are counted where it looks.
#[test]
fn messages_to_others_are_seen_there() {
    let alone = alone(EndpointOptions::default().direct(false));
    let other = alone.fabric.open(EndpointOptions::default().key(KEY));
    let other = other.expect("another endpoint");
    let peer = alone.end.connect(other.address(), KEY, PATIENCE);
    let peer = peer.expect("connected");
    assert_eq!(alone.end.path(&peer), PathKind::Switched);
    alone.end.send(&peer, 1, b"there").expect("sent");
    assert!(alone.frames_at_back_end() > 0);
}

/// More than fits in the ring, which nobody empties meanwhile.
#[test]
fn thousands_of_messages_ahead_all_come_in_order() {
    for wait in ways_of_waiting() {
        for len in [8, 129, 3000] {
            const COUNT: u64 = 5000;
            let alone = alone(EndpointOptions::default().wait(wait));
            let Alone { end, myself, .. } = &alone;
            let mut sends = Vec::new();
            for number in 0..COUNT {
                let mut bytes = payload(len, number);
                bytes[..8].copy_from_slice(&number.to_le_bytes());
                sends.push(end.isend(myself, 1, bytes).expect("started"));
            }
            let mut buffer = vec![0; len];
            for number in 0..COUNT {
                let got = end.recv(Match::exact(1), &mut buffer).expect("received");
                assert_eq!(got.len, len);
                assert_eq!(buffer[..8], number.to_le_bytes());
                assert!(buffer[8..] == payload(len, number)[8..]);
            }
            for send in sends {
                drop(end.wait_send(send).expect("sent"));
            }
            assert_eq!(alone.frames_at_back_end(), 0);
        }
    }
}

#[test]
fn many_large_messages_at_a_time_come_whole() {
    let alone = alone(EndpointOptions::default());
    let Alone { end, myself, .. } = &alone;
    const COUNT: u64 = 40;
    let len = 300_000;
    let sends: Vec<_> = (0..COUNT)
        .map(|i| end.isend(myself, i, payload(len, i)).expect("started"))
        .collect();
    // The last one first.
    for i in (0..COUNT).rev() {
        let receive = end.irecv(Match::exact(i), vec![0; len]).expect("posted");
        let (got, _) = end.wait_recv(receive).expect("received");
        assert!(got == payload(len, i), "message {i}");
    }
    for send in sends {
        drop(end.wait_send(send).expect("sent"));
    }
}

#[test]
fn what_has_several_pieces_and_what_does_not_fit_come_as_they_should() {
    let alone = alone(EndpointOptions::default());
    let Alone { end, myself, .. } = &alone;
    let sent = payload(700_000, 9);
    let pieces = |cuts: [usize; 2]| {
        let [first, second] = cuts;
        [&sent[..first], &[], &sent[first..second], &sent[second..]].map(<[u8]>::to_vec)
    };
    let receive = end
        .irecv(
            Match::any(),
            pieces([7, 650_000]).map(|p| vec![0; p.len()]).to_vec(),
        )
        .expect("posted");
    let send = end.isend(myself, 1, pieces([300_001, 300_002]).to_vec());
    let (got, _) = end.wait_recv(receive).expect("received");
    assert!(got.concat() == sent);
    drop(end.wait_send(send.expect("started")).expect("sent"));

    let mut half = vec![0; 350_000];
    let send = end.isend(myself, 1, sent.clone()).expect("started");
    let got = end.recv(Match::any(), &mut half).expect("received");
    assert_eq!((got.len, got.message_len), (350_000, 700_000));
    assert!(half == sent[..350_000]);
    drop(end.wait_send(send).expect("sent"));
}

#[test]
fn a_receive_that_was_taken_back_gets_nothing() {
    let alone = alone(EndpointOptions::default());
    let Alone { end, myself, .. } = &alone;
    let receive = end
        .irecv(Match::exact(1), vec![7; 100_000])
        .expect("posted");
    let Ok(buffer) = end.cancel(receive) else {
        panic!("nothing had matched it");
    };
    assert_eq!(buffer, vec![7; 100_000]);
    for len in [4, 100_000] {
        let send = end.isend(myself, 1, payload(len, 1)).expect("started");
        let mut buffer = vec![0; len];
        end.recv(Match::exact(1), &mut buffer).expect("received");
        assert!(buffer == payload(len, 1));
        drop(end.wait_send(send).expect("sent"));
    }
}

/// One thread sleeps on the doorbells, and has to hear of another one's message before that is sent again.
#[test]
fn a_thread_that_sleeps_is_woken_by_what_another_one_sends() {
    for wait in [Wait::Sleep, Wait::default()] {
        // Nobody else works for the endpoint.
        let alone = alone(EndpointOptions::default().wait(wait).taken_over(false));
        let Alone { end, myself, .. } = &alone;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut word = [0; 8];
                for i in 0..1000_u64 {
                    end.recv(Match::exact(1), &mut word).expect("received");
                    assert_eq!(u64::from_le_bytes(word), i);
                    end.send(myself, 2, &word).expect("sent");
                }
            });
            let mut word = [0; 8];
            for i in 0..1000_u64 {
                end.send(myself, 1, &i.to_le_bytes()).expect("sent");
                end.recv(Match::exact(2), &mut word).expect("received");
                assert_eq!(u64::from_le_bytes(word), i);
            }
        });
        assert_eq!(alone.end.counters().resends, 0);
    }
}

/// The path is made while another thread sleeps on the doorbells, which has not said so in its ring.
#[test]
fn a_thread_that_slept_before_there_was_the_path_is_woken() {
    let inside = Embedded::default().start().expect("a back end");
    let fabric = inside.join().expect("a guest");
    let options = EndpointOptions::default().wait(Wait::Sleep).key(KEY);
    let end = fabric.open(options.taken_over(false)).expect("open");
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut word = [0; 4];
            end.recv(Match::any(), &mut word).map(|_| word)
        });
        while end.pending_requests() == 0 {
            std::thread::yield_now();
        }
        let myself = end
            .connect(end.address(), KEY, PATIENCE)
            .expect("connected");
        end.send(&myself, 1, b"here").expect("sent");
        let got = receiver.join().expect("no panic").expect("received");
        assert_eq!(&got, b"here");
    });
}

/// The program computes, and the fabric's thread finds what lies in the ring.
#[test]
fn what_is_under_way_goes_on_while_the_program_computes() {
    let (told, hears) = mpsc::channel();
    let options = EndpointOptions::default().on_unexpected(move |_, message, _| {
        told.send(message.message.bits).expect("somebody listens");
        Verdict::Taken
    });
    let alone = alone(options);
    let Alone { end, myself, .. } = &alone;
    for bits in 0..20 {
        let sends = [8, 20_000].map(|len| end.isend(myself, bits, payload(len, 4)));
        for send in sends {
            // Without a call into the library.
            assert_eq!(hears.recv_timeout(PATIENCE), Ok(bits));
            drop(end.wait_send(send.expect("started")).expect("sent"));
        }
    }
}

#[test]
fn a_wrong_key_is_refused_and_an_endpoint_can_be_disconnected_from_itself() {
    let alone = alone(EndpointOptions::default());
    let Alone { end, myself, .. } = &alone;
    let refused = end.connect(end.address(), KEY + 1, PATIENCE);
    assert!(
        matches!(refused, Err(Error::ConnectRefused { .. })),
        "{refused:?}"
    );
    end.disconnect(myself, end.session());
    assert!(end.send(myself, 1, b"x").is_err());
    let again = end
        .connect(end.address(), KEY, PATIENCE)
        .expect("connected");
    end.send(&again, 1, b"y").expect("sent");
    let mut one = [0];
    end.recv(Match::any(), &mut one).expect("received");
    assert_eq!(&one, b"y");
    assert_eq!(alone.frames_at_back_end(), 0);
}

#[test]
fn an_endpoint_closes_with_messages_to_itself_under_way() {
    let alone = alone(EndpointOptions::default());
    let Alone { end, myself, .. } = &alone;
    for len in [8, 3000] {
        for _ in 0..200 {
            drop(end.isend(myself, 1, payload(len, 1)).expect("started"));
        }
    }
    for _ in 0..3 {
        drop(
            end.irecv(Match::exact(2), vec![0; 400_000])
                .expect("posted"),
        );
        drop(end.isend(myself, 3, payload(400_000, 1)).expect("started"));
    }
    let address = end.address();
    let Alone { fabric, end, .. } = alone;
    drop(end);
    // Its number is free, and whoever has it next hears nothing of it.
    let options = EndpointOptions::default().id(address.endpoint.get());
    let next = fabric.open(options.key(KEY)).expect("its number is free");
    let myself = next.connect(address, KEY, PATIENCE).expect("connected");
    assert!(next.iprobe(Match::any()).is_none());
    next.send(&myself, 1, b"new").expect("sent");
    let mut three = [0; 3];
    next.recv(Match::any(), &mut three).expect("received");
    assert_eq!(&three, b"new");
}

/// An endpoint needs no back end to talk to itself, and is connected to itself all the same when one is back.
#[test]
fn it_goes_on_while_the_back_end_is_away_and_when_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("myrixen.sock");
    let secret = Secret::random().expect("randomness");
    let start = || {
        let host = common::Host {
            name: "oneself",
            secret: secret.clone(),
            await_return: Duration::from_secs(5),
            poll: Duration::from_micros(20),
        };
        common::start(host, Listener::bind(&socket, 0o600).expect("the socket"))
    };
    let mut backend = start();
    let fabric = Fabric::builder().socket(&socket).connect();
    let fabric = fabric.expect("attached");
    let options = EndpointOptions::default().key(KEY);
    let [end, late] = [(); 2].map(|()| fabric.open(options.clone()).expect("an endpoint"));
    let connect = |end: &Endpoint| {
        end.connect(end.address(), KEY, PATIENCE)
            .expect("connected")
    };
    let myself = connect(&end);
    let pass = |end: &Endpoint, myself: &Peer| {
        for len in LENGTHS {
            let send = end.issend(myself, 1, payload(len, 6)).expect("started");
            let receive = end.irecv(Match::exact(1), vec![0; len]).expect("posted");
            assert!(end.wait_recv(receive).expect("received").0 == payload(len, 6));
            drop(end.wait_send(send).expect("sent"));
        }
    };
    for round in 0..5 {
        let under_way = end.isend(&myself, 2, payload(1_000_000, round));
        backend.stop();
        pass(&end, &myself);
        if round == 0 {
            // Nothing of it was there before.
            pass(&late, &connect(&late));
        }
        backend = start();
        let receive = end
            .irecv(Match::exact(2), vec![0; 1_000_000])
            .expect("posted");
        let (got, _) = end.wait_recv(receive).expect("received");
        assert!(got == payload(1_000_000, round));
        drop(end.wait_send(under_way.expect("started")).expect("sent"));
        pass(&end, &myself);
    }
    assert_eq!(end.path(&myself), PathKind::LoopBack);
    drop((end, late, fabric));
    backend.stop();
}
