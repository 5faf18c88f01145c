//! Numbered messages of mixed sizes, all different, both ways at once.

use std::collections::VecDeque;
use std::sync::OnceLock;

use myrixen::{Match, RecvRequest, SendRequest};

use super::Side;

/// Around every boundary between kinds of messages; 0 bytes to 1 MiB.
const LENGTHS: [usize; 16] = [
    0,
    1,
    32,
    33,
    128,
    129,
    1_400,
    4_096,
    8_192,
    20_000,
    32_768,
    32_769,
    100_000,
    286_977,
    500_001,
    1 << 20,
];
const LONGEST: usize = 1 << 20;
/// How many places in the noise messages begin at: more than there are messages in a stream.
const PLACES: usize = 65_521;
/// Sends, and receives, under way at the same time.
const WINDOW: usize = 5;

/// Bytes without a pattern, the same each time.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = std::iter::repeat_with(|| {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}

/// Message `number` of a stream. Which message it is, its match bits tell, and from some bytes on its content.
fn message(number: usize) -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| noise(PLACES + LONGEST));
    // 7 and 16 have no common factor: every length, in another order than by size.
    let len = LENGTHS[number * 7 % LENGTHS.len()];
    let at = number * 7919 % PLACES;
    &noise[at..at + len]
}

/// Sends messages 0 to `count` in every manner there is.
fn send_all(side: &Side, count: usize) {
    let (endpoint, to) = (&side.endpoint, &side.other);
    let mut under_way: VecDeque<SendRequest<Vec<u8>>> = VecDeque::new();
    for number in 0..count {
        let bits = number as u64;
        let content = message(number);
        match number % 5 {
            0 => endpoint.send(to, bits, content).expect("no error is seen"),
            1 => {
                let request = endpoint.issend(to, bits, content.to_vec());
                under_way.push_back(request.expect("started"));
            }
            _ => {
                let request = endpoint.isend(to, bits, content.to_vec());
                under_way.push_back(request.expect("started"));
            }
        }
        if under_way.len() >= WINDOW
            && let Some(oldest) = under_way.pop_front()
        {
            drop(endpoint.wait_send(oldest).expect("no error is seen"));
        }
    }
    for request in under_way {
        drop(endpoint.wait_send(request).expect("no error is seen"));
    }
}

/// Receives messages 0 to `count`, by receives that take anything: each once, in order, unchanged.
fn receive_all(side: &Side, count: usize) {
    let endpoint = &side.endpoint;
    let post = |buffer: Vec<u8>| endpoint.irecv(Match::any(), buffer).expect("posted");
    let mut posted: VecDeque<RecvRequest<Vec<u8>>> = (0..WINDOW.min(count))
        .map(|_| post(vec![0; LONGEST + 1]))
        .collect();
    for number in 0..count {
        let next = posted.pop_front().expect("one for each message");
        let (buffer, got) = endpoint.wait_recv(next).expect("no error is seen");
        let sent = message(number);
        assert_eq!(got.bits, number as u64, "lost, doubled or out of order");
        assert_eq!((got.message_len, got.len), (sent.len(), sent.len()));
        assert_eq!(got.source, side.other.address());
        assert!(buffer[..got.len] == *sent, "message {number} has changed");
        if number + WINDOW < count {
            posted.push_back(post(buffer));
        }
    }
}

/// Each side sends the other `count` messages, at the same time.
pub(crate) fn exchange(sides: &[Side; 2], count: usize) {
    std::thread::scope(|scope| {
        for side in sides {
            scope.spawn(|| send_all(side, count));
            scope.spawn(|| receive_all(side, count));
        }
    });
    for side in sides {
        assert_eq!(side.endpoint.iprobe(Match::any()), None, "nothing is left");
        assert_eq!(side.endpoint.counters().partners_lost, 0);
    }
}

/// The first side sends one message of `len` bytes to the second.
pub(crate) fn transfer(sides: &[Side; 2], len: usize) {
    let [from, to] = sides;
    let sent = noise(len);
    let receive = to.endpoint.irecv(Match::exact(1), vec![0; len]);
    let receive = receive.expect("posted");
    let got = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| to.endpoint.wait_recv(receive).expect("no error is seen"));
        let result = from.endpoint.send(&from.other, 1, &sent);
        result.expect("no error is seen");
        receiver.join().expect("received")
    });
    assert_eq!(got.1.len, len);
    assert!(got.0 == sent, "the message has changed");
}
