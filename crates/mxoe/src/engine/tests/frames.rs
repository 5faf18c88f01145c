//! Frames that no honest partner would send.

use std::time::Duration;

use proptest::prelude::*;

use super::net::{KEY, Net, address, pattern};
use crate::addr::{EndpointId, PeerIndex, SeqNo, SessionId};
use crate::engine::{Arrival, Config, Endpoint, Event, OfferId, PathId, PathProfile, Receive};
use crate::engine::{RegionId, Send, SendMode, Space};
use crate::frame::{
    Connect, ConnectRole, ConnectStatus, Dialect, EthHead, Features, Frame, HEAD_BYTES, Head,
    Liback, Medium, MessageHead, NackKind, NackLib, NackMcp, Notify, Pull, PullHandle, PullMagic,
    PullReply, Rdma, Rndv, Small, Tiny,
};
use crate::time::Time;

const SESSION: SessionId = SessionId::new(0xabcd);

fn endpoint() -> Endpoint {
    let mut config = Config::new(address(0), KEY, 1);
    config.session = SESSION;
    config.limits.partners = 4;
    config.limits.unexpected_bytes = 100_000;
    config.limits.unexpected_messages = 40;
    config.limits.pulls = 2;
    config.limits.pull_jobs = 8;
    config.limits.answers = 8;
    let mut endpoint = Endpoint::new(config);
    endpoint.set_path(
        Time::ZERO,
        PathId::SWITCH,
        PathProfile::new(Dialect::DEFAULT, 100_000),
    );
    endpoint
}

#[derive(Clone, Debug)]
enum Step {
    Frame(Frame, u8, usize, bool),
    Wait(u64),
    Receive(u64, u32),
    Send(u32, bool),
    Transmit,
    Flush,
    Cancel,
    Connect,
    Fetched(bool),
    /// The driver asks first, or has asked for long enough.
    PullFirst(bool),
    Forget,
}

fn number() -> impl Strategy<Value = SeqNo> {
    // Near the numbers in use (see `fill`), or anywhere.
    prop_oneof![8 => 0..6_u16, 1 => any::<u16>()].prop_map(SeqNo::from_wire)
}

fn session() -> impl Strategy<Value = SessionId> {
    prop_oneof![30 => Just(SESSION), 1 => any::<u32>().prop_map(SessionId::new)]
}

fn message() -> impl Strategy<Value = MessageHead> {
    let generation = prop::sample::select(vec![0, 1, 2, 0x80, 0x81, 0x82]);
    (number(), number(), session(), 0..4_u64, 0..3_u8, generation).prop_map(
        |(seq, piggyack, session, match_info, from, generation)| MessageHead {
            to: EndpointId::new(0),
            from: EndpointId::new(from),
            generation,
            checksum: 0,
            seq,
            piggyack,
            match_info,
            session,
        },
    )
}

fn rdma() -> impl Strategy<Value = Rdma> {
    (0..3_u8, 0..4_u8).prop_map(|(id, seq)| Rdma { id, seq })
}

fn wide() -> impl Strategy<Value = u32> {
    prop_oneof![0..40_000_u32, any::<u32>()]
}

fn connect() -> impl Strategy<Value = Frame> {
    let role = prop_oneof![
        Just(ConnectRole::Request { key: KEY }),
        any::<u32>().prop_map(|key| ConnectRole::Request { key }),
        (0..3_u32, 0..3_u8).prop_map(|(session, status)| ConnectRole::Reply {
            session: SessionId::new(session),
            status: match status {
                0 => ConnectStatus::Success,
                1 => ConnectStatus::BadKey,
                other => ConnectStatus::Other(other),
            },
        }),
    ];
    (0..3_u8, 0..3_u32, number(), 0..3_u8, role, any::<bool>()).prop_map(
        |(from, session, recv_start, attempt, role, features)| {
            let reply = matches!(role, ConnectRole::Reply { .. });
            Frame::Connect(Connect {
                to: EndpointId::new(0),
                from: EndpointId::new(from),
                seq: SeqNo::from_wire(0),
                index: PeerIndex::new(1),
                session: if reply {
                    SESSION
                } else {
                    SessionId::new(session)
                },
                recv_start,
                attempt,
                role,
                features: features.then_some(Features::from_bits(7)),
            })
        },
    )
}

