//! The process platform: a guest is a process or a container on this host.
//!
//! The meeting place is a `SOCK_SEQPACKET` Unix socket. The handshake crosses it; requests, replies and notices then use the *control
//! ring*, a queue pair whose records are messages; descriptors follow on the socket, just before the message they belong to. The hang-up
//! of the socket is the death of the other side. Nothing here leaves a name in any file system but the listener's own.

// Peers' bytes are read here.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)
)]

mod attachment;
pub(crate) mod control;
mod embedded;
mod error;
pub(crate) mod handles;
mod handshake;
pub(crate) mod link;
mod listener;
mod socket;
#[cfg(test)]
mod tests;

pub use attachment::{Answer, Attachment, MAX_IN_FLIGHT, News};
pub use embedded::{Connector, EmbeddedMeeting, embedded};
pub use error::{AttachError, RequestError};
pub use handles::{DirectHandles, PeerIdentity, PortHandles};
pub use handshake::{Attached, Handshake, HelloOptions};
pub use link::ProcessLink;
pub use listener::Listener;

/// Where a back end listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/myrixen/myrixen.sock";
/// The environment variable that tells programs where the back end listens.
pub const SOCKET_VARIABLE: &str = "MYRIXEN_SOCKET";
