//! Asking whether a partner is still there.
//!
//! A large send that is acknowledged waits for its data to be pulled, which may take as long as the receiving program likes;
//! a message that is half received waits for the other half. Neither side sends anything meanwhile, and the reference
//! peer waits for ever when the other one has died. We ask by a CONNECT, which every endpoint answers at any time: a
//! closed one has it nacked, one that was opened again answers with another session, and silence is silence.

use std::time::Duration;

use super::Endpoint;
use super::event::{Event, Status};
use super::timing::after;
use crate::addr::{SeqNo, SessionId};
use crate::frame::{self, ConnectRole, ConnectStatus, Frame};
use crate::matching::arena::Key;
use crate::time::Time;

/// A partner is first asked after the time until it is given up, divided by two so often.
const FIRST_SHIFT: u32 = 3;

/// How long a partner that is said to be gone may take to answer: it is asked at once, and a few times more.
const DOUBT: Duration = Duration::from_secs(3);

/// What was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    /// The key that the partner was last connected to with.
    pub(super) key: Option<u32>,
    /// The number of the question, until it is answered.
    asked: Option<u8>,
    /// To go out as soon as there is room.
    wanted: bool,
    /// When it was last wanted.
    since: Time,
    /// How often it was wanted.
    times: u8,
    /// It is said to be gone: until then it may prove otherwise.
    doubted_until: Option<Time>,
}

impl Probe {
    /// There is nothing to be asked any more.
    pub(super) fn end(&mut self) {
        self.asked = None;
        self.wanted = false;
        self.times = 0;
        self.doubted_until = None;
    }

    /// Whether a question is not answered.
    pub(super) fn is_out(&self) -> bool {
        self.asked.is_some()
    }
}

impl Endpoint {
    /// Whether something only a living partner can finish is under way, and no other timer sees to it.
    pub(super) fn awaits(&self, key: Key) -> bool {
        let partner = &self.partners[key];
        let waits = !partner.sending.parked.is_empty()
            || !partner.receiving.open.is_empty()
            || !partner.receiving.early.is_empty();
        waits && partner.session().is_some() && partner.sending.under_way() == 0
    }

    /// When a partner is to be asked whether it is there.
    pub(super) fn probe_due(&self, key: Key) -> Option<Time> {
        let (partner, timers) = (&self.partners[key], &self.config.timers);
        // Soon again at first: who is closing, or has just opened, may not have heard the question.
        let apart = timers
            .rto_min
            .saturating_mul(1 << partner.probe.times.min(16) >> 1);
        let again = after(partner.probe.since, apart.min(timers.rto_max));
        if let Some(until) = partner.probe.doubted_until {
            return Some(again.min(until));
        }
        if !self.awaits(key) {
            return None;
        }
        Some(if partner.probe.is_out() {
            again
        } else {
            let patience = u64::try_from(timers.give_up.as_nanos()).unwrap_or(u64::MAX);
            after(partner.heard, Duration::from_nanos(patience >> FIRST_SHIFT))
        })
    }

    /// Asks, if it is time, or gives the partner up.
    pub(super) fn probe_if_due(&mut self, now: Time, key: Key) {
        if self.probe_due(key).is_none_or(|due| due > now) {
            return;
        }
        let give_up = self.config.timers.give_up;
        let partner = &mut self.partners[key];
        if partner
            .probe
            .doubted_until
            .is_some_and(|until| until <= now)
        {
            return self.lose(now, key, Status::PartnerGone);
        }
        if partner.probe.is_out() && after(partner.heard, give_up) <= now {
            return self.give_up(now, key);
        }
        self.ask_partner(now, key);
    }

    /// A partner is said to be gone, and may not be: it has a few round trips to prove it.
    pub(super) fn doubt(&mut self, now: Time, key: Key) {
        let until = after(now, DOUBT);
        let probe = &mut self.partners[key].probe;
        probe.doubted_until.get_or_insert(until);
        self.ask_partner(now, key);
        self.arm(key);
    }

    pub(super) fn ask_partner(&mut self, now: Time, key: Key) {
        let partner = &mut self.partners[key];
        if partner.probe.asked.is_none() {
            partner.probe.asked = Some(partner.attempt);
            partner.attempt = partner.attempt.wrapping_add(1);
        }
        partner.probe.wanted = true;
        partner.probe.times = partner.probe.times.saturating_add(1);
        partner.probe.since = now;
        self.wake_control(key);
    }

    /// The question, if it is to go out.
    pub(super) fn next_probe(&mut self, key: Key) -> Option<Frame> {
        let partner = &mut self.partners[key];
        if !std::mem::take(&mut partner.probe.wanted) {
            return None;
        }
        Some(Frame::Connect(frame::Connect {
            to: partner.address.endpoint,
            from: self.config.address.endpoint,
            seq: SeqNo::from_wire(0),
            index: super::connect::index_of(key),
            session: self.config.session,
            recv_start: partner.receiving.next,
            attempt: partner.probe.asked?,
            role: ConnectRole::Request {
                // Who was not connected to by us has a key that we do not know. A refusal is an answer as well.
                key: partner.probe.key.unwrap_or(self.config.key),
            },
            features: Some(super::connect::FEATURES),
        }))
    }

    /// An answer to the question has come, if it is one.
    pub(super) fn on_probe_reply(
        &mut self,
        now: Time,
        key: Key,
        connect: &frame::Connect,
        session: SessionId,
        status: ConnectStatus,
    ) -> bool {
        let partner = &mut self.partners[key];
        if partner.probe.asked != Some(connect.attempt) {
            return false;
        }
        let Some(known) = partner.session() else {
            return false;
        };
        partner.probe.end();
        partner.heard = now;
        let renumbered = !connect.recv_start.same_session(partner.sending.next);
        match status {
            ConnectStatus::Success if known != session || renumbered => {
                self.renew(now, key, connect, session);
                let (partner, address) = (self.partners[key].id, self.partners[key].address);
                self.emit(Event::PartnerArrived { partner, address });
            }
            ConnectStatus::BadKey if known != session => {
                self.supersede(key, session);
                self.lose(now, key, Status::PartnerRestarted);
            }
            // It is there, and what it announces is known.
            _ => {}
        }
        true
    }
}
