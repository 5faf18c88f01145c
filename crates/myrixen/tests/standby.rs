//! Receives that short messages complete without their having been posted: nobody can tell them from others.

mod pair;

use myrixen::{Match, RequestId, Status, Wait};
use pair::{PATIENCE, Pair, SOON};

/// Both ways in which a program may wait.
fn pairs() -> [Pair; 2] {
    [Wait::Spin, Wait::Sleep].map(|wait| {
        let pair = Pair::new();
        for endpoint in [&pair.a, &pair.b] {
            endpoint.set_wait(wait);
        }
        pair
    })
}

impl Pair {
    fn post(&self, matching: Match, room: usize) -> RequestId {
        let posted = self.b.post_recv(matching, vec![0_u8; room], 7);
        posted.expect("posted")
    }

    fn send(&self, bits: u64, payload: &[u8]) {
        self.a.send(&self.to_b, bits, payload).expect("sent");
    }

    /// What a receive has got: how it went, the length of the message, the bytes.
    fn got(&self, id: RequestId) -> (Status, usize, Vec<u8>) {
        let done = self.b.wait(id, Some(PATIENCE)).expect("known");
        let done = done.expect("it came");
        let (status, whole, len) = (done.status, done.message_len, done.len);
        assert_eq!(done.peer, Some(self.to_a));
        let bytes: Vec<u8> = done.into_buffer().expect("the buffer that was given");
        (status, whole, bytes[..len].to_vec())
    }
}

#[test]
fn messages_go_to_receives_in_the_order_in_which_these_were_posted() {
    for pair in pairs() {
        for _ in 0..200 {
            let [first, second] = [pair.post(Match::any(), 8), pair.post(Match::any(), 8)];
            pair.send(1, b"first");
            pair.send(2, b"second");
            assert_eq!(pair.got(second), (Status::Success, 6, b"second".to_vec()));
            assert_eq!(pair.got(first), (Status::Success, 5, b"first".to_vec()));
        }
    }
}

#[test]
fn whatever_comes_is_received_as_it_would_be_otherwise() {
    for pair in pairs() {
        let long: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        for len in [0, 1, 8, 20, 128, 129, 5000, 100_000] {
            for room in [0, 8, 128] {
                let id = pair.post(Match::exact(3).from(&pair.to_a), room);
                // Sends bring nothing: it goes on standing by.
                pair.b.send(&pair.to_a, 9, b"back").expect("sent");
                let sent = std::thread::scope(|scope| {
                    let send = scope.spawn(|| pair.send(3, &long[..len]));
                    let got = pair.got(id);
                    send.join().expect("sent");
                    got
                });
                let fits = len.min(room);
                let status = match fits < len {
                    true => Status::Truncated,
                    false => Status::Success,
                };
                assert_eq!(
                    sent,
                    (status, len, long[..fits].to_vec()),
                    "{len} in {room}"
                );
                let mut back = [0; 8];
                pair.a
                    .recv(Match::exact(9), &mut back)
                    .expect("it came back");
            }
        }
    }
}

#[test]
fn what_is_not_for_it_waits_for_another() {
    for pair in pairs() {
        let first = pair.post(Match::exact(1), 8);
        pair.send(2, b"other");
        while pair.b.iprobe(Match::any()).is_none() {}
        let done = pair.b.wait(first, SOON).expect("known");
        assert!(done.is_none(), "nothing for it has come");
        let second = pair.post(Match::any(), 8);
        assert_eq!(pair.got(second), (Status::Success, 5, b"other".to_vec()));
        pair.send(1, b"own");
        assert_eq!(pair.got(first), (Status::Success, 3, b"own".to_vec()));
    }
}

#[test]
fn it_is_taken_back_and_what_it_would_have_got_goes_to_the_next() {
    for pair in pairs() {
        let first = pair.post(Match::any(), 8);
        assert!(pair.b.take_back(first).expect("known"));
        pair.send(1, b"text");
        assert!(pair.b.wait(first, SOON).is_err(), "it is gone");
        let second = pair.post(Match::any(), 8);
        assert_eq!(pair.got(second), (Status::Success, 4, b"text".to_vec()));
    }
}

#[test]
fn it_ends_when_its_time_is_over_or_its_peer_is_lost() {
    for pair in pairs() {
        let id = pair.post(Match::any(), 8);
        pair.b.set_timeout(id, SOON).expect("known");
        let done = pair.b.wait(id, Some(PATIENCE)).expect("known");
        assert_eq!(done.expect("over").status, Status::Timeout);
        let id = pair.post(Match::any().from(&pair.to_a), 8);
        pair.b.break_off(&pair.to_a);
        let done = pair.b.wait(id, Some(PATIENCE)).expect("known");
        assert!(done.expect("over").result().is_err());
    }
}

#[test]
fn threads_that_share_an_endpoint_get_each_its_own() {
    const COUNT: u64 = 2000;
    for pair in pairs() {
        let pair = &pair;
        std::thread::scope(|scope| {
            for thread in 0..2_u64 {
                scope.spawn(move || {
                    for number in 0..COUNT {
                        let id = pair.post(Match::exact(thread << 32 | number), 8);
                        let (_, _, bytes) = pair.got(id);
                        assert_eq!(bytes, number.to_le_bytes(), "thread {thread}");
                    }
                });
            }
            for number in 0..COUNT {
                for thread in 0..2 {
                    pair.send(thread << 32 | number, &number.to_le_bytes());
                }
            }
        });
    }
}
