//! A broker on a bench: time, back end and granted memory are the test's.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use myrixen_agent::{Broker, Budget, Lender, Rules, Upstream};
use myrixen_platform::message::{
    Brought, Dialect, GuestLimits, Mac, Name, Notice, PORTS_STAY, PortAddress, Profile, Reply,
    Request, Serial, VERSION, Welcome,
};
use myrixen_platform::process::{
    Answer, AttachError, Attachment, Connector, EmbeddedMeeting, Handshake, HelloOptions, Listener,
    PortHandles, embedded,
};
use myrixen_platform::xen::front::{Connected, FrontEvent, FrontLoss};
use myrixen_platform::{GuestLink, Handover, Heard, Meeting, Policy, SetupError, WaitSet};
use myrixen_ring::{Capacity, Layout, Support, Terms};

/// Our board.
pub(crate) const OURS: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
/// A board of another domain.
pub(crate) const THEIRS: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
/// The domain of the back end.
pub(crate) const BACK: u16 = 7;

pub(crate) fn at(mac: Mac, endpoint: u8) -> PortAddress {
    PortAddress { mac, endpoint }
}

#[derive(Debug, Default)]
pub(crate) struct Played {
    events: VecDeque<FrontEvent>,
    asked: VecDeque<(Serial, Request)>,
    connected: bool,
    left: bool,
    next: u64,
}

/// The back end of one device, as the test plays it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BackEnd(Arc<Mutex<Played>>);

impl BackEnd {
    fn lock(&self) -> MutexGuard<'_, Played> {
        self.0.lock().unwrap()
    }

    pub(crate) fn connect(&self, mac: Mac, partition: &str) {
        let mut played = self.lock();
        played.connected = true;
        let connected = Connected {
            welcome: welcome(mac, partition),
            support: Support::OURS,
            back: BACK,
        };
        played
            .events
            .push_back(FrontEvent::Connected(Box::new(connected)));
    }

    pub(crate) fn lose(&self) {
        let mut played = self.lock();
        played.connected = false;
        played.events.push_back(FrontEvent::Lost(FrontLoss::HungUp));
    }

    /// Whether the broker has left it in good order.
    pub(crate) fn was_left(&self) -> bool {
        self.lock().left
    }

    pub(crate) fn asked(&self) -> Option<(Serial, Request)> {
        self.lock().asked.pop_front()
    }

    pub(crate) fn reply(&self, to: Serial, reply: Reply) {
        self.lock().events.push_back(FrontEvent::Reply(to, reply));
    }

    pub(crate) fn say(&self, notice: Notice) {
        self.lock().events.push_back(FrontEvent::Notice(notice));
    }
}

impl Upstream for BackEnd {
    fn leave(&mut self, _now: Instant) {
        let mut played = self.lock();
        played.connected = false;
        played.left = true;
        played.events.push_back(FrontEvent::Lost(FrontLoss::LetGo));
    }

    fn watch(&mut self, _: &WaitSet, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn poll(&mut self, _: Instant) -> Option<FrontEvent> {
        self.lock().events.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn ask(&mut self, request: &Request) -> Option<Serial> {
        let mut played = self.lock();
        if !played.connected {
            return None;
        }
        played.next += 1;
        let serial = Serial::new(played.next);
        played.asked.push_back((serial, request.clone()));
        Some(serial)
    }
}

pub(crate) fn welcome(mac: Mac, partition: &str) -> Welcome {
    Welcome {
        version: VERSION,
        features: PORTS_STAY | 0x8000,
        mac,
        board: Name::new(format!("domain{}:0", mac.bytes()[5])).unwrap(),
        partition: Name::new(partition).unwrap(),
        profile: Profile {
            dialect: Dialect::Native,
            mtu: 9000,
        },
        limits: GuestLimits {
            ports: 256,
            directs: 64,
            ring_bytes: 1 << 24,
        },
        ticket: None,
    }
}

/// Lent memory is ordinary memory here: a guest of an embedded back end is given what makes a queue pair.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) lent: Vec<(u16, Terms)>,
    pub(crate) borrowed: Vec<(u16, Brought)>,
    /// Pools, lent and borrowed, by the other domain and their length.
    pub(crate) pools: Vec<(u16, u32)>,
    pub(crate) full: bool,
    /// Pages are used up.
    pub(crate) used_up: bool,
}

pub(crate) struct Memory {
    link: Box<dyn GuestLink>,
    _meeting: (EmbeddedMeeting, Connector, Handshake),
    shared: Arc<Mutex<Lent>>,
}

impl Memory {
    fn new(shared: Arc<Mutex<Lent>>) -> Self {
        let (mut meeting, connector) = embedded().unwrap();
        let handshake = connector.connect(HelloOptions::default()).unwrap();
        let mut link = meeting.accept().unwrap().unwrap();
        assert!(matches!(link.hear(), Ok(Some(Heard::Hello(_)))));
        Self {
            link,
            _meeting: (meeting, connector, handshake),
            shared,
        }
    }

