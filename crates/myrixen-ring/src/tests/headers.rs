//! Every header word, and what becomes of it.

use proptest::prelude::*;

use crate::layout::{Features, Ring};
use crate::record::{Kind, PAD_WORD, check, is_pad, lines_of, word};
use crate::{Capacity, PeerFault, Record};

fn ring() -> Ring {
    Ring::with_lines(0, 512, 64)
}

fn checked(word: u64, position: u32) -> Result<Record, PeerFault> {
    check(word, position, &ring(), Features::HINTS)
}

#[test]
fn a_word_says_what_was_put_into_it() {
    for kind in [Kind::Frame, Kind::Control] {
        let record = checked(word(kind, 100, 32), 7).expect("obeys the rules");
        assert_eq!(
            (record.kind(), record.len(), record.hint_len()),
            (kind, 100, 32)
        );
        // 8 of header, 100 of frame, 4 to the next boundary, 32 of hint.
        assert_eq!(
            (record.position, record.lines, record.hint_at()),
            (7, 3, 112)
        );
    }
    assert!(is_pad(PAD_WORD) && !is_pad(word(Kind::Control, 2, 2)));
}

#[test]
fn each_broken_rule_has_its_name() {
    let frame = word(Kind::Frame, 8, 0);
    let fault = |word, position| checked(word, position).expect_err("breaks a rule");
    assert_eq!(
        fault(frame | 0xff << 32, 3),
        PeerFault::UnknownKind {
            kind: 0xff,
            line: 3
        }
    );
    // A kind of 0 with anything else set is no stop either.
    assert_eq!(
        fault(8, 64 + 5),
        PeerFault::UnknownKind { kind: 0, line: 5 }
    );
    assert_eq!(
        fault(frame | 1 << 40, 3),
        PeerFault::UnknownFlags { flags: 1, line: 3 }
    );
    assert_eq!(
        fault(word(Kind::Frame, 32 * 64 - 7, 0), 0),
        PeerFault::TooLong {
            lines: 33,
            line: 0,
            largest: 32
        }
    );
    let most = fault(word(Kind::Frame, u32::MAX, u16::MAX), 0);
    assert!(matches!(most, PeerFault::TooLong { .. }), "{most}");
    assert_eq!(
        fault(word(Kind::Frame, 57, 0), 63),
        PeerFault::AcrossEnd {
            lines: 2,
            line: 63,
            end: 64
        }
    );
    let unagreed = check(word(Kind::Frame, 8, 16), 3, &ring(), Features::empty());
    assert_eq!(
        unagreed,
        Err(PeerFault::HintNotAgreed {
            hint_len: 16,
            line: 3
        })
    );
}

#[test]
fn a_tiny_frame_is_one_line_and_the_next_byte_begins_another() {
    assert_eq!(
        (
            lines_of(0, 0),
            lines_of(40, 0),
            lines_of(56, 0),
            lines_of(57, 0)
        ),
        (1, 1, 1, 2)
    );
    assert_eq!(
        (lines_of(40, 16), lines_of(41, 8), lines_of(41, 9)),
        (1, 1, 2)
    );
}

#[test]
fn capacities_are_powers_of_two_within_bounds() {
    for bits in 12..=26 {
        let bytes = 1 << bits;
        assert_eq!(Capacity::new(bytes).map(Capacity::bytes), Ok(bytes));
        assert!(Capacity::new(bytes + 64).is_err());
    }
    for bytes in [0, 1, 64, 2048, 1 << 27, 1 << 31, u32::MAX] {
        assert!(Capacity::new(bytes).is_err(), "{bytes}");
    }
}

proptest! {
    #[test]
    fn whatever_passes_lies_within_the_ring(word: u64, kind in 0u8..4, flags in 0u8..2, len in 0u32..6000, position: u32, small: bool) {
        let shaped = u64::from(len) | u64::from(kind) << 32 | u64::from(flags) << 40;
        let word = if small { shaped } else { word };
        if let Ok(record) = checked(word, position) {
            let first = position % 64;
            prop_assert!(record.lines >= 1 && record.lines <= 32 && first + record.lines <= 64);
            let end = if record.hint_len() == 0 { 8 + record.len() } else { record.hint_at() + record.hint_len() };
            prop_assert!(end <= record.lines as usize * 64);
        }
    }
}
