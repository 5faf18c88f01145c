//! A front end against a store in memory and a back end on ordinary shared memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::message::{Dialect, GuestLimits, Mac, Name, Profile, RefusalReason};
use crate::process::control::Control;
use crate::process::handles;
use crate::process::link::make_port;

const BACK: &str = "/local/domain/0/backend/myrixen/3/0";
const FRONT: &str = "device/myrixen/0";

#[derive(Debug, Default)]
struct Keys {
    keys: BTreeMap<String, String>,
    watched: Vec<String>,
    changed: bool,
    broken: bool,
}

/// A store whose keys the test can change as the toolstack and the back end would.
#[derive(Clone, Debug, Default)]
struct FakeStore(Arc<Mutex<Keys>>);

impl FakeStore {
    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap()
    }

    fn set(&self, path: &str, value: impl ToString) {
        let mut keys = self.lock();
        keys.keys.insert(path.to_owned(), value.to_string());
        keys.changed |= keys.watched.iter().any(|w| path.starts_with(w.as_str()));
    }

    fn remove(&self, path: &str) {
        let mut keys = self.lock();
        keys.keys.remove(path);
        keys.changed = true;
    }

    fn get(&self, path: &str) -> Option<String> {
        self.lock().keys.get(path).cloned()
    }

    fn state(&self) -> String {
        self.get("device/myrixen/0/state").unwrap_or_default()
    }

    /// What attach writes.
    fn attach(&self) {
        self.set("domid", 3);
        self.set(&format!("{BACK}/online"), 1);
        self.set(&format!("{BACK}/state"), 1);
        self.set(&format!("{FRONT}/backend"), BACK);
        self.set(&format!("{FRONT}/backend-id"), 0);
        self.set(&format!("{FRONT}/state"), 1);
    }

    fn back_state(&self, state: BusState) {
        self.set(&format!("{BACK}/state"), state.text());
    }
}

