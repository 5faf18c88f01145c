//! Connections: asked for, had, lost, and asked for again.

use std::time::Duration;

use mxoe::engine::{Connect, PartnerId, RequestId, Status};
use mxoe::time::Time;

use super::{Pending, World};
use crate::node::{Asked, Contact, ContactState, Request, token};
use crate::oracle::Life;
use crate::scenario::Happening;
use crate::violation::Violation;

/// How long after a failed connect it is tried again; doubled each time, up to the second figure.
const RETRY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(500));
/// Flips in a key make it a wrong one.
const WRONG: u32 = 0x5555_5555;

impl World<'_> {
    /// Connects, with the right key or a wrong one.
    pub(super) fn connect(
        &mut self,
        index: usize,
        to: usize,
        wrong: bool,
    ) -> Result<(), Violation> {
        let plan = &self.scenario.nodes[to];
        let key = if wrong { plan.key ^ WRONG } else { plan.key };
        self.attempts += 1;
        let token = token::connect(self.attempts);
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let connect = Connect {
            to: plan.address,
            key,
            deadline: None,
            token,
        };
        match node.endpoint.connect(self.now, connect) {
            Ok(request) => {
                let what = if wrong {
                    Asked::WrongKey { to }
                } else {
                    Asked::Connect { to }
                };
                let id = Some(request);
                node.requests.insert(token, Request { id, what });
                if !wrong {
                    node.contacts[to].state = ContactState::Asking;
                }
                Ok(())
            }
            Err(status) => Err(Violation::refused(index)(status)),
        }
    }

    /// Tries to connect once more, if there is still something to send.
    pub(super) fn retry(&mut self, life: Life, to: usize) -> Result<(), Violation> {
        let Some(node) = self.nodes[life.node]
            .as_mut()
            .filter(|node| node.life == life)
        else {
            return Ok(());
        };
        if node.contacts[to].state == ContactState::Asking {
            node.contacts[to].state = ContactState::None;
        }
        self.send_waiting(life.node, to)?;
        self.drive(life.node)
    }

    pub(super) fn connected(
        &mut self,
        index: usize,
        token: u64,
        request: RequestId,
        partner: PartnerId,
    ) -> Result<(), Violation> {
        match self.ended(index, token, Some(request))? {
            Asked::Connect { to } => self.met(index, to, partner),
            Asked::WrongKey { .. } => Err(Violation::WrongKeyAccepted { node: index }),
            _ => Err(Violation::UnknownToken { node: index, token }),
        }
    }

    /// A node can be sent to.
    pub(super) fn met(
        &mut self,
        index: usize,
        who: usize,
        partner: PartnerId,
    ) -> Result<(), Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let contact = &mut node.contacts[who];
        contact.partner = Some(partner);
        contact.state = ContactState::Known;
        contact.failures = 0;
        self.send_waiting(index, who)
    }

    pub(super) fn connect_failed(
        &mut self,
        index: usize,
        token: u64,
        request: RequestId,
        status: Status,
    ) -> Result<(), Violation> {
        let to = match self.ended(index, token, Some(request))? {
            Asked::Connect { to } => to,
            // A wrong key must be refused, and for this reason where nothing else happens.
            Asked::WrongKey { to } if status == Status::BadKey || self.excused(index, to) => {
                return Ok(());
            }
            Asked::WrongKey { to } => return Err(self.no_connection(index, to, status)),
            _ => return Err(Violation::UnknownToken { node: index, token }),
        };
        if !self.excused(index, to) {
            return Err(self.no_connection(index, to, status));
        }
        self.not_connected(index, to);
        Ok(())
    }

    fn no_connection(&self, node: usize, to: usize, status: Status) -> Violation {
        Violation::ConnectFailed {
            node,
            to: self.scenario.nodes[to].address,
            status,
        }
    }

    /// A connect has failed: it is tried again later, unless the other node will never be there again.
    pub(super) fn not_connected(&mut self, index: usize, to: usize) {
        let now = self.now;
        let comes = self.nodes[to].is_some() || self.will_start(to, now);
        let Some(node) = &mut self.nodes[index] else {
            return;
        };
        let contact: &mut Contact = &mut node.contacts[to];
        if contact.state == ContactState::Known {
            return;
        }
        contact.failures += 1;
        if !comes {
            contact.state = ContactState::None;
            contact.waiting.clear();
            return;
        }
        contact.state = ContactState::Asking;
        let pause = RETRY.0 * 2_u32.saturating_pow(contact.failures.min(10));
        let life = node.life;
        self.schedule(now + pause.min(RETRY.1), Pending::Retry { life, to });
    }

    /// Whether a node starts after this time.
    fn will_start(&self, node: usize, after: Time) -> bool {
        self.scenario.disruptions.iter().any(|disruption| {
            disruption.what == Happening::Starts { node } && Time::ZERO + disruption.at >= after
        })
    }
}
