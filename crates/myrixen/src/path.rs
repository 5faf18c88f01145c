//! One path of an endpoint: a queue pair to the back end, to one endpoint of another guest, or to itself.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mxoe::addr::{Address, NicAddr};
use mxoe::engine::{PathId, PathProfile, Transmit};
use mxoe::frame::{Dialect, HEAD_BYTES};
use myrixen_platform::bell::bell;
use myrixen_platform::message::ChannelId;
use myrixen_platform::process::{DirectHandles, PortHandles};
use myrixen_platform::{BellKind, Drained, MOST_UNDRAINED, Ready, Ringer, WaitSet, Waiter};
use myrixen_ring::{
    Capacity, Consumer, Kind, LINE, Layout, Producer, QueuePair, Record, ReserveError, Side,
    Support, Terms,
};
use myrixen_shm::Pages;

use crate::address::from_port;
use crate::buffer::Memory;
use crate::error::{Error, Result};
use crate::offer::{Guards, MAX_HINT, Readable, Theirs};
use crate::pace::Pace;
use crate::region::Regions;
use crate::shorts::INLINE;

/// The other end of a direct channel.
pub(crate) struct Direct {
    pub(crate) peer: Address,
    /// Which channel to it.
    pub(crate) channel: ChannelId,
    /// What we can read of it, mapped read-only.
    pub(crate) theirs: Theirs,
    /// What it may read of us.
    pub(crate) readable: Readable,
    /// Memory that it alone may read.
    pub(crate) lends: Lends,
    /// Which end we are: the front end has made the pages.
    side: Side,
    /// Where the ring began that frames arrive in.
    began: u32,
}

/// Memory of ours for the other end of a direct channel alone: `docs/xen.md`, "Pools in granted pages".
pub(crate) enum Lends {
    /// It has been given our pool, if we have one: there is no more to lend.
    Nothing,
    /// It is in another domain, and can be lent some.
    NotYet,
    Some(Guards),
}

/// Tells a path from others that have, or had, its number: what is said of one may be heard when another has taken its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation(u64);

impl Incarnation {
    /// Bits of a token that hold a path's number.
    const NUMBER: u32 = u16::BITS;

    /// Another one than any before.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A queue pair and its doorbells.
pub(crate) struct Path {
    pub(crate) id: PathId,
    pub(crate) incarnation: Incarnation,
    /// `None` for the path to the back end and for the loop-back. First, so that what is read of the other end is unmapped before the rings:
    /// these tell it that all is.
    pub(crate) direct: Option<Direct>,
    pub(crate) producer: Producer,
    pub(crate) consumer: Consumer,
    pub(crate) ringer: Ringer,
    pub(crate) waiter: Waiter,
    /// Bytes of the ring that frames arrive in.
    receive_room: u32,
    /// How what the other end offers has come.
    pub(crate) pace: Pace,
    /// Records were published since the other end was last rung.
    unrung: bool,
    /// Frames wait for room.
    blocked: bool,
    /// How often the bell has been seen since it was drained; `None` where it has to be drained each time.
    undrained: Option<u16>,
    /// The other end has hung up: what it left in the ring is taken, then the path is dead.
    pub(crate) hung_up: bool,
    /// The other end broke the rules or is gone: nothing goes in or out any more.
    pub(crate) dead: bool,
    /// The longest frame on this path, in bytes.
    pub(crate) max_frame: u32,
}

/// The parts of a path, as the platform hands them over.
pub(crate) struct Parts {
    pub(crate) producer: Producer,
    pub(crate) consumer: Consumer,
    pub(crate) ringer: Ringer,
    pub(crate) waiter: Waiter,
    /// Bytes of the ring that frames arrive in.
    pub(crate) receive_room: u32,
    /// The longest frame on this path, in bytes.
    pub(crate) max_frame: u32,
}

impl Parts {
    /// A port's queue pair.
    pub(crate) fn from_port(port: PortHandles, max_frame: u32) -> Self {
        let [_, backward] = port.terms.layout.capacities();
        Self {
            producer: port.pair.producer,
            consumer: port.pair.consumer,
            ringer: port.ringer,
            waiter: port.waiter,
            receive_room: backward.bytes(),
            max_frame,
        }
    }

