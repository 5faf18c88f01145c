//! Sending again what was lost.
//!
//! The receiver keeps up to 255 messages behind a lost one, so that only the lost one is sent again; an acknowledgement
//! that then stops short of everything sent before points at the next hole. Only when acknowledgements move by no more than
//! what was sent again, so that nothing behind it seems to have arrived, more and more is sent again at a time.

use super::Endpoint;
use super::event::Status;
use super::partner::{Flow, Recovery};
use super::queue::Queue;
use super::timing::after;
use crate::matching::arena::Key;
use crate::time::Time;

/// LIBACKs telling nothing new that make the oldest message go out again before its time.
const REPEATS: u8 = 3;

/// The most messages sent again at a time.
const LARGEST_BURST: u32 = 64;

/// A loss does not shrink the window below what a receiver keeps ahead of a hole (section 6.2).
const SMALLEST_WINDOW: u32 = 255;

impl Endpoint {
    /// Sends the oldest message again if its time has come, or gives the partner up.
    pub(super) fn resend_if_due(&mut self, now: Time, key: Key) {
        if self.resend_due(key).is_none_or(|due| due > now) {
            return;
        }
        let partner = &self.partners[key];
        let silent_since = partner.heard.max(partner.sending.advanced);
        if after(silent_since, self.config.timers.give_up) <= now {
            self.give_up(now, key);
            return;
        }
        self.counters.timeouts = self.counters.timeouts.wrapping_add(1);
        let sending = &mut self.partners[key].sending;
        sending.in_vain = sending.in_vain.saturating_add(1);
        sending.progress = now;
        self.begin_recovery(key, 1);
    }

    /// The partner is unreachable (section 6.4).
    pub(super) fn give_up(&mut self, now: Time, key: Key) {
        self.fail_connects(key, Status::Unreachable);
        self.lose(now, key, Status::Unreachable);
    }

    /// Everything that is under way to the partner is taken for lost.
    pub(super) fn resend_all(&mut self, now: Time, key: Key) {
        let sending = &mut self.partners[key].sending;
        let all = sending.under_way();
        if all == 0 {
            return;
        }
        sending.in_vain = 0;
        sending.progress = now;
        self.begin_recovery(key, all);
    }

    /// Begins to send again, from the oldest message on.
    fn begin_recovery(&mut self, key: Key, burst: u32) {
        self.spell_out(key);
        let cutting = self.still_first_time(key);
        let sending = &mut self.partners[key].sending;
        let Some(oldest) = sending.unacked.first() else {
            return;
        };
        sending.recovery = Recovery::Resending {
            until: sending.next,
            cursor: oldest,
            left: burst,
            burst,
        };
        // What is being cut again is the oldest, or comes again in its turn.
        sending.cutting = cutting;
        sending.window = (sending.window / 2).max(SMALLEST_WINDOW);
        sending.repeats = 0;
        self.wake_data(key, Flow::Messages);
    }

    /// The MEDIUM that is being cut for the first time: it goes on, since nothing of it was lost yet.
    fn still_first_time(&self, key: Key) -> Key {
        let cutting = self.partners[key].sending.cutting;
        match cutting.some() {
            Some(cut) if !self.outgoing[cut].resent => cutting,
            _ => Key::NIL,
        }
    }

    /// Acknowledgements have moved by `count` messages.
    pub(super) fn recover(&mut self, now: Time, key: Key, count: u16) {
        let sending = &self.partners[key].sending;
        let Recovery::Resending { until, burst, .. } = sending.recovery else {
            return;
        };
        let before_end = sending.next.distance_from(until);
        let under_way = sending.next.distance_from(sending.acked);
        if under_way <= before_end {
            self.partners[key].sending.recovery = Recovery::None;
            return;
        }
        let Some(oldest) = sending.unacked.first() else {
            self.partners[key].sending.recovery = Recovery::None;
            return;
        };
        // Sent so recently that its acknowledgement may be on the way.
        let recent = now.since(self.outgoing[oldest].sent) < sending.trips.smoothed();
        if recent {
            return;
        }
        let burst = if u32::from(count) > burst {
            1
        } else {
            burst.saturating_mul(2).min(LARGEST_BURST)
        };
        self.partners[key].sending.recovery = Recovery::Resending {
            until,
            cursor: oldest,
            left: burst,
            burst,
        };
        self.wake_data(key, Flow::Messages);
    }

    /// A LIBACK told nothing new while something is unacknowledged: the partner misses the oldest message.
    pub(super) fn on_repeated_liback(&mut self, key: Key) {
        let sending = &mut self.partners[key].sending;
        if sending.under_way() == 0 {
            return;
        }
        sending.repeats = sending.repeats.saturating_add(1);
        if sending.repeats == REPEATS {
            self.counters.fast_resends = self.counters.fast_resends.wrapping_add(1);
            self.begin_recovery(key, 1);
        }
    }

    /// The next message to be sent again, if any is.
    pub(super) fn next_resend(&mut self, key: Key) -> Option<Key> {
        let sending = &mut self.partners[key].sending;
        let Recovery::Resending { cursor, left, .. } = &mut sending.recovery else {
            return None;
        };
        let next = cursor.some()?;
        // The last message of all may be still on its way out for the first time.
        if *left == 0 || next == sending.cutting {
            return None;
        }
        *left = left.wrapping_sub(1);
        *cursor = Queue::after(&self.outgoing, next).unwrap_or(Key::NIL);
        Some(next)
    }
}
