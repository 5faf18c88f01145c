//! One MX endpoint as a pure state machine: no I/O, no clock, no payload, no threads.

mod config;
mod counters;
mod event;
mod ids;

pub use config::{Config, Limits, Numbering, PathProfile, Timers};
pub use counters::{Counters, Ignored};
pub use event::{
    Arrival, ClaimedReceive, Connect, Envelope, Event, FetchFailed, Filter, Gone, Placement,
    Receive, Send, SendMode, Slice, Space, Status, Target, Transmit,
};
pub use ids::{OfferId, PartnerId, PathId, PullId, RegionId, RequestId, StoreId, UnexpectedId};

use crate::addr::Address;
use crate::frame::WireError;
use crate::time::Time;

/// One MX endpoint.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    counters: Counters,
}

#[allow(clippy::needless_pass_by_value, unused_variables, clippy::unused_self)]
impl Endpoint {
    /// Opens an endpoint.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            counters: Counters::default(),
        }
    }
    /// Adds a path or replaces one (the back end came back): what was in flight on it is due at once.
    pub fn set_path(&mut self, now: Time, path: PathId, profile: PathProfile) {}
    /// The path is gone; partners routed over it fall back to SWITCH, what was in flight is due at once.
    pub fn drop_path(&mut self, now: Time, path: PathId) {}
    /// Frames to this partner address take `path` from now on.
    pub fn route(&mut self, now: Time, to: Address, path: PathId) {}
    /// The back end says that this endpoint or board is gone for good: fail what is pending to it.
    pub fn peer_gone(&mut self, now: Time, who: Gone) {}
    /// Connects.
    ///
    /// # Errors
    /// A [`Status`].
    pub fn connect(&mut self, now: Time, connect: Connect) -> Result<RequestId, Status> {
        Err(Status::Closed)
    }
    /// No new sends to this partner.
    pub fn disconnect(&mut self, now: Time, partner: PartnerId) {}
    /// Sends.
    ///
    /// # Errors
    /// A [`Status`].
    pub fn send(&mut self, now: Time, send: Send) -> Result<RequestId, Status> {
        Err(Status::Closed)
    }
    /// Receives.
    ///
    /// # Errors
    /// A [`Status`].
    pub fn receive(&mut self, now: Time, receive: Receive) -> Result<RequestId, Status> {
        Err(Status::Closed)
    }
    /// Takes a request back if nothing has happened for it yet.
    pub fn cancel(&mut self, now: Time, request: RequestId) -> bool {
        false
    }
    /// The oldest unexpected message that matches.
    pub fn probe(&mut self, filter: &Filter) -> Option<Envelope> {
        None
    }
    /// Takes that message out of matching.
    pub fn claim(&mut self, filter: &Filter) -> Option<(UnexpectedId, Envelope)> {
        None
    }
    /// Receives a claimed (or announced) message.
    ///
    /// # Errors
    /// A [`Status`].
    pub fn receive_claimed(
        &mut self,
        now: Time,
        id: UnexpectedId,
        into: ClaimedReceive,
    ) -> Result<RequestId, Status> {
        Err(Status::Closed)
    }
    /// Throws a claimed (or announced) message away.
    pub fn discard(&mut self, now: Time, id: UnexpectedId) {}
    /// When the request is to fail.
    pub fn set_deadline(&mut self, request: RequestId, deadline: Option<Time>) {}
    /// No new requests; pending acknowledgements go out with the next `poll_transmit`; the rest fails.
    pub fn close(&mut self, now: Time) {}
    /// The driver is about to sleep: acknowledge what is owed, do not wait for data to ride on.
    pub fn flush_acks(&mut self, now: Time) {}
    /// A frame has arrived.
    ///
    /// # Errors
    /// A [`WireError`] for a frame that cannot be read; it is counted already.
    pub fn handle_frame(
        &mut self,
        now: Time,
        arrival: Arrival<'_>,
    ) -> Result<Option<Placement>, WireError> {
        Ok(None)
    }
    /// How a fetch went.
    pub fn fetched(&mut self, now: Time, pull: PullId, result: Result<(), FetchFailed>) {}
    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time) {}
    /// When to call `handle_timeout`.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        None
    }
    /// The next frame for a path that has room for one.
    pub fn poll_transmit(&mut self, now: Time, path: PathId) -> Option<Transmit> {
        None
    }
    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    /// Nothing is unacknowledged, half received, half pulled or owed: the driver may sleep without a timer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        true
    }
    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
    /// What the endpoint was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// Where a partner is.
    #[must_use]
    pub fn address_of(&self, partner: PartnerId) -> Option<Address> {
        None
    }
}
