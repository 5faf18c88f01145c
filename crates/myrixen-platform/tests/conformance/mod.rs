//! What every platform must do, written against the traits alone. A platform's test gives a [`Fixture`] and calls [`suite!`].
#![allow(dead_code, reason = "each test binary uses its part")]

use std::time::Duration;

use myrixen_platform::message::{
    ChannelId, Dialect, FailReason, Failure, GuestLimits, Hello, Mac, Name, Notice, PortAddress,
    Profile, Refusal, RefusalReason, Reply, Request, Serial, VERSION, Welcome,
};
use myrixen_platform::process::{
    AttachError, Attached, Attachment, DirectHandles, Handshake, HelloOptions, News, PortHandles,
    RequestError,
};
use myrixen_platform::{
    Drained, GuestLink, Handover, Heard, LinkState, Meeting, PeerFault, PortEnd, Ready, SharedPool,
    WaitSet,
};
use myrixen_ring::{Capacity, Consumer, Kind, Layout, Producer, Support, Terms};
use myrixen_shm::Pool;

/// How a platform's guests come to its meeting place.
pub(crate) trait Fixture: Sized {
    fn new() -> (Self, Box<dyn Meeting>);
    fn hello(&self, options: HelloOptions) -> Handshake;
}

/// Long enough for any machine; nothing waits for it when all is well.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, n])
}

pub(crate) fn welcome(n: u8) -> Welcome {
    Welcome {
        version: VERSION,
        features: 0,
        mac: mac(n),
        board: Name::new("host").unwrap(),
        partition: Name::new("default").unwrap(),
        profile: Profile {
            dialect: Dialect::Native,
            mtu: 1500,
        },
        limits: GuestLimits {
            ports: 4,
            directs: 4,
            ring_bytes: 1 << 16,
        },
        ticket: None,
    }
}

pub(crate) fn capacities() -> [Capacity; 2] {
    [Capacity::new(4096).unwrap(), Capacity::new(8192).unwrap()]
}

fn terms() -> Terms {
    let [forward, backward] = capacities();
    Terms {
        layout: Layout::new(forward, backward),
        support: Support::OURS,
    }
}

/// Sleeps until `poll` gives something, as a back end does: by wait set.
pub(crate) fn until<T>(set: &WaitSet, mut poll: impl FnMut() -> Option<T>) -> T {
    let mut ready: Vec<Ready> = Vec::new();
    loop {
        if let Some(got) = poll() {
            return got;
        }
        set.wait(Some(LONG), &mut ready).unwrap();
        assert!(!ready.is_empty(), "nothing has happened for a minute");
    }
}

/// A meeting place with its wait set.
pub(crate) struct Host {
    pub(crate) meeting: Box<dyn Meeting>,
    pub(crate) set: WaitSet,
}

pub(crate) struct Guest {
    pub(crate) attachment: Attachment,
    pub(crate) link: Box<dyn GuestLink>,
    pub(crate) hello: Hello,
}

impl Host {
    pub(crate) fn new(meeting: Box<dyn Meeting>) -> Self {
        let set = WaitSet::new().unwrap();
        meeting.watch(&set, 0).unwrap();
        Self { meeting, set }
    }

    pub(crate) fn accept(&mut self, token: u64) -> Box<dyn GuestLink> {
        let Self { meeting, set } = self;
        let mut link = until(set, || meeting.accept().unwrap());
        link.watch(set, token).unwrap();
        link
    }

    pub(crate) fn hear(&self, link: &mut dyn GuestLink) -> Result<Heard, PeerFault> {
        until(&self.set, || link.hear().transpose())
    }

    pub(crate) fn hear_hello(&self, link: &mut dyn GuestLink) -> Hello {
        match self.hear(link).unwrap() {
            Heard::Hello(hello) => *hello,
            other => panic!("a Hello was expected: {other:?}"),
        }
    }

