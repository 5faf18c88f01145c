//! The handshakes under every interleaving and every order that the memory model allows, by loom:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p myrixen-ring --lib`

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::layout::{Features, Ring};
use crate::memory::Memory;
use crate::{Consumer, Kind, Producer};

/// Two lines: every record needs both (one for the stop), so that the ring wraps and fills at once.
const LINES: u32 = 2;
const RECORDS: usize = 512;

/// A ring's memory: four control words, and of each line the header word and one word of frame.
#[derive(Clone)]
struct Shared(Arc<Words>);

struct Words {
    control: [AtomicU32; 4],
    lines: [[AtomicU64; 2]; LINES as usize],
    /// Stands for the plain copies of frames: loom reports when one end reads what the other may be writing.
    frames: [UnsafeCell<()>; LINES as usize],
}

impl Shared {
    fn new() -> Self {
        let control = std::array::from_fn(|_| AtomicU32::new(0));
        let lines = std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0)));
        let frames = std::array::from_fn(|_| UnsafeCell::new(()));
        Self(Arc::new(Words {
            control,
            lines,
            frames,
        }))
    }

    fn control(&self, offset: usize) -> &AtomicU32 {
        assert_eq!(offset % 128, 0);
        &self.0.control[offset / 128]
    }

    fn frame(&self, offset: usize) -> &UnsafeCell<()> {
        &self.0.frames[(offset - RECORDS) / 64]
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        let inner = offset - RECORDS;
        &self.0.lines[inner / 64][inner % 64 / 8]
    }
}

impl Memory for Shared {
    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.control(offset).load(order)
    }

    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.control(offset).store(value, order);
    }

    fn load_u64(&self, offset: usize, order: Ordering) -> u64 {
        self.word(offset).load(order)
    }

    fn store_u64(&self, offset: usize, value: u64, order: Ordering) {
        self.word(offset).store(value, order);
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        self.frame(offset).with(|_| ());
        into.copy_from_slice(&self.load_u64(offset, Ordering::Relaxed).to_le_bytes());
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.frame(offset).with_mut(|_| ());
        let word = u64::from_le_bytes(bytes.try_into().expect("one word"));
        self.store_u64(offset, word, Ordering::Relaxed);
    }
}

/// A doorbell: rings are remembered until they are heard, as with an eventfd.
#[derive(Clone)]
struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    fn ring(&self) {
        let (rung, heard) = &*self.0;
        *rung.lock().expect("no panic") = true;
        heard.notify_one();
    }

    fn wait(&self) {
        let (rung, heard) = &*self.0;
        let mut rung = rung.lock().expect("no panic");
        while !*rung {
            rung = heard.wait(rung).expect("no panic");
        }
        *rung = false;
    }
}

fn ends() -> (Producer<Shared>, Consumer<Shared>) {
    let shared = Shared::new();
    let ring = Ring::with_lines(0, RECORDS, LINES);
    // Positions wrap in the middle.
    let start = u32::MAX;
    shared.store_u32(ring.consumed, start, Ordering::Relaxed);
    let producer = Producer::new(shared.clone(), ring, Features::empty(), start);
    (
        producer,
        Consumer::new(shared, ring, Features::empty(), start),
    )
}

/// Publishes frame number `number` if there is room.
fn publish(producer: &mut Producer<Shared>, number: u64) -> bool {
    let Some(mut slot) = producer.reserve(8, 0).expect("an honest peer") else {
        return false;
    };
    slot.write(0, &number.to_le_bytes());
    slot.publish(Kind::Frame);
    true
}

/// Consumes one frame, if there is one.
fn consume(consumer: &mut Consumer<Shared>) -> Option<u64> {
    let record = consumer.peek().expect("an honest peer")?;
    let mut frame = [0; 8];
    consumer.read(&record, 0, &mut frame);
    consumer.advance(record);
    Some(u64::from_le_bytes(frame))
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn polled_records_arrive_whole_and_in_order() {
    explore(4, || {
        let (mut producer, mut consumer) = ends();
        let writer = thread::spawn(move || {
            for number in 1..=3 {
                while !publish(&mut producer, number) {
                    thread::yield_now();
                }
            }
        });
        for expected in 1..=3 {
            let number = loop {
                match consume(&mut consumer) {
                    Some(number) => break number,
                    None => {
                        let _ = consumer.release();
                        thread::yield_now();
                    }
                }
            };
            assert_eq!(number, expected);
        }
        writer.join().expect("no panic");
    });
}

/// Both ends sleep whenever they may: a bell that is not rung would be a deadlock, which loom reports.
fn sleepers(count: u64) {
    let (mut producer, mut consumer) = ends();
    let (wake_consumer, wake_producer) = (Bell::new(), Bell::new());
    let (consumer_bell, producer_bell) = (wake_consumer.clone(), wake_producer.clone());
    let writer = thread::spawn(move || {
        for number in 1..=count {
            while !publish(&mut producer, number) {
                if producer.set_starved(8, 0).expect("an honest peer") {
                    producer_bell.wait();
                }
            }
            if producer.needs_bell() {
                wake_consumer.ring();
            }
        }
    });
    for expected in 1..=count {
        let number = loop {
            if let Some(number) = consume(&mut consumer) {
                break number;
            }
            let sleep = consumer.prepare_sleep();
            if sleep.ring {
                wake_producer.ring();
            }
            if sleep.may_sleep {
                consumer_bell.wait();
                consumer.end_sleep();
            }
        };
        assert_eq!(number, expected);
    }
    writer.join().expect("no panic");
}

#[test]
fn no_bell_is_missed_by_a_sleeping_consumer() {
    explore(6, || sleepers(1));
}

#[test]
fn no_bell_is_missed_by_either_end() {
    explore(5, || sleepers(2));
}

#[test]
fn no_bell_is_missed_when_sleeps_follow_one_another() {
    explore(3, || sleepers(3));
}

#[test]
fn what_was_published_before_closing_is_found_after_it_was_seen() {
    explore(4, || {
        let (mut producer, mut consumer) = ends();
        let writer = thread::spawn(move || {
            assert!(publish(&mut producer, 1));
            producer.close();
        });
        while !consumer.is_closed() {
            thread::yield_now();
        }
        assert_eq!(consume(&mut consumer), Some(1));
        assert_eq!(consume(&mut consumer), None);
        writer.join().expect("no panic");
    });
}
