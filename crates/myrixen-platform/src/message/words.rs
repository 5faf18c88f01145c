//! The small types that control messages are made of.

use std::fmt;
use std::str::FromStr;

use myrixen_ring::{Capacity, Features, Layout, Support, Terms, Version as RingVersion};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A version of the control plane. Majors must be equal, of the minors the lower one is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u16,
    minor: u16,
}

impl Version {
    /// `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The major number.
    pub const fn major(self) -> u16 {
        self.major
    }

    /// The minor number.
    pub const fn minor(self) -> u16 {
        self.minor
    }

    /// The version that both speak, or `None` when the majors differ.
    pub fn common(self, other: Self) -> Option<Self> {
        (self.major == other.major).then(|| Self::new(self.major, self.minor.min(other.minor)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Names a request: the guest counts, the reply carries the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Serial(u64);

impl Serial {
    /// The serial number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// As a plain number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Names a direct channel, so that late news of it is not taken for news of the next one between the same endpoints. Whoever brokers a
/// channel gives it one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(u64);

impl ChannelId {
    /// Whichever there is: said where no number is known.
    pub const ANY: Self = Self(0);

    /// The channel number `n`; 0 is [`ANY`](Self::ANY).
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// As a plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number for the next channel.
    #[must_use]
    pub const fn next(self) -> Self {
        let next = self.0.wrapping_add(1);
        Self(if next == 0 { 1 } else { next })
    }

    /// Whether both may mean the same channel.
    #[must_use]
    pub fn may_be(self, other: Self) -> bool {
        self == other || self == Self::ANY || other == Self::ANY
    }
}

/// At the end of messages about a direct channel; absent is [`ChannelId::ANY`].
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawChannel(U64);

impl RawChannel {
    /// A message's body, and the channel at its end.
    pub(super) fn follow(mut body: Vec<u8>, channel: ChannelId) -> Vec<u8> {
        body.extend_from_slice(Self(channel.0.into()).as_bytes());
        body
    }

    /// From the end of a message.
    pub(super) fn after(rest: &[u8]) -> ChannelId {
        Self::split(rest).0
    }

    /// Also gives what follows it.
    pub(super) fn split(rest: &[u8]) -> (ChannelId, &[u8]) {
        Self::ref_from_prefix(rest).map_or((ChannelId::ANY, &[]), |(raw, rest)| {
            (ChannelId(raw.0.get()), rest)
        })
    }
}

/// The MAC address of a board.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address with these bytes, first byte first on the wire.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes, in wire order.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl From<[u8; 6]> for Mac {
    fn from(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }
}

impl From<Mac> for [u8; 6] {
    fn from(mac: Mac) -> Self {
        mac.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no [`Mac`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not six octets such as 02:00:00:00:00:01")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    /// Reads `02:00:00:00:00:0a`; a leading 0 may be missing.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(MacError)?;
            // from_str_radix alone would take a sign.
            if part.len() > 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(MacError),
        }
    }
}

/// An endpoint of the fabric: a board's MAC and the endpoint's number on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortAddress {
    /// The board.
    pub mac: Mac,
    /// The endpoint's number on the board, 0..=255.
    pub endpoint: u8,
}

impl fmt::Display for PortAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mac, self.endpoint)
    }
}

/// The longest [`Name`] in bytes: what an MX host name may have (80 with its terminator).
pub(super) const NAME_BYTES: usize = 80;

/// Why a text cannot be a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No byte at all.
    #[error("a name cannot be empty")]
    Empty,
    /// More than 79 bytes.
    #[error("a name of {0} bytes is too long, at most 79 are allowed")]
    TooLong(usize),
    /// White space or a control character.
    #[error("a name cannot contain {0:?}")]
    Character(char),
}

