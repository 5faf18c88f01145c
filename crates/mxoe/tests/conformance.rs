//! Frames recorded between two hosts that run Open-MX: read, written again, and looked into.

#![allow(
    clippy::single_range_in_vec_init,
    reason = "the tables hold lists of byte ranges, some with one"
)]

#[allow(dead_code)] // the other tests that read recordings use the rest
mod recordings;

use std::collections::HashMap;
use std::ops::Range;

use mxoe::checksum::Checksum;
use mxoe::frame::{
    Dialect, ETH_BYTES, Frame, HEAD_BYTES, Head, HostName, Kind, MessageHead, Parsed, parse, route,
};
use recordings::Recording;

/// Body bytes that a sender may fill as it likes: we send 0 and do not look at them.
fn reserved(kind: Kind, dialect: Dialect, body: &[u8]) -> Vec<Range<usize>> {
    let native = dialect != Dialect::Compat;
    let fields: &[Range<usize>] = match kind {
        // opaque
        Kind::Raw => &[],
        // 1; 4; 12
        Kind::HostQuery => &[1..2, 4..8, 12..16],
        // 4; 12
        Kind::HostReply => &[4..8, 12..16],
        // generation; behind the length; behind the data type; behind `resent`
        Kind::Truc => &[3..4, 5..8, 13..14, 27..28],
        // generation; behind the length; 12; a request's status; behind the status
        Kind::Connect if body[26] == 0 => &[3..4, 5..8, 12..16, 28..29, 29..32],
        Kind::Connect => &[3..4, 5..8, 12..16, 29..32],
        // generation and checksum are handed on
        Kind::Tiny | Kind::Small | Kind::Rndv => &[],
        // in place of the pipeline; behind the checksum
        Kind::Medium if native => &[27..28, 30..32],
        // behind the length; behind the checksum
        Kind::Medium => &[6..8, 30..32],
        // generation; behind `rdma_seqnum`
        Kind::Pull if native => &[3..4, 17..20],
        // generation
        Kind::Pull => &[3..4],
        Kind::PullReply => &[],
        // generation; behind `rdma_seqnum`; behind the piggyack
        Kind::Notify => &[3..4, 14..18, 22..24],
        // generation; 4; behind the number
        Kind::NackLib => &[2..3, 4..9, 14..16],
        // generation; 4
        Kind::NackMcp => &[2..3, 4..8],
    };
    fields.to_vec()
}

/// Body bytes that are not reserved but have no meaning of their own: what they hold follows from other fields.
fn derived(kind: Kind, body: &[u8]) -> &'static [Range<usize>] {
    match kind {
        // `send_seq`, `resent`: ignored by everybody
        Kind::Truc => &[24..26, 26..27],
        // `is_reply`: any value but 0 is a reply
        Kind::Connect if body[26] != 0 => &[26..27],
        // a copy of the head's `peer_index`
        Kind::NackLib => &[10..12],
        _ => &[],
    }
}

/// What parsing gets to see of a frame.
fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(HEAD_BYTES)]
}

fn parse_recorded(recording: &Recording, frame: &recordings::Frame) -> Parsed {
    parse(recording.dialect, head(&frame.bytes), frame.len)
        .unwrap_or_else(|error| panic!("{}: {error}: {:02x?}", recording.name, head(&frame.bytes)))
}

#[test]
fn every_recorded_frame_is_written_again_as_it_was() {
    let mut kinds = HashMap::<Kind, u32>::new();
    for recording in recordings::all() {
        for frame in &recording.frames {
            let parsed = parse_recorded(&recording, frame);
            let kind = parsed.frame.kind();
            *kinds.entry(kind).or_default() += 1;
            assert!(parsed.payload.end <= frame.len);

            let mut again = Head::new();
            parsed
                .frame
                .emit(recording.dialect, &parsed.eth, &mut again);
            assert_eq!(
                again.len(),
                parsed.payload.start,
                "{} {kind:?}",
                recording.name
            );
            let mut was = frame.bytes[..again.len()].to_vec();
            for field in reserved(kind, recording.dialect, &frame.bytes[ETH_BYTES..]) {
                was[ETH_BYTES + field.start..ETH_BYTES + field.end].fill(0);
            }
            assert_eq!(was, again.as_bytes(), "{} {kind:?}", recording.name);
        }
    }
    for kind in Kind::ALL {
        assert!(kinds.contains_key(&kind), "no recording has a {kind:?}");
    }
}

