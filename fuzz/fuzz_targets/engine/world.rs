//! Two drivers, the frames between them, and a clock.

use std::collections::VecDeque;
use std::time::Duration;

use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::engine::{Gone, PathId};
use mxoe::frame::HEAD_BYTES;
use mxoe::time::Time;

use crate::driver::{Driver, pick};
use crate::steps::{Edit, KEY, Setup, Step};

/// Paths of each endpoint: the switch, and two direct ones.
pub(crate) const PATHS: usize = 3;
/// Frames under way; more are lost.
const MOST_UNDER_WAY: usize = 256;
/// Frames that are remembered, to be repeated or forged.
const MOST_REMEMBERED: usize = 32;
/// Timers of one endpoint that may run out while nothing happens to it. With everything given up after five seconds it
/// is some hundred for each partner.
const MOST_TIMERS: usize = 100_000;

/// A frame under way.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) path: PathId,
    pub(crate) from: NicAddr,
    pub(crate) to: NicAddr,
    /// The first bytes. Engines see no more.
    pub(crate) head: Vec<u8>,
    /// How long the frame is in all.
    pub(crate) len: usize,
    /// The data that it announces can be read directly.
    pub(crate) offer: bool,
}

pub(crate) struct World {
    setup: Setup,
    now: Time,
    drivers: [Driver; 2],
    under_way: VecDeque<Flight>,
    remembered: VecDeque<Flight>,
}

/// Everybody's addresses: two engines, and two that the fuzzer speaks for, one of them on the second engine's board.
fn address(number: u8) -> Address {
    let (nic, endpoint) = match number % 4 {
        0 => (0xa, 1),
        1 => (0xb, 2),
        2 => (0xc, 3),
        _ => (0xb, 4),
    };
    Address::new(
        NicAddr::new([2, 0, 0, 0, 0, nic]),
        EndpointId::new(endpoint),
    )
}

