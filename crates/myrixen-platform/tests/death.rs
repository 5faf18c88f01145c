//! Real processes: what the kernel vouches for, reading another process's memory, and SIGKILL at each stage of a guest's life.

mod conformance;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use conformance::{Fixture, Host, LONG, capacities, mac, pass, until, welcome};
use myrixen_platform::message::{ChannelId, Notice, PortAddress, Reply, Request};
use myrixen_platform::process::{Attachment, Handshake, HelloOptions, Listener, News};
use myrixen_platform::{GuestLink, Handover, Heard, Identity, Meeting, PortEnd, WaitSet};
use myrixen_ring::{Layout, Support, Terms};

const SOCKET: &str = "MYRIXEN_TEST_SOCKET";
const STAGE: &str = "MYRIXEN_TEST_STAGE";

/// What a guest does before it waits to be killed; each stage includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Hello,
    Attached,
    Port,
    Direct,
    Asking,
}

const STAGES: [Stage; 5] = [
    Stage::Hello,
    Stage::Attached,
    Stage::Port,
    Stage::Direct,
    Stage::Asking,
];

/// The guest's program: goes as far as it is told, says so, and never ends by itself.
fn guest(socket: &str, stage: usize) {
    let stage = STAGES[stage];
    let handshake = Handshake::start(socket, HelloOptions::default()).unwrap();
    let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
    if stage == Stage::Hello {
        return wait_for_death(&[], &held);
    }
    let (attachment, _) = handshake.wait().unwrap();
    let data = Box::leak(Box::new(*b"readable"));
    let mut facts = vec![data.as_ptr().addr() as u64];
    if stage >= Stage::Port {
        let mut port = attachment.open_port(Some(1), capacities(), LONG).unwrap();
        let mut slot = port.pair.producer.reserve(5, 0).unwrap().unwrap();
        slot.write(0, b"hello");
        slot.publish(myrixen_ring::Kind::Frame);
        held.push(Box::new(port));
    }
    if stage >= Stage::Direct {
        let to = PortAddress {
            mac: mac(1),
            endpoint: 1,
        };
        let direct = attachment.open_direct(1, to, capacities(), LONG).unwrap();
        facts.push(u64::from(direct.peer.pid));
        facts.push(u64::from(direct.peer_memory.is_some()));
        held.push(Box::new(direct));
    }
    if stage >= Stage::Asking {
        attachment
            .send_request(&Request::ListBoards { from: 0 })
            .unwrap();
    }
    held.push(Box::new(attachment));
    wait_for_death(&facts, &held);
}

fn wait_for_death(facts: &[u64], _held: &[Box<dyn std::any::Any>]) {
    println!("there {facts:?}");
    std::io::stdout().flush().unwrap();
    // Ends without being killed only when the parent is gone.
    let _ = std::io::stdin().read(&mut [0]);
}

