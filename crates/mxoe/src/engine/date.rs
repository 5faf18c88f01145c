//! What short messages leave for later, so that neither they nor their answers wait for it.
//!
//! When messages went out that went at once is said by the next call that knows the time, since to ask what time it is costs as much as a good part of
//! sending. So their timers run from that call on. And what came with a message that was taken at once is heeded when the answer is out, or at the next such
//! call: until then it is as if the acknowledgement were still on its way.

use super::Endpoint;
use super::queue::Queue;
use crate::addr::SeqNo;
use crate::matching::arena::Key;
use crate::time::Time;

/// An acknowledgement that has been heard, and not acted upon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unheeded {
    pub(super) partner: Key,
    /// The partner's oldest number that is missing.
    pub(super) value: SeqNo,
    /// When it was heard.
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

    /// Acts upon an acknowledgement that was put off.
    #[inline]
    pub(super) fn heed(&mut self) {
        if let Some(heard) = self.unheeded.take() {
            self.heed_late(heard);
        }
    }

    fn heed_late(&mut self, heard: Unheeded) {
        // The partner may be gone, or another by now.
        let partner = self.partners.peek(heard.partner);
        if partner.is_some_and(|partner| heard.value.same_session(partner.sending.next)) {
            self.acknowledge(heard.at, heard.partner, heard.value);
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
