//! Two hosts, and what crosses between them.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, mpsc};

use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::frame::{Announcement, Frame, Head};
use myrixen_backend::BackendConfig;
use myrixen_control::DropReason;
use myrixen_link::memory::{self, MemoryLink};
use myrixen_link::{Incoming, Interest, Link, LinkCounters, LinkError, LinkInfo, Outgoing, Tag};
use myrixen_platform::message::{Name, Place, Query, Reply, Request};

use crate::host::{Guest, Host, PATIENCE, partition, sized, tiny, wired};

fn cable() -> (MemoryLink, MemoryLink) {
    memory::pair(9014, 1024).unwrap()
}

fn host(link: MemoryLink, name: &str, partitions: &[(&str, Tag)]) -> Host {
    let mut config = wired(link, partitions);
    config.host.id = name.into();
    config.host.name = name.into();
    Host::new(config)
}

/// Both hosts' turns, until nothing moves; the control sides get their word in between.
fn settle(hosts: &mut [&mut Host]) {
    for _ in 0..8 {
        // What a control side has its workers say counts for no frame looked at.
        for host in hosts.iter_mut() {
            host.turn();
        }
        while hosts.iter_mut().map(|h| h.turn()).sum::<usize>() > 0 {}
        for host in hosts.iter_mut() {
            host.snapshot();
        }
    }
}

/// Two hosts joined by a cable, with one partition.
fn two() -> (Host, Host) {
    let (left, right) = cable();
    let partitions = [("p", Tag::Vlan(5))];
    (
        host(left, "left", &partitions),
        host(right, "right", &partitions),
    )
}

fn resolve(guest: &Guest, name: &str) -> Option<(NicAddr, Place)> {
    let request = Request::Resolve(Query::Name(Name::new(name).unwrap()));
    match guest.attachment.request(&request, PATIENCE) {
        Ok(answer) => match answer.reply {
            Reply::Board(board) => Some((NicAddr::new(board.mac.bytes()), board.place)),
            _ => None,
        },
        Err(_) => None,
    }
}

#[test]
fn frames_cross_the_wire_both_ways() {
    let (mut left, mut right) = two();
    let (a, b) = (left.attach("a"), right.attach("b"));
    let (mut one, mut two) = (a.open(1), b.open(2));
    for len in [48, 60, 1500, 9000] {
        one.send(&sized(one.address(), two.address(), len));
        two.send(&sized(two.address(), one.address(), len));
    }
    settle(&mut [&mut left, &mut right]);
    for len in [48, 60, 1500, 9000] {
        // The wire pads short frames.
        let got = two.receive().unwrap();
        assert_eq!(&got[..len], sized(one.address(), two.address(), len));
        assert_eq!(
            &one.receive().unwrap()[..len],
            sized(two.address(), one.address(), len)
        );
    }
    let uplink = &left.snapshot().uplinks[0];
    assert!(uplink.counters.sent_frames >= 4 && uplink.counters.received_frames >= 4);
    assert_eq!(uplink.counters.drops.total(), 0);
}

#[test]
fn hosts_find_each_others_boards_by_name() {
    let (mut left, mut right) = two();
    let a = left.attach("a");
    settle(&mut [&mut left, &mut right]);
    let b = right.attach("b");
    // B was announced, A asked for its name; and A's answering round told B of it. The control sides do that on
    // threads of their own, so it takes as many rounds as it takes.
    for (asker, name) in [(&a, "b"), (&b, "a")] {
        while resolve(asker, name).is_none() {
            settle(&mut [&mut left, &mut right]);
        }
    }
    assert_eq!(resolve(&a, "b"), Some((b.nic(), Place::Remote)));
    let peers = left.snapshot().peers;
    assert_eq!(
        (peers[0].mac, peers[0].name.as_deref()),
        (b.nic(), Some("b:0"))
    );
    assert_eq!(
        (peers[0].partition.as_str(), peers[0].uplink.as_str()),
        ("p", "wire")
    );
    assert_eq!(resolve(&a, "a"), Some((a.nic(), Place::Local)));
}

#[test]
fn a_closed_endpoint_is_nacked_over_the_wire() {
    let (mut left, mut right) = two();
    let (a, b) = (left.attach("a"), right.attach("b"));
    let mut one = a.open(1);
    let closed = Address::new(b.nic(), EndpointId::new(7));
    // While the worker has not looked at all that the control side has told it, the endpoint may be about to open: then
    // the frame is lost, and comes again.
    let got = loop {
        one.send(&tiny(one.address(), closed, b"hello"));
        settle(&mut [&mut left, &mut right]);
        if let Some(got) = one.receive_parsed() {
            break got;
        }
    };
    assert!(matches!(got.frame, Frame::NackLib(n) if n.from == closed.endpoint));
    let uplink = &right.snapshot().uplinks[0].counters;
    assert_eq!(uplink.nacks, 1);
    assert!(uplink.drops.get(DropReason::EndpointClosed) > 0);
}

