//! How many instructions the engine's hot paths take: `cargo xtask instructions`.
//!
//! Each bench does [`OPERATIONS`] operations between two endpoints that have met and have exchanged messages of the same kind
//! before, so that nothing allocates any more. The frames that it takes in, or the requests whose frames it takes out, are
//! prepared before the count begins. Operations are driven as `myrixen` does it: events after each frame, frames to
//! be sent after a burst. Nothing that is counted calls into libc, whose functions differ from processor to processor.

#![allow(missing_docs, reason = "what the macros make")]

mod pair;

use std::hint::black_box;

use gungraun::prelude::*;
use pair::{MEDIUM, Pair, TINY};

/// Operations in one count. The figures are divided by it: `OPERATIONS` of `xtask/src/instructions`.
const OPERATIONS: usize = 100;

/// Frames taken in between two looks at what is to be sent.
const BURST: usize = 20;

/// Fragments in a message of `MEDIUM` bytes.
const FRAGMENTS: usize = 4;

fn warm() -> Box<Pair> {
    let mut pair = Box::new(Pair::new());
    for len in [TINY, MEDIUM] {
        pair.warm(len, OPERATIONS);
    }
    pair
}

/// Messages to be sent, and nothing posted for them.
fn queued(len: u32, count: usize) -> Box<Pair> {
    let mut pair = warm();
    (0..count).for_each(|_| pair.send(len));
    pair
}

/// The frames of messages that have arrived, and not been looked at.
fn arrived(len: u32, count: usize) -> Box<Pair> {
    let mut pair = queued(len, count);
    pair.collect();
    assert_eq!(pair.frames.len(), OPERATIONS);
    pair
}

/// Among so many receives that the one meant is found by hashing.
fn arrived_among_many() -> Box<Pair> {
    let mut pair = arrived(TINY, OPERATIONS);
    (0..32).for_each(|other| pair.to.post_other(other));
    pair
}

/// A fragment is an operation: the receives of their messages are part of the setting.
fn arrived_medium() -> Box<Pair> {
    let mut pair = arrived(MEDIUM, OPERATIONS / FRAGMENTS);
    (0..OPERATIONS / FRAGMENTS).for_each(|_| pair.post(MEDIUM));
    pair
}

/// One large message of which much is asked for.
fn asked() -> Box<Pair> {
    let mut pair = Box::new(Pair::new());
    (0..3).for_each(|_| pair.warm(pair::LARGE, 1));
    pair.post(pair::LARGE);
    pair.send(pair::LARGE);
    pair.collect();
    pair.deliver();
    pair.ask();
    pair
}

fn replies() -> Box<Pair> {
    let mut pair = asked();
    pair.collect();
    assert!(pair.frames.len() > OPERATIONS);
    pair.frames.truncate(OPERATIONS);
    pair
}

/// Acknowledgements of messages, one each.
fn acknowledged() -> Box<Pair> {
    let mut pair = warm();
    for _ in 0..OPERATIONS {
        pair.post(TINY);
        pair.send(TINY);
    }
    pair.collect();
    pair.acknowledge_each();
    assert_eq!(pair.frames.len(), OPERATIONS);
    pair
}

#[inline(always)]
fn receive_matched(pair: &mut Pair) {
    for burst in pair.frames.chunks(BURST) {
        for frame in burst {
            pair.to.post(TINY);
            pair.to.take(black_box(frame));
        }
        while let Some(frame) = pair.to.transmit() {
            black_box(frame);
        }
    }
}

// A message of 8 bytes is posted, and its frame made.
#[library_benchmark]
#[bench::engine(setup = warm)]
fn send_tiny(mut pair: Box<Pair>) -> Box<Pair> {
    for _ in 0..OPERATIONS {
        pair.send(TINY);
        black_box(pair.from.transmit());
    }
    pair
}

// The same by the short way.
#[library_benchmark]
#[bench::engine(setup = warm)]
fn send_tiny_now(mut pair: Box<Pair>) -> Box<Pair> {
    let mut frame = mxoe::engine::Transmit::new();
    for _ in 0..OPERATIONS {
        black_box(pair.from.send_now(TINY, &mut frame));
    }
    pair
}

