//! The engine in the place of a recorded Open-MX host, in both roles of every conversation.
//!
//! What the other host sent is given to the engine when it came; what the recorded host's program did (connect, send) is
//! taken from what the host sent, and done through the engine. Everything the engine emits has to be what
//! the recorded peer would accept, by the rules of the specification; and in the end the same messages must have
//! been sent and received.

mod peer;
#[allow(dead_code)] // the other tests that read recordings use the rest
#[path = "../recordings/mod.rs"]
mod recordings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use mxoe::addr::{Address, SessionId};
use mxoe::engine::{
    Arrival, Config, Connect, Endpoint, Event, Numbering, PartnerId, PathId, PathProfile, Receive,
    RegionId, Send, SendMode, Slice, Space, Status, Target,
};
use mxoe::frame::{
    self, ConnectRole, ConnectStatus, EthHead, Frame, HEAD_BYTES, Head, NackKind, Parsed, Pull,
    PullHandle, PullMagic, PullReply, Rdma,
};
use mxoe::time::Time;
use peer::{Message, Peer, ends, message, numbers};
use recordings::Recording;

/// A recorded host's place, taken by the engine.
struct Stage<'a> {
    recording: &'a Recording,
    own: Address,
    other: Address,
    session: SessionId,
    key: u32,
    endpoint: Endpoint,
    partner: Option<PartnerId>,
    now: Time,
    peer: Peer,
    regions: Vec<Vec<u8>>,
    stores: HashMap<u32, Vec<u8>>,
    /// How long the program's receives are, in order.
    rooms: Vec<u32>,
    /// Messages emitted, in order of their numbers.
    emitted: BTreeMap<(usize, u16), Message>,
    lives: usize,
    /// Region ids of the recorded host's large messages and of ours, in order.
    recorded_rdma: Vec<Rdma>,
    our_rdma: Vec<Rdma>,
    /// Handles of the recorded host's pulls and of ours.
    recorded_pulls: HashMap<PullHandle, Rdma>,
    our_pulls: HashMap<Rdma, (PullHandle, PullMagic)>,
    received: Vec<(u64, u32, u32, Status, RegionId)>,
}

const AT: PathId = PathId::SWITCH;

impl<'a> Stage<'a> {
    fn new(recording: &'a Recording, own: Address, other: Address, rooms: Vec<u32>) -> Self {
        Self {
            recording,
            own,
            other,
            session: SessionId::UNKNOWN,
            key: 0,
            endpoint: Endpoint::new(Config::new(own, 0, 1)),
            partner: None,
            now: Time::ZERO,
            peer: Peer::default(),
            regions: vec![],
            stores: HashMap::new(),
            rooms,
            emitted: BTreeMap::new(),
            lives: 0,
            recorded_rdma: vec![],
            our_rdma: vec![],
            recorded_pulls: HashMap::new(),
            our_pulls: HashMap::new(),
            received: vec![],
        }
    }

    /// The program opens its endpoint (again).
    fn open(&mut self, session: SessionId) {
        if session == self.session {
            return;
        }
        self.session = session;
        let config = Config {
            session,
            numbering: Numbering::One,
            ..Config::new(self.own, self.key, 1)
        };
        self.endpoint = Endpoint::new(config);
        let profile = PathProfile::new(self.recording.dialect, 16 << 20);
        self.endpoint.set_path(self.now, AT, profile);
        self.partner = None;
        self.lives += 1;
        (self.peer.next, self.peer.acked, self.peer.acknum) = (None, None, 0);
        self.peer.sent.clear();
        // Receives that have not been used are posted again.
        for len in self.rooms.clone().split_off(self.received.len()) {
            let region = self.region(vec![0; len as usize]);
            let receive = Receive {
                space: Space::Tagged,
                match_info: 0,
                mask: 0,
                source: None,
                region,
                len,
                token: region.0.into(),
            };
            self.endpoint.receive(|| self.now, receive).unwrap();
        }
    }

    fn region(&mut self, bytes: Vec<u8>) -> RegionId {
        self.regions.push(bytes);
        RegionId(u32::try_from(self.regions.len() - 1).unwrap())
    }

