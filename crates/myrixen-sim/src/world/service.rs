//! Nodes that serve: what a driver does with a service message that is announced to it.

use mxoe::engine::{Envelope, Held, Space, Status, UnexpectedId};

use super::{World, tell};
use crate::oracle::{Got, Posting};
use crate::payload;
use crate::rng::Rng;
use crate::violation::Violation;

/// The half of the match information that tells a message from all others, unless it is 0.
const OWN: u64 = 0xffff_ffff;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is received.
    Taken,
    /// It is thrown away, as what is refused.
    Refused,
    /// It is left to receives that come later.
    Left,
}

impl Verdict {
    /// Decided by the message, so that runs of the same programs decide alike.
    fn of(envelope: &Envelope) -> Self {
        let mut rng = Rng::new(envelope.match_info.rotate_left(7) ^ u64::from(envelope.length));
        match rng.below(4) {
            0 => Self::Left,
            // One that looks like others cannot be told from them when there are no bytes to tell it by.
            1 if envelope.match_info & OWN != 0 => Self::Refused,
            _ => Self::Taken,
        }
    }
}

impl World<'_> {
    /// A message that no receive waits for was announced.
    pub(super) fn serve(
        &mut self,
        index: usize,
        id: UnexpectedId,
        announced: &Envelope,
    ) -> Result<(), Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let refused = Violation::refused(index);
        if announced.space != Space::Service {
            return Err(refused(Status::BadHandle));
        }
        if !self.scenario.nodes[index].serves || self.finishing || node.closed {
            return Ok(());
        }
        // A receive that was posted meanwhile may have it.
        let Some(held) = node.endpoint.hold(id) else {
            return Ok(());
        };
        if held.envelope != *announced {
            return Err(refused(Status::BadHandle));
        }
        self.look_at(index, &held)?;
        let verdict = Verdict::of(announced);
        tell!(
            self,
            "{index}: is shown {:#x}, {} bytes: {verdict:?}",
            announced.match_info,
            announced.length
        );
        match verdict {
            Verdict::Taken => self.take_held(index, id, announced),
            Verdict::Refused => self.refuse_held(index, id, announced),
            Verdict::Left => {
                let now = self.now;
                let kept = self.nodes[index]
                    .as_mut()
                    .is_some_and(|node| node.endpoint.release(now, id));
                kept.then_some(()).ok_or_else(|| refused(Status::BadHandle))
            }
        }
    }

    /// What is shown of a message has to be what was sent.
    fn look_at(&self, index: usize, held: &Held) -> Result<(), Violation> {
        let Some(node) = &self.nodes[index] else {
            return Ok(());
        };
        let envelope = &held.envelope;
        let shown = match held.store {
            Some(store) => node.memory.stored(store)?,
            None => &[],
        };
        let length = envelope.length as usize;
        let bytes = match shown.get(..length) {
            Some(bytes) => bytes,
            None if !held.complete => &[],
            None => return Err(self.wrongly_shown(index, envelope)),
        };
        if envelope.data != payload::beside(envelope.match_info, envelope.length) {
            return Err(self.wrongly_shown(index, envelope));
        }
        self.oracle
            .shown(index, &self.as_got(envelope, Status::Success, bytes))
    }

    /// The held message is received into a buffer of its length.
    fn take_held(
        &mut self,
        index: usize,
        id: UnexpectedId,
        envelope: &Envelope,
    ) -> Result<(), Violation> {
        let Some(posting) = self.for_held(index, envelope, envelope.length) else {
            return Ok(());
        };
        self.receive_claimed(index, id, posting).map(drop)
    }

    /// The held message is thrown away: as if a receive without room had got it.
    fn refuse_held(
        &mut self,
        index: usize,
        id: UnexpectedId,
        envelope: &Envelope,
    ) -> Result<(), Violation> {
        let Some(posting) = self.for_held(index, envelope, 0) else {
            return Ok(());
        };
        let post = self.oracle.posting(posting);
        let status = if envelope.length > 0 {
            Status::Truncated
        } else {
            Status::Success
        };
        let got = self.as_got(envelope, status, &[]);
        self.oracle.got(post, &got)?;
        if let Some(node) = &mut self.nodes[index] {
            node.endpoint.discard(self.now, id);
        }
        Ok(())
    }

    /// A receive for this message alone, out of turn.
    fn for_held(&self, index: usize, envelope: &Envelope, len: u32) -> Option<Posting> {
        let node = self.nodes[index].as_ref()?;
        Some(Posting {
            by: node.life,
            space: envelope.space,
            match_info: envelope.match_info,
            mask: u64::MAX,
            from: None,
            len,
            claimed: true,
            hurried: false,
        })
    }

    /// What the oracle is told of a message with this envelope.
    fn as_got<'a>(&self, envelope: &Envelope, status: Status, bytes: &'a [u8]) -> Got<'a> {
        Got {
            status,
            from: self.sender(envelope),
            space: envelope.space,
            match_info: envelope.match_info,
            length: envelope.length,
            bytes,
        }
    }

    /// The node that a message came from; none has the number that is given for one that came from elsewhere.
    fn sender(&self, envelope: &Envelope) -> usize {
        let mut plans = self.scenario.nodes.iter();
        let found = plans.position(|plan| plan.address == envelope.address);
        found.unwrap_or(usize::MAX)
    }

    fn wrongly_shown(&self, index: usize, envelope: &Envelope) -> Violation {
        Violation::WrongShown {
            node: index,
            from: self.sender(envelope),
            length: envelope.length,
        }
    }
}
