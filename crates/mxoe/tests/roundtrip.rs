//! `emit` and `parse` undo each other, for all packet types and dialects; and no bytes make them panic.

use mxoe::addr::{EndpointId, NicAddr, PeerIndex, SeqNo, SessionId};
use mxoe::frame::{
    Announcement, Connect, ConnectRole, ConnectStatus, Dialect, EthHead, Features, Frame,
    HEAD_BYTES, Head, HostQuery, HostReply, Kind, Liback, Medium, MessageHead, Mtu, NackKind,
    NackLib, NackMcp, Notify, Pull, PullHandle, PullMagic, PullReply, Rdma, Rndv, Small, Tiny,
    nack_for, parse, rewrite_source, route,
};
use mxoe::text::describe;
use proptest::prelude::*;

fn dialects() -> impl Strategy<Value = Dialect> {
    let native = |mtu| Dialect::Native {
        mtu: Mtu::new(mtu).unwrap(),
    };
    prop_oneof![
        Just(Dialect::Compat),
        Just(native(1500)),
        Just(native(9000)),
        (Mtu::MIN.get()..).prop_map(native),
    ]
}

fn nics() -> impl Strategy<Value = NicAddr> {
    any::<[u8; 6]>().prop_map(NicAddr::new)
}

fn eths() -> impl Strategy<Value = EthHead> {
    (nics(), nics(), any::<u16>()).prop_map(|(destination, source, index)| EthHead {
        destination,
        source,
        peer_index: PeerIndex::new(index),
    })
}

fn heads() -> impl Strategy<Value = MessageHead> {
    let numbers = (any::<u16>(), any::<u16>(), any::<u16>());
    let ends = (any::<u8>(), any::<u8>(), any::<u8>());
    (ends, numbers, any::<u64>(), any::<u32>()).prop_map(|(ends, numbers, match_info, session)| {
        MessageHead {
            to: ends.0.into(),
            from: ends.1.into(),
            generation: ends.2,
            checksum: numbers.0,
            seq: SeqNo::from_wire(numbers.1),
            piggyack: SeqNo::from_wire(numbers.2),
            match_info,
            session: SessionId::new(session),
        }
    })
}

fn connects() -> impl Strategy<Value = Frame> {
    let status = prop_oneof![
        Just(ConnectStatus::Success),
        Just(ConnectStatus::BadKey),
        (12u8..).prop_map(ConnectStatus::Other),
    ];
    let role = prop_oneof![
        any::<u32>().prop_map(|key| ConnectRole::Request { key }),
        (any::<u32>(), status).prop_map(|(session, status)| ConnectRole::Reply {
            session: SessionId::new(session),
            status
        }),
    ];
    let words = (any::<u16>(), any::<u16>(), any::<u16>(), any::<u32>());
    let bytes = (any::<u8>(), any::<u8>(), any::<u8>());
    let features = any::<Option<u32>>();
    (words, bytes, role, features).prop_map(|(words, bytes, role, features)| {
        Frame::Connect(Connect {
            to: bytes.0.into(),
            from: bytes.1.into(),
            seq: SeqNo::from_wire(words.0),
            index: PeerIndex::new(words.1),
            session: SessionId::new(words.3),
            recv_start: SeqNo::from_wire(words.2),
            attempt: bytes.2,
            role,
            features: features.map(Features::from_bits),
        })
    })
}

/// Fragments of messages that the dialect can carry.
fn mediums(dialect: Dialect) -> impl Strategy<Value = Frame> {
    (heads(), 0..=dialect.max_medium_received(), any::<u8>()).prop_map(move |(head, length, n)| {
        let medium = Medium {
            head,
            length,
            fragment: 0,
        };
        let fragments = u8::try_from(medium.fragments(dialect)).unwrap();
        Frame::Medium(Medium {
            fragment: n % fragments,
            ..medium
        })
    })
}

