//! Two threads, every byte verified, both asleep as often as they may be.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use myrixen_ring::{Capacity, Consumer, Kind, Layout, Producer, QueuePair, Side, Support, Terms};
use myrixen_shm::{Access, Pages, memfd};

/// A doorbell as an eventfd is one: rings are remembered, and merged.
#[derive(Clone, Default)]
struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    fn ring(&self) {
        *self.0.0.lock().expect("no panic") = true;
        self.0.1.notify_one();
    }

    fn wait(&self) {
        let rung = self.0.0.lock().expect("no panic");
        *self.0.1.wait_while(rung, |rung| !*rung).expect("no panic") = false;
    }
}

/// The same numbers on both sides.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Mostly small frames, some as long as there can be.
    fn frame(&mut self, largest: usize) -> Vec<u8> {
        let limit = if self.next().is_multiple_of(16) {
            largest + 1
        } else {
            120
        };
        let len = usize::try_from(self.next()).expect("31 bits") % limit;
        let first = self.next().to_le_bytes()[0];
        (first..=255).chain(0..first).cycle().take(len).collect()
    }
}

fn write(producer: &mut Producer, count: u64, seed: u64, theirs: &Bell, ours: &Bell) {
    let mut numbers = Numbers(seed);
    let largest = producer.largest_frame();
    for number in 0..count {
        let frame = numbers.frame(largest);
        let mut slot = loop {
            // Asked twice, since a slot that is kept by a loop borrows the producer until the end of it.
            if producer.room_for(frame.len(), 0).expect("honest") {
                break producer
                    .reserve(frame.len(), 0)
                    .expect("honest")
                    .expect("room");
            }
            if producer.needs_bell() {
                theirs.ring();
            }
            if producer.set_starved(frame.len(), 0).expect("honest") {
                ours.wait();
            }
        };
        slot.write(0, &frame);
        slot.publish(Kind::Frame);
        // Bursts, so that one bell stands for several records.
        if number % 3 == 0 && producer.needs_bell() {
            theirs.ring();
        }
    }
    producer.close();
    theirs.ring();
}

fn read(consumer: &mut Consumer, seed: u64, theirs: &Bell, ours: &Bell) -> u64 {
    let mut numbers = Numbers(seed);
    let largest = 2048 - 8;
    let mut count = 0;
    loop {
        let closed = consumer.is_closed();
        for _ in 0..17 {
            let Some(record) = consumer.peek().expect("honest") else {
                break;
            };
            let mut frame = vec![0; record.len()];
            consumer.read(&record, 0, &mut frame);
            assert!(frame == numbers.frame(largest), "frame {count}");
            consumer.advance(record);
            count += 1;
        }
        if consumer.release() {
            theirs.ring();
        }
        if count % 2 == 0 {
            // Then the producer does not fence, and we give notice.
            consumer.look_on();
        }
        let sleep = consumer.prepare_sleep();
        if sleep.ring {
            theirs.ring();
        }
        if sleep.may_sleep {
            if closed {
                return count;
            }
            ours.wait();
            consumer.end_sleep();
        }
    }
}

#[test]
fn every_frame_arrives_once_whole_and_in_order_while_both_sides_sleep() {
    let count = if cfg!(miri) { 60 } else { 200_000 };
    let terms = Terms {
        layout: Layout::new(Capacity::MIN, Capacity::MIN),
        support: Support::OURS,
    };
    let len = terms.layout.total();
    // Two mappings, as two processes have them; Miri knows only one.
    let (front_pages, back_pages) = if cfg!(miri) {
        let pages = Pages::private(len).expect("memory");
        (pages.clone(), pages)
    } else {
        let (fd, pages) = memfd("stress", len).expect("memory");
        (
            pages,
            Pages::map(&fd, 0, len, Access::ReadWrite).expect("mapped"),
        )
    };
    let mut front = QueuePair::create(front_pages, &terms, Side::Front).expect("made");
    let mut back = QueuePair::join(back_pages, &terms, Side::Back).expect("joined");
    // One bell for each half, so that neither swallows what was meant for the other.
    let [to_back, to_back_room, to_front, to_front_room] = [(); 4].map(|()| Bell::default());

    thread::scope(|scope| {
        scope.spawn(|| write(&mut front.producer, count, 1, &to_back, &to_front_room));
        scope.spawn(|| write(&mut back.producer, count, 2, &to_front, &to_back_room));
        let reader = scope.spawn(|| read(&mut back.consumer, 1, &to_front_room, &to_back));
        assert_eq!(
            read(&mut front.consumer, 2, &to_back_room, &to_front),
            count
        );
        assert_eq!(reader.join().expect("no panic"), count);
    });
}