// A sender hears that a message of 8 bytes was received, and its request ends.
#[library_benchmark]
#[bench::engine(setup = acknowledged)]
fn acknowledge_tiny(mut pair: Box<Pair>) -> Box<Pair> {
    for frame in &pair.frames {
        pair.from.take(black_box(frame));
    }
    pair
}

// A receive is posted, a message of 8 bytes arrives for it, and the receive ends.
#[library_benchmark]
#[bench::engine(setup = arrived, args = (TINY, OPERATIONS))]
fn receive_tiny_matched(mut pair: Box<Pair>) -> Box<Pair> {
    receive_matched(&mut pair);
    pair
}

// The same by the short way.
#[library_benchmark]
#[bench::engine(setup = arrived, args = (TINY, OPERATIONS))]
fn receive_tiny_now(mut pair: Box<Pair>) -> Box<Pair> {
    for burst in pair.frames.chunks(BURST) {
        for frame in burst {
            pair.to.post(TINY);
            pair.to.take_now(black_box(frame));
        }
        while let Some(frame) = pair.to.transmit() {
            black_box(frame);
        }
    }
    pair
}

// The same for a program that waits for it, and has posted no receive.
#[library_benchmark]
#[bench::engine(setup = arrived, args = (TINY, OPERATIONS))]
fn receive_tiny_unposted(mut pair: Box<Pair>) -> Box<Pair> {
    for burst in pair.frames.chunks(BURST) {
        for frame in burst {
            pair.to.take_unposted(black_box(frame), TINY);
        }
        while let Some(frame) = pair.to.transmit() {
            black_box(frame);
        }
    }
    pair
}

// The same, with 32 other receives posted.
#[library_benchmark]
#[bench::engine(setup = arrived_among_many)]
fn receive_tiny_among_many(mut pair: Box<Pair>) -> Box<Pair> {
    receive_matched(&mut pair);
    pair
}

// A message of 8 bytes arrives for which nobody waits, and a receive takes it from the store.
#[library_benchmark]
#[bench::engine(setup = arrived, args = (TINY, OPERATIONS))]
fn receive_tiny_unexpected(mut pair: Box<Pair>) -> Box<Pair> {
    for burst in pair.frames.chunks(BURST) {
        for frame in burst {
            pair.to.take(black_box(frame));
        }
        for _ in burst {
            pair.to.post(TINY);
            pair.to.events();
        }
        while let Some(frame) = pair.to.transmit() {
            black_box(frame);
        }
    }
    pair
}

// A fragment of a MEDIUM is made; one in four is the first of its message.
#[library_benchmark]
#[bench::engine(setup = queued, args = (MEDIUM, OPERATIONS / FRAGMENTS))]
fn send_medium_fragment(mut pair: Box<Pair>) -> Box<Pair> {
    for _ in 0..OPERATIONS {
        black_box(pair.from.transmit());
    }
    pair
}

// A fragment of a MEDIUM arrives for a posted receive; one in four completes its message.
#[library_benchmark]
#[bench::engine(setup = arrived_medium)]
fn receive_medium_fragment(mut pair: Box<Pair>) -> Box<Pair> {
    pair.take_in_bursts();
    pair
}

// A piece of a large message is made that was asked for.
#[library_benchmark]
#[bench::engine(setup = asked)]
fn send_pull_reply(mut pair: Box<Pair>) -> Box<Pair> {
    for _ in 0..OPERATIONS {
        black_box(pair.from.transmit());
    }
    pair
}

// A piece of a large message arrives; for some of them the next block is asked for.
#[library_benchmark]
#[bench::engine(setup = replies)]
fn receive_pull_reply(mut pair: Box<Pair>) -> Box<Pair> {
    pair.take_in_bursts();
    pair
}

library_benchmark_group!(
    name = engine,
    benchmarks = [
        send_tiny,
        send_tiny_now,
        acknowledge_tiny,
        receive_tiny_matched,
        receive_tiny_now,
        receive_tiny_unposted,
        receive_tiny_among_many,
        receive_tiny_unexpected,
        send_medium_fragment,
        receive_medium_fragment,
        send_pull_reply,
        receive_pull_reply,
    ]
);

main!(library_benchmark_groups = engine);
