//! What a guest asks for.

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::{Header, body, invalid, kind};
use super::words::{RawChannel, RawName};
use super::{ChannelId, Mac, MessageError, Name, PortAddress, Serial};

/// Which board is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The board with this name, with or without `:0`.
    Name(Name),
    /// The board with this address.
    Mac(Mac),
}

/// Pages that a guest brings, and the doorbell of a queue pair, on platforms where the guest's memory is shared (Xen). The
/// numbers are in the guest's own tables; who uses them says which guest it takes them to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Grant reference of the first page, which lists those of all of them (`docs/xen.md`); never 0.
    pub page: u32,
    /// The guest's event channel, unbound, for the other end to bind to; 0 with a pool.
    pub event: u32,
}

/// What a guest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A port for an endpoint. Answered by `Port`.
    OpenPort {
        /// The number wanted, `None` for any that is free on the board.
        endpoint: Option<u8>,
        /// Capacity of the ring towards the back end, in bytes, a power of two.
        forward: u32,
        /// Capacity of the ring from the back end, in bytes, a power of two.
        backward: u32,
        /// The queue pair, where guests bring it.
        brought: Option<Brought>,
    },
    /// The endpoint is closed. Answered by `Done`.
    ClosePort {
        /// The endpoint's number.
        endpoint: u8,
    },
    /// Who is this board? Answered by `Board`.
    Resolve(Query),
    /// Which boards are there? Answered by `Boards`.
    ListBoards {
        /// 0 at first, then what the last answer said.
        from: u32,
    },
    /// A direct channel to an endpoint of another guest on this host. Answered by `Direct`.
    OpenDirect {
        /// The guest's own endpoint.
        endpoint: u8,
        /// The other one.
        to: PortAddress,
        /// Capacity of the ring towards the other end, in bytes, a power of two.
        forward: u32,
        /// Capacity of the ring from the other end, in bytes, a power of two.
        backward: u32,
        /// The queue pair, where guests bring it.
        brought: Option<Brought>,
    },
    /// The direct channel is closed on this side. Answered by `Done`.
    CloseDirect {
        /// The guest's own endpoint.
        endpoint: u8,
        /// The other one.
        to: PortAddress,
        /// Which channel between them.
        channel: ChannelId,
    },
    /// After a reattachment: this channel exists already, tell me when its other end is gone.
    /// Answered by `Done`.
    AdoptDirect {
        /// The guest's own endpoint.
        endpoint: u8,
        /// The other one.
        to: PortAddress,
        /// Which channel between them.
        channel: ChannelId,
    },
    /// After a reattachment: this port is open already and stays as it is. Answered by `Done`, or by `Failed` where the back end
    /// does not have it (any more).
    AdoptPort {
        /// The endpoint's number.
        endpoint: u8,
    },
    /// Whom to grant the pages of a direct channel to this endpoint of another guest. Answered by `Grantee`.
    AskGrantee {
        /// The other end.
        to: PortAddress,
    },
    /// Memory that the other end of a direct channel can read and we can write, for messages to it. Answered by `Done`, which hands over the
    /// pages to who asked an agent.
    LendPool {
        /// The guest's own endpoint.
        endpoint: u8,
        /// The other one.
        to: PortAddress,
        /// Which channel between them.
        channel: ChannelId,
        /// Its length; a program gets less where less can be had.
        bytes: u32,
        /// The pages, where guests bring them.
        brought: Option<Brought>,
    },
    /// Which endpoints of the guest's own board are open, of all its programs, and what has passed through the back end for each. Answered by
    /// `Ports`.
    ListPorts {
        /// 0 at first, then what the last answer said.
        from: u32,
    },
    /// Which boards may a program have here without naming one? In a Xen domain those of its devices, in their order; elsewhere the guest's own.
    /// Answered by `Boards`.
    ListOwnBoards {
        /// 0 at first, then what the last answer said.
        from: u32,
    },
    /// A request of a later minor version: to be answered with `Unsupported`.
    Unknown {
        /// Its kind.
        kind: u16,
    },
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawOpenPort {
    endpoint: U16,
    reserved: U16,
    forward: U32,
    backward: U32,
}

/// `endpoint` of [`RawOpenPort`]: any number will do.
const ANY_ENDPOINT: u16 = 0xffff;

/// What follows OpenPort and OpenDirect where the guest brings the queue pair; all 0 or absent is none.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawBrought {
    page: U32,
    event: U32,
}

impl RawBrought {
    pub(super) fn of(brought: Option<Brought>) -> Self {
        Self {
            page: brought.map_or(0, |b| b.page).into(),
            event: brought.map_or(0, |b| b.event).into(),
        }
    }

