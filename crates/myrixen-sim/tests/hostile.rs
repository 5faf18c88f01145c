//! A hostile guest costs the others less than a tenth of their share, and gets nothing that is not its own.

use std::os::fd::OwnedFd;

use mxoe::addr::Address;
use myrixen_platform::process::{Attachment, HelloOptions, Listener};
use myrixen_sim::hostile::{Guest, Host, Manner, Rogue, Talker};
use myrixen_sim::rng::Rng;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

/// Guests that keep the rules; each sends to the next.
const TALKERS: usize = 4;
/// Turns of the worker that are counted.
const TURNS: usize = 300;

/// A back end with guests in a ring.
fn talkers(host: &mut Host) -> Vec<Talker> {
    let guests: Vec<Guest> = (0..TALKERS)
        .map(|n| {
            host.guest(&format!("talker{n}"), "here", 0)
                .expect("attaches")
        })
        .collect();
    let addresses: Vec<Address> = guests.iter().map(|guest| guest.address).collect();
    let mark = |n: usize| 0x6d61_726b_0000 + (n % TALKERS) as u64;
    let at = |n: usize| (addresses[n % TALKERS], mark(n));
    guests
        .into_iter()
        .enumerate()
        .map(|(n, guest)| Talker::new(guest, at(n + 1), at(n + TALKERS - 1), mark(n)))
        .collect()
}

/// What each talker gets in so many turns, while the rogue acts before each of them.
fn run(host: &mut Host, talkers: &mut [Talker], rogue: &mut Option<Rogue>) -> Vec<u64> {
    let before: Vec<u64> = talkers.iter().map(Talker::received_bytes).collect();
    for _ in 0..TURNS {
        for talker in talkers.iter_mut() {
            talker.fill().expect("the back end keeps the rules");
        }
        if let Some(rogue) = rogue {
            rogue.act();
        }
        host.turn();
        for talker in talkers.iter_mut() {
            talker.drain().expect("nothing wrong gets through");
        }
    }
    talkers
        .iter()
        .zip(before)
        .map(|(talker, before)| talker.received_bytes() - before)
        .collect()
}

/// The share of a guest without any rogue, in bytes.
fn fair_share() -> u64 {
    let mut host = Host::new(&["here", "there"]).expect("starts");
    let mut talkers = talkers(&mut host);
    run(&mut host, &mut talkers, &mut None)
        .into_iter()
        .min()
        .expect("talkers")
}

#[test]
fn others_keep_their_share_whatever_a_guest_does() {
    let fair = fair_share();
    assert!(fair > 0);
    for manner in Manner::ALL {
        let mut host = Host::new(&["here", "there"]).expect("starts");
        let mut talkers = talkers(&mut host);
        let rogue = host.guest("rogue", "here", 0).expect("attaches");
        let mut rogue = Some(Rogue::new(rogue, manner, talkers[0].address(), 1));
        for (n, got) in run(&mut host, &mut talkers, &mut rogue)
            .into_iter()
            .enumerate()
        {
            assert!(
                got * 10 >= fair * 9,
                "{manner:?}: guest {n} got {got} of {fair} bytes"
            );
        }
        assert!(talkers.iter().all(|talker| !talker.is_lost()), "{manner:?}");
    }
}

#[test]
fn nothing_gets_into_another_partition() {
    for manner in Manner::ALL {
        let mut host = Host::new(&["here", "there"]).expect("starts");
        let mut talkers = talkers(&mut host);
        let rogue = host.guest("rogue", "there", 0).expect("attaches");
        let mut rogue = Some(Rogue::new(rogue, manner, talkers[0].address(), 2));
        run(&mut host, &mut talkers, &mut rogue);
        assert!(
            talkers.iter().all(|talker| talker.strangers() == 0),
            "{manner:?}"
        );
    }
}

