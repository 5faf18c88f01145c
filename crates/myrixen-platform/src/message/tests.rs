use myrixen_ring::{Capacity, Features, Layout, Support, Terms};
use proptest::prelude::*;

use super::layout::HEADER_BYTES;
use super::*;

fn name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9:_.é€-]{1,20}".prop_map(|text| Name::new(text).unwrap())
}

fn text() -> impl Strategy<Value = Text> {
    ".{0,120}".prop_map(|text| Text::new(&text))
}

fn ticket() -> impl Strategy<Value = Option<Ticket>> {
    prop::collection::vec(any::<u8>(), 0..=Ticket::MAX).prop_map(Ticket::new)
}

fn probe() -> impl Strategy<Value = Option<MemoryProbe>> {
    let some = (1..=u64::MAX, any::<[u8; 16]>())
        .prop_map(|(address, cookie)| MemoryProbe { address, cookie });
    prop::option::of(some)
}

fn support() -> impl Strategy<Value = Support> {
    any::<(u16, u16, u32)>().prop_map(|(major, minor, bits)| Support {
        version: myrixen_ring::Version { major, minor },
        features: Features::from_bits_retain(bits),
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let capacity = || (12..=26u32).prop_map(|log| Capacity::new(1 << log).unwrap());
    (capacity(), capacity(), support()).prop_map(|(forward, backward, support)| Terms {
        layout: Layout::new(forward, backward),
        support,
    })
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac::new)
}

fn address() -> impl Strategy<Value = PortAddress> {
    (mac(), any::<u8>()).prop_map(|(mac, endpoint)| PortAddress { mac, endpoint })
}

fn hello() -> impl Strategy<Value = Hello> {
    let wish = (prop::option::of(name()), prop::option::of(name()))
        .prop_map(|(board, partition)| Wish { board, partition });
    let version = any::<(u16, u16)>().prop_map(|(major, minor)| Version::new(major, minor));
    (version, any::<u64>(), support(), wish, ticket(), probe()).prop_map(
        |(version, features, ring, wish, ticket, memory)| Hello {
            version,
            features,
            ring,
            wish,
            ticket,
            memory,
        },
    )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let profile = (any::<bool>(), any::<u32>()).prop_map(|(compat, mtu)| Profile {
        dialect: if compat {
            Dialect::Compat
        } else {
            Dialect::Native
        },
        mtu,
    });
    let limits = any::<(u16, u16, u32)>().prop_map(|(ports, directs, ring_bytes)| GuestLimits {
        ports,
        directs,
        ring_bytes,
    });
    (
        any::<u64>(),
        mac(),
        name(),
        name(),
        profile,
        limits,
        ticket(),
    )
        .prop_map(
            |(features, mac, board, partition, profile, limits, ticket)| Welcome {
                version: VERSION,
                features,
                mac,
                board,
                partition,
                profile,
                limits,
                ticket,
            },
        )
}

fn brought() -> impl Strategy<Value = Option<Brought>> {
    let brought = (1..=u32::MAX, any::<u32>()).prop_map(|(page, event)| Brought { page, event });
    prop::option::of(brought)
}

fn lent() -> impl Strategy<Value = Option<Lent>> {
    (any::<u16>(), brought())
        .prop_map(|(domain, brought)| brought.map(|brought| Lent { domain, brought }))
}

fn ends() -> impl Strategy<Value = (u8, PortAddress)> {
    (any::<u8>(), address())
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (any::<(Option<u8>, u32, u32)>(), brought()).prop_map(
            |((endpoint, forward, backward), brought)| Request::OpenPort {
                endpoint,
                forward,
                backward,
                brought,
            }
        ),
        any::<u8>().prop_map(|endpoint| Request::ClosePort { endpoint }),
        name().prop_map(|name| Request::Resolve(Query::Name(name))),
        mac().prop_map(|mac| Request::Resolve(Query::Mac(mac))),
        any::<u32>().prop_map(|from| Request::ListBoards { from }),
        any::<u32>().prop_map(|from| Request::ListPorts { from }),
        any::<u32>().prop_map(|from| Request::ListOwnBoards { from }),
        (ends(), any::<(u32, u32)>(), brought()).prop_map(
            |((endpoint, to), (forward, backward), brought)| Request::OpenDirect {
                endpoint,
                to,
                forward,
                backward,
                brought,
            }
        ),
        any::<u8>().prop_map(|endpoint| Request::AdoptPort { endpoint }),
        address().prop_map(|to| Request::AskGrantee { to }),
        (ends(), channel()).prop_map(|((endpoint, to), channel)| Request::CloseDirect {
            endpoint,
            to,
            channel,
        }),
        (ends(), channel()).prop_map(|((endpoint, to), channel)| Request::AdoptDirect {
            endpoint,
            to,
            channel,
        }),
        (ends(), channel(), any::<u32>(), brought()).prop_map(
            |((endpoint, to), channel, bytes, brought)| Request::LendPool {
                endpoint,
                to,
                channel,
                bytes,
                brought,
            }
        ),
        Just(Request::Unknown { kind: 0x1fff }),
    ]
}

