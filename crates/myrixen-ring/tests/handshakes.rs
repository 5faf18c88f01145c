//! What an honest pair says to one another: sizes, bells, room, closing, versions.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use myrixen_ring::{
    AttachError, Capacity, Features, Kind, LINE, Layout, QueuePair, ReserveError, Side, Support,
    Terms, Version, format,
};
use myrixen_shm::Pages;

fn terms(support: Support) -> Terms {
    Terms {
        layout: Layout::new(Capacity::MIN, Capacity::new(8192).expect("a power of two")),
        support,
    }
}

fn pair() -> (QueuePair, QueuePair) {
    let (_, front, back) = pair_of(&terms(Support::OURS));
    (front, back)
}

/// The pages of a pair, and its two ends.
fn pair_of(terms: &Terms) -> (Pages, QueuePair, QueuePair) {
    let pages = Pages::private(terms.layout.total()).expect("memory");
    let front = QueuePair::create(pages.clone(), terms, Side::Front).expect("made");
    let back = QueuePair::join(pages.clone(), terms, Side::Back).expect("joined");
    (pages, front, back)
}

fn publish(pair: &mut QueuePair, frame: &[u8]) -> bool {
    let Some(mut slot) = pair.producer.reserve(frame.len(), 0).expect("honest") else {
        return false;
    };
    slot.write(0, frame);
    slot.publish(Kind::Frame);
    true
}

fn consume(pair: &mut QueuePair) -> Option<Vec<u8>> {
    let record = pair.consumer.peek().expect("honest")?;
    let mut frame = vec![0; record.len()];
    pair.consumer.read(&record, 0, &mut frame);
    pair.consumer.advance(record);
    Some(frame)
}

#[test]
fn frames_of_every_size_cross_both_ways_at_every_position() {
    let (mut front, mut back) = pair();
    for len in 0..=front.producer.largest_frame() {
        let frame: Vec<u8> = (0..=255).cycle().skip(len % 7).take(len).collect();
        assert!(
            publish(&mut front, &frame) && publish(&mut back, &frame),
            "{len}"
        );
        assert_eq!(consume(&mut back), Some(frame.clone()), "{len} to the back");
        assert_eq!(consume(&mut front), Some(frame), "{len} to the front");
        assert_eq!((consume(&mut back), consume(&mut front)), (None, None));
        assert!(!back.consumer.release() && !front.consumer.release());
    }
    let most = front.producer.largest_frame();
    assert_eq!((most, back.producer.largest_frame()), (2048 - 8, 4096 - 8));
    let refused = front
        .producer
        .reserve(most + 1, 0)
        .map(|_| ())
        .expect_err("half the ring is the most");
    assert_eq!(
        refused,
        ReserveError::TooLong {
            lines: 33,
            largest: 32
        }
    );
    assert!(
        front.producer.reserve(usize::MAX, 0).is_err()
            && front.producer.reserve(0, usize::MAX).is_err()
    );
}

#[test]
fn hints_and_pages_cross_beside_the_frame() {
    let (mut front, mut back) = pair();
    let from = Pages::private(4096).expect("memory");
    from.write(1000, &[7; 500]);
    for _ in 0..20 {
        let mut slot = front
            .producer
            .reserve(600, 24)
            .expect("honest")
            .expect("room");
        slot.write(0, &[1; 100]);
        slot.copy_from(100, &from, 1000, 500);
        slot.write_hint(&[9; 24]);
        slot.publish(Kind::Control);
        let record = back.consumer.peek().expect("honest").expect("published");
        assert_eq!(
            (record.kind(), record.len(), record.hint_len()),
            (Kind::Control, 600, 24)
        );
        let mut hint = [0; 24];
        back.consumer.read_hint(&record, &mut hint);
        assert_eq!(hint, [9; 24]);
        back.consumer.copy_to(&record, 90, &from, 0, 20);
        let mut joint = [0; 20];
        from.read(0, &mut joint);
        assert_eq!((&joint[..10], &joint[10..]), (&[1; 10][..], &[7; 10][..]));
        back.consumer.advance(record);
        assert_eq!(back.consumer.peek(), Ok(None));
        assert!(!back.consumer.release());
    }
}

#[test]
fn an_abandoned_or_shortened_slot_leaves_no_trace() {
    let (mut front, mut back) = pair();
    for round in 0..200u8 {
        let mut slot = front
            .producer
            .reserve(1000, 0)
            .expect("honest")
            .expect("room");
        slot.write(0, &[0xff; 1000]);
        drop(slot);
        assert_eq!(back.consumer.peek(), Ok(None));
        let mut slot = front
            .producer
            .reserve(1500, 0)
            .expect("honest")
            .expect("room");
        slot.write(0, &[0xff; 1500]);
        slot.write(0, &[round; 3]);
        slot.truncate(3);
        slot.publish(Kind::Frame);
        assert_eq!(consume(&mut back), Some(vec![round; 3]));
        assert_eq!(consume(&mut back), None);
        let _ = back.consumer.release();
    }
}

