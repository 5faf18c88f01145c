//! Region ids: how the data of a large send is named while the partner pulls it (specification, section 7.3).

use std::collections::VecDeque;

use super::Endpoint;
use super::partner::Flow;
use crate::frame::Rdma;
use crate::matching::arena::Key;

/// Region ids have 8 bits.
const REGIONS: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Region {
    /// The message whose data it is, or NIL.
    user: Key,
    /// How often it was used.
    seq: u8,
}

/// Which regions are in use, and who waits for one.
#[derive(Debug)]
pub(super) struct Regions {
    regions: Box<[Region]>,
    in_use: usize,
    limit: usize,
    /// Where the search for a free one begins: after the last one given out, so that ids repeat late.
    next: usize,
    /// Partners whose next message wants one.
    waiting: VecDeque<Key>,
}

impl Regions {
    /// No region in use, at most `limit` of them at a time; use counts begin at `first`.
    pub(super) fn new(limit: u16, first: u8) -> Self {
        let unused = Region {
            user: Key::NIL,
            seq: first,
        };
        Self {
            regions: vec![unused; REGIONS].into_boxed_slice(),
            in_use: 0,
            limit: usize::from(limit).clamp(1, REGIONS),
            next: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Gives a region to a message; `None` when as many are in use as may be.
    pub(super) fn take(&mut self, user: Key) -> Option<Rdma> {
        if self.in_use >= self.limit {
            return None;
        }
        let (later, earlier) = (self.next..REGIONS, 0..self.next);
        for place in later.chain(earlier) {
            let Some(region) = self.regions.get_mut(place) else {
                continue;
            };
            if region.user == Key::NIL {
                region.user = user;
                region.seq = region.seq.wrapping_add(1);
                self.in_use = self.in_use.wrapping_add(1);
                self.next = place.wrapping_add(1) % REGIONS;
                let id = u8::try_from(place).ok()?;
                return Some(Rdma {
                    id,
                    seq: region.seq,
                });
            }
        }
        None
    }

    /// The message whose data a peer means by this.
    pub(super) fn user(&self, rdma: Rdma) -> Option<Key> {
        let region = self.regions.get(usize::from(rdma.id))?;
        if region.seq == rdma.seq {
            region.user.some()
        } else {
            None
        }
    }

    fn free(&mut self, rdma: Rdma) {
        if let Some(region) = self.regions.get_mut(usize::from(rdma.id))
            && region.user != Key::NIL
        {
            region.user = Key::NIL;
            self.in_use = self.in_use.wrapping_sub(1);
        }
    }
}

impl Endpoint {
    /// A partner's next message has to wait for a region.
    pub(super) fn wait_for_region(&mut self, key: Key) {
        let sending = &mut self.partners[key].sending;
        if !sending.wants_region {
            sending.wants_region = true;
            self.regions.waiting.push_back(key);
        }
    }

    /// A large send has ended: its region serves the next one.
    pub(super) fn free_region(&mut self, rdma: Rdma) {
        self.regions.free(rdma);
        while let Some(key) = self.regions.waiting.pop_front() {
            let Some(partner) = self.partners.peek_mut(key) else {
                continue;
            };
            if !partner.sending.wants_region {
                continue;
            }
            partner.sending.wants_region = false;
            if partner.sending.queued.is_empty() {
                continue;
            }
            self.wake_data(key, Flow::Messages);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_used_again_late_and_under_another_count() {
        let mut regions = Regions::new(2, 23);
        let first = regions.take(Key::new(1)).unwrap();
        let second = regions.take(Key::new(2)).unwrap();
        assert_eq!(regions.take(Key::new(3)), None);
        assert_eq!(regions.user(first), Some(Key::new(1)));
        regions.free(first);
        regions.free(first);
        assert_eq!(regions.user(first), None);
        let third = regions.take(Key::new(3)).unwrap();
        assert!(third.id != first.id && third.id != second.id);
        assert_eq!(regions.take(Key::new(4)), None);
        let stale = Rdma {
            seq: third.seq.wrapping_sub(1),
            ..third
        };
        assert_eq!(regions.user(stale), None);
    }
}
