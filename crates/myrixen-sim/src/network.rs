//! Links between nodes: what they lose, copy, delay and hold back, from a seed.

use std::time::Duration;

use mxoe::time::Time;

use crate::rng::{Ppm, Rng};

/// What one direction of one link does to frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Frames that vanish.
    pub loss: Ppm,
    /// Frames that arrive twice.
    pub duplication: Ppm,
    /// Frames that are held back, so that later ones overtake them.
    pub reordering: Ppm,
    /// How long they are held back at most; copies too.
    pub held: Duration,
    /// Every frame takes so long.
    pub delay: Duration,
    /// And up to so much longer; more than the gap between frames reorders as well.
    pub jitter: Duration,
}

impl Faults {
    /// A good link with this delay.
    #[must_use]
    pub const fn none(delay: Duration) -> Self {
        Self {
            loss: Ppm::NEVER,
            duplication: Ppm::NEVER,
            reordering: Ppm::NEVER,
            held: Duration::ZERO,
            delay,
            jitter: Duration::ZERO,
        }
    }
}

/// What happened to frames, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames that nodes gave to the network.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because the link was cut.
    pub cut: u64,
    /// Lost because the receiver's queue was full.
    pub overflowed: u64,
    /// Delivered twice.
    pub duplicated: u64,
}

/// When a frame arrives: never, once or twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrivals {
    first: Option<Time>,
    second: Option<Time>,
}

impl Arrivals {
    /// The times.
    pub fn times(self) -> impl Iterator<Item = Time> {
        self.first.into_iter().chain(self.second)
    }
}

/// How fast links are and how much a receiver's queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// Time for one byte, in picoseconds: 800 is 10 Gbit/s.
    pub byte_picos: u32,
    /// Bytes that wait for one receiver before frames are dropped.
    pub queue_bytes: u32,
}

impl Speed {
    /// How long so many bytes occupy a link.
    #[must_use]
    pub fn occupancy(self, bytes: usize) -> Duration {
        Duration::from_nanos((bytes as u64).saturating_mul(u64::from(self.byte_picos)) / 1000)
    }
}

/// A full mesh of links, each direction for itself; a frame waits for the receiver's port like in a switch.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
    links: Vec<Link>,
    /// When the port to each node is free again.
    ports: Vec<Time>,
    speed: Speed,
    rng: Rng,
    traffic: Traffic,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    faults: Faults,
    cut: bool,
}

impl Network {
    /// A network of so many nodes whose links all behave alike.
    #[must_use]
    pub fn new(nodes: usize, faults: Faults, speed: Speed, rng: Rng) -> Self {
        Self {
            nodes,
            links: vec![Link { faults, cut: false }; nodes * nodes],
            ports: vec![Time::ZERO; nodes],
            speed,
            rng,
            traffic: Traffic::default(),
        }
    }

    /// One direction behaves otherwise from now on.
    pub fn set_faults(&mut self, from: usize, to: usize, faults: Faults) {
        if let Some(link) = self.link(from, to) {
            link.faults = faults;
        }
    }

