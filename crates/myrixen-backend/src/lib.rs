//! The MyriXen back end: many guests' rings, a frame switch between them and the uplinks, and who may
//! do what.
//!
//! The *control side* takes guests in, answers what they ask and runs discovery; *workers* move frames.
//! A back end keeps no connection: losing it loses only frames in flight, which engines resend.
//!
//! It never looks into a message, trusts no guest and no frame of the wire, and has no command line and no
//! globals: several back ends can run in one process. See [`Backend`] for an example.
#![forbid(unsafe_code)]

mod backend;
pub mod boards;
mod clock;
mod config;
mod control;
pub mod discovery;
pub mod ids;
mod mailbox;
mod meter;
mod quota;
mod sched;
pub mod secret;
mod switch;
pub mod ticket;
mod worker;

pub use backend::{Backend, Handle, StartError};
pub use clock::Clock;
pub use config::{BackendConfig, ConfigError, HostConfig, Limits, PartitionConfig, UplinkConfig};
pub use quota::Quota;
pub use worker::{Activity, Rest, Worker};
