//! The back end goes away and comes back in the middle of verified streams: nothing is lost, doubled or
//! reordered, the programs see no error, and direct channels go on meanwhile.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use myrixen::{Endpoint, EndpointOptions, Fabric, Match, PathKind, Peer};
use myrixen_backend::Backend;
use myrixen_backend::secret::Secret;
use myrixen_platform::process::Listener;

const KEY: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(30);
const RESTARTS: u32 = 20;

/// Mixed sizes: tiny, small, medium, large.
const LENGTHS: [usize; 5] = [16, 120, 3000, 20_000, 200_000];

fn start(socket: &Path, secret: &Secret) -> Backend {
    let listener = Listener::bind(socket, 0o600).expect("the socket is free");
    let host = common::Host {
        name: "restart",
        secret: secret.clone(),
        await_return: Duration::from_secs(5),
        poll: Duration::from_micros(20),
    };
    common::start(host, listener)
}

fn message(number: u64, len: usize) -> Vec<u8> {
    let mut message: Vec<u8> = (0..len)
        .map(|i| ((i as u64).wrapping_mul(31).wrapping_add(number) & 0xff) as u8)
        .collect();
    message[..8].copy_from_slice(&number.to_le_bytes());
    message
}

fn send_until(stop: &AtomicBool, from: &Endpoint, to: &Peer) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let len = LENGTHS[usize::try_from(number % 5).unwrap()];
        from.send(to, 7, &message(number, len))
            .expect("no error is seen");
        number += 1;
    }
    from.send(to, 8, &number.to_le_bytes())
        .expect("no error is seen");
    number
}

/// Receives and checks everything, in order, until told how much there is.
fn receive_all(at: &Endpoint, seen: &AtomicU64) -> u64 {
    let mut buffer = vec![0; 200_000];
    loop {
        let number = seen.load(Ordering::Relaxed);
        let got = at
            .recv(Match::any(), &mut buffer)
            .expect("no error is seen");
        if got.bits == 8 {
            let sent = u64::from_le_bytes(buffer[..8].try_into().unwrap());
            assert_eq!(sent, number, "all that was sent has arrived before the end");
            return number;
        }
        let len = LENGTHS[usize::try_from(number % 5).unwrap()];
        assert!(
            buffer[..got.len] == message(number, len),
            "message {number} is missing, doubled, out of order or changed"
        );
        seen.store(number + 1, Ordering::Relaxed);
    }
}

fn await_progress(seen: &[&AtomicU64], messages: u64) {
    let goals: Vec<u64> = seen
        .iter()
        .map(|n| n.load(Ordering::Relaxed) + messages)
        .collect();
    for (seen, goal) in seen.iter().zip(goals) {
        while seen.load(Ordering::Relaxed) < goal {
            std::thread::yield_now();
        }
    }
}

#[test]
fn streams_survive_restarts_of_the_back_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("myrixen.sock");
    let secret = Secret::random().expect("randomness");
    let mut backend = Some(start(&socket, &secret));

    let join = || {
        Fabric::builder()
            .socket(&socket)
            .connect()
            .expect("attached")
    };
    let (here, there) = (join(), join());
    let open = |fabric: &Fabric, direct: bool| {
        let options = EndpointOptions::default().key(KEY).direct(direct);
        fabric.open(options).expect("an endpoint")
    };
    let [switched, direct] = [false, true].map(|direct| {
        let (from, to) = (open(&here, direct), open(&there, direct));
        let peer = from
            .connect(to.address(), KEY, PATIENCE)
            .expect("connected");
        (from, to, peer)
    });
    while !matches!(direct.0.path(&direct.2), PathKind::Direct { .. }) {
        std::thread::yield_now();
    }
    let before = here.board();

    let stop = AtomicBool::new(false);
    let [over_switch, over_channel] = [AtomicU64::new(0), AtomicU64::new(0)];
    std::thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for ((from, to, peer), seen) in [(&switched, &over_switch), (&direct, &over_channel)] {
            let stop = &stop;
            senders.push(scope.spawn(move || send_until(stop, from, peer)));
            receivers.push(scope.spawn(move || receive_all(to, seen)));
        }
        for _ in 0..RESTARTS {
            await_progress(&[&over_switch, &over_channel], 20);
            backend.take().expect("it runs").stop();
            // Direct channels do not need it at all.
            await_progress(&[&over_channel], 20);
            backend = Some(start(&socket, &secret));
        }
        await_progress(&[&over_switch, &over_channel], 20);
        stop.store(true, Ordering::Relaxed);
        for (sender, receiver) in senders.into_iter().zip(receivers) {
            let sent = sender.join().expect("the sender saw no error");
            assert_eq!(receiver.join().expect("the receiver saw no error"), sent);
        }
    });
    assert_eq!(here.board(), before, "the same board after all restarts");
    assert!(matches!(direct.0.path(&direct.2), PathKind::Direct { .. }));
    drop((switched, direct, here, there));
    backend.take().expect("it runs").stop();
}

#[test]
fn a_guest_attaches_opens_and_connects_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("myrixen.sock");
    let secret = Secret::random().expect("randomness");
    let first = start(&socket, &secret);
    let fabric = Fabric::builder()
        .socket(&socket)
        .connect()
        .expect("attached");
    let old = fabric
        .open(EndpointOptions::default().key(KEY))
        .expect("open");
    first.stop();
    let second = start(&socket, &secret);
    // Asked while the attachment is perhaps still lost: answered when it is back.
    let new = fabric
        .open(EndpointOptions::default().key(KEY))
        .expect("open");
    assert_ne!(old.address(), new.address(), "the old one keeps its number");
    let peer = new
        .connect(old.address(), KEY, PATIENCE)
        .expect("connected");
    new.send(&peer, 1, b"hello again").expect("sent");
    let mut buffer = [0; 11];
    old.recv(Match::exact(1), &mut buffer).expect("received");
    assert_eq!(&buffer, b"hello again");
    drop((old, new, fabric));
    second.stop();
}