    /// Both ends of one ring in memory of our own: what goes in comes out again.
    fn in_circle(ring: Capacity, max_frame: u32) -> io::Result<Self> {
        let terms = Terms {
            layout: Layout::new(ring, Capacity::MIN),
            support: Support::OURS,
        };
        let pages = Pages::private(terms.layout.total())?;
        let made = QueuePair::create(pages.clone(), &terms, Side::Front);
        let front = made.map_err(io::Error::other)?;
        let back = QueuePair::join(pages, &terms, Side::Back).map_err(io::Error::other)?;
        let (ringer, waiter) = bell()?;
        Ok(Self {
            producer: front.producer,
            consumer: back.consumer,
            ringer,
            waiter,
            receive_room: ring.bytes(),
            max_frame,
        })
    }
}

/// The longest frame on a path that nobody else takes: pulled blocks cross in fewer, longer records there. Both ends reckon it
/// from the smaller of its rings.
fn long_frame(ring_bytes: u32, max_frame: u32) -> u32 {
    // What is paid for each frame outweighs what longer ones cost in cache; a pull names its parts with 16 bits.
    const LONGEST: u32 = 64 * 1024;
    (ring_bytes / 8).min(LONGEST).max(max_frame)
}

impl Direct {
    /// The guards of memory that the other end alone may read, if `memory` is of that.
    pub(crate) fn guards_of(&self, memory: &Memory) -> Option<&Guards> {
        match (&self.lends, memory) {
            (Lends::Some(guards), Memory::Pool(buffer)) if guards.pool().owns(buffer) => {
                Some(guards)
            }
            _ => None,
        }
    }
}

impl Path {
    /// The path to the back end.
    pub(crate) fn switch(parts: Parts) -> Self {
        Self::new(PathId::SWITCH, parts, None)
    }

    /// Holds the place of the path to the back end while there is none: dead, and nobody is at its other end.
    pub(crate) fn nowhere() -> Result<Self> {
        let parts = Parts::in_circle(Capacity::MIN, 0);
        let parts = parts.map_err(Error::system("could not let go of the back end"))?;
        let mut path = Self::switch(parts);
        path.dead = true;
        Ok(path)
    }

    /// An endpoint's path to itself.
    pub(crate) fn loop_back(id: PathId, ring: Capacity, max_frame: u32) -> io::Result<Self> {
        let max_frame = long_frame(ring.bytes(), max_frame);
        Ok(Self::new(id, Parts::in_circle(ring, max_frame)?, None))
    }

    /// A direct channel to another endpoint of this host.
    pub(crate) fn direct(id: PathId, channel: DirectHandles, max_frame: u32) -> Self {
        let [forward, backward] = channel.terms.layout.capacities();
        let receive_room = match channel.side {
            Side::Front => backward.bytes(),
            Side::Back => forward.bytes(),
        };
        let parts = Parts {
            max_frame: long_frame(forward.bytes().min(backward.bytes()), max_frame),
            producer: channel.pair.producer,
            consumer: channel.pair.consumer,
            ringer: channel.ringer,
            waiter: channel.waiter,
            receive_room,
        };
        let in_domain = parts.waiter.kind() == BellKind::EventChannel;
        let hints = parts.producer.has_hints();
        let direct = Direct {
            peer: from_port(channel.peer.address),
            channel: channel.channel,
            readable: Readable {
                pool: hints && !in_domain,
                // Whether it can read us, it alone knows; it can where we can read it.
                memory: channel.peer_memory.is_some(),
            },
            lends: if hints && in_domain {
                Lends::NotYet
            } else {
                Lends::Nothing
            },
            theirs: Theirs {
                pool: channel.peer_pool,
                lent: None,
                memory: channel.peer_memory,
            },
            side: channel.side,
            began: parts.consumer.position(),
        };
        Self::new(id, parts, Some(direct))
    }

    fn new(id: PathId, parts: Parts, direct: Option<Direct>) -> Self {
        Self {
            id,
            incarnation: Incarnation::next(),
            producer: parts.producer,
            consumer: parts.consumer,
            ringer: parts.ringer,
            waiter: parts.waiter,
            receive_room: parts.receive_room,
            direct,
            pace: Pace::default(),
            unrung: false,
            blocked: false,
            undrained: None,
            hung_up: false,
            dead: false,
            max_frame: parts.max_frame,
        }
    }

