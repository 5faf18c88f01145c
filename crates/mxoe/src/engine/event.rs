//! What goes in and out of the engine: operations, events, placements.

use std::fmt;
use std::ops::Range;

use super::ids::{OfferId, PartnerId, PathId, PullId, RegionId, RequestId, StoreId, UnexpectedId};
use crate::addr::{Address, NicAddr};
use crate::frame::Head;
use crate::matching::Pattern;
pub use crate::matching::Space;
use crate::time::Time;

/// How a request ended, or why an operation is refused: what MX reports to its programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Status {
    /// As asked.
    #[error("success")]
    Success,
    /// The message was longer than the receive buffer; what fitted was transferred.
    #[error("message truncated to the length of the receive buffer")]
    Truncated,
    /// The partner was opened with another connection key.
    #[error("the partner was opened with another connection key")]
    BadKey,
    /// The partner's board has no endpoints of so high a number (nack type 1).
    #[error("the partner's board has no endpoint of that number")]
    BadEndpoint,
    /// The partner's endpoint is not open (nack type 2).
    #[error("the partner's endpoint is not open")]
    EndpointClosed,
    /// The partner was closed and opened again since we connected (nack type 3).
    #[error("the partner's endpoint has been closed and opened again")]
    BadSession,
    /// The partner has connected anew from another session: what was under way to the former one failed.
    #[error("the partner has restarted")]
    PartnerRestarted,
    /// The partner acknowledged nothing for the configured time.
    #[error("the partner has acknowledged nothing for the configured time")]
    Unreachable,
    /// The back end says that the partner is gone for good.
    #[error("the partner's endpoint or board is gone")]
    PartnerGone,
    /// The request's deadline passed.
    #[error("deadline passed")]
    Timeout,
    /// The request was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The data of a large message could not be pulled: its sender has withdrawn it.
    #[error("the sender has withdrawn the message while it was transferred")]
    PullFailed,
    /// There is no connection to the partner, or it was disconnected.
    #[error("not connected to the partner")]
    NotConnected,
    /// The endpoint is closed.
    #[error("the endpoint is closed")]
    Closed,
    /// The partner knows only the tagged matching space.
    #[error("the partner knows no plain matching space")]
    NoPlainSpace,
    /// The partner knows no data beside a message, or no service messages.
    #[error("the partner knows neither data beside messages nor service messages")]
    NoSuchFeature,
    /// The handle names nothing (any more).
    #[error("the handle names nothing, or nothing any more")]
    BadHandle,
    /// [`Limits::partners`](super::Limits::partners) partners are known already.
    #[error("as many partners as the limit allows are known already")]
    TooManyPartners,
}

/// Another endpoint to connect to.
#[derive(Clone, Copy, Debug)]
pub struct Connect {
    /// The endpoint.
    pub to: Address,
    /// The key it was opened with.
    pub key: u32,
    /// When to stop trying; `None`: when [`Timers::give_up`](super::Timers::give_up) says so.
    pub deadline: Option<Time>,
    /// Comes back in the event.
    pub token: u64,
}

/// When a send is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendMode {
    /// When the partner has the data.
    Standard,
    /// When the partner has matched it with a receive and has the data.
    Synchronous,
}

/// A message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Send {
    /// To whom. It must be connected.
    pub to: PartnerId,
    /// The matching space. `Plain` only to partners that know it.
    pub space: Space,
    /// What its receive is selected by.
    pub match_info: u64,
    /// Comes in the receiver's envelope. Only to partners that know of it.
    pub data: Option<u64>,
    /// Where the bytes are, from the region's first one on. Untouched until the event.
    pub region: RegionId,
    /// How many bytes.
    pub len: u32,
    /// When it is complete.
    pub mode: SendMode,
    /// Comes back in the event.
    pub token: u64,
}

/// A message to be received.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Receive {
    /// Matches messages with `match_info == theirs & mask`.
    pub match_info: u64,
    /// Which bits count.
    pub mask: u64,
    /// Only messages of this partner.
    pub source: Option<PartnerId>,
    /// The matching space.
    pub space: Space,
    /// Where the bytes go, from the region's first one on.
    pub region: RegionId,
    /// How many there is room for. Longer messages are truncated.
    pub len: u32,
    /// Comes back in the event.
    pub token: u64,
}

/// Which unexpected messages are meant.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// The matching space.
    pub space: Space,
    /// Matches messages with `match_info == theirs & mask`.
    pub match_info: u64,
    /// Which bits count.
    pub mask: u64,
    /// Only messages of this partner.
    pub source: Option<PartnerId>,
}

impl Filter {
    pub(crate) fn pattern(&self) -> Pattern<PartnerId> {
        Pattern {
            match_info: self.match_info,
            mask: self.mask,
            source: self.source,
        }
    }
}

/// Where a claimed message goes.
#[derive(Clone, Copy, Debug)]
pub struct ClaimedReceive {
    /// Where the bytes go, from the region's first one on.
    pub region: RegionId,
    /// How many there is room for. Longer messages are truncated.
    pub len: u32,
    /// Comes back in the event.
    pub token: u64,
}

/// Who a message is from and what is on its cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender.
    pub source: PartnerId,
    /// The sender's address.
    pub address: Address,
    /// The matching space.
    pub space: Space,
    /// The match information the sender gave.
    pub match_info: u64,
    /// What else it gave.
    pub data: Option<u64>,
    /// The message's length in bytes, also where less is received.
    pub length: u32,
}