    /// Time passes.
    fn advance(&mut self, to: Time) {
        while let Some(due) = self.endpoint.next_timeout().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            self.endpoint.handle_timeout(self.now);
            self.collect();
        }
        self.now = to;
    }

    /// Something that the recorded host did.
    fn act(&mut self, frame: &Frame) {
        match frame {
            Frame::Connect(connect) => match connect.role {
                ConnectRole::Request { key } => {
                    self.open(connect.session);
                    let connect = Connect {
                        to: self.other,
                        key,
                        deadline: None,
                        token: connect.attempt.into(),
                    };
                    self.endpoint.connect(self.now, connect).unwrap();
                }
                ConnectRole::Reply { .. } => {}
            },
            Frame::Rndv(rndv) if !self.recorded_rdma.contains(&rndv.rdma) => {
                self.recorded_rdma.push(rndv.rdma);
            }
            Frame::Pull(pull) => {
                self.recorded_pulls.insert(pull.handle, pull.rdma);
            }
            _ => {}
        }
        self.collect();
    }

    /// The recorded host's program sent this message.
    fn send(&mut self, message: &Message) {
        let Some(to) = self.partner else { return };
        let large = message.length > 32_768;
        let mode = match message.kind {
            "rndv" if !large => SendMode::Synchronous,
            _ => SendMode::Standard,
        };
        let region = self.region(pattern(message.length as usize, 1));
        let send = Send {
            to,
            space: Space::Tagged,
            match_info: message.match_info,
            data: None,
            region,
            len: message.length,
            mode,
            token: 0,
        };
        // Refused when the connection was found lost: the recorded program has tried in vain, too.
        let _ = self.endpoint.send(self.now, send);
        self.collect();
    }

    /// Something the peer sent, with what refers to the recorded host's own numbers made to refer to ours.
    fn hear(&mut self, mut parsed: Parsed, bytes: &[u8], len: usize) {
        let translate = |rdma: &mut Rdma, recorded: &[Rdma], ours: &[Rdma]| {
            let place = recorded.iter().position(|known| known == rdma);
            match place.and_then(|place| ours.get(place)) {
                Some(known) => *rdma = *known,
                None => rdma.id = 0xff,
            }
        };
        match &mut parsed.frame {
            Frame::Pull(pull) => translate(&mut pull.rdma, &self.recorded_rdma, &self.our_rdma),
            Frame::Notify(notify) => {
                translate(&mut notify.rdma, &self.recorded_rdma, &self.our_rdma);
            }
            Frame::PullReply(PullReply { handle, magic, .. })
            | Frame::NackMcp(frame::NackMcp { handle, magic, .. }) => {
                let rdma = self.recorded_pulls.get(handle);
                if let Some(ours) = rdma.and_then(|rdma| self.our_pulls.get(rdma)) {
                    (*handle, *magic) = *ours;
                }
            }
            _ => {}
        }
        self.peer.say(&parsed.frame, self.session);
        let mut head = Head::new();
        parsed
            .frame
            .emit(self.recording.dialect, &parsed.eth, &mut head);
        let mut frame = bytes.to_vec();
        frame[..head.len()].copy_from_slice(&head);
        frame.resize(len, 0);
        let arrival = Arrival {
            path: AT,
            from: parsed.eth.source,
            head: &frame[..frame.len().min(HEAD_BYTES)],
            len,
            offer: None,
        };
        let placement = self.endpoint.handle_frame(self.now, arrival).unwrap();
        if let Some(placement) = placement {
            let payload = &frame[placement.payload];
            let (memory, offset) = match placement.target {
                Target::Region { region, offset } => (&mut self.regions[region.0 as usize], offset),
                Target::Store { id, size, offset } => {
                    let entry = self.stores.entry(id.0);
                    (entry.or_insert_with(|| vec![0; size as usize]), offset)
                }
            };
            memory[offset as usize..][..payload.len()].copy_from_slice(payload);
        }
        self.collect();
    }

    /// Takes what the engine has to say.
    fn collect(&mut self) {
        self.events();
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, AT) {
            let payload = transmit.payload.map_or(0, |slice| slice.len as usize);
            let len = transmit.head.len() + payload;
            let parsed = frame::parse(self.recording.dialect, &transmit.head, len).unwrap();
            assert_eq!(parsed.payload.len(), payload);
            self.check(&parsed.eth, &parsed.frame, transmit.payload);
            self.events();
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected { partner, .. } | Event::PartnerArrived { partner, .. } => {
                    self.partner = Some(partner);
                }
                Event::Copy { from, to, len } => {
                    let bytes = &self.stores[&from.0][..len as usize];
                    self.regions[to.0 as usize][..len as usize].copy_from_slice(bytes);
                }
                Event::StoreFreed { id } => {
                    self.stores.remove(&id.0);
                }
                Event::Received {
                    envelope,
                    length,
                    status,
                    token,
                    ..
                } => {
                    let region = RegionId(u32::try_from(token).unwrap());
                    let entry = (envelope.match_info, envelope.length, length, status, region);
                    self.received.push(entry);
                }
                _ => {}
            }
        }
    }

    /// Whether the recorded peer would accept what the engine emits.
    fn check(&mut self, eth: &EthHead, frame: &Frame, payload: Option<Slice>) {
        let name = &self.recording.name;
        assert_eq!(
            (eth.source, eth.destination),
            (self.own.nic, self.other.nic),
            "{name}"
        );
        if let Some((from, to)) = ends(frame) {
            let expected = (self.own.endpoint.get(), self.other.endpoint.get());
            assert_eq!((from, to), expected, "{name}: {frame:?}");
        }
        if let Some((seq, piggyack, session)) = numbers(frame) {
            assert_eq!(Some(session), self.peer.session, "{name}: {frame:?}");
            self.peer.check_number(seq);
            self.peer.check_acknowledgement(piggyack);
        }
        if let Some((message, head)) = message(frame) {
            self.emitted
                .entry((self.lives, head.seq.to_wire()))
                .or_insert(message);
            assert_eq!(head.generation, 0, "{name}: reserved towards Open-MX");
        }
        match frame {
            Frame::Tiny(tiny) => assert!(tiny.length <= 32),
            Frame::Small(small) => assert!(small.length <= 128),
            Frame::Medium(medium) => {
                let range = medium.range(self.recording.dialect);
                let slice = payload.unwrap();
                assert_eq!(
                    (slice.offset, slice.len),
                    (range.start, range.end - range.start)
                );
                assert!(
                    u32::from(medium.fragment) < self.recording.dialect.fragments_per_message()
                );
            }
            Frame::Rndv(rndv) => {
                if !self.our_rdma.contains(&rndv.rdma) {
                    self.our_rdma.push(rndv.rdma);
                }
            }
            Frame::Truc(liback) => {
                assert_eq!(Some(liback.session), self.peer.session, "{name}");
                assert!(liback.acknum > self.peer.acknum, "{name}");
                self.peer.acknum = liback.acknum;
                self.peer.check_acknowledgement(liback.seq);
            }
            Frame::Connect(connect) => match connect.role {
                ConnectRole::Request { .. } => {
                    assert_eq!(connect.session, self.session);
                    self.peer.begin(connect.recv_start);
                }
                ConnectRole::Reply { session, .. } => {
                    assert_eq!(session, self.session, "{name}");
                    let asked = (connect.attempt, connect.session);
                    assert!(self.peer.requests.contains(&asked), "{name}: {connect:?}");
                    self.peer.begin(connect.recv_start);
                }
            },
            Frame::Pull(pull) => {
                self.peer.check_pull(pull, self.recording.dialect);
                self.our_pulls.insert(pull.rdma, (pull.handle, pull.magic));
            }
            Frame::Notify(notify) => {
                let announced = self.peer.rendezvous[&notify.rdma];
                assert!(notify.total_length <= announced, "{name}");
            }
            Frame::PullReply(reply) => self.peer.check_reply(reply, self.recording.dialect),
            Frame::NackLib(nack) => {
                assert_eq!(nack.nack, NackKind::BadSession);
                assert!(
                    self.peer.misdirected.contains(&nack.seq.to_wire()),
                    "{name}: {nack:?}"
                );
            }
            Frame::NackMcp(nack) => {
                let known = |pull: &Pull| (pull.handle, pull.magic) == (nack.handle, nack.magic);
                assert!(self.peer.pulls.iter().any(known), "{name}: {nack:?}");
            }
            other => panic!("{name}: an endpoint does not send {other:?}"),
        }
    }
}