    /// Whether the back end is, or will be again, at its other end.
    pub(crate) fn leads_to_back_end(&self) -> bool {
        self.id == PathId::SWITCH
    }

    /// Whether we are at both ends.
    pub(crate) fn is_loop_back(&self) -> bool {
        self.direct.is_none() && !self.leads_to_back_end()
    }

    /// How the engine is to use this path. All pulls together stay below three quarters of the
    /// ring they arrive in; the rest is for eager messages.
    pub(crate) fn profile(&self, dialect: Dialect) -> PathProfile {
        PathProfile {
            dialect,
            pull_window: self.receive_room / 4 * 3,
            fetch: !self.leads_to_back_end() && self.producer.has_hints(),
            max_frame: self.max_frame,
        }
    }

    /// Says in the rings that nothing more comes from us, so that the other end lets go of them.
    pub(crate) fn close(&mut self) {
        self.producer.close();
        self.ringer.ring();
    }

    /// Whether its pages are ours, and mapped by another domain: that one is to unmap them first, or our kernel takes them back
    /// a few at a time (`docs/xen.md`, "Death").
    pub(crate) fn is_lent(&self) -> bool {
        let side = self
            .direct
            .as_ref()
            .map_or(Side::Front, |direct| direct.side);
        side == Side::Front
            && !self.dead
            && self.waiter.kind() == BellKind::EventChannel
            && !self.waiter.hung_up()
    }

    /// Writes a frame into the ring. False when there is no room; nothing is lost then.
    pub(crate) fn send(
        &mut self,
        transmit: &Transmit,
        regions: &Regions,
        hint: &[u8],
    ) -> Result<bool, ReserveError> {
        let head: &[u8] = &transmit.head;
        let payload = transmit.payload.map_or(0, |slice| slice.len as usize);
        let Some(mut slot) = self.producer.reserve(head.len() + payload, hint.len())? else {
            return Ok(false);
        };
        slot.write(0, head);
        if let Some(slice) = &transmit.payload {
            let mut at = head.len();
            regions.read(slice, |piece| {
                slot.write(at, piece);
                at += piece.len();
            });
        }
        if !hint.is_empty() {
            slot.write_hint(hint);
        }
        slot.publish(Kind::Frame);
        self.unrung = true;
        Ok(true)
    }

    /// Writes the frame of a short message into the ring. False when there is no room.
    #[inline]
    pub(crate) fn send_short(&mut self, head: &[u8], payload: &[u8]) -> Result<bool, ReserveError> {
        let Some(mut slot) = self.producer.reserve(head.len() + payload.len(), 0)? else {
            return Ok(false);
        };
        slot.write(0, head);
        slot.write(head.len(), payload);
        slot.publish(Kind::Frame);
        self.unrung = true;
        Ok(true)
    }

    /// The next record, with a copy of its head, if it may be a short message's. Whatever is wrong with it is found by whoever goes the usual way.
    #[inline(always)]
    pub(crate) fn peek_short<'a>(
        &mut self,
        head: &'a mut [u8; HEAD_BYTES],
    ) -> Option<(Record, &'a [u8])> {
        let record = self.consumer.peek().ok()??;
        if record.hint_len() > 0 {
            return None;
        }
        let head = &mut head[..record.len().min(HEAD_BYTES)];
        self.consumer.read(&record, 0, head);
        Some((record, head))
    }

    /// What its bell is known by in a set: its number, and which of those that have had it.
    fn token(&self) -> u64 {
        u64::from(self.id.get()) | self.incarnation.0 << Incarnation::NUMBER
    }

    /// The number of the path that this token is of.
    pub(crate) fn number_of(token: u64) -> usize {
        let [low, high, ..] = token.to_le_bytes();
        u16::from_le_bytes([low, high]).into()
    }

    /// Has its bell heard in a set.
    pub(crate) fn listen(&mut self, set: &WaitSet) -> io::Result<()> {
        let once = set.add_bell_once(&self.waiter, self.token())?;
        self.undrained = once.then_some(0);
        Ok(())
    }

    /// Its bell rang, or its ringer is gone. That of one whose place this has taken says nothing of this one.
    pub(crate) fn rung(&mut self, ready: &Ready) {
        if ready.token != self.token() {
            return;
        }
        match &mut self.undrained {
            Some(seen) if *seen < MOST_UNDRAINED => {
                *seen += 1;
                self.hung_up |= ready.hung_up;
            }
            seen => {
                self.hung_up |= self.waiter.drain() == Drained::HungUp || ready.hung_up;
                *seen = seen.map(|_| 0);
            }
        }
    }

