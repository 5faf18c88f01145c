//! Acknowledging what has arrived, and hearing acknowledgements (specification, section 6.3; when is ours to choose:
//! `docs/wire.md`, "Acknowledgements").

use super::Endpoint;
use super::counters::Ignored;
use super::ids::PathId;
use super::partner::{Partner, Receiving, packed};
use super::timing::after;
use crate::addr::{Address, NicAddr, SeqNo};
use crate::frame::{Frame, Liback};
use crate::matching::arena::Key;
use crate::time::Time;

/// LIBACKs sent on account of one gap: what makes the sender resend before its time, and one more in case one is lost.
const GAP_LIBACKS: u8 = 4;

/// LIBACKs that tell a sender whose message was dropped for want of room that there is room.
const ROOM_LIBACKS: u8 = 3;

/// From so many bytes on, an acknowledgement that is owed for them waits for the first quiet moment only.
const LARGE: u32 = 4096;

impl Receiving {
    /// An acknowledgement of all there is goes out, or is not owed any more. Tells whether it was owed.
    #[inline]
    pub(super) fn settle(&mut self) -> bool {
        self.told = self.complete;
        self.bytes = 0;
        self.owed.take().is_some()
    }
}

impl Endpoint {
    /// The oldest number not completely received may have moved.
    #[inline]
    pub(super) fn update_complete(&mut self, key: Key) {
        let receiving = &mut self.partners[key].receiving;
        let complete = match receiving.open.first() {
            Some(open) => self.incoming[open].seq,
            None => receiving.next,
        };
        if complete != receiving.complete {
            receiving.complete = complete;
            receiving.gap_libacks = 0;
        }
    }

    /// Messages of a partner have arrived, `bytes` of payload: an acknowledgement may be owed now.
    #[inline]
    pub(super) fn owe(&mut self, now: Time, key: Key, bytes: u32) {
        self.update_complete(key);
        if self.partners[key].owed_messages() != 0 {
            self.owe_complete(now, key, bytes);
        }
    }

    /// The same where a message is complete that was not acknowledged.
    pub(super) fn owe_complete(&mut self, now: Time, key: Key, bytes: u32) {
        let partner = &mut self.partners[key];
        let owed = partner.owed_messages();
        let receiving = &mut partner.receiving;
        receiving.bytes = receiving.bytes.saturating_add(bytes);
        let timers = &self.config.timers;
        let at_once = owed >= timers.ack_messages || receiving.bytes >= timers.ack_bytes;
        if receiving.owed.is_none() {
            receiving.owed = Some(now);
            self.owed = self.owed.wrapping_add(1);
            if !receiving.listed {
                receiving.listed = true;
                self.owing.push(key);
            }
            let due = after(now, timers.ack_delay);
            if !at_once && partner.armed.is_none_or(|armed| armed > due) {
                self.arm(key);
            }
        }
        if at_once {
            self.liback_now(key);
        }
    }

    /// An acknowledgement goes out, or is not owed any more.
    pub(super) fn settle(&mut self, key: Key) {
        if self.partners[key].receiving.settle() {
            self.owed = self.owed.wrapping_sub(1);
        }
    }

    /// A LIBACK is to go out at once.
    pub(super) fn liback_now(&mut self, key: Key) {
        self.libacks_now(key, 1);
    }

    fn libacks_now(&mut self, key: Key, count: u8) {
        let partner = &mut self.partners[key];
        if partner.session().is_none() {
            return;
        }
        partner.receiving.libacks = partner.receiving.libacks.max(count);
        self.wake_control(key);
    }

    /// A message came that was received before: its acknowledgement was probably lost. All pieces of a MEDIUM come again,
    /// and get one answer together.
    pub(super) fn answer_duplicate(&mut self, now: Time, key: Key, seq: SeqNo) {
        let together = self.config.timers.ack_delay;
        let answered = &mut self.partners[key].receiving.answered;
        let just_now = answered.is_some_and(|(last, at)| last == seq && now.since(at) < together);
        if !just_now {
            *answered = Some((seq, now));
            self.liback_now(key);
        }
    }

    /// A message arrived before its turn: the sender learns of the gap at once.
    pub(super) fn tell_gap(&mut self, key: Key) {
        let receiving = &mut self.partners[key].receiving;
        if receiving.gap_libacks < GAP_LIBACKS {
            receiving.gap_libacks = receiving.gap_libacks.saturating_add(1);
            self.liback_now(key);
        }
    }

    /// The message whose turn it is was dropped for want of room: the sender learns that we are alive, and later
    /// that there is room.
    pub(super) fn refuse(&mut self, key: Key) {
        let receiving = &mut self.partners[key].receiving;
        if !receiving.refused {
            receiving.refused = true;
            self.refused.push(key);
        }
        self.liback_now(key);
    }

