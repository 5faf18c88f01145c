//! Endpoints with memory, on a network that loses, doubles and reorders from a seed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::addr::{Address, EndpointId, NicAddr};
use crate::engine::{
    Arrival, Config, Connect, Endpoint, Event, Gone, OfferId, PartnerId, PathId, PathProfile,
    Placement, PullId, Receive, RegionId, RequestId, Send, SendMode, Slice, Space, Status, Target,
};
use crate::frame::{Dialect, HEAD_BYTES};
use crate::matching::hash::splitmix;
use crate::time::Time;

pub(super) const KEY: u32 = 0x5eed;
pub(super) const WINDOW: u32 = 256 << 10;

/// What the network does to frames, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) loss: u64,
    pub(super) duplicates: u64,
    /// Each frame takes up to so much longer than the others.
    pub(super) jitter: Duration,
}

/// A program with its endpoint, and the driver's part.
pub(super) struct Host {
    pub(super) endpoint: Endpoint,
    pub(super) address: Address,
    pub(super) regions: Vec<Vec<u8>>,
    stores: HashMap<u32, Vec<u8>>,
    /// What can be read in place of pulling.
    offers: HashMap<u32, Vec<u8>>,
    /// Whether reading it works.
    pub(super) fetches: bool,
    /// Whether what can be read is asked for first.
    pub(super) asks_first: bool,
    /// What was: pull, offer, region, length.
    asked: Vec<(PullId, OfferId, RegionId, u32)>,
    pub(super) events: Vec<Event>,
    /// Tokens of what was sent at once, and is over.
    pub(super) delivered: Vec<u64>,
}

impl Host {
    fn new(config: Config) -> Self {
        Self {
            address: config.address,
            endpoint: Endpoint::new(config),
            regions: vec![],
            stores: HashMap::new(),
            offers: HashMap::new(),
            fetches: true,
            asks_first: false,
            asked: vec![],
            events: vec![],
            delivered: vec![],
        }
    }

    /// One whose frames a test makes itself.
    pub(super) fn stranger(address: Address) -> Self {
        Self::new(Config::new(address, KEY, 0))
    }

    pub(super) fn region(&mut self, bytes: Vec<u8>) -> RegionId {
        self.regions.push(bytes);
        RegionId(u32::try_from(self.regions.len() - 1).unwrap())
    }

    fn bytes(&self, slice: Slice) -> &[u8] {
        let start = slice.offset as usize;
        &self.regions[slice.region.0 as usize][start..start + slice.len as usize]
    }

    fn place(&mut self, placement: &Placement, frame: &[u8]) {
        let payload = &frame[placement.payload.clone()];
        assert!(!payload.is_empty(), "empty placements are not given");
        let (memory, offset) = match placement.target {
            Target::Region { region, offset } => (&mut self.regions[region.0 as usize], offset),
            Target::Store { id, size, offset } => {
                let fresh = || vec![0xee; size as usize];
                let entry = self.stores.entry(id.0).or_insert_with(fresh);
                assert_eq!(
                    entry.len(),
                    size as usize,
                    "an entry was used again too early"
                );
                (entry, offset)
            }
        };
        memory[offset as usize..][..payload.len()].copy_from_slice(payload);
    }

