//! Memory lent to one partner in another domain: messages from it cross in one copy.

use std::sync::PoisonError;
use std::time::Duration;

use mxoe::addr::Address;
use myrixen_platform::message::{ChannelId, Request};
use myrixen_platform::process::RequestError;
use myrixen_shm::{Pages, Pool, PoolBuf};

use crate::address::to_port;
use crate::offer::{Audience, GUARD_BYTES, Guards};
use crate::path::{Direct, Lends};
use crate::shared::Shared;

/// How long the agent is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How memory for a partner can be had.
enum Source {
    Pool(Pool),
    /// The agent is to be asked for it, for this channel.
    Ask(ChannelId),
}

impl Shared {
    /// Memory that the partner at this address can read, or else the fabric's, which all partners of this domain or host can.
    pub(crate) fn alloc_for(&self, peer: Address, len: usize) -> Option<PoolBuf> {
        self.pool_for(peer)
            .and_then(|pool| pool.alloc(len))
            .or_else(|| self.fabric.pool.alloc(len))
    }

    fn pool_for(&self, peer: Address) -> Option<Pool> {
        if let Source::Pool(pool) = self.source_for(peer)? {
            return Some(pool);
        }
        // One thread asks; the others find what it got.
        let asking = self.lending.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match self.source_for(peer)? {
            Source::Pool(pool) => return Some(pool),
            Source::Ask(channel) => channel,
        };
        let lent = self.ask_for_pool(peer, channel);
        let pool = match lent {
            Ok(pool) => Some(pool),
            // Who is away can be asked again; who refuses, refuses for the life of the channel.
            Err(RequestError::Failed(_)) => None,
            Err(_) => return None,
        };
        self.set_lent(peer, channel, pool.as_ref());
        drop(asking);
        pool
    }

    fn source_for(&self, peer: Address) -> Option<Source> {
        let core = self.enter();
        let found = core.paths.iter().find_map(|(_, path)| {
            let direct = path.direct.as_ref()?;
            (direct.peer == peer && !path.dead).then_some(direct)
        });
        match found {
            Some(Direct {
                lends: Lends::Some(guards),
                ..
            }) => Some(Source::Pool(guards.pool().clone())),
            Some(Direct {
                lends: Lends::NotYet,
                channel,
                ..
            }) => Some(Source::Ask(*channel)),
            _ => None,
        }
    }

    fn ask_for_pool(&self, peer: Address, channel: ChannelId) -> Result<Pool, RequestError> {
        let attachment = self.fabric.home.get().ok_or(RequestError::Lost)?;
        let guards = u32::try_from(GUARD_BYTES).unwrap_or(u32::MAX);
        let request = Request::LendPool {
            endpoint: self.address.endpoint.get(),
            to: to_port(peer),
            channel,
            bytes: self.lent_bytes.saturating_add(guards),
            brought: None,
        };
        attachment.request(&request, PATIENCE)?.into_pool()
    }

    /// What a channel lends from now on, if it is still there.
    fn set_lent(&self, peer: Address, channel: ChannelId, pool: Option<&Pool>) {
        let guards = pool.and_then(|pool| Guards::new(pool, Audience::One));
        self.with_direct(peer, channel, |direct| {
            direct.lends = guards.map_or(Lends::Nothing, Lends::Some);
        });
    }

    /// The other end of a channel has lent us memory.
    pub(crate) fn borrow_pool(&self, peer: Address, channel: ChannelId, pool: Option<&Pages>) {
        self.with_direct(peer, channel, |direct| direct.theirs.lent = pool.cloned());
    }

    fn with_direct(&self, peer: Address, channel: ChannelId, change: impl FnOnce(&mut Direct)) {
        let mut core = self.visit();
        let direct = core
            .paths
            .iter_mut()
            .filter_map(|(_, path)| path.direct.as_mut())
            .find(|direct| direct.peer == peer && direct.channel.may_be(channel));
        if let Some(direct) = direct {
            change(direct);
        }
    }
}
