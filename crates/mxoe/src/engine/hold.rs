//! Showing unexpected messages to the program before receives may have them.

use super::Endpoint;
use super::event::{Held, Status};
use super::ids::{PartnerId, UnexpectedId};
use super::incoming::{Body, Stage};
use crate::matching::Tag;
use crate::matching::arena::Key;
use crate::time::Time;

impl Endpoint {
    /// Whether messages that nobody waits for are announced from now on
    /// ([`Config::announce_unexpected`](super::Config::announce_unexpected)).
    pub fn announce_unexpected(&mut self, announce: bool) {
        self.config.announce_unexpected = announce;
    }

    /// Hides an announced message from receives and probes, so that one can look at it. `None` if it has been taken already.
    /// To be ended by [`release`](Self::release), [`receive_claimed`](Self::receive_claimed) or [`discard`](Self::discard), before
    /// further frames are handled: those behind it would overtake it.
    pub fn hold(&mut self, id: UnexpectedId) -> Option<Held> {
        let (key, arrived) = self.find_unexpected(id)?;
        self.matcher.hold_arrived(arrived)?;
        let incoming = &self.incoming[key];
        let complete = matches!(incoming.body, Body::Eager(fragments) if fragments.is_complete());
        Some(Held {
            envelope: self.envelope(incoming),
            complete,
            store: incoming.store.filter(|_| complete),
        })
    }

    /// Gives a held message to the oldest receive that accepts it, also one posted meanwhile; else it takes its place among the unexpected ones again.
    /// False if it is gone.
    pub fn release(&mut self, now: Time, id: UnexpectedId) -> bool {
        let Some((key, arrived)) = self.find_unexpected(id) else {
            return false;
        };
        let incoming = &self.incoming[key];
        let tag = Tag {
            match_info: incoming.match_info,
            source: incoming.source,
        };
        if let Some(receiver) = self.matcher.take_posted(incoming.space, &tag) {
            self.matcher.remove_arrived(arrived);
            self.bind(now, key, receiver);
        } else {
            self.matcher.release_arrived(arrived);
        }
        true
    }

    /// A message that receives may have.
    fn find_unexpected(&self, id: UnexpectedId) -> Option<(Key, crate::matching::Arrived)> {
        let key = id.find(&self.incoming)?;
        match self.incoming[key].stage {
            Stage::Unexpected(arrived) => Some((key, arrived)),
            _ => None,
        }
    }

    /// Ends everything with a partner now: sends, connects and receives that have begun fail with [`Status::NotConnected`], and what it has sent and nobody
    /// has received is dropped. Both sides have to connect anew.
    pub fn break_off(&mut self, now: Time, partner: PartnerId) {
        self.date(now);
        let Some(key) = partner.find(&self.partners) else {
            return;
        };
        self.fail_connects(key, Status::NotConnected);
        self.lose(now, key, Status::NotConnected);
        let theirs = self.incoming.keys().filter(|incoming| {
            let incoming = &self.incoming[*incoming];
            incoming.partner == key && matches!(incoming.stage, Stage::Unexpected(_))
        });
        let theirs: Vec<Key> = theirs.collect();
        for incoming in theirs {
            self.drop_incoming(incoming, Status::NotConnected);
        }
    }
}
