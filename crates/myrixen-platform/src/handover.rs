//! Pages and bells on their way to another process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use myrixen_shm::{Access, Pages, Pool};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bell::{Ringer, Waiter};
use crate::message::{HEADER_BYTES, Header, Lent, MAX_MESSAGE, MessageError, Serial, kind};
use crate::xen::{EventChannel, Port};

/// Why what was handed over cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The packet that should say what the descriptors are says nothing of the kind.
    #[error("malformed handover")]
    Malformed(#[from] MessageError),
    /// It belongs to another message, or has not come although its message has.
    #[error("handover for message {expected} is missing")]
    Missing {
        /// The message's serial number.
        expected: u64,
    },
    /// Not what goes with that message.
    #[error("handover of {have} descriptors where {what} was expected")]
    Unexpected {
        /// Descriptors that came.
        have: usize,
        /// What should have come.
        what: &'static str,
    },
    /// A descriptor cannot be used as what it is said to be.
    #[error("cannot use the {what} that was handed over")]
    Unusable {
        /// What it should be.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Pages, bells and pools to be handed to a guest with a reply or notice. Made by a
/// [`GuestLink`](crate::GuestLink), and opaque to the back end. What is dropped instead of sent is closed.
#[derive(Debug, Default)]
pub struct Handover {
    pub(crate) items: Vec<Item>,
}

impl Handover {
    /// Nothing to hand over.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many things there are in it, as the message's header says.
    pub(crate) fn count(&self) -> u8 {
        u8::try_from(self.items.len()).unwrap_or(u8::MAX)
    }

    /// The one thing in it, if that is a driver's pages.
    pub(crate) fn into_device_pages(self) -> Result<(OwnedFd, u64, u64), HandoverError> {
        let have = self.items.len();
        match self.items.into_iter().next() {
            Some(Item::DevicePages { fd, offset, len }) => Ok((fd, offset, len)),
            _ => Err(HandoverError::Unexpected {
                have,
                what: "granted pages",
            }),
        }
    }

    /// The queue pair in another guest's memory, if that is what it is.
    pub(crate) fn lent(&self) -> Option<Lent> {
        self.items.iter().find_map(|item| match item {
            Item::Lent(lent) => Some(*lent),
            _ => None,
        })
    }
}

/// One thing handed over.
#[derive(Debug)]
pub(crate) enum Item {
    /// Shared memory whose size is sealed: `len` bytes from `offset`, readable and writable.
    Pages { fd: OwnedFd, offset: u64, len: u64 },
    /// The ringing end of a bell.
    Ringer(Ringer),
    /// The waiting end of a bell.
    Waiter(Waiter),
    /// A guest's pool: shared memory that others can only read.
    Pool(SharedPool),
    /// Shared memory that a kernel driver keeps: `len` bytes from `offset`; what may be done with it depends on what it is for.
    DevicePages { fd: OwnedFd, offset: u64, len: u64 },
    /// An event channel, both ends of a bell at once.
    Event(EventChannel),
    /// A queue pair in another guest's memory, told in the message itself.
    Lent(Lent),
}

/// A guest's pool as others see it: they can read it.
#[derive(Debug)]
pub struct SharedPool {
    pub(crate) fd: OwnedFd,
    pub(crate) len: u64,
}

impl SharedPool {
    /// Shares a pool.
    ///
    /// # Errors
    /// When descriptors are used up.
    pub fn new(pool: &Pool) -> std::io::Result<Self> {
        let len = u64::try_from(pool.len()).map_err(std::io::Error::other)?;
        Ok(Self {
            fd: pool.fd().try_clone_to_owned()?,
            len,
        })
    }

    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            len: self.len,
        })
    }

    /// Maps it for reading. It comes from another guest: size, seals and kind of memory are checked.
    pub(crate) fn map(&self) -> Result<Pages, HandoverError> {
        map(&self.fd, 0, self.len, Access::ReadOnly, "pool")
    }
}

/// Maps memory that somebody handed over.
pub(crate) fn map(
    fd: &OwnedFd,
    offset: u64,
    len: u64,
    access: Access,
    what: &'static str,
) -> Result<Pages, HandoverError> {
    let unusable = |source| HandoverError::Unusable { what, source };
    let len = usize::try_from(len).map_err(|_| unusable(std::io::ErrorKind::OutOfMemory.into()))?;
    Pages::map(fd, offset, len, access).map_err(unusable)
}

/// Maps memory that a kernel driver keeps. Whoever handed it over is trusted to have given a driver's descriptor.
pub(crate) fn map_device(
    fd: &OwnedFd,
    offset: u64,
    len: u64,
    access: Access,
) -> Result<Pages, HandoverError> {
    let unusable = |source| HandoverError::Unusable {
        what: "granted pages",
        source,
    };
    let len = usize::try_from(len).map_err(|_| unusable(std::io::ErrorKind::OutOfMemory.into()))?;
    Pages::map_device(fd, offset, len, access).map_err(unusable)
}

const PAGES: u16 = 1;
const RINGER: u16 = 2;
const WAITER: u16 = 3;
const POOL: u16 = 4;
const DEVICE_PAGES: u16 = 5;
const EVENT: u16 = 6;
/// Never in a packet.
const LENT: u16 = 0;

