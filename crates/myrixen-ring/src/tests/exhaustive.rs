//! The index arithmetic, for every sequence of steps from every position of small rings, against a model with
//! unbounded positions.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use crate::layout::{Features, Ring};
use crate::memory::Memory;
use crate::{Consumer, Kind, Producer};

const RECORDS: usize = 512;

/// Plain memory of one thread.
#[derive(Clone)]
struct Cells(Rc<RefCell<Vec<u8>>>);

impl Memory for Cells {
    fn load_u32(&self, offset: usize, _: Ordering) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn store_u32(&self, offset: usize, value: u32, _: Ordering) {
        self.write(offset, &value.to_le_bytes());
    }

    fn load_u64(&self, offset: usize, _: Ordering) -> u64 {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn store_u64(&self, offset: usize, value: u64, _: Ordering) {
        self.write(offset, &value.to_le_bytes());
    }

    fn fence(&self) {}

    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.0.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

/// A ring, and what must be true of it. Positions of the model do not wrap.
struct Checked {
    producer: Producer<Cells>,
    consumer: Consumer<Cells>,
    lines: u64,
    tail: u64,
    /// Where each published record ends, its frame's length and its filling.
    records: VecDeque<(u64, usize, u8)>,
    head: u64,
    consumed: u64,
    published: u8,
}

impl Checked {
    fn new(lines: u32, position: u32) -> Self {
        let ring = Ring::with_lines(0, RECORDS, lines);
        // Whatever was in the pages before: only the header word at the start is defined.
        let cells = Cells(Rc::new(RefCell::new(vec![
            0xff;
            RECORDS + lines as usize * 64
        ])));
        for word in [ring.consumed, ring.sleeping, ring.starved, ring.closed] {
            cells.store_u32(word, 0, Ordering::Relaxed);
        }
        cells.store_u32(ring.consumed, position, Ordering::Relaxed);
        cells.store_u64(ring.place(position), 0, Ordering::Relaxed);
        let start = u64::from(position);
        Self {
            producer: Producer::new(cells.clone(), ring, Features::empty(), position),
            consumer: Consumer::new(cells, ring, Features::empty(), position),
            lines: u64::from(lines),
            tail: start,
            records: VecDeque::new(),
            head: start,
            consumed: start,
            published: 0,
        }
    }

    /// The lines that a record of `k` lines takes with the pad before it.
    fn with_pad(&self, k: u64) -> u64 {
        let to_end = self.lines - self.tail % self.lines;
        if k <= to_end { k } else { to_end + k }
    }

    /// Reserves `k` whole lines and fills them; publishes `publish` lines of them, if any.
    fn produce(&mut self, k: u64, publish: Option<u64>) {
        let frame = |lines: u64| usize::try_from(lines).expect("small") * 64 - 8;
        let takes = self.with_pad(k);
        let room = takes < self.lines - (self.tail - self.consumed);
        let slot = self.producer.reserve(frame(k), 0).expect("an honest peer");
        assert_eq!(
            slot.is_some(),
            room,
            "{k} lines at {} of {}, consumed {}",
            self.tail,
            self.lines,
            self.consumed
        );
        let Some(mut slot) = slot else { return };
        let fill = 0x80 | self.published;
        slot.write(0, &vec![fill; frame(k)]);
        let Some(publish) = publish else { return };
        if publish < k {
            slot.truncate(frame(publish));
        }
        slot.publish(Kind::Frame);
        self.published += 1;
        self.tail += takes - k + publish;
        self.records.push_back((self.tail, frame(publish), fill));
    }

    fn consume(&mut self) {
        let record = self.consumer.peek().expect("an honest peer");
        let expected = self.records.pop_front();
        let Some((end, len, fill)) = expected else {
            assert_eq!(record, None, "nothing was published");
            return;
        };
        let record = record.expect("what was published");
        assert_eq!(record.len(), len);
        let mut frame = vec![0; len];
        self.consumer.read(&record, 0, &mut frame);
        assert_eq!(frame, vec![fill; len]);
        self.consumer.advance(record);
        self.head = end;
    }

    fn release(&mut self) {
        // The ring's policy is tested elsewhere: here everything is given back.
        assert!(!self.consumer.prepare_sleep().ring);
        self.consumer.end_sleep();
        self.consumed = self.head;
    }

    fn drain(&mut self) {
        while !self.records.is_empty() {
            self.consume();
        }
        self.consume();
        self.release();
    }
}

/// What the digits of a sequence mean: records of 1.. lines, one longest that is published with one line, one longest that
/// is abandoned, one consumed, a release.
fn step(checked: &mut Checked, digit: u64) {
    let largest = checked.lines / 2;
    match digit {
        0 => checked.consume(),
        1 => checked.release(),
        2 => checked.produce(largest, None),
        3 => checked.produce(largest, Some(1)),
        k => checked.produce(k - 3, Some(k - 3)),
    }
}

fn every_sequence(lines: u32, depth: u32) {
    let digits = u64::from(lines / 2) + 4;
    // From every line, once at the beginning of time and once shortly before positions wrap.
    let starts = (0..lines).chain((0..lines).map(|line| u32::MAX - line));
    for start in starts {
        for sequence in 0..digits.pow(depth) {
            let mut checked = Checked::new(lines, start);
            let mut rest = sequence;
            for _ in 0..depth {
                step(&mut checked, rest % digits);
                rest /= digits;
            }
            checked.drain();
            // Empty, so the longest record has room, wherever it begins.
            let tail = checked.tail;
            checked.produce(u64::from(lines / 2), Some(1));
            assert!(checked.tail > tail);
            checked.drain();
        }
    }
}

#[test]
fn two_lines_work_in_every_sequence_of_eight_steps() {
    every_sequence(2, if cfg!(miri) { 2 } else { 8 });
}

#[test]
fn four_lines_work_in_every_sequence_of_six_steps() {
    every_sequence(4, if cfg!(miri) { 2 } else { 6 });
}

#[test]
fn eight_lines_work_in_every_sequence_of_five_steps() {
    every_sequence(8, if cfg!(miri) { 1 } else { 5 });
}
