//! The broker's platform on a real Xen.

use std::io;
use std::time::{Duration, Instant};

use myrixen_platform::message::{Brought, Request, Serial};
use myrixen_platform::xen::front::{Front, FrontEvent, GrantedRings};
use myrixen_platform::xen::{
    DomId, GrantAlloc, Offered, Taken, XenError, XenStore, borrow_pool, lend_pool,
};
use myrixen_platform::{Handover, SetupError, WaitSet};
use myrixen_ring::Terms;

use crate::upstream::{Lender, Upstream};

/// How long the same trouble is not logged again.
const SAID: Duration = Duration::from_secs(60);

/// A device of this domain.
pub(crate) struct Device {
    front: Front<XenStore, GrantedRings>,
    number: u32,
    /// The last trouble, and when it was logged.
    said: Option<(String, Instant)>,
}

impl Device {
    pub(crate) fn open(number: u32) -> Result<Self, XenError> {
        Ok(Self {
            front: Front::new(XenStore::open()?, GrantedRings, number),
            number,
            said: None,
        })
    }

    fn complain(&mut self, now: Instant, text: String) {
        let fresh = |(said, at): &(String, Instant)| {
            *said == text && now.saturating_duration_since(*at) < SAID
        };
        if !self.said.as_ref().is_some_and(fresh) {
            tracing::warn!(device = self.number, "{text}");
            self.said = Some((text, now));
        }
    }
}

impl Upstream for Device {
    fn watch(&mut self, set: &WaitSet, token: u64) -> io::Result<()> {
        self.front.watch(set, token)
    }

    fn poll(&mut self, now: Instant) -> Option<FrontEvent> {
        match self.front.poll(now) {
            Ok(event) => event,
            Err(error) => {
                let text = format!("{:#}", anyhow::Error::from(error));
                self.complain(now, text);
                None
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.front.next_timeout()
    }

    fn ask(&mut self, request: &Request) -> Option<Serial> {
        self.front.ask(request)
    }

    fn leave(&mut self, now: Instant) {
        if let Err(error) = self.front.leave() {
            self.complain(now, format!("{:#}", anyhow::Error::from(error)));
        }
    }
}

/// Pages of this domain's grant table.
pub(crate) struct GrantedMemory;

impl Lender for GrantedMemory {
    fn lend(&mut self, to: u16, terms: &Terms) -> Result<(Brought, Handover), SetupError> {
        let offered = Offered::make(DomId::new(to), terms)?;
        Ok((offered.brought(), offered.into_handover()?))
    }

    fn borrow(
        &mut self,
        from: u16,
        brought: Brought,
        terms: &Terms,
    ) -> Result<Handover, SetupError> {
        Taken::take(DomId::new(from), brought, terms)?.into_handover()
    }

    fn lend_pool(&mut self, to: u16, bytes: u32) -> Result<(Brought, Handover), SetupError> {
        lend_pool(DomId::new(to), bytes)
    }

    fn borrow_pool(
        &mut self,
        from: u16,
        brought: Brought,
        bytes: u32,
    ) -> Result<Handover, SetupError> {
        borrow_pool(DomId::new(from), brought, bytes)
    }
}

/// Has the kernel grant as many pages as are wanted; fewer are no reason not to run.
pub(crate) fn raise_limit(wanted: u32) {
    let have = match GrantAlloc::limit() {
        Ok(have) if have >= wanted => return,
        Ok(have) => have,
        Err(error) => {
            tracing::warn!("the limit of granted pages is not known: {error}");
            return;
        }
    };
    match GrantAlloc::set_limit(wanted) {
        Ok(()) => tracing::debug!("programs may grant {wanted} pages (they could {have})"),
        Err(error) => {
            tracing::warn!(
                "programs may grant {have} pages, not {wanted} (`grants.limit`): {error}; set the parameter `limit` \
                 of the module xen_gntalloc"
            );
        }
    }
}

/// How many pages a second the kernel is to look at that a killed program had lent: those of some ten queue pairs. Orderly ends leave
/// none.
const RECLAIM: u32 = 4096;

/// Has the kernel take back faster what killed programs had lent: by default it takes minutes for a few of them.
pub(crate) fn speed_reclaim() {
    let set = GrantAlloc::reclaim_rate().and_then(|have| match have {
        // No limit, or more already.
        0 | RECLAIM.. => Ok(()),
        _ => GrantAlloc::set_reclaim_rate(RECLAIM),
    });
    if let Err(error) = set {
        tracing::debug!("pages of killed programs come back slowly: {error}");
    }
}
