//! The last receive that was posted, while the engine has not been told of it.
//!
//! Most programs that post a receive ask for its end next. If what it waits for comes while they do, and is short, it completes the receive as it comes: it is
//! never posted. All else that could bring a message, or comes before or behind it, posts it first ([`Core::settle_standby`]), so that nobody can tell the
//! difference. Sends do not: they bring nothing.

use mxoe::engine::{Brought, ClaimedReceive};
use mxoe::time::Time;

use crate::core::Core;
use crate::message::Match;
use crate::request::{Key, Outcome};

/// See the module. Its request is there, and its memory.
#[derive(Clone, Copy)]
pub(crate) struct Standby {
    key: Key,
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
        let receive = matching.receive(ClaimedReceive {
            region: key.region(),
            len: room,
            token: key.token(),
        });
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
        let brought = self.take_unposted(now, at, &matching, room, |regions, frame, bytes| {
            frame.copy_to(regions, key.region(), bytes);
        })?;
        self.standby = None;
        Some((key, brought))
    }
}
