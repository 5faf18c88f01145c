//! One MX endpoint as a pure state machine: no I/O, no clock, no payload, no threads.
//!
//! A *driver* feeds an [`Endpoint`] frames and time, and carries out what it says: it sends the frames that
//! [`poll_transmit`](Endpoint::poll_transmit) gives, gathering their payload from the program's memory; copies the payload of
//! a frame where the [`Placement`] says; and hands [`Event`]s on to the program. The engine itself never sees a byte of payload.
//! The same calls give the same frames and events. What peers can make grow is bounded by [`Limits`].
//!
//! After any call there may be events to poll and frames to transmit, and [`next_timeout`](Endpoint::next_timeout) may
//! have changed. The contract in full is `docs/engine.md`; what is on the wire and what is chosen there, `docs/wire.md`. Section
//! numbers in this module are those of the MXoE specification.
//!
//! Two endpoints that shake hands, with nothing but a loop between them:
//!
//! ```
//! use mxoe::addr::{Address, EndpointId, NicAddr};
//! use mxoe::engine::{Arrival, Config, Connect, Endpoint, Event, PathId, PathProfile};
//! use mxoe::frame::Dialect;
//! use mxoe::time::Time;
//!
//! let open = |last: u8| {
//!     let nic = NicAddr::new([2, 0, 0, 0, 0, last]);
//!     let address = Address::new(nic, EndpointId::new(1));
//!     let mut endpoint = Endpoint::new(Config::new(address, 0x1234, last.into()));
//!     endpoint.set_path(Time::ZERO, PathId::SWITCH, PathProfile::new(Dialect::DEFAULT, 1 << 20));
//!     (address, endpoint)
//! };
//! let ((a, mut at_a), (b, mut at_b)) = (open(0xa), open(0xb));
//! let now = Time::ZERO;
//! at_a.connect(now, Connect { to: b, key: 0x1234, deadline: None, token: 7 })?;
//!
//! let carry = |from: &mut Endpoint, nic, to: &mut Endpoint| {
//!     while let Some(frame) = from.poll_transmit(now, PathId::SWITCH) {
//!         let (head, len) = (&*frame.head, frame.head.len());
//!         let arrival = Arrival { path: PathId::SWITCH, from: nic, head, len, offer: None };
//!         to.handle_frame(now, arrival).expect("the engine emits what it can parse");
//!     }
//! };
//! carry(&mut at_a, a.nic, &mut at_b);
//! carry(&mut at_b, b.nic, &mut at_a);
//! assert!(matches!(at_a.poll_event(), Some(Event::Connected { token: 7, .. })));
//! assert!(matches!(at_b.poll_event(), Some(Event::PartnerArrived { .. })));
//! # Ok::<(), mxoe::engine::Status>(())
//! ```

// Peers' bytes decide what happens here.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod ack;
mod arrive;
mod brief;
mod config;
mod connect;
mod counters;
mod date;
mod event;
mod handle;
mod hold;
mod ids;
mod incoming;
mod nack;
mod outgoing;
mod partner;
mod paths;
mod probe;
mod pull;
mod queue;
mod receive;
mod region;
mod reply;
mod request;
mod resend;
mod short;
mod store;
mod take;
mod timing;
mod transmit;
mod window;

#[cfg(test)]
mod tests;

pub use config::{Config, Limits, Numbering, PathProfile, Timers};
pub use counters::{Counters, Ignored};
pub use event::{
    Arrival, ClaimedReceive, Connect, Envelope, Event, FetchFailed, Filter, Gone, Held, Placement,
    Receive, Send, SendMode, Slice, Space, Status, Target, Transmit,
};
pub use ids::{OfferId, PartnerId, PathId, PullId, RegionId, RequestId, StoreId, UnexpectedId};
pub use short::{Delivered, ReadyNow, SentNow};
pub use take::{Brought, Taken};

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::addr::{Address, SessionId};
use crate::matching::Matcher;
use crate::matching::arena::{Arena, Key};
use crate::matching::hash::{Keyed, splitmix};
use crate::time::Time;

use brief::Briefs;
use connect::Connecting;
use date::Unheeded;
use incoming::Incoming;
use outgoing::Outgoing;
use partner::Partner;
use pull::{Pull, Slots};
use receive::Receiver;
use region::Regions;
use reply::Job;
use store::Store;
use timing::Schedule;
use transmit::Path;

