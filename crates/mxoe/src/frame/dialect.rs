//! The two dialects, and every size that follows from them (specification, sections 7.2 and 7.4).

use std::fmt;
use std::str::FromStr;

/// The size a native dialect is configured for: the largest frame in bytes, Ethernet header
/// included, frame check sequence not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mtu(u16);

impl Mtu {
    /// The smallest one: a SMALL of 128 bytes and every head fit with room to spare.
    pub const MIN: Self = Self(256);
    /// What the reference peer is built for unless told otherwise.
    pub const DEFAULT: Self = Self(9000);
    /// What a tunnel over an Ethernet of 9000 bytes carries, whatever is around the frame in it (36 or 56 bytes by VXLAN), and over a cloud's of 8896.
    pub const TUNNELLED: Self = Self(8800);
    /// The other common value: what an Ethernet of standard frames carries.
    pub const STANDARD: Self = Self(1500);

    /// A size in bytes, at least [`Mtu::MIN`]; `None` below it.
    #[must_use]
    pub const fn new(bytes: u16) -> Option<Self> {
        if bytes < Self::MIN.0 {
            None
        } else {
            Some(Self(bytes))
        }
    }

    /// The size in bytes, 256..=65535.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// How MEDIUM and PULL are laid out and how large payloads are. Nothing on the wire announces it: both
/// ends are configured alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// The layout of the original MX firmware; needs frames of 4144 bytes.
    Compat,
    /// Open-MX's own layout, for frames of up to `mtu` bytes.
    Native {
        /// The largest frame.
        mtu: Mtu,
    },
    /// The native layout in frames longer than a wire's, between two ends that have agreed on it: fragments fill their frames. Of no wire, and so
    /// of no specification.
    Wide {
        /// The largest frame.
        mtu: Mtu,
    },
}

/// Head bytes of a MEDIUM frame, Ethernet header included.
const MEDIUM_HEAD: u32 = 48;
/// The longest eager message in wide frames: what the longest narrow ones of 9000 bytes can carry.
const LONGEST_WIDE: u32 = 256 << 10;
/// Head bytes of a PULL_REPLY frame, Ethernet header included.
const PULL_REPLY_HEAD: u32 = 32;

impl Dialect {
    /// The native dialect for frames of 9000 bytes.
    pub const DEFAULT: Self = Self::Native { mtu: Mtu::DEFAULT };

    /// F: payload bytes of a full MEDIUM fragment. Fragment `i` begins at byte `i * F` of its message.
    #[must_use]
    pub const fn fragment_payload(self) -> u32 {
        match self {
            Self::Compat => 4096,
            Self::Native { mtu } => match (mtu.0 as u32).saturating_sub(MEDIUM_HEAD) {
                small @ ..=4096 => small,
                4097..=8191 => 4096,
                8192.. => 8192,
            },
            Self::Wide { mtu } => (mtu.0 as u32).saturating_sub(MEDIUM_HEAD),
        }
    }

    /// The most payload bytes that the reference peer accepts in a MEDIUM fragment.
    #[must_use]
    pub const fn largest_fragment(self) -> u32 {
        self.fragment_payload().next_power_of_two()
    }

    /// The most fragments a sender may cut a MEDIUM message into.
    #[must_use]
    pub const fn fragments_per_message(self) -> u32 {
        match self {
            Self::Compat => 8,
            Self::Native { .. } | Self::Wide { .. } => Self::FRAGMENT_NUMBERS,
        }
    }

    /// Fragments are numbered below this in both dialects: receivers keep a 32-bit map.
    pub const FRAGMENT_NUMBERS: u32 = 32;

    /// The longest message, in bytes, that may be sent as MEDIUM; longer ones go by rendezvous.
    #[must_use]
    pub const fn max_medium(self) -> u32 {
        let most = self
            .fragments_per_message()
            .saturating_mul(self.fragment_payload());
        match self {
            Self::Wide { .. } if most > LONGEST_WIDE => LONGEST_WIDE,
            _ => most,
        }
    }

    /// The longest MEDIUM message, in bytes, that the format can express and a receiver must bear.
    #[must_use]
    pub const fn max_medium_received(self) -> u32 {
        match self {
            Self::Compat => 65535,
            Self::Native { .. } | Self::Wide { .. } => self.max_medium(),
        }
    }

    /// P: payload bytes of a full PULL_REPLY.
    #[must_use]
    pub const fn pull_payload(self) -> u32 {
        match self {
            Self::Compat => 4096,
            Self::Native { mtu } | Self::Wide { mtu } => {
                (mtu.0 as u32).saturating_sub(PULL_REPLY_HEAD)
            }
        }
    }

    /// K: the most frames one PULL may ask for.
    #[must_use]
    pub const fn pull_block_frames(self) -> u32 {
        match self {
            Self::Compat => 8,
            Self::Native { .. } | Self::Wide { .. } => 32,
        }
    }