fn pulls(dialect: Dialect) -> impl Strategy<Value = Frame> {
    let longest = if dialect == Dialect::Compat {
        65535
    } else {
        u32::MAX
    };
    let bytes = any::<[u8; 4]>();
    let words = any::<[u32; 5]>();
    (bytes, words, any::<[u16; 2]>(), 0..=longest).prop_map(
        |(bytes, words, halves, block_length)| {
            Frame::Pull(Pull {
                to: bytes[0].into(),
                from: bytes[1].into(),
                session: SessionId::new(words[0]),
                total_length: words[1],
                rdma: Rdma {
                    id: bytes[2],
                    seq: bytes[3],
                },
                rdma_offset: halves[0],
                handle: PullHandle::new(words[2]),
                magic: PullMagic::from_wire(words[3]),
                first_frame_offset: halves[1],
                block_length,
                frame_index: words[4],
            })
        },
    )
}

/// Packet types without conditions between their fields.
fn plain() -> impl Strategy<Value = Frame> {
    let values = (
        any::<[u8; 4]>(),
        any::<[u16; 3]>(),
        any::<[u32; 3]>(),
        heads(),
    );
    (0..10, values).prop_map(|(kind, (bytes, halves, words, head))| {
        let (to, from) = (EndpointId::new(bytes[0]), EndpointId::new(bytes[1]));
        let rdma = Rdma {
            id: bytes[2],
            seq: bytes[3],
        };
        let (handle, magic) = (PullHandle::new(words[1]), PullMagic::from_wire(words[2]));
        let session = SessionId::new(words[0]);
        let (seq, piggyack) = (SeqNo::from_wire(halves[0]), SeqNo::from_wire(halves[1]));
        let nacks = [
            NackKind::BadEndpoint,
            NackKind::EndpointClosed,
            NackKind::BadSession,
        ];
        let nack = nacks[usize::from(bytes[3] % 3)];
        let index = PeerIndex::new(halves[0]);
        match kind {
            0 => Frame::HostQuery(HostQuery {
                index,
                magic: words[0],
            }),
            1 => Frame::HostReply(HostReply {
                length: bytes[0] % 81,
                index,
                magic: words[0],
            }),
            2 => Frame::Truc(Liback {
                to,
                from,
                session,
                seq,
                acknum: words[1],
            }),
            3 => Frame::Tiny(Tiny {
                head,
                length: bytes[0] % 33,
            }),
            4 => Frame::Small(Small {
                head,
                length: bytes[0] % 129,
            }),
            5 => Frame::Rndv(Rndv {
                head,
                length: words[0],
                rdma,
                rdma_offset: halves[2],
                data: (head.generation & MessageHead::DATA != 0).then_some(head.match_info),
            }),
            6 => Frame::PullReply(PullReply {
                frame_seqnum: bytes[0],
                length: halves[2],
                offset: words[0],
                handle,
                magic,
            }),
            7 => Frame::Notify(Notify {
                to,
                from,
                session,
                total_length: words[1],
                rdma,
                seq,
                piggyack,
            }),
            8 => Frame::NackLib(NackLib {
                to,
                from,
                nack,
                seq,
            }),
            _ => Frame::NackMcp(NackMcp {
                puller: from,
                nack,
                handle,
                magic,
            }),
        }
    })
}

/// A dialect, a frame that it can carry, and a head for it.
fn frames() -> impl Strategy<Value = (Dialect, EthHead, Frame)> {
    let frame = |dialect| {
        prop_oneof![
            10 => plain(),
            1 => Just(Frame::Raw),
            2 => connects(),
            2 => mediums(dialect),
            2 => pulls(dialect),
        ]
    };
    dialects().prop_flat_map(move |dialect| (Just(dialect), eths(), frame(dialect)))
}

fn emit(dialect: Dialect, eth: &EthHead, frame: &Frame) -> Head {
    let mut out = Head::new();
    frame.emit(dialect, eth, &mut out);
    out
}