    pub(crate) fn hear_request(&self, link: &mut dyn GuestLink) -> (Serial, Request) {
        match self.hear(link).unwrap() {
            Heard::Request(serial, request) => (serial, request),
            other => panic!("a request was expected: {other:?}"),
        }
    }

    pub(crate) fn attach<F: Fixture>(
        &mut self,
        fixture: &F,
        n: u8,
        options: HelloOptions,
    ) -> Guest {
        let mut handshake = fixture.hello(options);
        let mut link = self.accept(u64::from(n));
        let hello = self.hear_hello(&mut *link);
        assert!(handshake.poll().unwrap().is_none(), "not answered yet");
        link.welcome(&welcome(n)).unwrap();
        let (attachment, welcomed): Attached = handshake.wait().unwrap();
        assert_eq!(welcomed, welcome(n));
        Guest {
            attachment,
            link,
            hello,
        }
    }
}

impl Guest {
    /// Opens a port, with back end and guest in one thread.
    pub(crate) fn open_port(&mut self, host: &Host) -> (PortHandles, PortEnd) {
        let [forward, backward] = capacities().map(Capacity::bytes);
        let request = Request::OpenPort {
            endpoint: None,
            forward,
            backward,
            brought: None,
        };
        let asked = self.attachment.send_request(&request).unwrap();
        let (serial, heard) = host.hear_request(&mut *self.link);
        assert_eq!(heard, request);
        let (end, handover) = self.link.make_port(serial, &terms()).unwrap();
        self.link
            .reply(
                serial,
                &Reply::Port {
                    endpoint: 3,
                    terms: terms(),
                },
                handover,
            )
            .unwrap();
        let handles = self.collect(asked).into_port().unwrap();
        assert_eq!((handles.endpoint, handles.terms), (3, terms()));
        (handles, end)
    }

    pub(crate) fn collect(&self, asked: Serial) -> myrixen_platform::process::Answer {
        let set = WaitSet::new().unwrap();
        self.attachment.watch(&set, 1).unwrap();
        let answer = until(&set, || self.attachment.poll_reply(asked).unwrap());
        self.attachment.unwatch(&set);
        answer
    }

    pub(crate) fn news(&self) -> News {
        let set = WaitSet::new().unwrap();
        self.attachment.watch(&set, 1).unwrap();
        let news = until(&set, || self.attachment.next_news());
        self.attachment.unwatch(&set);
        news
    }
}

/// Opens a direct channel from endpoint 1 of `front` to endpoint 2 of `back`.
pub(crate) fn direct(
    host: &Host,
    front: &mut Guest,
    back: &mut Guest,
) -> (DirectHandles, DirectHandles) {
    let [forward, backward] = capacities().map(Capacity::bytes);
    let (from, to) = (
        PortAddress {
            mac: mac(1),
            endpoint: 1,
        },
        PortAddress {
            mac: mac(2),
            endpoint: 2,
        },
    );
    let request = Request::OpenDirect {
        endpoint: 1,
        to,
        forward,
        backward,
        brought: None,
    };
    let asked = front.attachment.send_request(&request).unwrap();
    let (serial, _) = host.hear_request(&mut *front.link);
    let ends = front
        .link
        .make_direct(serial, &mut *back.link, terms().layout)
        .unwrap();
    let offer = Notice::DirectOffered {
        endpoint: 2,
        peer: front.link.as_peer(from, ends.terms, ChannelId::new(3)),
        lent: None,
    };
    back.link.notify(&offer, ends.back).unwrap();
    let reply = Reply::Direct(back.link.as_peer(to, ends.terms, ChannelId::new(3)));
    front.link.reply(serial, &reply, ends.front).unwrap();
    let News::Direct(theirs) = back.news() else {
        panic!("a direct channel was offered")
    };
    let ours = front.collect(asked).into_direct().unwrap();
    assert_eq!((ours.peer.address, theirs.peer.address), (to, from));
    (ours, *theirs)
}