    /// Carries out what the events ask for, and keeps the others.
    pub(super) fn process_events(&mut self, now: Time) {
        while let Some(delivered) = self.endpoint.poll_delivered() {
            self.delivered.push(delivered.token);
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Copy { from, to, len } => {
                    let bytes = self.stores[&from.0][..len as usize].to_vec();
                    self.regions[to.0 as usize][..len as usize].copy_from_slice(&bytes);
                }
                Event::StoreFreed { id } => {
                    self.stores
                        .remove(&id.0)
                        .expect("only what was used is freed");
                }
                Event::Fetch {
                    pull,
                    offer,
                    to,
                    len,
                } => {
                    if self.asks_first {
                        assert!(self.endpoint.pull_first(now, pull));
                        self.asked.push((pull, offer, to, len));
                        continue;
                    }
                    let result = if self.fetches {
                        let bytes = self.offers[&offer.0][..len as usize].to_vec();
                        self.regions[to.0 as usize][..len as usize].copy_from_slice(&bytes);
                        Ok(())
                    } else {
                        Err(crate::engine::FetchFailed)
                    };
                    self.endpoint.fetched(now, pull, result);
                }
                Event::OfferFreed { offer } => {
                    self.offers
                        .remove(&offer.0)
                        .expect("only what was offered is freed");
                }
                event => self.events.push(event),
            }
        }
    }

    /// Reads what was asked for and has not come. Gives the bytes that were not read, since they had come.
    pub(super) fn read_asked(&mut self, now: Time) -> u32 {
        let mut came = 0;
        for (pull, offer, to, len) in std::mem::take(&mut self.asked) {
            let Some(done) = self.endpoint.read_after_all(now, pull) else {
                continue;
            };
            came += done;
            let (done, len) = (done as usize, len as usize);
            let bytes = self.offers[&offer.0][done..len].to_vec();
            self.regions[to.0 as usize][done..len].copy_from_slice(&bytes);
            self.endpoint.fetched(now, pull, Ok(()));
        }
        self.process_events(now);
        came
    }

    /// The partner at an address, which must be known.
    pub(super) fn partner(&self, address: Address) -> PartnerId {
        self.endpoint
            .find_partner(address)
            .expect("the partner is known")
    }

    /// The event that ended a request.
    pub(super) fn end_of(&self, wanted: RequestId) -> Option<Event> {
        let of = |event: &&Event| match event {
            Event::Connected { request, .. }
            | Event::ConnectFailed { request, .. }
            | Event::Sent { request, .. }
            | Event::Received { request, .. }
            | Event::Cancelled { request, .. } => *request == wanted,
            _ => false,
        };
        assert!(
            self.events.iter().filter(of).count() < 2,
            "a request ends once"
        );
        self.events.iter().find(of).copied()
    }

    /// How a request ended.
    pub(super) fn status_of(&self, wanted: RequestId) -> Option<Status> {
        Some(match self.end_of(wanted)? {
            Event::Connected { .. } => Status::Success,
            Event::ConnectFailed { status, .. }
            | Event::Sent { status, .. }
            | Event::Received { status, .. }
            | Event::Cancelled { status, .. } => status,
            other => panic!("{other:?} ends no request"),
        })
    }

    /// Nothing is left of what messages took.
    pub(super) fn assert_clean(&self) {
        assert!(self.endpoint.is_idle(), "{}", self.address);
        assert!(self.offers.is_empty(), "{}: offers are left", self.address);
        assert!(
            self.stores.is_empty(),
            "{}: stored messages are left",
            self.address
        );
        assert_eq!(self.endpoint.store_bytes(), 0);
    }
}

struct Flight {
    to: usize,
    path: PathId,
    from: NicAddr,
    bytes: Vec<u8>,
    offer: Option<Vec<u8>>,
}

/// Sees who sends what; `false` loses it.
type Filter = Box<dyn FnMut(usize, &[u8]) -> bool>;

pub(super) struct Net {
    pub(super) hosts: Vec<Host>,
    pub(super) now: Time,
    flying: BTreeMap<(Time, u64), Flight>,
    pub(super) faults: Faults,
    random: u64,
    serial: u64,
    next_offer: u32,
    /// How long a frame takes at least.
    pub(super) latency: Duration,
    /// Nothing is taken from engines: their rings are full.
    pub(super) blocked: bool,
    /// Frames sent.
    pub(super) frames: u64,
    /// Looks at every frame; drops it by `false`.
    pub(super) filter: Filter,
}

pub(super) fn address(number: u8) -> Address {
    let nic = NicAddr::new([2, 0, 0, 0, 0, number]);
    Address::new(nic, EndpointId::new(number))
}

pub(super) fn config(number: u8, seed: u64) -> Config {
    Config::new(address(number), KEY, seed ^ (u64::from(number) << 32))
}

impl Net {
    pub(super) fn new(count: u8, dialect: Dialect, seed: u64) -> Self {
        Self::with(count, dialect, seed, |_| {})
    }

