//! What operators ask the MyriXen daemon: requests, replies and counters, as types that travel as
//! one JSON value a line over a Unix socket, and a small blocking [`Client`].
//!
//! The crate opens no socket but the client's, keeps no state and never sees a frame. Fields are
//! added, never renamed: a newer daemon's reply parses in an older tool, which ignores what it does
//! not know, and the other way round a field that is missing takes its default.
//!
//! ```
//! use myrixen_control::{Reply, Request};
//!
//! let line = myrixen_control::encode(&Request::Status).unwrap();
//! assert_eq!(line, "{\"request\":\"status\"}\n");
//! let reply: Reply = myrixen_control::decode(r#"{"reply":"done"}"#).unwrap();
//! assert!(matches!(reply, Reply::Done));
//! ```
#![forbid(unsafe_code)]

mod client;
mod counters;
mod message;
mod metrics;
mod status;
pub mod text;

pub use client::{Client, ClientError};
pub use counters::{DropCounts, DropReason, GuestCounters, PortCounters, UplinkCounters};
pub use message::{MAX_REPLY, MAX_REQUEST, Reply, Request, decode, encode};
pub use metrics::prometheus;
pub use status::{
    Board, Direct, Guest, Partition, Peer, Port, Snapshot, Status, Uplink, UplinkPartition,
    WorkerStatus,
};
