use super::*;

const AT: Segment = Segment {
    partition: PartitionId::new(0),
    uplink: UplinkId::new(0),
};
const ELSEWHERE: Segment = Segment {
    partition: PartitionId::new(1),
    uplink: UplinkId::new(0),
};

fn nic(n: u8) -> NicAddr {
    NicAddr::new([2, 0, 0, 0, 0, n])
}

fn seconds(n: u64) -> Time {
    Time::ZERO + Duration::from_secs(n)
}

/// Runs the machine up to `until` and gives what it said, with the second it was said at.
fn run(discovery: &mut Discovery, until: Time) -> Vec<(u64, Segment, Say)> {
    let mut said = Vec::new();
    let mut now = Time::ZERO;
    loop {
        while let Some((at, say)) = discovery.poll_say() {
            said.push((now.as_nanos() / 1_000_000_000, at, say));
        }
        match discovery.next_timeout().filter(|&due| due <= until) {
            Some(due) => now = due,
            None => return said,
        }
        discovery.handle_timeout(now);
    }
}

fn announcements(said: &[(u64, Segment, Say)]) -> Vec<u64> {
    let mine = |s: &&(u64, Segment, Say)| matches!(s.2, Say::Announcement { .. });
    said.iter().filter(mine).map(|s| s.0).collect()
}

#[test]
fn a_new_board_announces_itself_eight_times_and_then_every_three_minutes() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    let said = run(&mut discovery, seconds(400));
    assert_eq!(announcements(&said), [0, 1, 2, 3, 4, 5, 6, 7, 187, 367]);
}

#[test]
fn boards_that_came_one_after_the_other_are_soon_announced_together() {
    let mut discovery = Discovery::new(1, 16);
    for n in 0..64 {
        let now = Time::ZERO + Duration::from_millis(u64::from(n) * 3);
        discovery.add_board(now, nic(n), "a:0", AT);
    }
    while discovery.poll_say().is_some() {}
    let mut wakes = 0;
    while let Some(due) = discovery.next_timeout().filter(|&due| due < seconds(10)) {
        discovery.handle_timeout(due);
        wakes += 1;
    }
    let said = std::iter::from_fn(|| discovery.poll_say()).count();
    assert_eq!((wakes, said), (7, 7 * 64));
}

#[test]
fn a_board_that_left_is_not_announced() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    discovery.remove_board(nic(1));
    while discovery.poll_say().is_some() {}
    assert_eq!(discovery.next_timeout(), None);
}

#[test]
fn an_unknown_board_is_added_asked_and_answered_with_a_new_round() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    run(&mut discovery, seconds(20));
    discovery.hear(
        seconds(20),
        AT,
        Heard::Announcement {
            nic: nic(9),
            serial: 5,
        },
    );
    let peer = discovery.peers().find(AT, nic(9)).expect("added");
    assert_eq!((peer.index, &peer.name), (0, &None));
    let asked = Say::Query {
        from: nic(1),
        to: nic(9),
        index: 0,
        magic: QUERY_MAGIC,
    };
    assert_eq!(discovery.poll_say(), Some((AT, asked)));
    let said = run(&mut discovery, seconds(30));
    assert_eq!(announcements(&said), [21, 22, 23, 24, 25, 26, 27, 28]);
}

#[test]
fn a_known_serial_is_ignored_and_a_new_one_starts_a_round() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    discovery.hear(
        Time::ZERO,
        AT,
        Heard::Announcement {
            nic: nic(9),
            serial: 5,
        },
    );
    run(&mut discovery, seconds(20));
    discovery.hear(
        seconds(20),
        AT,
        Heard::Announcement {
            nic: nic(9),
            serial: 5,
        },
    );
    assert!(announcements(&run(&mut discovery, seconds(40))).is_empty());
    discovery.hear(
        seconds(40),
        AT,
        Heard::Announcement {
            nic: nic(9),
            serial: 6,
        },
    );
    assert_eq!(announcements(&run(&mut discovery, seconds(60))).len(), 8);
}

#[test]
fn a_board_that_does_not_answer_is_asked_again_and_then_rarely() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    discovery.hear(
        Time::ZERO,
        AT,
        Heard::Announcement {
            nic: nic(9),
            serial: 5,
        },
    );
    let said = run(&mut discovery, seconds(180));
    let queries: Vec<u64> = said
        .iter()
        .filter(|s| matches!(s.2, Say::Query { .. }))
        .map(|s| s.0)
        .collect();
    assert_eq!(
        queries,
        [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 120, 180]
    );
}