    pub(super) fn with(
        count: u8,
        dialect: Dialect,
        seed: u64,
        adjust: impl Fn(&mut Config),
    ) -> Self {
        let host = |number| {
            let mut config = config(number, seed);
            adjust(&mut config);
            let mut host = Host::new(config);
            let profile = PathProfile::new(dialect, WINDOW);
            host.endpoint.set_path(Time::ZERO, PathId::SWITCH, profile);
            host
        };
        Self {
            hosts: (0..count).map(host).collect(),
            now: Time::ZERO + Duration::from_secs(1),
            flying: BTreeMap::new(),
            faults: Faults::default(),
            random: seed,
            serial: 0,
            next_offer: 0,
            latency: Duration::from_micros(10),
            blocked: false,
            frames: 0,
            filter: Box::new(|_, _| true),
        }
    }

    pub(super) fn random(&mut self, below: u64) -> u64 {
        splitmix(&mut self.random) % below.max(1)
    }

    fn launch(&mut self, from: usize) {
        if self.blocked {
            return;
        }
        for number in 0..4 {
            let path = PathId::new(number);
            loop {
                let host = &mut self.hosts[from];
                let Some(transmit) = host.endpoint.poll_transmit(self.now, path) else {
                    break;
                };
                let mut bytes = transmit.head.to_vec();
                bytes.extend(transmit.payload.map_or(&[][..], |slice| host.bytes(slice)));
                let offer = transmit.offer.map(|slice| host.bytes(slice).to_vec());
                // As on the wire: lengths are to be taken from heads.
                bytes.resize(bytes.len().max(60), 0xcc);
                self.frames += 1;
                if !(self.filter)(from, &bytes) {
                    continue;
                }
                let to = transmit.to;
                let to = self.hosts.iter().position(|host| host.address.nic == to);
                let Some(to) = to else { continue };
                let lossless = path != PathId::SWITCH;
                let copies = match self.random(1000) {
                    _ if lossless => 1,
                    n if n < self.faults.loss => 0,
                    n if n >= 1000 - self.faults.duplicates => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    let jitter = u64::try_from(self.faults.jitter.as_nanos()).unwrap();
                    let extra = if lossless { 0 } else { self.random(jitter + 1) };
                    let at = self.now + self.latency + Duration::from_nanos(extra);
                    self.serial += 1;
                    let flight = Flight {
                        to,
                        path,
                        from: self.hosts[from].address.nic,
                        bytes: bytes.clone(),
                        offer: offer.clone(),
                    };
                    self.flying.insert((at, self.serial), flight);
                }
            }
        }
    }

    fn land(&mut self, flight: &Flight) {
        let offer = flight.offer.clone().map(|bytes| {
            self.next_offer += 1;
            self.hosts[flight.to].offers.insert(self.next_offer, bytes);
            OfferId(self.next_offer)
        });
        let host = &mut self.hosts[flight.to];
        let arrival = Arrival {
            path: flight.path,
            from: flight.from,
            head: &flight.bytes[..flight.bytes.len().min(HEAD_BYTES)],
            len: flight.bytes.len(),
            offer,
        };
        let placement = host.endpoint.handle_frame(self.now, arrival);
        if let Some(placement) = placement.expect("an engine's frame can be read") {
            host.place(&placement, &flight.bytes);
        }
    }

    /// Gives a frame of our making to a host, as from another one.
    pub(super) fn inject(&mut self, to: usize, from: usize, bytes: Vec<u8>) {
        let from = self.hosts[from].address.nic;
        let (path, offer) = (PathId::SWITCH, None);
        self.land(&Flight {
            to,
            path,
            from,
            bytes,
            offer,
        });
    }

    /// Lets everything happen that happens now.
    fn settle(&mut self) {
        for number in 0..self.hosts.len() {
            self.hosts[number].process_events(self.now);
            self.launch(number);
            self.hosts[number].process_events(self.now);
        }
    }

