//! Requests known by a number, and what bindings to other languages need beside them.

mod pair;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use myrixen::{
    Completes, Connecting, Endpoint, EndpointOptions, Error, Fabric, Foreign, Kind, Match,
    Outgoing, Peer, RequestId, Status, Verdict,
};
use pair::{PATIENCE, Pair, SOON};

fn outgoing(bits: u64, completes: Completes, context: u64) -> Outgoing {
    Outgoing {
        bits,
        completes,
        context,
    }
}

#[test]
fn a_buffered_send_is_over_at_once_and_others_when_they_arrive() {
    let pair = Pair::new();
    let buffered = outgoing(1, Completes::WhenBuffered, 11);
    let id = pair.a.post_short(&pair.to_b, b"short", buffered);
    let id = id.expect("sent");
    assert_eq!(pair.a.look_at(id).expect("known"), (Kind::Send, 11, true));
    let done = pair.a.test(id).expect("known").expect("over");
    assert_eq!((done.status, done.context), (Status::Success, 11));
    assert_eq!((done.len, done.message_len), (5, 5));
    assert_eq!(done.peer, Some(pair.to_b));
    assert!(matches!(pair.a.test(id), Err(Error::UnknownRequest)));

    let matched = outgoing(2, Completes::WhenMatched, 12);
    let id = pair.a.post_send(&pair.to_b, vec![7; 3000], matched);
    let id = id.expect("sent");
    assert!(pair.a.wait(id, SOON).expect("known").is_none());
    let receive = pair
        .b
        .post_recv(Match::any(), vec![0; 8], 1)
        .expect("posted");
    let got = pair.b.wait(receive, None).expect("known").expect("over");
    assert_eq!((got.bits, got.peer), (1, Some(pair.to_a)));
    let receive = pair.b.post_recv(Match::any(), vec![0; 1000], 2);
    let got = pair.b.wait(receive.expect("posted"), None).expect("known");
    let got = got.expect("over");
    assert_eq!(got.status, Status::Truncated);
    assert_eq!((got.len, got.message_len), (1000, 3000));
    assert!(pair.a.wait(id, None).expect("known").is_some());
}

/// A buffer that somebody else keeps, so that a copy is needed of what is to be resent.
struct Theirs(Arc<Vec<u8>>);

impl Foreign for Theirs {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn piece(&self, offset: usize) -> &[u8] {
        &self.0[offset..]
    }
    fn piece_mut(&mut self, _: usize) -> &mut [u8] {
        &mut []
    }
}

/// Sends `len` bytes of `fill` from a pair whose receiver does nothing from now on, and cannot acknowledge.
fn unanswered(pair: &Pair, len: usize, fill: u8) -> RequestId {
    pair.b.pause();
    let buffered = outgoing(3, Completes::WhenBuffered, 13);
    let theirs: Box<dyn Foreign> = Box::new(Theirs(Arc::new(vec![fill; len])));
    let id = pair.a.post_send(&pair.to_b, theirs, buffered);
    id.expect("sent")
}

/// The receiver goes on, and gets what was sent.
fn arrives(pair: &Pair, len: usize, fill: u8) {
    pair.b.resume();
    let receive = pair.b.post_recv(Match::exact(3), vec![0; len], 1);
    let got = pair.b.wait(receive.expect("posted"), Some(PATIENCE));
    let got = got.expect("known").expect("over");
    let bytes: Vec<u8> = got.into_buffer().expect("the buffer that was given");
    assert_eq!(bytes, vec![fill; len]);
}

