//! Short messages that come while somebody looks for just such a one. Their ends are shown as they come to whoever reads the ends of requests, past the
//! completion queue where nothing is before them, or given to whoever waits in a receive, which then need not be posted.

use std::ops::Range;

use mxoe::engine::{Brought, PartnerId, Status};
use mxoe::frame::HEAD_BYTES;
use mxoe::time::Time;

use crate::binding::{Ended, Reaper};
use crate::core::Core;
use crate::message::{Match, Received};
use crate::region::Regions;
use crate::request::{Key, Kind, Straight};
use crate::short::Frame;

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
        let mut passed = Passed::Kept;
        let mut show = |core: &mut Self, token, brought: &Brought| {
            let went_well = brought.status == Status::Success;
            let takes = |label| went_well && reaper.takes_short(label);
            match core.requests.end_straight(token, takes) {
                Some(straight) => {
                    core.let_go(Key::from_token(token).region());
                    reaper.short(Ended::of_brought(straight, brought));
                    passed = Passed::Shown;
                }
                None => core.end_brought(token, brought),
            }
        };
        if let Some((key, brought)) = self.take_standby(now, at) {
            show(self, key.token(), &brought);
            return passed;
        }
        if !self.may_turn_straight() {
            return Passed::Left;
        }
        self.settle_standby(|| now);
        let mut head = [0; HEAD_BYTES];
        let Some((record, head)) = self.paths[at].peek_short(&mut head) else {
            return Passed::Left;
        };
        let taken = self.take_short(now, at, &record, head, |core, taken| {
            show(core, taken.token, &taken.brought);
        });
        if !taken {
            return Passed::Left;
        }
        self.paths[at].consumer.advance(record);
        self.arrears = Some((at, now));
        passed
    }

    /// Takes what has come on a path if it is a short message for which the program waits with this buffer, and no receive.
    #[inline(always)]
    pub(crate) fn recv_straight(
        &mut self,
        now: Time,
        at: usize,
        matching: &Match,
        buffer: &mut [u8],
    ) -> Option<Received> {
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let brought = self.take_unposted(now, at, matching, room, |_, frame, bytes| {
            frame.copy(bytes.start, &mut buffer[..bytes.len()]);
        })?;
        Some(Received {
            len: brought.length as usize,
            message_len: brought.envelope.length as usize,
            bits: brought.envelope.match_info,
            source: brought.envelope.address,
        })
    }

    /// Takes what has come on a path if it is a short message for which somebody waits with so much room, and no receive is posted. `place` copies
    /// its bytes, and is told which of the frame's they are.
    #[inline(always)]
    pub(crate) fn take_unposted(
        &mut self,
        now: Time,
        at: usize,
        matching: &Match,
        room: u32,
        place: impl FnOnce(&mut Regions, &Frame<'_>, &Range<usize>),
    ) -> Option<Brought> {
        if !self.may_turn_straight() {
            return None;
        }
        let mut head = [0; HEAD_BYTES];
        let path = self.paths.get_mut(at)?;
        let (record, head) = path.peek_short(&mut head)?;
        let from = path.source(head)?;
        let (seen, wanted) = ((head, record.len()), (&matching.filter(), room));
        let engine = &mut self.engine;
        let brought = engine.take_unposted(now, path.id, from, seen, wanted)?;
        let frame = Frame {
            consumer: &path.consumer,
            record: &record,
            head,
        };
        place(&mut self.regions, &frame, &brought.payload());
        path.consumer.advance(record);
        // The program may answer: that is not to wait for the rest.
        self.arrears = Some((at, now));
        Some(brought)
    }

    /// Does what was put off of a message that was taken straight. Whoever comes in does so first, but who sends a short message, who does it then.
    #[inline(always)]
    pub(crate) fn settle_arrears(&mut self) {
        if let Some((at, now)) = self.arrears.take() {
            self.end_straight(now, at);
        }
    }

    /// A record was taken straight.
    fn end_straight(&mut self, now: Time, at: usize) {
        self.events();
        self.begin_straight_turn();
        // Unless the path was lost meanwhile.
        if self.is_live(at) {
            self.have_received(now, at);
        }
        self.transmit(now);
    }
}

impl Ended {
    /// The end of a receive of the completion queue's, by a short message.
    #[inline(always)]
    fn of_brought(straight: Straight, brought: &Brought) -> Self {
        let envelope = &brought.envelope;
        Self {
            kind: Kind::Receive,
            context: straight.context,
            label: straight.label,
            status: brought.status,
            peer: Some(PartnerId::to_u64(envelope.source)),
            source: Some(envelope.address),
            bits: envelope.match_info,
            data: envelope.data,
            message_len: envelope.length,
            len: brought.length,
        }
    }
}