#[test]
fn reserved_bytes_are_ignored_and_all_others_are_not() {
    for recording in recordings::all() {
        for frame in &recording.frames {
            let parsed = parse_recorded(&recording, frame);
            let kind = parsed.frame.kind();
            let body = &frame.bytes[ETH_BYTES..];
            let reserved = reserved(kind, recording.dialect, body);
            for offset in 0..parsed.payload.start - ETH_BYTES {
                let mut changed = head(&frame.bytes).to_vec();
                changed[ETH_BYTES + offset] ^= 0xff;
                let same = parse(recording.dialect, &changed, frame.len).as_ref() == Ok(&parsed);
                let is_in = |fields: &[Range<usize>]| fields.iter().any(|f| f.contains(&offset));
                let ignored = is_in(&reserved) || is_in(derived(kind, body));
                assert_eq!(
                    same, ignored,
                    "{} {kind:?}, body byte {offset}",
                    recording.name
                );
            }
        }
    }
}

#[test]
fn the_switch_and_the_parser_read_the_same_addresses() {
    for recording in recordings::all() {
        for frame in &recording.frames {
            let parsed = parse_recorded(&recording, frame);
            let route = route(head(&frame.bytes)).unwrap();
            assert_eq!(route.kind, parsed.frame.kind());
            assert_eq!(
                (route.destination, route.source),
                (parsed.eth.destination, parsed.eth.source)
            );
            let ends = match parsed.frame {
                Frame::Truc(f) => (f.to, f.from),
                Frame::Connect(f) => (f.to, f.from),
                Frame::Tiny(f) => (f.head.to, f.head.from),
                Frame::Small(f) => (f.head.to, f.head.from),
                Frame::Medium(f) => (f.head.to, f.head.from),
                Frame::Rndv(f) => (f.head.to, f.head.from),
                Frame::Pull(f) => (f.to, f.from),
                Frame::Notify(f) => (f.to, f.from),
                Frame::NackLib(f) => (f.to, f.from),
                // The recorded magics are Open-MX's: no endpoint of ours.
                _ => {
                    assert_eq!((route.to, route.from), (None, None));
                    continue;
                }
            };
            assert_eq!((route.to, route.from), (Some(ends.0), Some(ends.1)));
        }
    }
}

#[test]
fn a_recorded_frame_cut_short_is_refused() {
    for recording in recordings::all() {
        for frame in recording.frames.iter().take(50) {
            let parsed = parse_recorded(&recording, frame);
            if parsed.frame == Frame::Raw {
                continue;
            }
            for len in 0..parsed.payload.end.min(frame.bytes.len()) {
                let cut = parse(recording.dialect, &frame.bytes[..len], len);
                assert!(cut.is_err(), "{} at {len}: {cut:?}", recording.name);
            }
        }
    }
}

/// Where in its message a frame's payload lies, and what tells the message from others of the recording.
fn piece(frame: &Frame, dialect: Dialect) -> Option<(u32, [u64; 3])> {
    // Sent to provoke a nack, with a payload of its own.
    const WRONG_SESSION: u32 = 0xdead_beef;
    let message = |head: &MessageHead| {
        let (session, seq) = (head.session.get().into(), head.seq.to_wire().into());
        [session, seq, head.match_info]
    };
    match frame {
        Frame::Tiny(f) if f.head.session.get() == WRONG_SESSION => None,
        Frame::Tiny(f) => Some((0, message(&f.head))),
        Frame::Small(f) => Some((0, message(&f.head))),
        Frame::Medium(f) => Some((f.range(dialect).start, message(&f.head))),
        Frame::PullReply(f) => Some((
            f.offset,
            [f.handle.get().into(), f.magic.to_wire().into(), 0],
        )),
        _ => None,
    }
}

/// Byte `i` of a recorded message is `7 i + seed + i / 256`, cut to 8 bits.
fn pattern(i: u32) -> u8 {
    let [.., low] = i.wrapping_mul(7).wrapping_add(i >> 8).to_be_bytes();
    low
}

