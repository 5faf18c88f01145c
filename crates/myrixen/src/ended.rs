//! Taking requests out that are over, with their buffers.

use mxoe::time::Time;

use crate::buffer::Memory;
use crate::core::{Core, RETAINED_CAP};
use crate::error::{Error, Result, Status};
use crate::message::Received;
use crate::request::{Key, Outcome};

impl Core {
    /// Takes a finished send, or gives the buffer of an eager one back early if `hurried`, or where that [is cheap](Self::is_cheap): a copy stays for resending.
    /// For long messages that costs more than the acknowledgement of a receiver that looks on, and a sender that never waited would run ahead of its receiver by as
    /// much as may be copied.
    pub(crate) fn send_ended(&mut self, key: Key, hurried: bool) -> Option<Result<Memory>> {
        if let Some(outcome) = self.requests.take(key) {
            let memory = self.reclaim(key.region());
            return match outcome {
                Outcome::Sent {
                    status: Status::Success,
                    ..
                } => Some(Ok(memory)),
                Outcome::Sent { status, .. } | Outcome::Unmet(status) => Some(Err(Error::Failed {
                    what: "send",
                    status,
                })),
                _ => unreachable!("a send ends as a send"),
            };
        }
        if !hurried && !self.is_cheap(key) {
            return None;
        }
        if !self.requests.may_end_early(key, RETAINED_CAP) {
            return None;
        }
        let held = self.regions.get_mut(key.region())?;
        let len = held.len();
        let copy = held.to_owned_copy(len);
        let memory = std::mem::replace(held, copy);
        self.requests.ended_early(key, len);
        Some(Ok(memory))
    }

    /// Takes a finished receive.
    pub(crate) fn recv_ended(&mut self, key: Key) -> Option<Result<(Memory, Received)>> {
        let outcome = self.requests.take(key)?;
        let memory = self.reclaim(key.region());
        Some(self.received(&outcome).map(|received| (memory, received)))
    }

    /// What a receive has brought.
    pub(crate) fn received(&self, outcome: &Outcome) -> Result<Received> {
        match *outcome {
            Outcome::Received {
                status: Status::Success | Status::Truncated,
                ref envelope,
                length,
            } => Ok(Received {
                len: length as usize,
                message_len: envelope.length as usize,
                bits: envelope.match_info,
                source: envelope.address,
            }),
            Outcome::Received { status, .. } | Outcome::Unmet(status) => Err(Error::Failed {
                what: "receive",
                status,
            }),
            _ => unreachable!("a receive ends as a receive"),
        }
    }

    /// Cancels a receive that no message has matched. Gives its buffer back.
    pub(crate) fn cancel(&mut self, now: Time, key: Key) -> Option<Memory> {
        let id = self.requests.engine_id(key)?;
        if self.requests.is_done(key) || !self.engine.cancel(now, id) {
            return None;
        }
        self.requests.withdraw(key);
        Some(self.reclaim(key.region()))
    }
}
