//! What a simulation can find.

use mxoe::addr::Address;
use mxoe::engine::{RegionId, Status, StoreId};
use mxoe::time::Time;

use crate::scenario::{MessageId, PostId};

/// A promise that was broken. Numbers are those of the scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A receive got a message that had been received before.
    #[error("receive {} got message {own} (by its match information), which was received before", post.0)]
    ReceivedTwice {
        /// The receive.
        post: PostId,
        /// The message's number as its match information has it; 0 when it has none.
        own: u32,
    },
    /// A receive got bytes that no awaited message has.
    #[error("receive {} got {length} bytes from node {from} that no awaited message has (match information: {own})", post.0)]
    WrongBytes {
        /// The receive.
        post: PostId,
        /// The message's number as its match information has it; 0 when it has none.
        own: u32,
        /// The node it came from.
        from: usize,
        /// The length it claims to have.
        length: u32,
    },
    /// A receive got a message with other data than it was sent with.
    #[error("receive {} got data {data:?}, which that message was not sent with", post.0)]
    WrongData {
        /// The receive.
        post: PostId,
        /// What came.
        data: Option<u64>,
    },
    /// A receive got what it does not match.
    #[error("receive {} got match information {match_info:#x}, which it does not match", post.0)]
    DoesNotMatch {
        /// The receive.
        post: PostId,
        /// What came.
        match_info: u64,
    },
    /// A message was shown to its receiver that nobody has sent so.
    #[error("node {node}: was shown {length} bytes from node {from} that no awaited message has")]
    WrongShown {
        /// The node.
        node: usize,
        /// The node it came from.
        from: usize,
        /// The length it claims to have.
        length: u32,
    },
    /// Status or length of a receive contradict each other.
    #[error("receive {} says {status:?} for a message of {length} bytes", post.0)]
    Misreported {
        /// The receive.
        post: PostId,
        /// What it says.
        status: Status,
        /// The message's length.
        length: u32,
    },
    /// A receive failed, and nothing that excuses it has happened.
    #[error("receive {} failed without an excuse: {status:?}", post.0)]
    FailedReceive {
        /// The receive.
        post: PostId,
        /// How.
        status: Status,
    },
    /// A receive ended twice.
    #[error("receive {} ended twice", post.0)]
    EndedTwice {
        /// The receive.
        post: PostId,
    },
    /// The sender of a message was told twice.
    #[error("the sender of message {} was told twice how it went", message.0)]
    ToldTwice {
        /// The message.
        message: MessageId,
    },
    /// A send failed, and nothing that excuses it has happened.
    #[error("message {} failed without an excuse: {status:?}", message.0)]
    Unexcused {
        /// The message.
        message: MessageId,
        /// How.
        status: Status,
    },
    /// A sender was told a length that is not what was transferred.
    #[error("the sender of message {} was told {told} bytes; it is {is}", message.0)]
    WrongLength {
        /// The message.
        message: MessageId,
        /// What it was told.
        told: u32,
        /// What is true.
        is: u32,
    },
    /// A message was neither received nor reported failed.
    #[error("message {} was neither received nor reported failed", message.0)]
    NeverReceived {
        /// The message.
        message: MessageId,
    },
    /// A message overtook an earlier one of the same sender.
    #[error("message {} was received by receive {} before message {}, which it matches too", later.0, post.0, earlier.0)]
    Overtaken {
        /// The earlier one.
        earlier: MessageId,
        /// The later one.
        later: MessageId,
        /// Which receive took the later one.
        post: PostId,
    },
    /// A message went to a later receive though an earlier one matched it.
    #[error("receive {} was passed over for receive {}", older.0, newer.0)]
    PassedOver {
        /// The earlier one.
        older: PostId,
        /// The later one.
        newer: PostId,
    },
    /// An event names a message that was not sent.
    #[error("an event for message {}, which was never sent", message.0)]
    NeverSent {
        /// The number.
        message: MessageId,
    },
    /// An event names a receive that was not posted.
    #[error("an event for receive {}, which was never posted", post.0)]
    NeverPosted {
        /// The number.
        post: PostId,
    },
    /// An event's token belongs to no request.
    #[error("node {node}: an event with token {token:#x}, which belongs to no request in progress")]
    UnknownToken {
        /// The node.
        node: usize,
        /// The token.
        token: u64,
    },
    /// The engine names memory that it has given back.
    #[error(
        "node {node}: {region:?} is named after it was given back, or bytes {offset}+{len} of its {size}"
    )]
    BadRegion {
        /// The node.
        node: usize,
        /// The region.
        region: RegionId,
        /// From which byte on.
        offset: u32,
        /// How many bytes.
        len: usize,
        /// How many there are; 0 for a region that is not there.
        size: usize,
    },
    /// The engine misuses an entry of the unexpected store.
    #[error("node {node}: {store:?} is used against its rules: {what}")]
    BadStore {
        /// The node.
        node: usize,
        /// The entry.
        store: StoreId,
        /// How.
        what: &'static str,
    },
    /// The unexpected store holds more than its limit.
    #[error("node {node}: the unexpected store holds {bytes} bytes; at most {most} are allowed")]
    StoreOverfull {
        /// The node.
        node: usize,
        /// What it holds.
        bytes: u64,
        /// What it may hold.
        most: u64,
    },
    /// A frame that the engine made cannot be delivered by anyone.
    #[error("node {node}: a frame that cannot be sent: {what}")]
    BadFrame {
        /// The node.
        node: usize,
        /// Why.
        what: String,
    },
    /// An event names an offer that is not there.
    #[error("node {node}: offer {offer} is not there (any more)")]
    BadOffer {
        /// The node.
        node: usize,
        /// Its number.
        offer: u32,
    },
    /// A wrong key was accepted.
    #[error("node {node} was accepted with a wrong key")]
    WrongKeyAccepted {
        /// The node.
        node: usize,
    },
    /// Connecting failed, and nothing that excuses it has happened.
    #[error("node {node} could not connect to {to}: {status:?}")]
    ConnectFailed {
        /// The node.
        node: usize,
        /// To whom.
        to: Address,
        /// Why.
        status: Status,
    },
    /// The engine refused an operation for no reason.
    #[error("node {node}: an operation was refused: {status:?}")]
    Refused {
        /// The node.
        node: usize,
        /// Why.
        status: Status,
    },
    /// A timer that is due stays due: the driver would spin for ever.
    #[error("node {node}: its timer of {timer} is still due after it was handled at {now}")]
    StuckTimer {
        /// The node.
        node: usize,
        /// The timer.
        timer: Time,
        /// The time.
        now: Time,
    },
    /// The engine has something to send whenever it is asked.
    #[error("node {node}: {frames} frames at one moment, and still more")]
    Flood {
        /// The node.
        node: usize,
        /// How many.
        frames: usize,
    },
    /// It does not come to an end.
    #[error("not done at {now} after {steps} steps; {}", waiting.join("; "))]
    Livelock {
        /// The virtual time.
        now: Time,
        /// Steps taken.
        steps: u64,
        /// What is waited for.
        waiting: Vec<String>,
    },
    /// Everything has ended but an engine has still something to do, or holds something.
    #[error("node {node} holds on to something after the end: {what}")]
    NotIdle {
        /// The node.
        node: usize,
        /// What.
        what: String,
    },
    /// More than three times the frames of the loss-free run.
    #[error("{frames} frames where the loss-free run has {calm}: more than {most}")]
    TooManyFrames {
        /// With losses.
        frames: u64,
        /// Without.
        calm: u64,
        /// Allowed.
        most: u64,
    },
    /// The same programs on a network without faults.
    #[error("in the loss-free run: {0}")]
    Calm(Box<Violation>),
    /// Two runs of one seed differ.
    #[error("two runs of this seed differ")]
    NotRepeatable,
    /// The engine panicked.
    #[error("a panic: {text}")]
    Panicked {
        /// Its message.
        text: String,
    },
}

impl Violation {
    /// That an operation of a node was refused, for the reason that is to be given.
    pub(crate) fn refused(node: usize) -> impl Fn(Status) -> Self {
        move |status| Self::Refused { node, status }
    }
}
