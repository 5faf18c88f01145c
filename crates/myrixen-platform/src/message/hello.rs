//! The handshake: Hello, and Welcome or Refused.

use std::fmt;

use myrixen_ring::{Support, Terms};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::{Header, body, invalid, kind};
use super::words::{RawName, RawProbe, RawSupport, RawTerms, RawText, RawTicket};
use super::{Mac, MemoryProbe, MessageError, Name, Serial, Text, Ticket, VERSION, Version};

/// Bit of [`Welcome::features`]: ports outlive the connection that opened them. A guest that attaches again says
/// [`AdoptPort`](super::Request::AdoptPort) for those that still work.
pub const PORTS_STAY: u64 = 1;

/// First 8 bytes of a Hello's body: a stranger that speaks something else is told apart from a guest.
const MAGIC: [u8; 8] = *b"MYRXCTL\0";

/// What a guest would like to be; `None` leaves it to the back end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The board's name, with or without its number (`name` is `name:0`).
    pub board: Option<Name>,
    /// The partition.
    pub partition: Option<Name>,
}

/// What a guest says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version the guest speaks.
    pub version: Version,
    /// Feature bits of the control plane; none are defined in 1.0.
    pub features: u64,
    /// What the guest can do of the ring ABI.
    pub ring: Support,
    /// Who it would like to be.
    pub wish: Wish,
    /// From an earlier attachment.
    pub ticket: Option<Ticket>,
    /// Where its partners may try to read its memory; `None` when they shall not.
    pub memory: Option<MemoryProbe>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHello {
    magic: [u8; 8],
    major: U16,
    minor: U16,
    reserved: U32,
    features: U64,
    ring: RawSupport,
    board: RawName,
    partition: RawName,
    ticket: RawTicket,
    memory: RawProbe,
}
const _: () = assert!(size_of::<RawHello>() == 32 + 160 + 258 + 24);

impl Hello {
    /// The message, with the number of things handed over (the guest's pool: 0 or 1).
    pub fn emit(&self, handed: u8) -> Vec<u8> {
        let raw = RawHello {
            magic: MAGIC,
            major: self.version.major().into(),
            minor: self.version.minor().into(),
            reserved: 0.into(),
            features: self.features.into(),
            ring: RawSupport::of(&self.ring),
            board: RawName::of(self.wish.board.as_ref()),
            partition: RawName::of(self.wish.partition.as_ref()),
            ticket: RawTicket::of(self.ticket.as_ref()),
            memory: RawProbe::of(self.memory.as_ref()),
        };
        let header = Header {
            kind: kind::HELLO,
            answer: false,
            handed,
            serial: Serial::new(0),
        };
        header.emit(raw.as_bytes())
    }

    /// The version of the control plane to speak with this guest.
    ///
    /// # Errors
    /// The [`Refusal`] to send when there is none.
    pub fn agree(&self) -> Result<Version, Refusal> {
        let ours = Support::OURS.agree(self.ring);
        match (VERSION.common(self.version), ours) {
            (Some(version), Ok(_)) => Ok(version),
            _ => Err(Refusal::new(
                RefusalReason::Version,
                format_args!(
                    "the guest speaks control protocol {} and ring ABI {}, the back end {VERSION} and {}; \
                     upgrade the older one",
                    self.version,
                    self.ring.version,
                    Support::OURS.version
                ),
            )),
        }
    }