/// Payload bytes that the frame announces; `None` for RAW, which takes what there is.
fn promised(dialect: Dialect, frame: &Frame) -> Option<usize> {
    Some(match frame {
        Frame::Raw => return None,
        Frame::HostReply(reply) => reply.length.into(),
        Frame::Tiny(tiny) => tiny.length.into(),
        Frame::Small(small) => small.length.into(),
        Frame::Medium(medium) => medium.range(dialect).len(),
        Frame::PullReply(reply) => reply.length.into(),
        _ => 0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_emitted_parses_to_the_same((dialect, eth, frame) in frames(), padding in 0..60usize) {
        let out = emit(dialect, &eth, &frame);
        let payload = promised(dialect, &frame).unwrap_or(7);
        // RAW has no length: all that follows is its payload.
        let padding = if frame == Frame::Raw { 0 } else { padding };
        let len = out.len() + payload + padding;
        // What follows the head does not matter, whether or not it was copied with it.
        let mut bytes = out.to_vec();
        bytes.resize(len.min(HEAD_BYTES), 0xa5);
        let parsed = parse(dialect, &bytes, len).unwrap();
        prop_assert_eq!(parsed.eth, eth);
        prop_assert_eq!(parsed.frame, frame);
        prop_assert_eq!(parsed.payload, out.len()..out.len() + payload);
        prop_assert_eq!(emit(dialect, &eth, &parsed.frame), out);
        if padding == 0 && payload > 0 && frame != Frame::Raw {
            let cut = len - 1;
            prop_assert!(parse(dialect, &bytes[..bytes.len().min(cut)], cut).is_err());
        }
    }

    #[test]
    fn a_switch_reads_and_writes_the_source((dialect, eth, frame) in frames(), mac in nics()) {
        let out = emit(dialect, &eth, &frame);
        let mut bytes = out.to_vec();
        let before = route(&bytes).unwrap();
        prop_assert_eq!(before.kind, frame.kind());
        prop_assert_eq!((before.destination, before.source), (eth.destination, eth.source));
        rewrite_source(&mut bytes, mac);
        let eth = EthHead { source: mac, ..eth };
        prop_assert_eq!(&bytes, &emit(dialect, &eth, &frame).to_vec());
    }

    #[test]
    fn replies_to_a_pull_of_ours_are_routed_to_its_endpoint(
        (dialect, eth, _) in frames(),
        endpoint: u8,
        handle: u32,
    ) {
        let endpoint = EndpointId::new(endpoint);
        let (handle, magic) = (PullHandle::new(handle), PullMagic::for_endpoint(endpoint));
        let reply = PullReply { frame_seqnum: 0, length: 0, offset: 0, handle, magic };
        let nack = NackMcp { puller: 0.into(), nack: NackKind::BadSession, handle, magic };
        for frame in [Frame::PullReply(reply), Frame::NackMcp(nack)] {
            let route = route(&emit(dialect, &eth, &frame)).unwrap();
            prop_assert_eq!(route.to, Some(endpoint));
        }
    }

    #[test]
    fn a_nack_goes_back_to_where_the_frame_came_from((dialect, eth, frame) in frames()) {
        let out = emit(dialect, &eth, &frame);
        let len = out.len() + promised(dialect, &frame).unwrap_or(0);
        let mut bytes = out.to_vec();
        bytes.resize(len.min(HEAD_BYTES), 0);
        let from = route(&bytes).unwrap();
        let group = eth.destination.is_multicast() || eth.source.is_multicast();
        match nack_for(dialect, &bytes, len, NackKind::EndpointClosed) {
            None => prop_assert!(group || !nacked(frame.kind())),
            Some(nack) => {
                prop_assert!(!group && nacked(frame.kind()));
                let answer = emit(dialect, &nack.eth, &nack.frame);
                let back = route(&answer).unwrap();
                prop_assert_eq!((back.destination, back.source), (eth.source, eth.destination));
                match frame {
                    Frame::Pull(pull) => {
                        prop_assert_eq!(back.kind, Kind::NackMcp);
                        prop_assert_eq!(back.to, pull.magic.endpoint().ok());
                    }
                    _ => prop_assert_eq!((back.to, back.from), (from.from, from.to)),
                }
                // Nobody answers a nack.
                prop_assert_eq!(nack_for(dialect, &answer, answer.len(), NackKind::BadSession), None);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(
        dialect in dialects(),
        kind in prop_oneof![any::<u8>(), prop::sample::select(Kind::ALL.map(Kind::to_wire).to_vec())],
        ours: bool,
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        len in prop_oneof![0..300usize, any::<usize>()],
    ) {
        if ours && bytes.len() > 16 {
            bytes[12..14].copy_from_slice(&[0x86, 0xdf]);
            bytes[16] = kind;
        }
        for len in [len, bytes.len()] {
            if let Ok(parsed) = parse(dialect, &bytes, len) {
                prop_assert!(parsed.payload.start <= parsed.payload.end);
                prop_assert!(parsed.payload.end <= len);
                let again = emit(dialect, &parsed.eth, &parsed.frame);
                prop_assert_eq!(again.len(), parsed.payload.start);
                // Parsing has thrown away only what means nothing.
                let mut rest = again.to_vec();
                rest.resize(len.min(HEAD_BYTES), 0);
                let reparsed = parse(dialect, &rest, len);
                prop_assert_eq!(reparsed.as_ref(), Ok(&parsed));
            }
            let _ = nack_for(dialect, &bytes, len, NackKind::EndpointClosed);
            let (short, long) = (describe(dialect, &bytes, len), describe(dialect, &bytes, len));
            let (short, long) = (format!("{short}"), format!("{long:#}"));
            prop_assert!(!short.is_empty() && !short.contains('\n') && !long.is_empty());
            let _ = Dialect::guess([(&*bytes, len)]);
        }
        let _ = route(&bytes);
        let _ = Announcement::parse(&bytes);
        rewrite_source(&mut bytes, NicAddr::BROADCAST);
    }

    #[test]
    fn damaged_frames_are_refused_or_mean_something_else(
        (dialect, eth, frame) in frames(),
        damage in prop::collection::vec((16..HEAD_BYTES, any::<u8>()), 1..4),
    ) {
        let out = emit(dialect, &eth, &frame);
        let len = out.len() + promised(dialect, &frame).unwrap_or(7);
        let mut bytes = out.to_vec();
        bytes.resize(len.min(HEAD_BYTES), 0);
        for (offset, byte) in damage {
            if let Some(old) = bytes.get_mut(offset) {
                *old = byte;
            }
        }
        if let Ok(parsed) = parse(dialect, &bytes, len) {
            prop_assert!(parsed.payload.end <= len);
            let again = emit(dialect, &parsed.eth, &parsed.frame);
            prop_assert_eq!(again.len(), parsed.payload.start);
            bytes[..again.len()].copy_from_slice(&again);
            prop_assert_eq!(parse(dialect, &bytes, len), Ok(parsed));
        }
    }

    #[test]
    fn an_announcement_is_read_as_it_is_written(nic in nics(), serial: u32) {
        let mut out = Head::new();
        let announcement = Announcement { nic, serial };
        announcement.emit(&mut out);
        prop_assert_eq!(out.len(), 64);
        prop_assert_eq!(Announcement::parse(&out), Some(announcement));
        prop_assert_eq!(route(&out).unwrap().kind, Kind::Raw);
    }
}

/// Packet types that are answered with a nack (specification, section 8).
fn nacked(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Connect
            | Kind::Tiny
            | Kind::Small
            | Kind::Medium
            | Kind::Rndv
            | Kind::Notify
            | Kind::Pull
    )
}
