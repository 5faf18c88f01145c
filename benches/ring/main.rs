//! How many instructions a ring takes: `cargo xtask instructions`.
//!
//! Each bench takes [`OPERATIONS`] frames of 48 bytes, those of a TINY of 8 bytes, through one end of a ring, in bursts. The
//! ring has been filled and emptied before, and has room for all of them. Nothing that is counted calls into libc, whose
//! functions differ from processor to processor.

#![allow(missing_docs, reason = "what the macros make")]

use std::hint::black_box;

use gungraun::prelude::*;
use myrixen_ring::{Capacity, Kind, Layout, QueuePair, Side, Support, Terms};
use myrixen_shm::Pages;

/// Operations in one count. The figures are divided by it: `OPERATIONS` of `xtask/src/instructions`.
const OPERATIONS: usize = 100;

/// Frames in a burst: between two questions for the bell, and between two releases.
const BURST: usize = 20;

/// A TINY of 8 bytes.
const FRAME: [u8; 48] = [0x5a; 48];

/// The two ends of a queue pair. What they do is never inlined, so that a bench more or less leaves the others' figures as
/// they are.
struct Pair {
    front: QueuePair,
    back: QueuePair,
}

impl Pair {
    #[inline(never)]
    fn produce(&mut self) {
        for _ in 0..OPERATIONS / BURST {
            for _ in 0..BURST {
                let frame = black_box(&FRAME);
                let slot = self.front.producer.reserve(frame.len(), 0);
                let mut slot = slot.expect("an honest peer").expect("room");
                slot.write(0, frame);
                slot.publish(Kind::Frame);
            }
            black_box(self.front.producer.needs_bell());
        }
    }

    #[inline(never)]
    fn consume(&mut self) {
        for _ in 0..OPERATIONS / BURST {
            for _ in 0..BURST {
                let record = self.back.consumer.peek().expect("an honest peer");
                let record = record.expect("a record");
                let mut frame = [0; FRAME.len()];
                self.back.consumer.read(&record, 0, &mut frame);
                black_box(&frame);
                self.back.consumer.advance(record);
            }
            black_box(self.back.consumer.release());
        }
    }
}

/// An empty ring of 256 lines, in which a few hundred records have lain.
fn empty() -> Box<Pair> {
    let capacity = Capacity::new(1 << 14).expect("a power of two within the bounds");
    let terms = Terms {
        layout: Layout::new(capacity, capacity),
        support: Support::OURS,
    };
    let pages = Pages::private(terms.layout.total()).expect("memory");
    let front = QueuePair::create(pages.clone(), &terms, Side::Front);
    let back = QueuePair::join(pages, &terms, Side::Back);
    let mut pair = Box::new(Pair {
        front: front.expect("good terms"),
        back: back.expect("the same terms"),
    });
    for _ in 0..4 {
        pair.produce();
        pair.consume();
    }
    pair
}

/// A ring in which all frames lie.
fn full() -> Box<Pair> {
    let mut pair = empty();
    pair.produce();
    pair
}

// A frame of 48 bytes is written to a ring.
#[library_benchmark]
#[bench::ring(setup = empty)]
fn ring_produce(mut pair: Box<Pair>) -> Box<Pair> {
    pair.produce();
    pair
}

// A frame of 48 bytes is copied out of a ring.
#[library_benchmark]
#[bench::ring(setup = full)]
fn ring_consume(mut pair: Box<Pair>) -> Box<Pair> {
    pair.consume();
    pair
}

library_benchmark_group!(name = ring, benchmarks = [ring_produce, ring_consume]);

main!(library_benchmark_groups = ring);