    /// There is room in the store again.
    pub(super) fn room(&mut self) {
        while let Some(key) = self.refused.pop() {
            let Some(partner) = self.partners.peek_mut(key) else {
                continue;
            };
            if partner.receiving.refused {
                partner.receiving.refused = false;
                self.libacks_now(key, ROOM_LIBACKS);
            }
        }
    }

    /// The next LIBACK for a partner, if one is to go out.
    pub(super) fn next_liback(&mut self, key: Key) -> Option<Frame> {
        let partner = &mut self.partners[key];
        let session = partner.session()?;
        let receiving = &mut partner.receiving;
        receiving.libacks = receiving.libacks.checked_sub(1)?;
        receiving.acknum = receiving.acknum.saturating_add(1);
        let liback = Liback {
            to: partner.address.endpoint,
            from: self.config.address.endpoint,
            session,
            seq: receiving.complete,
            acknum: receiving.acknum,
        };
        self.settle(key);
        self.counters.acks_out = self.counters.acks_out.wrapping_add(1);
        Some(Frame::Truc(liback))
    }

    /// An acknowledgement has waited for data to ride on for long enough.
    pub(super) fn acknowledge_if_due(&mut self, now: Time, key: Key) {
        let owed = self.partners[key].receiving.owed;
        if owed.is_some_and(|since| after(since, self.config.timers.ack_delay) <= now) {
            self.liback_now(key);
        }
    }

    /// The driver is about to sleep, or has nothing to send for a while: acknowledges what is owed at once rather than
    /// after [`Timers::ack_delay`](super::Timers::ack_delay). The frames come with `poll_transmit`.
    pub fn flush_acks(&mut self, now: Time) {
        self.flush_acks_to(now, |_| true);
    }

    /// The driver looks on and has found nothing for a while: acknowledges what is owed for much data, where a frame more costs nobody anything (by all
    /// paths but `SWITCH`). Its sender keeps that much memory for us, or waits to have it back, and nothing of ours seems to be about to go its way.
    pub fn flush_large_acks(&mut self, now: Time) {
        self.flush_acks_to(now, |partner| {
            partner.path != PathId::SWITCH && partner.receiving.bytes >= LARGE
        });
    }

    fn flush_acks_to(&mut self, now: Time, wanted: impl Fn(&Partner) -> bool) {
        self.date(now);
        let mut end = self.owing.len();
        while let Some(at) = end.checked_sub(1) {
            end = at;
            let Some(&key) = self.owing.get(at) else {
                return;
            };
            if let Some(partner) = self.partners.peek_mut(key) {
                if !wanted(partner) {
                    continue;
                }
                partner.receiving.listed = false;
                if partner.receiving.owed.is_some_and(|since| since <= now) {
                    self.liback_now(key);
                }
            }
            self.owing.swap_remove(at);
        }
    }

    /// Acknowledges once more all that has come of this partner, by its present path: it may not read the one by which that was told. A closed endpoint
    /// has said its last.
    pub fn acknowledge_again(&mut self, partner: Address) {
        let known = self.by_address.get(&packed(partner));
        if let Some(&key) = known.filter(|_| self.open) {
            self.liback_now(key);
        }
    }

    /// What has come from ourselves, by a path that loses nothing, needs no frame to be acknowledged: the sends end now.
    pub fn acknowledge_own(&mut self, now: Time) {
        let Some(&key) = self.by_address.get(&packed(self.config.address)) else {
            return;
        };
        self.date(now);
        let Partner {
            sending, receiving, ..
        } = &self.partners[key];
        let complete = receiving.complete;
        if receiving.owed.is_some() && complete.same_session(sending.next) {
            self.settle(key);
            self.acknowledge(now, key, complete);
        }
    }

    /// A LIBACK has arrived.
    pub(super) fn on_liback(&mut self, now: Time, path: PathId, from: NicAddr, liback: &Liback) {
        if liback.to != self.config.address.endpoint {
            return self.counters.ignore(Ignored::OtherEndpoint);
        }
        if liback.session != self.config.session {
            return self.counters.ignore(Ignored::BadSession);
        }
        let Some(key) = self.partner_at(path, Address::new(from, liback.from)) else {
            return self.counters.ignore(Ignored::UnknownPartner);
        };
        let partner = &mut self.partners[key];
        if partner.session().is_none() {
            return self.counters.ignore(Ignored::UnknownPartner);
        }
        let sending = &mut partner.sending;
        if !liback.seq.same_session(sending.next) {
            return self.counters.ignore(Ignored::SessionBits);
        }
        if liback.acknum <= sending.acknum {
            return self.counters.ignore(Ignored::OldAcknowledgement);
        }
        sending.acknum = liback.acknum;
        partner.heard = now;
        if liback.seq == sending.acked {
            self.on_repeated_liback(key);
        } else {
            self.acknowledge(now, key, liback.seq);
        }
    }
}
