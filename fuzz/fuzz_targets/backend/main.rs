//! A back end with guests that talk to each other, one that writes anything anywhere into the rings of its port, and one that
//! does so with its control ring. Nothing panics or hangs; the talkers go on, get only what they were sent, and in the end
//! nothing is left of the other two.
//!
//! The back end and the talkers live as long as the process: only guests begin anew in each run.

#![no_main]

mod intruder;
mod steps;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use intruder::{Intruder, knock, say};
use libfuzzer_sys::fuzz_target;
use mxoe::addr::Address;
use myrixen_platform::process::Listener;
use myrixen_ring::Kind;
use myrixen_shm::Pages;
use myrixen_sim::hostile::{Guest, Host, Talker};
use rustix::net::SocketAddrUnix;
use steps::{MOST_STEPS, Step};

/// Guests that keep the rules; each sends to the other.
const TALKERS: usize = 2;
/// Where the records of ring 0 begin (`docs/ring-abi.md`).
const RECORDS: usize = 4096;

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(Stage::new());
}

fuzz_target!(init: myrixen_fuzz::sow("backend"), |steps: Vec<Step>| {
    let steps = &steps[..steps.len().min(MOST_STEPS)];
    STAGE.with(|stage| stage.borrow_mut().run(steps));
});

/// What lives through all runs.
struct Stage {
    host: Host,
    door: SocketAddrUnix,
    talkers: Vec<Talker>,
    addresses: Vec<Address>,
}

/// Who lives for one run.
struct Visit {
    rogue: Guest,
    intruder: Intruder,
    visitors: Vec<OwnedFd>,
}

impl Stage {
    fn new() -> Self {
        // In the abstract namespace, so that nothing is left of it in any file system.
        let name = format!("myrixen-fuzz-{}", std::process::id());
        let listener = Listener::bind(format!("@{name}"), 0o600).expect("a door");
        let door = SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("a name");
        let mut host = Host::with_meetings(&["here"], vec![Box::new(listener)]).expect("starts");
        let mut guest = |n: usize| {
            host.guest(&format!("talker{n}"), "here", 1)
                .expect("attaches")
        };
        let guests: Vec<Guest> = (0..TALKERS).map(&mut guest).collect();
        let addresses: Vec<Address> = guests.iter().map(|guest| guest.address).collect();
        let at = |n: usize| (addresses[n % TALKERS], mark(n % TALKERS));
        let talker = |(n, guest)| Talker::new(guest, at(n + 1), at(n + 1), mark(n));
        let talkers = guests.into_iter().enumerate().map(talker).collect();
        Self {
            host,
            door,
            talkers,
            addresses,
        }
    }

    fn run(&mut self, steps: &[Step]) {
        let mut visit = Visit {
            rogue: self.host.guest("rogue", "here", 1).expect("attaches"),
            intruder: Intruder::attach(&self.door),
            visitors: Vec::new(),
        };
        for step in steps {
            self.step(&mut visit, step);
        }
        self.talk();
        drop(visit);
        let gone = self
            .host
            .turn_until(|status| status.guests == TALKERS)
            .expect("all are gone");
        assert_eq!(
            (gone.ports, gone.boards),
            (TALKERS, TALKERS),
            "something is left"
        );
        self.talk();
        assert!(
            self.talkers.iter().all(|talker| !talker.is_lost()),
            "a talker was shown out"
        );
    }

    /// The talkers go on.
    fn talk(&mut self) {
        let before: Vec<u64> = self.talkers.iter().map(Talker::received_bytes).collect();
        for _ in 0..2 {
            for talker in &mut self.talkers {
                talker.fill().expect("the back end keeps the rules");
            }
            self.host.turn();
            for talker in &mut self.talkers {
                talker.drain().expect("nothing wrong gets through");
            }
        }
        for (talker, before) in self.talkers.iter().zip(before) {
            assert!(talker.received_bytes() > before, "a talker hears nothing");
        }
    }