/// Sends bytes from one end of a ring to the other.
pub(crate) fn pass(bytes: &[u8], producer: &mut Producer, consumer: &mut Consumer) {
    let mut slot = producer.reserve(bytes.len(), 0).unwrap().expect("room");
    slot.write(0, bytes);
    slot.publish(Kind::Frame);
    let record = consumer.peek().unwrap().expect("a record");
    let mut got = vec![0; record.len()];
    consumer.read(&record, 0, &mut got);
    assert_eq!(got, bytes);
    consumer.advance(record);
    let _ = consumer.release();
}

pub(crate) fn a_guest_is_taken_in<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut options = HelloOptions::default();
    options.wish.board = Some(Name::new("mine").unwrap());
    options.wish.partition = Some(Name::new("blue").unwrap());
    let guest = host.attach(&fixture, 1, options);
    assert_eq!(guest.hello.wish.board, Some(Name::new("mine").unwrap()));
    assert_eq!(guest.hello.wish.partition, Some(Name::new("blue").unwrap()));
    assert_eq!(guest.hello.agree(), Ok(VERSION));
    assert_eq!(guest.link.state(), LinkState::Initialised);
    assert!(guest.link.memory().is_some(), "offered by default");
    assert!(!guest.attachment.is_lost());
    let owner = guest.link.identity().owner();
    assert_eq!(
        owner,
        myrixen_platform::Owner::User(rustix::process::geteuid().as_raw())
    );
}

pub(crate) fn a_refused_guest_is_told_why<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let handshake = fixture.hello(HelloOptions::default());
    let mut link = host.accept(1);
    host.hear_hello(&mut *link);
    link.refuse(&Refusal::new(
        RefusalReason::Limit,
        "4 guests, which is the limit `x.y`",
    ));
    assert_eq!(link.state(), LinkState::Closing);
    let err = handshake.wait().unwrap_err();
    assert!(
        matches!(&err, AttachError::Refused { .. }) && err.to_string().contains("`x.y`"),
        "{err}"
    );
    assert!(matches!(host.hear(&mut *link), Ok(Heard::Left)));
}

pub(crate) fn a_back_end_that_drops_a_guest_hangs_up<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let handshake = fixture.hello(HelloOptions::default());
    let link = host.accept(1);
    drop(link);
    let err = handshake.wait().unwrap_err();
    assert!(
        matches!(err, AttachError::HungUp { .. }) && err.is_transient(),
        "{err}"
    );
}

pub(crate) fn a_port_carries_frames_and_rings<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut guest = host.attach(&fixture, 1, HelloOptions::default());
    let (mut front, mut back) = guest.open_port(&host);
    assert_eq!(guest.link.state(), LinkState::Connected);
    for n in 0..200u8 {
        pass(&[n; 100], &mut front.pair.producer, &mut back.pair.consumer);
        pass(&[n; 300], &mut back.pair.producer, &mut front.pair.consumer);
    }
    for (ringer, waiter) in [(&front.ringer, &back.waiter), (&back.ringer, &front.waiter)] {
        assert_eq!(waiter.drain(), Drained::Silent);
        ringer.ring();
        assert_eq!(waiter.drain(), Drained::Rung);
    }
}

pub(crate) fn failures_and_unknown_requests_come_back<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut guest = host.attach(&fixture, 1, HelloOptions::default());
    std::thread::scope(|scope| {
        let attachment = &guest.attachment;
        let asking = scope.spawn(|| {
            attachment
                .request(&Request::Unknown { kind: 0x1abc }, LONG)
                .map(|answer| answer.reply)
        });
        let (serial, request) = host.hear_request(&mut *guest.link);
        assert_eq!(request, Request::Unknown { kind: 0x1abc });
        let failure = Failure::new(FailReason::Unsupported, "no such request");
        guest
            .link
            .reply(serial, &Reply::Failed(failure), Handover::none())
            .unwrap();
        match asking.join().unwrap() {
            Err(RequestError::Failed(failure)) => {
                assert_eq!(failure.reason, FailReason::Unsupported);
            }
            other => panic!("a failure was expected: {other:?}"),
        }
    });
}

