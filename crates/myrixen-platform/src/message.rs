//! Control messages: what a guest and its back end say to each other.
//!
//! Each message has a fixed little-endian layout (`layout`) and a meaning (the types here). Parsing
//! trusts nothing: every length, number and text is checked, and the result owns its bytes. `emit`
//! undoes `parse`. The version rule (`docs/control-plane.md`, "Versions"): a message that is longer than
//! known is accepted and the rest ignored, an unknown request is answered `Unsupported`, an unknown notice is ignored.

// Peers' bytes are read here.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::panic
    )
)]

mod hello;
mod layout;
mod notice;
mod reply;
mod request;
#[cfg(test)]
mod tests;
mod words;

pub use hello::{
    Dialect, GuestLimits, Hello, PORTS_STAY, Profile, Refusal, RefusalReason, Welcome, Wish,
};
pub use layout::MAX_MESSAGE;
pub use notice::{Lent, Notice};
pub use reply::{
    BOARDS_PER_REPLY, Board, DirectPeer, FailReason, Failure, OpenPort, PORTS_PER_REPLY, Place,
    Reply,
};
pub use request::{Brought, Query, Request};
pub use words::{
    ChannelId, Mac, MacError, MemoryProbe, Name, NameError, PortAddress, Serial, Text, Ticket,
    Version,
};

pub(crate) use hello::Greeting;
pub(crate) use layout::{HEADER_BYTES, Header, kind};

/// The version of the control plane that this library speaks.
pub const VERSION: Version = Version::new(1, 0);

/// Why bytes are not a control message. The reader treats it as a fault of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Fewer bytes than the layout of this kind has.
    #[error("control message of kind {kind:#06x} has {have} bytes, {need} are needed")]
    Truncated {
        /// The kind in the header, 0 when not even the header was complete.
        kind: u16,
        /// Bytes that arrived.
        have: usize,
        /// Bytes of the layout.
        need: usize,
    },
    /// The length in the header is not what arrived.
    #[error("control message says {says} bytes, {have} arrived")]
    Length {
        /// The header's length field.
        says: u32,
        /// Bytes that arrived.
        have: usize,
    },
    /// More than [`MAX_MESSAGE`].
    #[error("control message of {have} bytes, at most {MAX_MESSAGE} are allowed")]
    TooLong {
        /// Bytes that arrived.
        have: usize,
    },
    /// A message that does not belong here (a reply to nobody, a second Hello).
    #[error("control message of kind {kind:#06x} is out of place here")]
    OutOfPlace {
        /// The kind in the header.
        kind: u16,
    },
    /// A field holds a value that this kind does not allow.
    #[error("control message of kind {kind:#06x} has an invalid {field}")]
    Invalid {
        /// The kind in the header.
        kind: u16,
        /// The field's name in the layout.
        field: &'static str,
    },
}

/// What the back end says to a guest once it is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Downward {
    /// The answer to the request of that serial number.
    Reply(Serial, Reply),
    /// Something happened.
    Notice(Serial, Notice),
    /// A message of a later minor version that is not an answer: to be ignored.
    Unknown(u16),
}

impl Downward {
    /// Parses a message of the control ring, back end to guest, and tells how many
    /// things were handed over with it.
    ///
    /// # Errors
    /// [`MessageError`] when the bytes are not a well-formed message.
    pub fn parse(bytes: &[u8]) -> Result<(Self, u8), MessageError> {
        let header = Header::parse(bytes)?;
        let said = if header.answer {
            Self::Reply(header.serial, Reply::parse(header.kind, bytes)?)
        } else {
            match Notice::parse(header.kind, bytes)? {
                Some(notice) => Self::Notice(header.serial, notice),
                None => Self::Unknown(header.kind),
            }
        };
        Ok((said, header.handed))
    }
}