/// The recorded programs' payload.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let byte = |i: usize| (7 * i + (i >> 8) + usize::from(seed)).to_le_bytes()[0];
    (0..len).map(byte).collect()
}

/// Every recorded frame of a conversation, taken apart.
fn parse_all(recording: &Recording) -> Vec<Parsed> {
    let parse = |frame: &recordings::Frame| {
        let head = &frame.bytes[..frame.bytes.len().min(HEAD_BYTES)];
        frame::parse(recording.dialect, head, frame.len).unwrap()
    };
    recording.frames.iter().map(parse).collect()
}

/// The two that have succeeded in connecting: who asked, who answered.
fn conversation(frames: &[Parsed]) -> Option<(Address, Address)> {
    frames.iter().find_map(|parsed| match parsed.frame {
        Frame::Connect(connect) => match connect.role {
            ConnectRole::Reply {
                status: ConnectStatus::Success,
                ..
            } => Some((
                Address::new(parsed.eth.destination, connect.to),
                Address::new(parsed.eth.source, connect.from),
            )),
            _ => None,
        },
        _ => None,
    })
}

/// A frame of this endpoint to that one. Those without endpoints are told by their boards.
fn is_between(parsed: &Parsed, from: Address, to: Address) -> bool {
    let boards = (parsed.eth.source, parsed.eth.destination) == (from.nic, to.nic);
    let named = ends(&parsed.frame);
    boards && named.is_none_or(|named| named == (from.endpoint.get(), to.endpoint.get()))
}

