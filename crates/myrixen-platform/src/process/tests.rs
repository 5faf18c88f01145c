//! Hostile peers: raw packets and raw rings against a link, and against an attachment.

use std::os::fd::{AsFd, OwnedFd};

use myrixen_ring::{Capacity, Kind, Layout, QueuePair, Support, Terms};
use myrixen_shm::{Access, Pages};
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::handles;
use super::link::ProcessLink;
use super::socket::{Received, Sent, Socket};
use crate::bell::{Ringer, Waiter};
use crate::handover::{Handover, Item, SharedPool, Tag};
use crate::message::{
    ChannelId, Dialect, Greeting, GuestLimits, Hello, Mac, Name, Notice, Profile, Reply, Request,
    Serial, Text, VERSION, Welcome, Wish,
};
use crate::{GuestLink, Heard, LinkState, MAX_UNANSWERED, PeerFault, WaitSet, process};

fn hello() -> Hello {
    Hello {
        version: VERSION,
        features: 0,
        ring: Support::OURS,
        wish: Wish::default(),
        ticket: None,
        memory: None,
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: VERSION,
        features: 0,
        mac: Mac::new([2; 6]),
        board: Name::new("host").unwrap(),
        partition: Name::new("default").unwrap(),
        profile: Profile {
            dialect: Dialect::Compat,
            mtu: 1500,
        },
        limits: GuestLimits {
            ports: 1,
            directs: 1,
            ring_bytes: 4096,
        },
        ticket: None,
    }
}

/// A link, and the hostile guest's bare socket.
fn stranger() -> (Socket, ProcessLink) {
    let (theirs, ours) = Socket::pair().unwrap();
    (theirs, ProcessLink::over(ours).unwrap())
}

/// A guest that was taken in and plays foul afterwards.
struct Rogue {
    socket: Socket,
    pair: QueuePair,
    ringer: Ringer,
    _waiter: Waiter,
    link: ProcessLink,
}

fn packet(socket: &Socket) -> (Vec<u8>, Vec<OwnedFd>) {
    match socket.receive().unwrap() {
        Received::Packet(bytes, fds) => (bytes, fds),
        other => panic!("a packet was expected: {other:?}"),
    }
}

fn rogue() -> Rogue {
    let (socket, mut link) = stranger();
    assert_eq!(socket.send(&hello().emit(0), &[]).unwrap(), Sent::Yes);
    assert!(matches!(link.hear(), Ok(Some(Heard::Hello(_)))));
    link.welcome(&welcome()).unwrap();
    let (bytes, _) = packet(&socket);
    let Ok(Greeting::Welcome(_, terms, 3)) = Greeting::parse(&bytes) else {
        panic!("a Welcome")
    };
    let (bytes, fds) = packet(&socket);
    let tag = Tag {
        serial: Serial::new(0),
        answer: true,
    };
    let handover = Handover::parse(&bytes, fds, tag).unwrap();
    let (pair, ringer, _waiter) = handles::control(handover, &terms).unwrap();
    Rogue {
        socket,
        pair,
        ringer,
        _waiter,
        link,
    }
}

impl Rogue {
    fn publish(&mut self, bytes: &[u8], kind: Kind) {
        let mut slot = self
            .pair
            .producer
            .reserve(bytes.len(), 0)
            .unwrap()
            .expect("room");
        slot.write(0, bytes);
        slot.publish(kind);
        self.ringer.ring();
    }
}

/// Hears until there is nothing more, or a fault.
fn hear_all(link: &mut ProcessLink) -> Result<Vec<Heard>, PeerFault> {
    let mut heard = Vec::new();
    while let Some(said) = link.hear()? {
        let left = matches!(said, Heard::Left);
        heard.push(said);
        if left {
            break;
        }
    }
    Ok(heard)
}

#[test]
fn a_first_packet_that_is_no_hello_is_a_fault() {
    let wrong: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n",
        &[0],
        &[0xff; 1024],
        &Reply::Done.emit(Serial::new(0), 0),
    ];
    for bytes in wrong {
        let (socket, mut link) = stranger();
        socket.send(bytes, &[]).unwrap();
        assert!(
            matches!(link.hear(), Err(PeerFault::Message(_))),
            "{bytes:?}"
        );
    }
}

