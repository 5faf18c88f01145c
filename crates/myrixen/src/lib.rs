//! MX message passing for programs in virtual machines, containers and hosts.
//!
//! A program joins the [`Fabric`], opens an [`Endpoint`], connects to others by their [`Address`], and
//! exchanges messages that are told apart by 64 bits of match information. Where the other end is, on this host
//! or across the network, makes no difference to the program.
//!
//! This crate never speaks to a hypervisor or a network card: it joins an engine (`mxoe`) to the rings that the
//! back end, or the agent in a virtual machine, hands it. It has no unsafe code.
//!
//! ```
//! use std::time::Duration;
//! use myrixen::{EndpointOptions, Fabric, Match};
//!
//! # fn main() -> myrixen::Result<()> {
//! let fabric = Fabric::embedded()?;
//! let server = fabric.open(EndpointOptions::default().key(7))?;
//! let client = fabric.open(EndpointOptions::default())?;
//!
//! let peer = client.connect(server.address(), 7, Duration::from_secs(5))?;
//! client.send(&peer, 1, b"ping")?;
//!
//! let mut buffer = [0; 16];
//! let got = server.recv(Match::exact(1), &mut buffer)?;
//! assert_eq!(&buffer[..got.len], b"ping");
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod address;
mod adopt;
mod binding;
mod buffer;
mod channels;
mod core;
mod door;
mod driver;
#[cfg(feature = "embedded")]
mod embedded;
mod ended;
mod endpoint;
mod error;
mod fabric;
mod fetch;
mod future;
mod handle;
mod home;
#[cfg(feature = "embedded")]
mod inline;
mod later;
mod lending;
mod look;
mod mailbox;
mod message;
mod offer;
mod options;
mod pace;
mod path;
mod posted;
mod progress;
mod queue;
#[cfg(feature = "tokio")]
mod reactor;
mod region;
mod request;
mod rounds;
mod shared;
mod short;
mod shorts;
mod standby;
mod straight;
mod unexpected;
mod waiting;
mod wanted;

pub use binding::{Ended, Launch, Reaper, Space};
pub use buffer::{Foreign, RecvBuffer, SendBuffer};
pub use door::{Door, Guest};
#[cfg(feature = "embedded")]
pub use embedded::{Embedded, Inside};
pub use endpoint::Endpoint;
pub use error::{Error, Result, Status, UnknownRequest};
pub use fabric::{Board, Builder, Fabric, OwnBoard};
pub use future::RequestFuture;
pub use handle::{RecvRequest, SendRequest};
pub use message::{Match, PathKind, Peer, Pending, Received};
pub use mxoe::addr::{Address, EndpointId, NicAddr};
pub use mxoe::engine::Counters;
pub use mxoe::frame::Dialect;
#[cfg(feature = "embedded")]
pub use myrixen_link as link;
pub use myrixen_platform::message::{FailReason, OpenPort, RefusalReason};
pub use myrixen_platform::process::{AttachError, DEFAULT_SOCKET, SOCKET_VARIABLE};
pub use myrixen_shm::{Handed, PoolBuf};
pub use options::EndpointOptions;
pub use path::Wait;
pub use posted::{Completes, Connecting, Outgoing, RequestId};
pub use queue::{Completion, End, Peeked};
#[cfg(feature = "tokio")]
pub use reactor::TokioDriver;
pub use request::Kind;
pub use shorts::INLINE;
pub use unexpected::{Unexpected, Verdict};
