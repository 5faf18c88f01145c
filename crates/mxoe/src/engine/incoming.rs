//! Messages that are not complete, not matched, or before their turn.

use super::Endpoint;
use super::event::{Event, Space, Status, Target};
use super::ids::{OfferId, PartnerId, PathId, StoreId};
use super::queue::{Links, Queue, Queued};
use crate::addr::{Address, SeqNo};
use crate::frame::Rdma;
use crate::matching::Arrived;
use crate::matching::arena::Key;

/// Which fragments of an eager message have arrived. A TINY or SMALL is one fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragments {
    have: u32,
    total: u8,
}

impl Fragments {
    /// None of `total`, which is 1..=32.
    pub(super) fn none_of(total: u8) -> Self {
        Self { have: 0, total }
    }

    /// As many as it takes where this one of `total` came by: on another path frames are of another length, and whoever changes paths sends all
    /// of them again.
    pub(super) fn recut(&mut self, total: u8) {
        if self.total != total {
            *self = Self::none_of(total);
        }
    }

    /// Takes one in; `false` when it was there already, or cannot be.
    pub(super) fn add(&mut self, number: u8) -> bool {
        let bit = match 1_u32.checked_shl(number.into()) {
            Some(bit) if number < self.total && self.have & bit == 0 => bit,
            _ => return false,
        };
        self.have |= bit;
        true
    }

    pub(super) fn is_complete(self) -> bool {
        self.have.count_ones() == u32::from(self.total)
    }
}

/// What a message consists of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// TINY, SMALL, MEDIUM: bytes arrive with it.
    Eager(Fragments),
    /// RNDV: bytes are to be pulled.
    Rendezvous {
        rdma: Rdma,
        rdma_offset: u16,
        offer: Option<OfferId>,
        /// How the announcement came.
        path: PathId,
        /// The partner's when it came.
        epoch: u64,
    },
    /// NOTIFY: before its turn only.
    Notify { rdma: Rdma, length: u32 },
    /// A claimed message whose sender was lost before all of it had come.
    Lost(Status),
}

/// Who waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before its turn; in the partner's `early`.
    Early,
    /// For a receive; in the matcher.
    Unexpected(Arrived),
    /// For the program to say where it goes.
    Claimed,
    /// A receive waits for the rest of it.
    Bound(Key),
    /// Nobody: the rest goes nowhere.
    Unwanted,
}

/// A message that is there in part, or that nobody waits for. Incomplete ones whose turn has come are also in the
/// partner's `open`.
#[derive(Debug)]
pub(super) struct Incoming {
    links: Links,
    pub(super) partner: Key,
    pub(super) source: PartnerId,
    pub(super) address: Address,
    pub(super) seq: SeqNo,
    pub(super) space: Space,
    pub(super) match_info: u64,
    pub(super) data: Option<u64>,
    pub(super) length: u32,
    pub(super) body: Body,
    pub(super) stage: Stage,
    /// Where its bytes are, if they are not in the program's memory.
    pub(super) store: Option<StoreId>,
    /// It counts against the limit of messages.
    counted: bool,
}

impl Queued for Incoming {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// What a message brings beside its bytes, as one of its frames tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    Here(u64),
    /// It was in the first piece: this one is of use only behind that, so that whoever sees the message sees its data.
    Before,
}

impl Beside {
    #[inline]
    pub(super) fn get(self) -> Option<u64> {
        match self {
            Self::Here(data) => Some(data),
            Self::Nothing | Self::Before => None,
        }
    }
}

/// A message as its first frame tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cover {
    pub(super) partner: Key,
    pub(super) seq: SeqNo,
    pub(super) space: Space,
    pub(super) match_info: u64,
    pub(super) data: Beside,
    pub(super) length: u32,
}