/// The messages of one endpoint to the other, in order, each once; without what one program sends to a session that
/// never was, to see it rejected.
fn messages(frames: &[Parsed], from: Address, to: Address) -> Vec<(usize, Message)> {
    let announced: BTreeSet<_> = session_of(frames, to)
        .map(|(_, session)| session.get())
        .collect();
    // Numbers begin anew with a session on either side.
    let mut lives: Vec<SessionId> = vec![];
    let mut targets: Vec<SessionId> = vec![];
    let mut all = BTreeMap::new();
    for (place, parsed) in frames.iter().enumerate() {
        if !is_between(parsed, from, to) {
            continue;
        }
        if let Frame::Connect(connect) = parsed.frame
            && matches!(connect.role, ConnectRole::Request { .. })
            && !lives.contains(&connect.session)
        {
            lives.push(connect.session);
        }
        let Some((message, head)) = message(&parsed.frame) else {
            continue;
        };
        if announced.contains(&head.session.get()) {
            if !targets.contains(&head.session) {
                targets.push(head.session);
            }
            // Where one was lost, what came after it was seen first.
            let number = (lives.len(), targets.len(), head.seq.to_wire());
            all.entry(number).or_insert((place, message));
        }
    }
    all.into_values().collect()
}

/// How much of each message the recorded receiver took.
fn rooms(frames: &[Parsed], own: Address, other: Address) -> Vec<u32> {
    let of = |(place, message): &(usize, Message)| {
        let Frame::Rndv(rndv) = &frames[*place].frame else {
            return message.length;
        };
        let later = frames[*place..]
            .iter()
            .filter(|parsed| is_between(parsed, own, other));
        let mut pulls = later.filter_map(|parsed| match parsed.frame {
            Frame::Pull(pull) if pull.rdma == rndv.rdma => Some(pull.total_length),
            _ => None,
        });
        pulls.next().unwrap_or(0)
    };
    messages(frames, other, own).iter().map(of).collect()
}

/// What is not to be expected of a replay, and why.
struct Exceptions {
    /// The recorded host's messages: not all are sent again.
    sent: bool,
    /// The peer's messages: not all are received.
    received: bool,
}