#[test]
fn an_eager_send_ends_for_whoever_asks_though_nobody_acknowledges() {
    let pair = Pair::new();
    for len in [129, 4096, 32 << 10] {
        let id = unanswered(&pair, len, 1);
        assert!(
            !pair.a.look_at(id).expect("known").2,
            "not copied before it has to be"
        );
        let done = pair.a.wait(id, None).expect("known").expect("over");
        assert_eq!(
            (done.status, done.len, done.context),
            (Status::Success, len, 13)
        );
        assert!(matches!(pair.a.test(id), Err(Error::UnknownRequest)));
        arrives(&pair, len, 1);

        unanswered(&pair, len, 2);
        let done = pair.a.wait_any(Match::exact(3), None).expect("over");
        assert_eq!((done.status, done.len), (Status::Success, len));
        arrives(&pair, len, 2);

        let id = unanswered(&pair, len, 3);
        let tests = (0..100).position(|_| pair.a.test(id).expect("known").is_some());
        assert!(tests.is_some(), "a test ends it after some vain ones");
        arrives(&pair, len, 3);

        let id = unanswered(&pair, len, 4);
        assert_eq!(pair.a.peek(None).expect("there").id, id);
        assert!(pair.a.test(id).expect("known").is_some());
        arrives(&pair, len, 4);

        let id = unanswered(&pair, len, 5);
        let at_once = Some(Duration::ZERO);
        assert!(pair.a.await_buffered(id, at_once).expect("known"));
        pair.a.forget(id).expect("known");
        arrives(&pair, len, 5);

        let id = unanswered(&pair, len, 6);
        pair.a.forget(id).expect("known");
        assert!(pair.a.test_any(Match::any()).is_none());
        arrives(&pair, len, 6);
    }
    let until = std::time::Instant::now() + PATIENCE;
    while pair.a.pending_requests() > 0 {
        assert!(std::time::Instant::now() < until, "something is kept");
        pair.a.progress();
    }
}

#[test]
fn what_is_complete_early_does_not_time_out() {
    let pair = Pair::new();
    let id = unanswered(&pair, 4096, 1);
    pair.a.set_timeout(id, SOON).expect("known");
    let done = pair.a.wait(id, None).expect("known").expect("over");
    assert_eq!(done.status, Status::Success);
    // Long after its time is over, with nothing more from us, it is still resent.
    assert!(
        pair.a
            .wait_any(Match::any(), SOON.map(|soon| 3 * soon))
            .is_none()
    );
    arrives(&pair, 4096, 1);
}

#[test]
fn ends_are_found_by_number_and_by_match_information_once() {
    let pair = Pair::new();
    let post = |bits| {
        let id = pair.b.post_recv(Match::exact(bits), vec![0; 8], bits);
        id.expect("posted")
    };
    let ids: Vec<RequestId> = (0..5).map(post).collect();
    for bits in 0..5 {
        pair.a.send(&pair.to_b, bits, b"message").expect("sent");
    }
    let last = pair.b.wait(ids[4], None).expect("known").expect("over");
    assert_eq!(last.context, 4);
    let peeked = pair.b.peek(None).expect("there");
    assert_eq!((peeked.id, peeked.context), (ids[0], 0));
    let middle = pair.b.test_any(Match::exact(2)).expect("there");
    assert_eq!(middle.context, 2);
    assert!(matches!(pair.b.test(ids[2]), Err(Error::UnknownRequest)));
    for left in [0, 1, 3] {
        assert_eq!(
            pair.b.wait_any(Match::any(), None).expect("there").context,
            left
        );
    }
    assert!(pair.b.test_any(Match::any()).is_none());
    assert_eq!(pair.b.pending_requests(), 0);
}

#[test]
fn a_connect_is_a_request_too() {
    let fabric = Fabric::embedded().expect("an embedded back end");
    let open = |key| {
        fabric
            .open(EndpointOptions::default().key(key))
            .expect("opened")
    };
    let (a, b) = (open(1), open(2));
    let connecting = |key| Connecting {
        to: b.address(),
        key,
        bits: 77,
        timeout: Some(PATIENCE),
        context: 5,
    };
    a.post_connect(connecting(2)).expect("started");
    let done = a.wait_any(Match::exact(77), None).expect("over");
    assert_eq!((done.kind, done.status), (Kind::Connect, Status::Success));
    let peer = done.peer.expect("connected");
    assert_eq!(Peer::from_parts(b.address(), peer.id()), peer);
    assert_eq!(a.session_of(&peer), Some(b.session()));
    let id = a.post_connect(connecting(3)).expect("started");
    let done = a.wait(id, None).expect("known").expect("over");
    assert_eq!((done.status, done.peer), (Status::BadKey, None));
}

