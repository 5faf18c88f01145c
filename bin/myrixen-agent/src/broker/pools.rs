//! Pools: memory of one end of a direct channel that the other end, in another domain, reads large messages in.

use std::time::Instant;

use myrixen_platform::Handover;
use myrixen_platform::message::{
    ChannelId, FailReason, Failure, Lent, Notice, PortAddress, Reply, Request,
};

use super::Broker;
use super::answers::failure;
use super::pending::{Asker, Pending};
use super::program::Way;
use super::requests::{Answer, away, fail, setup_failure};

/// A pool that a program wants to lend.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolAsked {
    asker: Asker,
    endpoint: u8,
    to: PortAddress,
    channel: ChannelId,
    bytes: u32,
}

impl Broker {
    /// A program wants memory that the other end of a channel can read.
    pub(super) fn lend_pool(
        &mut self,
        asker: Asker,
        (endpoint, to): (u8, PortAddress),
        channel: ChannelId,
        bytes: u32,
    ) -> Answer {
        let (place, seat) = self.place_of(asker)?;
        let Some(channel) = seat.channel(endpoint, to, channel) else {
            return fail(FailReason::NotFound, format_args!("no channel to {to}"));
        };
        if to.mac == self.connected(place)?.welcome.mac {
            let text = "programs of one domain read each other's pools as they are";
            return fail(FailReason::NoDirectPath, text);
        }
        let bytes = self.rules.budget.pool(bytes);
        let seat = self.seat_mut(asker.0).ok_or_else(away)?;
        if !seat.take_pool(Way::Ours, channel) {
            let text = format_args!("the channel to {to} has a pool already");
            return fail(FailReason::InUse, text);
        }
        let asked = PoolAsked {
            asker,
            endpoint,
            to,
            channel,
            bytes,
        };
        self.pass_on(
            asker,
            &Request::AskGrantee { to },
            Pending::PoolGrantee(asked),
        )
    }

    /// Whom to lend to is known: lends, and has the other domain told.
    pub(super) fn on_pool_grantee(
        &mut self,
        now: Instant,
        place: usize,
        asked: PoolAsked,
        reply: Reply,
    ) {
        let granted = match reply {
            Reply::Grantee { domain } => self.grant_pool(place, asked, domain),
            other => Err(failure(other)),
        };
        if let Err(failure) = granted {
            self.no_pool(now, asked, failure);
        }
    }

    fn no_pool(&mut self, now: Instant, asked: PoolAsked, failure: Failure) {
        if let Some(seat) = self.seat_mut(asked.asker.0) {
            seat.free_pool(Way::Ours, asked.channel);
        }
        self.fail(now, asked.asker, failure);
    }

    fn grant_pool(&mut self, place: usize, asked: PoolAsked, domain: u16) -> Result<(), Failure> {
        let lent = self.lender.lend_pool(domain, asked.bytes);
        let (brought, with) = lent.map_err(setup_failure)?;
        let request = Request::LendPool {
            endpoint: asked.endpoint,
            to: asked.to,
            channel: asked.channel,
            bytes: asked.bytes,
            brought: Some(brought),
        };
        let pending = Pending::Pool { asked, with };
        self.ask(place, &request, pending).map_err(|_| away())
    }

    /// The other domain has been told, or cannot be: then the pool ends here.
    pub(super) fn on_pool(&mut self, now: Instant, asked: PoolAsked, with: Handover, reply: Reply) {
        match reply {
            Reply::Done => self.answer(now, asked.asker, &Reply::Done, with),
            other => self.no_pool(now, asked, failure(other)),
        }
    }

    /// The other end of a channel has lent a pool: mapped by the program that has this end, or left alone.
    pub(super) fn on_pool_lent(
        &mut self,
        now: Instant,
        (place, endpoint): (usize, u8),
        (peer, channel): (PortAddress, ChannelId),
        bytes: u32,
        lent: Lent,
    ) {
        let Some(id) = self.owner(place, endpoint) else {
            return;
        };
        let Some(seat) = self.seat_mut(id) else {
            return;
        };
        let Some(channel) = seat.channel(endpoint, peer, channel) else {
            return;
        };
        if !seat.take_pool(Way::Theirs, channel) {
            return;
        }
        match self.lender.borrow_pool(lent.domain, lent.brought, bytes) {
            Ok(with) => {
                let notice = Notice::PoolLent {
                    endpoint,
                    peer,
                    channel,
                    bytes,
                    lent: None,
                };
                self.notify(now, id, &notice, with);
            }
            Err(error) => {
                let failure = setup_failure(error);
                tracing::debug!(%peer, "a pool cannot be used: {}", failure.text);
            }
        }
    }
}
