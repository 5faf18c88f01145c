//! How MyriXen guests and back ends meet: pages, doorbells, death.
pub mod bell;
mod handover;
mod meeting;
pub mod message;
mod waitset;
pub use bell::{Drained, Ringer, Waiter};
pub use handover::{Handover, HandoverError};
pub use meeting::{
    Credentials, DirectEnds, GuestLink, Heard, Identity, LinkState, MAX_QUEUED, MAX_UNANSWERED,
    Meeting, Owner, PeerFault, PortEnd, SetupError,
};
pub use waitset::{Interest, Ready, WaitSet, Waker};
