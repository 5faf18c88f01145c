//! What short messages leave for later, so that neither they nor their answers wait for it.
//!
//! When messages went out that went at once is said by the next call that knows the time, since to ask what time it is costs as much as a good part of
//! sending. So their timers run from that call on. And what a message that was taken at once entails is heeded when the answer is out, or at the next such
//! call: the acknowledgement that came with it, until then as if it were still on its way, and the one that is owed for it, which the answer may have brought.

use super::Endpoint;
use super::queue::Queue;
use crate::addr::SeqNo;
use crate::matching::arena::Key;
use crate::time::Time;

/// A message that was taken at once, and what has not been done about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unheeded {
    pub(super) partner: Key,
    /// The acknowledgement that it brought, if that was news: the partner's oldest number that is missing.
    pub(super) value: Option<SeqNo>,
    /// How much of it was received, in bytes.
    pub(super) bytes: u32,
    /// When it came.
    pub(super) at: Time,
}

impl Endpoint {
    /// What [`send_now`](Self::send_now) has sent counts as sent now, if no call that is told the time has been made since, and what
    /// [`take_now`](Self::take_now) has heard is heeded. To be called before [`next_timeout`](Self::next_timeout) is relied upon, and before anybody
    /// waits for a send to be over.
    #[inline]
    pub fn date(&mut self, now: Time) {
        self.heed();
        if !self.undated.is_empty() {
            self.date_all(now);
        }
    }

    /// Whether [`date`](Self::date) has anything to do.
    #[inline]
    #[must_use]
    pub fn has_undated(&self) -> bool {
        !self.undated.is_empty() || self.unheeded.is_some()
    }

    /// Does what was put off of a message that was taken.
    #[inline(always)]
    pub(super) fn heed(&mut self) {
        if let Some(heard) = self.unheeded.take() {
            self.heed_late(heard);
        }
    }

    fn heed_late(&mut self, heard: Unheeded) {
        let Unheeded {
            partner: key, at, ..
        } = heard;
        // It may be gone, or another by now.
        let Some(partner) = self.partners.peek(key) else {
            return;
        };
        let of_this_session = |value: &SeqNo| value.same_session(partner.sending.next);
        let value = heard.value.filter(of_this_session);
        if partner.owed_messages() != 0 {
            self.owe_complete(at, key, heard.bytes);
        }
        if let Some(value) = value {
            self.acknowledge(at, key, value);
        }
    }

    fn date_all(&mut self, now: Time) {
        while let Some(key) = self.undated.pop() {
            let Some(partner) = self.partners.peek_mut(key) else {
                continue;
            };
            let sending = &mut partner.sending;
            let count = std::mem::take(&mut sending.undated);
            let under_way = sending.under_way();
            if under_way == 0 {
                continue;
            }
            if count >= under_way {
                // Before them nothing was waited for.
                sending.advanced = now;
                sending.progress = now;
            }
            if !sending.brief.is_empty() {
                sending.timed.get_or_insert((sending.next, now));
            }
            let mut last = sending.unacked.last();
            for _ in 0..count {
                let Some(at) = last else { break };
                self.outgoing[at].sent = now;
                last = Queue::before(&self.outgoing, at);
            }
            self.arm_resend(now, key);
        }
    }
}