    fn step(&mut self, visit: &mut Visit, step: &Step) {
        let pages = visit.rogue.port.pair.producer.memory().clone();
        match *step {
            Step::Scribble { at, ref bytes } => {
                pages.write(at as usize % (pages.len() - 16), bytes)
            }
            Step::Header {
                line,
                kind,
                len,
                hint,
            } => {
                let place = RECORDS + usize::from(line) * 64 % (pages.len() - RECORDS);
                let word = u64::from(len) | u64::from(kind) << 32 | u64::from(hint) << 48;
                pages.store_u64(place, word, Ordering::Release);
            }
            Step::Word { word, by } => twist(&pages, word, by),
            Step::Replace { word, value } => {
                pages.store_u32(place(word), value, Ordering::Release);
            }
            Step::Frame {
                kind,
                to,
                from,
                endpoint,
                long,
                ref bytes,
            } => {
                let frame = self.frame([kind, to, from, endpoint], long, bytes);
                send(&mut visit.rogue, &frame);
            }
            Step::Consume { most } => consume(&mut visit.rogue, most),
            Step::Ring => visit.rogue.port.ringer.ring(),
            Step::Turn { times } => (0..times % 8).for_each(|_| self.host.turn()),
            Step::Talk => self.talk(),
            Step::Knock { ref bytes } => {
                let visitor = knock(&self.door);
                say(&visitor, bytes);
                visit.visitors.push(visitor);
            }
            Step::Wait => _ = self.host.status().expect("an answer"),
            _ => self.intrude(&mut visit.intruder, step),
        }
    }

    /// What happens to the control ring.
    fn intrude(&mut self, intruder: &mut Intruder, step: &Step) {
        match *step {
            Step::Ask { ref what, handed } => intruder.ask(&what.request(&self.addresses), handed),
            Step::Say { kind, ref bytes } => intruder.put(bytes, record(kind)),
            Step::Message {
                kind,
                flags,
                ref bytes,
            } => intruder.message(kind, flags, bytes),
            Step::Scrawl { at, ref bytes } => intruder.scrawl(at, bytes),
            Step::Twist { word, by } => intruder.twist(word, by),
            Step::Call => intruder.call(),
            _ => {}
        }
    }

    /// Something that gets past the first looks, to a talker or to nobody, from anybody.
    fn frame(&self, [kind, to, from, endpoint]: [u8; 4], long: u16, rest: &[u8]) -> Vec<u8> {
        let nic = |of: u8| {
            self.addresses
                .get(usize::from(of))
                .map_or([of; 6], |a| a.nic.octets())
        };
        let mut bytes = nic(to).to_vec();
        bytes.extend(nic(from));
        bytes.extend([0x86, 0xdf, 0, 0, kind, endpoint]);
        bytes.extend(rest);
        let len = bytes.len().max(usize::from(long) % 9100);
        bytes.resize(len, 0x77);
        bytes
    }
}

/// What a talker's frames begin with.
fn mark(talker: usize) -> u64 {
    0x6d61_726b_0000 + talker as u64
}

fn record(kind: u8) -> Kind {
    if kind % 2 == 0 {
        Kind::Frame
    } else {
        Kind::Control
    }
}

/// Where a word lies that any number names: a control word, or one of the header block (`docs/ring-abi.md`).
fn place(word: u8) -> usize {
    if word & 0x80 == 0 {
        256 + usize::from(word % 8) * 128
    } else {
        usize::from(word & 0x3f) * 4
    }
}

/// Changes a word by a little.
fn twist(pages: &Pages, word: u8, by: i8) {
    let value = pages.load_u32(place(word), Ordering::Acquire);
    let value = value.wrapping_add_signed(by.into());
    pages.store_u32(place(word), value, Ordering::Release);
}

fn send(guest: &mut Guest, frame: &[u8]) {
    if let Ok(Some(mut slot)) = guest.port.pair.producer.reserve(frame.len(), 0) {
        slot.write(0, frame);
        slot.publish(Kind::Frame);
    }
}

fn consume(guest: &mut Guest, most: u8) {
    let consumer = &mut guest.port.pair.consumer;
    for _ in 0..most {
        let Ok(Some(record)) = consumer.peek() else {
            break;
        };
        consumer.advance(record);
    }
    let _ = consumer.release();
}