    /// Parses a Hello, and tells how many things were handed over with it.
    ///
    /// # Errors
    /// [`MessageError`] when the bytes are not a well-formed Hello. A Hello of another major
    /// version is well-formed: the back end refuses it with a reason.
    pub fn parse(bytes: &[u8]) -> Result<(Self, u8), MessageError> {
        let header = Header::parse(bytes)?;
        if header.kind != kind::HELLO || header.answer {
            return Err(MessageError::OutOfPlace { kind: header.kind });
        }
        let (raw, _) = body::<RawHello>(kind::HELLO, bytes)?;
        if raw.magic != MAGIC {
            return Err(invalid(kind::HELLO, "magic"));
        }
        let bad = |field| move |()| invalid(kind::HELLO, field);
        let hello = Self {
            version: Version::new(raw.major.get(), raw.minor.get()),
            features: raw.features.get(),
            ring: raw.ring.parse(),
            wish: Wish {
                board: raw.board.parse().map_err(bad("board name"))?,
                partition: raw.partition.parse().map_err(bad("partition name"))?,
            },
            ticket: raw.ticket.parse().map_err(bad("ticket"))?,
            memory: raw.memory.parse(),
        };
        Ok((hello, header.handed))
    }
}

/// Which of the two MXoE dialects a partition speaks (wire.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// As Open-MX in MX wire mode.
    Compat,
    /// As Open-MX between its own kind.
    Native,
}

/// What all members of a partition use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The dialect.
    pub dialect: Dialect,
    /// The largest frame on the switched path in bytes, without the Ethernet header.
    pub mtu: u32,
}

/// What a guest may have; the back end refuses more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestLimits {
    /// Open ports at once.
    pub ports: u16,
    /// Direct channels at once.
    pub directs: u16,
    /// Capacity of one ring in bytes.
    pub ring_bytes: u32,
}

/// A guest is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that will be spoken.
    pub version: Version,
    /// The features that will be used.
    pub features: u64,
    /// The board's address.
    pub mac: Mac,
    /// The board's name as MX shows it, such as `name:0`.
    pub board: Name,
    /// Its partition.
    pub partition: Name,
    /// What its partition speaks.
    pub profile: Profile,
    /// What it may have.
    pub limits: GuestLimits,
    /// To be shown at the next attachment.
    pub ticket: Option<Ticket>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawWelcome {
    major: U16,
    minor: U16,
    ports: U16,
    directs: U16,
    features: U64,
    ring_bytes: U32,
    mtu: U32,
    mac: [u8; 6],
    dialect: u8,
    reserved: u8,
    control: RawTerms,
    board: RawName,
    partition: RawName,
    ticket: RawTicket,
}
const _: () = assert!(size_of::<RawWelcome>() == 32 + 16 + 160 + 258);

impl Welcome {
    /// The message. `control` are the terms of the control ring; `handed` counts its pages and bells.
    pub fn emit(&self, control: &Terms, handed: u8) -> Vec<u8> {
        let raw = RawWelcome {
            major: self.version.major().into(),
            minor: self.version.minor().into(),
            ports: self.limits.ports.into(),
            directs: self.limits.directs.into(),
            features: self.features.into(),
            ring_bytes: self.limits.ring_bytes.into(),
            mtu: self.profile.mtu.into(),
            mac: self.mac.bytes(),
            dialect: match self.profile.dialect {
                Dialect::Compat => 1,
                Dialect::Native => 2,
            },
            reserved: 0,
            control: RawTerms::of(control),
            board: RawName::of(Some(&self.board)),
            partition: RawName::of(Some(&self.partition)),
            ticket: RawTicket::of(self.ticket.as_ref()),
        };
        let header = Header {
            kind: kind::WELCOME,
            answer: true,
            handed,
            serial: Serial::new(0),
        };
        header.emit(raw.as_bytes())
    }