    /// Frames wait for room.
    pub(crate) fn blocked(&self) -> bool {
        self.blocked
    }

    /// There is nothing to be sent: nothing waits for room.
    pub(crate) fn has_nothing(&mut self) {
        self.blocked = false;
    }

    /// Whether a frame of any size, with any hint, fits.
    pub(crate) fn has_room(&mut self) -> Result<bool, ReserveError> {
        let hint = self.max_hint();
        let room = self.producer.room_for(self.max_frame as usize, hint)?;
        self.blocked = !room;
        Ok(room)
    }

    /// Whether a short message fits. Does not say that anything waits for room.
    #[inline]
    pub(crate) fn has_room_for_short(&mut self) -> bool {
        const LONGEST: usize = HEAD_BYTES + INLINE;
        matches!(self.producer.room_for(LONGEST, 0), Ok(true))
    }

    fn max_hint(&self) -> usize {
        if self.producer.has_hints() {
            MAX_HINT
        } else {
            0
        }
    }

    /// The other end of a direct channel, if nothing has come of it yet: it may not have taken up the channel.
    pub(crate) fn unheard(&self) -> Option<Address> {
        let direct = self.direct.as_ref()?;
        (self.consumer.position() == direct.began).then_some(direct.peer)
    }

    /// How many records fit in the ring that frames arrive in.
    pub(crate) fn most_records(&self) -> usize {
        self.receive_room as usize / LINE
    }

    /// Gives back the room of what was taken, and rings the other end if that is what it waits for.
    pub(crate) fn release(&mut self) {
        if self.consumer.release() {
            self.ringer.ring();
        }
    }

    /// Rings the other end if it sleeps and there is something new: once a burst.
    pub(crate) fn ring(&mut self) {
        if std::mem::take(&mut self.unrung) && self.producer.needs_bell() {
            self.ringer.ring();
        }
    }

    /// Says in the rings that we are about to sleep. False if there is something to do.
    pub(crate) fn prepare_sleep(&mut self) -> Result<bool, ReserveError> {
        let sleep = self.consumer.prepare_sleep();
        if sleep.ring {
            self.ringer.ring();
        }
        let hint = self.max_hint();
        let stuck = !self.blocked || self.producer.set_starved(self.max_frame as usize, hint)?;
        Ok(sleep.may_sleep && stuck)
    }

    /// Takes `prepare_sleep` back.
    pub(crate) fn end_sleep(&mut self) {
        self.consumer.end_sleep();
        if self.blocked {
            self.producer.clear_starved();
        }
    }

    /// The source of a frame on this path: the channel's owner, or what the back end, or we ourselves, wrote.
    pub(crate) fn source(&self, head: &[u8]) -> Option<NicAddr> {
        match &self.direct {
            Some(direct) => Some(direct.peer.nic),
            None => Some(NicAddr::new(head.get(6..12)?.try_into().ok()?)),
        }
    }
}

/// How long a wait polls before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Look on without end: the lowest latency, a whole core. Where others want that core too it is slept at times
    /// (`myrixen_platform::Crowding`).
    Spin,
    /// Sleep at once when there is nothing to do.
    Sleep,
    /// Poll for up to this long, then sleep; sleep at once where what was waited for has come later than that of late
    /// (`myrixen_platform::Polling`).
    Adaptive(Duration),
}

impl Default for Wait {
    /// 20 microseconds: more than a round trip on this host, less than a scheduler's time slice.
    fn default() -> Self {
        Self::Adaptive(Duration::from_micros(20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_of_a_path_is_not_said_of_its_successor() {
        let [former, mut path] = [Path::nowhere().unwrap(), Path::nowhere().unwrap()];
        let gone = |path: &Path| Ready {
            token: path.token(),
            readable: false,
            writable: false,
            hung_up: true,
        };
        let (theirs, ours) = (gone(&former), gone(&path));
        let number = usize::from(path.id.get());
        assert_eq!(
            [theirs, ours].map(|r| Path::number_of(r.token)),
            [number; 2]
        );
        path.rung(&theirs);
        assert!(!path.hung_up);
        path.rung(&ours);
        assert!(path.hung_up);
    }
}
