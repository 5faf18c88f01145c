//! Short messages in one step each: see `mxoe::engine`, `send_now` and `take_now`. What either does not do goes the long way.

use std::ops::Range;
use std::time::Duration;

use mxoe::engine::{Brought, ClaimedReceive, PathId, RegionId, RequestId, Send, SendMode, Taken};
use mxoe::time::Time;
use myrixen_ring::{Consumer, Record};

use crate::core::{Core, RETAINED_CAP};
use crate::endpoint::{Cover, Endpoint, not_received};
use crate::error::{Error, Result};
use crate::message::{Match, Peer, Received};
use crate::region::Regions;
use crate::request::Outcome;
use crate::shorts::{self, INLINE, Shorts};

/// How many short messages a sender that does not wait may be ahead of their acknowledgements: what is kept of them stays in the processor's
/// caches.
pub(crate) const AHEAD: usize = 512;

/// How many it may be ahead where waiting does not help: their receiver does not look.
const FAR_AHEAD: usize = RETAINED_CAP / INLINE;

/// For how long a receiver that looks on, and has more to do than we, is waited for.
const PATIENCE: Duration = Duration::from_micros(20);

/// A frame in a ring, of whose beginning there is a copy.
pub(crate) struct Frame<'a> {
    pub(crate) consumer: &'a Consumer,
    pub(crate) record: &'a Record,
    pub(crate) head: &'a [u8],
}

impl Frame<'_> {
    /// Copies its bytes from `at` on.
    #[inline(always)]
    pub(crate) fn copy(&self, at: usize, into: &mut [u8]) {
        match self.head.get(at..at + into.len()) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => self.consumer.read(self.record, at, into),
        }
    }

    /// Copies these of its bytes to the beginning of a region.
    #[inline(always)]
    pub(crate) fn copy_to(&self, regions: &mut Regions, region: RegionId, bytes: &Range<usize>) {
        regions.write(region, 0, bytes.len(), |at, piece| {
            self.copy(bytes.start + at, piece);
        });
    }
}

/// A short message that is waited for.
struct Awaited {
    slot: RegionId,
    request: RequestId,
}

impl Endpoint {
    /// A short message is copied and needs no waiting, unless others wait or too many are under way: then it is not sent.
    #[inline]
    pub(crate) fn send_at_once(&self, to: &Peer, bits: u64, payload: &[u8]) -> bool {
        if payload.len() > INLINE {
            return false;
        }
        let mut core = self.shared.enter_to_send();
        if core.regions.shorts.sends() >= AHEAD {
            self.shared.leave(core);
            self.fall_back();
            core = self.shared.enter_to_send();
        }
        let sent = core.send_short(|| self.shared.recent(), &Cover::tagged(to, bits), payload);
        self.shared.leave(core);
        sent
    }

    /// Works until a good part of what is ahead has been acknowledged, as far as that helps.
    #[cold]
    fn fall_back(&self) {
        let since = self.shared.recent();
        self.shared.drive(None, |core, helpless| {
            let enough = core.regions.shorts.sends() <= AHEAD - AHEAD / 4;
            let worth_it = core.looking && self.shared.recent().since(since) < PATIENCE;
            (enough || helpless && !worth_it).then_some(())
        });
    }

