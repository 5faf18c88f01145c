//! What a back end needs of a platform: guests arrive, ask, are answered and handed things, and leave.

use std::io;

use myrixen_ring::{QueuePair, Support, Terms};

use crate::bell::{Ringer, Waiter};
use crate::handover::{Handover, HandoverError};
use crate::message::{
    ChannelId, DirectPeer, Hello, MAX_MESSAGE, Mac, MemoryProbe, MessageError, Notice, PortAddress,
    Refusal, Reply, Request, Serial, Welcome,
};
use crate::waitset::WaitSet;

/// Where a connection between a guest and its back end stands: the states of the Xen split-driver model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// The guest has not said Hello yet.
    Initialising,
    /// Hello is here, the back end has not decided.
    InitWait,
    /// Welcomed; the guest has not been heard on the control ring yet.
    Initialised,
    /// Requests and replies flow.
    Connected,
    /// Refused or about to be let go; nothing more is taken from the guest.
    Closing,
    /// The guest has left.
    Closed,
}

/// Who a guest is, as the platform vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// A program on this host (or in a container on it), as the kernel says.
    Process(Credentials),
    /// A device of a domain of Xen, as the toolstack made it.
    Domain(DomainDevice),
}

/// A device of a domain, and what its guest is to be: not the guest's choice, but that of who attached the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainDevice {
    /// The domain's id, as Xen vouches for it.
    pub domain: u16,
    /// The number of the device, from 0.
    pub device: u32,
    /// The partition its board is in; `None`: the back end's first one.
    pub partition: Option<String>,
    /// The board's name.
    pub board: String,
    /// The board's address; `None`: one that the back end derives.
    pub mac: Option<Mac>,
}

/// What the kernel says about the program at the other end of a socket, as of when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id in our namespace; 0 when it is not visible there.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// To whom a guest's boards belong: another guest of the same owner may join them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// A user of this host.
    User(u32),
    /// A domain of Xen.
    Domain(u16),
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(uid) => write!(f, "user {uid}"),
            Self::Domain(id) => write!(f, "domain {id}"),
        }
    }
}

impl Identity {
    /// To whom its boards belong.
    pub fn owner(&self) -> Owner {
        match self {
            Self::Process(who) => Owner::User(who.uid),
            Self::Domain(device) => Owner::Domain(device.domain),
        }
    }

    /// The process id, 0 when there is none to be seen.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Process(who) => who.pid,
            Self::Domain(_) => 0,
        }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(who) => write!(f, "process {} of user {}", who.pid, who.uid),
            Self::Domain(DomainDevice { domain, device, .. }) => {
                write!(f, "device {device} of domain {domain}")
            }
        }
    }
}

