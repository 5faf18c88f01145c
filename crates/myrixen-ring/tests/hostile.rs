//! Each end against a peer that writes anything anywhere, at any time.

use std::sync::atomic::Ordering;

use myrixen_ring::{
    Capacity, Kind, Layout, PeerFault, QueuePair, ReserveError, Side, Support, Terms,
};
use myrixen_shm::Pages;
use proptest::prelude::*;

const TOTAL: usize = 4096 * 3;

fn terms() -> Terms {
    Terms {
        layout: Layout::new(Capacity::MIN, Capacity::MIN),
        support: Support::OURS,
    }
}

fn victim() -> (Pages, QueuePair) {
    let pages = Pages::private(TOTAL).expect("memory");
    let pair = QueuePair::create(pages.clone(), &terms(), Side::Back).expect("made");
    (pages, pair)
}

/// What the peer may do between two steps of ours.
#[derive(Clone, Debug)]
enum Step {
    /// Any bytes, anywhere.
    Scribble(usize, Vec<u8>),
    /// A header word that is nearly right, on some line of the ring that the victim reads.
    Header {
        line: usize,
        kind: u8,
        len: u32,
        hint: u16,
    },
    /// Any value in some control word of either ring.
    Control(usize, u32),
    /// The victim's turn.
    Consume,
    Produce(usize, usize),
    Sleep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..TOTAL - 64, prop::collection::vec(any::<u8>(), 1..64))
            .prop_map(|(at, bytes)| Step::Scribble(at, bytes)),
        (
            0usize..64,
            0u8..5,
            prop_oneof![0u32..200, 1900u32..2100, any::<u32>()],
            prop_oneof![Just(0u16), any::<u16>()]
        )
            .prop_map(|(line, kind, len, hint)| Step::Header {
                line,
                kind,
                len,
                hint
            }),
        (0usize..8, prop_oneof![0u32..70, any::<u32>()])
            .prop_map(|(word, value)| Step::Control(256 + 128 * word, value)),
        Just(Step::Consume),
        Just(Step::Consume),
        (0usize..2200, prop_oneof![Just(0usize), 0usize..100])
            .prop_map(|(len, hint)| Step::Produce(len, hint)),
        Just(Step::Sleep),
    ];
    prop::collection::vec(step, 1..80)
}

/// One visit of ours. Whatever is found lies within the pages, or reading it would panic.
fn consume(pair: &mut QueuePair) -> Result<(), PeerFault> {
    let consumer = &mut pair.consumer;
    for _ in 0..100 {
        let Some(record) = consumer.peek()? else {
            break;
        };
        let mut frame = vec![0; record.len()];
        consumer.read(&record, 0, &mut frame);
        let mut hint = vec![0; record.hint_len()];
        consumer.read_hint(&record, &mut hint);
        assert!(record.len() + record.hint_len() <= 2048);
        consumer.advance(record);
    }
    let _ = consumer.release();
    Ok(())
}

fn produce(pair: &mut QueuePair, len: usize, hint_len: usize) -> Result<(), ReserveError> {
    let producer = &mut pair.producer;
    let free = producer.free()?;
    assert!(free < 4096);
    if let Some(mut slot) = producer.reserve(len, hint_len)? {
        slot.write(0, &vec![0xee; len]);
        slot.write_hint(&vec![0xdd; hint_len]);
        slot.publish(Kind::Frame);
    } else if producer.set_starved(len, hint_len)? {
        producer.clear_starved();
    }
    let _ = producer.needs_bell();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 2000 }))]

    #[test]
    fn nothing_a_peer_writes_does_more_than_end_in_a_fault(steps in steps()) {
        let (pages, mut pair) = victim();
        for step in steps {
            match step {
                Step::Scribble(at, bytes) => pages.write(at, &bytes),
                Step::Header { line, kind, len, hint } => {
                    let word = u64::from(len) | u64::from(kind) << 32 | u64::from(hint) << 48;
                    pages.store_u64(4096 + line * 64, word, Ordering::Relaxed);
                }
                Step::Control(word, value) => pages.store_u32(word, value, Ordering::Relaxed),
                // After a fault a driver detaches; going on must be harmless all the same.
                Step::Consume => _ = consume(&mut pair),
                Step::Produce(len, hint) => _ = produce(&mut pair, len, hint),
                Step::Sleep => {
                    if pair.consumer.prepare_sleep().may_sleep {
                        pair.consumer.end_sleep();
                    }
                    let _ = pair.consumer.is_closed();
                }
            }
        }
    }
}

#[test]
fn a_consumer_that_claims_too_much_is_found_out() {
    for claim in [1u32, 63, 64, u32::MAX, 1 << 31] {
        let (pages, mut pair) = victim();
        pages.store_u32(768, claim, Ordering::Relaxed);
        let fault = pair.producer.free().expect_err("nothing was produced");
        assert_eq!(
            fault,
            PeerFault::ConsumedOutsideRing {
                consumed: claim,
                before: 0,
                tail: 0
            }
        );
    }
}

#[test]
fn a_consumer_that_takes_back_what_it_consumed_is_found_out() {
    let (pages, mut pair) = victim();
    for _ in 0..10 {
        pair.producer
            .reserve(8, 0)
            .expect("honest")
            .expect("room")
            .publish(Kind::Frame);
    }
    pages.store_u32(768, 7, Ordering::Relaxed);
    pair.producer.free().expect("7 of 10");
    pages.store_u32(768, 6, Ordering::Relaxed);
    let fault = pair.producer.free().expect_err("6 after 7");
    assert_eq!(
        fault,
        PeerFault::ConsumedOutsideRing {
            consumed: 6,
            before: 7,
            tail: 10
        }
    );
}

#[test]
fn pads_cannot_make_a_visit_endless() {
    let (pages, mut pair) = victim();
    let pad = 2u64 << 32;
    for line in 0..64 {
        pages.store_u64(4096 + line * 64, pad, Ordering::Relaxed);
    }
    assert_eq!(pair.consumer.peek(), Err(PeerFault::PadAtStart));
}

#[test]
fn a_record_that_changes_after_it_was_looked_at_stays_what_it_was() {
    let (pages, mut pair) = victim();
    pages.store_u64(4096, 1 << 32 | 100, Ordering::Relaxed);
    let record = pair.consumer.peek().expect("a record").expect("there");
    pages.store_u64(4096, 1 << 32 | 2000, Ordering::Relaxed);
    assert_eq!(record.len(), 100);
    pair.consumer.advance(record);
    pages.store_u64(4096 + 128, 1 << 32 | 5, Ordering::Relaxed);
    let next = pair
        .consumer
        .peek()
        .expect("a record")
        .expect("two lines on");
    assert_eq!(next.len(), 5);
}