    /// Goes on to the next thing to happen, not beyond `end`. `false` when there is none.
    pub(super) fn step(&mut self, end: Time) -> bool {
        self.settle();
        let frame = self.flying.keys().next().map(|(at, _)| *at);
        let timers = self.hosts.iter().map(|host| host.endpoint.next_timeout());
        let timer = timers.flatten().min();
        let Some(next) = frame.into_iter().chain(timer).min() else {
            return false;
        };
        if next > end {
            self.now = end;
            return false;
        }
        self.now = self.now.max(next);
        if timer == Some(next) {
            for host in &mut self.hosts {
                host.endpoint.handle_timeout(self.now);
            }
        }
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let flight = entry.remove();
            self.land(&flight);
        }
        true
    }

    /// Until nothing happens any more, at most so long.
    pub(super) fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        while self.step(end) {}
        self.settle();
    }

    /// Connects one host to another, and waits for it.
    pub(super) fn connect(&mut self, from: usize, to: usize) -> PartnerId {
        let address = self.hosts[to].address;
        let connect = Connect {
            to: address,
            key: KEY,
            deadline: None,
            token: 0,
        };
        let now = self.now;
        let request = self.hosts[from].endpoint.connect(now, connect).unwrap();
        let end = self.now + Duration::from_secs(50);
        while self.hosts[from].end_of(request).is_none() && self.step(end) {}
        match self.hosts[from].end_of(request) {
            Some(Event::Connected { partner, .. }) => partner,
            other => panic!("not connected: {other:?}"),
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, info: u64, bytes: Vec<u8>) -> RequestId {
        self.send_as(from, to, info, bytes, SendMode::Standard)
    }

    pub(super) fn send_as(
        &mut self,
        from: usize,
        to: usize,
        info: u64,
        bytes: Vec<u8>,
        mode: SendMode,
    ) -> RequestId {
        self.send_with(from, to, (info, None), bytes, mode)
    }

    /// The same, with data beside the message.
    pub(super) fn send_with(
        &mut self,
        from: usize,
        to: usize,
        (info, data): (u64, Option<u64>),
        bytes: Vec<u8>,
        mode: SendMode,
    ) -> RequestId {
        let address = self.hosts[to].address;
        let host = &mut self.hosts[from];
        let len = u32::try_from(bytes.len()).unwrap();
        let send = Send {
            to: host.partner(address),
            space: Space::Tagged,
            match_info: info,
            data,
            region: host.region(bytes),
            len,
            mode,
            token: info,
        };
        host.endpoint.send(self.now, send).unwrap()
    }

    /// Posts a receive for any message whose upper half is that of `info`, from anyone.
    pub(super) fn receive(&mut self, at: usize, info: u64, room: usize) -> (RequestId, RegionId) {
        self.receive_masked(at, info, 0xffff_ffff_0000_0000, room)
    }

    pub(super) fn receive_masked(
        &mut self,
        at: usize,
        info: u64,
        mask: u64,
        room: usize,
    ) -> (RequestId, RegionId) {
        let host = &mut self.hosts[at];
        let region = host.region(vec![0; room]);
        let receive = Receive {
            space: Space::Tagged,
            match_info: info & mask,
            mask,
            source: None,
            region,
            len: u32::try_from(room).unwrap(),
            token: info,
        };
        let request = host.endpoint.receive(|| self.now, receive).unwrap();
        (request, region)
    }

    /// Gives the first two hosts a path of their own, which frames to each other take from now on.
    pub(super) fn make_direct(&mut self, path: PathId, profile: PathProfile) {
        for number in 0..2_u8 {
            let (now, other) = (self.now, address(1 - number));
            let endpoint = &mut self.hosts[usize::from(number)].endpoint;
            endpoint.set_path(now, path, profile);
            endpoint.route(now, other, path);
        }
    }

    /// The host's program ends and starts again: another session, no memory of partners.
    pub(super) fn restart(&mut self, number: usize, seed: u64, dialect: Dialect) {
        let id = u8::try_from(number).unwrap();
        let mut host = Host::new(config(id, seed));
        let profile = PathProfile::new(dialect, WINDOW);
        host.endpoint.set_path(self.now, PathId::SWITCH, profile);
        self.hosts[number] = host;
    }

    pub(super) fn gone(&mut self, at: usize, who: usize) {
        let who = Gone::Endpoint(self.hosts[who].address);
        let now = self.now;
        self.hosts[at].endpoint.peer_gone(now, who);
    }
}

/// Bytes that tell which message they belong to.
pub(super) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(splitmix(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