impl Endpoint {
    /// Keeps a message.
    pub(super) fn insert_incoming(&mut self, cover: &Cover, body: Body, stage: Stage) -> Key {
        let partner = &self.partners[cover.partner];
        self.incoming.insert(Incoming {
            links: Links::NONE,
            partner: cover.partner,
            source: partner.id,
            address: partner.address,
            seq: cover.seq,
            space: cover.space,
            match_info: cover.match_info,
            data: cover.data.get(),
            length: cover.length,
            body,
            stage,
            store: None,
            counted: false,
        })
    }

    /// Whether the store takes one more message, with `size` bytes; `early` ones have half of it.
    pub(super) fn store_has_room(&self, size: u32, early: bool) -> bool {
        let limits = &self.config.limits;
        let (bytes, messages) = if early {
            (limits.unexpected_bytes / 2, limits.unexpected_messages / 2)
        } else {
            (limits.unexpected_bytes, limits.unexpected_messages)
        };
        self.stored < messages && (size == 0 || self.store.has_room(size, bytes))
    }

    /// The message counts against the limit from now on, and its bytes go to the store.
    pub(super) fn count_in(&mut self, key: Key) {
        self.stored = self.stored.wrapping_add(1);
        let incoming = &mut self.incoming[key];
        incoming.counted = true;
        if matches!(incoming.body, Body::Eager(_)) && incoming.length > 0 {
            incoming.store = Some(self.store.take(incoming.length));
        }
    }

    /// The message does not count against the limit any more.
    pub(super) fn uncount(&mut self, key: Key) {
        let incoming = &mut self.incoming[key];
        if incoming.counted {
            incoming.counted = false;
            self.stored = self.stored.wrapping_sub(1);
            self.room();
        }
    }

    /// Where the bytes from `offset` on of a stored message go.
    pub(super) fn store_target(&self, key: Key, offset: u32) -> Option<Target> {
        let incoming = &self.incoming[key];
        let id = incoming.store?;
        Some(Target::Store {
            id,
            size: incoming.length,
            offset,
        })
    }

    /// An incomplete message's turn has come.
    pub(super) fn open(&mut self, key: Key) {
        let partner = self.incoming[key].partner;
        let open = &mut self.partners[partner].receiving.open;
        open.push(&mut self.incoming, key);
        self.partial = self.partial.wrapping_add(1);
        // Its sender may die before the rest is there.
        if self.partners[partner].armed.is_none() {
            self.arm(partner);
        }
    }

    /// It is complete.
    pub(super) fn close_open(&mut self, key: Key) {
        let partner = self.incoming[key].partner;
        let open = &mut self.partners[partner].receiving.open;
        open.remove(&mut self.incoming, key);
        self.partial = self.partial.wrapping_sub(1);
    }

    /// The open message with this number. The latest is the likeliest.
    pub(super) fn find_open(&self, partner: Key, seq: SeqNo) -> Option<Key> {
        let mut next = self.partners[partner].receiving.open.last();
        while let Some(key) = next {
            if self.incoming[key].seq == seq {
                return Some(key);
            }
            next = Queue::before(&self.incoming, key);
        }
        None
    }

    /// The early message with this number, or else the one it belongs behind, or none.
    pub(super) fn find_early(&self, partner: Key, seq: SeqNo) -> Result<Key, Option<Key>> {
        let receiving = &self.partners[partner].receiving;
        let wanted = seq.distance_from(receiving.next);
        let mut next = receiving.early.last();
        while let Some(key) = next {
            let there = self.incoming[key].seq.distance_from(receiving.next);
            if there == wanted {
                return Ok(key);
            }
            if there < wanted {
                return Err(Some(key));
            }
            next = Queue::before(&self.incoming, key);
        }
        Err(None)
    }

    /// Keeps a message that is before its turn, behind another one.
    pub(super) fn insert_early(&mut self, key: Key, behind: Option<Key>) {
        let partner = self.incoming[key].partner;
        let early = &mut self.partners[partner].receiving.early;
        early.insert_after(&mut self.incoming, behind, key);
        self.partial = self.partial.wrapping_add(1);
        if self.partners[partner].armed.is_none() {
            self.arm(partner);
        }
    }