type Act = Box<dyn FnOnce() + Send>;

/// A link on which something happens when the back end looks for frames, before it is given them.
struct Meanwhile {
    inner: MemoryLink,
    act: Arc<Mutex<Option<Act>>>,
}

impl Link for Meanwhile {
    fn describe(&self) -> LinkInfo {
        self.inner.describe()
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        self.inner.transmit(frame)
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.inner.flush()
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        if let Some(act) = self.act.lock().unwrap().take() {
            act();
        }
        self.inner.receive(budget, sink)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        self.inner.readiness()
    }

    fn set_addresses(&mut self, macs: &[NicAddr]) -> Result<(), LinkError> {
        self.inner.set_addresses(macs)
    }

    fn counters(&self) -> LinkCounters {
        self.inner.counters()
    }
}

/// Found by connecting two guests of two hosts as soon as both had opened: now and then one was told that the
/// other's endpoint is closed.
#[test]
fn an_endpoint_that_opens_during_a_turn_is_not_said_to_be_closed() {
    let (inner, mut outside) = cable();
    let act = Arc::new(Mutex::new(None));
    let link = Meanwhile {
        inner,
        act: Arc::clone(&act),
    };
    let tag = Tag::Vlan(5);
    let mut host = Host::new(wired(link, &[("p", tag)]));
    let guest = host.attach("a");
    host.settle();
    let there = Address::new(guest.nic(), EndpointId::new(7));
    let stranger = Address::new(NicAddr::new([2, 0, 0, 0, 0, 9]), EndpointId::new(1));
    let sent = tiny(stranger, there, b"hello");
    let (opened, port) = mpsc::channel();
    *act.lock().unwrap() = Some(Box::new(move || {
        let port = guest.open(7);
        opened.send((guest, port)).unwrap();
    }));
    outside.transmit(&Outgoing::bytes(&sent, tag)).unwrap();
    outside.flush().unwrap();
    host.settle();
    let (_guest, mut port) = port.recv().unwrap();
    assert!(port.receive().is_none(), "it came before the port");
    assert_eq!(host.snapshot().uplinks[0].counters.nacks, 0);
    // As its sender will, when it hears nothing.
    outside.transmit(&Outgoing::bytes(&sent, tag)).unwrap();
    outside.flush().unwrap();
    host.settle();
    let got = port.receive().unwrap();
    assert_eq!(got[..sent.len()], sent[..]);
}

/// A host with two partitions on one wire, and the other end of the wire.
fn bare() -> (Host, MemoryLink) {
    let (inside, outside) = cable();
    (
        host(inside, "left", &[("p", Tag::Vlan(5)), ("q", Tag::Vlan(6))]),
        outside,
    )
}

fn inject(outside: &mut MemoryLink, frame: &[u8], tag: Tag) {
    outside.transmit(&Outgoing::bytes(frame, tag)).unwrap();
    outside.flush().unwrap();
}

#[test]
fn partitions_do_not_meet_on_the_wire_or_behind_it() {
    let (mut host, mut outside) = bare();
    let (p, q) = (
        host.attach_as("a", "p", None).unwrap(),
        host.attach_as("b", "q", None).unwrap(),
    );
    let (mut from, mut to) = (p.open(1), q.open(1));
    let frame = tiny(from.address(), to.address(), b"psst");
    from.send(&frame);
    host.settle();
    // It left with the mark of its own partition, as a frame for a stranger would.
    let mut tags = Vec::new();
    let mut look = |f: myrixen_link::Incoming<'_>| {
        let mut first = [0; 6];
        f.bytes.read(0, &mut first);
        if first == to.address().nic.octets() {
            tags.push(f.tag);
        }
    };
    while outside.receive(64, &mut look).unwrap() > 0 {}
    assert_eq!(tags, [Tag::Vlan(5)]);
    // Whoever brings it back with the other mark does not get it in.
    inject(&mut outside, &frame, Tag::Vlan(6));
    host.settle();
    assert_eq!(to.receive(), None);
    assert_eq!(
        host.snapshot().uplinks[0]
            .counters
            .drops
            .get(DropReason::Reflected),
        1
    );
}

