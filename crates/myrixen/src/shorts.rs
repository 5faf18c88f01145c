//! Payloads of short messages, in slots of their own: written where they stay, so that nothing is moved about, and with what has become of the
//! message beside them, so that it needs no request.

use mxoe::engine::{PartnerId, RegionId, RequestId};

use crate::request::Outcome;

/// The longest payload, in bytes, that the fabric copies at once where it is sent: that of a message which is SMALL on the wire.
pub const INLINE: usize = 128;

/// Set in the numbers of the regions that are slots.
const SLOT: u32 = 1 << 31;

/// See the module.
#[derive(Default)]
pub(crate) struct Shorts {
    slots: Vec<Slot>,
    free: Vec<u32>,
    sends: usize,
}

struct Slot {
    bytes: [u8; INLINE],
    len: u8,
    state: State,
}

enum State {
    Free,
    /// A copy of what was sent to this partner, until it is acknowledged. Nobody waits for that.
    Sent(PartnerId),
    /// Room for a message that somebody waits for; one from a certain partner is to be found when that is lost.
    Awaited(Option<(PartnerId, RequestId)>),
    Over(Outcome),
}

/// The token of a request that has no record but its slot. Others have a generation above, which is never 0.
pub(crate) fn token(slot: RegionId) -> u64 {
    slot.0.into()
}

/// The slot of a request that has no other record; `None` for the token of one that has.
pub(crate) fn of_token(token: u64) -> Option<RegionId> {
    u32::try_from(token).ok().map(RegionId)
}

impl Shorts {
    /// The length of a payload of up to [`INLINE`] bytes; `None` of a longer one.
    #[inline]
    pub(crate) fn len_of(payload: &[u8]) -> Option<u8> {
        let len = u8::try_from(payload.len()).ok();
        len.filter(|_| payload.len() <= INLINE)
    }

    /// Keeps a copy of a payload of that length.
    #[inline]
    pub(crate) fn keep(&mut self, to: PartnerId, payload: &[u8], len: u8) -> RegionId {
        let id = self.take_slot(len);
        let slot = &mut self.slots[place(id)];
        slot.bytes[..payload.len()].copy_from_slice(payload);
        slot.state = State::Sent(to);
        self.sends += 1;
        id
    }

    /// Room for a message of up to [`INLINE`] bytes; `None` for a longer one.
    #[inline]
    pub(crate) fn await_one(&mut self, room: usize) -> Option<RegionId> {
        let len = u8::try_from(room).ok().filter(|_| room <= INLINE)?;
        let id = self.take_slot(len);
        self.slots[place(id)].state = State::Awaited(None);
        Some(id)
    }

    /// What is awaited there is of this partner alone, and called so by the engine.
    pub(crate) fn await_from(&mut self, id: RegionId, partner: PartnerId, request: RequestId) {
        if let Some(slot) = self.slot(id)
            && let State::Awaited(from) = &mut slot.state
        {
            *from = Some((partner, request));
        }
    }

    /// What is awaited of this partner alone.
    pub(crate) fn awaited_from(&self, partner: PartnerId) -> Vec<RequestId> {
        let awaited = self.slots.iter().filter_map(|slot| match slot.state {
            State::Awaited(Some((from, request))) if from == partner => Some(request),
            _ => None,
        });
        awaited.collect()
    }

    #[inline]
    fn take_slot(&mut self, len: u8) -> RegionId {
        let at = match self.free.pop() {
            Some(at) => at,
            None => self.grow(),
        };
        self.slots[at as usize].len = len;
        RegionId(at | SLOT)
    }

    #[cold]
    fn grow(&mut self) -> u32 {
        let at = u32::try_from(self.slots.len()).ok();
        let at = at.filter(|at| *at < SLOT);
        self.slots.push(Slot {
            bytes: [0; INLINE],
            len: 0,
            state: State::Free,
        });
        at.expect("fewer than 2^31 short messages")
    }

    /// The slot that a region is; `None` for other regions.
    #[inline]
    fn slot(&mut self, id: RegionId) -> Option<&mut Slot> {
        self.slots.get_mut(place(id))
    }

    /// The bytes in a slot; `None` for other regions.
    #[inline]
    pub(crate) fn bytes(&self, id: RegionId) -> Option<&[u8]> {
        let slot = self.slots.get(place(id))?;
        slot.bytes.get(..slot.len.into())
    }