#[test]
fn descriptors_that_were_not_asked_for_are_closed_and_a_fault() {
    let (socket, mut link) = stranger();
    let (ringer, waiter) = crate::bell::bell().unwrap();
    let fds = ringer.fds();
    let [write, keep] = fds[..] else {
        panic!("a pipe has two ends")
    };
    socket.send(&hello().emit(0), &[write, keep]).unwrap();
    drop(ringer);
    assert!(!waiter.hung_up(), "the ringer is in flight");
    assert!(matches!(link.hear(), Err(PeerFault::Handover(_))));
    assert!(waiter.hung_up(), "and was closed on arrival");
}

#[test]
fn more_descriptors_than_a_packet_has_are_closed() {
    let (socket, mut link) = stranger();
    let (ringer, waiter) = crate::bell::bell().unwrap();
    let fds = ringer.fds();
    let [write, _] = fds[..] else {
        panic!("a pipe has two ends")
    };
    let many = [write; 20];
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&many)));
    let bytes = hello().emit(0);
    let iov = [std::io::IoSlice::new(&bytes)];
    rustix::net::sendmsg(
        socket.as_fd(),
        &iov,
        &mut control,
        rustix::net::SendFlags::empty(),
    )
    .unwrap();
    drop(ringer);
    assert!(matches!(link.hear(), Err(PeerFault::System(_))));
    assert!(waiter.hung_up());
}

/// A guest that says that a pool comes with its Hello, and hands over something else or nothing.
#[test]
fn a_pool_that_is_none_is_a_fault() {
    let tag = Tag {
        serial: Serial::new(0),
        answer: false,
    };
    let (_, waiter) = crate::bell::bell().unwrap();
    let (fd, _) = myrixen_shm::memfd("test", 4096).unwrap();
    let wrong = [
        Handover {
            items: vec![Item::Waiter(waiter)],
        },
        Handover {
            items: vec![Item::Pages {
                fd,
                offset: 0,
                len: 4096,
            }],
        },
        Handover::none(),
    ];
    for handover in wrong {
        let (socket, mut link) = stranger();
        socket.send(&hello().emit(1), &[]).unwrap();
        assert!(matches!(link.hear(), Ok(None)), "the pool is waited for");
        socket.send(&handover.emit(tag), &handover.fds()).unwrap();
        assert!(
            matches!(link.hear(), Err(PeerFault::Handover(_))),
            "{handover:?}"
        );
    }
    // The right words without the descriptor.
    let (socket, mut link) = stranger();
    let (fd, _) = myrixen_shm::memfd("test", 4096).unwrap();
    let pool = Handover {
        items: vec![Item::Pool(SharedPool { fd, len: 4096 })],
    };
    socket.send(&hello().emit(1), &[]).unwrap();
    socket.send(&pool.emit(tag), &[]).unwrap();
    assert!(matches!(link.hear(), Err(PeerFault::Handover(_))));
}

/// What a guest calls its pool reaches its partner unread; the partner does not map what could be pulled from under it.
#[test]
fn a_pool_that_could_shrink_is_not_mapped() {
    let fd = rustix::fs::memfd_create("unsealed", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, 4096).unwrap();
    assert!(SharedPool { fd, len: 4096 }.map().is_err());
    let (fd, _) = myrixen_shm::memfd("short", 4096).unwrap();
    assert!(
        SharedPool {
            fd: fd.try_clone().unwrap(),
            len: 1 << 40
        }
        .map()
        .is_err(),
        "longer than it is"
    );
    assert!(SharedPool { fd, len: 4096 }.map().is_ok());
    let (_, waiter) = crate::bell::bell().unwrap();
    let fd = waiter.fd().try_clone_to_owned().unwrap();
    assert!(SharedPool { fd, len: 4096 }.map().is_err());
}

#[test]
fn a_packet_after_the_hello_is_a_fault() {
    let (socket, mut link) = stranger();
    socket.send(&hello().emit(0), &[]).unwrap();
    assert!(matches!(link.hear(), Ok(Some(Heard::Hello(_)))));
    socket.send(&hello().emit(0), &[]).unwrap();
    assert!(matches!(link.hear(), Err(PeerFault::Message(_))));

    let mut rogue = rogue();
    let (ringer, waiter) = crate::bell::bell().unwrap();
    rogue.socket.send(&hello().emit(0), &ringer.fds()).unwrap();
    drop(ringer);
    assert!(matches!(rogue.link.hear(), Err(PeerFault::Message(_))));
    assert!(waiter.hung_up(), "its descriptors are closed");
}