/// Seeds of the recorded messages, in the order in which they begin, with the bytes of theirs that were seen.
fn seeds(recording: &Recording) -> Vec<(u8, usize)> {
    let mut order = Vec::new();
    let mut messages = HashMap::new();
    for frame in &recording.frames {
        let parsed = parse_recorded(recording, frame);
        let Some((start, message)) = piece(&parsed.frame, recording.dialect) else {
            continue;
        };
        let recorded = parsed.payload.start..parsed.payload.end.min(frame.bytes.len());
        let bytes = &frame.bytes[recorded];
        let Some(first) = bytes.first() else { continue };
        let seed = first.wrapping_sub(pattern(start));
        let (expected, seen) = messages.entry(message).or_insert_with(|| {
            order.push(message);
            (seed, 0)
        });
        *seen += bytes.len();
        assert_eq!(seed, *expected, "{}: {:?}", recording.name, parsed.frame);
        for (i, byte) in (start..).zip(bytes) {
            assert_eq!(
                *byte,
                pattern(i).wrapping_add(seed),
                "{} byte {i}",
                recording.name
            );
        }
    }
    order
        .into_iter()
        .map(|message| messages[&message])
        .collect()
}

#[test]
fn payload_is_where_the_parser_says() {
    for recording in recordings::all() {
        seeds(&recording);
    }
}

#[test]
fn one_way_messages_have_the_seeds_and_lengths_that_were_sent() {
    for (folder, dialect) in [
        ("compat", "compat"),
        ("native-mtu1500", "native:1500"),
        ("native-mtu9000", "native:9000"),
    ] {
        let recording =
            recordings::read(&format!("{folder}/eager-one-way"), dialect.parse().unwrap());
        // The empty message, of seed 1, shows no byte.
        let lengths = [1, 31, 32, 33, 100, 128, 129, 4096, 4097, 10000, 32768];
        let sent: Vec<_> = (2..).zip(lengths).collect();
        assert_eq!(seeds(&recording), sent, "{folder}");
    }
}

#[test]
fn recorded_checksums_are_those_of_the_payload() {
    let recording = recordings::read("compat/checksums", Dialect::Compat);
    // Both of the library's eager classes that fit a frame.
    let mut seen = 0;
    for frame in &recording.frames {
        let parsed = parse_recorded(&recording, frame);
        let (Frame::Tiny(mxoe::frame::Tiny { head, .. })
        | Frame::Small(mxoe::frame::Small { head, .. })) = parsed.frame
        else {
            continue;
        };
        let mut checksum = Checksum::new();
        checksum.add(&frame.bytes[parsed.payload]);
        assert_eq!(checksum.finish(), head.checksum);
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
    // Fragments, and the data of a rendezvous: the pattern says what the message holds.
    for frame in &recording.frames {
        let (head, length) = match parse_recorded(&recording, frame).frame {
            Frame::Medium(medium) => (medium.head, medium.length),
            Frame::Rndv(rndv) => (rndv.head, rndv.length),
            _ => continue,
        };
        let seeds = 0..=u8::MAX;
        let fits = seeds.into_iter().any(|seed| {
            let message: Vec<_> = (0..length).map(|i| pattern(i).wrapping_add(seed)).collect();
            mxoe::checksum::checksum(&message) == head.checksum
        });
        assert!(fits, "{head:?}");
    }
}

#[test]
fn recorded_host_names_are_read() {
    let recording = recordings::read("compat/discovery", Dialect::Compat);
    let mut names = Vec::new();
    for frame in &recording.frames {
        let parsed = parse_recorded(&recording, frame);
        if let Frame::HostReply(_) = parsed.frame {
            let name = HostName::from_payload(&frame.bytes[parsed.payload]).unwrap();
            names.push(name.to_string());
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names, ["ga:0", "gb:0"]);
}

#[test]
fn the_dialect_of_a_recording_is_guessed() {
    for recording in recordings::all() {
        let guess = Dialect::guess(recording.heads());
        let telling = |frame| matches!(frame, Frame::Medium(_) | Frame::Pull(_));
        let tells = recording
            .frames
            .iter()
            .any(|frame| telling(parse_recorded(&recording, frame).frame));
        let expected = tells.then_some(recording.dialect);
        assert_eq!(guess, expected, "{}", recording.name);
    }
}