pub(crate) fn many_threads_share_an_attachment<F: Fixture>() {
    const THREADS: u32 = 4;
    const EACH: u32 = 100;
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut guest = host.attach(&fixture, 1, HelloOptions::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let attachment = &guest.attachment;
            scope.spawn(move || {
                for n in 0..EACH {
                    let from = thread * EACH + n;
                    let answer = attachment
                        .request(&Request::ListBoards { from }, LONG)
                        .unwrap();
                    let next = Some(from + 1);
                    assert_eq!(
                        answer.reply,
                        Reply::Boards {
                            boards: Vec::new(),
                            next
                        }
                    );
                }
            });
        }
        for _ in 0..THREADS * EACH {
            let (serial, request) = host.hear_request(&mut *guest.link);
            let Request::ListBoards { from } = request else {
                panic!("{request:?}")
            };
            let reply = Reply::Boards {
                boards: Vec::new(),
                next: Some(from + 1),
            };
            guest.link.reply(serial, &reply, Handover::none()).unwrap();
        }
    });
}

/// More ports than the socket takes descriptors for at once.
pub(crate) fn what_a_guest_does_not_read_waits_for_it<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut guest = host.attach(&fixture, 1, HelloOptions::default());
    let request = Request::OpenPort {
        endpoint: None,
        forward: 4096,
        backward: 4096,
        brought: None,
    };
    let count = myrixen_platform::process::MAX_IN_FLIGHT;
    let asked: Vec<_> = (0..count)
        .map(|_| guest.attachment.send_request(&request).unwrap())
        .collect();
    assert!(matches!(
        guest.attachment.send_request(&request),
        Err(RequestError::Busy(_))
    ));
    let mut ends = Vec::new();
    for n in 0..u8::try_from(count).unwrap() {
        let (serial, _) = host.hear_request(&mut *guest.link);
        let (end, handover) = guest.link.make_port(serial, &terms()).unwrap();
        guest
            .link
            .reply(
                serial,
                &Reply::Port {
                    endpoint: n,
                    terms: terms(),
                },
                handover,
            )
            .unwrap();
        ends.push(end);
    }
    let (link, set) = (&mut guest.link, &host.set);
    std::thread::scope(|scope| {
        let (attachment, asked) = (&guest.attachment, &asked);
        let reader = scope.spawn(move || {
            let wait = |asked: &Serial| {
                attachment
                    .wait_reply(*asked, LONG)
                    .unwrap()
                    .into_port()
                    .unwrap()
            };
            let ports: Vec<_> = asked.iter().map(wait).collect();
            attachment
                .request(&Request::ClosePort { endpoint: 0 }, LONG)
                .unwrap();
            ports
        });
        // The back end goes on sending until all is read and the last request comes.
        let (serial, request) = until(set, || match link.hear().unwrap() {
            Some(Heard::Request(serial, request)) => Some((serial, request)),
            Some(other) => panic!("{other:?}"),
            None => None,
        });
        assert_eq!(request, Request::ClosePort { endpoint: 0 });
        link.reply(serial, &Reply::Done, Handover::none()).unwrap();
        for (n, (mut port, mut end)) in reader.join().unwrap().into_iter().zip(ends).enumerate() {
            assert_eq!(usize::from(port.endpoint), n);
            pass(&[7; 64], &mut port.pair.producer, &mut end.pair.consumer);
        }
    });
}

pub(crate) fn a_guest_that_never_reads_is_a_fault<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut guest = host.attach(&fixture, 1, HelloOptions::default());
    let fault = (0..10_000).find_map(|_| {
        guest
            .link
            .notify(&Notice::BoardGone(mac(9)), Handover::none())
            .err()
    });
    match fault.expect("the guest's memory in the back end is bounded") {
        PeerFault::NotReading { queued, limit } => assert!(queued > limit),
        other => panic!("{other}"),
    }
}