    pub(super) fn get(&self) -> Option<Brought> {
        let (page, event) = (self.page.get(), self.event.get());
        (page != 0).then_some(Brought { page, event })
    }

    /// From the end of a message.
    fn after(rest: &[u8]) -> Option<Brought> {
        Self::ref_from_prefix(rest)
            .ok()
            .and_then(|(raw, _)| raw.get())
    }
}

/// `body`, and what is brought, or all 0.
fn with_brought(mut body: Vec<u8>, brought: Option<Brought>) -> Vec<u8> {
    body.extend_from_slice(RawBrought::of(brought).as_bytes());
    body
}

/// ClosePort and AdoptPort.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawClosePort {
    endpoint: u8,
    reserved: [u8; 3],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawResolve {
    by: u8,
    reserved: u8,
    mac: [u8; 6],
    name: RawName,
}

/// ListBoards, ListPorts and ListOwnBoards.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawList {
    from: U32,
}

/// OpenDirect, CloseDirect, AdoptDirect, AskGrantee, LendPool. The first has capacities there, the last a length first; else 0.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDirect {
    endpoint: u8,
    to_endpoint: u8,
    to_mac: [u8; 6],
    forward: U32,
    backward: U32,
}
const _: () = assert!(size_of::<RawOpenPort>() == 12 && size_of::<RawDirect>() == 16);

impl RawClosePort {
    fn emit(endpoint: u8) -> Vec<u8> {
        let reserved = [0; 3];
        Self { endpoint, reserved }.as_bytes().to_vec()
    }
}

impl RawDirect {
    fn emit(endpoint: u8, to: PortAddress, forward: u32, backward: u32) -> Vec<u8> {
        let raw = Self {
            endpoint,
            to_endpoint: to.endpoint,
            to_mac: to.mac.bytes(),
            forward: forward.into(),
            backward: backward.into(),
        };
        raw.as_bytes().to_vec()
    }

    fn to(&self) -> PortAddress {
        PortAddress {
            mac: Mac::new(self.to_mac),
            endpoint: self.to_endpoint,
        }
    }
}

impl Request {
    /// The message under this serial number, with the number of things handed over.
    pub fn emit(&self, serial: Serial, handed: u8) -> Vec<u8> {
        let (kind, body) = self.body();
        Header {
            kind,
            answer: false,
            handed,
            serial,
        }
        .emit(&body)
    }

    fn body(&self) -> (u16, Vec<u8>) {
        match *self {
            Self::OpenPort {
                endpoint,
                forward,
                backward,
                brought,
            } => {
                let raw = RawOpenPort {
                    endpoint: endpoint.map_or(ANY_ENDPOINT, u16::from).into(),
                    reserved: 0.into(),
                    forward: forward.into(),
                    backward: backward.into(),
                };
                let body = with_brought(raw.as_bytes().to_vec(), brought);
                (kind::OPEN_PORT, body)
            }
            Self::ClosePort { endpoint } => (kind::CLOSE_PORT, RawClosePort::emit(endpoint)),
            Self::AdoptPort { endpoint } => (kind::ADOPT_PORT, RawClosePort::emit(endpoint)),
            Self::AskGrantee { to } => (kind::ASK_GRANTEE, RawDirect::emit(0, to, 0, 0)),
            Self::Resolve(ref query) => {
                let (by, mac, name) = match query {
                    Query::Name(name) => (1, [0; 6], Some(name)),
                    Query::Mac(mac) => (2, mac.bytes(), None),
                };
                let raw = RawResolve {
                    by,
                    reserved: 0,
                    mac,
                    name: RawName::of(name),
                };
                (kind::RESOLVE, raw.as_bytes().to_vec())
            }
            Self::ListBoards { from } => (
                kind::LIST_BOARDS,
                RawList { from: from.into() }.as_bytes().to_vec(),
            ),
            Self::ListPorts { from } => (
                kind::LIST_PORTS,
                RawList { from: from.into() }.as_bytes().to_vec(),
            ),
            Self::ListOwnBoards { from } => (
                kind::LIST_OWN_BOARDS,
                RawList { from: from.into() }.as_bytes().to_vec(),
            ),
            Self::OpenDirect {
                endpoint,
                to,
                forward,
                backward,
                brought,
            } => {
                let body = RawDirect::emit(endpoint, to, forward, backward);
                (kind::OPEN_DIRECT, with_brought(body, brought))
            }
            Self::CloseDirect {
                endpoint,
                to,
                channel,
            } => {
                let body = RawDirect::emit(endpoint, to, 0, 0);
                (kind::CLOSE_DIRECT, RawChannel::follow(body, channel))
            }
            Self::AdoptDirect {
                endpoint,
                to,
                channel,
            } => {
                let body = RawDirect::emit(endpoint, to, 0, 0);
                (kind::ADOPT_DIRECT, RawChannel::follow(body, channel))
            }
            Self::LendPool {
                endpoint,
                to,
                channel,
                bytes,
                brought,
            } => {
                let body = RawDirect::emit(endpoint, to, bytes, 0);
                let body = RawChannel::follow(body, channel);
                (kind::LEND_POOL, with_brought(body, brought))
            }
            Self::Unknown { kind } => (kind, Vec::new()),
        }
    }