/// An unexpected message while somebody looks at it, before receives may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What is on its cover.
    pub envelope: Envelope,
    /// All of its bytes are here; a large one's are still with its sender.
    pub complete: bool,
    /// Where they are; none of an empty message.
    pub store: Option<StoreId>,
}

/// Who is gone, as far as the back end knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// One endpoint.
    Endpoint(Address),
    /// A board with all its endpoints.
    Board(NicAddr),
}

/// A frame that has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Where it came in.
    pub path: PathId,
    /// Its sender's board, vouched for by the driver.
    pub from: NicAddr,
    /// A private copy of the frame's first `min(len, HEAD_BYTES)` bytes at least.
    pub head: &'a [u8],
    /// The frame's whole length in bytes.
    pub len: usize,
    /// What came beside it: where the data that it announces can be read. Every offer is ended by an
    /// [`Event::OfferFreed`], also those that the engine has no use for.
    pub offer: Option<OfferId>,
}

/// Where the payload of a frame goes. To be carried out before the engine is called again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where in the frame the bytes are; never empty.
    pub payload: Range<usize>,
    /// Where they go.
    pub target: Target,
}

/// A place for payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The program's memory.
    Region {
        /// The posted buffer.
        region: RegionId,
        /// From which byte on.
        offset: u32,
    },
    /// The unexpected store. The first mention of an id asks for an entry of `size` bytes.
    Store {
        /// The entry.
        id: StoreId,
        /// Its size in bytes, the same in every mention.
        size: u32,
        /// From which byte on.
        offset: u32,
    },
}

/// Bytes to be gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The buffer.
    pub region: RegionId,
    /// From which byte on.
    pub offset: u32,
    /// How many bytes; never 0.
    pub len: u32,
}

/// A frame to be sent: the head, and after it the payload.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// The board it goes to.
    pub to: NicAddr,
    /// Everything before the payload, Ethernet header included.
    pub head: Head,
    /// The payload.
    pub payload: Option<Slice>,
    /// The data that the frame announces. The driver may attach what lets the other side read it.
    pub offer: Option<Slice>,
}

impl Transmit {
    /// One to be written to.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            to: NicAddr::ZERO,
            head: Head::new(),
            payload: None,
            offer: None,
        }
    }
}

impl Default for Transmit {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a fetch did not work; the data is pulled instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFailed;

impl fmt::Display for FetchFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the offered data could not be read")
    }
}

impl std::error::Error for FetchFailed {}

/// What happened, or what the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connect succeeded. Ends the request.
    Connected {
        /// The driver's own.
        token: u64,
        /// The request.
        request: RequestId,
        /// Whom to send to from now on.
        partner: PartnerId,
    },
    /// A connect failed. Ends the request. What else is asked of the partner goes on, as long as that is connected or being connected to.
    ConnectFailed {
        /// The driver's own.
        token: u64,
        /// The request.
        request: RequestId,
        /// Whom it was to.
        partner: PartnerId,
        /// Why.
        status: Status,
    },
    /// Another endpoint has connected to us, or done so anew after a restart. It can be sent to.
    PartnerArrived {
        /// The other endpoint.
        partner: PartnerId,
        /// Its address.
        address: Address,
    },
    /// The connection is lost: it must be connected to anew, from either side. Everything under way to it has
    /// failed with events of its own.
    PartnerLost {
        /// The other endpoint.
        partner: PartnerId,
        /// Its address.
        address: Address,
        /// Why.
        status: Status,
    },
    /// A send is complete or has failed. Ends the request; the region is free.
    Sent {
        /// The driver's own.
        token: u64,
        /// The request.
        request: RequestId,
        /// How it went.
        status: Status,
        /// How many bytes the partner has taken; less than the message has when it was truncated.
        length: u32,
    },
    /// A receive is complete or has failed after it was matched. Ends the request; the region is free.
    Received {
        /// The driver's own.
        token: u64,
        /// The request.
        request: RequestId,
        /// How it went.
        status: Status,
        /// What was received.
        envelope: Envelope,
        /// How many bytes are in the region.
        length: u32,
    },
    /// A request ended before anything happened for it: cancelled, its deadline passed, or the endpoint closed.
    /// Ends the request; the region is free.
    Cancelled {
        /// The driver's own.
        token: u64,
        /// The request.
        request: RequestId,
        /// [`Status::Cancelled`], [`Status::Timeout`] or [`Status::Closed`].
        status: Status,
    },
    /// Copy the first `len` bytes of the store's entry to the region's beginning. Precedes the `Received` it
    /// belongs to.
    Copy {
        /// The entry.
        from: StoreId,
        /// The posted buffer.
        to: RegionId,
        /// How many bytes.
        len: u32,
    },
    /// The store's entry is not needed any more, and its id will be used again.
    StoreFreed {
        /// The entry.
        id: StoreId,
    },
    /// Read the first `len` bytes of the offered data into the region, then call
    /// [`fetched`](super::Endpoint::fetched).
    Fetch {
        /// What `fetched` is told.
        pull: PullId,
        /// Where the data can be read.
        offer: OfferId,
        /// The posted buffer.
        to: RegionId,
        /// How many bytes.
        len: u32,
    },
    /// The offer is not needed any more.
    OfferFreed {
        /// The offer.
        offer: OfferId,
    },
    /// Only with [`Config::announce_unexpected`](super::Config::announce_unexpected): a message arrived that no
    /// receive was waiting for. It can be claimed by its id at once, though its data may be still on the way.
    Unexpected {
        /// For `receive_claimed` and `discard`, without `claim`. A receive posted meanwhile may take it.
        id: UnexpectedId,
        /// Its cover.
        envelope: Envelope,
    },
}