impl Store for FakeStore {
    fn read(&mut self, path: &str) -> io::Result<Option<String>> {
        if self.lock().broken {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(self.get(path))
    }

    fn write(&mut self, folder: &str, keys: &[(&str, String)]) -> io::Result<()> {
        for (key, value) in keys {
            self.set(&format!("{folder}/{key}"), value);
        }
        Ok(())
    }

    fn watch(&mut self, path: &str) -> io::Result<()> {
        let mut keys = self.lock();
        keys.watched.push(path.to_owned());
        keys.changed = true; // as the real one does
        Ok(())
    }

    fn unwatch(&mut self, path: &str) {
        self.lock().watched.retain(|watched| watched != path);
    }

    fn changed(&mut self) -> io::Result<bool> {
        Ok(std::mem::take(&mut self.lock().changed))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// The control rings that were offered, as their other ends.
#[derive(Clone, Debug, Default)]
struct FakeRings(Arc<Mutex<Vec<Control>>>);

impl Rings for FakeRings {
    fn offer(&mut self, to: u16, terms: &Terms) -> Result<(Brought, PortEnd), SetupError> {
        assert_eq!(to, 0);
        let (end, handover) = make_port(terms).unwrap();
        let theirs = Control::new(end.pair, end.ringer, end.waiter);
        let mut rings = self.0.lock().unwrap();
        rings.push(theirs);
        let page = u32::try_from(rings.len()).unwrap() + 100;
        let (pair, ringer, waiter) = handles::control(handover, terms).unwrap();
        let end = PortEnd {
            pair,
            ringer,
            waiter,
        };
        Ok((Brought { page, event: 7 }, end))
    }
}

struct Bench {
    store: FakeStore,
    rings: FakeRings,
    front: Front<FakeStore, FakeRings>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let (store, rings) = (FakeStore::default(), FakeRings::default());
        Self {
            front: Front::new(store.clone(), rings.clone(), 0),
            store,
            rings,
            now: Instant::now(),
        }
    }

    fn poll(&mut self) -> Vec<FrontEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.front.poll(self.now).unwrap() {
            events.push(event);
        }
        events
    }

    /// The back end's end of the ring that was offered last.
    fn ring(&self) -> Control {
        self.rings
            .0
            .lock()
            .unwrap()
            .pop()
            .expect("a ring is offered")
    }

    /// Up to the front end's Hello.
    fn greeted(&mut self) -> Control {
        self.store.back_state(BusState::InitWait);
        assert!(self.poll().is_empty());
        assert_eq!(self.store.state(), "3");
        let mut ring = self.ring();
        self.store.back_state(BusState::Connected);
        assert!(self.poll().is_empty());
        assert_eq!(self.store.state(), "4");
        let (hello, _) = Hello::parse(&ring.take().unwrap().expect("it says Hello")).unwrap();
        assert_eq!(hello.ring, Support::OURS);
        ring
    }

    fn connected(&mut self) -> Control {
        let mut ring = self.greeted();
        assert!(ring.give(&welcome().emit(&agreed(), 0)).unwrap());
        let events = self.poll();
        let [FrontEvent::Connected(connected)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(connected.welcome, welcome());
        assert_eq!(connected.support, Support::OURS);
        ring
    }
}

/// The control ring's terms, with the support of everything that is made afterwards.
fn agreed() -> Terms {
    Terms {
        support: Support::OURS,
        ..control_terms().unwrap()
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: VERSION,
        features: 0,
        mac: Mac::new([2, 0, 0, 0, 0, 3]),
        board: Name::new("domain3:0").unwrap(),
        partition: Name::new("blue").unwrap(),
        profile: Profile {
            dialect: Dialect::Native,
            mtu: 9000,
        },
        limits: GuestLimits {
            ports: 256,
            directs: 64,
            ring_bytes: 1 << 20,
        },
        ticket: Ticket::new(vec![1, 2, 3]),
    }
}

#[test]
fn a_device_that_appears_later_is_connected_and_talked_to() {
    let mut bench = Bench::new();
    assert!(bench.poll().is_empty());
    bench.store.attach();
    assert!(bench.poll().is_empty());
    assert_eq!(bench.store.state(), "1");
    let mut ring = bench.connected();
    assert_eq!(
        bench.store.get("device/myrixen/0/ring-ref").as_deref(),
        Some("101")
    );
    assert_eq!(
        bench.store.get("device/myrixen/0/event-channel").as_deref(),
        Some("7")
    );
    assert_eq!(
        bench.store.get("device/myrixen/0/version").as_deref(),
        Some("1")
    );

    let serial = bench
        .front
        .ask(&Request::ClosePort { endpoint: 4 })
        .unwrap();
    // Nobody polls in between: a request goes out at once.
    let (asked, request, _) = Request::parse(&ring.take().unwrap().unwrap()).unwrap();
    assert_eq!(
        (asked, request),
        (serial, Request::ClosePort { endpoint: 4 })
    );
    ring.give(&Reply::Done.emit(serial, 0)).unwrap();
    ring.give(&Notice::BoardGone(Mac::new([2; 6])).emit(Serial::new(1), 0))
        .unwrap();
    let events = bench.poll();
    let [
        FrontEvent::Reply(to, Reply::Done),
        FrontEvent::Notice(Notice::BoardGone(_)),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*to, serial);
}

#[test]
fn no_more_is_asked_at_once_than_a_guest_may() {
    let mut bench = Bench::new();
    bench.store.attach();
    let mut ring = bench.connected();
    for endpoint in 0..100 {
        bench.front.ask(&Request::ClosePort { endpoint }).unwrap();
    }
    let mut asked = 0;
    loop {
        assert!(
            bench
                .poll()
                .iter()
                .all(|e| matches!(e, FrontEvent::Reply(..)))
        );
        let mut serials = Vec::new();
        while let Some(bytes) = ring.take().unwrap() {
            serials.push(Request::parse(&bytes).unwrap().0);
        }
        if serials.is_empty() {
            break;
        }
        assert!(serials.len() <= crate::meeting::MAX_UNANSWERED);
        asked += serials.len();
        for serial in serials {
            ring.give(&Reply::Done.emit(serial, 0)).unwrap();
        }
    }
    assert_eq!(asked, 100);
}

#[test]
fn an_earlier_life_is_written_over() {
    let mut bench = Bench::new();
    bench.store.attach();
    bench.store.set("device/myrixen/0/state", 4);
    bench.store.back_state(BusState::Connected);
    assert!(bench.poll().is_empty());
    assert_eq!(
        bench.store.state(),
        "1",
        "the back end lets the old ring go first"
    );
    bench.connected();
}

#[test]
fn a_back_end_that_dies_is_waited_for() {
    let mut bench = Bench::new();
    bench.store.attach();
    drop(bench.connected());
    let events = bench.poll();
    assert!(
        matches!(events[..], [FrontEvent::Lost(FrontLoss::HungUp)]),
        "{events:?}"
    );
    assert_eq!(bench.store.state(), "1");
    assert!(bench.front.ask(&Request::ListBoards { from: 0 }).is_none());
    bench.connected();
}

#[test]
fn a_back_end_that_came_back_shows_in_its_state() {
    let mut bench = Bench::new();
    bench.store.attach();
    let _ring = bench.connected();
    bench.store.back_state(BusState::InitWait);
    let events = bench.poll();
    assert!(
        matches!(events[..], [FrontEvent::Lost(FrontLoss::LetGo)]),
        "{events:?}"
    );
    assert_eq!(bench.store.state(), "3", "a new ring is offered at once");
    bench.connected();
}

#[test]
fn a_device_that_goes_is_closed() {
    let mut bench = Bench::new();
    bench.store.attach();
    let _ring = bench.connected();
    bench.store.set(&format!("{BACK}/online"), 0);
    let events = bench.poll();
    assert!(
        matches!(events[..], [FrontEvent::Lost(FrontLoss::LetGo)]),
        "{events:?}"
    );
    assert_eq!(bench.store.state(), "6");
    bench.store.attach();
    bench.connected();
}

#[test]
fn a_device_whose_keys_are_being_removed_is_not_written_to() {
    let mut bench = Bench::new();
    bench.store.attach();
    let _ring = bench.connected();
    bench.store.remove(&format!("{BACK}/state"));
    bench.store.remove("device/myrixen/0/state");
    let events = bench.poll();
    assert!(
        matches!(events[..], [FrontEvent::Lost(FrontLoss::LetGo)]),
        "{events:?}"
    );
    assert_eq!(bench.store.state(), "");
    bench.store.attach();
    bench.connected();
}

#[test]
fn a_silent_back_end_is_tried_again() {
    let mut bench = Bench::new();
    bench.store.attach();
    let _ring = bench.greeted();
    assert!(bench.front.next_timeout().is_some());
    bench.now += GREETING;
    // Nothing was connected, so nothing is lost; the back end is still at 4 with the old ring.
    assert!(bench.poll().is_empty());
    assert_eq!(bench.store.state(), "1");
    bench.connected();
}

#[test]
fn an_offer_that_nobody_takes_is_made_again() {
    let mut bench = Bench::new();
    bench.store.attach();
    bench.store.back_state(BusState::InitWait);
    assert!(bench.poll().is_empty());
    let first = bench.store.get("device/myrixen/0/ring-ref");
    bench.now = bench
        .front
        .next_timeout()
        .expect("it does not wait for ever");
    assert!(bench.poll().is_empty());
    assert_eq!(bench.store.state(), "3");
    assert_ne!(bench.store.get("device/myrixen/0/ring-ref"), first);
    bench.connected();
}

#[test]
fn a_refusal_is_told_and_asked_again_after_a_pause() {
    let mut bench = Bench::new();
    bench.store.attach();
    let mut ring = bench.greeted();
    let refusal = Refusal::new(RefusalReason::Limit, "full");
    ring.give(&refusal.emit()).unwrap();
    let events = bench.poll();
    assert!(
        matches!(&events[..], [FrontEvent::Refused(r)] if *r == refusal),
        "{events:?}"
    );
    bench.store.back_state(BusState::InitWait);
    assert!(bench.poll().is_empty());
    assert_eq!(bench.store.state(), "1");
    bench.now += PAUSE;
    bench.connected();
}

#[test]
fn a_back_end_that_breaks_the_rules_is_left() {
    for foul in [
        vec![0xff; 40],
        Reply::Done.emit(Serial::new(77), 0),
        Notice::Draining { grace_ms: 1 }.emit(Serial::new(1), 3),
    ] {
        let mut bench = Bench::new();
        bench.store.attach();
        let mut ring = bench.connected();
        ring.give(&foul).unwrap();
        let events = bench.poll();
        assert!(
            matches!(events[..], [FrontEvent::Lost(FrontLoss::Fault(_))]),
            "{events:?}"
        );
        bench.connected();
    }
}

#[test]
fn a_store_that_fails_is_named_and_tried_again() {
    let mut bench = Bench::new();
    bench.store.attach();
    let _ring = bench.connected();
    bench.store.lock().broken = true;
    bench.store.back_state(BusState::Closing);
    let error = bench.front.poll(bench.now).unwrap_err();
    assert!(error.to_string().contains(FRONT), "{error}");
    bench.store.lock().broken = false;
    let events = bench.poll();
    assert!(matches!(events[..], [FrontEvent::Lost(_)]), "{events:?}");
    bench.store.attach();
    bench.now += PAUSE;
    bench.connected();
}

#[test]
fn a_wait_set_hears_the_control_ring() {
    let set = WaitSet::new().unwrap();
    let mut bench = Bench::new();
    bench.front.watch(&set, 5).unwrap();
    bench.store.attach();
    let mut ring = bench.connected();
    let mut ready = Vec::new();
    set.wait(Some(Duration::ZERO), &mut ready).unwrap();
    assert!(ready.is_empty());
    ring.give(&Notice::Draining { grace_ms: 1 }.emit(Serial::new(1), 0))
        .unwrap();
    set.wait(Some(Duration::from_secs(60)), &mut ready).unwrap();
    assert!(ready.iter().all(|r| r.token == 5) && !ready.is_empty());
    assert_eq!(bench.poll().len(), 1);
    drop(ring);
    assert_eq!(bench.poll().len(), 1);
    set.wait(Some(Duration::ZERO), &mut ready).unwrap();
    assert!(ready.is_empty(), "a lost ring is not watched any more");
}