#[test]
fn a_sleeper_is_rung_once_for_each_sleep() {
    let (mut front, mut back) = pair();
    assert!(
        publish(&mut front, b"1") && !front.producer.needs_bell(),
        "nobody sleeps"
    );
    let sleep = back.consumer.prepare_sleep();
    assert!(!sleep.may_sleep && !sleep.ring, "there is something");
    assert!(consume(&mut back).is_some());
    for _ in 0..3 {
        let sleep = back.consumer.prepare_sleep();
        assert!(sleep.may_sleep && !sleep.ring);
        assert!(
            publish(&mut front, b"2") && front.producer.needs_bell(),
            "the first to come"
        );
        assert!(
            publish(&mut front, b"3") && !front.producer.needs_bell(),
            "it has been rung"
        );
        back.consumer.end_sleep();
        assert!(consume(&mut back).is_some() && consume(&mut back).is_some());
        assert!(!front.producer.needs_bell(), "it is awake");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn who_looks_on_is_not_rung_and_gives_notice_before_it_sleeps() {
    let (mut front, mut back) = pair();
    back.consumer.look_on();
    assert!(publish(&mut front, b"1") && !front.producer.needs_bell());
    assert!(consume(&mut back).is_some());
    let before = Instant::now();
    assert!(back.consumer.prepare_sleep().may_sleep);
    assert!(before.elapsed() >= Duration::from_micros(5), "the notice");
    assert!(publish(&mut front, b"2") && front.producer.needs_bell());
    back.consumer.end_sleep();
    assert!(consume(&mut back).is_some());

    // What comes during the notice is found, and the notice stands until it is over.
    back.consumer.look_on();
    back.consumer.give_notice();
    assert!(publish(&mut front, b"3") && !front.producer.needs_bell());
    assert!(!back.consumer.prepare_sleep().may_sleep);
    assert!(consume(&mut back).is_some());
    assert!(back.consumer.prepare_sleep().may_sleep);
    assert!(publish(&mut front, b"4") && front.producer.needs_bell());
}

#[test]
fn where_notice_was_not_agreed_nobody_relies_on_it() {
    let support = Support {
        features: Features::HINTS,
        ..Support::OURS
    };
    let (pages, mut front, mut back) = pair_of(&terms(support));
    back.consumer.look_on();
    assert!(back.consumer.prepare_sleep().may_sleep);
    // A peer that says so all the same is not believed.
    pages.store_u32(388, 1, Ordering::Relaxed);
    assert!(publish(&mut front, b"1") && front.producer.needs_bell());
}

#[test]
fn a_starved_producer_is_rung_when_there_is_room() {
    let (mut front, mut back) = pair();
    while publish(&mut front, &[1; 56]) {}
    assert_eq!(
        (front.producer.free(), front.producer.room_for(0, 0)),
        (Ok(0), Ok(false))
    );
    assert_eq!(front.producer.set_starved(8, 0), Ok(true), "it may wait");
    // Fewer than an eighth of the ring: nothing is given back yet.
    for _ in 0..7 {
        assert!(consume(&mut back).is_some());
        assert!(!back.consumer.release());
    }
    assert!(consume(&mut back).is_some());
    assert!(back.consumer.release(), "an eighth is free: ring");
    assert!(!back.consumer.release(), "once");
    assert_eq!(front.producer.free(), Ok(8 * LINE));
    assert_eq!(
        front.producer.set_starved(8 * LINE, 0),
        Ok(true),
        "not enough for this one"
    );
    let sleep = back.consumer.prepare_sleep();
    assert!(
        !sleep.may_sleep && sleep.ring,
        "a second wait, a second bell"
    );
    assert_eq!(front.producer.set_starved(8, 0), Ok(false), "there is room");
    assert!(publish(&mut front, &[2; 56]));
    while consume(&mut back).is_some() {}
    assert!(!back.consumer.release(), "nobody waits any more");
}

#[test]
fn a_wait_for_room_that_is_seen_late_is_something_to_do() {
    let (pages, mut front, mut back) = pair_of(&terms(Support::OURS));
    assert!(publish(&mut front, b"1") && !back.consumer.is_idle());
    assert!(consume(&mut back).is_some() && !back.consumer.is_idle());
    assert!(consume(&mut back).is_none() && !back.consumer.release());
    assert!(back.consumer.is_idle());
    // The producer said so before it saw the room that was given back, and is seen only now: `starved` of ring 0.
    pages.store_u32(512, 1, Ordering::Relaxed);
    assert!(!back.consumer.is_idle() && back.consumer.release());
    assert!(back.consumer.is_idle() && !back.consumer.release());
}

#[test]
fn an_empty_ring_gives_everything_back() {
    let (mut front, mut back) = pair();
    for _ in 0..1000 {
        let whole = front.producer.free().expect("honest");
        assert_eq!(whole, 63 * LINE);
        assert!(publish(&mut front, b"one"));
        assert!(consume(&mut back).is_some() && consume(&mut back).is_none());
        assert!(!back.consumer.release());
    }
}

#[test]
fn a_closed_ring_is_drained_first() {
    let (mut front, mut back) = pair();
    assert!(publish(&mut front, b"last") && !back.consumer.is_closed());
    front.producer.close();
    assert!(back.consumer.is_closed() && !front.consumer.is_closed());
    assert_eq!(consume(&mut back), Some(b"last".to_vec()));
    assert_eq!(consume(&mut back), None);
}

#[test]
fn builds_that_differ_by_a_minor_version_and_a_feature_work_together() {
    let older = Support {
        version: Version { major: 1, minor: 0 },
        features: Features::empty(),
    };
    let newer = Support {
        version: Version { major: 1, minor: 3 },
        features: Features::HINTS | Features::from_bits_retain(1 << 9),
    };
    let agreed = [older.agree(newer), newer.agree(older)];
    assert_eq!(agreed, [Ok(older), Ok(older)], "both come to the same");
    let same = newer.agree(Support::OURS).expect("the same major version");
    assert_eq!(
        same.features,
        Features::HINTS,
        "what only one knows is not used"
    );

    let terms = terms(older);
    let pages = Pages::private(terms.layout.total()).expect("memory");
    format(&pages, &terms).expect("made by a third");
    let mut front = QueuePair::join(pages.clone(), &terms, Side::Front).expect("joined");
    let mut back = QueuePair::join(pages, &terms, Side::Back).expect("joined");
    assert!(publish(&mut front, b"plain frame"));
    assert_eq!(consume(&mut back), Some(b"plain frame".to_vec()));
    let refused = front.producer.reserve(8, 16).map(|_| ());
    assert_eq!(refused, Err(ReserveError::HintNotAgreed));
}

#[test]
fn what_cannot_work_together_is_told_so() {
    let theirs = Version { major: 2, minor: 0 };
    let other = Support {
        version: theirs,
        ..Support::OURS
    };
    let ours = Support::OURS.version;
    assert_eq!(
        Support::OURS.agree(other),
        Err(AttachError::Version { ours, theirs })
    );

    let terms = terms(Support::OURS);
    let need = terms.layout.total();
    let join = |pages: &Pages| QueuePair::join(pages.clone(), &terms, Side::Front).map(|_| ());
    let short = Pages::private(need - 1).expect("memory");
    assert_eq!(
        join(&short),
        Err(AttachError::PagesTooShort {
            have: need - 1,
            need
        })
    );
    let pages = Pages::private(need).expect("memory");
    assert!(matches!(
        join(&pages),
        Err(AttachError::Header {
            offset: 0,
            found: 0,
            ..
        })
    ));
    assert_eq!(join(&pages.read_only()), Err(AttachError::ReadOnly));
    format(&pages, &terms).expect("made");
    assert_eq!(join(&pages), Ok(()));
    for offset in [8, 12, 16, 20, 24, 28] {
        let before = pages.load_u32(offset, std::sync::atomic::Ordering::Relaxed);
        pages.store_u32(offset, !before, std::sync::atomic::Ordering::Relaxed);
        assert!(
            matches!(join(&pages), Err(AttachError::Header { .. })),
            "{offset}"
        );
        pages.store_u32(offset, before, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn the_layout_is_the_documented_one() {
    let terms = terms(Support::OURS);
    let (pages, mut front, mut back) = pair_of(&terms);
    let bytes = |at: usize, len: usize| {
        let mut bytes = vec![0; len];
        pages.read(at, &mut bytes);
        bytes
    };
    let features = Support::OURS.features.bits().to_le_bytes();
    assert_eq!(bytes(0, 12), b"MYRXQP\x01\0\x01\0\0\0");
    assert_eq!(bytes(12, 4), features);
    assert_eq!(
        bytes(16, 16),
        [0, 0x10, 0, 0, 0, 0x20, 0, 0, 0, 0x10, 0, 0, 0, 0x20, 0, 0]
    );
    assert_eq!(
        (bytes(32, 4064), terms.layout.total()),
        (vec![0; 4064], 4096 * 4)
    );

    assert!(publish(&mut front, b"ab") && publish(&mut back, b"xyz"));
    assert_eq!(bytes(4096, 10), [2, 0, 0, 0, 1, 0, 0, 0, b'a', b'b']);
    assert_eq!(bytes(8192, 11), [3, 0, 0, 0, 1, 0, 0, 0, b'x', b'y', b'z']);
    assert!(consume(&mut back).is_some() && consume(&mut front).is_some());
    assert!(back.consumer.prepare_sleep().may_sleep && front.consumer.prepare_sleep().may_sleep);
    front.consumer.end_sleep();
    assert!(front.consumer.prepare_sleep().may_sleep);
    // consumed, sleeping, starved, closed of ring 0, then of ring 1.
    front.producer.close();
    while publish(&mut back, b"fill") {}
    assert_eq!(back.producer.set_starved(4, 0), Ok(true));
    let words: Vec<u8> = (0..8).map(|word| bytes(256 + 128 * word, 1)[0]).collect();
    assert_eq!(words, [1, 1, 0, 1, 1, 2, 1, 0]);
}
