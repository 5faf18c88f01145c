//! The last receive that was posted, while the engine has not been told of it.
//!
//! Most programs that post a receive ask for its end next. If what it waits for comes while they do, and is short, it completes the receive as it comes: it is
//! never posted. All else that could bring a message, or comes before or behind it, posts it first ([`Core::settle_standby`]), so that nobody can tell the
//! difference. Sends do not: they bring nothing.

use mxoe::engine::{Brought, ClaimedReceive, Receive};
use mxoe::frame::HEAD_BYTES;
use mxoe::time::Time;

use crate::core::Core;
use crate::message::Match;
use crate::request::{Key, Outcome};

/// See the module. Its request is there, and its memory.
#[derive(Clone, Copy)]
pub(crate) struct Standby {
    pub(crate) key: Key,
    matching: Match,
    /// Bytes of room.
    room: u32,
}

impl Core {
    /// Whether a receive like this one may stand by: no message is there for it, and no other one does.
    #[inline]
    pub(crate) fn may_stand_by(&self, matching: &Match) -> bool {
        self.standby.is_none() && self.engine.may_stand_by(&matching.filter())
    }

    /// Whether it is this receive that stands by.
    #[inline]
    pub(crate) fn stands_by(&self, key: Key) -> bool {
        self.standby.is_some_and(|standby| standby.key == key)
    }

    /// Has a receive stand by that [may](Self::may_stand_by).
    #[inline]
    pub(crate) fn stand_by(&mut self, key: Key, matching: Match, room: u32) {
        self.standby = Some(Standby {
            key,
            matching,
            room,
        });
    }

    /// Posts the receive that stands by.
    #[inline(always)]
    pub(crate) fn settle_standby(&mut self, clock: impl FnOnce() -> Time) {
        if let Some(standby) = self.standby.take() {
            self.post_standby(clock(), &standby);
        }
    }

    #[cold]
    fn post_standby(&mut self, now: Time, standby: &Standby) {
        let Standby {
            key,
            matching,
            room,
        } = *standby;
        let into = ClaimedReceive {
            region: key.region(),
            len: room,
            token: key.token(),
        };
        let receive = Receive {
            space: matching.space,
            match_info: matching.bits,
            mask: matching.mask,
            source: matching.source,
            region: into.region,
            len: into.len,
            token: into.token,
        };
        match self.engine.receive(|| now, receive) {
            Ok(id) => self.requests.started(key, id),
            // Whom it is from has been lost since.
            Err(status) => self.end(key.token(), Outcome::Unmet(status)),
        }
    }

    /// Completes the receive that stands by if what has come on a path is a short message for it: its bytes are where they belong then, and its request is to be
    /// ended.
    #[inline(always)]
    pub(crate) fn take_standby(&mut self, now: Time, at: usize) -> Option<(Key, Brought)> {
        let Standby {
            key,
            matching,
            room,
        } = self.standby?;
        if !self.may_turn_straight() {
            return None;
        }
        let mut head = [0; HEAD_BYTES];
        let path = self.paths.get_mut(at)?;
        let (record, head) = path.peek_short(&mut head)?;
        let from = path.source(head)?;
        let wanted = (&matching.filter(), room);
        let frame = (head, record.len());
        let brought = self
            .engine
            .take_unposted(now, path.id, from, frame, wanted)?;
        let payload = brought.payload();
        let whole = head.get(payload.clone());
        self.regions
            .write(key.region(), 0, payload.len(), |at, piece| {
                match whole.and_then(|whole| whole.get(at..at + piece.len())) {
                    Some(bytes) => piece.copy_from_slice(bytes),
                    None => path.consumer.read(&record, payload.start + at, piece),
                }
            });
        path.consumer.advance(record);
        self.standby = None;
        // The program may answer: that is not to wait for the rest.
        self.arrears = Some((at, now));
        Some((key, brought))
    }
}