#[test]
fn records_that_are_no_requests_are_faults() {
    let wrong: [(&[u8], Kind); 5] = [
        (
            &Request::ClosePort { endpoint: 1 }.emit(Serial::new(1), 0),
            Kind::Frame,
        ),
        (&[0; 2000], Kind::Control),
        (b"garbage", Kind::Control),
        (&[], Kind::Control),
        (&Reply::Done.emit(Serial::new(1), 0), Kind::Control),
    ];
    for (bytes, kind) in wrong {
        let mut rogue = rogue();
        rogue.publish(bytes, kind);
        let fault = hear_all(&mut rogue.link).unwrap_err();
        assert!(
            matches!(fault, PeerFault::Record { .. } | PeerFault::Message(_)),
            "{fault}"
        );
    }
}

#[test]
fn a_request_that_claims_to_hand_something_over_is_a_fault() {
    let mut rogue = rogue();
    rogue.publish(
        &Request::ClosePort { endpoint: 1 }.emit(Serial::new(1), 2),
        Kind::Control,
    );
    assert!(matches!(rogue.link.hear(), Err(PeerFault::Handover(_))));
}

#[test]
fn requests_without_end_are_a_fault() {
    let mut rogue = rogue();
    let ask = |rogue: &mut Rogue, serial| {
        let request = Request::ListBoards { from: 0 }.emit(Serial::new(serial), 0);
        rogue.publish(&request, Kind::Control);
        rogue.link.hear()
    };
    for serial in 0..MAX_UNANSWERED as u64 {
        assert!(matches!(
            ask(&mut rogue, serial),
            Ok(Some(Heard::Request(..)))
        ));
    }
    assert!(matches!(
        ask(&mut rogue, 1000),
        Err(PeerFault::TooManyRequests { .. })
    ));

    let mut rogue = self::rogue();
    assert!(ask(&mut rogue, 5).is_ok());
    assert!(matches!(ask(&mut rogue, 5), Err(PeerFault::SerialInUse(5))));
}

#[test]
fn a_guest_that_shuts_the_socket_down_has_left() {
    let mut rogue = rogue();
    rustix::net::shutdown(rogue.socket.as_fd(), rustix::net::Shutdown::Both).unwrap();
    assert!(matches!(rogue.link.hear(), Ok(Some(Heard::Left))));
    let done = rogue
        .link
        .notify(&Notice::BoardGone(Mac::new([1; 6])), Handover::none());
    assert!(done.is_ok() && rogue.link.state() == LinkState::Closed);
}

#[test]
fn an_empty_packet_is_a_good_bye() {
    let mut rogue = rogue();
    rogue.socket.send(&[], &[]).unwrap();
    assert!(matches!(rogue.link.hear(), Ok(Some(Heard::Left))));
}

/// A back end that refuses may close with something of ours unread: the refusal still counts.
#[test]
fn a_refusal_is_heard_before_the_reset() {
    let (guest, back_end) = Socket::pair().unwrap();
    guest.send(b"unread", &[]).unwrap();
    back_end.send(b"refused", &[]).unwrap();
    drop(back_end);
    let (bytes, _) = packet(&guest);
    assert_eq!(bytes, b"refused");
    assert!(matches!(guest.receive(), Ok(Received::Closed)));
}

/// A guest attached to a back end that we play by hand.
struct Victim {
    attachment: process::Attachment,
    link: ProcessLink,
}

fn victim() -> Victim {
    let (ours, theirs) = Socket::pair().unwrap();
    let mut handshake = process::Handshake::over(ours, process::HelloOptions::default()).unwrap();
    let mut link = ProcessLink::over(theirs).unwrap();
    assert!(matches!(link.hear(), Ok(Some(Heard::Hello(_)))));
    link.welcome(&welcome()).unwrap();
    let (attachment, _) = handshake.poll().unwrap().expect("welcomed");
    Victim { attachment, link }
}

