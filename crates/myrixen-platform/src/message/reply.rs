//! What the back end answers.

use std::fmt;

use myrixen_ring::Terms;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::{HEADER_BYTES, Header, MAX_MESSAGE, body, invalid, kind};
use super::words::{RawChannel, RawName, RawProbe, RawTerms, RawText};
use super::{ChannelId, Mac, MemoryProbe, MessageError, Name, PortAddress, Serial, Text};

/// How many boards one `Boards` reply can carry.
pub const BOARDS_PER_REPLY: usize = 8;

/// How many ports one `Ports` reply can carry.
pub const PORTS_PER_REPLY: usize = 16;

/// Where a board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A guest of this host: direct channels are possible.
    Local,
    /// Behind an uplink.
    Remote,
}

/// A board of the fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its address.
    pub mac: Mac,
    /// Where it is.
    pub place: Place,
    /// Its name as MX shows it, such as `host:0`; `None` when not known yet.
    pub name: Option<Name>,
}

/// An open endpoint of the guest's board, and what has passed through the back end for it since it was opened. Direct channels do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenPort {
    /// The endpoint's number.
    pub endpoint: u8,
    /// Process id of the program that has it, in the back end's process-id namespace; 0 when not known.
    pub pid: u32,
    /// Frames that it has sent, those that were dropped included.
    pub sent_frames: u64,
    /// Their bytes, Ethernet heads included.
    pub sent_bytes: u64,
    /// Frames that it was given.
    pub received_frames: u64,
    /// Their bytes, Ethernet heads included.
    pub received_bytes: u64,
    /// How often it was told that what it addressed is not open.
    pub nacks: u64,
    /// Frames that it has sent and that were dropped, for whatever reason.
    pub dropped: u64,
}

/// The other end of a direct channel, as the back end vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectPeer {
    /// Its address.
    pub address: PortAddress,
    /// Process id of the other guest's program, in the back end's process-id namespace; 0 when not known.
    pub pid: u32,
    /// User id of that program.
    pub uid: u32,
    /// Where to try whether its memory can be read.
    pub memory: Option<MemoryProbe>,
    /// What the two rings are; this guest is the front end of a channel that it opened,
    /// the back end of one that it was offered.
    pub terms: Terms,
    /// Which channel between the two it is.
    pub channel: ChannelId,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// The back end does not know this request.
    Unsupported,
    /// The request makes no sense.
    Invalid,
    /// No such board, endpoint or channel.
    NotFound,
    /// The endpoint number is in use.
    InUse,
    /// A limit is reached; the text names it and its setting.
    Limit,
    /// The policy forbids it.
    NotPermitted,
    /// There is no such way between the two: use the switched path.
    NoDirectPath,
    /// The back end is about to stop.
    Draining,
    /// Something failed in the back end.
    Internal,
    /// A reason of a later version.
    Other(u16),
}

impl FailReason {
    fn to_wire(self) -> u16 {
        match self {
            Self::Unsupported => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::InUse => 4,
            Self::Limit => 5,
            Self::NotPermitted => 6,
            Self::NoDirectPath => 7,
            Self::Draining => 8,
            Self::Internal => 9,
            Self::Other(code) => code,
        }
    }

    fn from_wire(code: u16) -> Self {
        match code {
            1 => Self::Unsupported,
            2 => Self::Invalid,
            3 => Self::NotFound,
            4 => Self::InUse,
            5 => Self::Limit,
            6 => Self::NotPermitted,
            7 => Self::NoDirectPath,
            8 => Self::Draining,
            9 => Self::Internal,
            code => Self::Other(code),
        }
    }
}

/// A request failed, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// For programs.
    pub reason: FailReason,
    /// For people.
    pub text: Text,
}

impl Failure {
    /// A failure with a sentence for people.
    pub fn new(reason: FailReason, text: impl fmt::Display) -> Self {
        Self {
            reason,
            text: Text::new(&text.to_string()),
        }
    }
}

/// What the back end answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// It cannot be done.
    Failed(Failure),
    /// The port is open; pages and two bells are handed over.
    Port {
        /// The endpoint's number.
        endpoint: u8,
        /// The rings; the guest is their front end.
        terms: Terms,
    },
    /// The board asked for.
    Board(Board),
    /// Some boards.
    Boards {
        /// At most [`BOARDS_PER_REPLY`].
        boards: Vec<Board>,
        /// Ask on from here; `None` when these were the last.
        next: Option<u32>,
    },
    /// The direct channel is open; pages, two bells, and the peer's pool if it has one, are handed over.
    Direct(DirectPeer),
    /// Whom to grant the pages of a direct channel to.
    Grantee {
        /// A domain id of Xen.
        domain: u16,
    },
    /// Some open endpoints of the guest's board.
    Ports {
        /// At most [`PORTS_PER_REPLY`].
        ports: Vec<OpenPort>,
        /// Ask on from here; `None` when these were the last.
        next: Option<u32>,
    },
    /// A reply of a later version: a failure of sorts.
    Unknown {
        /// Its kind.
        kind: u16,
    },
}

