//! Frames between engines: out of one, through the network or a channel, into the other.

use std::time::Duration;

use mxoe::addr::NicAddr;
use mxoe::engine::{Arrival, PathId, Slice, Transmit};
use mxoe::frame::{HEAD_BYTES, Head, NackKind, nack_for, rewrite_source, route};
use mxoe::time::Time;

use super::{Pending, World, tell};
use crate::node::{Offer, channel_path};
use crate::oracle::Life;
use crate::rng::{Ppm, Rng};
use crate::violation::Violation;

/// Bytes that a path takes before it is full.
const RING_BYTES: usize = 256 << 10;
/// How long a frame is on a direct channel.
const CHANNEL_DELAY: Duration = Duration::from_nanos(500);
/// Frames that an engine may send at one moment; more than any ring holds.
const MOST_FRAMES: usize = 100_000;

/// A frame under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) from: NicAddr,
    to: usize,
    way: Way,
    pub(super) bytes: Vec<u8>,
    offer: Option<Offer>,
}

/// By which way, and in which life of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Switch { backend: u64 },
    Channel { channel: usize, epoch: u64 },
}

impl World<'_> {
    /// Lets a node's program call its engine until there is nothing more to do.
    pub(super) fn drive(&mut self, index: usize) -> Result<(), Violation> {
        loop {
            let happened = self.handle_events(index)?;
            let sent = self.transmit_all(index)?;
            if !happened && !sent {
                break;
            }
        }
        if let Some(node) = &mut self.nodes[index] {
            if self.scenario.nodes[index].flushes {
                node.endpoint.flush_acks(self.now);
            } else {
                node.endpoint.flush_large_acks(self.now);
            }
        }
        self.transmit_all(index)?;
        self.arm(index);
        Ok(())
    }

    /// Sends what the engine has for every path that has room.
    fn transmit_all(&mut self, index: usize) -> Result<bool, Violation> {
        let mut frames = 0;
        if self.nodes[index].as_ref().is_some_and(|node| node.switched) {
            frames += self.transmit(index, PathId::SWITCH, None)?;
        }
        for (path, channel, other) in self.ways(index) {
            frames += self.transmit(index, path, Some((channel, other)))?;
        }
        if frames > MOST_FRAMES {
            return Err(Violation::Flood {
                node: index,
                frames,
            });
        }
        Ok(frames > 0)
    }

    /// Sends on one path until it is full or the engine has nothing more.
    fn transmit(
        &mut self,
        index: usize,
        path: PathId,
        channel: Option<(usize, usize)>,
    ) -> Result<usize, Violation> {
        let now = self.now;
        let depth = self.scenario.speed.occupancy(RING_BYTES);
        let place = usize::from(path.get());
        let mut frames = 0;
        while let Some(node) = &mut self.nodes[index] {
            let free = node.paths_free[place].max(now);
            if free.since(now) > depth {
                // Full. It is looked at again when half of it has drained.
                self.wake(index, now + depth / 2);
                break;
            }
            let Some(transmit) = node.endpoint.poll_transmit(now, path) else {
                break;
            };
            self.put(index, path, &transmit, channel)?;
            frames += 1;
            if frames > MOST_FRAMES {
                break;
            }
        }
        Ok(frames)
    }

    /// Puts a frame into a path's ring.
    fn put(
        &mut self,
        index: usize,
        path: PathId,
        transmit: &Transmit,
        channel: Option<(usize, usize)>,
    ) -> Result<(), Violation> {
        let bytes = self.gather(index, transmit)?;
        let takes = self.scenario.speed.occupancy(bytes.len());
        let now = self.now;
        if let Some(node) = &mut self.nodes[index] {
            let free = &mut node.paths_free[usize::from(path.get())];
            *free = (*free).max(now) + takes;
        }
        self.launch(index, transmit, bytes, channel)
    }

    /// Sends a short message at once, as drivers do that can: if its ring has room.
    pub(super) fn send_now(
        &mut self,
        index: usize,
        send: &mxoe::engine::Send,
    ) -> Result<bool, Violation> {
        let now = self.now;
        let depth = self.scenario.speed.occupancy(RING_BYTES);
        let ways = self.ways(index);
        let Some(node) = &mut self.nodes[index] else {
            return Ok(false);
        };
        let (switched, free) = (node.switched, &node.paths_free);
        let open = |path: PathId| {
            (path == PathId::SWITCH && switched) || ways.iter().any(|(way, ..)| *way == path)
        };
        let has_room =
            |path: PathId| open(path) && free[usize::from(path.get())].since(now) <= depth;
        let mut transmit = Transmit::new();
        let Some(sent) = node.endpoint.send_now(send, has_room, &mut transmit) else {
            return Ok(false);
        };
        let way = ways.iter().find(|(way, ..)| *way == sent.path);
        let channel = way.map(|(_, channel, other)| (*channel, *other));
        self.put(index, sent.path, &transmit, channel)?;
        Ok(true)
    }

    /// The channels of a node that are up: the path, which channel it is, and who is at the other end.
    fn ways(&self, index: usize) -> Vec<(PathId, usize, usize)> {
        let up = |channel: &usize| self.channels[*channel].up;
        let end = |channel: usize| {
            let plan = &self.scenario.channels[channel];
            let other = match index {
                _ if plan.a == index => plan.b,
                _ if plan.b == index => plan.a,
                _ => return None,
            };
            Some((channel_path(channel), channel, other))
        };
        let all = 0..self.channels.len();
        all.filter(up).filter_map(end).collect()
    }

    /// Has a node's program called at this time at the latest.
    pub(super) fn wake(&mut self, index: usize, at: Time) {
        if let Some(node) = &mut self.nodes[index]
            && node.due.is_none_or(|due| at < due)
        {
            node.due = Some(at);
            self.schedule(at, Pending::Drive(index));
        }
    }

    /// Puts a frame together as the driver does.
    fn gather(&mut self, index: usize, transmit: &Transmit) -> Result<Vec<u8>, Violation> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(transmit.head.as_bytes());
        let Some(node) = &self.nodes[index] else {
            return Ok(bytes);
        };
        if let Some(Slice {
            region,
            offset,
            len,
        }) = transmit.payload
        {
            bytes.extend_from_slice(node.memory.slice(region, offset, len as usize)?);
        }
        // What an Ethernet card pads with is whatever it has at hand.
        while bytes.len() < self.scenario.pad_to {
            bytes.push(0xa5);
        }
        rewrite_source(&mut bytes, self.scenario.nodes[index].address.nic);
        Ok(bytes)
    }

    /// Brings a frame on its way.
    fn launch(
        &mut self,
        index: usize,
        transmit: &Transmit,
        bytes: Vec<u8>,
        channel: Option<(usize, usize)>,
    ) -> Result<(), Violation> {
        let bad = |what: String| Violation::BadFrame { node: index, what };
        let head = route(&bytes).map_err(|error| bad(error.to_string()))?;
        let profile = match channel {
            Some((channel, _)) => &self.scenario.channels[channel].profile,
            None => &self.scenario.profile,
        };
        let most = (profile.max_frame as usize).max(self.scenario.pad_to);
        if bytes.len() > most {
            return Err(bad(format!(
                "{:?} of {} bytes on a path of {most}",
                head.kind,
                bytes.len()
            )));
        }
        if head.destination != transmit.to {
            return Err(bad(format!(
                "addressed to {}, to be sent to {}",
                head.destination, transmit.to
            )));
        }
        let to = self.scenario.nodes.iter().position(|plan| {
            plan.address.nic == head.destination && Some(plan.address.endpoint) == head.to
        });
        let to = to.ok_or_else(|| {
            bad(format!(
                "{:?} to nobody: {}, {:?}",
                head.kind, head.destination, head.to
            ))
        })?;
        self.note(index, to, &bytes);
        tell!(
            self,
            "{index} -> {to} {}: {}",
            name(channel),
            mxoe::text::describe(profile.frames(), &bytes, bytes.len())
        );
        let from = self.scenario.nodes[index].address.nic;
        let Some((channel, other)) = channel else {
            self.through_network(index, to, from, bytes);
            return Ok(());
        };
        if other != to {
            return Err(bad(format!("to node {to} by the channel to node {other}")));
        }
        let offer = transmit.offer.filter(|_| profile.fetch).and_then(|slice| {
            let owner = self.nodes[index].as_ref()?.life;
            Some(Offer {
                owner,
                channel,
                region: slice.region,
                offset: slice.offset,
                len: slice.len,
            })
        });
        self.direct += 1;
        let way = Way::Channel {
            channel,
            epoch: self.channels[channel].epoch,
        };
        let arrives = self.nodes[index]
            .as_ref()
            .map_or(self.now, |node| node.paths_free[channel + 1]);
        self.fly(
            arrives + CHANNEL_DELAY,
            Flight {
                from,
                to,
                way,
                bytes,
                offer,
            },
        );
        Ok(())
    }

    /// Sends a frame by the back end and the links behind it.
    fn through_network(&mut self, from: usize, to: usize, nic: NicAddr, bytes: Vec<u8>) {
        let way = Way::Switch {
            backend: self.backend,
        };
        let arrivals = self.network.carry(self.now, from, to, bytes.len());
        let flight = |bytes| Flight {
            from: nic,
            to,
            way,
            bytes,
            offer: None,
        };
        let mut times = arrivals.times();
        match (times.next(), times.next()) {
            (Some(first), Some(second)) => {
                self.fly(first, flight(bytes.clone()));
                self.fly(second, flight(bytes));
            }
            (Some(at), None) => self.fly(at, flight(bytes)),
            (None, _) => self.spare.push(bytes),
        }
    }

    fn fly(&mut self, at: Time, flight: Flight) {
        self.flying += 1;
        self.schedule(at, Pending::Frame(flight));
    }

    /// A frame is at its destination.
    pub(super) fn arrive(&mut self, flight: Flight) -> Result<(), Violation> {
        self.flying -= 1;
        let (path, dialect) = match flight.way {
            Way::Switch { backend } if backend == self.backend => {
                (PathId::SWITCH, self.scenario.profile.dialect)
            }
            Way::Channel { channel, epoch } if epoch == self.channels[channel].epoch => (
                channel_path(channel),
                self.scenario.channels[channel].profile.frames(),
            ),
            // It was in a ring that is no more.
            _ => return Ok(()),
        };
        let now = self.now;
        let index = flight.to;
        let attached =
            path != PathId::SWITCH || self.nodes[index].as_ref().is_none_or(|node| node.switched);
        let Some(node) = &mut self.nodes[index] else {
            self.reject(&flight, dialect);
            return Ok(());
        };
        if !attached {
            return Ok(());
        }
        let offer = flight.offer.map(|offer| node.keep_offer(offer));
        let lag = self.scenario.nodes[index].lag;
        if offer.is_none() && self.take_unposted(index, path, &flight)? {
            self.spare.push(flight.bytes);
            self.wake(index, now + lag);
            return Ok(());
        }
        self.post_standby(index)?;
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let len = flight.bytes.len();
        let head = &flight.bytes[..len.min(HEAD_BYTES)];
        let taken = match offer {
            None => node.endpoint.take_now(now, path, flight.from, head, len),
            Some(_) => None,
        };
        if let Some(taken) = taken {
            if let Some(placement) = taken.placement() {
                node.memory.place(&flight.bytes, &placement)?;
            }
            self.handle_event(index, taken.event())?;
            self.spare.push(flight.bytes);
            self.wake(index, now + self.scenario.nodes[index].lag);
            return Ok(());
        }
        let arrival = Arrival {
            path,
            from: flight.from,
            head,
            len,
            offer,
        };
        match node.endpoint.handle_frame(now, arrival) {
            Ok(None) => {}
            Ok(Some(placement)) => node.memory.place(&flight.bytes, &placement)?,
            Err(error) => {
                let what = format!("a frame of an engine that an engine cannot read: {error}");
                return Err(Violation::BadFrame { node: index, what });
            }
        }
        self.spare.push(flight.bytes);
        self.wake(index, now + self.scenario.nodes[index].lag);
        Ok(())
    }

    /// The back end answers for an endpoint that is not there.
    fn reject(&mut self, flight: &Flight, dialect: mxoe::frame::Dialect) {
        let len = flight.bytes.len();
        let head = &flight.bytes[..len.min(HEAD_BYTES)];
        let Some(nack) = nack_for(dialect, head, len, NackKind::EndpointClosed) else {
            return;
        };
        let mut head = Head::new();
        nack.frame.emit(dialect, &nack.eth, &mut head);
        let Ok(way) = route(head.as_bytes()) else {
            return;
        };
        let to = self.scenario.nodes.iter().position(|plan| {
            plan.address.nic == way.destination && Some(plan.address.endpoint) == way.to
        });
        let Some(to) = to else { return };
        let mut bytes = head.as_bytes().to_vec();
        bytes.resize(bytes.len().max(self.scenario.pad_to), 0);
        tell!(
            self,
            "{} -> {to} nack: {}",
            flight.to,
            mxoe::text::describe(dialect, &bytes, bytes.len())
        );
        let nic = self.scenario.nodes[flight.to].address.nic;
        self.through_network(flight.to, to, nic, bytes);
    }

    /// Whether what was asked for has not come yet, so that it is to be read.
    pub(super) fn reads_after_all(&mut self, life: Life, pull: mxoe::engine::PullId) -> bool {
        let now = self.now;
        let node = self.nodes[life.node].as_mut();
        node.filter(|node| node.life == life)
            .is_some_and(|node| node.endpoint.read_after_all(now, pull).is_some())
    }

    /// Offered data is read now, unless it cannot be.
    pub(super) fn fetched(
        &mut self,
        life: Life,
        pull: mxoe::engine::PullId,
        offer: u32,
        to: mxoe::engine::RegionId,
        len: u32,
    ) -> Result<(), Violation> {
        let now = self.now;
        let index = life.node;
        let Some(node) = self.nodes[index].as_ref().filter(|node| node.life == life) else {
            return Ok(());
        };
        let from = node.offers.get(&offer).copied();
        let data = from.and_then(|offer| self.read_offer(&offer, len));
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let result = match data {
            Some(data) => node.memory.fill(to, &data).map(|()| Ok(()))?,
            None => Err(mxoe::engine::FetchFailed),
        };
        node.endpoint.fetched(now, pull, result);
        self.drive(index)
    }

    /// The offered bytes, if their owner lives, the channel is there, and luck wants it.
    fn read_offer(&mut self, offer: &Offer, len: u32) -> Option<Vec<u8>> {
        let fails: Ppm = self.scenario.channels[offer.channel].fetch_fails;
        if self.rng.chance(fails) || !self.channels[offer.channel].up || len > offer.len {
            return None;
        }
        let owner = self.nodes[offer.owner.node]
            .as_ref()
            .filter(|node| node.life == offer.owner)?;
        owner
            .memory
            .slice(offer.region, offer.offset, len as usize)
            .ok()
            .map(<[u8]>::to_vec)
    }

    /// Adds a frame to the digest.
    fn note(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let mut word = self.digest ^ self.now.as_nanos() ^ (from as u64) << 56 ^ (to as u64) << 48;
        for chunk in bytes[..bytes.len().min(64)].chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            word = Rng::new(word ^ u64::from_le_bytes(eight)).next_u64();
        }
        self.digest = Rng::new(word ^ bytes.len() as u64).next_u64();
    }
}

fn name(channel: Option<(usize, usize)>) -> &'static str {
    if channel.is_some() {
        "direct"
    } else {
        "switched"
    }
}
