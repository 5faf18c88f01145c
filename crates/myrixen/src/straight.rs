//! A short message whose end is shown as it comes to whoever reads the ends of requests: past the completion queue, where nothing is before it.

use mxoe::engine::{PartnerId, Status, Taken};
use mxoe::frame::HEAD_BYTES;
use mxoe::time::Time;

use crate::binding::{Ended, Reaper};
use crate::core::Core;
use crate::request::{Key, Kind, Straight};

/// What has become of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Its end was shown.
    Shown,
    /// It is the end of a request that somebody else asks for, or is in the queue.
    Kept,
    /// Nothing: it is for the usual way.
    Left,
}

impl Core {
    /// As [`turn_at`](Self::turn_at), if what has come there is a short message for which a receive of the completion queue's waits: shows its end to
    /// `reaper`, if that takes it so. The queue is to be empty.
    #[inline(never)]
    pub(crate) fn turn_straight(
        &mut self,
        now: Time,
        at: usize,
        reaper: &mut impl Reaper,
    ) -> Passed {
        if !self.may_turn_straight() {
            return Passed::Left;
        }
        let path = &mut self.paths[at];
        let Ok(Some(record)) = path.consumer.peek() else {
            return Passed::Left;
        };
        if record.hint_len() > 0 {
            return Passed::Left;
        }
        let mut head = [0; HEAD_BYTES];
        let head = &mut head[..record.len().min(HEAD_BYTES)];
        path.consumer.read(&record, 0, head);
        let mut passed = Passed::Kept;
        let taken = self.take_short(now, at, &record, head, |core, taken| {
            let went_well = taken.status == Status::Success;
            let takes = |label| went_well && reaper.takes_short(label);
            match core.requests.end_straight(taken.token, takes) {
                Some(straight) => {
                    core.let_go(Key::from_token(taken.token).region());
                    reaper.short(Ended::of_taken(straight, taken));
                    passed = Passed::Shown;
                }
                None => core.end_taken(taken),
            }
        });
        if !taken {
            return Passed::Left;
        }
        self.paths[at].consumer.advance(record);
        self.events();
        self.begin_short_turn();
        self.have_received(now, at);
        self.transmit(now);
        passed
    }
}

impl Ended {
    /// The end of a receive of the completion queue's, by a short message.
    #[inline(always)]
    fn of_taken(straight: Straight, taken: &Taken) -> Self {
        let envelope = &taken.envelope;
        Self {
            kind: Kind::Receive,
            context: straight.context,
            label: straight.label,
            status: taken.status,
            peer: Some(PartnerId::to_u64(envelope.source)),
            source: Some(envelope.address),
            bits: envelope.match_info,
            data: envelope.data,
            message_len: envelope.length,
            len: taken.length,
        }
    }
}