#[test]
fn a_guest_that_breaks_its_ring_is_detached_counted_and_forgotten() {
    for manner in [Manner::Scribbles, Manner::Lies, Manner::Rewinds] {
        let mut host = Host::new(&["here", "there"]).expect("starts");
        let mut talkers = talkers(&mut host);
        let rogue = host.guest("rogue", "here", 0).expect("attaches");
        let mut rogue = Some(Rogue::new(rogue, manner, talkers[0].address(), 3));
        run(&mut host, &mut talkers, &mut rogue);
        let detached = host.turn_until(|status| status.guests == TALKERS);
        let status = detached.unwrap_or_else(|error| panic!("{manner:?}: {error}"));
        assert_eq!(status.ports, TALKERS, "{manner:?}");
        assert_eq!(status.boards, TALKERS, "{manner:?}");
        assert_eq!(
            status.faults.values().sum::<u64>(),
            1,
            "{manner:?}: {:?}",
            status.faults
        );
        assert!(rogue.is_some_and(|rogue| rogue.is_lost()), "{manner:?}");
    }
}

#[test]
fn a_guest_may_die_at_any_moment() {
    let mut host = Host::new(&["here", "there"]).expect("starts");
    let mut talkers = talkers(&mut host);
    for life in 0..44 {
        let manner = Manner::ALL[life % Manner::ALL.len()];
        // The same board each time: what the last one left behind must not be in the way.
        let rogue = host.guest("rogue", "here", 0).expect("attaches again");
        let mut rogue = Rogue::new(rogue, manner, talkers[0].address(), life as u64);
        for _ in 0..life % 4 {
            rogue.act();
            host.turn();
        }
        rogue.act();
        drop(rogue);
        let status = host
            .turn_until(|status| status.guests == TALKERS)
            .expect("forgotten");
        assert_eq!(
            (status.ports, status.boards),
            (TALKERS, TALKERS),
            "{manner:?}"
        );
    }
    let got = run(&mut host, &mut talkers, &mut None);
    assert!(got.iter().all(|got| *got > 0));
    assert!(talkers.iter().all(|talker| !talker.is_lost()));
}

/// A connected socket to a back end, on which nothing was said yet.
fn knock(path: &std::path::Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket");
    connect(&socket, &SocketAddrUnix::new(path).expect("a path")).expect("connects");
    socket
}

#[test]
fn whoever_says_rubbish_at_the_door_is_shown_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let door = Listener::bind(&path, 0o600).expect("listens");
    let mut host = Host::with_meetings(&["here", "there"], vec![Box::new(door)]).expect("starts");
    let mut talkers = talkers(&mut host);
    let mut rng = Rng::new(4);
    let mut visitors = Vec::new();
    for number in 0..64 {
        let visitor = knock(&path);
        for _ in 0..rng.below(4) {
            let len = rng.index(300);
            let mut packet: Vec<u8> = (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
            // Kind and length of a Hello (docs/control-plane.md), so that more of it is read.
            if number % 2 == 0 && packet.len() >= 16 {
                let len = u32::try_from(packet.len()).expect("short");
                packet[..4].copy_from_slice(&[1, 0, 0, 0]);
                packet[4..8].copy_from_slice(&len.to_le_bytes());
            }
            // The back end may have hung up by now, as it should.
            let _ = send(&visitor, &packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
        // Some hang up themselves, some stay without a word.
        if number % 3 != 0 {
            visitors.push(visitor);
        }
    }
    let got = run(&mut host, &mut talkers, &mut None);
    assert!(got.iter().all(|got| *got > 0));
    drop(visitors);
    let status = host
        .turn_until(|status| status.guests == TALKERS)
        .expect("rid of them");
    assert_eq!((status.ports, status.boards), (TALKERS, TALKERS));
    // The door is still open to those who behave.
    let (_attachment, welcome) =
        Attachment::connect(&path, HelloOptions::default()).expect("welcome");
    assert_eq!(welcome.partition.as_str(), "here");
}
