//! Packet types.

use super::WireError;

/// The packet types we take part in (specification, section 2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// To and from discovery daemons.
    Raw = 1,
    /// Asks a board for its name.
    HostQuery = 3,
    /// Tells a board's name.
    HostReply = 4,
    /// Carries a LIBACK: an explicit acknowledgement.
    Truc = 35,
    /// Request or reply of the handshake.
    Connect = 36,
    /// A message of at most 32 bytes.
    Tiny = 37,
    /// A message of at most 128 bytes.
    Small = 38,
    /// A fragment of a message.
    Medium = 39,
    /// Announces a large message.
    Rndv = 40,
    /// Asks for a block of a large message.
    Pull = 41,
    /// A piece of a large message.
    PullReply = 42,
    /// Says that a large message has been pulled.
    Notify = 43,
    /// Rejects a packet of the library.
    NackLib = 44,
    /// Rejects a PULL.
    NackMcp = 45,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Raw,
        Self::HostQuery,
        Self::HostReply,
        Self::Truc,
        Self::Connect,
        Self::Tiny,
        Self::Small,
        Self::Medium,
        Self::Rndv,
        Self::Pull,
        Self::PullReply,
        Self::Notify,
        Self::NackLib,
        Self::NackMcp,
    ];

    /// The packet type with this number.
    ///
    /// # Errors
    /// [`WireError::UnknownKind`] for the numbers of the MX firmware and for those of nobody.
    #[inline]
    pub const fn from_wire(number: u8) -> Result<Self, WireError> {
        Ok(match number {
            1 => Self::Raw,
            3 => Self::HostQuery,
            4 => Self::HostReply,
            35 => Self::Truc,
            36 => Self::Connect,
            37 => Self::Tiny,
            38 => Self::Small,
            39 => Self::Medium,
            40 => Self::Rndv,
            41 => Self::Pull,
            42 => Self::PullReply,
            43 => Self::Notify,
            44 => Self::NackLib,
            45 => Self::NackMcp,
            other => return Err(WireError::UnknownKind(other)),
        })
    }

    /// The number in frames.
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// The specification's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "RAW",
            Self::HostQuery => "HOST_QUERY",
            Self::HostReply => "HOST_REPLY",
            Self::Truc => "TRUC",
            Self::Connect => "CONNECT",
            Self::Tiny => "TINY",
            Self::Small => "SMALL",
            Self::Medium => "MEDIUM",
            Self::Rndv => "RNDV",
            Self::Pull => "PULL",
            Self::PullReply => "PULL_REPLY",
            Self::Notify => "NOTIFY",
            Self::NackLib => "NACK_LIB",
            Self::NackMcp => "NACK_MCP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_map_to_kinds_and_back() {
        let known = (0..=u8::MAX).filter_map(|n| Kind::from_wire(n).ok());
        assert!(known.eq(Kind::ALL));
        for kind in Kind::ALL {
            assert_eq!(Kind::from_wire(kind.to_wire()), Ok(kind));
        }
        assert_eq!(Kind::from_wire(2), Err(WireError::UnknownKind(2)));
    }
}