#[test]
fn to_forget_an_earlier_opening_leaves_the_present_one_connected() {
    let fabric = Fabric::embedded().expect("an embedded back end");
    let a = fabric.open(EndpointOptions::default()).expect("opened");
    let at_a = a.address();
    let come = || {
        let b = fabric
            .open(EndpointOptions::default().id(7))
            .expect("opened");
        b.connect(at_a, 0, PATIENCE).expect("connected");
        let session = b.session();
        (b, session)
    };
    let (first, earlier) = come();
    let address = first.address();
    drop(first);
    let (_second, present) = come();
    let peer = a.peer(address).expect("it has connected");
    assert_eq!(a.session_of(&peer), Some(present));
    a.disconnect(&peer, earlier);
    assert_eq!(a.peer(address), Some(peer));
    a.disconnect(&peer, present);
    assert_eq!(a.peer(address), None);
}

#[test]
fn requests_are_taken_back_forgotten_and_end_in_time() {
    let pair = Pair::new();
    let post = || {
        pair.b
            .post_recv(Match::exact(1), vec![0; 8], 0)
            .expect("posted")
    };
    let id = post();
    assert!(pair.b.take_back(id).expect("known"));
    assert!(matches!(pair.b.take_back(id), Err(Error::UnknownRequest)));
    pair.b.forget(post()).expect("known");
    let late = post();
    pair.b.set_timeout(late, SOON).expect("known");
    let done = pair.b.wait(late, None).expect("known");
    assert_eq!(done.map(|done| done.status), Some(Status::Timeout));
    pair.a
        .send(&pair.to_b, 1, b"for the forgotten one")
        .expect("sent");
    assert!(pair.b.wait_any(Match::any(), SOON).is_none());
    assert_eq!(pair.b.pending_requests(), 0);
}

#[test]
fn a_peer_of_another_endpoint_gets_nothing() {
    let pair = Pair::new();
    // What b calls a has the number by which a calls b.
    let (b, foreign) = (&pair.b, &pair.to_b);
    for completes in [Completes::WhenDelivered, Completes::WhenBuffered] {
        let id = b.post_send(foreign, Vec::<u8>::new(), outgoing(2, completes, 0));
        let done = b.test(id.expect("a request")).expect("known");
        let done = done.expect("over at once");
        assert_eq!(done.status, Status::NotConnected);
        let id = b.post_short(foreign, b"short", outgoing(2, completes, 0));
        let done = b.test(id.expect("a request")).expect("known");
        let done = done.expect("over at once");
        assert_eq!(done.status, Status::NotConnected);
    }
    let refused = |error| {
        let status = Status::NotConnected;
        matches!(error, Error::Failed { status: was, .. } if was == status)
    };
    assert!(b.send(foreign, 2, b"short").is_err_and(refused));
    assert!(b.send(foreign, 2, &[0; 1000]).is_err_and(refused));
    assert!(b.isend(foreign, 2, vec![0; 1000]).is_err_and(refused));
    assert_eq!(b.pending_requests(), 0);
    assert!(pair.a.iprobe(Match::any()).is_none());
}