fn board() -> impl Strategy<Value = Board> {
    let place = prop_oneof![Just(Place::Local), Just(Place::Remote)];
    (mac(), place, prop::option::of(name())).prop_map(|(mac, place, name)| Board {
        mac,
        place,
        name,
    })
}

fn peer() -> impl Strategy<Value = DirectPeer> {
    let who = (any::<u32>(), any::<u32>());
    (address(), who, probe(), terms(), channel()).prop_map(
        |(address, (pid, uid), memory, terms, channel)| DirectPeer {
            address,
            pid,
            uid,
            memory,
            terms,
            channel,
        },
    )
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<u64>().prop_map(ChannelId::new)
}

fn fail_reason() -> impl Strategy<Value = FailReason> {
    prop_oneof![
        Just(FailReason::Unsupported),
        Just(FailReason::Invalid),
        Just(FailReason::NotFound),
        Just(FailReason::InUse),
        Just(FailReason::Limit),
        Just(FailReason::NotPermitted),
        Just(FailReason::NoDirectPath),
        Just(FailReason::Draining),
        Just(FailReason::Internal),
        (100..=u16::MAX).prop_map(FailReason::Other),
    ]
}

fn open_port() -> impl Strategy<Value = OpenPort> {
    any::<(u8, u32, [u64; 6])>().prop_map(|(endpoint, pid, counts)| {
        let [
            sent_frames,
            sent_bytes,
            received_frames,
            received_bytes,
            nacks,
            dropped,
        ] = counts;
        OpenPort {
            endpoint,
            pid,
            sent_frames,
            sent_bytes,
            received_frames,
            received_bytes,
            nacks,
            dropped,
        }
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Done),
        (fail_reason(), text()).prop_map(|(reason, text)| Reply::Failed(Failure { reason, text })),
        (any::<u8>(), terms()).prop_map(|(endpoint, terms)| Reply::Port { endpoint, terms }),
        board().prop_map(Reply::Board),
        (
            prop::collection::vec(board(), 0..=BOARDS_PER_REPLY),
            prop::option::of(1..=u32::MAX)
        )
            .prop_map(|(boards, next)| Reply::Boards { boards, next }),
        (
            prop::collection::vec(open_port(), 0..=PORTS_PER_REPLY),
            prop::option::of(1..=u32::MAX)
        )
            .prop_map(|(ports, next)| Reply::Ports { ports, next }),
        peer().prop_map(Reply::Direct),
        any::<u16>().prop_map(|domain| Reply::Grantee { domain }),
        Just(Reply::Unknown { kind: 0x8fff }),
    ]
}

fn notice() -> impl Strategy<Value = Notice> {
    prop_oneof![
        (any::<u8>(), peer(), lent()).prop_map(|(endpoint, peer, lent)| Notice::DirectOffered {
            endpoint,
            peer,
            lent
        }),
        (any::<u8>(), address(), channel()).prop_map(|(endpoint, peer, channel)| {
            Notice::DirectGone {
                endpoint,
                peer,
                channel,
            }
        }),
        (ends(), channel(), any::<u32>(), lent()).prop_map(
            |((endpoint, peer), channel, bytes, lent)| Notice::PoolLent {
                endpoint,
                peer,
                channel,
                bytes,
                lent,
            }
        ),
        address().prop_map(Notice::EndpointGone),
        mac().prop_map(Notice::BoardGone),
        any::<u32>().prop_map(|grace_ms| Notice::Draining { grace_ms }),
        Just(Notice::LetGo),
    ]
}

