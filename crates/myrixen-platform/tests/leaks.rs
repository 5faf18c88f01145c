//! Descriptors, mappings and names: all that was there before is there after, and nothing else.

mod conformance;

use std::collections::BTreeSet;
use std::fs;

use conformance::{Fixture, Host, direct, pass, welcome};
use myrixen_platform::process::{Handshake, HelloOptions, Listener};
use myrixen_platform::{Meeting, SharedPool};
use myrixen_shm::Pool;

struct InDir {
    dir: tempfile::TempDir,
}

impl Fixture for InDir {
    fn new() -> (Self, Box<dyn Meeting>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(dir.path().join("socket"), 0o600).unwrap();
        (Self { dir }, Box::new(listener))
    }

    fn hello(&self, options: HelloOptions) -> Handshake {
        Handshake::start(self.dir.path().join("socket"), options).unwrap()
    }
}

fn descriptors() -> BTreeSet<String> {
    // The descriptor of the listing itself is gone by the time it is looked at.
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let target = fs::read_link(&path).ok()?;
        Some(format!("{} -> {}", path.display(), target.display()))
    };
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(name)
        .collect()
}

fn shared_mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

/// A life of two guests, ended in one of several ways.
fn life(ending: usize) {
    let (fixture, meeting) = InDir::new();
    let mut host = Host::new(meeting);
    let pool = Pool::new(1 << 20).unwrap();
    let pool = Some(SharedPool::new(&pool).unwrap());
    let options = HelloOptions {
        pool,
        ..HelloOptions::default()
    };
    let mut front = host.attach(&fixture, 1, options);
    let mut back = host.attach(&fixture, 2, HelloOptions::default());
    let (mut port, mut end) = front.open_port(&host);
    pass(b"x", &mut port.pair.producer, &mut end.pair.consumer);
    let (mut ours, mut theirs) = direct(&host, &mut front, &mut back);
    pass(b"x", &mut ours.pair.producer, &mut theirs.pair.consumer);
    let names: Vec<_> = fs::read_dir(fixture.dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["socket"], "no other name in any file system");
    match ending {
        0 => {}
        // A port that was answered and never collected; one that was made and never sent.
        1 => {
            let request = myrixen_platform::message::Request::OpenPort {
                endpoint: None,
                forward: 4096,
                backward: 8192,
                brought: None,
            };
            front.attachment.send_request(&request).unwrap();
            let (serial, _) = host.hear_request(&mut *front.link);
            let (_end, handover) = front.link.make_port(serial, &port.terms).unwrap();
            let reply = myrixen_platform::message::Reply::Port {
                endpoint: 1,
                terms: port.terms,
            };
            front.link.reply(serial, &reply, handover).unwrap();
            let _never_sent = front.link.make_port(serial, &port.terms).unwrap();
        }
        // The guests first.
        2 => drop((front.attachment, back.attachment)),
        // The back end first.
        3 => drop((host, front.link, back.link)),
        // In the middle of a handshake.
        _ => {
            let _handshake = fixture.hello(HelloOptions::default());
            let mut link = host.accept(3);
            host.hear_hello(&mut *link);
            link.welcome(&welcome(3)).unwrap();
        }
    }
}

fn names_in(dir: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    ours.filter(|name| name.contains("myrixen")).collect()
}

fn main() {
    // What is opened once and kept: /dev/null for bells.
    life(0);
    let (before, mappings, names) = (descriptors(), shared_mappings(), names_in("/dev/shm"));
    for round in 0..50 {
        life(round % 5);
        let after = descriptors();
        let new: Vec<_> = after.difference(&before).collect();
        assert!(new.is_empty(), "ending {} leaves {new:?}", round % 5);
        assert_eq!(
            shared_mappings(),
            mappings,
            "ending {} leaves mappings",
            round % 5
        );
    }
    assert_eq!(names_in("/dev/shm"), names);
    println!("50 lives, {} descriptors before and after", before.len());
}
