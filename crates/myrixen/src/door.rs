//! The short calls of a binding that finds its endpoints by numbers: by a [`Door`] it comes in without having counted itself among the users of the endpoint
//! first, which may be closed at any time. What takes no time is done by the [`Guest`]; for all else the binding makes sure, while he is inside, that the
//! endpoint stays, and goes on there.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::buffer::RecvBuffer;
use crate::endpoint::Endpoint;
use crate::error::{Result, UnknownRequest};
use crate::message::{Match, Peer};
use crate::posted::{Outgoing, RequestId};
use crate::queue::End;
use crate::shared::Guarded;

/// The way into an endpoint. It may outlive the endpoint, and lead to others later.
#[derive(Debug, Default)]
pub struct Door(myrixen_bias::Door<Guarded>);

/// Somebody inside an endpoint, which is there as long as he is.
#[derive(Debug)]
pub struct Guest(myrixen_bias::Guest<Guarded>);

impl Door {
    /// Leads nowhere.
    #[must_use]
    pub const fn new() -> Self {
        Self(myrixen_bias::Door::new())
    }

    /// Leads to this endpoint from now on, whose name is no other's; not where the program's threads drive the back end, which guests do not tell that they come.
    pub fn lead_to(&self, endpoint: &Endpoint, name: NonZeroU64) {
        if endpoint.shared.drives {
            return;
        }
        let room = &endpoint.shared.guarded;
        self.0.lead_to(room);
        room.set_name(Some(name));
    }

    /// Comes in, if the endpoint has this name and this thread is the one that uses it as a rule. `None` says nothing of the endpoint.
    #[inline(always)]
    pub fn enter(&self, name: NonZeroU64) -> Option<Guest> {
        let guest = self.0.enter(name)?;
        (!guest.adopted).then_some(Guest(guest))
    }
}

impl Guest {
    /// As [`Endpoint::post_short`], if the message can go out now and is over at once. `None`: nothing was done.
    #[inline(always)]
    pub fn post_short(
        &mut self,
        to: &Peer,
        payload: &[u8],
        outgoing: Outgoing,
    ) -> Option<RequestId> {
        let Guarded { core, clock, .. } = &mut *self.0;
        core.requests.settle();
        core.post_short_ahead(|| clock.recent(), to, payload, outgoing)
    }

    /// As [`Endpoint::post_recv`].
    ///
    /// # Errors
    /// The same.
    #[inline(always)]
    pub fn post_recv<B: RecvBuffer>(
        &mut self,
        matching: Match,
        buffer: B,
        context: u64,
    ) -> Result<RequestId> {
        let Guarded { core, clock, .. } = &mut *self.0;
        core.requests.settle();
        let key = core.begin_recv(|| clock.recent(), matching, buffer, Some(context))?;
        Ok(RequestId::new(key))
    }

    /// As [`Endpoint::test_with`], without working for the endpoint.
    ///
    /// # Errors
    /// [`UnknownRequest`].
    #[inline(always)]
    pub fn take_end<T>(
        &mut self,
        id: RequestId,
        look: impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        self.0.core.end_now(id, None, look)
    }

    /// Goes out. Where others wait for what was done, he cannot alone: [`Endpoint::see_off`].
    #[inline(always)]
    pub fn leave(mut self) -> Option<Self> {
        if self.0.core.errand {
            return Some(self);
        }
        self.0.core.ended = false;
        None
    }
}

impl Endpoint {
    /// No door leads here any more. Whoever has come in by one has gone out.
    pub fn shut_doors(&self) {
        self.shared.guarded.set_name(None);
    }

    /// Has a guest of this endpoint go out.
    pub fn see_off(&self, guest: Guest) {
        if let Some(core) = self.shared.guarded.welcome(guest.0) {
            self.shared.leave(core);
        }
    }

    /// As [`test_with`](Self::test_with), for a guest of this endpoint who has found that the request is not over.
    ///
    /// # Errors
    /// The same.
    #[inline(always)]
    pub fn test_on<T>(
        &self,
        guest: Guest,
        id: RequestId,
        look: impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        match self.shared.guarded.welcome(guest.0) {
            Some(core) => self.test_for_end(core, id, None, &look),
            None => self.test_with(id, look),
        }
    }

    /// As [`wait_with`](Self::wait_with), for a guest of this endpoint who has found that the request is not over.
    ///
    /// # Errors
    /// The same.
    #[inline(always)]
    pub fn wait_on<T>(
        &self,
        guest: Guest,
        id: RequestId,
        timeout: Option<Duration>,
        look: impl Fn(&End) -> T,
    ) -> Result<Option<T>, UnknownRequest> {
        match self.shared.guarded.welcome(guest.0) {
            Some(core) => self.wait_for_end(core, (id, timeout), None, &look),
            None => self.wait_with(id, timeout, look),
        }
    }
}