/// By recording and the role we take: the one that connected first asks.
fn exceptions(name: &str, asks: bool) -> Exceptions {
    let (sent, received) = match (name, asks) {
        // The recorded host forgot what it had received, and then ignored what it was sent. We forget nothing.
        ("compat/disconnect-reconnect", true) => (true, false),
        // The recorded hosts did not agree on numbers after one of them gave up; we do, and number otherwise.
        ("compat/give-up", _) => (true, true),
        // After the first rejection we know that the connection is lost, and send nothing more by it.
        ("compat/nack-closed-endpoint" | "compat/nack-bad-session", true) => (true, false),
        // Its large message is withdrawn, or goes to a session that is no more.
        ("compat/nack-bad-session" | "compat/nack-closed-endpoint", false) => (false, true),
        _ => (false, false),
    };
    Exceptions { sent, received }
}

fn session_of(frames: &[Parsed], own: Address) -> impl Iterator<Item = (usize, SessionId)> + '_ {
    frames
        .iter()
        .enumerate()
        .filter_map(move |(place, parsed)| match parsed.frame {
            Frame::Connect(connect)
                if parsed.eth.source == own.nic && connect.from == own.endpoint =>
            {
                match connect.role {
                    ConnectRole::Request { .. } => Some((place, connect.session)),
                    ConnectRole::Reply { session, .. } => Some((place, session)),
                }
            }
            _ => None,
        })
}

/// The key that others showed when they were let in.
fn key_of(frames: &[Parsed], own: Address) -> u32 {
    let accepted = frames.iter().filter_map(|parsed| match parsed.frame {
        Frame::Connect(connect) if parsed.eth.source == own.nic => match connect.role {
            ConnectRole::Reply {
                status: ConnectStatus::Success,
                ..
            } => Some((connect.session, connect.attempt)),
            _ => None,
        },
        _ => None,
    });
    let accepted: Vec<_> = accepted.collect();
    let keys = frames.iter().find_map(|parsed| match parsed.frame {
        Frame::Connect(connect) if parsed.eth.destination == own.nic => match connect.role {
            ConnectRole::Request { key } => accepted
                .contains(&(connect.session, connect.attempt))
                .then_some(key),
            ConnectRole::Reply { .. } => None,
        },
        _ => None,
    });
    keys.unwrap_or(0x1234_5678)
}

/// Whether the frame rejects what only the recorded host would have sent: a NOTIFY without a session, since it took none from
/// a connect reply. (That its PULL is rejected for the same reason is let happen: it ends our pull, too.)
fn is_provoked(name: &str, frame: &Frame) -> bool {
    name == "compat/nack-pull-no-connect-back" && matches!(frame, Frame::NackLib(_))
}

/// Takes one host's place for the whole recording. Gives how many messages it has sent and received.
fn replay(
    recording: &Recording,
    frames: &[Parsed],
    own: Address,
    other: Address,
    asks: bool,
) -> (usize, usize) {
    let name = &recording.name;
    let mut stage = Stage::new(recording, own, other, rooms(frames, own, other));
    stage.key = key_of(frames, own);
    let sessions: Vec<_> = session_of(frames, own).collect();
    stage.open(sessions[0].1);
    let theirs = messages(frames, own, other);
    let mut acted = BTreeSet::new();
    let mut reopened = false;
    for (place, parsed) in frames.iter().enumerate() {
        let recorded = &recording.frames[place];
        stage.advance(Time::ZERO + recorded.at.saturating_sub(recording.frames[0].at));
        if is_between(parsed, own, other) {
            match &parsed.frame {
                Frame::NackLib(nack) if nack.nack == NackKind::BadSession && !reopened => {
                    reopened = true;
                    let next = sessions.iter().find(|(later, _)| *later > place);
                    stage.open(next.map_or(SessionId::new(1), |(_, session)| *session));
                }
                Frame::Connect(connect) => {
                    // A request is repeated while it is not answered: that is the engine's to do.
                    let request = matches!(connect.role, ConnectRole::Request { .. });
                    if request && acted.insert((connect.session.get(), connect.attempt)) {
                        stage.act(&parsed.frame);
                    }
                }
                frame => stage.act(frame),
            }
            if let Some((_, message)) = theirs.iter().find(|(first, _)| *first == place) {
                stage.send(message);
            }
        } else if is_between(parsed, other, own) && !is_provoked(name, &parsed.frame) {
            stage.hear(parsed.clone(), &recorded.bytes, recorded.len);
        }
    }
    stage.endpoint.flush_acks(stage.now);
    stage.collect();
    stage.advance(stage.now + Duration::from_millis(5));
    let except = exceptions(name, asks);
    if !except.sent {
        let emitted: Vec<_> = stage.emitted.values().copied().collect();
        let expected: Vec<_> = theirs.iter().map(|(_, message)| *message).collect();
        assert_eq!(emitted, expected, "{name}: what {own} sent");
    }
    if !except.received {
        check_received(&stage, frames);
    }
    (stage.emitted.len(), stage.received.len())
}

