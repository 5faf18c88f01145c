//! The last short send, which was over at once, while nobody has asked for anything else: a program that asks for its end next, as most do, is spared a
//! place among the requests.
//!
//! Whoever comes in has it put there ([`Requests::settle`]) before anything else is done, except to ask for that very end. So nothing else knows of it.

use mxoe::engine::Status;

use super::{Key, Kind, New, Outcome, Requests};
use crate::message::Peer;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Parked {
    /// To whom.
    pub(crate) peer: Peer,
    pub(crate) bits: u64,
    /// The program's number.
    pub(crate) context: u64,
    /// In bytes.
    pub(crate) len: u32,
}

impl Requests {
    /// Parks a send that is over, and names it. There is none at that time.
    #[inline]
    pub(crate) fn park(&mut self, send: Parked) -> Key {
        let at = match self.berth {
            Some(at) => at,
            None => self.take_place(),
        };
        self.berth = Some(at);
        let key = Key::new(at, self.name_next());
        self.parked = Some((key, send));
        key
    }

    /// Takes the send that is parked, if that is its name.
    #[inline]
    pub(crate) fn take_parked(&mut self, key: Key) -> Option<Parked> {
        match self.parked {
            Some((parked, send)) if parked == key => {
                self.parked = None;
                Some(send)
            }
            _ => None,
        }
    }

    /// Gives the send that is parked a place among the others.
    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        if self.parked.is_some() {
            self.settle_parked();
        }
    }

    #[cold]
    fn settle_parked(&mut self) {
        let Some((key, send)) = self.parked.take() else {
            return;
        };
        // It is this request's from now on.
        self.berth = None;
        let new = New {
            kind: Kind::Send,
            bits: send.bits,
            partner: Some(send.peer.partner),
            len: send.len,
            may_end_early: false,
            queue: Some(send.context),
        };
        self.fill(key, new, None);
        let (status, length) = (Status::Success, send.len);
        self.finish_queued(key.slot(), Outcome::Sent { status, length });
    }
}

#[cfg(test)]
mod tests {
    use mxoe::addr::Address;
    use mxoe::engine::PartnerId;

    use super::*;

    fn send(bits: u64) -> Parked {
        Parked {
            peer: Peer {
                partner: PartnerId::from_u64(7),
                address: Address::default(),
            },
            bits,
            context: bits + 10,
            len: 8,
        }
    }

    #[test]
    fn what_is_parked_is_taken_by_its_name_or_is_a_request_as_any_other() {
        let mut requests = Requests::default();
        let first = requests.park(send(1));
        assert!(requests.take_parked(Key::from_token(0)).is_none());
        let taken = requests.take_parked(first).expect("it is parked");
        assert_eq!((taken.bits, taken.context), (1, 11));
        assert!(requests.take_parked(first).is_none(), "it is gone");
        requests.settle();
        assert_eq!(requests.peek(|_| true), None);

        let second = requests.park(send(2));
        requests.settle();
        assert_ne!(second, first);
        let third = requests.park(send(3));
        assert!(requests.take_parked(second).is_none(), "it has settled");
        requests.settle();
        // The oldest one first, each under its name.
        for (key, bits) in [(second, 2), (third, 3)] {
            assert_eq!(requests.peek(|_| true), Some((key, bits)));
            let taken = requests.take_queued(key, |done| (done.context, done.bits()));
            assert_eq!(taken, Ok(Some(((bits + 10, bits), true))));
        }
        assert_eq!(requests.pending() + requests.unfinished_sends(), 0);
    }
}
