//! How MyriXen guests and back ends meet: pages, doorbells, death.
pub mod bell;
pub mod message;
mod waitset;
pub use bell::{Drained, Ringer, Waiter};
pub use waitset::{Interest, Ready, WaitSet, Waker};
