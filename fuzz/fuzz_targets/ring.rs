//! Both ends of a queue pair against a peer that writes anything anywhere between any two of their steps, and beside it
//! an honest pair that does the same work and must deliver every byte.

#![no_main]

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use myrixen_ring::{
    Capacity, Kind, Layout, PeerFault, QueuePair, ReserveError, Side, Support, Terms,
};
use myrixen_shm::Pages;

#[derive(Arbitrary, Debug)]
enum Step {
    Scribble {
        at: u16,
        bytes: [u8; 16],
    },
    Header {
        line: u8,
        kind: u8,
        len: u16,
        hint: u8,
    },
    Control {
        word: u8,
        value: u32,
    },
    Near {
        word: u8,
        lines: i8,
    },
    Produce {
        len: u16,
        hint: u8,
    },
    Abandon {
        len: u16,
    },
    Consume {
        most: u8,
    },
    Sleep,
    Starve {
        len: u16,
    },
}

const TOTAL: usize = 4096 * 3;

fuzz_target!(init: myrixen_fuzz::sow("ring"), |steps: Vec<Step>| {
    let terms = Terms {
        layout: Layout::new(Capacity::MIN, Capacity::MIN),
        support: Support::OURS,
    };
    let pages = Pages::private(TOTAL).expect("memory");
    let mut victim = QueuePair::create(pages.clone(), &terms, Side::Back).expect("made");
    let mut honest = Honest::new(&terms);
    for step in &steps {
        // Faults are what a driver detaches for; going on must be harmless all the same.
        let _ = attack(&pages, &mut victim, step);
        honest.step(step);
    }
    honest.drain();
});

fn attack(pages: &Pages, victim: &mut QueuePair, step: &Step) -> Result<(), ReserveError> {
    match *step {
        Step::Scribble { at, bytes } => pages.write(usize::from(at) % (TOTAL - 16), &bytes),
        Step::Header {
            line,
            kind,
            len,
            hint,
        } => {
            let word = u64::from(len) | u64::from(kind) << 32 | u64::from(hint) << 48;
            pages.store_u64(4096 + usize::from(line % 64) * 64, word, Ordering::Relaxed);
        }
        Step::Control { word, value } => pages.store_u32(control(word), value, Ordering::Relaxed),
        Step::Near { word, lines } => {
            let value = pages.load_u32(control(word), Ordering::Relaxed);
            pages.store_u32(
                control(word),
                value.wrapping_add_signed(lines.into()),
                Ordering::Relaxed,
            );
        }
        Step::Produce { len, hint } => {
            if let Some(mut slot) = victim.producer.reserve(len.into(), hint.into())? {
                slot.write(0, &vec![0xee; len.into()]);
                slot.write_hint(&vec![0xdd; hint.into()]);
                slot.publish(Kind::Frame);
            }
            let _ = victim.producer.needs_bell();
        }
        Step::Abandon { len } => {
            if let Some(mut slot) = victim.producer.reserve(len.into(), 0)? {
                slot.write(0, &vec![0xcc; len.into()]);
            }
        }
        Step::Consume { most } => visit(victim, most)?,
        Step::Sleep => {
            if victim.consumer.prepare_sleep().may_sleep {
                victim.consumer.end_sleep();
            }
        }
        Step::Starve { len } => {
            assert!(victim.producer.free()? < 4096);
            let _ = victim.producer.set_starved(len.into(), 0)?;
        }
    }
    Ok(())
}

fn control(word: u8) -> usize {
    256 + usize::from(word % 8) * 128
}

fn visit(victim: &mut QueuePair, most: u8) -> Result<(), PeerFault> {
    for _ in 0..most {
        let Some(record) = victim.consumer.peek()? else {
            break;
        };
        assert!(record.len() + record.hint_len() <= 2048);
        let mut frame = vec![0; record.len()];
        victim.consumer.read(&record, 0, &mut frame);
        let mut hint = vec![0; record.hint_len()];
        victim.consumer.read_hint(&record, &mut hint);
        victim.consumer.advance(record);
    }
    let _ = victim.consumer.release();
    Ok(())
}

/// Two ends that obey the rules, and what is under way between them.
struct Honest {
    front: QueuePair,
    back: QueuePair,
    under_way: VecDeque<(u8, usize, usize)>,
    number: u8,
    asleep: bool,
}

impl Honest {
    fn new(terms: &Terms) -> Self {
        let pages = Pages::private(TOTAL).expect("memory");
        let front = QueuePair::create(pages.clone(), terms, Side::Front).expect("made");
        let back = QueuePair::join(pages, terms, Side::Back).expect("joined");
        Self {
            front,
            back,
            under_way: VecDeque::new(),
            number: 0,
            asleep: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Produce { len, hint } => self.produce(len.into(), hint.into()),
            Step::Abandon { len } => {
                if let Ok(Some(mut slot)) = self.front.producer.reserve(len.into(), 0) {
                    slot.write(0, &vec![0xff; len.into()]);
                }
            }
            Step::Consume { most } => {
                for _ in 0..most {
                    if !self.consume() {
                        break;
                    }
                }
                let _ = self.back.consumer.release();
            }
            Step::Sleep => self.sleep(),
            Step::Starve { len } => _ = self.front.producer.set_starved(len.into(), 0),
            Step::Scribble { .. }
            | Step::Header { .. }
            | Step::Control { .. }
            | Step::Near { .. } => {}
        }
    }

    fn produce(&mut self, len: usize, hint_len: usize) {
        match self.front.producer.reserve(len, hint_len) {
            Ok(Some(mut slot)) => {
                self.number = self.number.wrapping_add(1);
                slot.write(0, &vec![self.number; len]);
                slot.write_hint(&vec![!self.number; hint_len]);
                slot.publish(Kind::Frame);
                self.under_way.push_back((self.number, len, hint_len));
                let due = self.front.producer.needs_bell();
                assert_eq!(due, self.asleep, "a sleeper is rung, and nobody else");
                if due {
                    self.asleep = false;
                    self.back.consumer.end_sleep();
                }
            }
            Ok(None) => {
                assert!(!self.under_way.is_empty() || self.front.producer.free() != Ok(63 * 64))
            }
            Err(error) => assert!(matches!(error, ReserveError::TooLong { .. }), "{error}"),
        }
    }

    fn consume(&mut self) -> bool {
        let found = self.back.consumer.peek().expect("honest");
        let Some((number, len, hint_len)) = self.under_way.pop_front() else {
            assert_eq!(found, None, "nothing was published");
            return false;
        };
        let record = found.expect("what was published");
        assert_eq!((record.len(), record.hint_len()), (len, hint_len));
        let mut frame = vec![0; len];
        self.back.consumer.read(&record, 0, &mut frame);
        assert!(frame.iter().all(|&byte| byte == number));
        let mut hint = vec![0; hint_len];
        self.back.consumer.read_hint(&record, &mut hint);
        assert!(hint.iter().all(|&byte| byte == !number));
        self.back.consumer.advance(record);
        true
    }

    fn sleep(&mut self) {
        if !self.asleep {
            self.asleep = self.back.consumer.prepare_sleep().may_sleep;
            assert_eq!(self.asleep, self.under_way.is_empty());
        }
    }

    fn drain(&mut self) {
        while self.consume() {}
        let _ = self.back.consumer.release();
        assert_eq!(
            self.front.producer.free(),
            Ok(63 * 64),
            "all of it is free again"
        );
    }
}