#[test]
fn a_wakeup_ends_every_wait_with_nothing() {
    let pair = Pair::new();
    let id = pair
        .b
        .post_recv(Match::exact(1), vec![0; 8], 0)
        .expect("posted");
    std::thread::scope(|scope| {
        let waits = [
            scope.spawn(|| pair.b.wait(id, None).expect("known").is_none()),
            scope.spawn(|| pair.b.wait_any(Match::any(), None).is_none()),
            scope.spawn(|| pair.b.peek(None).is_none()),
            scope.spawn(|| pair.b.probe(Match::any(), None).is_none()),
        ];
        // Whoever was not waiting yet is woken by the next one.
        while !waits.iter().all(|wait| wait.is_finished()) {
            pair.b.wakeup();
            std::thread::yield_now();
        }
        for wait in waits {
            assert!(wait.join().expect("no panic"), "nothing was found");
        }
    });
    assert!(pair.b.take_back(id).expect("still there"));
}

#[test]
fn a_message_left_by_the_handler_goes_to_the_receive_it_posted() {
    let pair = Pair::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    pair.b.set_unexpected_handler(Some(
        move |endpoint: &Endpoint, message: &myrixen::Unexpected, bytes: Option<&[u8]>| {
            count.fetch_add(1, Ordering::SeqCst);
            let this = Match::exact(message.message.bits);
            assert!(endpoint.iprobe(this).is_none(), "it is hidden");
            assert!(endpoint.wait_any(Match::any(), None).is_none());
            match message.message.bits {
                1 => {
                    assert_eq!(bytes, None, "large ones are still with their sender");
                    let room = vec![0; message.message.len];
                    endpoint
                        .post_recv(Match::exact(1), room, 9)
                        .expect("posted");
                    Verdict::Left
                }
                2 => Verdict::Taken,
                _ => Verdict::Left,
            }
        },
    ));
    let matched = |bits| outgoing(bits, Completes::WhenMatched, bits);
    for (bits, len) in [(1, 100_000), (2, 10), (3, 10)] {
        pair.a
            .post_send(&pair.to_b, vec![1; len], matched(bits))
            .expect("sent");
    }
    let got = pair.b.wait_any(Match::exact(1), None).expect("received");
    assert_eq!((got.context, got.len), (9, 100_000));
    for bits in [1, 2] {
        let sent = pair.a.wait_any(Match::exact(bits), None).expect("over");
        assert_eq!(sent.status, Status::Success);
    }
    assert_eq!(
        pair.b.probe(Match::any(), None).map(|left| left.bits),
        Some(3)
    );
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    pair.b.set_unexpected_handler(
        None::<fn(&Endpoint, &myrixen::Unexpected, Option<&[u8]>) -> Verdict>,
    );
    pair.a.send(&pair.to_b, 4, b"unseen").expect("sent");
    pair.b.probe(Match::exact(4), None).expect("there");
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

#[test]
fn nothing_arrives_while_an_endpoint_is_paused() {
    let pair = Pair::new();
    pair.b.pause();
    pair.a.send(&pair.to_b, 1, b"early").expect("sent");
    assert!(pair.b.probe(Match::any(), SOON).is_none());
    std::thread::scope(|scope| {
        let wait = scope.spawn(|| pair.b.probe(Match::any(), None));
        pair.b.resume();
        assert!(wait.join().expect("no panic").is_some());
    });
}

#[test]
fn breaking_off_fails_what_is_begun() {
    let pair = Pair::new();
    let matched = outgoing(1, Completes::WhenMatched, 0);
    let id = pair
        .a
        .post_send(&pair.to_b, vec![0; 100_000], matched)
        .expect("sent");
    pair.a.break_off(&pair.to_b);
    let done = pair.a.wait(id, None).expect("known").expect("over");
    assert_eq!(done.status, Status::NotConnected);
    let id = pair.a.post_send(&pair.to_b, Vec::<u8>::new(), matched);
    let done = pair.a.test(id.expect("a request")).expect("known");
    assert_eq!(
        done.map(|done| done.status),
        Some(Status::NotConnected),
        "over at once"
    );
    let again = pair
        .a
        .connect(pair.b.address(), 0, PATIENCE)
        .expect("connected");
    let id = pair
        .a
        .post_send(&again, vec![1; 10], matched)
        .expect("sent");
    let mut room = [0; 10];
    pair.b.recv(Match::exact(1), &mut room).expect("received");
    assert!(pair.a.wait(id, None).expect("known").is_some());
}

/// Sends what `kept` holds, to be received under 3.
fn send_kept(pair: &Pair, kept: &Arc<Vec<u8>>, completes: Completes) -> RequestId {
    let theirs: Box<dyn Foreign> = Box::new(Theirs(kept.clone()));
    let id = pair
        .a
        .post_send(&pair.to_b, theirs, outgoing(3, completes, 14));
    id.expect("sent")
}

#[test]
fn the_buffer_of_an_eager_length_is_given_back_while_the_end_is_waited_for() {
    let pair = Pair::new();
    let at_once = Some(Duration::ZERO);
    for completes in [Completes::WhenDelivered, Completes::WhenMatched] {
        for len in [129, 4096, 32 << 10] {
            pair.b.pause();
            let kept = Arc::new(vec![7; len]);
            let id = send_kept(&pair, &kept, completes);
            assert_eq!(Arc::strong_count(&kept), 2);
            for _ in 0..2 {
                assert!(pair.a.await_buffered(id, at_once).expect("known"));
                assert_eq!(Arc::strong_count(&kept), 1, "it is not held any more");
            }
            assert!(!pair.a.look_at(id).expect("known").2, "it is not over");
            arrives(&pair, len, 7);
            let done = pair.a.wait(id, Some(PATIENCE)).expect("known");
            let done = done.expect("over");
            assert_eq!((done.status, done.len), (Status::Success, len));
        }
    }
    // What is short is copied where it is posted, and what is long is read where it is.
    let matched = outgoing(3, Completes::WhenMatched, 15);
    let short = pair.a.post_short(&pair.to_b, &[7; 128], matched);
    let short = short.expect("sent");
    assert!(pair.a.await_buffered(short, at_once).expect("known"));
    arrives(&pair, 128, 7);
    let kept = Arc::new(vec![7; (32 << 10) + 1]);
    let long = send_kept(&pair, &kept, Completes::WhenDelivered);
    assert!(!pair.a.await_buffered(long, SOON).expect("known"));
    arrives(&pair, kept.len(), 7);
    assert!(pair.a.await_buffered(long, Some(PATIENCE)).expect("known"));
    for id in [short, long] {
        assert!(pair.a.wait(id, Some(PATIENCE)).expect("known").is_some());
        let gone = pair.a.await_buffered(id, at_once);
        assert!(matches!(gone, Err(Error::UnknownRequest)));
    }
}

/// 16 MiB may be copied: 512 of these.
#[test]
fn no_more_is_copied_than_may_be_kept_and_the_room_comes_back() {
    let pair = Pair::new();
    let kept = Arc::new(vec![7; 32 << 10]);
    for _ in 0..2 {
        let send = |_| send_kept(&pair, &kept, Completes::WhenMatched);
        let sends: Vec<_> = (0..515).map(send).collect();
        for (at, id) in sends.iter().enumerate() {
            let given = pair.a.await_buffered(*id, Some(Duration::ZERO));
            assert_eq!(given.expect("known"), at < 512, "number {at}");
        }
        for id in &sends[..100] {
            pair.a.forget(*id).expect("known");
        }
        // The last three get theirs when others are over.
        for _ in &sends {
            arrives(&pair, 32 << 10, 7);
        }
        for id in &sends[100..] {
            assert!(pair.a.wait(*id, Some(PATIENCE)).expect("known").is_some());
        }
        let until = std::time::Instant::now() + PATIENCE;
        while pair.a.pending_requests() > 0 {
            assert!(std::time::Instant::now() < until, "something is kept");
            pair.a.progress();
        }
    }
}
