//! Short messages that come while somebody looks for just such a one. Their ends are shown as they come to whoever reads the ends of requests, past the
//! completion queue where nothing is before them, or given to whoever waits in a receive, which then need not be posted.

use mxoe::engine::{Brought, PartnerId, Status};
use mxoe::frame::HEAD_BYTES;
use mxoe::time::Time;

use crate::binding::{Ended, Reaper};
use crate::core::Core;
use crate::message::{Match, Received};
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
        if self.standby.is_some() {
            if let Some((key, brought)) = self.take_standby(now, at) {
                show(self, key.token(), &brought);
                return passed;
            }
            self.settle_standby(|| now);
        }
        let mut head = [0; HEAD_BYTES];
        let may = self.may_turn_straight();
        let path = self.paths.get_mut(at).filter(|_| may);
        let Some((record, head)) = path.and_then(|path| path.peek_short(&mut head)) else {
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
        if !self.may_turn_straight() {
            return None;
        }
        let mut head = [0; HEAD_BYTES];
        let path = self.paths.get_mut(at)?;
        let (record, head) = path.peek_short(&mut head)?;
        let from = path.source(head)?;
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let wanted = (&matching.filter(), room);
        let frame = (head, record.len());
        let brought = self
            .engine
            .take_unposted(now, path.id, from, frame, wanted)?;
        let payload = brought.payload();
        let into = &mut buffer[..payload.len()];
        match head.get(payload.clone()) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => path.consumer.read(&record, payload.start, into),
        }
        path.consumer.advance(record);
        // The program may answer: that is not to wait for the rest.
        self.arrears = Some((at, now));
        Some(Received {
            len: payload.len(),
            message_len: brought.envelope.length as usize,
            bits: brought.envelope.match_info,
            source: brought.envelope.address,
        })
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