    /// The same, for writing.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, id: RegionId) -> Option<&mut [u8]> {
        let slot = self.slot(id)?;
        slot.bytes.get_mut(..slot.len.into())
    }

    /// A message is over: what was sent leaves its slot, what was awaited stays until it is taken. True if it was awaited.
    #[inline]
    pub(crate) fn end(&mut self, id: RegionId, outcome: Outcome) -> bool {
        let Some(slot) = self.slot(id) else {
            return false;
        };
        match slot.state {
            State::Sent(_) => {
                self.unsend(id);
                false
            }
            State::Awaited(_) => {
                slot.state = State::Over(outcome);
                true
            }
            State::Free | State::Over(_) => false,
        }
    }

    /// What was sent has been acknowledged.
    #[inline]
    pub(crate) fn delivered(&mut self, id: RegionId) {
        if matches!(self.slot(id), Some(slot) if matches!(slot.state, State::Sent(_))) {
            self.unsend(id);
        }
    }

    /// Whether what was awaited is over.
    #[inline]
    pub(crate) fn is_over(&self, id: RegionId) -> bool {
        let slot = self.slots.get(place(id));
        slot.is_some_and(|slot| matches!(slot.state, State::Over(_)))
    }

    /// What was awaited, if it is over.
    #[inline]
    pub(crate) fn outcome(&self, id: RegionId) -> Option<&Outcome> {
        match &self.slots.get(place(id))?.state {
            State::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Takes back what was kept for a message: it need not be sent again, or was not sent.
    #[inline]
    pub(crate) fn unsend(&mut self, id: RegionId) {
        self.sends -= 1;
        self.leave(id);
    }

    /// The slot is free.
    #[inline]
    pub(crate) fn leave(&mut self, id: RegionId) {
        if let Some(slot) = self.slot(id) {
            slot.state = State::Free;
            self.free.push(id.0 ^ SLOT);
        }
    }

    /// How many messages are sent and not acknowledged.
    #[inline]
    pub(crate) fn sends(&self) -> usize {
        self.sends
    }

    /// How many messages are under way or awaited.
    pub(crate) fn pending(&self) -> usize {
        let under_way = |slot: &&Slot| matches!(slot.state, State::Sent(_) | State::Awaited(_));
        self.slots.iter().filter(under_way).count()
    }

    /// Whether any message to this partner is sent and not acknowledged.
    pub(crate) fn linger_to(&self, partner: PartnerId) -> bool {
        let to = |slot: &Slot| matches!(slot.state, State::Sent(to) if to == partner);
        self.slots.iter().any(to)
    }
}

/// The place of a slot; of other regions, one where there is none.
fn place(id: RegionId) -> usize {
    (id.0 ^ SLOT) as usize
}

#[cfg(test)]
mod tests {
    use mxoe::engine::Status;

    use super::*;

    const TO: PartnerId = PartnerId::from_u64(7);

    #[test]
    fn what_was_sent_leaves_when_it_is_over_and_what_was_awaited_when_it_is_taken() {
        let mut shorts = Shorts::default();
        let sent = shorts.keep(TO, &[1, 2, 3], 3);
        let awaited = shorts.await_one(2).unwrap();
        assert_eq!(shorts.bytes(sent), Some(&[1, 2, 3][..]));
        shorts.bytes_mut(awaited).unwrap().copy_from_slice(&[4, 5]);
        assert!(shorts.linger_to(TO) && shorts.sends() == 1 && shorts.pending() == 2);
        for id in [sent, awaited] {
            assert_eq!(of_token(token(id)), Some(id));
            shorts.end(id, Outcome::Unmet(Status::Closed));
        }
        assert!(!shorts.linger_to(TO) && shorts.sends() == 0 && shorts.pending() == 0);
        assert!(shorts.outcome(sent).is_none() && shorts.outcome(awaited).is_some());
        shorts.leave(awaited);
        assert!(shorts.outcome(awaited).is_none());
        assert!(shorts.free.len() == 2);
    }

    #[test]
    fn what_is_too_long_and_what_is_no_slot_has_no_place() {
        let mut shorts = Shorts::default();
        assert!(Shorts::len_of(&[0; INLINE + 1]).is_none());
        assert!(Shorts::len_of(&[0; INLINE]).is_some());
        assert!(shorts.await_one(INLINE + 1).is_none());
        assert!(shorts.await_one(INLINE).is_some());
        assert!(shorts.bytes(RegionId(0)).is_none());
        assert_eq!(of_token(1 << 32), None);
    }
}
