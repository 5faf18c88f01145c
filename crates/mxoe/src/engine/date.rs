//! When messages went out that went at once: said by the next call that knows the time, since to ask what time it is costs as much as a good part of
//! sending. So their timers run from that call on.

use super::Endpoint;
use super::queue::Queue;
use crate::matching::arena::Key;
use crate::time::Time;

impl Endpoint {
    /// A message to this partner, the last of those with a number, went out without a date.
    #[inline]
    pub(super) fn leave_undated(&mut self, key: Key) {
        let sending = &mut self.partners[key].sending;
        if sending.undated == 0 {
            self.undated.push(key);
        }
        sending.undated = sending.undated.wrapping_add(1);
    }

    /// What [`send_now`](Self::send_now) has sent counts as sent now, if no call that is told the time has been made since. To be called before
    /// [`next_timeout`](Self::next_timeout) is relied upon.
    #[inline]
    pub fn date(&mut self, now: Time) {
        if self.has_undated() {
            self.date_all(now);
        }
    }

    /// Whether [`date`](Self::date) has anything to do.
    #[inline]
    #[must_use]
    pub fn has_undated(&self) -> bool {
        !self.undated.is_empty()
    }

    fn date_all(&mut self, now: Time) {
        while let Some(key) = self.undated.pop() {
            let Some(partner) = self.partners.peek_mut(key) else {
                continue;
            };
            let sending = &mut partner.sending;
            let count = std::mem::take(&mut sending.undated);
            if count >= sending.unacked.len() {
                // Before them nothing was waited for.
                sending.advanced = now;
                sending.progress = now;
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