#[test]
fn what_the_wire_brings_is_counted_by_reason_when_it_is_not_for_us() {
    let (mut host, mut outside) = bare();
    let guest = host.attach_as("a", "p", None).unwrap();
    let mut port = guest.open(1);
    let stranger = Address::new(NicAddr::new([2, 9, 9, 9, 9, 9]), EndpointId::new(1));
    let other = Address::new(NicAddr::new([2, 8, 8, 8, 8, 8]), EndpointId::new(1));
    let everybody = Address::new(NicAddr::BROADCAST, EndpointId::new(1));
    inject(
        &mut outside,
        &tiny(stranger, port.address(), b"in"),
        Tag::Vlan(5),
    );
    inject(
        &mut outside,
        &tiny(stranger, port.address(), b"in"),
        Tag::Vlan(6),
    );
    inject(
        &mut outside,
        &tiny(stranger, port.address(), b"in"),
        Tag::Vlan(7),
    );
    inject(&mut outside, &tiny(stranger, other, b"in"), Tag::Vlan(5));
    inject(
        &mut outside,
        &tiny(stranger, everybody, b"in"),
        Tag::Vlan(5),
    );
    inject(&mut outside, &[0xee; 60], Tag::Vlan(5));
    host.settle();
    assert!(port.receive().is_some());
    assert_eq!(port.receive(), None);
    let drops = host.snapshot().uplinks[0].counters.drops;
    for (reason, n) in [
        (DropReason::NotHere, 2),
        (DropReason::UnknownPartition, 1),
        (DropReason::BadDestination, 1),
        (DropReason::Malformed, 1),
    ] {
        assert_eq!(drops.get(reason), n, "{reason}");
    }
}

#[test]
fn a_storm_of_announcements_is_bounded() {
    let (mut host, mut outside) = bare();
    let guest = host.attach_as("a", "p", None).unwrap();
    let mut port = guest.open(1);
    for n in 0..6000_u32 {
        let [_, b, c, d] = n.to_be_bytes();
        let nic = NicAddr::new([2, 9, 9, b, c, d]);
        let mut head = Head::new();
        Announcement { nic, serial: 1 }.emit(&mut head);
        while outside
            .transmit(&Outgoing::bytes(&head, Tag::Vlan(5)))
            .is_err()
        {
            outside.flush().unwrap();
            host.turn();
            while outside.receive(64, &mut |_| {}).unwrap() > 0 {}
        }
    }
    outside.flush().unwrap();
    host.settle();
    assert!(host.snapshot().peers.len() <= 4096);
    // The guest is served as ever.
    port.send(&tiny(port.address(), port.address(), b"me"));
    host.settle();
    assert!(port.receive().is_some());
}

#[test]
fn a_full_uplink_holds_frames_back_instead_of_losing_them() {
    let (inside, mut outside) = memory::pair(9014, 8).unwrap();
    let mut host = host(inside, "left", &[("p", Tag::None)]);
    let guest = host.attach("a");
    let mut port = guest.open(1);
    let stranger = Address::new(NicAddr::new([2, 9, 9, 9, 9, 9]), EndpointId::new(1));
    for _ in 0..40 {
        port.send(&sized(port.address(), stranger, 500));
    }
    let mut got = 0;
    for _ in 0..100 {
        host.turn();
        let mut count = |f: myrixen_link::Incoming<'_>| got += usize::from(f.len == 500);
        while outside.receive(64, &mut count).unwrap() > 0 {}
    }
    assert_eq!(got, 40);
    assert_eq!(host.counters(&port).drops.total(), 0);
    assert!(host.snapshot().uplinks[0].counters.waits > 0);
}

#[test]
fn an_uplink_serves_guests_of_all_workers() {
    let (left_end, right_end) = cable();
    let partitions = [("p", Tag::None)];
    let config = BackendConfig {
        workers: 2,
        ..wired(left_end, &partitions)
    };
    let mut left = Host::new(config);
    let mut right = host(right_end, "right", &partitions);
    let b = right.attach("b");
    let mut sink = b.open(1);
    let guests: Vec<_> = (0..4).map(|n| left.attach(&format!("g{n}"))).collect();
    let mut ports: Vec<_> = guests.iter().map(|g| g.open(1)).collect();
    let closed = Address::new(b.nic(), EndpointId::new(9));
    for port in &mut ports {
        port.send(&sized(port.address(), sink.address(), 700));
        port.send(&tiny(port.address(), closed, b""));
        sink.send(&sized(sink.address(), port.address(), 800));
    }
    settle(&mut [&mut left, &mut right]);
    assert_eq!(std::iter::from_fn(|| sink.receive()).count(), 4);
    for port in &mut ports {
        let mut frames: Vec<_> = std::iter::from_fn(|| port.receive()).collect();
        // As above: not nacked while the endpoint may be about to open.
        while frames.len() < 2 {
            port.send(&tiny(port.address(), closed, b""));
            settle(&mut [&mut left, &mut right]);
            frames.extend(std::iter::from_fn(|| port.receive()));
        }
        assert_eq!(frames.len(), 2, "a frame and a nack");
    }
}

#[test]
fn a_configuration_that_mixes_partitions_up_is_refused() {
    let (link, _other) = cable();
    let mut config = wired(link, &[("p", Tag::None), ("q", Tag::None)]);
    assert!(
        config
            .check()
            .unwrap_err()
            .to_string()
            .contains("both untagged")
    );
    config.partitions = vec![partition("p", None), partition("p", None)];
    assert!(config.check().is_err());
    let (link, _other) = memory::pair(1514, 16).unwrap();
    let config = wired(link, &[("p", Tag::None)]);
    assert!(config.check().unwrap_err().to_string().contains("1514"));
}