    /// Receives into a short buffer; `None` when the time is over, and nothing was received.
    #[inline]
    pub(crate) fn recv_short(
        &self,
        matching: &Match,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<Option<Received>> {
        let mut core = self.shared.enter();
        // Asked before the looks: what comes is not to wait for it.
        let now = self.shared.recent();
        let waits = timeout != Some(Duration::ZERO);
        if let Some(at) = self.shared.look_for(&mut core, matching.space, waits)
            && let Some(received) = core.recv_straight(now, at, matching, buffer)
        {
            self.shared.took_straight(&mut core);
            self.shared.leave(core);
            return Ok(Some(received));
        }
        let awaited = match core.await_short(|| self.shared.recent(), matching, buffer.len()) {
            Ok(awaited) => awaited,
            Err(error) => {
                self.shared.leave(core);
                return Err(error);
            }
        };
        let slot = awaited.slot;
        if !core.regions.shorts.is_over(slot) {
            let over = |core: &mut Core, _| core.regions.shorts.is_over(slot).then_some(());
            match self.shared.drive_on(core, timeout, over) {
                Some((inside, ())) => core = inside,
                None => return self.no_more(&awaited, buffer),
            }
        }
        let received = core.short_received(slot, buffer);
        self.shared.leave(core);
        received.transpose()
    }

    /// Nobody waits any longer. If a message has begun to arrive, it is received all the same.
    #[cold]
    fn no_more(&self, awaited: &Awaited, buffer: &mut [u8]) -> Result<Option<Received>> {
        let mut core = self.shared.enter();
        if core.engine.cancel(self.shared.recent(), awaited.request) {
            // It says so by an event, and then the slot is free.
            core.events();
            core.regions.shorts.leave(awaited.slot);
            self.shared.leave(core);
            return Ok(None);
        }
        self.shared.leave(core);
        let received = self
            .shared
            .drive(None, |core, _| core.short_received(awaited.slot, buffer));
        received.transpose()
    }
}

impl Core {
    /// Sends a short message if it can go out now. Then it is over for the program: a copy stays behind until it is acknowledged. False: nothing
    /// was done. What time it is is asked where round trips matter: on a direct path nothing is lost, and to ask takes as long as a good part of sending.
    #[inline]
    pub(crate) fn send_short(
        &mut self,
        clock: impl FnOnce() -> Time,
        cover: &Cover,
        payload: &[u8],
    ) -> bool {
        if self.regions.shorts.sends() >= FAR_AHEAD {
            return false;
        }
        let Some(len) = Shorts::len_of(payload) else {
            return false;
        };
        let mut send = Send {
            to: cover.to,
            space: cover.space,
            match_info: cover.bits,
            data: cover.data,
            // That is found when the frame is out: nobody waits for it then.
            region: RegionId(0),
            len: len.into(),
            mode: SendMode::Standard,
            token: 0,
        };
        self.one_way = 0;
        let paths = &mut self.paths;
        let has_room = |path: PathId| {
            let path = paths.get_mut(usize::from(path.get()));
            path.is_some_and(|path| !path.dead && path.has_room_for_short())
        };
        let Some(ready) = self.engine.ready_now(&send, has_room, &mut self.frame.head) else {
            return false;
        };
        if cover.address.is_some_and(|there| there != ready.address()) {
            return false;
        }
        let at = usize::from(ready.path().get());
        let published = self.paths[at].send_short(&self.frame.head, payload);
        let back_end = self.paths[at].leads_to_back_end();
        let driven = back_end && self.turn_own_back_end();
        send.region = self.regions.shorts.keep(cover.to, payload, len);
        send.token = shorts::token(send.region);
        // Whoever waits for it has it by now, unless another thread is to bring it.
        self.engine.sent_now(&send, ready);
        self.events();
        self.settle_arrears();
        if back_end {
            self.engine.date(clock());
        }
        match published {
            Ok(_) if driven => {}
            Ok(_) => self.after_sending(at),
            // It counts as lost, and goes by another path.
            Err(_) => self.lose(at),
        }
        true
    }

    /// Takes a record if it is a short message for which a receive waits and whose turn has come. `head` is its beginning. Ends the receive by `end`. False: it
    /// was not taken.
    #[inline]
    pub(crate) fn take_short(
        &mut self,
        now: Time,
        at: usize,
        record: &Record,
        head: &[u8],
        end: impl FnOnce(&mut Self, &Taken),
    ) -> bool {
        let path = &self.paths[at];
        let Some(from) = path.source(head) else {
            return false;
        };
        let taken = self.engine.take_now(now, path.id, from, head, record.len());
        let Some(taken) = taken else {
            return false;
        };
        let frame = Frame {
            consumer: &path.consumer,
            record,
            head,
        };
        frame.copy_to(&mut self.regions, taken.region, &taken.brought.payload());
        end(self, &taken);
        true
    }

    /// A receive has got a short message.
    #[inline]
    pub(crate) fn end_taken(&mut self, taken: &Taken) {
        self.end_brought(taken.token, &taken.brought);
    }

    /// The receive with this token has got a short message.
    #[inline]
    pub(crate) fn end_brought(&mut self, token: u64, brought: &Brought) {
        let outcome = Outcome::Received {
            status: brought.status,
            envelope: brought.envelope,
            length: brought.length,
        };
        match shorts::of_token(token) {
            Some(slot) => self.ended |= self.regions.shorts.end(slot, outcome),
            None => self.end(token, outcome),
        }
    }

    /// Posts a receive for a short message.
    fn await_short(
        &mut self,
        clock: impl Fn() -> Time,
        matching: &Match,
        room: usize,
    ) -> Result<Awaited> {
        let slot = self.regions.shorts.await_one(room);
        let slot = slot.ok_or_else(|| Error::Invalid("a short buffer is longer".into()))?;
        let into = ClaimedReceive {
            region: slot,
            // No more than fits in a slot.
            len: u32::try_from(room).unwrap_or(u32::MAX),
            token: shorts::token(slot),
        };
        let begun = self.begin_receive(clock, matching, into, |core, request| {
            if let Some(source) = matching.source {
                core.regions.shorts.await_from(slot, source, request);
            }
        });
        if begun.is_err() {
            self.regions.shorts.leave(slot);
        }
        Ok(Awaited {
            slot,
            request: begun.map_err(not_received)?,
        })
    }

    /// Takes a message that was waited for out of its slot.
    #[inline]
    fn short_received(&mut self, slot: RegionId, buffer: &mut [u8]) -> Option<Result<Received>> {
        let received = self.received(self.regions.shorts.outcome(slot)?);
        if let (Ok(received), Some(bytes)) = (&received, self.regions.shorts.bytes(slot)) {
            buffer[..received.len].copy_from_slice(&bytes[..received.len]);
        }
        self.regions.shorts.leave(slot);
        Some(received)
    }
}