/// The name of a board or of a partition: 1 to 79 bytes of UTF-8, no white space, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks a text.
    ///
    /// # Errors
    /// [`NameError`] tells what is wrong with it.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() >= NAME_BYTES {
            return Err(NameError::TooLong(text.len()));
        }
        match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            Some(c) => Err(NameError::Character(c)),
            None => Ok(Self(text)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A name in a message: UTF-8, ended by the first 0 byte; all 0 is no name.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawName([u8; NAME_BYTES]);

impl RawName {
    /// `Err` when the bytes are no name; `Ok(None)` when there is none.
    pub(super) fn parse(&self) -> Result<Option<Name>, ()> {
        let end = self.0.iter().position(|&b| b == 0).ok_or(())?;
        if end == 0 {
            return Ok(None);
        }
        let text = std::str::from_utf8(self.0.get(..end).ok_or(())?).map_err(|_| ())?;
        Name::new(text).map(Some).map_err(|_| ())
    }

    pub(super) fn of(name: Option<&Name>) -> Self {
        let mut raw = [0; NAME_BYTES];
        for (to, from) in raw.iter_mut().zip(name.map_or("", Name::as_str).bytes()) {
            *to = from;
        }
        Self(raw)
    }
}

/// The longest [`Text`] in bytes.
pub(super) const TEXT_BYTES: usize = 400;

/// A sentence for a person: at most 400 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Text(String);

impl Text {
    /// Makes any text fit: control characters become spaces, what is too long is cut.
    pub fn new(text: &str) -> Self {
        let mut fit = String::with_capacity(text.len().min(TEXT_BYTES));
        for c in text.chars() {
            if fit.len().saturating_add(c.len_utf8()) > TEXT_BYTES {
                break;
            }
            fit.push(if c.is_control() { ' ' } else { c });
        }
        Self(fit)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A [`Text`] in a message.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawText {
    len: U16,
    bytes: [u8; TEXT_BYTES],
}

impl RawText {
    /// `None` when the bytes are no text. A peer's text is made harmless, not refused.
    pub(super) fn parse(&self) -> Option<Text> {
        let bytes = self.bytes.get(..usize::from(self.len.get()))?;
        std::str::from_utf8(bytes).ok().map(Text::new)
    }

    pub(super) fn of(text: &Text) -> Self {
        let mut bytes = [0; TEXT_BYTES];
        for (to, from) in bytes.iter_mut().zip(text.0.bytes()) {
            *to = from;
        }
        let len = u16::try_from(text.0.len()).unwrap_or(0);
        Self {
            len: len.into(),
            bytes,
        }
    }
}

/// The longest [`Ticket`] in bytes.
pub(super) const TICKET_BYTES: usize = 256;

/// What a guest shows to get its board back from a back end that was restarted. Opaque to the guest;
/// the back end protects it with a key of the host.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(Vec<u8>);

impl Ticket {
    /// The longest ticket in bytes.
    pub const MAX: usize = TICKET_BYTES;

    /// A ticket of these bytes; `None` when empty or longer than [`Ticket::MAX`].
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (1..=TICKET_BYTES)
            .contains(&bytes.len())
            .then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    /// A ticket gives access: only its length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({} bytes)", self.0.len())
    }
}

/// A [`Ticket`] in a message; length 0 is none.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawTicket {
    len: U16,
    bytes: [u8; TICKET_BYTES],
}

impl RawTicket {
    pub(super) fn parse(&self) -> Result<Option<Ticket>, ()> {
        let bytes = self.bytes.get(..usize::from(self.len.get())).ok_or(())?;
        Ok(Ticket::new(bytes.to_vec()))
    }

    pub(super) fn of(ticket: Option<&Ticket>) -> Self {
        let mut bytes = [0; TICKET_BYTES];
        let held = ticket.map_or(&[][..], Ticket::as_bytes);
        for (to, from) in bytes.iter_mut().zip(held) {
            *to = *from;
        }
        Self {
            len: u16::try_from(held.len()).unwrap_or(0).into(),
            bytes,
        }
    }
}

/// Where in a guest's memory a secret lies, so that another guest can find out whether the kernel lets it read
/// there (see [`crate::memory`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MemoryProbe {
    /// Address of the 16 bytes in the guest's process.
    pub address: u64,
    /// What they are.
    pub cookie: [u8; 16],
}

impl fmt::Debug for MemoryProbe {
    /// Addresses and cookies of a process do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryProbe")
    }
}

/// A [`MemoryProbe`] in a message; address 0 is none.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawProbe {
    address: U64,
    cookie: [u8; 16],
}

impl RawProbe {
    pub(super) fn parse(&self) -> Option<MemoryProbe> {
        let address = self.address.get();
        (address != 0).then_some(MemoryProbe {
            address,
            cookie: self.cookie,
        })
    }

    pub(super) fn of(probe: Option<&MemoryProbe>) -> Self {
        probe.map_or(
            Self {
                address: 0.into(),
                cookie: [0; 16],
            },
            |p| Self {
                address: p.address.into(),
                cookie: p.cookie,
            },
        )
    }
}

/// A version and features of the ring ABI in a message.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawSupport {
    major: U16,
    minor: U16,
    features: U32,
}

impl RawSupport {
    pub(super) fn parse(&self) -> Support {
        Support {
            version: RingVersion {
                major: self.major.get(),
                minor: self.minor.get(),
            },
            features: Features::from_bits_retain(self.features.get()),
        }
    }

    pub(super) fn of(support: &Support) -> Self {
        Self {
            major: support.version.major.into(),
            minor: support.version.minor.into(),
            features: support.features.bits().into(),
        }
    }
}

/// What both ends of a queue pair have agreed on, in a message.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawTerms {
    support: RawSupport,
    forward: U32,
    backward: U32,
}

impl RawTerms {
    /// `None`: no ring has such a capacity.
    pub(super) fn parse(&self) -> Option<Terms> {
        let forward = Capacity::new(self.forward.get()).ok()?;
        let backward = Capacity::new(self.backward.get()).ok()?;
        let layout = Layout::new(forward, backward);
        Some(Terms {
            layout,
            support: self.support.parse(),
        })
    }

    pub(super) fn of(terms: &Terms) -> Self {
        let [forward, backward] = terms.layout.capacities();
        Self {
            support: RawSupport::of(&terms.support),
            forward: forward.bytes().into(),
            backward: backward.bytes().into(),
        }
    }
}