fn pulls() -> impl Strategy<Value = Frame> {
    let pull = (
        0..3_u8,
        session(),
        wide(),
        rdma(),
        any::<u16>(),
        wide(),
        wide(),
        wide(),
    );
    let pull = pull.prop_map(|(from, session, total, rdma, offset, skip, block, index)| {
        Frame::Pull(Pull {
            to: EndpointId::new(0),
            from: EndpointId::new(from),
            session,
            total_length: total,
            rdma,
            rdma_offset: offset % 3 * 100,
            handle: PullHandle::new(block),
            magic: PullMagic::from_wire(7),
            first_frame_offset: u16::try_from(skip % 9000).unwrap(),
            block_length: block,
            frame_index: index % 40,
        })
    });
    let notify = (0..3_u8, session(), wide(), rdma(), number(), number());
    let notify = notify.prop_map(|(from, session, total_length, rdma, seq, piggyack)| {
        Frame::Notify(Notify {
            to: EndpointId::new(0),
            from: EndpointId::new(from),
            session,
            total_length,
            rdma,
            seq,
            piggyack,
        })
    });
    let reply = (any::<u8>(), 0..9000_u16, wide(), any::<u32>());
    let reply = reply.prop_map(|(frame_seqnum, length, offset, handle)| {
        Frame::PullReply(PullReply {
            frame_seqnum,
            length,
            offset,
            handle: PullHandle::new(handle),
            magic: PullMagic::for_endpoint(EndpointId::new(0)),
        })
    });
    prop_oneof![pull, notify, reply]
}

