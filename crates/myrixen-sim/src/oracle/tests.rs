//! The oracle must see what it is there to see.

use super::*;

const ALICE: Life = Life { node: 0, number: 0 };
const BOB: Life = Life { node: 1, number: 0 };

/// Messages 0 and up from Alice to Bob, of 10 bytes each, all under the same match information.
fn oracle(messages: u32, excused: bool) -> Oracle {
    let mut oracle = Oracle::new(2, messages as usize);
    oracle.born(ALICE);
    oracle.born(BOB);
    for number in 0..messages {
        let sending = Sending {
            from: ALICE,
            to: BOB.node,
            space: Space::Tagged,
            match_info: 7,
            len: 10,
            mode: SendMode::Standard,
            excused,
        };
        oracle.sending(MessageId(number), sending);
    }
    oracle
}

fn posting(len: u32) -> Posting {
    Posting {
        by: BOB,
        space: Space::Tagged,
        match_info: 7,
        mask: u64::MAX,
        from: None,
        len,
        claimed: false,
        hurried: false,
    }
}

/// Receive `post` gets the beginning of message `number`.
fn got(oracle: &mut Oracle, post: PostId, number: u32, len: u32) -> Result<(), Violation> {
    let bytes = payload::of_message(u64::from(number), 10);
    let status = if len < 10 {
        Status::Truncated
    } else {
        Status::Success
    };
    let got = Got {
        status,
        from: 0,
        space: Space::Tagged,
        match_info: 7,
        length: 10,
        bytes: &bytes[..len as usize],
    };
    oracle.got(post, &got)
}

fn told(oracle: &mut Oracle, number: u32) -> Result<(), Violation> {
    oracle.told(MessageId(number), Status::Success, 10)
}

#[test]
fn a_good_run_is_good() {
    let mut oracle = oracle(2, false);
    let posts = [oracle.posting(posting(10)), oracle.posting(posting(4))];
    got(&mut oracle, posts[0], 0, 10).expect("the first");
    told(&mut oracle, 0).expect("told");
    assert_eq!(oracle.unsettled(), 1);
    got(&mut oracle, posts[1], 1, 4).expect("truncated");
    told(&mut oracle, 1).expect("told");
    assert_eq!(oracle.unsettled(), 0);
    let tally = oracle.close().expect("nothing wrong");
    assert_eq!((tally.sent, tally.received, tally.failed), (2, 2, 0));
}

#[test]
fn a_second_delivery_is_seen() {
    let mut oracle = oracle(1, false);
    let posts = [oracle.posting(posting(10)), oracle.posting(posting(10))];
    got(&mut oracle, posts[0], 0, 10).expect("the first");
    assert!(matches!(
        got(&mut oracle, posts[1], 0, 10),
        Err(Violation::ReceivedTwice { .. })
    ));
}

#[test]
fn an_event_for_what_has_ended_is_seen() {
    let mut oracle = oracle(1, false);
    let post = oracle.posting(posting(10));
    got(&mut oracle, post, 0, 10).expect("the first");
    assert_eq!(
        got(&mut oracle, post, 0, 10),
        Err(Violation::EndedTwice { post })
    );
    assert_eq!(oracle.withdrawn(post), Err(Violation::EndedTwice { post }));
    told(&mut oracle, 0).expect("told");
    assert!(matches!(
        told(&mut oracle, 0),
        Err(Violation::ToldTwice { .. })
    ));
}

#[test]
fn wrong_bytes_and_wrong_lengths_are_seen() {
    let mut oracle = oracle(1, false);
    let post = oracle.posting(posting(10));
    let wrong = Got {
        status: Status::Success,
        from: 0,
        space: Space::Tagged,
        match_info: 7,
        length: 10,
        bytes: &[0; 10],
    };
    assert!(matches!(
        oracle.got(post, &wrong),
        Err(Violation::WrongBytes { .. })
    ));
    let post = oracle.posting(posting(10));
    let short = Got {
        bytes: &[0; 9],
        ..wrong
    };
    assert!(matches!(
        oracle.got(post, &short),
        Err(Violation::Misreported { .. })
    ));
    let other = Got {
        match_info: 8,
        ..wrong
    };
    assert!(matches!(
        oracle.got(post, &other),
        Err(Violation::DoesNotMatch { .. })
    ));
    let too_long = oracle.told(MessageId(0), Status::Success, 11);
    assert!(matches!(too_long, Err(Violation::WrongLength { .. })));
}

#[test]
fn overtaking_is_seen() {
    let mut oracle = oracle(2, false);
    let posts = [oracle.posting(posting(10)), oracle.posting(posting(10))];
    // Bytes decide which message it is: the first receive gets the second message.
    got(&mut oracle, posts[0], 1, 10).expect("not seen before the end");
    got(&mut oracle, posts[1], 0, 10).expect("not seen before the end");
    told(&mut oracle, 0).expect("told");
    told(&mut oracle, 1).expect("told");
    assert!(matches!(oracle.close(), Err(Violation::Overtaken { .. })));
}

