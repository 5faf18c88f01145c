//! A host under test, and guests that send and receive frames by hand.

use std::os::fd::AsFd;
use std::time::Duration;

use mxoe::addr::{Address, EndpointId, NicAddr, PeerIndex, SeqNo, SessionId};
use mxoe::frame::{Dialect, EthHead, Frame, Head, MessageHead, Parsed, Tiny, parse};
use myrixen_backend::ids::UplinkId;
use myrixen_backend::secret::Secret;
use myrixen_backend::{
    Backend, BackendConfig, Clock, HostConfig, Limits, PartitionConfig, UplinkConfig, Worker,
};
use myrixen_control::{PortCounters, Reply, Request, Snapshot};
use myrixen_link::{Link, Tag};
use myrixen_platform::message::{GuestLimits, Name, Ticket, Welcome, Wish};
use myrixen_platform::process::{
    AttachError, Attachment, Connector, HelloOptions, News, PortHandles, embedded,
};
use myrixen_platform::{Policy, WaitSet};
use myrixen_ring::{Capacity, Kind};

/// Longer than anything takes; only a broken build waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const GUEST_LIMITS: GuestLimits = GuestLimits {
    ports: 16,
    directs: 4,
    ring_bytes: 1 << 20,
};

/// A back end whose workers the test drives.
pub(crate) struct Host {
    pub(crate) backend: Backend,
    pub(crate) workers: Vec<Worker>,
    connector: Connector,
    clock: Clock,
}

/// One partition, "p", on this host alone, and one worker.
pub(crate) fn config() -> BackendConfig {
    BackendConfig {
        host: HostConfig {
            name: "host".into(),
            id: b"id".to_vec(),
            secret: Secret::from_bytes([3; 32]),
            await_return: Duration::ZERO,
        },
        partitions: vec![partition("p", None)],
        uplinks: vec![],
        boards: vec![],
        policy: Policy::open(GUEST_LIMITS),
        limits: Limits::default(),
        workers: 1,
        poll: Duration::ZERO,
        operator: None,
    }
}

pub(crate) fn partition(name: &str, tag: Option<Tag>) -> PartitionConfig {
    let uplink = tag.map(|tag| (UplinkId::new(0), tag));
    PartitionConfig {
        name: name.into(),
        dialect: Dialect::DEFAULT,
        uplink,
    }
}

/// A configuration with these partitions on one uplink.
pub(crate) fn wired(link: impl Link + 'static, partitions: &[(&str, Tag)]) -> BackendConfig {
    let uplinks = vec![UplinkConfig {
        name: "wire".into(),
        link: Box::new(link),
    }];
    let partitions = partitions
        .iter()
        .map(|(n, tag)| partition(n, Some(*tag)))
        .collect();
    BackendConfig {
        uplinks,
        partitions,
        ..config()
    }
}

impl Host {
    pub(crate) fn new(config: BackendConfig) -> Self {
        let (meeting, connector) = embedded().unwrap();
        let (backend, workers) = Backend::start_inline(config, vec![Box::new(meeting)]).unwrap();
        let clock = backend.clock();
        Self {
            backend,
            workers,
            connector,
            clock,
        }
    }

    /// One turn of every worker; gives the frames that were looked at.
    pub(crate) fn turn(&mut self) -> usize {
        let now = self.clock.now();
        self.workers
            .iter_mut()
            .map(|worker| worker.turn(now).frames)
            .sum()
    }

    /// Turns until nothing moves any more.
    pub(crate) fn settle(&mut self) {
        while self.turn() > 0 {}
    }

    pub(crate) fn attach_as(
        &self,
        board: &str,
        partition: &str,
        ticket: Option<Ticket>,
    ) -> Result<Guest, AttachError> {
        let name = |text: &str| (!text.is_empty()).then(|| Name::new(text).unwrap());
        let wish = Wish {
            board: name(board),
            partition: name(partition),
        };
        let options = HelloOptions {
            wish,
            ticket,
            timeout: PATIENCE,
            ..HelloOptions::default()
        };
        let (attachment, welcome) = self.connector.connect(options).unwrap().wait()?;
        Ok(Guest {
            attachment,
            welcome,
        })
    }

    pub(crate) fn attach(&self, board: &str) -> Guest {
        self.attach_as(board, "", None).unwrap()
    }

    /// What the back end says of itself. What the control side had been told before has been dealt with by then.
    pub(crate) fn snapshot(&self) -> Snapshot {
        // The first answer may be given before the same round's reports are looked at.
        for _ in 0..2 {
            let _ = self.backend.ask(Request::Status);
        }
        let Some(Reply::Counters(snapshot)) = self.backend.ask(Request::Counters) else {
            panic!("no counters")
        };
        *snapshot
    }

    pub(crate) fn counters(&self, port: &Port) -> PortCounters {
        let at = port.address();
        let mut ports = self.snapshot().ports.into_iter();
        let found = ports.find(|p| p.mac == at.nic && p.endpoint == at.endpoint.get());
        found.expect("an open port").counters
    }
}

/// An attached program.
pub(crate) struct Guest {
    pub(crate) attachment: Attachment,
    pub(crate) welcome: Welcome,
}