/// What one thread waits for in its set, any call of any thread may read.
#[test]
fn who_watches_is_woken_when_another_call_has_read_the_answer() {
    let mut victim = victim();
    let set = WaitSet::new().unwrap();
    victim.attachment.watch(&set, 1).unwrap();
    let asked = victim
        .attachment
        .send_request(&Request::ClosePort { endpoint: 1 })
        .unwrap();
    let Ok(Some(Heard::Request(serial, _))) = victim.link.hear() else {
        panic!("a request")
    };
    victim
        .link
        .reply(serial, &Reply::Done, Handover::none())
        .unwrap();
    assert!(victim.attachment.next_news().is_none());
    let mut fds = [PollFd::new(&set, PollFlags::IN)];
    let awake = poll(&mut fds, Some(&Timespec::default())).unwrap();
    assert_eq!(awake, 1, "it would sleep through the answer");
    assert!(victim.attachment.poll_reply(asked).unwrap().is_some());
}

#[test]
fn an_answer_without_its_descriptors_is_as_good_as_a_lost_back_end() {
    let mut victim = victim();
    let request = Request::OpenPort {
        endpoint: None,
        forward: 4096,
        backward: 4096,
        brought: None,
    };
    let asked = victim.attachment.send_request(&request).unwrap();
    let Ok(Some(Heard::Request(serial, _))) = victim.link.hear() else {
        panic!("a request")
    };
    let capacity = Capacity::new(4096).unwrap();
    let terms = Terms {
        layout: Layout::new(capacity, capacity),
        support: Support::OURS,
    };
    let reply = Reply::Port { endpoint: 1, terms };
    victim.link.reply(serial, &reply, Handover::none()).unwrap();
    // Said to be there, and is not: nothing usable, yet the connection stands.
    let answer = victim
        .attachment
        .poll_reply(asked)
        .unwrap()
        .expect("answered");
    assert!(matches!(
        answer.into_port(),
        Err(process::RequestError::Unusable(_))
    ));
    assert!(!victim.attachment.is_lost());

    // Handed over for another message.
    let asked = victim.attachment.send_request(&request).unwrap();
    let Ok(Some(Heard::Request(serial, _))) = victim.link.hear() else {
        panic!("a request")
    };
    let (_end, handover) = victim.link.make_port(serial, &terms).unwrap();
    let stray = Reply::Port { endpoint: 1, terms };
    victim
        .link
        .force(&stray.emit(serial, 3), handover, Serial::new(999));
    assert!(matches!(
        victim.attachment.poll_reply(asked),
        Err(process::RequestError::Lost)
    ));
    assert!(victim.attachment.is_lost());
}

#[test]
fn a_port_whose_pages_do_not_match_the_terms_is_unusable() {
    let mut victim = victim();
    let request = Request::OpenPort {
        endpoint: None,
        forward: 4096,
        backward: 4096,
        brought: None,
    };
    let asked = victim.attachment.send_request(&request).unwrap();
    let Ok(Some(Heard::Request(serial, _))) = victim.link.hear() else {
        panic!("a request")
    };
    let terms = |bytes| {
        let capacity = Capacity::new(bytes).unwrap();
        Terms {
            layout: Layout::new(capacity, capacity),
            support: Support::OURS,
        }
    };
    let (_end, handover) = victim.link.make_port(serial, &terms(4096)).unwrap();
    let reply = Reply::Port {
        endpoint: 1,
        terms: terms(8192),
    };
    victim.link.reply(serial, &reply, handover).unwrap();
    let answer = victim
        .attachment
        .poll_reply(asked)
        .unwrap()
        .expect("answered");
    assert!(matches!(
        answer.into_port(),
        Err(process::RequestError::Unusable(_))
    ));
}

