//! What a ring costs on this machine: half round trips and one-way rates between two spinning threads, beside
//! the same exchange over one bare word. Prints figures; judges nothing.
//!
//! `cargo run --release -p myrixen-ring --example rate`

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use myrixen_ring::{Capacity, Consumer, Kind, Layout, Producer, QueuePair, Side, Support, Terms};
use myrixen_shm::Pages;

/// Frames between two looks whether the consumer sleeps.
const BURST: u64 = 16;

/// A frame's worth of bytes on a line of its own, for the yardstick.
#[repr(align(128))]
struct Line(AtomicU64);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{:<28}{:>12}",
        "bare line, half round trip",
        format!("{:.0} ns", bare_line(1_000_000))
    );
    for size in [16, 48, 64, 256, 1024, 4096] {
        let ns = ping_pong(size, 500_000)?;
        println!(
            "{:<28}{:>12}",
            format!("{size} B, half round trip"),
            format!("{ns:.0} ns")
        );
    }
    for size in [48, 64, 256, 1024, 4096, 8192, 32768] {
        let count = (2_000_000_000 / (size as u64 + 200)).min(10_000_000);
        let seconds = one_way(size, count)?;
        let rate = count as f64 / seconds;
        println!(
            "{:<28}{:>12}{:>14}",
            format!("{size} B, one way"),
            format!("{:.2} M/s", rate / 1e6),
            format!("{:.0} MB/s", rate * size as f64 / 1e6)
        );
    }
    Ok(())
}

/// Nanoseconds for one transfer of a line between two cores.
fn bare_line(rounds: u64) -> f64 {
    let lines = [Line(AtomicU64::new(0)), Line(AtomicU64::new(0))];
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds {
                while lines[0].0.load(Ordering::Acquire) != round {
                    spin_loop();
                }
                lines[1].0.store(round, Ordering::Release);
            }
        });
        for round in 1..=rounds {
            lines[0].0.store(round, Ordering::Release);
            while lines[1].0.load(Ordering::Acquire) != round {
                spin_loop();
            }
        }
    });
    start.elapsed().as_nanos() as f64 / rounds as f64 / 2.0
}

fn pair() -> Result<(QueuePair, QueuePair), Box<dyn std::error::Error>> {
    let capacity = Capacity::new(1 << 18)?;
    let terms = Terms {
        layout: Layout::new(capacity, capacity),
        support: Support::OURS,
    };
    let pages = Pages::private(terms.layout.total())?;
    let front = QueuePair::create(pages.clone(), &terms, Side::Front)?;
    Ok((front, QueuePair::join(pages, &terms, Side::Back)?))
}

fn send(producer: &mut Producer, frame: &[u8]) {
    loop {
        if let Some(mut slot) = producer.reserve(frame.len(), 0).expect("an honest peer") {
            slot.write(0, frame);
            slot.publish(Kind::Frame);
            return;
        }
        spin_loop();
    }
}

fn receive(consumer: &mut Consumer, into: &mut [u8]) -> usize {
    loop {
        if let Some(record) = consumer.peek().expect("an honest peer") {
            let len = record.len();
            consumer.read(&record, 0, &mut into[..len]);
            consumer.advance(record);
            return len;
        }
        let _ = consumer.release();
        spin_loop();
    }
}

/// Nanoseconds for a frame of `size` bytes, bell check included.
fn ping_pong(size: usize, rounds: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let (mut front, mut back) = pair()?;
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut frame = vec![0; size];
            for _ in 0..rounds {
                let len = receive(&mut back.consumer, &mut frame);
                send(&mut back.producer, &frame[..len]);
                assert!(!back.producer.needs_bell());
            }
        });
        let mut frame = vec![1; size];
        for _ in 0..rounds {
            send(&mut front.producer, &frame);
            assert!(!front.producer.needs_bell());
            receive(&mut front.consumer, &mut frame);
        }
    });
    Ok(start.elapsed().as_nanos() as f64 / rounds as f64 / 2.0)
}

/// Seconds for `count` frames of `size` bytes in one direction.
fn one_way(size: usize, count: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let (mut front, mut back) = pair()?;
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut frame = vec![0; size];
            for _ in 0..count {
                receive(&mut back.consumer, &mut frame);
                let _ = back.consumer.release();
            }
        });
        let frame = vec![1; size];
        for number in 0..count {
            send(&mut front.producer, &frame);
            if number % BURST == 0 {
                assert!(!front.producer.needs_bell());
            }
        }
    });
    Ok(start.elapsed().as_secs_f64())
}