/// Whether the recorder caught all of a large message: it missed a few frames that the recorded host did not.
fn is_recorded(frames: &[Parsed], place: usize, own: Address, other: Address) -> bool {
    let Frame::Rndv(rndv) = &frames[place].frame else {
        return true;
    };
    let later = || frames[place..].iter();
    let handle = later().find_map(|parsed| match parsed.frame {
        Frame::Pull(pull) if is_between(parsed, own, other) && pull.rdma == rndv.rdma => {
            Some((pull.handle, pull.total_length))
        }
        _ => None,
    });
    let Some((handle, total)) = handle else {
        return true;
    };
    let rejected =
        |parsed: &Parsed| matches!(parsed.frame, Frame::NackMcp(n) if n.handle == handle);
    let pieces = later().filter_map(|parsed| match parsed.frame {
        Frame::PullReply(reply) if reply.handle == handle => Some((reply.offset, reply.length)),
        _ => None,
    });
    let pieces: BTreeMap<_, _> = pieces.collect();
    let bytes: u32 = pieces.values().map(|length| u32::from(*length)).sum();
    bytes == total || later().any(rejected)
}

/// All that the peer sent has arrived, byte by byte where the bytes were recorded.
fn check_received(stage: &Stage<'_>, frames: &[Parsed]) {
    let name = &stage.recording.name;
    let mut sent = messages(frames, stage.other, stage.own);
    sent.retain(|(place, _)| is_recorded(frames, *place, stage.own, stage.other));
    assert_eq!(
        stage.received.len(),
        sent.len(),
        "{name}: what {} received",
        stage.own
    );
    let withdrawn = name.contains("nack-pull");
    let cut = name.contains("frame-wrap");
    for ((place, message), entry) in sent.iter().zip(&stage.received) {
        let (match_info, whole, length, status, region) = *entry;
        assert_eq!(
            (match_info, whole),
            (message.match_info, message.length),
            "{name}"
        );
        if withdrawn && message.kind == "rndv" {
            assert_eq!(
                (status, length),
                (Status::PullFailed, 0),
                "{name}: message {place}"
            );
            continue;
        }
        assert!(
            matches!(status, Status::Success | Status::Truncated),
            "{name}: {status}"
        );
        let bytes = &stage.regions[region.0 as usize][..length as usize];
        if !cut && let Some(&seed) = bytes.first() {
            assert!(
                bytes == pattern(bytes.len(), seed),
                "{name}: message {place}"
            );
        }
    }
}

#[test]
fn the_engine_stands_in_for_either_host_of_every_conversation() {
    let (mut played, mut sent, mut received) = (0, 0, 0);
    for recording in recordings::all() {
        let frames = parse_all(&recording);
        // Discovery alone, and a recording that begins in the middle, show no handshake.
        let Some((asks, answers)) = conversation(&frames) else {
            continue;
        };
        // Where frames were lost between the two links, only the host on the recorded link saw just this.
        let roles = [(asks, answers, true), (answers, asks, false)];
        for (own, other, asks) in roles {
            let unseen = if asks { "-at-receiver" } else { "-at-sender" };
            if !recording.name.ends_with(unseen) {
                println!("{} as {own}", recording.name);
                let (out, into) = replay(&recording, &frames, own, other, asks);
                sent += out;
                received += into;
                played += 1;
            }
        }
    }
    assert_eq!((played, sent, received), (84, 214, 216));
}