fn path(number: u8) -> PathId {
    PathId::new(u16::from(number) % 3)
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let drivers = [0, 1].map(|number| Driver::new(&setup, address(number), number.into()));
        let mut world = Self {
            setup,
            now: Time::from_nanos(1_000_000_000),
            drivers,
            under_way: VecDeque::new(),
            remembered: VecDeque::new(),
        };
        // The usual beginning; steps can undo it.
        let profile = world.setup.profile(20);
        for driver in &mut world.drivers {
            driver.set_path(world.now, PathId::SWITCH, profile);
        }
        if world.setup.met {
            let now = world.now;
            world.at(false).connect(now, address(1), KEY, None);
            // Request and reply.
            (0..2).for_each(|_| world.exchange());
            world.drivers.iter_mut().for_each(Driver::handle_events);
        }
        world
    }

    pub(crate) fn run(mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
            self.drivers.iter_mut().for_each(Driver::after);
        }
        self.finish();
    }

    /// Nothing arrives any more: both come to rest, and close.
    fn finish(&mut self) {
        self.under_way.clear();
        let profile = self.setup.profile(20);
        for driver in &mut self.drivers {
            let mut now = self.now;
            driver.set_path(now, PathId::SWITCH, profile);
            // A program may have chosen a path that is not there.
            for to in 0..4 {
                driver.endpoint.route(now, address(to), PathId::SWITCH);
            }
            let mut timers = 0;
            loop {
                driver.handle_events();
                driver.fail_fetches(now);
                driver.transmit_all(now);
                driver.handle_events();
                let Some(due) = driver.endpoint.next_timeout() else {
                    break;
                };
                now = now.max(due);
                driver.endpoint.handle_timeout(now);
                timers += 1;
                assert!(timers < MOST_TIMERS, "it does not come to rest");
            }
            driver.close(now);
            driver.transmit_all(now);
            driver.handle_events();
            driver.check_closed();
            assert!(driver.endpoint.is_idle(), "closed and not idle");
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Exchange { rounds } => (0..rounds % 16).for_each(|_| self.exchange()),
            Step::Pass { power } => self.pass(power),
            Step::Transmit {
                at,
                path: number,
                count,
            } => {
                for _ in 0..count {
                    let now = self.now;
                    let Some(flight) = self.at(at).transmit(now, path(number)) else {
                        break;
                    };
                    self.launch(flight);
                }
            }
            Step::Deliver { frame } => {
                if let Some(flight) = self.take_flight(frame) {
                    self.deliver(&flight);
                }
            }
            Step::Lose { frame } => _ = self.take_flight(frame),
            Step::Repeat { frame } => {
                if let Some(flight) = self.recall(frame) {
                    self.deliver(&flight);
                }
            }
            Step::Forge {
                frame,
                at,
                from,
                path: by,
                offer,
                shorter,
                edits,
            } => {
                if let Some(flight) = self.recall(frame) {
                    let forged = forge(flight, offer, shorter, edits);
                    let now = self.now;
                    let from = address(from).nic;
                    self.at(at).arrive(now, path(by), from, &forged);
                }
            }
            Step::Noise {
                at,
                from,
                path: by,
                offer,
                longer,
                ref bytes,
            } => {
                let noise = noise(bytes, longer, offer);
                let now = self.now;
                self.at(at).arrive(now, path(by), address(from).nic, &noise);
            }
            _ => self.operate(step),
        }
    }

    /// What drivers do with their engines.
    fn operate(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Connect {
                at,
                to,
                wrong,
                hurry,
            } => {
                let deadline = (hurry > 0).then(|| now + Duration::from_millis(hurry.into()));
                self.at(at)
                    .connect(now, address(to), KEY ^ u32::from(wrong), deadline);
            }
            Step::Send {
                at,
                to,
                label,
                length,
            } => {
                if let Some(flight) = self.at(at).send(now, to, label, length.bytes()) {
                    self.launch(flight);
                }
            }
            Step::Receive {
                at,
                from,
                label,
                length,
            } => {
                self.at(at).receive(now, from, label, length.bytes());
            }
            Step::Disconnect { at, from } => self.at(at).disconnect(now, from),
            Step::Cancel { at, request } => self.at(at).cancel(now, request),
            Step::Deadline { at, request, after } => {
                let deadline = (after > 0).then(|| now + Duration::from_millis(after.into()));
                self.at(at).set_deadline(request, deadline);
            }
            Step::Claim { at, label } => self.at(at).claim(label),
            Step::Take {
                at,
                message,
                length,
            } => self.at(at).take(now, message, length.bytes()),
            Step::Discard { at, message } => self.at(at).discard(now, message),
            Step::Fetched { at, fetch, worked } => self.at(at).fetched(now, fetch, worked),
            Step::Path {
                at,
                path: number,
                how,
            } => {
                let profile = self.setup.profile(how);
                self.at(at).set_path(now, path(number), profile);
            }
            Step::DropPath { at, path: number } => self.at(at).drop_path(now, path(number)),
            Step::Route {
                at,
                to,
                path: number,
            } => {
                self.at(at).endpoint.route(now, address(to), path(number));
            }
            Step::Gone { at, who, board } => {
                let who = address(who);
                let gone = if board {
                    Gone::Board(who.nic)
                } else {
                    Gone::Endpoint(who)
                };
                self.at(at).endpoint.peer_gone(now, gone);
            }
            Step::Close { at } => self.at(at).close(now),
            Step::Flush { at } => self.at(at).endpoint.flush_acks(now),
            Step::Events { at } => self.at(at).handle_events(),
            _ => {}
        }
    }

    fn at(&mut self, at: bool) -> &mut Driver {
        let [first, second] = &mut self.drivers;
        if at { second } else { first }
    }

    /// All frames that there are go where they belong.
    fn exchange(&mut self) {
        let now = self.now;
        for number in 0..self.drivers.len() {
            let flights = self.drivers[number].transmit_all(now);
            flights.into_iter().for_each(|flight| self.launch(flight));
        }
        let waiting: Vec<Flight> = self.under_way.drain(..).collect();
        waiting.iter().for_each(|flight| self.deliver(flight));
    }

    fn pass(&mut self, power: u8) {
        self.now += Duration::from_nanos(1 << (power % 36));
        let now = self.now;
        for driver in &mut self.drivers {
            driver.endpoint.handle_timeout(now);
            let next = driver.endpoint.next_timeout();
            assert!(next.is_none_or(|next| next > now), "a timer that is past");
        }
    }

    fn launch(&mut self, flight: Flight) {
        if self.remembered.len() == MOST_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(flight.clone());
        if self.under_way.len() < MOST_UNDER_WAY {
            self.under_way.push_back(flight);
        }
    }

    fn take_flight(&mut self, number: u8) -> Option<Flight> {
        let place = usize::from(number) % self.under_way.len().max(1);
        self.under_way.remove(place)
    }

    /// A frame that was sent; the latest is 0.
    fn recall(&mut self, number: u8) -> Option<Flight> {
        let latest_first: Vec<&Flight> = self.remembered.iter().rev().collect();
        pick(&latest_first, number).cloned()
    }

    fn deliver(&mut self, flight: &Flight) {
        let now = self.now;
        let to = self
            .drivers
            .iter_mut()
            .find(|driver| driver.address.nic == flight.to);
        if let Some(driver) = to {
            driver.arrive(now, flight.path, flight.from, flight);
        }
    }
}

fn forge(mut flight: Flight, offer: bool, shorter: u16, edits: [Edit; 3]) -> Flight {
    for Edit { at, flip } in edits {
        let place = usize::from(at) % flight.head.len().max(1);
        if let Some(byte) = flight.head.get_mut(place) {
            *byte ^= flip;
        }
    }
    flight.len = flight.len.saturating_sub(shorter.into());
    // The head goes as far as the frame does.
    flight.head.truncate(flight.len);
    flight.offer = offer;
    flight
}

/// Bytes that get past the first look.
fn noise(bytes: &[u8], longer: u16, offer: bool) -> Flight {
    let mut head = bytes.to_vec();
    head.truncate(HEAD_BYTES);
    if let Some(ether_type) = head.get_mut(12..14) {
        ether_type.copy_from_slice(&[0x86, 0xdf]);
    }
    let more = if head.len() == HEAD_BYTES { longer } else { 0 };
    Flight {
        path: PathId::SWITCH,
        from: address(2).nic,
        to: address(0).nic,
        len: head.len() + usize::from(more),
        head,
        offer,
    }
}