/// A guest broke the rules: detach it, count the reason, serve the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// Bytes that are no control message, or one out of place.
    #[error("malformed control message")]
    Message(#[from] MessageError),
    /// The control ring is broken.
    #[error("broken control ring")]
    Ring(#[from] myrixen_ring::PeerFault),
    /// What it handed over cannot be used.
    #[error("unusable handover")]
    Handover(#[from] HandoverError),
    /// A record on the control ring that is not a control message of at most [`MAX_MESSAGE`] bytes.
    #[error("record of {len} bytes is no control message (at most {MAX_MESSAGE} bytes)")]
    Record {
        /// Its length.
        len: usize,
    },
    /// It does not read what it is told.
    #[error("guest leaves {queued} messages unread, {limit} are allowed")]
    NotReading {
        /// Messages that wait for it.
        queued: usize,
        /// [`MAX_QUEUED`].
        limit: usize,
    },
    /// More requests at once than a guest may have.
    #[error("guest has {limit} requests unanswered and asks on")]
    TooManyRequests {
        /// [`MAX_UNANSWERED`].
        limit: usize,
    },
    /// Two requests under one number.
    #[error("guest uses the serial number {0} twice")]
    SerialInUse(u64),
    /// What it offers as its control ring cannot be used.
    #[error("unusable control ring")]
    Setup(#[source] Box<SetupError>),
    /// The system failed us while serving it.
    #[error("the connection to the guest failed")]
    System(#[from] io::Error),
}

/// How many messages may wait for a guest that does not read them, beyond what its control ring holds.
/// A stopped guest is told of a few hundred deaths before it counts as gone.
pub const MAX_QUEUED: usize = 256;
/// How many requests of a guest may be unanswered at once.
pub const MAX_UNANSWERED: usize = 64;

/// What a guest says.
#[derive(Debug)]
#[non_exhaustive]
pub enum Heard {
    /// It has arrived: [`welcome`](GuestLink::welcome) or [`refuse`](GuestLink::refuse) it.
    Hello(Box<Hello>),
    /// It asks for something: [`reply`](GuestLink::reply) to the number, now or later.
    Request(Serial, Request),
    /// Nothing yet, but there is more to look at than one call may take: call again.
    Again,
    /// It is about to be saved or moved: have it [let go](Notice::LetGo). Or it is not, after all.
    Hold(bool),
    /// It has gone: drop the link.
    Left,
}

/// The back end's end of a queue pair, and its bells.
#[derive(Debug)]
pub struct PortEnd {
    /// The rings; the back end is [`Side::Back`](myrixen_ring::Side::Back).
    pub pair: QueuePair,
    /// Wakes the guest.
    pub ringer: Ringer,
    /// Wakes the back end; hung up when the guest is gone.
    pub waiter: Waiter,
}

/// The two ends of a direct channel, to be handed to the two guests.
#[derive(Debug)]
pub struct DirectEnds {
    /// For who asked for the channel, its front end.
    pub front: Handover,
    /// For who is offered it, its back end.
    pub back: Handover,
    /// What the two will do.
    pub terms: Terms,
}

/// Why a queue pair could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The terms or the pages do not fit.
    #[error("the queue pair cannot be made")]
    Ring(#[from] myrixen_ring::AttachError),
    /// Memory or descriptors are used up.
    #[error("{what} cannot be had (limits: RLIMIT_NOFILE, memory of the back end's control group)")]
    System {
        /// What was asked of the system.
        what: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Pages between domains cannot be had, or cannot be mapped. The source names the limit and its setting.
    #[error("granted pages or event channels cannot be had")]
    Grants(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The pages that this domain may grant are used up. Some may be on their way back: the kernel takes them back when the other
    /// domain has let go. The source names the limits and their settings.
    #[error("granted pages are used up")]
    GrantsUsedUp(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no way to join these two directly: they talk over the switched path.
    #[error("no direct channel is possible between these two guests")]
    NoDirectPath,
}

/// A place where guests arrive.
pub trait Meeting: Send {
    /// Takes one guest that has arrived, or `None` when there is none. Does not block.
    ///
    /// # Errors
    /// When the system fails. The meeting place stays usable; when descriptors are used up (`EMFILE`) the guest waits, and
    /// the caller should not ask again before it has closed something or some time has passed.
    fn accept(&mut self) -> io::Result<Option<Box<dyn GuestLink>>>;

    /// Adds the meeting place to a wait set: ready under `token` when a guest has arrived.
    ///
    /// # Errors
    /// As [`WaitSet::add`].
    fn watch(&self, set: &WaitSet, token: u64) -> io::Result<()>;

    /// Takes it out again: no guest will be heard.
    fn unwatch(&self, set: &WaitSet);
}

/// One guest, seen from the back end. Dropping the link detaches the guest: all it was handed of the link's own
/// closes; queue pairs live on with who holds them.
pub trait GuestLink: Send {
    /// Who it is.
    fn identity(&self) -> &Identity;

    /// Where the connection stands.
    fn state(&self) -> LinkState;

    /// What the guest can do of the ring ABI, together with us. [`Support::OURS`] before its Hello.
    fn support(&self) -> Support;

    /// Where the guest's memory may be probed, if it offered that.
    fn memory(&self) -> Option<MemoryProbe>;

    /// Keeps the link in a wait set under `token`, from now to its end, whatever it consists of over time.
    ///
    /// # Errors
    /// As [`WaitSet::add`].
    fn watch(&mut self, set: &WaitSet, token: u64) -> io::Result<()>;

    /// The next thing the guest says, or `None` when it is silent. Does not block. Call it until `None` whenever the wait set
    /// says so; between guests, to be fair. It also sends what could not be sent before.
    ///
    /// # Errors
    /// [`PeerFault`]: drop the link.
    fn hear(&mut self) -> Result<Option<Heard>, PeerFault>;

    /// Takes the guest in after its Hello.
    ///
    /// # Errors
    /// [`PeerFault`]: drop the link.
    ///
    /// # Panics
    /// When the guest has not said Hello or was answered before: a mistake of the caller.
    fn welcome(&mut self, welcome: &Welcome) -> Result<(), PeerFault>;

    /// Turns the guest away, as far as it still listens. Drop the link afterwards.
    fn refuse(&mut self, refusal: &Refusal);

    /// Answers a request. Never blocks: what the guest does not read now waits for it.
    ///
    /// # Errors
    /// [`PeerFault`]: drop the link.
    ///
    /// # Panics
    /// When no such request is unanswered: a mistake of the caller.
    fn reply(&mut self, to: Serial, reply: &Reply, with: Handover) -> Result<(), PeerFault>;

    /// Says something unasked. Never blocks.
    ///
    /// # Errors
    /// [`PeerFault`]: drop the link.
    fn notify(&mut self, notice: &Notice, with: Handover) -> Result<(), PeerFault>;

    /// Makes a queue pair between the back end and the guest, for its unanswered `request` (where the guest brings the pages, they came with
    /// it); the second part goes with [`Reply::Port`].
    ///
    /// # Errors
    /// [`SetupError`]: tell the guest.
    fn make_port(
        &mut self,
        request: Serial,
        terms: &Terms,
    ) -> Result<(PortEnd, Handover), SetupError>;

    /// Makes a direct channel from this guest, its front end, to `back`, for this guest's unanswered `request`. `layout` is within what both may have;
    /// each is also handed the other's pool, if it has one. The parts go with [`Reply::Direct`] and [`Notice::DirectOffered`].
    /// Whether the two may talk at all is for the caller to check. Afterwards the back end holds nothing of the channel.
    ///
    /// # Errors
    /// [`SetupError`]: tell the guest.
    fn make_direct(
        &mut self,
        request: Serial,
        back: &mut dyn GuestLink,
        layout: myrixen_ring::Layout,
    ) -> Result<DirectEnds, SetupError>;

    /// The domain that pages for this guest are to be granted to, where guests bring their pages.
    fn grantee(&self) -> Option<u16> {
        None
    }

    /// Whether the guest is about to be saved or moved, as [`Heard::Hold`] said last.
    fn is_held(&self) -> bool {
        false
    }

    /// Whether ports outlive the loss of their guest's control ring, so that its next front end may adopt them.
    fn keeps_ports(&self) -> bool {
        false
    }

    /// A duplicate of the guest's pool to be handed to a direct partner, if it has one.
    ///
    /// # Errors
    /// When descriptors are used up.
    fn share_pool(&self) -> io::Result<Option<Handover>>;

    /// Describes this guest to its direct partner.
    fn as_peer(&self, address: PortAddress, terms: Terms, channel: ChannelId) -> DirectPeer {
        let uid = match self.identity() {
            Identity::Process(who) => who.uid,
            // No user of any host.
            Identity::Domain(_) => u32::MAX,
        };
        let pid = self.identity().pid();
        DirectPeer {
            address,
            pid,
            uid,
            memory: self.memory(),
            terms,
            channel,
        }
    }
}