/// Makes a message longer, as a later minor version would.
fn lengthen(mut bytes: Vec<u8>, by: usize) -> Vec<u8> {
    bytes.resize((bytes.len() + by).min(MAX_MESSAGE), 0xa5);
    let len = u32::try_from(bytes.len()).unwrap();
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    bytes
}

proptest! {
    #[test]
    fn parse_undoes_emit_for_hellos(hello in hello(), handed in 0..=15u8, by in 0..100usize) {
        let bytes = lengthen(hello.emit(handed), by);
        prop_assert_eq!(Hello::parse(&bytes), Ok((hello, handed)));
    }

    #[test]
    fn parse_undoes_emit_for_welcomes(
        welcome in welcome(), terms in terms(), handed in 0..=15u8, by in 0..100usize,
    ) {
        let bytes = lengthen(welcome.emit(&terms, handed), by);
        let greeting = Greeting::Welcome(Box::new(welcome), terms, handed);
        prop_assert_eq!(Greeting::parse(&bytes), Ok(greeting));
    }

    #[test]
    fn parse_undoes_emit_for_refusals(text in text(), code in 0..20u16, by in 0..100usize) {
        let reason = match code {
            0 => RefusalReason::Version,
            1 => RefusalReason::NotPermitted,
            2 => RefusalReason::NoSuchPartition,
            3 => RefusalReason::NameTaken,
            4 => RefusalReason::Limit,
            5 => RefusalReason::Draining,
            6 => RefusalReason::Internal,
            code => RefusalReason::Other(code + 1),
        };
        let refusal = Refusal { reason, text };
        let bytes = lengthen(refusal.emit(), by);
        prop_assert_eq!(Greeting::parse(&bytes), Ok(Greeting::Refused(refusal)));
    }

    #[test]
    fn parse_undoes_emit_for_requests(
        request in request(), serial: u64, handed in 0..=15u8, by in 0..100usize,
    ) {
        let serial = Serial::new(serial);
        let bytes = lengthen(request.emit(serial, handed), by);
        prop_assert_eq!(Request::parse(&bytes), Ok((serial, request, handed)));
    }

    #[test]
    fn parse_undoes_emit_for_replies(
        reply in reply(), serial: u64, handed in 0..=15u8, by in 0..100usize,
    ) {
        let serial = Serial::new(serial);
        let bytes = lengthen(reply.emit(serial, handed), by);
        prop_assert_eq!(Downward::parse(&bytes), Ok((Downward::Reply(serial, reply), handed)));
    }

    #[test]
    fn parse_undoes_emit_for_notices(
        notice in notice(), serial: u64, handed in 0..=15u8, by in 0..100usize,
    ) {
        let serial = Serial::new(serial);
        let bytes = lengthen(notice.emit(serial, handed), by);
        prop_assert_eq!(Downward::parse(&bytes), Ok((Downward::Notice(serial, notice), handed)));
    }

    /// Nothing that a peer can send makes a parser panic.
    #[test]
    fn arbitrary_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
        parse_all(&bytes);
    }

    /// The same with a valid header, so that the bodies are reached.
    #[test]
    fn arbitrary_bodies_are_parsed_or_refused(
        kind in prop::sample::select(KINDS), flags: u16, serial: u64,
        body in prop::collection::vec(any::<u8>(), 0..900),
    ) {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(flags.to_le_bytes());
        bytes.extend(u32::try_from(HEADER_BYTES + body.len()).unwrap().to_le_bytes());
        bytes.extend(serial.to_le_bytes());
        bytes.extend(body);
        parse_all(&bytes);
    }

    #[test]
    fn a_message_that_was_cut_is_refused(hello in hello(), reply in reply(), keep in 0..1000usize) {
        let cut = |bytes: Vec<u8>| bytes[..keep.min(bytes.len() - 1)].to_vec();
        prop_assert!(Hello::parse(&cut(hello.emit(0))).is_err());
        prop_assert!(Downward::parse(&cut(reply.emit(Serial::new(1), 0))).is_err());
    }
}

