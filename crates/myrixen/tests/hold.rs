//! A guest is told to let go of everything, as before its domain is saved, and comes back: what was under way arrives, nothing is lost, doubled
//! or reordered, its partner sees no error, and they find their way to a direct channel again.

mod common;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use myrixen::{Endpoint, EndpointOptions, Fabric, Match, PathKind, Peer};
use myrixen_backend::Backend;
use myrixen_backend::secret::Secret;
use myrixen_platform::message::{MemoryProbe, Notice, Refusal, Reply, Serial, Welcome};
use myrixen_platform::process::Listener;
use myrixen_platform::{
    DirectEnds, GuestLink, Handover, Heard, Identity, LinkState, Meeting, PeerFault, PortEnd,
    SetupError, WaitSet,
};
use myrixen_ring::{Layout, Support, Terms};

const KEY: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket whose first guest, whenever it comes, is told to let go when the test says so. The second stays.
struct Holding {
    listener: Listener,
    arrived: u32,
    hold: Arc<AtomicBool>,
}

impl Meeting for Holding {
    fn accept(&mut self) -> io::Result<Option<Box<dyn GuestLink>>> {
        let Some(inner) = self.listener.accept()? else {
            return Ok(None);
        };
        self.arrived += 1;
        let hold = if self.arrived == 2 {
            Arc::default()
        } else {
            Arc::clone(&self.hold)
        };
        Ok(Some(Box::new(Held { inner, hold })))
    }

    fn watch(&self, set: &WaitSet, token: u64) -> io::Result<()> {
        self.listener.watch(set, token)
    }

    fn unwatch(&self, set: &WaitSet) {
        self.listener.unwatch(set);
    }
}

struct Held {
    inner: Box<dyn GuestLink>,
    hold: Arc<AtomicBool>,
}

impl GuestLink for Held {
    fn hear(&mut self) -> Result<Option<Heard>, PeerFault> {
        if self.hold.swap(false, Ordering::Relaxed) {
            return Ok(Some(Heard::Hold(true)));
        }
        self.inner.hear()
    }

    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn state(&self) -> LinkState {
        self.inner.state()
    }

    fn support(&self) -> Support {
        self.inner.support()
    }

    fn memory(&self) -> Option<MemoryProbe> {
        self.inner.memory()
    }

    fn watch(&mut self, set: &WaitSet, token: u64) -> io::Result<()> {
        self.inner.watch(set, token)
    }

    fn welcome(&mut self, welcome: &Welcome) -> Result<(), PeerFault> {
        self.inner.welcome(welcome)
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.inner.refuse(refusal);
    }

    fn reply(&mut self, to: Serial, reply: &Reply, with: Handover) -> Result<(), PeerFault> {
        self.inner.reply(to, reply, with)
    }

    fn notify(&mut self, notice: &Notice, with: Handover) -> Result<(), PeerFault> {
        self.inner.notify(notice, with)
    }

    fn make_port(
        &mut self,
        request: Serial,
        terms: &Terms,
    ) -> Result<(PortEnd, Handover), SetupError> {
        self.inner.make_port(request, terms)
    }

    fn make_direct(
        &mut self,
        request: Serial,
        back: &mut dyn GuestLink,
        layout: Layout,
    ) -> Result<DirectEnds, SetupError> {
        self.inner.make_direct(request, back, layout)
    }

    fn share_pool(&self) -> io::Result<Option<Handover>> {
        self.inner.share_pool()
    }
}

fn start(socket: &Path, hold: &Arc<AtomicBool>) -> Backend {
    let meeting = Holding {
        listener: Listener::bind(socket, 0o600).expect("the socket is free"),
        arrived: 0,
        hold: Arc::clone(hold),
    };
    let host = common::Host {
        name: "hold",
        secret: Secret::random().expect("randomness"),
        await_return: Duration::ZERO,
        poll: Duration::ZERO,
    };
    common::start(host, meeting)
}

/// Messages that are numbered, from each to the other, until told to stop and both have all.
fn converse(stop: &AtomicBool, me: &Endpoint, peer: &Peer) -> u64 {
    let mut number = 0_u64;
    let mut buffer = vec![0; 100_000];
    loop {
        let last = stop.load(Ordering::Relaxed);
        let len = [8, 3000, 90_000][usize::try_from(number % 3).unwrap()];
        let mut payload = vec![u8::try_from(number % 251).unwrap(); len];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        let bits = u64::from(last);
        let sent = me.isend(peer, bits, payload.clone()).expect("no error");
        let got = me.recv(Match::any(), &mut buffer).expect("no error");
        me.wait_send(sent).expect("no error");
        assert_eq!(buffer[..8], number.to_le_bytes(), "in order, once");
        assert_eq!(buffer[8..got.len], payload[8..], "unchanged");
        number += 1;
        if last && got.bits == 1 {
            return number;
        }
        if got.bits == 1 {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_guest_that_lets_go_of_everything_goes_on_with_its_conversations() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("myrixen.sock");
    let hold = Arc::<AtomicBool>::default();
    let _backend = start(&socket, &hold);
    let join = |board: &str| {
        let builder = Fabric::builder().socket(&socket).board_name(board);
        builder.connect().expect("attached")
    };
    let here = join("here");
    let there = join("there");
    let open = |fabric: &Fabric| {
        let options = EndpointOptions::default().key(KEY).give_up(PATIENCE);
        fabric.open(options).expect("an endpoint")
    };
    let (a, b) = (open(&here), open(&there));
    let to_b = a.connect(b.address(), KEY, PATIENCE).expect("connected");
    let to_a = b.connect(a.address(), KEY, PATIENCE).expect("connected");
    let is_direct = || {
        let of = |from: &Endpoint, to: &Peer| matches!(from.path(to), PathKind::Direct { .. });
        of(&a, &to_b) && of(&b, &to_a)
    };
    let await_direct = || {
        let until = Instant::now() + PATIENCE;
        while !is_direct() {
            assert!(Instant::now() < until, "no direct channel");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    await_direct();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mine = scope.spawn(|| converse(&stop, &a, &to_b));
        let theirs = scope.spawn(|| converse(&stop, &b, &to_a));
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(50));
            hold.store(true, Ordering::Relaxed);
            // The back end listens to who says something.
            while hold.load(Ordering::Relaxed) {
                let _ = here.lookup("there");
            }
            while is_direct() {
                std::thread::sleep(Duration::from_millis(1));
            }
            await_direct();
        }
        stop.store(true, Ordering::Relaxed);
        let (mine, theirs) = (
            mine.join().expect("no panic"),
            theirs.join().expect("no panic"),
        );
        assert!(mine == theirs && mine > 0);
    });
}