#[test]
fn a_board_that_was_heard_before_we_had_one_is_asked_when_we_have() {
    let mut discovery = Discovery::new(1, 16);
    discovery.hear(
        Time::ZERO,
        AT,
        Heard::Announcement {
            nic: nic(9),
            serial: 5,
        },
    );
    assert!(discovery.poll_say().is_none());
    discovery.add_board(seconds(1), nic(1), "a:0", AT);
    let said = run(&mut discovery, seconds(7));
    let queries: Vec<u64> = said
        .iter()
        .filter(|s| matches!(s.2, Say::Query { .. }))
        .map(|s| s.0)
        .collect();
    // The first is asked at once; the harness counts its seconds from 0.
    assert_eq!(queries, [0, 6]);
}

#[test]
fn a_name_is_learnt_and_nothing_is_asked_any_more() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    discovery.hear(
        Time::ZERO,
        AT,
        Heard::Announcement {
            nic: nic(9),
            serial: 5,
        },
    );
    let answer = Heard::Answer {
        from: nic(9),
        to: nic(1),
        magic: QUERY_MAGIC,
        name: "gb:0".into(),
    };
    discovery.hear(seconds(1), AT, answer);
    while discovery.poll_say().is_some() {}
    let said = run(&mut discovery, seconds(60));
    assert!(!said.iter().any(|s| matches!(s.2, Say::Query { .. })));
    assert_eq!(
        discovery.peers().find(AT, nic(9)).unwrap().name.as_deref(),
        Some("gb:0")
    );
}

#[test]
fn an_answer_with_another_magic_or_to_nobody_here_is_dropped() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    discovery.hear(
        Time::ZERO,
        AT,
        Heard::Announcement {
            nic: nic(9),
            serial: 5,
        },
    );
    for (to, magic) in [(nic(1), QUERY_MAGIC + 1), (nic(2), QUERY_MAGIC)] {
        let answer = Heard::Answer {
            from: nic(9),
            to,
            magic,
            name: "gb:0".into(),
        };
        discovery.hear(seconds(1), AT, answer);
        assert_eq!(discovery.peers().find(AT, nic(9)).unwrap().name, None);
    }
}

#[test]
fn a_query_is_answered_in_the_guests_name_within_its_segment_only() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    while discovery.poll_say().is_some() {}
    let query = Heard::Query {
        from: nic(9),
        to: nic(1),
        magic: 77,
    };
    discovery.hear(Time::ZERO, ELSEWHERE, query.clone());
    assert!(
        !run(&mut discovery, Time::ZERO)
            .iter()
            .any(|s| matches!(s.2, Say::Answer { .. }))
    );
    discovery.hear(Time::ZERO, AT, query);
    let answers: Vec<Say> = run(&mut discovery, Time::ZERO)
        .into_iter()
        .map(|s| s.2)
        .filter(|s| matches!(s, Say::Answer { .. }))
        .collect();
    let (from, to, name) = (nic(1), nic(9), "a:0".to_owned());
    assert_eq!(
        answers,
        [Say::Answer {
            from,
            to,
            index: 1,
            magic: 77,
            name
        }]
    );
}

#[test]
fn nobody_can_pose_as_a_board_of_this_host() {
    let mut discovery = Discovery::new(1, 16);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    discovery.hear(
        Time::ZERO,
        AT,
        Heard::Announcement {
            nic: nic(1),
            serial: 5,
        },
    );
    discovery.hear(
        Time::ZERO,
        AT,
        Heard::Announcement {
            nic: NicAddr::BROADCAST,
            serial: 5,
        },
    );
    assert!(discovery.peers().is_empty());
}

#[test]
fn a_flood_of_strangers_is_bounded_and_live_boards_keep_their_place() {
    let mut discovery = Discovery::new(1, 4);
    discovery.add_board(Time::ZERO, nic(1), "a:0", AT);
    for n in 10..200 {
        discovery.hear(
            Time::ZERO,
            AT,
            Heard::Announcement {
                nic: nic(n),
                serial: 5,
            },
        );
    }
    assert_eq!(discovery.peers().len(), 4);
    // Two of the four go on announcing themselves; the others make room.
    for n in [10, 11] {
        discovery.hear(
            seconds(500),
            AT,
            Heard::Announcement {
                nic: nic(n),
                serial: 5,
            },
        );
    }
    for n in 50..60 {
        discovery.hear(
            seconds(700),
            AT,
            Heard::Announcement {
                nic: nic(n),
                serial: 5,
            },
        );
    }
    for n in [10, 11, 50, 51] {
        assert!(discovery.peers().find(AT, nic(n)).is_some(), "{n}");
    }
    assert_eq!(discovery.peers().len(), 4);
}
