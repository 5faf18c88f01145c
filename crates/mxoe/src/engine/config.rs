//! What an endpoint is told when it is opened: identity, timing, limits.

use std::time::Duration;

use crate::addr::{Address, SessionId};
use crate::frame::{Dialect, Mtu};

/// How an endpoint is to behave.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its own address. The back end enforces it on frames that leave.
    pub address: Address,
    /// The random number of this opening; not [`SessionId::UNKNOWN`].
    pub session: SessionId,
    /// The key that others must show when they connect.
    pub key: u32,
    /// The engine's only randomness: keys its hash tables and chooses first sequence numbers. Peers must not
    /// be able to guess it.
    pub seed: u64,
    /// Which numbers messages to us begin with.
    pub numbering: Numbering,
    /// Messages up to this length go by TINY, SMALL and MEDIUM as far as the dialect can, longer ones by
    /// rendezvous. Bytes.
    pub eager_max: u32,
    /// Announce messages that nobody waits for by [`Event::Unexpected`](super::Event::Unexpected).
    pub announce_unexpected: bool,
    /// What peers can make grow.
    pub limits: Limits,
    /// When to acknowledge, resend, give up.
    pub timers: Timers,
}

impl Config {
    /// Usual settings. `seed` must be random; the session is taken from it.
    #[must_use]
    pub fn new(address: Address, key: u32, seed: u64) -> Self {
        let mut state = seed;
        let [a, b, c, d, ..] = crate::matching::hash::splitmix(&mut state).to_be_bytes();
        let number = u32::from_be_bytes([a, b, c, d]);
        Self {
            address,
            session: SessionId::new(if number == u32::MAX { 1 } else { number }),
            key,
            seed,
            numbering: Numbering::Seeded,
            eager_max: 32768,
            announce_unexpected: false,
            limits: Limits::default(),
            timers: Timers::default(),
        }
    }
}

/// Which number the first message to us has. Whoever connects is told (specification, 5.2), and must obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Taken from the seed, anew for each session of a partner: a frame or an acknowledgement that is left
    /// over from an earlier life of either side is then recognised as such.
    Seeded,
    /// 1 under session bits 0, as the reference peer does.
    One,
}

/// What peers can make grow, and how far.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Partners that are known. Each costs a few hundred bytes, for as long as the endpoint is open;
    /// one that is lost makes room for a new one.
    pub partners: usize,
    /// Bytes of the unexpected store. Half of it is closed to messages that arrived before their turn, so that
    /// the one whose turn it is finds room. Messages without room are dropped, and come again.
    pub unexpected_bytes: u64,
    /// Messages that are unexpected, before their turn, or incomplete in the store: each costs about 150 bytes.
    pub unexpected_messages: usize,
    /// MEDIUM messages of one partner that are begun and incomplete. Each fragment is looked up among them.
    pub open_mediums: u16,
    /// Messages to one partner that are not acknowledged; at most 8191, or numbers become ambiguous.
    pub unacked_messages: u16,
    /// Payload bytes to one partner that are not acknowledged. The next message waits, unless nothing is under way.
    pub unacked_bytes: u32,
    /// Large sends in flight; at most 256, the number of region ids. The reference peer has 128.
    pub rendezvous: u16,
    /// Pulls that run at a time; matched rendezvous beyond wait. The reference peer has 1024.
    pub pulls: usize,
    /// Blocks that one partner has asked for and that are not yet sent. Further requests are dropped; they come again.
    pub pull_jobs: u16,
    /// Nacks and connect replies waiting for room on a path. Further ones are dropped.
    pub answers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            partners: 16384,
            unexpected_bytes: 64 << 20,
            unexpected_messages: 65536,
            open_mediums: 256,
            unacked_messages: 8191,
            unacked_bytes: 4 << 20,
            rendezvous: 128,
            pulls: 64,
            pull_jobs: 256,
            answers: 256,
        }
    }
}

/// When to acknowledge, to resend, to give up.
#[derive(Clone, Debug)]
pub struct Timers {
    /// The resend timer before a round trip was measured. The reference peer may take 20 ms to acknowledge.
    pub rto_initial: Duration,
    /// The shortest resend timer.
    pub rto_min: Duration,
    /// The longest resend timer, where doubling ends.
    pub rto_max: Duration,
    /// A partner that was not heard of for so long while something was due from it is unreachable.
    pub give_up: Duration,
    /// An acknowledgement waits for data to ride on so long at most.
    pub ack_delay: Duration,
    /// So many messages are acknowledged at once.
    pub ack_messages: u16,
    /// So many payload bytes are acknowledged at once.
    pub ack_bytes: u32,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            rto_initial: Duration::from_millis(50),
            rto_min: Duration::from_millis(10),
            rto_max: Duration::from_secs(1),
            give_up: Duration::from_secs(60),
            ack_delay: Duration::from_millis(1),
            ack_messages: 32,
            ack_bytes: 64 << 10,
        }
    }
}

/// What frames on a path look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathProfile {
    /// Layouts and sizes.
    pub dialect: Dialect,
    /// Bytes of data that may be asked for and not have arrived, all pulls of the path together. Below what the
    /// driver's receive ring holds, so that answers find room.
    pub pull_window: u32,
    /// Offers can be attached to frames of this path, and read by the other side.
    pub fetch: bool,
    /// The longest frame in bytes that the path carries. Where it is more than the native dialect's, frames are those of
    /// [`Dialect::Wide`]; both ends of a path must agree on it.
    pub max_frame: u32,
}

impl PathProfile {
    /// The profile of a path that carries just what the dialect says.
    #[must_use]
    pub fn new(dialect: Dialect, pull_window: u32) -> Self {
        Self {
            dialect,
            pull_window,
            fetch: false,
            max_frame: dialect.max_frame(),
        }
    }

    /// What frames on this path really look like.
    #[must_use]
    pub fn frames(&self) -> Dialect {
        let largest = u16::try_from(self.max_frame).unwrap_or(u16::MAX);
        match (self.dialect, Mtu::new(largest)) {
            (Dialect::Native { mtu }, Some(wide)) if wide > mtu => Dialect::Wide { mtu: wide },
            (dialect, _) => dialect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_path_widens_frames_of_the_native_dialect_only() {
        let narrow = Dialect::Native { mtu: Mtu::STANDARD };
        let profile = PathProfile {
            max_frame: 60_000,
            ..PathProfile::new(narrow, 1 << 20)
        };
        assert_eq!(profile.frames().fragment_payload(), 60_000 - 48);
        assert_eq!(profile.frames().pull_payload(), 60_000 - 32);
        let compat = PathProfile {
            max_frame: 60_000,
            ..PathProfile::new(Dialect::Compat, 1 << 20)
        };
        assert_eq!(compat.frames(), Dialect::Compat);
    }
}