struct Running {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(socket: &std::path::Path, stage: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(SOCKET, socket)
            .env(STAGE, stage.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn wait_until_there(&mut self) -> Vec<u64> {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        let list = line
            .trim()
            .strip_prefix("there [")
            .and_then(|rest| rest.strip_suffix(']'));
        let list = list.unwrap_or_else(|| panic!("the guest said {line:?}"));
        list.split(", ")
            .filter(|s| !s.is_empty())
            .map(|s| s.parse().unwrap())
            .collect()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terms() -> Terms {
    let [forward, backward] = capacities();
    Terms {
        layout: Layout::new(forward, backward),
        support: Support::OURS,
    }
}

struct Scene {
    dir: tempfile::TempDir,
}

impl Fixture for Scene {
    fn new() -> (Self, Box<dyn Meeting>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(dir.path().join("socket"), 0o600).unwrap();
        (Self { dir }, Box::new(listener))
    }

    fn hello(&self, options: HelloOptions) -> Handshake {
        Handshake::start(self.dir.path().join("socket"), options).unwrap()
    }
}

/// Serves the guest in the other process until it is as far as it should be.
fn serve(
    host: &Host,
    link: &mut dyn GuestLink,
    partner: &mut dyn GuestLink,
    stage: Stage,
) -> Vec<PortEnd> {
    let mut ports = Vec::new();
    if stage >= Stage::Port {
        let (serial, request) = host.hear_request(link);
        assert!(
            matches!(
                request,
                Request::OpenPort {
                    endpoint: Some(1),
                    ..
                }
            ),
            "{request:?}"
        );
        let (port, handover) = link.make_port(serial, &terms()).unwrap();
        link.reply(
            serial,
            &Reply::Port {
                endpoint: 1,
                terms: terms(),
            },
            handover,
        )
        .unwrap();
        ports.push(port);
    }
    if stage >= Stage::Direct {
        let (serial, request) = host.hear_request(link);
        let Request::OpenDirect { to, .. } = request else {
            panic!("{request:?}")
        };
        let ends = link.make_direct(serial, partner, terms().layout).unwrap();
        let from = PortAddress {
            mac: mac(2),
            endpoint: 1,
        };
        let peer = link.as_peer(from, ends.terms, ChannelId::new(3));
        partner
            .notify(
                &Notice::DirectOffered {
                    endpoint: 1,
                    peer,
                    lent: None,
                },
                ends.back,
            )
            .unwrap();
        link.reply(
            serial,
            &Reply::Direct(partner.as_peer(to, ends.terms, ChannelId::new(3))),
            ends.front,
        )
        .unwrap();
    }
    ports
}

fn a_guest_is_killed_at(at: usize) {
    let stage = STAGES[at];
    let (scene, meeting) = Scene::new();
    let mut host = Host::new(meeting);
    let mut partner = host.attach(&scene, 1, HelloOptions::default());
    let mut guest = Running::start(&scene.dir.path().join("socket"), at);
    let mut link = host.accept(2);
    host.hear_hello(&mut *link);
    let Identity::Process(who) = link.identity().clone() else {
        panic!("a process")
    };
    assert_eq!(who.pid, guest.child.id());
    assert_eq!(who.uid, rustix::process::geteuid().as_raw());
    if stage > Stage::Hello {
        link.welcome(&welcome(2)).unwrap();
    }
    let mut ports = serve(&host, &mut *link, &mut *partner.link, stage);
    let facts = guest.wait_until_there();

    let mut direct = None;
    if stage >= Stage::Direct {
        let News::Direct(handles) = partner.news() else {
            panic!("a direct channel")
        };
        assert_eq!(handles.peer.pid, guest.child.id());
        assert_eq!(
            facts[1],
            u64::from(std::process::id()),
            "the guest knows our process id"
        );
        if let Some(memory) = handles.peer_memory {
            let mut got = [0; 8];
            assert_eq!(memory.read(facts[0], &mut got).unwrap(), 8);
            assert_eq!(&got, b"readable");
        } else {
            println!("skipped: the kernel does not let us read our child's memory");
        }
        direct = Some(handles);
    }

    guest.kill();
    if stage >= Stage::Asking {
        let (serial, _) = host.hear_request(&mut *link);
        // Nobody is there to read it.
        link.reply(serial, &Reply::Done, Handover::none()).unwrap();
    }
    assert!(matches!(host.hear(&mut *link), Ok(Heard::Left)));
    for port in &mut ports {
        assert!(port.waiter.hung_up(), "the port's bell says so too");
        let record = port
            .pair
            .consumer
            .peek()
            .unwrap()
            .expect("what it had sent is still there");
        assert_eq!(record.len(), 5);
        port.ringer.ring();
    }
    if let Some(direct) = direct {
        assert!(
            direct.waiter.hung_up(),
            "the partner knows without being told"
        );
        let memory = direct.peer_memory;
        assert!(memory.is_none_or(|memory| memory.read(facts[0], &mut [0; 8]).is_err()));
    }
    // The other guest is served on.
    let (mut port, mut end) = partner.open_port(&host);
    pass(b"alive", &mut port.pair.producer, &mut end.pair.consumer);
}

/// The back end is another process and is killed: here the guest is us.
fn a_back_end_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let mut back_end = Running::start(&socket, usize::MAX);
    back_end.wait_until_there();
    let (attachment, _) = Attachment::connect(&socket, HelloOptions::default()).unwrap();
    let port = attachment.open_port(None, capacities(), LONG).unwrap();
    let set = WaitSet::new().unwrap();
    attachment.watch(&set, 1).unwrap();
    set.add_bell(&port.waiter, 2).unwrap();
    back_end.kill();
    until(&set, || {
        assert!(attachment.next_news().is_none());
        attachment.is_lost().then_some(())
    });
    assert!(port.waiter.hung_up());
    port.ringer.ring();
    // Its socket file is still there, and is replaced by the next one.
    let err = Handshake::start(&socket, HelloOptions::default()).unwrap_err();
    assert!(
        matches!(
            err,
            myrixen_platform::process::AttachError::NotRunning { .. }
        ),
        "{err}"
    );
    let mut host = Host::new(Box::new(Listener::bind(&socket, 0o600).unwrap()));
    host.attach(&Scene { dir }, 1, HelloOptions::default());
}

/// A back end that takes one guest in and opens ports, until it is killed.
fn back_end(socket: &str) {
    let mut host = Host::new(Box::new(Listener::bind(socket, 0o600).unwrap()));
    println!("there []");
    std::io::stdout().flush().unwrap();
    let mut link = host.accept(1);
    host.hear_hello(&mut *link);
    link.welcome(&welcome(1)).unwrap();
    let mut ports = Vec::new();
    loop {
        let (serial, _) = host.hear_request(&mut *link);
        let (port, handover) = link.make_port(serial, &terms()).unwrap();
        link.reply(
            serial,
            &Reply::Port {
                endpoint: 0,
                terms: terms(),
            },
            handover,
        )
        .unwrap();
        ports.push(port);
    }
}

fn main() {
    if let Ok(socket) = std::env::var(SOCKET) {
        let stage: usize = std::env::var(STAGE).unwrap().parse().unwrap();
        return if stage == usize::MAX {
            back_end(&socket)
        } else {
            guest(&socket, stage)
        };
    }
    for (at, stage) in STAGES.iter().enumerate() {
        a_guest_is_killed_at(at);
        println!("a guest killed at stage {stage:?} ... ok");
    }
    a_back_end_is_killed();
    println!("a back end killed ... ok");
}