    fn make(&mut self, terms: &Terms) -> Result<Handover, SetupError> {
        if self.shared.lock().unwrap().full {
            return Err(SetupError::System {
                what: "granted memory",
                source: io::Error::other(
                    "the limit is 1024 pages, /sys/module/xen_gntalloc/parameters/limit",
                ),
            });
        }
        Ok(self.link.make_port(Serial::new(0), terms)?.1)
    }
}

impl Lender for Memory {
    fn lend(&mut self, to: u16, terms: &Terms) -> Result<(Brought, Handover), SetupError> {
        if self.shared.lock().unwrap().used_up {
            let limit =
                "17 more pages cannot be granted (raise /sys/module/xen_gntalloc/parameters/limit)";
            return Err(SetupError::GrantsUsedUp(limit.into()));
        }
        let handover = self.make(terms)?;
        let mut shared = self.shared.lock().unwrap();
        shared.lent.push((to, *terms));
        let page = u32::try_from(shared.lent.len()).unwrap();
        Ok((Brought { page, event: 1 }, handover))
    }

    fn borrow(
        &mut self,
        from: u16,
        brought: Brought,
        terms: &Terms,
    ) -> Result<Handover, SetupError> {
        self.shared.lock().unwrap().borrowed.push((from, brought));
        self.make(terms)
    }

    fn lend_pool(&mut self, to: u16, bytes: u32) -> Result<(Brought, Handover), SetupError> {
        let mut shared = self.shared.lock().unwrap();
        if shared.used_up {
            return Err(SetupError::GrantsUsedUp("limit".into()));
        }
        shared.pools.push((to, bytes));
        // Pages of a driver there are none here: the program sees that nothing is handed over.
        Ok((POOL, Handover::none()))
    }

    fn borrow_pool(
        &mut self,
        from: u16,
        brought: Brought,
        bytes: u32,
    ) -> Result<Handover, SetupError> {
        let mut shared = self.shared.lock().unwrap();
        shared.borrowed.push((from, brought));
        if shared.full {
            return Err(SetupError::Grants("not granted".into()));
        }
        shared.pools.push((from, bytes));
        Ok(Handover::none())
    }
}

/// Where a pool is said to lie.
pub(crate) const POOL: Brought = Brought { page: 99, event: 0 };

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) broker: Broker,
    pub(crate) back: BackEnd,
    pub(crate) second: BackEnd,
    pub(crate) memory: Arc<Mutex<Lent>>,
    pub(crate) now: Instant,
}

pub(crate) const LIMITS: GuestLimits = GuestLimits {
    ports: 3,
    directs: 2,
    ring_bytes: 1 << 24,
};

impl Bench {
    /// One device, connected; everybody may attach.
    pub(crate) fn new() -> Self {
        let bench = Self::with(Policy::open(LIMITS), tempfile::tempdir().unwrap(), 1);
        bench.back.connect(OURS, "blue");
        bench
    }