pub(crate) fn an_unanswered_request_ends_and_is_undone<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut guest = host.attach(&fixture, 1, HelloOptions::default());
    let short = Duration::from_millis(1);
    let err = guest
        .attachment
        .open_port(Some(5), capacities(), short)
        .unwrap_err();
    assert!(matches!(err, RequestError::TimedOut(_)), "{err}");
    let (serial, _) = host.hear_request(&mut *guest.link);
    let (end, handover) = guest.link.make_port(serial, &terms()).unwrap();
    guest
        .link
        .reply(
            serial,
            &Reply::Port {
                endpoint: 5,
                terms: terms(),
            },
            handover,
        )
        .unwrap();
    assert!(
        guest.attachment.next_news().is_none(),
        "the late answer is no news"
    );
    assert!(end.waiter.hung_up(), "and its descriptors are closed");
    let (_, request) = host.hear_request(&mut *guest.link);
    assert_eq!(request, Request::ClosePort { endpoint: 5 });
}

pub(crate) fn a_direct_channel_outlives_the_back_end<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut front = host.attach(&fixture, 1, HelloOptions::default());
    let mut back = host.attach(&fixture, 2, HelloOptions::default());
    let (mut ours, mut theirs) = direct(&host, &mut front, &mut back);
    assert!(ours.same_user && theirs.same_user);
    drop((host, front.link, back.link, fixture));
    assert!(
        !ours.waiter.hung_up() && !theirs.waiter.hung_up(),
        "the back end holds none of it"
    );
    for n in 0..200u8 {
        pass(
            &[n; 200],
            &mut ours.pair.producer,
            &mut theirs.pair.consumer,
        );
        pass(&[n; 80], &mut theirs.pair.producer, &mut ours.pair.consumer);
    }
    ours.ringer.ring();
    assert_eq!(theirs.waiter.drain(), Drained::Rung);
    assert!(front.attachment.next_news().is_none() && front.attachment.is_lost());
    drop(ours);
    assert!(
        theirs.waiter.hung_up(),
        "the death of a direct partner is seen without a back end"
    );
}

pub(crate) fn pools_are_shared_with_direct_partners<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let pool = Pool::new(1 << 20).unwrap();
    let mut buf = pool.alloc(100).unwrap();
    buf.copy_from_slice(&[42; 100]);
    let pool = Some(SharedPool::new(&pool).unwrap());
    let options = HelloOptions {
        pool,
        ..HelloOptions::default()
    };
    let mut front = host.attach(&fixture, 1, options);
    let mut back = host.attach(
        &fixture,
        2,
        HelloOptions {
            offer_memory: false,
            ..Default::default()
        },
    );
    let (ours, theirs) = direct(&host, &mut front, &mut back);
    assert!(
        ours.peer_pool.is_none() && ours.peer_memory.is_none(),
        "the other offers neither"
    );
    let shared = theirs.peer_pool.expect("the first one's pool");
    let mut got = [0; 100];
    shared.read(usize::try_from(buf.offset()).unwrap(), &mut got);
    assert_eq!(got, [42; 100]);
    // Both guests are this process, which can read itself.
    let memory = theirs.peer_memory.expect("probed");
    let secret = [9u8; 33];
    let mut got = [0; 33];
    assert_eq!(
        memory
            .read(secret.as_ptr().addr() as u64, &mut got)
            .unwrap(),
        33
    );
    assert_eq!(got, secret);
}

