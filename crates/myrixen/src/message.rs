//! What a program says of messages, and what it is told of them.

use mxoe::addr::Address;
use mxoe::engine::{ClaimedReceive, Envelope, Filter, PartnerId, Receive, Space};

/// A remote endpoint that we are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub(crate) partner: PartnerId,
    pub(crate) address: Address,
}

impl Peer {
    /// Where it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The endpoint's own number for it, for programs that keep peers in places that Rust does not see.
    pub fn id(&self) -> u64 {
        self.partner.to_u64()
    }

    /// The peer with this number at this address. [`Endpoint::post_send`](crate::Endpoint::post_send) recognises one that does not exist.
    #[inline]
    pub fn from_parts(address: Address, id: u64) -> Self {
        let partner = PartnerId::from_u64(id);
        Self { partner, address }
    }
}

/// Which messages a receive takes: those whose match information, masked, equals `bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Laid out as `engine::Receive` and `matching::Pattern` are, in whose pieces it is copied.
#[repr(C)]
pub struct Match {
    pub(crate) bits: u64,
    pub(crate) mask: u64,
    pub(crate) source: Option<PartnerId>,
    pub(crate) space: Space,
}

impl Match {
    /// Exactly these 64 bits.
    pub fn exact(bits: u64) -> Self {
        Self::masked(bits, u64::MAX)
    }

    /// Those bits of the match information that are set in `mask` must equal those of `bits`.
    pub fn masked(bits: u64, mask: u64) -> Self {
        Self {
            bits: bits & mask,
            mask,
            source: None,
            space: Space::Tagged,
        }
    }

    /// Any message.
    pub fn any() -> Self {
        Self::masked(0, 0)
    }

    /// Only messages from this peer.
    #[must_use]
    pub fn from(mut self, peer: &Peer) -> Self {
        self.source = Some(peer.partner);
        self
    }

    /// In the plain matching space, which is independent of the usual, tagged one.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.space = Space::Plain;
        self
    }

    /// In the matching space of what endpoints say to each other beside the program's messages.
    #[must_use]
    pub fn service(mut self) -> Self {
        self.space = Space::Service;
        self
    }

    /// Only messages from the peer with this number, see [`Peer::id`].
    #[must_use]
    pub fn from_id(mut self, id: u64) -> Self {
        self.source = Some(PartnerId::from_u64(id));
        self
    }

    pub(crate) fn fits(&self, bits: u64) -> bool {
        bits & self.mask == self.bits
    }

    pub(crate) fn filter(&self) -> Filter {
        Filter {
            space: self.space,
            match_info: self.bits,
            mask: self.mask,
            source: self.source,
        }
    }

    /// What the engine is told of a receive for such a message.
    #[inline(always)]
    pub(crate) fn receive(&self, into: ClaimedReceive) -> Receive {
        Receive {
            space: self.space,
            match_info: self.bits,
            mask: self.mask,
            source: self.source,
            region: into.region,
            len: into.len,
            token: into.token,
        }
    }
}

/// A message that has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that are in the buffer.
    pub len: usize,
    /// Length of the message as it was sent, in bytes: more than `len` if the buffer was too small.
    pub message_len: usize,
    /// The sender's match information.
    pub bits: u64,
    /// The sender.
    pub source: Address,
}

impl Received {
    /// The buffer was too small and the rest of the message is lost.
    pub fn truncated(&self) -> bool {
        self.len < self.message_len
    }
}

/// A message that has arrived and that no receive has taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its length in bytes.
    pub len: usize,
    /// Its match information.
    pub bits: u64,
    /// What the sender gave beside it.
    pub data: Option<u64>,
    /// The sender.
    pub source: Address,
    pub(crate) partner: PartnerId,
}

impl Pending {
    /// The sender, to be answered.
    pub fn peer(&self) -> Peer {
        Peer {
            partner: self.partner,
            address: self.source,
        }
    }
}

/// A path that messages to a peer take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathKind {
    /// A channel of shared memory straight to the peer.
    Direct {
        /// The peer can read large messages out of ordinary memory in one copy; otherwise only out
        /// of memory from [`Endpoint::alloc_for`](crate::Endpoint::alloc_for).
        reads_memory: bool,
    },
    /// Through the back end: to another guest of this host, or to another host.
    Switched,
    /// From the endpoint to itself.
    LoopBack,
}

impl From<&Envelope> for Pending {
    fn from(envelope: &Envelope) -> Self {
        Self {
            len: envelope.length as usize,
            bits: envelope.match_info,
            data: envelope.data,
            source: envelope.address,
            partner: envelope.source,
        }
    }
}