    /// After another agent, which has left its files in `dir`.
    pub(crate) fn with(policy: Policy, dir: tempfile::TempDir, devices: u32) -> Self {
        let rules = Rules {
            policy,
            budget: Budget::of_table(32768),
        };
        let (back, second) = (BackEnd::default(), BackEnd::default());
        let memory = Arc::new(Mutex::new(Lent {
            lent: Vec::new(),
            borrowed: Vec::new(),
            pools: Vec::new(),
            full: false,
            used_up: false,
        }));
        let mut boards: Vec<(u32, Box<dyn Upstream>)> = vec![(0, Box::new(back.clone()))];
        if devices > 1 {
            boards.push((1, Box::new(second.clone())));
        }
        let listener = Listener::bind(dir.path().join("socket"), 0o600).unwrap();
        let lender = Box::new(Memory::new(Arc::clone(&memory)));
        let broker = Broker::new(rules, Box::new(listener), lender, boards, dir.path()).unwrap();
        Self {
            broker,
            dir,
            back,
            second,
            memory,
            now: Instant::now(),
        }
    }

    /// Lets everything happen that can.
    pub(crate) fn turn(&mut self) {
        for _ in 0..4 {
            self.broker.wait(self.now, Some(Duration::ZERO)).unwrap();
            self.broker.work(self.now);
        }
    }

    pub(crate) fn knock(&mut self, options: HelloOptions) -> Handshake {
        Handshake::start(self.dir.path().join("socket"), options).unwrap()
    }

    pub(crate) fn try_attach(
        &mut self,
        options: HelloOptions,
    ) -> Result<(Attachment, Welcome), AttachError> {
        let mut handshake = self.knock(options);
        self.turn();
        handshake.poll().map(|done| done.expect("answered by now"))
    }

    pub(crate) fn attach(&mut self) -> Attachment {
        self.try_attach(HelloOptions::default()).unwrap().0
    }

    /// Asks, and gives what the back end was asked.
    pub(crate) fn ask(
        &mut self,
        who: &Attachment,
        request: &Request,
    ) -> (Serial, Option<(Serial, Request)>) {
        let serial = who.send_request(request).unwrap();
        self.turn();
        (serial, self.back.asked())
    }

    /// The answer that is there by now.
    pub(crate) fn answer(&mut self, who: &Attachment, serial: Serial) -> Answer {
        self.turn();
        who.poll_reply(serial).unwrap().expect("answered by now")
    }

    /// Asks what is answered without the back end.
    pub(crate) fn ask_here(&mut self, who: &Attachment, request: &Request) -> Answer {
        let (serial, asked) = self.ask(who, request);
        assert!(asked.is_none(), "{asked:?}");
        self.answer(who, serial)
    }

    /// The text of a failure that is given without the back end.
    pub(crate) fn fails(
        &mut self,
        who: &Attachment,
        request: &Request,
    ) -> (myrixen_platform::message::FailReason, String) {
        match self.ask_here(who, request).reply {
            Reply::Failed(failure) => (failure.reason, failure.to_string()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn open(&mut self, who: &Attachment, endpoint: u8) -> PortHandles {
        let (serial, asked) = self.ask(who, &open_port(Some(endpoint), 1 << 16));
        let (to, request) = asked.expect("passed on");
        self.back.reply(to, port(endpoint, &request));
        self.answer(who, serial).into_port().unwrap()
    }

    pub(crate) fn kept(&self) -> String {
        fs::read_to_string(self.dir.path().join("ports-0")).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

pub(crate) fn open_port(endpoint: Option<u8>, ring: u32) -> Request {
    Request::OpenPort {
        endpoint,
        forward: ring,
        backward: ring,
        brought: None,
    }
}

pub(crate) fn open_direct(endpoint: u8, to: PortAddress) -> Request {
    Request::OpenDirect {
        endpoint,
        to,
        forward: 1 << 16,
        backward: 1 << 16,
        brought: None,
    }
}

/// What the two rings of a request come to.
pub(crate) fn terms(request: &Request) -> Terms {
    let (Request::OpenPort {
        forward,
        backward,
        brought,
        ..
    }
    | Request::OpenDirect {
        forward,
        backward,
        brought,
        ..
    }) = request
    else {
        panic!("{request:?}")
    };
    assert!(brought.is_some(), "{request:?}");
    let [forward, backward] = [*forward, *backward].map(|bytes| Capacity::new(bytes).unwrap());
    Terms {
        layout: Layout::new(forward, backward),
        support: Support::OURS,
    }
}

/// The back end's answer to a request for a port.
pub(crate) fn port(endpoint: u8, request: &Request) -> Reply {
    let terms = terms(request);
    Reply::Port { endpoint, terms }
}

pub(crate) fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