    fn parse(bytes: &[u8]) -> Result<(Self, Terms), MessageError> {
        let (raw, _) = body::<RawWelcome>(kind::WELCOME, bytes)?;
        let bad = |field| invalid(kind::WELCOME, field);
        let name = |name: &RawName, field| name.parse().ok().flatten().ok_or(bad(field));
        let welcome = Self {
            version: Version::new(raw.major.get(), raw.minor.get()),
            features: raw.features.get(),
            mac: Mac::new(raw.mac),
            board: name(&raw.board, "board name")?,
            partition: name(&raw.partition, "partition name")?,
            profile: Profile {
                dialect: match raw.dialect {
                    1 => Dialect::Compat,
                    2 => Dialect::Native,
                    _ => return Err(bad("dialect")),
                },
                mtu: raw.mtu.get(),
            },
            limits: GuestLimits {
                ports: raw.ports.get(),
                directs: raw.directs.get(),
                ring_bytes: raw.ring_bytes.get(),
            },
            ticket: raw.ticket.parse().map_err(|()| bad("ticket"))?,
        };
        if welcome.version.common(VERSION) != Some(welcome.version) {
            return Err(bad("version"));
        }
        let terms = raw.control.parse().ok_or(bad("control ring"))?;
        Ok((welcome, terms))
    }
}

/// Why a guest is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// No major version in common.
    Version,
    /// The policy does not let this user attach, or not so.
    NotPermitted,
    /// There is no such partition.
    NoSuchPartition,
    /// The board's name belongs to somebody else.
    NameTaken,
    /// A limit is reached; the text names it and its setting.
    Limit,
    /// The back end is about to stop.
    Draining,
    /// Something failed in the back end.
    Internal,
    /// A reason of a later version.
    Other(u16),
}

impl RefusalReason {
    fn to_wire(self) -> u16 {
        match self {
            Self::Version => 1,
            Self::NotPermitted => 2,
            Self::NoSuchPartition => 3,
            Self::NameTaken => 4,
            Self::Limit => 5,
            Self::Draining => 6,
            Self::Internal => 7,
            Self::Other(code) => code,
        }
    }

    fn from_wire(code: u16) -> Self {
        match code {
            1 => Self::Version,
            2 => Self::NotPermitted,
            3 => Self::NoSuchPartition,
            4 => Self::NameTaken,
            5 => Self::Limit,
            6 => Self::Draining,
            7 => Self::Internal,
            code => Self::Other(code),
        }
    }

    /// Whether the same Hello may succeed a little later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Draining | Self::Limit | Self::Internal)
    }
}

/// A guest is not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// For programs.
    pub reason: RefusalReason,
    /// For people: what was refused, the limit and the setting that changes it.
    pub text: Text,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRefused {
    major: U16,
    minor: U16,
    reason: U16,
    text: RawText,
}

impl Refusal {
    /// A refusal with a sentence for people.
    pub fn new(reason: RefusalReason, text: impl fmt::Display) -> Self {
        Self {
            reason,
            text: Text::new(&text.to_string()),
        }
    }

    /// The message.
    pub fn emit(&self) -> Vec<u8> {
        let raw = RawRefused {
            major: VERSION.major().into(),
            minor: VERSION.minor().into(),
            reason: self.reason.to_wire().into(),
            text: RawText::of(&self.text),
        };
        let header = Header {
            kind: kind::REFUSED,
            answer: true,
            handed: 0,
            serial: Serial::new(0),
        };
        header.emit(raw.as_bytes())
    }
}

/// What answers a Hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Taken; with the terms of the control ring and the number of things handed over.
    Welcome(Box<Welcome>, Terms, u8),
    /// Not taken.
    Refused(Refusal),
}

impl Greeting {
    /// Parses the answer to a Hello.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let header = Header::parse(bytes)?;
        match header.kind {
            kind::WELCOME => {
                let (welcome, terms) = Welcome::parse(bytes)?;
                Ok(Self::Welcome(Box::new(welcome), terms, header.handed))
            }
            kind::REFUSED => {
                let (raw, _) = body::<RawRefused>(kind::REFUSED, bytes)?;
                Ok(Self::Refused(Refusal {
                    reason: RefusalReason::from_wire(raw.reason.get()),
                    text: raw.text.parse().ok_or(invalid(kind::REFUSED, "text"))?,
                }))
            }
            kind => Err(MessageError::OutOfPlace { kind }),
        }
    }
}