#[test]
fn a_receive_that_is_passed_over_is_seen() {
    let mut oracle = oracle(1, false);
    let posts = [oracle.posting(posting(10)), oracle.posting(posting(10))];
    got(&mut oracle, posts[1], 0, 10).expect("not seen before the end");
    told(&mut oracle, 0).expect("told");
    let passed = Violation::PassedOver {
        older: posts[0],
        newer: posts[1],
    };
    assert_eq!(oracle.close().expect_err("passed over"), passed);
    // Also when it is withdrawn afterwards.
    oracle.withdrawn(posts[0]).expect("open");
    assert_eq!(oracle.close().expect_err("passed over"), passed);
}

#[test]
fn a_receive_withdrawn_in_time_is_not_passed_over() {
    let mut oracle = oracle(1, false);
    let posts = [oracle.posting(posting(10)), oracle.posting(posting(10))];
    oracle.withdrawn(posts[0]).expect("open");
    got(&mut oracle, posts[1], 0, 10).expect("received");
    told(&mut oracle, 0).expect("told");
    assert!(oracle.close().is_ok());
}

#[test]
fn failures_need_an_excuse() {
    let failed = |oracle: &mut Oracle| oracle.told(MessageId(0), Status::Unreachable, 0);
    assert!(matches!(
        failed(&mut oracle(1, false)),
        Err(Violation::Unexcused { .. })
    ));
    let mut excused = oracle(1, true);
    failed(&mut excused).expect("excused");
    assert_eq!(excused.unsettled(), 0);
    assert_eq!(excused.close().expect("excused").failed, 1);
}

#[test]
fn a_deadline_excuses_a_receive_that_has_one() {
    let mut oracle = oracle(2, false);
    let late = Got {
        status: Status::Timeout,
        from: 0,
        space: Space::Tagged,
        match_info: 7,
        length: 10,
        bytes: &[],
    };
    let patient = oracle.posting(posting(10));
    assert!(matches!(
        oracle.got(patient, &late),
        Err(Violation::FailedReceive { .. })
    ));
    let hurried = oracle.posting(Posting {
        hurried: true,
        ..posting(10)
    });
    oracle.got(hurried, &late).expect("excused");
    told(&mut oracle, 0).expect("told");
    assert_eq!(oracle.unsettled(), 1);
}

#[test]
fn a_message_that_vanishes_is_seen() {
    let mut oracle = oracle(1, false);
    told(&mut oracle, 0).expect("told");
    assert_eq!(oracle.unsettled(), 1);
    assert!(matches!(
        oracle.close(),
        Err(Violation::NeverReceived { .. })
    ));
}

#[test]
fn the_dead_are_owed_nothing() {
    let mut oracle = oracle(1, true);
    let post = oracle.posting(posting(10));
    oracle.died(ALICE.node);
    assert_eq!(oracle.unsettled(), 0);
    oracle.died(BOB.node);
    assert_eq!(oracle.withdrawn(post), Err(Violation::EndedTwice { post }));
    assert_eq!(oracle.open_posts(BOB).count(), 0);
    assert!(oracle.close().is_ok());
}

#[test]
fn what_was_acknowledged_by_the_dead_is_not_received_in_the_next_life() {
    let mut oracle = oracle(2, true);
    told(&mut oracle, 0).expect("told");
    oracle.died(BOB.node);
    let again = Life { number: 1, ..BOB };
    oracle.born(again);
    let post = oracle.posting(Posting {
        by: again,
        ..posting(10)
    });
    assert!(matches!(
        got(&mut oracle, post, 0, 10),
        Err(Violation::WrongBytes { .. })
    ));
    let post = oracle.posting(Posting {
        by: again,
        ..posting(10)
    });
    got(&mut oracle, post, 1, 10).expect("under way when its receiver died");
}

#[test]
fn what_is_shown_and_was_not_sent_so_is_seen() {
    let oracle = oracle(2, false);
    let shown = |to: usize, length: u32, bytes: &[u8]| {
        let shown = Got {
            status: Status::Success,
            from: ALICE.node,
            space: Space::Tagged,
            match_info: 7,
            length,
            bytes,
        };
        oracle.shown(to, &shown)
    };
    let bytes = payload::of_message(1, 10);
    assert_eq!(shown(BOB.node, 10, bytes), Ok(()));
    // Those of a large message are still with its sender.
    assert_eq!(shown(BOB.node, 10, &[]), Ok(()));
    let others = payload::of_message(2, 10);
    for (to, length, bytes) in [
        (BOB.node, 10, others),
        (BOB.node, 9, bytes),
        (ALICE.node, 10, bytes),
    ] {
        assert!(matches!(
            shown(to, length, bytes),
            Err(Violation::WrongShown { .. })
        ));
    }
}