    /// Cuts one direction or heals it. What is under way arrives.
    pub fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        if let Some(link) = self.link(from, to) {
            link.cut = cut;
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// A frame of so many bytes goes into the link: when does it come out?
    pub fn carry(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Arrivals {
        self.traffic.sent += 1;
        self.traffic.bytes += bytes as u64;
        let Some(&mut Link { faults, cut }) = self.link(from, to) else {
            return Arrivals::default();
        };
        if cut {
            self.traffic.cut += 1;
            return Arrivals::default();
        }
        if self.rng.chance(faults.loss) {
            self.traffic.lost += 1;
            return Arrivals::default();
        }
        let first = self
            .through_port(now, to, bytes)
            .map(|out| self.delayed(out, &faults));
        let copied = first.is_some() && self.rng.chance(faults.duplication);
        let second = if copied {
            self.through_port(now, to, bytes)
        } else {
            None
        };
        let second = second.map(|out| out + faults.delay + self.rng.up_to(faults.held));
        self.traffic.duplicated += u64::from(second.is_some());
        Arrivals { first, second }
    }

    /// When the frame has left the receiver's port; `None` when the port's queue has no room.
    fn through_port(&mut self, now: Time, to: usize, bytes: usize) -> Option<Time> {
        let takes = self.speed.occupancy(bytes);
        let queue = self.speed.occupancy(self.speed.queue_bytes as usize);
        let port = self.ports.get_mut(to)?;
        let begins = (*port).max(now);
        if begins.since(now) > queue {
            self.traffic.overflowed += 1;
            return None;
        }
        *port = begins + takes;
        Some(*port)
    }

    fn delayed(&mut self, out: Time, faults: &Faults) -> Time {
        let mut arrives = out + faults.delay + self.rng.up_to(faults.jitter);
        if self.rng.chance(faults.reordering) {
            arrives += self.rng.up_to(faults.held);
        }
        arrives
    }

    fn link(&mut self, from: usize, to: usize) -> Option<&mut Link> {
        let inside = from < self.nodes && to < self.nodes;
        inside
            .then(|| self.links.get_mut(from * self.nodes + to))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_micros(10);
    const SPEED: Speed = Speed {
        byte_picos: 1000,
        queue_bytes: 10_000,
    };

    fn network(faults: Faults) -> Network {
        Network::new(2, faults, SPEED, Rng::new(1))
    }

    #[test]
    fn a_good_link_delivers_once_and_in_order() {
        let mut network = network(Faults::none(DELAY));
        let times = |arrivals: Arrivals| arrivals.times().map(Time::as_nanos).collect::<Vec<_>>();
        assert_eq!(times(network.carry(Time::ZERO, 0, 1, 1000)), [11_000]);
        assert_eq!(times(network.carry(Time::ZERO, 0, 1, 1000)), [12_000]);
        assert_eq!(times(network.carry(Time::ZERO, 1, 0, 500)), [10_500]);
    }

    #[test]
    fn a_cut_is_of_one_direction_and_heals() {
        let mut network = network(Faults::none(DELAY));
        network.set_cut(0, 1, true);
        assert_eq!(network.carry(Time::ZERO, 0, 1, 100), Arrivals::default());
        assert_eq!(network.carry(Time::ZERO, 1, 0, 100).times().count(), 1);
        network.set_cut(0, 1, false);
        assert_eq!(network.carry(Time::ZERO, 0, 1, 100).times().count(), 1);
        assert_eq!(network.traffic().cut, 1);
    }

    #[test]
    fn a_full_queue_drops() {
        let mut network = network(Faults::none(DELAY));
        let delivered = (0..100)
            .filter(|_| network.carry(Time::ZERO, 0, 1, 1000) != Arrivals::default())
            .count();
        // Ten wait, one is in the port.
        assert_eq!(delivered, 11);
        assert_eq!(network.traffic().overflowed, 89);
    }

    #[test]
    fn faults_come_as_often_as_asked() {
        let faults = Faults {
            loss: Ppm::percent(20),
            duplication: Ppm::percent(10),
            reordering: Ppm::percent(10),
            held: Duration::from_micros(200),
            ..Faults::none(DELAY)
        };
        let mut network = network(faults);
        let mut now = Time::ZERO;
        let mut late = 0;
        for _ in 0..10_000 {
            now += Duration::from_micros(5);
            let first = network.carry(now, 0, 1, 1000).times().next();
            late +=
                u32::from(first.is_some_and(|time| time.since(now) > Duration::from_micros(12)));
        }
        let traffic = network.traffic();
        assert!((1_800..2_200).contains(&traffic.lost), "{traffic:?}");
        assert!((600..1_000).contains(&traffic.duplicated), "{traffic:?}");
        assert!((600..1_000).contains(&late), "{late}");
    }
}