impl Guest {
    pub(crate) fn nic(&self) -> NicAddr {
        NicAddr::new(self.welcome.mac.bytes())
    }

    pub(crate) fn open(&self, endpoint: u8) -> Port {
        self.open_sized(endpoint, 1 << 16)
    }

    pub(crate) fn open_sized(&self, endpoint: u8, bytes: u32) -> Port {
        let rings = [Capacity::new(bytes).unwrap(); 2];
        let handles = self
            .attachment
            .open_port(Some(endpoint), rings, PATIENCE)
            .unwrap();
        Port {
            handles,
            nic: self.nic(),
        }
    }

    /// The next news, waited for.
    pub(crate) fn news(&self) -> News {
        let set = WaitSet::new().unwrap();
        self.attachment.watch(&set, 1).unwrap();
        let news = loop {
            if let Some(news) = self.attachment.next_news() {
                break news;
            }
            assert!(!self.attachment.is_lost(), "detached");
            set.wait(Some(PATIENCE), &mut Vec::new()).unwrap();
        };
        self.attachment.unwatch(&set);
        news
    }

    /// Waits until the back end has let us go.
    pub(crate) fn wait_lost(&self) {
        let set = WaitSet::new().unwrap();
        self.attachment.watch(&set, 1).unwrap();
        while !self.attachment.is_lost() {
            let _ = self.attachment.next_news();
            if !self.attachment.is_lost() {
                set.wait(Some(PATIENCE), &mut Vec::new()).unwrap();
            }
        }
    }
}

/// An open endpoint.
pub(crate) struct Port {
    pub(crate) handles: PortHandles,
    nic: NicAddr,
}

impl Port {
    pub(crate) fn address(&self) -> Address {
        Address::new(self.nic, EndpointId::new(self.handles.endpoint))
    }

    /// Puts a frame into the ring; false when there is no room.
    pub(crate) fn try_send(&mut self, frame: &[u8]) -> bool {
        let Some(mut slot) = self.handles.pair.producer.reserve(frame.len(), 0).unwrap() else {
            return false;
        };
        slot.write(0, frame);
        slot.publish(Kind::Frame);
        true
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        assert!(self.try_send(frame), "no room");
        if self.handles.pair.producer.needs_bell() {
            self.handles.ringer.ring();
        }
    }

    /// Takes the next frame out of the ring.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let consumer = &mut self.handles.pair.consumer;
        let found = consumer.peek().unwrap().map(|record| {
            let mut frame = vec![0; record.len()];
            consumer.read(&record, 0, &mut frame);
            consumer.advance(record);
            frame
        });
        let _ = consumer.release();
        found
    }

    /// The next frame, parsed.
    pub(crate) fn receive_parsed(&mut self) -> Option<Parsed> {
        let frame = self.receive()?;
        Some(parse(Dialect::DEFAULT, &frame, frame.len()).unwrap())
    }

    /// Waits for the doorbell until a frame is there.
    pub(crate) fn wait_receive(&mut self) -> Vec<u8> {
        let set = WaitSet::new().unwrap();
        set.add(
            self.handles.waiter.fd(),
            1,
            myrixen_platform::Interest::Read,
        )
        .unwrap();
        loop {
            if let Some(frame) = self.receive() {
                set.remove(self.handles.waiter.fd().as_fd());
                return frame;
            }
            if self.handles.pair.consumer.prepare_sleep().may_sleep {
                set.wait(Some(PATIENCE), &mut Vec::new()).unwrap();
                self.handles.waiter.drain();
                self.handles.pair.consumer.end_sleep();
            }
        }
    }
}

/// The head of a message between two endpoints.
pub(crate) fn message_head(from: Address, to: Address) -> MessageHead {
    MessageHead {
        to: to.endpoint,
        from: from.endpoint,
        generation: 0,
        checksum: 0,
        seq: SeqNo::FIRST,
        piggyack: SeqNo::FIRST,
        match_info: 42,
        session: SessionId::new(7),
    }
}

/// A whole frame, its payload included.
pub(crate) fn frame(from: NicAddr, to: NicAddr, what: Frame, payload: &[u8]) -> Vec<u8> {
    let eth = EthHead {
        destination: to,
        source: from,
        peer_index: PeerIndex::UNKNOWN,
    };
    let mut head = Head::new();
    what.emit(Dialect::DEFAULT, &eth, &mut head);
    [&head[..], payload].concat()
}

/// A message of at most 32 bytes.
pub(crate) fn tiny(from: Address, to: Address, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let tiny = Tiny {
        head: message_head(from, to),
        length,
    };
    frame(from.nic, to.nic, Frame::Tiny(tiny), payload)
}

/// A frame of exactly `len` bytes: a TINY with as much after it as it takes. The switch looks at no more
/// than its head.
pub(crate) fn sized(from: Address, to: Address, len: usize) -> Vec<u8> {
    let mut frame = tiny(from, to, &[]);
    let fill = (frame.len()..len).map(|n| n.to_le_bytes()[0]);
    frame.extend(fill);
    frame
}