/// At most so many of a list, from a place on, and where those begin that are left.
fn part<T>(all: impl Iterator<Item = T>, from: u32, most: usize) -> (Vec<T>, Option<u32>) {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let mut some: Vec<T> = all.skip(from).take(most.saturating_add(1)).collect();
    let more = some.len() > most;
    some.truncate(most);
    let next = u32::try_from(from.saturating_add(some.len())).ok();
    (some, next.filter(|_| more))
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFailed {
    reason: U16,
    text: RawText,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPort {
    endpoint: u8,
    reserved: [u8; 3],
    terms: RawTerms,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBoard {
    mac: [u8; 6],
    place: u8,
    reserved: u8,
    name: RawName,
}

/// What Boards and Ports begin with.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawList {
    count: U32,
    /// 0: these were the last.
    next: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawOpenPort {
    endpoint: u8,
    reserved: [u8; 3],
    pid: U32,
    /// In the order in which [`OpenPort`] has them.
    counts: [U64; 6],
}
const _: () = assert!(
    size_of::<RawOpenPort>() == 56
        && HEADER_BYTES + size_of::<RawList>() + PORTS_PER_REPLY * size_of::<RawOpenPort>()
            <= MAX_MESSAGE
);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawPeer {
    endpoint: u8,
    reserved: u8,
    mac: [u8; 6],
    pid: U32,
    uid: U32,
    memory: RawProbe,
    terms: RawTerms,
}
const _: () = assert!(size_of::<RawBoard>() == 88 && size_of::<RawPeer>() == 56);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawGrantee {
    domain: U16,
    reserved: U16,
}

impl RawBoard {
    fn of(board: &Board) -> Self {
        Self {
            mac: board.mac.bytes(),
            place: match board.place {
                Place::Local => 1,
                Place::Remote => 2,
            },
            reserved: 0,
            name: RawName::of(board.name.as_ref()),
        }
    }

    fn parse(&self, kind: u16) -> Result<Board, MessageError> {
        Ok(Board {
            mac: Mac::new(self.mac),
            place: match self.place {
                1 => Place::Local,
                2 => Place::Remote,
                _ => return Err(invalid(kind, "place")),
            },
            name: self
                .name
                .parse()
                .map_err(|()| invalid(kind, "board name"))?,
        })
    }
}

impl RawList {
    /// A list, `most` at most, with what follows its head.
    fn with<T, R: IntoBytes + Immutable>(
        all: &[T],
        next: Option<u32>,
        most: usize,
        raw: impl Fn(&T) -> R,
    ) -> Vec<u8> {
        assert!(all.len() <= most, "{} in a list of {most}", all.len());
        let head = Self {
            count: u32::try_from(all.len()).unwrap_or(0).into(),
            next: next.unwrap_or(0).into(),
        };
        let mut bytes = head.as_bytes().to_vec();
        for one in all {
            bytes.extend_from_slice(raw(one).as_bytes());
        }
        bytes
    }

    /// Reads the same: the list, and where to ask on.
    fn parse<T, R: FromBytes + KnownLayout + Immutable + Unaligned>(
        kind: u16,
        bytes: &[u8],
        most: usize,
        parse: impl Fn(&R) -> Result<T, MessageError>,
    ) -> Result<(Vec<T>, Option<u32>), MessageError> {
        let (head, mut rest) = body::<Self>(kind, bytes)?;
        let count = usize::try_from(head.count.get()).unwrap_or(usize::MAX);
        if count > most {
            return Err(invalid(kind, "count"));
        }
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let (one, after) = R::ref_from_prefix(rest).map_err(|_| invalid(kind, "count"))?;
            all.push(parse(one)?);
            rest = after;
        }
        let next = head.next.get();
        Ok((all, (next != 0).then_some(next)))
    }
}

impl RawOpenPort {
    fn of(port: &OpenPort) -> Self {
        let counts = [
            port.sent_frames,
            port.sent_bytes,
            port.received_frames,
            port.received_bytes,
            port.nacks,
            port.dropped,
        ];
        Self {
            endpoint: port.endpoint,
            reserved: [0; 3],
            pid: port.pid.into(),
            counts: counts.map(U64::from),
        }
    }

    fn parse(&self) -> OpenPort {
        let [
            sent_frames,
            sent_bytes,
            received_frames,
            received_bytes,
            nacks,
            dropped,
        ] = self.counts.map(U64::get);
        OpenPort {
            endpoint: self.endpoint,
            pid: self.pid.get(),
            sent_frames,
            sent_bytes,
            received_frames,
            received_bytes,
            nacks,
            dropped,
        }
    }
}

impl RawPeer {
    pub(super) fn of(peer: &DirectPeer) -> Self {
        Self {
            endpoint: peer.address.endpoint,
            reserved: 0,
            mac: peer.address.mac.bytes(),
            pid: peer.pid.into(),
            uid: peer.uid.into(),
            memory: RawProbe::of(peer.memory.as_ref()),
            terms: RawTerms::of(&peer.terms),
        }
    }

    pub(super) fn parse(&self, kind: u16, channel: ChannelId) -> Result<DirectPeer, MessageError> {
        Ok(DirectPeer {
            address: PortAddress {
                mac: Mac::new(self.mac),
                endpoint: self.endpoint,
            },
            pid: self.pid.get(),
            uid: self.uid.get(),
            memory: self.memory.parse(),
            terms: self.terms.parse().ok_or(invalid(kind, "terms"))?,
            channel,
        })
    }
}

impl Reply {
    /// As many boards of a list as one reply carries, from a place on.
    pub fn boards(all: impl Iterator<Item = Board>, from: u32) -> Self {
        let (boards, next) = part(all, from, BOARDS_PER_REPLY);
        Self::Boards { boards, next }
    }

    /// As many ports of a list as one reply carries, from a place on.
    pub fn ports(all: impl Iterator<Item = OpenPort>, from: u32) -> Self {
        let (ports, next) = part(all, from, PORTS_PER_REPLY);
        Self::Ports { ports, next }
    }

    /// The message that answers the request of this serial number, with the number of things handed over.
    ///
    /// # Panics
    /// On more than [`BOARDS_PER_REPLY`] boards or [`PORTS_PER_REPLY`] ports: a mistake of the caller.
    pub fn emit(&self, serial: Serial, handed: u8) -> Vec<u8> {
        let (kind, body) = self.body();
        Header {
            kind,
            answer: true,
            handed,
            serial,
        }
        .emit(&body)
    }

    fn body(&self) -> (u16, Vec<u8>) {
        match self {
            Self::Done => (kind::DONE, Vec::new()),
            Self::Failed(failure) => {
                let reason = failure.reason.to_wire().into();
                let raw = RawFailed {
                    reason,
                    text: RawText::of(&failure.text),
                };
                (kind::FAILED, raw.as_bytes().to_vec())
            }
            Self::Port { endpoint, terms } => {
                let terms = RawTerms::of(terms);
                let raw = RawPort {
                    endpoint: *endpoint,
                    reserved: [0; 3],
                    terms,
                };
                (kind::PORT, raw.as_bytes().to_vec())
            }
            Self::Board(board) => (kind::BOARD, RawBoard::of(board).as_bytes().to_vec()),
            Self::Boards { boards, next } => {
                let bytes = RawList::with(boards, *next, BOARDS_PER_REPLY, RawBoard::of);
                (kind::BOARDS, bytes)
            }
            Self::Direct(peer) => {
                let body = RawPeer::of(peer).as_bytes().to_vec();
                (kind::DIRECT, RawChannel::follow(body, peer.channel))
            }
            Self::Grantee { domain } => {
                let raw = RawGrantee {
                    domain: (*domain).into(),
                    reserved: 0.into(),
                };
                (kind::GRANTEE, raw.as_bytes().to_vec())
            }
            Self::Ports { ports, next } => {
                let bytes = RawList::with(ports, *next, PORTS_PER_REPLY, RawOpenPort::of);
                (kind::PORTS, bytes)
            }
            Self::Unknown { kind } => (*kind, Vec::new()),
        }
    }

    pub(super) fn parse(kind: u16, bytes: &[u8]) -> Result<Self, MessageError> {
        Ok(match kind {
            kind::DONE => Self::Done,
            kind::FAILED => {
                let (raw, _) = body::<RawFailed>(kind, bytes)?;
                Self::Failed(Failure {
                    reason: FailReason::from_wire(raw.reason.get()),
                    text: raw.text.parse().ok_or(invalid(kind, "text"))?,
                })
            }
            kind::PORT => {
                let (raw, _) = body::<RawPort>(kind, bytes)?;
                Self::Port {
                    endpoint: raw.endpoint,
                    terms: raw.terms.parse().ok_or(invalid(kind, "terms"))?,
                }
            }
            kind::BOARD => Self::Board(body::<RawBoard>(kind, bytes)?.0.parse(kind)?),
            kind::BOARDS => {
                let one = |raw: &RawBoard| raw.parse(kind);
                let (boards, next) = RawList::parse(kind, bytes, BOARDS_PER_REPLY, one)?;
                Self::Boards { boards, next }
            }
            kind::PORTS => {
                let one = |raw: &RawOpenPort| Ok(raw.parse());
                let (ports, next) = RawList::parse(kind, bytes, PORTS_PER_REPLY, one)?;
                Self::Ports { ports, next }
            }
            kind::DIRECT => {
                let (raw, rest) = body::<RawPeer>(kind, bytes)?;
                Self::Direct(raw.parse(kind, RawChannel::after(rest))?)
            }
            kind::GRANTEE => Self::Grantee {
                domain: body::<RawGrantee>(kind, bytes)?.0.domain.get(),
            },
            kind::WELCOME | kind::REFUSED => return Err(MessageError::OutOfPlace { kind }),
            kind => Self::Unknown { kind },
        })
    }
}