    /// Parses a request; also gives its serial number and how many things were handed over with it.
    ///
    /// # Errors
    /// [`MessageError`] when the bytes are not a well-formed request.
    pub fn parse(bytes: &[u8]) -> Result<(Serial, Self, u8), MessageError> {
        let header = Header::parse(bytes)?;
        if header.answer || header.kind == kind::HELLO {
            return Err(MessageError::OutOfPlace { kind: header.kind });
        }
        Ok((
            header.serial,
            Self::parse_body(header.kind, bytes)?,
            header.handed,
        ))
    }

    fn parse_body(kind: u16, bytes: &[u8]) -> Result<Self, MessageError> {
        Ok(match kind {
            kind::OPEN_PORT => {
                let (raw, rest) = body::<RawOpenPort>(kind, bytes)?;
                let endpoint = match raw.endpoint.get() {
                    ANY_ENDPOINT => None,
                    n => Some(u8::try_from(n).map_err(|_| invalid(kind, "endpoint"))?),
                };
                let (forward, backward) = (raw.forward.get(), raw.backward.get());
                Self::OpenPort {
                    endpoint,
                    forward,
                    backward,
                    brought: RawBrought::after(rest),
                }
            }
            kind::CLOSE_PORT => Self::ClosePort {
                endpoint: body::<RawClosePort>(kind, bytes)?.0.endpoint,
            },
            kind::RESOLVE => {
                let (raw, _) = body::<RawResolve>(kind, bytes)?;
                Self::Resolve(match (raw.by, raw.name.parse()) {
                    (1, Ok(Some(name))) => Query::Name(name),
                    (2, _) => Query::Mac(Mac::new(raw.mac)),
                    _ => return Err(invalid(kind, "board")),
                })
            }
            kind::LIST_BOARDS => Self::ListBoards {
                from: body::<RawList>(kind, bytes)?.0.from.get(),
            },
            kind::LIST_PORTS => Self::ListPorts {
                from: body::<RawList>(kind, bytes)?.0.from.get(),
            },
            kind::LIST_OWN_BOARDS => Self::ListOwnBoards {
                from: body::<RawList>(kind, bytes)?.0.from.get(),
            },
            kind::ADOPT_PORT => Self::AdoptPort {
                endpoint: body::<RawClosePort>(kind, bytes)?.0.endpoint,
            },
            kind::ASK_GRANTEE => Self::AskGrantee {
                to: body::<RawDirect>(kind, bytes)?.0.to(),
            },
            kind::LEND_POOL => {
                let (raw, rest) = body::<RawDirect>(kind, bytes)?;
                let (channel, rest) = RawChannel::split(rest);
                Self::LendPool {
                    endpoint: raw.endpoint,
                    to: raw.to(),
                    channel,
                    bytes: raw.forward.get(),
                    brought: RawBrought::after(rest),
                }
            }
            kind::OPEN_DIRECT | kind::CLOSE_DIRECT | kind::ADOPT_DIRECT => {
                let (raw, rest) = body::<RawDirect>(kind, bytes)?;
                let (endpoint, to) = (raw.endpoint, raw.to());
                match kind {
                    kind::CLOSE_DIRECT => Self::CloseDirect {
                        endpoint,
                        to,
                        channel: RawChannel::after(rest),
                    },
                    kind::ADOPT_DIRECT => Self::AdoptDirect {
                        endpoint,
                        to,
                        channel: RawChannel::after(rest),
                    },
                    _ => {
                        let (forward, backward) = (raw.forward.get(), raw.backward.get());
                        Self::OpenDirect {
                            endpoint,
                            to,
                            forward,
                            backward,
                            brought: RawBrought::after(rest),
                        }
                    }
                }
            }
            kind => Self::Unknown { kind },
        })
    }
}