pub(crate) fn a_guest_may_die_at_any_point<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    // Before it is accepted, before it is answered, while it is welcomed.
    drop(fixture.hello(HelloOptions::default()));
    let mut link = host.accept(1);
    host.hear_hello(&mut *link);
    assert!(matches!(host.hear(&mut *link), Ok(Heard::Left)));
    drop(link);
    let handshake = fixture.hello(HelloOptions::default());
    let mut link = host.accept(1);
    host.hear_hello(&mut *link);
    drop(handshake);
    link.welcome(&welcome(1)).unwrap();
    assert!(matches!(host.hear(&mut *link), Ok(Heard::Left)));
    drop(link);
    // With a port, a request unanswered, and a direct channel.
    let mut front = host.attach(&fixture, 1, HelloOptions::default());
    let mut back = host.attach(&fixture, 2, HelloOptions::default());
    let (port, end) = front.open_port(&host);
    let (ours, theirs) = direct(&host, &mut front, &mut back);
    front
        .attachment
        .send_request(&Request::ListBoards { from: 0 })
        .unwrap();
    drop((front.attachment, port, ours));
    let (serial, _) = host.hear_request(&mut *front.link);
    front
        .link
        .reply(serial, &Reply::Done, Handover::none())
        .unwrap();
    assert!(matches!(host.hear(&mut *front.link), Ok(Heard::Left)));
    assert_eq!(front.link.state(), LinkState::Closed);
    front
        .link
        .notify(&Notice::BoardGone(mac(2)), Handover::none())
        .unwrap();
    assert!(end.waiter.hung_up() && theirs.waiter.hung_up());
    end.ringer.ring();
    // The other one notices nothing else.
    let (mut port, mut end) = back.open_port(&host);
    pass(b"alive", &mut port.pair.producer, &mut end.pair.consumer);
}

pub(crate) fn a_lost_back_end_ends_all_waiting<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut guest = host.attach(&fixture, 1, HelloOptions::default());
    let (port, end) = guest.open_port(&host);
    let set = WaitSet::new().unwrap();
    guest.attachment.watch(&set, 1).unwrap();
    std::thread::scope(|scope| {
        let attachment = &guest.attachment;
        let asking: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| attachment.request(&Request::ListBoards { from: 0 }, LONG)))
            .collect();
        for _ in 0..3 {
            host.hear_request(&mut *guest.link);
        }
        drop((guest.link, end, host));
        for asking in asking {
            assert!(matches!(asking.join().unwrap(), Err(RequestError::Lost)));
        }
    });
    until(&set, || guest.attachment.is_lost().then_some(()));
    assert!(port.waiter.hung_up());
    assert!(matches!(
        guest
            .attachment
            .send_request(&Request::ListBoards { from: 0 }),
        Err(RequestError::Lost)
    ));
}

/// Reply and notices overtake nothing: what is said before is heard before.
pub(crate) fn notices_come_in_order_and_once<F: Fixture>() {
    let (fixture, meeting) = F::new();
    let mut host = Host::new(meeting);
    let mut guest = host.attach(&fixture, 1, HelloOptions::default());
    let gone = |n| {
        Notice::EndpointGone(PortAddress {
            mac: mac(n),
            endpoint: n,
        })
    };
    for n in 0..100 {
        guest.link.notify(&gone(n), Handover::none()).unwrap();
    }
    for n in 0..100 {
        let News::Notice(notice) = guest.news() else {
            panic!("a notice")
        };
        assert_eq!(notice, gone(n));
    }
    assert!(guest.attachment.next_news().is_none());
}

/// Runs every test of the suite for a fixture.
#[macro_export]
macro_rules! suite {
    ($fixture:ty) => {
        $crate::suite!(@ $fixture:
            a_guest_is_taken_in
            a_refused_guest_is_told_why
            a_back_end_that_drops_a_guest_hangs_up
            a_port_carries_frames_and_rings
            failures_and_unknown_requests_come_back
            many_threads_share_an_attachment
            what_a_guest_does_not_read_waits_for_it
            a_guest_that_never_reads_is_a_fault
            an_unanswered_request_ends_and_is_undone
            a_direct_channel_outlives_the_back_end
            pools_are_shared_with_direct_partners
            a_guest_may_die_at_any_point
            a_lost_back_end_ends_all_waiting
            notices_come_in_order_and_once
        );
    };
    (@ $fixture:ty: $($test:ident)*) => {
        $(#[test]
        fn $test() {
            conformance::$test::<$fixture>();
        })*
    };
}
