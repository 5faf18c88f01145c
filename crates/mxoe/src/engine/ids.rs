//! Handles: how the driver and the engine name things to each other.

use crate::matching::arena::{Arena, Key};

/// A way frames can take: a queue pair, as the driver numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(u16);

impl PathId {
    /// The path that leads to the back end. Every partner without a route of its own is reached by it.
    pub const SWITCH: Self = Self(0);

    /// The path with this number. The engine keeps a table as long as the largest number in use.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    pub(crate) const fn place(self) -> usize {
        self.0 as usize
    }
}

/// Memory of the program, a buffer that is sent or received into. The driver makes the number and keeps
/// the memory until the request that named it has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u32);

/// An entry of the unexpected store: bytes that arrived before their receive. The engine makes the number,
/// the driver keeps the bytes until [`Event::StoreFreed`](super::Event::StoreFreed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u32);

/// What lets the driver read the data that a rendezvous announces. The driver makes the number, and may
/// forget it after [`Event::OfferFreed`](super::Event::OfferFreed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId(pub u32);

/// A handle with the generation of its place, so that one kept too long is recognised. One word, since two that are stored one by one and loaded together
/// have a processor wait.
macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The handle as one word, for drivers that keep it as such.
            #[must_use]
            pub const fn to_u64(self) -> u64 {
                self.0
            }

            /// The handle that [`to_u64`](Self::to_u64) gave. Any other word names nothing.
            #[must_use]
            pub const fn from_u64(word: u64) -> Self {
                Self(word)
            }

            #[inline]
            const fn with(number: u32, generation: u32) -> Self {
                Self((generation as u64) << 32 | number as u64)
            }

            #[inline]
            const fn number(self) -> u32 {
                (self.0 & 0xffff_ffff) as u32
            }

            #[inline]
            const fn generation(self) -> u32 {
                (self.0 >> 32) as u32
            }

            #[allow(dead_code, reason = "not every handle is looked up")]
            pub(crate) fn of<T>(arena: &Arena<T>, key: Key) -> Self {
                Self::with(key.number(), arena.generation(key))
            }

            #[allow(dead_code, reason = "not every handle is looked up")]
            #[inline]
            pub(crate) fn find<T>(self, arena: &Arena<T>) -> Option<Key> {
                arena.find(self.number(), self.generation())
            }
        }
    };
}

handle! {
    /// A request in progress: a send, a receive or a connect. Names nothing once the event that ends it is out.
    RequestId
}

/// What a request asks for. Each kind has an arena of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Send,
    Receive,
    Connect,
}

impl RequestId {
    /// The two highest bits of the number tell the kind: no arena gets so large.
    const KIND_SHIFT: u32 = 30;

    pub(crate) fn new<T>(kind: RequestKind, arena: &Arena<T>, key: Key) -> Self {
        Self::with_kind(kind, key, arena.generation(key))
    }

    /// The same for an entry of this generation.
    #[inline]
    pub(crate) fn with_kind(kind: RequestKind, key: Key, generation: u32) -> Self {
        let kind = match kind {
            RequestKind::Send => 0,
            RequestKind::Receive => 1,
            RequestKind::Connect => 2,
        };
        let number = key.number() | (kind << Self::KIND_SHIFT);
        Self::with(number, generation)
    }

    /// The kind; `None` for a number that no request has.
    pub(crate) fn kind(self) -> Option<RequestKind> {
        match self.number() >> Self::KIND_SHIFT {
            0 => Some(RequestKind::Send),
            1 => Some(RequestKind::Receive),
            2 => Some(RequestKind::Connect),
            _ => None,
        }
    }

    /// The living request in the arena of its kind.
    pub(crate) fn find_in<T>(self, arena: &Arena<T>) -> Option<Key> {
        let number = self.number() & ((1 << Self::KIND_SHIFT) - 1);
        arena.find(number, self.generation())
    }
}
handle! {
    /// One remote endpoint that this endpoint has met. Stays the same over restarts of the partner.
    PartnerId
}
handle! {
    /// An unexpected message, while it is in the store.
    UnexpectedId
}
handle! {
    /// A transfer of a large message into this endpoint.
    PullId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_survives_as_one_word() {
        let id = RequestId::with(7, 0x8000_0001);
        assert_eq!((id.number(), id.generation()), (7, 0x8000_0001));
        assert_eq!(RequestId::from_u64(id.to_u64()), id);
    }
}