/// What a packet says about each thing; its descriptors come in the same order.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawItem {
    kind: U16,
    reserved: U16,
    reserved2: U32,
    offset: U64,
    len: U64,
}
const _: () = assert!(size_of::<RawItem>() == 24);

/// The most things in one handover: pages, two bells, a pool.
pub(crate) const MAX_ITEMS: usize = 4;
/// The most descriptors in one handover: the above, with a ringer of two.
pub(crate) const MAX_FDS: usize = 8;
const _: () = assert!(HEADER_BYTES + MAX_ITEMS * size_of::<RawItem>() <= MAX_MESSAGE);

impl Item {
    fn raw(&self) -> RawItem {
        let (kind, offset, len) = match *self {
            Self::Pages { offset, len, .. } => (PAGES, offset, len),
            Self::Ringer(_) => (RINGER, 0, 0),
            Self::Waiter(_) => (WAITER, 0, 0),
            Self::Pool(ref pool) => (POOL, 0, pool.len),
            Self::DevicePages { offset, len, .. } => (DEVICE_PAGES, offset, len),
            Self::Event(ref channel) => (EVENT, channel.local_port().get().into(), 0),
            Self::Lent(_) => (LENT, 0, 0),
        };
        RawItem {
            kind: kind.into(),
            reserved: 0.into(),
            reserved2: 0.into(),
            offset: offset.into(),
            len: len.into(),
        }
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Pages { fd, .. } | Self::DevicePages { fd, .. } => vec![fd.as_fd()],
            Self::Ringer(ringer) => ringer.fds(),
            Self::Event(channel) => vec![channel.fd()],
            Self::Lent(_) => Vec::new(),
            Self::Waiter(waiter) => vec![waiter.fd()],
            Self::Pool(pool) => vec![pool.fd.as_fd()],
        }
    }
}

/// Which message a handover belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) serial: Serial,
    pub(crate) answer: bool,
}

impl Handover {
    /// The packet's bytes.
    pub(crate) fn emit(&self, tag: Tag) -> Vec<u8> {
        assert!(
            self.items.len() <= MAX_ITEMS,
            "{} things handed over",
            self.items.len()
        );
        let mut body = Vec::new();
        for item in &self.items {
            body.extend_from_slice(item.raw().as_bytes());
        }
        let Tag { serial, answer } = tag;
        Header {
            kind: kind::HANDOVER,
            answer,
            handed: self.count(),
            serial,
        }
        .emit(&body)
    }

    /// The packet's descriptors.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.items.iter().flat_map(Item::fds).collect()
    }

    /// Puts a packet and its descriptors together again. Descriptors that are not asked for are closed.
    pub(crate) fn parse(
        bytes: &[u8],
        fds: Vec<OwnedFd>,
        expected: Tag,
    ) -> Result<Self, HandoverError> {
        let header = Header::parse(bytes)?;
        let tag = Tag {
            serial: header.serial,
            answer: header.answer,
        };
        if header.kind != kind::HANDOVER || tag != expected {
            return Err(HandoverError::Missing {
                expected: expected.serial.get(),
            });
        }
        if usize::from(header.handed) > MAX_ITEMS {
            let what = "at most four things";
            return Err(HandoverError::Unexpected {
                have: fds.len(),
                what,
            });
        }
        let mut fds = fds.into_iter();
        let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let mut items = Vec::with_capacity(usize::from(header.handed));
        for _ in 0..header.handed {
            let (raw, after) = RawItem::ref_from_prefix(rest).map_err(|_| {
                let (have, need) = (bytes.len(), bytes.len() - rest.len() + size_of::<RawItem>());
                MessageError::Truncated {
                    kind: kind::HANDOVER,
                    have,
                    need,
                }
            })?;
            items.push(raw.take(&mut fds)?);
            rest = after;
        }
        Ok(Self { items })
    }
}

impl RawItem {
    fn take(&self, fds: &mut impl Iterator<Item = OwnedFd>) -> Result<Item, HandoverError> {
        let mut next = |what| {
            fds.next()
                .ok_or(HandoverError::Unexpected { have: 0, what })
        };
        let unusable = |source| HandoverError::Unusable {
            what: "bell",
            source,
        };
        let (offset, len) = (self.offset.get(), self.len.get());
        Ok(match self.kind.get() {
            PAGES => Item::Pages {
                fd: next("pages")?,
                offset,
                len,
            },
            RINGER => {
                let (write, keep) = (next("a ringer")?, next("a ringer")?);
                Item::Ringer(Ringer::from_pipe(write, keep).map_err(unusable)?)
            }
            WAITER => Item::Waiter(Waiter::from_pipe(next("a waiter")?).map_err(unusable)?),
            POOL => Item::Pool(SharedPool {
                fd: next("a pool")?,
                len,
            }),
            DEVICE_PAGES => Item::DevicePages {
                fd: next("pages")?,
                offset,
                len,
            },
            EVENT => {
                let fd = next("an event channel")?;
                let port = u32::try_from(offset).map_err(|_| MessageError::Invalid {
                    kind: kind::HANDOVER,
                    field: "event channel",
                })?;
                Item::Event(EventChannel::from_fd(fd, Port::new(port)).map_err(unusable)?)
            }
            _ => {
                let field = "thing handed over";
                return Err(MessageError::Invalid {
                    kind: kind::HANDOVER,
                    field,
                }
                .into());
            }
        })
    }
}