const KINDS: &[u16] = &[
    1, 2, 3, 4, 0x1001, 0x1002, 0x1003, 0x1004, 0x1005, 0x1006, 0x1007, 0x1008, 0x4001, 0x4002,
    0x4003, 0x4004, 0x4005, 0x4006, 0x8000, 0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006,
];

fn parse_all(bytes: &[u8]) {
    let _ = Hello::parse(bytes);
    let _ = Greeting::parse(bytes);
    let _ = Request::parse(bytes);
    let _ = Downward::parse(bytes);
}

#[test]
fn a_welcome_in_a_version_we_do_not_speak_is_refused() {
    let hello = Hello {
        version: Version::new(2, 0),
        features: 0,
        ring: Support::OURS,
        wish: Wish::default(),
        ticket: None,
        memory: None,
    };
    let refusal = hello.agree().unwrap_err();
    assert_eq!(refusal.reason, RefusalReason::Version);
    assert!(refusal.to_string().contains("2.0"), "{refusal}");
    let newer = Hello {
        version: Version::new(1, 9),
        ..hello
    };
    assert_eq!(newer.agree(), Ok(VERSION), "the lower minor is spoken");
}

#[test]
fn an_address_is_six_octets() {
    let mac = Mac::new([2, 0, 0xa, 0, 0xff, 1]);
    assert_eq!("02:00:0a:00:ff:01".parse(), Ok(mac));
    assert_eq!("2:0:A:0:FF:1".parse(), Ok(mac));
    assert_eq!(mac.to_string().parse(), Ok(mac));
    for wrong in [
        "",
        "02:00:0a:00:ff",
        "02:00:0a:00:ff:",
        "02:00:0a:00:ff:01:02",
        "02:00:0a:00:ff:1g",
        "02:00:0a:00:ff:+1",
        "02:00:0a:00:ff:001",
        " 02:00:0a:00:ff:01",
    ] {
        assert_eq!(wrong.parse::<Mac>(), Err(MacError), "{wrong}");
    }
}

#[test]
fn a_name_is_what_can_be_shown_in_one_word() {
    assert_eq!(Name::new(""), Err(NameError::Empty));
    assert_eq!(Name::new("a b"), Err(NameError::Character(' ')));
    assert_eq!(Name::new("a\u{1b}[2J"), Err(NameError::Character('\u{1b}')));
    assert_eq!(Name::new("x".repeat(80)), Err(NameError::TooLong(80)));
    assert!(Name::new("x".repeat(79)).is_ok());
    assert!(Name::new("host-1.example:0").is_ok());
}

#[test]
fn a_text_is_made_to_fit_and_made_harmless() {
    assert_eq!(Text::new("a\nb\u{1b}[31m").as_str(), "a b [31m");
    let long = Text::new(&"€".repeat(200));
    assert_eq!(long.as_str().len(), 399, "cut between characters");
}

#[test]
fn secrets_are_not_shown() {
    let ticket = Ticket::new(vec![0x41; 7]).unwrap();
    let probe = MemoryProbe {
        address: 0x7fff_1234,
        cookie: [0x42; 16],
    };
    assert_eq!(
        format!("{ticket:?} {probe:?}"),
        "Ticket(7 bytes) MemoryProbe"
    );
}

/// The bytes that other implementations and later versions go by.
#[test]
fn the_layout_of_version_1_0_stays() {
    let to = PortAddress {
        mac: Mac::new([2, 3, 4, 5, 6, 7]),
        endpoint: 9,
    };
    let request = Request::OpenDirect {
        endpoint: 1,
        to,
        forward: 4096,
        backward: 8192,
        brought: Some(Brought {
            page: 300,
            event: 7,
        }),
    };
    assert_eq!(
        request.emit(Serial::new(0x1122), 0),
        [
            0x05, 0x10, 0, 0, 40, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0, // header
            1, 9, 2, 3, 4, 5, 6, 7, 0, 0x10, 0, 0, 0, 0x20, 0, 0, // channel
            44, 1, 0, 0, 7, 0, 0, 0, // brought
        ]
    );
    let done = Reply::Done.emit(Serial::new(1), 3);
    assert_eq!(done, [0, 0x80, 1, 3, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
}
