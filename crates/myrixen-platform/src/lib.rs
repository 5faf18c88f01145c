//! How MyriXen guests and back ends meet: pages, doorbells, death.
//!
//! A *guest* attaches to a *back end*, is handed shared pages and doorbells, and both notice when the other is gone:
//! `docs/control-plane.md` is the protocol. The back end sees guests through the traits [`Meeting`] and [`GuestLink`], whatever the
//! platform; a program sees an [`Attachment`](process::Attachment), whoever answers its socket.
//!
//! This crate moves no frames, decides nothing about who may talk to whom, and starts no threads.
//!
//! ```
//! use myrixen_platform::message::{Dialect, GuestLimits, Mac, Name, Profile, VERSION, Welcome};
//! use myrixen_platform::process::{self, HelloOptions};
//! use myrixen_platform::{Heard, Meeting};
//!
//! let (mut meeting, connector) = process::embedded()?;
//! let mut handshake = connector.connect(HelloOptions::default())?;
//!
//! // The back end's part:
//! let mut guest = meeting.accept()?.expect("a guest has arrived");
//! let Some(Heard::Hello(hello)) = guest.hear()? else { panic!("it says Hello first") };
//! let name = |wish: Option<Name>, or: &str| wish.map_or_else(|| Name::new(or), Ok);
//! guest.welcome(&Welcome {
//!     version: hello.version.common(VERSION).expect("the same version"),
//!     features: 0,
//!     mac: Mac::new([2, 0, 0, 0, 0, 1]),
//!     board: name(hello.wish.board, "host")?,
//!     partition: name(hello.wish.partition, "default")?,
//!     profile: Profile { dialect: Dialect::Native, mtu: 9000 },
//!     limits: GuestLimits { ports: 8, directs: 64, ring_bytes: 1 << 20 },
//!     ticket: None,
//! })?;
//!
//! // The guest's:
//! let (attachment, welcome) = handshake.poll()?.expect("welcomed by now");
//! assert_eq!(welcome.board.as_str(), "host");
//! assert!(!attachment.is_lost());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

pub mod bell;
mod clock;
mod crowding;
mod handover;
mod meeting;
pub mod memory;
pub mod message;
mod policy;
mod polling;
pub mod process;
mod sys;
mod waitset;
#[cfg(feature = "xen")]
pub mod xen;
// Any program may be handed event channels and granted pages; the rest is for those that ask for the feature.
#[cfg(not(feature = "xen"))]
#[allow(dead_code, unreachable_pub, unused_imports)]
mod xen;

pub use bell::{BellKind, Drained, Ringer, Waiter};
pub use clock::Clock;
pub use crowding::Crowding;
pub use handover::{Handover, HandoverError, SharedPool};
pub use meeting::{
    Credentials, DirectEnds, DomainDevice, GuestLink, Heard, Identity, LinkState, MAX_QUEUED,
    MAX_UNANSWERED, Meeting, Owner, PeerFault, PortEnd, SetupError,
};
pub use policy::{Grant, Names, Policy, Rule, Usage, Wanted, Who};
pub use polling::Polling;
pub use waitset::{Interest, MOST_UNDRAINED, Ready, WaitSet, Waker};