/// One MX endpoint. See the [module](self).
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    counters: Counters,
    /// Not closed.
    open: bool,
    /// Where random numbers come from.
    random: u64,
    /// The last partner epoch given out.
    epochs: u64,
    /// By number; the driver numbers them densely.
    paths: Vec<Option<Path>>,
    /// Partners that are reached by another path than `SWITCH`, by packed address; as the driver says.
    routes: HashMap<u64, PathId, Keyed>,
    partners: Arena<Partner>,
    /// By packed address.
    by_address: HashMap<u64, Key, Keyed>,
    connecting: Arena<Connecting>,
    outgoing: Arena<Outgoing>,
    briefs: Briefs,
    regions: Regions,
    receivers: Arena<Receiver>,
    incoming: Arena<Incoming>,
    matcher: Matcher<Key, Key, PartnerId>,
    store: Store,
    pulls: Arena<Pull>,
    slots: Slots,
    jobs: Arena<Job>,
    schedule: Schedule,
    events: VecDeque<Event>,
    /// Messages sent at once that have been acknowledged.
    delivered: VecDeque<Delivered>,
    /// Partners that may be owed an acknowledgement.
    owing: Vec<Key>,
    /// Partners to which messages went out without a date.
    undated: Vec<Key>,
    /// The last message that was taken at once.
    unheeded: Option<Unheeded>,
    /// Something may wait to be transmitted.
    stirred: bool,
    /// Partners whose next message was dropped for want of room.
    refused: Vec<Key>,
    /// How many partners are owed an acknowledgement.
    owed: usize,
    /// Messages that count against `Limits::unexpected_messages`.
    stored: usize,
    /// Messages that are incomplete or before their turn.
    partial: usize,
    /// Requests with a deadline.
    deadlines: usize,
    /// Of sends whose deadlines are moved when they get on.
    patience: BTreeMap<Key, request::Patience>,
}

impl Endpoint {
    /// Opens an endpoint. It sends nothing before it is given a path.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut random = config.seed;
        let keyed = Keyed::new(splitmix(&mut random));
        let matcher = Matcher::new(splitmix(&mut random));
        let [uses, ..] = splitmix(&mut random).to_be_bytes();
        Self {
            regions: Regions::new(config.limits.rendezvous, uses),
            slots: Slots::new(config.limits.pulls),
            config,
            counters: Counters::default(),
            open: true,
            random,
            epochs: 0,
            paths: Vec::new(),
            routes: HashMap::with_hasher(keyed),
            partners: Arena::default(),
            by_address: HashMap::with_hasher(keyed),
            connecting: Arena::default(),
            outgoing: Arena::default(),
            briefs: Briefs::default(),
            receivers: Arena::default(),
            incoming: Arena::default(),
            matcher,
            store: Store::default(),
            pulls: Arena::default(),
            jobs: Arena::default(),
            schedule: Schedule::default(),
            events: VecDeque::new(),
            delivered: VecDeque::new(),
            owing: Vec::new(),
            undated: Vec::new(),
            unheeded: None,
            stirred: false,
            refused: Vec::new(),
            owed: 0,
            stored: 0,
            partial: 0,
            deadlines: 0,
            patience: BTreeMap::new(),
        }
    }

    /// What happened, or what the driver has to do; `None` when there is nothing more.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let Some(Event::StoreFreed { id }) = event {
            self.store.release(id);
            self.room();
        }
        event
    }

    /// Whether [`poll_event`](Self::poll_event) has anything to tell.
    #[inline]
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The oldest message sent by [`send_now`](Self::send_now) that has been acknowledged, and was not told of; `None` when there is none.
    #[inline]
    pub fn poll_delivered(&mut self) -> Option<Delivered> {
        self.delivered.pop_front()
    }

    fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Nothing is under way, half received, half pulled or owed, and no deadline is set: the driver may sleep until
    /// there is a frame or a call, without a timer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outgoing.is_empty()
            && self.briefs.is_empty()
            && self.connecting.is_empty()
            && self.pulls.is_empty()
            && self.jobs.is_empty()
            && self.owed == 0
            && self.unheeded.is_none()
            && self.partial == 0
            && self.deadlines == 0
    }

    /// What was counted since the endpoint was opened.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the endpoint was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where a partner is; `None` for a handle that names none.
    #[must_use]
    #[inline]
    pub fn address_of(&self, partner: PartnerId) -> Option<Address> {
        let key = partner.find(&self.partners)?;
        Some(self.partners[key].address)
    }

    /// The partner at an address, if it was ever met.
    #[must_use]
    pub fn find_partner(&self, address: Address) -> Option<PartnerId> {
        let key = self.by_address.get(&partner::packed(address))?;
        Some(self.partners[*key].id)
    }

    /// Whether a partner can be sent to.
    #[must_use]
    pub fn is_connected(&self, partner: PartnerId) -> bool {
        let key = partner.find(&self.partners);
        key.is_some_and(|key| self.partners[key].is_open())
    }

    /// When something last came from a partner that can be sent to.
    #[must_use]
    pub fn heard_from(&self, partner: PartnerId) -> Option<Time> {
        let partner = &self.partners[partner.find(&self.partners)?];
        partner.is_open().then_some(partner.heard)
    }

    /// The random number of the partner's present opening; `None` while it is not connected.
    #[must_use]
    pub fn session_of(&self, partner: PartnerId) -> Option<SessionId> {
        let key = partner.find(&self.partners)?;
        self.partners[key].session()
    }

    /// The path that frames to a partner take.
    #[must_use]
    pub fn path_of(&self, partner: PartnerId) -> Option<PathId> {
        let key = partner.find(&self.partners)?;
        Some(self.partners[key].path)
    }

    /// Bytes of the unexpected store in use.
    #[must_use]
    pub fn store_bytes(&self) -> u64 {
        self.store.bytes()
    }
}