fn frame() -> impl Strategy<Value = Frame> {
    let tiny = (message(), 0..=32_u8);
    let small = (message(), 0..=128_u8);
    let medium = (message(), 0..=65_536_u32, 0..8_u8);
    let rndv = (message(), wide(), rdma(), any::<u16>());
    let liback = (0..3_u8, session(), number(), 0..20_u32);
    let nack = (0..3_u8, 0..3_u8, number());
    prop_oneof![
        4 => tiny.prop_map(|(head, length)| Frame::Tiny(Tiny { head, length })),
        1 => small.prop_map(|(head, length)| Frame::Small(Small { head, length })),
        4 => medium.prop_map(|(head, length, fragment)| {
            Frame::Medium(Medium { head, length, fragment })
        }),
        3 => rndv.prop_map(|(head, length, rdma, rdma_offset)| {
            Frame::Rndv(Rndv { head, length, rdma, rdma_offset, data: None })
        }),
        3 => liback.prop_map(|(from, session, seq, acknum)| {
            let (to, from) = (EndpointId::new(0), EndpointId::new(from));
            Frame::Truc(Liback { to, from, session, seq, acknum })
        }),
        1 => nack.prop_map(|(from, kind, seq)| {
            let nack = [NackKind::BadEndpoint, NackKind::EndpointClosed, NackKind::BadSession];
            let nack = nack[usize::from(kind)];
            let (to, from) = (EndpointId::new(0), EndpointId::new(from));
            Frame::NackLib(NackLib { to, from, nack, seq })
        }),
        4 => connect(),
        4 => pulls(),
        1 => any::<u32>().prop_map(|handle| Frame::NackMcp(NackMcp {
            puller: EndpointId::new(0),
            nack: NackKind::BadSession,
            handle: PullHandle::new(handle),
            magic: PullMagic::for_endpoint(EndpointId::new(0)),
        })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (frame(), 1..3_u8, 0..9000_usize, any::<bool>())
            .prop_map(|(frame, from, len, offer)| Step::Frame(frame, from, len, offer)),
        3 => (0..2_000_000_000_u64).prop_map(Step::Wait),
        4 => (0..4_u64, 0..100_000_u32).prop_map(|(mask, len)| Step::Receive(mask, len)),
        3 => (0..100_000_u32, any::<bool>()).prop_map(|(len, sync)| Step::Send(len, sync)),
        6 => Just(Step::Transmit),
        1 => Just(Step::Flush),
        1 => Just(Step::Cancel),
        1 => Just(Step::Connect),
        1 => any::<bool>().prop_map(Step::Fetched),
        1 => any::<bool>().prop_map(Step::PullFirst),
        1 => Just(Step::Forget),
    ]
}

/// An endpoint whose partners are hostile, and what its driver has to keep.
struct Victim {
    endpoint: Endpoint,
    now: Time,
    stores: std::collections::HashMap<u32, u32>,
    offers: std::collections::HashSet<u32>,
    next_offer: u32,
    fetches: Vec<crate::engine::PullId>,
    requests: Vec<crate::engine::RequestId>,
    ended: std::collections::HashSet<crate::engine::RequestId>,
    /// The numbers that partners were told to begin with, so that frames come near them.
    first: u16,
}

impl Victim {
    /// Shifts small numbers to where the engine's are.
    fn aim(&self, frame: &mut Frame) {
        let shift = |seq: &mut SeqNo| {
            if seq.to_wire() < 6 {
                *seq = SeqNo::from_wire(self.first).advance(seq.to_wire());
            }
        };
        match frame {
            Frame::Tiny(Tiny { head, .. })
            | Frame::Small(Small { head, .. })
            | Frame::Medium(Medium { head, .. })
            | Frame::Rndv(Rndv { head, .. }) => shift(&mut head.seq),
            Frame::Notify(notify) => shift(&mut notify.seq),
            _ => {}
        }
    }

    fn arrive(&mut self, frame: Frame, from: u8, padding: usize, offer: bool) {
        let mut frame = frame;
        self.aim(&mut frame);
        let mut head = Head::new();
        let from = address(from).nic;
        let eth = EthHead {
            destination: address(0).nic,
            source: from,
            peer_index: PeerIndex::UNKNOWN,
        };
        frame.emit(Dialect::DEFAULT, &eth, &mut head);
        let mut bytes = head.to_vec();
        bytes.resize(bytes.len() + padding, 0x5a);
        let offer = offer.then(|| {
            self.next_offer += 1;
            self.offers.insert(self.next_offer);
            OfferId(self.next_offer)
        });
        let arrival = Arrival {
            path: PathId::SWITCH,
            from,
            head: &bytes[..bytes.len().min(HEAD_BYTES)],
            len: bytes.len(),
            offer,
        };
        if let Ok(Some(placement)) = self.endpoint.handle_frame(self.now, arrival) {
            assert!(placement.payload.end <= bytes.len() && !placement.payload.is_empty());
            if let crate::engine::Target::Store { id, size, offset } = placement.target {
                assert!(offset as usize + placement.payload.len() <= size as usize);
                assert_eq!(*self.stores.entry(id.0).or_insert(size), size);
            }
        }
        self.events();
    }

    fn events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                // An entry may be asked for by the first fragment only, and be freed before any payload came.
                Event::StoreFreed { id } => drop(self.stores.remove(&id.0)),
                Event::OfferFreed { offer } => assert!(self.offers.remove(&offer.0)),
                Event::Fetch { pull, .. } => self.fetches.push(pull),
                Event::Sent { request, .. }
                | Event::Received { request, .. }
                | Event::Connected { request, .. }
                | Event::ConnectFailed { request, .. }
                | Event::Cancelled { request, .. } => assert!(self.ended.insert(request)),
                _ => {}
            }
        }
        let bytes: u64 = self.stores.values().map(|size| u64::from(*size)).sum();
        assert!(bytes <= 100_000);
        assert!(self.endpoint.store_bytes() <= 100_000);
    }

    fn transmit(&mut self, most: usize) -> usize {
        let mut count = 0;
        while count < most
            && let Some(transmit) = self.endpoint.poll_transmit(self.now, PathId::SWITCH)
        {
            count += 1;
            let payload = transmit.payload.map_or(0, |slice| slice.len as usize);
            let len = transmit.head.len() + payload;
            assert!(len <= 9000);
            let parsed = crate::frame::parse(Dialect::DEFAULT, &transmit.head, len).unwrap();
            assert_eq!(parsed.payload.len(), payload);
            if let Frame::Connect(Connect { recv_start, .. }) = parsed.frame {
                self.first = recv_start.to_wire();
            }
        }
        count
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Frame(frame, from, padding, offer) => self.arrive(frame, from, padding, offer),
            Step::Wait(nanos) => {
                self.now += Duration::from_nanos(nanos);
                self.endpoint.handle_timeout(self.now);
                assert!(
                    self.endpoint
                        .next_timeout()
                        .is_none_or(|due| due > self.now)
                );
            }
            Step::Receive(mask, len) => {
                let receive = Receive {
                    space: Space::Tagged,
                    match_info: 0,
                    mask,
                    source: None,
                    region: RegionId(0),
                    len,
                    token: 0,
                };
                self.requests
                    .push(self.endpoint.receive(|| self.now, receive).unwrap());
            }
            Step::Send(len, sync) => {
                let partner = self.endpoint.find_partner(address(1));
                let Some(to) = partner else { return };
                let mode = if sync {
                    SendMode::Synchronous
                } else {
                    SendMode::Standard
                };
                let send = Send {
                    to,
                    space: Space::Tagged,
                    match_info: 0,
                    data: None,
                    region: RegionId(1),
                    len,
                    mode,
                    token: 0,
                };
                self.requests.extend(self.endpoint.send(self.now, send));
            }
            Step::Transmit => drop(self.transmit(5)),
            Step::Flush => self.endpoint.flush_acks(self.now),
            Step::Cancel => {
                let last = self.requests.last().copied();
                last.map(|request| self.endpoint.cancel(self.now, request));
            }
            Step::Connect => {
                let connect = crate::engine::Connect {
                    to: address(1),
                    key: KEY,
                    deadline: None,
                    token: 0,
                };
                self.requests
                    .extend(self.endpoint.connect(self.now, connect));
            }
            Step::Fetched(works) => {
                if let Some(pull) = self.fetches.pop() {
                    let result = if works {
                        Ok(())
                    } else {
                        Err(crate::engine::FetchFailed)
                    };
                    self.endpoint.fetched(self.now, pull, result);
                }
            }
            Step::PullFirst(first) => {
                if let Some(&pull) = self.fetches.last() {
                    if first {
                        self.endpoint.pull_first(self.now, pull);
                    } else {
                        self.endpoint.read_after_all(self.now, pull);
                    }
                }
            }
            Step::Forget => {
                let board = crate::engine::Gone::Board(address(1).nic);
                self.endpoint.peer_gone(self.now, board);
            }
        }
        self.events();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_hostile_partner_reaches_nothing_but_its_own_requests(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut victim = Victim {
            endpoint: endpoint(),
            now: Time::ZERO,
            stores: std::collections::HashMap::default(),
            offers: std::collections::HashSet::default(),
            next_offer: 0,
            fetches: vec![],
            requests: vec![],
            ended: std::collections::HashSet::default(),
            first: 0,
        };
        let hello = Frame::Connect(Connect {
            to: EndpointId::new(0),
            from: EndpointId::new(1),
            seq: SeqNo::from_wire(0),
            index: PeerIndex::new(1),
            session: SessionId::new(1),
            recv_start: SeqNo::from_wire(0),
            attempt: 0,
            role: ConnectRole::Request { key: KEY },
            features: None,
        });
        victim.arrive(hello, 1, 0, false);
        victim.transmit(1);
        for step in steps {
            victim.step(step);
        }
        // Nothing that is waiting to be sent is endless.
        prop_assert!(victim.transmit(10_000) < 10_000);
        victim.endpoint.close(victim.now);
        victim.events();
        victim.transmit(10_000);
        prop_assert!(victim.endpoint.is_idle());
        prop_assert!(victim.stores.is_empty() && victim.offers.is_empty());
        prop_assert_eq!(victim.endpoint.store_bytes(), 0);
        for request in &victim.requests {
            prop_assert!(victim.ended.contains(request));
        }
    }
}

