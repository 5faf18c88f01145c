//! What the coordinator and the processes of the measurement say to each other: one JSON value a line, each order
//! answered once.

use serde::{Deserialize, Serialize};

use crate::demo::Place;

/// What a process with guests is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Order {
    /// Open so many endpoints with each guest: [`Answer::Opened`].
    Open {
        each: usize,
        ring_bytes: u32,
        direct: bool,
    },
    /// Connect one endpoint to all of these: [`Answer::Connected`].
    Connect { from: usize, to: Vec<Place> },
    /// Send to all that is connected to, from each endpoint, between these times of the monotonic clock:
    /// [`Answer::Talked`].
    Talk {
        size: usize,
        from_ns: u64,
        until_ns: u64,
    },
    /// Send so many messages back to where they came from: [`Answer::Done`].
    Echo { endpoint: usize, rounds: u64 },
    /// Have so many messages sent back by the first that was connected to: [`Answer::Returned`].
    PingPong {
        endpoint: usize,
        size: usize,
        rounds: u64,
    },
    /// Wait until there is a direct channel to the first that was connected to: [`Answer::Done`].
    AwaitDirect { endpoint: usize },
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Answer {
    /// Its guests are attached.
    Ready,
    /// Where the new endpoints are, and how long each took.
    Opened {
        at: Vec<Place>,
        took_ns: Vec<u64>,
    },
    /// How long each connect took, and all of them together.
    Connected {
        took_ns: Vec<u64>,
        all_ns: u64,
    },
    /// What each endpoint has sent that arrived, and has received, in bytes.
    Talked {
        sent: Vec<u64>,
        received: Vec<u64>,
    },
    /// How long half of the round trips took at most.
    Returned {
        p50_ns: u64,
    },
    Done,
    /// It cannot go on, and why.
    Failed {
        why: String,
    },
}