#[test]
fn a_notice_of_a_later_version_is_ignored_and_what_comes_with_it_closed() {
    let mut victim = victim();
    let (ringer, waiter) = crate::bell::bell().unwrap();
    let mut later = Notice::BoardGone(Mac::new([1; 6])).emit(Serial::new(7), 1);
    later[0] = 0x7f;
    let handover = Handover {
        items: vec![Item::Ringer(ringer)],
    };
    victim.link.force(&later, handover, Serial::new(7));
    assert!(victim.attachment.next_news().is_none() && !victim.attachment.is_lost());
    assert!(waiter.hung_up());
    victim
        .link
        .notify(&Notice::Draining { grace_ms: 1 }, Handover::none())
        .unwrap();
    let news = victim.attachment.next_news();
    assert!(
        matches!(news, Some(process::News::Notice(Notice::Draining { .. }))),
        "{news:?}"
    );
}

/// An offer that cannot be used is taken back, so that the other guest does not wait for us.
#[test]
fn a_broken_offer_is_reported_and_closed() {
    let mut victim = victim();
    let capacity = Capacity::new(4096).unwrap();
    let terms = Terms {
        layout: Layout::new(capacity, capacity),
        support: Support::OURS,
    };
    let address = crate::message::PortAddress {
        mac: Mac::new([9; 6]),
        endpoint: 4,
    };
    let peer = victim.link.as_peer(address, terms, ChannelId::new(5));
    let offer = Notice::DirectOffered {
        endpoint: 2,
        peer,
        lent: None,
    };
    victim.link.notify(&offer, Handover::none()).unwrap();
    let news = victim.attachment.next_news();
    assert!(
        matches!(news, Some(process::News::BrokenOffer { endpoint: 2, .. })),
        "{news:?}"
    );
    let Ok(Some(Heard::Request(_, request))) = victim.link.hear() else {
        panic!("a request")
    };
    assert_eq!(
        request,
        Request::CloseDirect {
            endpoint: 2,
            to: address,
            channel: ChannelId::new(5),
        }
    );
}

#[test]
fn a_back_end_of_another_kind_is_told_apart() {
    for wrong in [&b"220 mail ESMTP\r\n"[..], &[0; 16]] {
        let (ours, theirs) = Socket::pair().unwrap();
        let mut handshake =
            process::Handshake::over(ours, process::HelloOptions::default()).unwrap();
        theirs.send(wrong, &[]).unwrap();
        let err = handshake.poll().unwrap_err();
        assert!(
            matches!(err, process::AttachError::Protocol { .. }),
            "{err}"
        );
    }
}

#[test]
fn a_refusal_cannot_forge_the_terminal() {
    let (ours, theirs) = Socket::pair().unwrap();
    let mut handshake = process::Handshake::over(ours, process::HelloOptions::default()).unwrap();
    let mut bytes = crate::message::Refusal {
        reason: crate::message::RefusalReason::Limit,
        text: Text::new("AAAAAAAA"),
    }
    .emit();
    let at = bytes
        .windows(8)
        .position(|part| part == b"AAAAAAAA")
        .unwrap();
    bytes[at..at + 8].copy_from_slice(b"\x1b[2J\x07\r\n!");
    theirs.send(&bytes, &[]).unwrap();
    let text = handshake.poll().unwrap_err().to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

proptest! {
    /// Whatever is in the control ring's pages: faults at worst, in bounded time.
    #[test]
    fn arbitrary_pages_never_hurt_the_back_end(
        writes in prop::collection::vec((0..20_000usize, any::<u64>()), 1..60),
    ) {
        let mut rogue = rogue();
        let pages: Pages = rogue.pair.producer.memory().clone();
        assert_eq!(pages.access(), Access::ReadWrite);
        for (at, word) in writes {
            pages.write(at * 4 % (pages.len() - 8), &word.to_le_bytes());
            rogue.ringer.ring();
            if hear_bounded(&mut rogue.link).is_err() {
                break;
            }
        }
    }

    /// Whatever is on the socket.
    #[test]
    fn arbitrary_packets_never_hurt_the_back_end(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..6),
    ) {
        let (socket, mut link) = stranger();
        for packet in &packets {
            let _ = socket.send(packet, &[socket.as_fd()]);
        }
        prop_assert!(hear_bounded(&mut link).is_err());
    }
}

/// Hears a bounded number of times, answering nothing.
fn hear_bounded(link: &mut ProcessLink) -> Result<(), PeerFault> {
    for _ in 0..2 * MAX_UNANSWERED {
        if link.hear()?.is_none() {
            return Ok(());
        }
    }
    panic!("more was heard than a guest may have asked");
}