#[test]
fn a_region_that_does_not_begin_at_a_frame_is_pulled_from_where_it_does() {
    for (offset, length) in [
        (100_u16, 70_000_u32),
        (8968, 9000),
        (8967, 2),
        (20_000, 300_000),
    ] {
        let mut net = Net::new(1, Dialect::DEFAULT, 1);
        let region = pattern(usize::from(offset) + length as usize, 5);
        let hello = Frame::Connect(Connect {
            to: EndpointId::new(0),
            from: EndpointId::new(1),
            seq: SeqNo::from_wire(0),
            index: PeerIndex::new(1),
            session: SessionId::new(1),
            recv_start: SeqNo::FIRST,
            attempt: 0,
            role: ConnectRole::Request { key: KEY },
            features: None,
        });
        let (got, into) = net.receive(0, 0, length as usize);
        let mut first = SeqNo::FIRST;
        let mut queue = vec![(hello, vec![])];
        let mut notified = None;
        while let Some((frame, payload)) = queue.pop() {
            let mut head = Head::new();
            let eth = EthHead {
                destination: address(0).nic,
                source: address(1).nic,
                peer_index: PeerIndex::UNKNOWN,
            };
            frame.emit(Dialect::DEFAULT, &eth, &mut head);
            let mut bytes = head.to_vec();
            bytes.extend(payload);
            net.hosts.push(super::net::Host::stranger(address(1)));
            net.inject(0, 1, bytes);
            net.hosts.pop();
            let host = &mut net.hosts[0];
            host.process_events(net.now);
            while let Some(transmit) = host.endpoint.poll_transmit(net.now, PathId::SWITCH) {
                let len = transmit.head.len();
                match crate::frame::parse(Dialect::DEFAULT, &transmit.head, len)
                    .unwrap()
                    .frame
                {
                    Frame::Connect(connect) => {
                        first = connect.recv_start;
                        queue.push((
                            rndv(host.endpoint.config().session, first, length, offset),
                            vec![],
                        ));
                    }
                    Frame::Pull(pull) => answer(&pull, &region, &mut queue),
                    Frame::Notify(notify) => notified = Some(notify.total_length),
                    Frame::Truc(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(
            net.hosts[0].status_of(got),
            Some(crate::engine::Status::Success),
            "{offset}"
        );
        assert_eq!(notified, Some(length));
        let bytes = &net.hosts[0].regions[into.0 as usize];
        assert!(*bytes == region[usize::from(offset)..], "{offset} {length}");
        assert_ne!(first, SeqNo::FIRST);
    }
}

fn rndv(session: SessionId, seq: SeqNo, length: u32, rdma_offset: u16) -> Frame {
    Frame::Rndv(Rndv {
        head: MessageHead {
            to: EndpointId::new(0),
            from: EndpointId::new(1),
            generation: 0,
            checksum: 0,
            seq,
            piggyack: SeqNo::FIRST,
            match_info: 0,
            session,
        },
        length,
        rdma: Rdma { id: 9, seq: 99 },
        rdma_offset,
        data: None,
    })
}

/// Answers a PULL as section 7.4 says.
fn answer(pull: &Pull, region: &[u8], queue: &mut Vec<(Frame, Vec<u8>)>) {
    let payload = Dialect::DEFAULT.pull_payload();
    let skew = u32::from(pull.rdma_offset) % payload;
    let mut offset = (pull.frame_index * payload + u32::from(pull.first_frame_offset)) - skew;
    let (mut left, mut skip) = (pull.block_length, u32::from(pull.first_frame_offset));
    let mut frame = pull.frame_index;
    assert!(pull.frames(payload) <= Dialect::DEFAULT.pull_block_frames());
    while left > 0 {
        let length = (payload - skip).min(left);
        let start = usize::from(pull.rdma_offset) + offset as usize;
        let bytes = region[start..start + length as usize].to_vec();
        let reply = PullReply {
            frame_seqnum: frame.to_le_bytes()[0],
            length: u16::try_from(length).unwrap(),
            offset,
            handle: pull.handle,
            magic: pull.magic,
        };
        queue.push((Frame::PullReply(reply), bytes));
        (skip, frame) = (0, frame + 1);
        offset += length;
        left -= length;
    }
}