    /// Takes out the early message whose turn has come.
    pub(super) fn take_early(&mut self, partner: Key) -> Option<Key> {
        let receiving = &mut self.partners[partner].receiving;
        let key = receiving.early.first()?;
        if self.incoming[key].seq != receiving.next {
            return None;
        }
        receiving.early.remove(&mut self.incoming, key);
        self.partial = self.partial.wrapping_sub(1);
        Some(key)
    }

    /// Drops what a lost partner has begun to send; who waits for it is told.
    pub(super) fn drop_partial(&mut self, partner: Key, status: Status) {
        while let Some(key) = self.partners[partner].receiving.open.first() {
            self.close_open(key);
            self.drop_incoming(key, status);
        }
        while let Some(key) = self.partners[partner].receiving.early.first() {
            let early = &mut self.partners[partner].receiving.early;
            early.remove(&mut self.incoming, key);
            self.partial = self.partial.wrapping_sub(1);
            self.drop_incoming(key, status);
        }
        let receiving = &mut self.partners[partner].receiving;
        receiving.complete = receiving.next;
    }

    /// Drops the unexpected rendezvous of a lost partner: there is nobody to pull from.
    pub(super) fn drop_rendezvous_of(&mut self, partner: Key) {
        let theirs = |incoming: &Incoming| {
            incoming.partner == partner && matches!(incoming.body, Body::Rendezvous { .. })
        };
        let keys = self.incoming.keys();
        let keys: Vec<Key> = keys.filter(|key| theirs(&self.incoming[*key])).collect();
        for key in keys {
            self.drop_incoming(key, Status::PullFailed);
        }
    }

    /// A message will not be completed. It is in no queue of its partner's.
    pub(super) fn drop_incoming(&mut self, key: Key, status: Status) {
        self.uncount(key);
        let incoming = &mut self.incoming[key];
        let store = incoming.store.take();
        let stage = incoming.stage;
        let (partner, body) = (incoming.partner, incoming.body);
        if let Some(id) = store {
            self.emit(Event::StoreFreed { id });
        }
        if let Body::Rendezvous { offer, .. } = body {
            if stage != Stage::Early {
                let waiting = &mut self.partners[partner].receiving.rendezvous;
                *waiting = waiting.wrapping_sub(1);
            }
            if let Some(offer) = offer {
                self.emit(Event::OfferFreed { offer });
            }
        }
        match stage {
            Stage::Claimed => {
                self.incoming[key].body = Body::Lost(status);
                return;
            }
            Stage::Unexpected(arrived) => {
                self.matcher.remove_arrived(arrived);
            }
            Stage::Bound(receiver) => {
                let envelope = self.envelope(&self.incoming[key]);
                self.finish_receive(receiver, status, envelope, 0);
            }
            Stage::Early | Stage::Unwanted => {}
        }
        self.incoming.discard(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_cut_anew_is_complete_with_the_new_fragments() {
        let mut fragments = Fragments::none_of(8);
        assert!(fragments.add(0) && fragments.add(7));
        fragments.recut(2);
        assert!(fragments.add(0) && !fragments.is_complete());
        fragments.recut(2);
        assert!(fragments.add(1) && fragments.is_complete());
    }

    #[test]
    fn a_message_is_complete_with_its_last_fragment_whichever_that_is() {
        let mut fragments = Fragments::none_of(3);
        assert!(fragments.add(2));
        assert!(!fragments.add(2));
        assert!(!fragments.add(3));
        assert!(!fragments.add(200));
        assert!(fragments.add(0));
        assert!(!fragments.is_complete());
        assert!(fragments.add(1));
        assert!(fragments.is_complete());
        let mut largest = Fragments::none_of(32);
        assert!((0..32).all(|number| largest.add(number)));
        assert!(largest.is_complete());
    }
}