    /// P times K: the most bytes one PULL may ask for.
    #[must_use]
    pub const fn pull_block_bytes(self) -> u32 {
        self.pull_payload().saturating_mul(self.pull_block_frames())
    }

    /// The longest frame in bytes, Ethernet header included.
    #[must_use]
    pub const fn max_frame(self) -> u32 {
        match self {
            Self::Compat => 4096 + MEDIUM_HEAD,
            Self::Native { mtu } | Self::Wide { mtu } => mtu.0 as u32,
        }
    }

    /// Whether a NOTIFY is answered with a LIBACK at once: MX firmware older than 1.2.5 needs it
    /// (section 6.3).
    #[must_use]
    pub const fn acknowledges_notify_at_once(self) -> bool {
        matches!(self, Self::Compat)
    }
}

impl fmt::Display for Dialect {
    /// Writes what [`Dialect::from_str`] reads: `compat` or `native:9000`. The wide one is not read: nobody configures it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compat => f.write_str("compat"),
            Self::Native { mtu } => write!(f, "native:{}", mtu.0),
            Self::Wide { mtu } => write!(f, "wide:{}", mtu.0),
        }
    }
}

/// Why a text names no dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a dialect is `compat`, `native` or `native:MTU` with an MTU of 256 to 65535 bytes")]
pub struct BadDialect;

impl FromStr for Dialect {
    type Err = BadDialect;

    fn from_str(text: &str) -> Result<Self, BadDialect> {
        match text.split_once(':') {
            None if text == "compat" => Ok(Self::Compat),
            None if text == "native" => Ok(Self::DEFAULT),
            Some(("native", mtu)) => {
                let mtu = mtu.parse().ok().and_then(Mtu::new).ok_or(BadDialect)?;
                Ok(Self::Native { mtu })
            }
            _ => Err(BadDialect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(mtu: u16) -> Dialect {
        Dialect::Native {
            mtu: Mtu::new(mtu).unwrap(),
        }
    }

    #[test]
    fn sizes_are_those_of_the_specification() {
        // dialect, F, largest fragment, fragments, P, K, P*K, frame
        for (dialect, f, largest, fragments, p, k, block, frame) in [
            (Dialect::Compat, 4096, 4096, 8, 4096, 8, 32768, 4144),
            (native(9000), 8192, 8192, 32, 8968, 32, 286_976, 9000),
            (native(8800), 8192, 8192, 32, 8768, 32, 280_576, 8800),
            (native(1500), 1452, 2048, 32, 1468, 32, 46976, 1500),
            (native(4144), 4096, 4096, 32, 4112, 32, 131_584, 4144),
            (native(8239), 4096, 4096, 32, 8207, 32, 262_624, 8239),
            (native(8240), 8192, 8192, 32, 8208, 32, 262_656, 8240),
        ] {
            assert_eq!(dialect.fragment_payload(), f, "{dialect}");
            assert_eq!(dialect.largest_fragment(), largest, "{dialect}");
            assert_eq!(dialect.fragments_per_message(), fragments, "{dialect}");
            assert_eq!(dialect.max_medium(), f * fragments, "{dialect}");
            assert_eq!(dialect.pull_payload(), p, "{dialect}");
            assert_eq!(dialect.pull_block_frames(), k, "{dialect}");
            assert_eq!(dialect.pull_block_bytes(), block, "{dialect}");
            assert_eq!(dialect.max_frame(), frame, "{dialect}");
        }
    }

    #[test]
    fn wide_fragments_fill_their_frames() {
        let wide = Dialect::Wide {
            mtu: Mtu::new(65535).unwrap(),
        };
        assert_eq!(wide.fragment_payload(), 65535 - MEDIUM_HEAD);
        assert_eq!(wide.max_medium(), LONGEST_WIDE);
        assert_eq!(wide.pull_payload(), native(65535).pull_payload());
        assert!(wide.to_string().parse::<Dialect>().is_err());
    }

    #[test]
    fn no_frame_outgrows_the_mtu() {
        for mtu in Mtu::MIN.get()..=u16::MAX {
            let dialect = native(mtu);
            assert!(dialect.fragment_payload() + MEDIUM_HEAD <= u32::from(mtu));
            assert!(dialect.pull_payload() + PULL_REPLY_HEAD <= u32::from(mtu));
        }
    }

    #[test]
    fn a_dialect_is_read_as_it_is_written() {
        for dialect in [Dialect::Compat, native(256), native(1500), native(65535)] {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
        }
        assert_eq!("native".parse(), Ok(native(9000)));
        for text in [
            "",
            "Compat",
            "compat:9000",
            "native:",
            "native:255",
            "native:65536",
        ] {
            assert_eq!(text.parse::<Dialect>(), Err(BadDialect), "{text}");
        }
    }
}
