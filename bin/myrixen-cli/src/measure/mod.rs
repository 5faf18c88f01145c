//! Measuring between two endpoints: one side orders and keeps the time, the other serves.
//!
//! An order names the test, the size and the number of messages, and is answered before the first of them
//! travels, so both sides always agree on what comes next. Orders are JSON in ordinary messages.

mod calls;
mod client;
mod label;
mod serve;
mod timing;

use std::time::Duration;

use myrixen::Match;
use serde::{Deserialize, Serialize};

use crate::record::Wait;

pub(crate) use calls::Calls;
pub(crate) use client::Client;
pub(crate) use label::Label;
pub(crate) use serve::{Served, serve};
pub(crate) use timing::{Flow, Laps, Parties, Trips, Way};

/// How long either side waits for the other within a test: longer than a back end takes to restart.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The longest order or answer, in bytes.
const CONTROL_BYTES: usize = 4096;

/// What a message of a measurement is for: the top 16 bits of its match information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A client orders a test.
    Order,
    /// The server agrees or says why not.
    Answer,
    /// Payload of a test, towards the server.
    Data,
    /// Payload of a test, towards the client; also the receipt for the last message of a flow.
    Echo,
}

impl Kind {
    const MASK: u64 = 0xffff << 48;

    fn code(self) -> u64 {
        match self {
            Self::Order => 0x4d10 << 48,
            Self::Answer => 0x4d11 << 48,
            Self::Data => 0x4d12 << 48,
            Self::Echo => 0x4d13 << 48,
        }
    }

    /// Match information of a message of this kind in test number `run`.
    fn bits(self, run: u32) -> u64 {
        self.code() | u64::from(run)
    }

    /// Takes messages of this kind, whichever test they belong to.
    fn of_any_run(self) -> Match {
        Match::masked(self.code(), Self::MASK)
    }
}

/// Which test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Test {
    /// Each message is answered by one of the same size before the next is sent.
    PingPong,
    /// Messages one way, several under way, and a receipt after the last.
    Flow,
}

/// What a client asks a server to take part in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    test: Test,
    /// Bytes a message.
    size: u64,
    /// Messages from the client.
    count: u64,
    /// How the server waits.
    wait: Wait,
    /// Number of the test, which its messages carry.
    run: u32,
}

/// What the server says to an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    /// Go on.
    Ready,
    /// Not this order, and why.
    Refused(String),
}

impl Wait {
    /// The library's word for it.
    pub(crate) fn of_library(self) -> myrixen::Wait {
        match self {
            Self::Spin => myrixen::Wait::Spin,
            Self::Sleep => myrixen::Wait::Sleep,
        }
    }
}

/// How many messages of `size` bytes are under way at a time: enough to fill the path, in at most 8 MiB or four
/// messages.
pub(crate) fn window(size: usize) -> usize {
    ((8 << 20) / size.max(1)).clamp(4, 256)
}

/// How many receives are posted for messages of `size` bytes: fewer buffers than messages under way, since others receive all into one, and
/// more memory than caches hold would be measured instead of the path.
fn room(size: usize) -> usize {
    ((4 << 20) / size.max(1)).clamp(2, 256)
}

/// Makes `spare` hold `count` buffers of `size` bytes, every page of which has been touched. `None` if there is no memory for them.
fn buffers_of<B: AsMut<[u8]>>(
    spare: &mut Vec<B>,
    size: usize,
    count: usize,
    make: impl Fn() -> Option<B>,
) -> Option<()> {
    spare.retain_mut(|buffer| buffer.as_mut().len() == size);
    spare.truncate(count);
    while spare.len() < count {
        let mut buffer = make()?;
        buffer.as_mut().fill(0x5a);
        spare.push(buffer);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_bounded_in_messages_and_bytes() {
        assert_eq!(window(0), 256);
        assert_eq!(window(8), 256);
        assert_eq!(window(1 << 20), 8);
        assert_eq!(window(1 << 30), 4);
    }

    #[test]
    fn kinds_differ_within_the_mask() {
        let kinds = [Kind::Order, Kind::Answer, Kind::Data, Kind::Echo];
        for (i, a) in kinds.iter().enumerate() {
            assert_eq!(a.bits(u32::MAX) & Kind::MASK, a.code());
            for b in &kinds[i + 1..] {
                assert_ne!(a.code(), b.code());
            }
        }
    }

    #[test]
    fn an_order_parses_back() {
        let order = Order {
            test: Test::Flow,
            size: 8,
            count: 100,
            wait: Wait::Spin,
            run: 7,
        };
        let text = serde_json::to_vec(&order).unwrap();
        assert!(text.len() < CONTROL_BYTES);
        assert_eq!(serde_json::from_slice::<Order>(&text).unwrap(), order);
    }
}
