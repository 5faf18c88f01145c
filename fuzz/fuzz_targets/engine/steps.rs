//! What the fuzzer decides: how two endpoints are set up, and what happens to them.

use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use mxoe::addr::Address;
use mxoe::engine::{Config, Limits, Numbering, PathProfile, SendMode, Space, Timers};
use mxoe::frame::{Dialect, Mtu};

/// Steps of one run that are looked at.
pub(crate) const MOST_STEPS: usize = 400;
/// Messages are shorter than this: what is longer differs only in how long it takes.
const LONGEST: u32 = 600_000;

/// One run.
#[derive(Arbitrary, Debug)]
pub(crate) struct Run {
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
}

/// How endpoints behave and how much they hold. Limits are small, so that they are reached.
#[derive(Arbitrary, Debug)]
pub(crate) struct Setup {
    seed: u8,
    dialect: u8,
    eager: u8,
    /// The driver asks for events only when a step says so, and not after each call.
    pub(crate) lazy: bool,
    /// The two have shaken hands before the first step.
    pub(crate) met: bool,
    one: bool,
    announce: bool,
    partners: u8,
    store_kib: u8,
    stored: u8,
    mediums: u8,
    unacked: u8,
    rendezvous: u8,
    pulls: u8,
    jobs: u8,
    answers: u8,
}

impl Setup {
    pub(crate) fn dialect(&self) -> Dialect {
        let native = |mtu| Mtu::new(mtu).map_or(Dialect::DEFAULT, |mtu| Dialect::Native { mtu });
        match self.dialect % 4 {
            0 => Dialect::DEFAULT,
            1 => Dialect::Compat,
            2 => native(1500),
            _ => native(256),
        }
    }

    pub(crate) fn config(&self, address: Address, number: u64) -> Config {
        let mut config = Config::new(address, KEY, u64::from(self.seed) << 8 | number);
        let at_least_one = |value: u8| usize::from(value % 16) + 1;
        config.numbering = if self.one {
            Numbering::One
        } else {
            Numbering::Seeded
        };
        config.eager_max = u32::from(self.eager) << 8;
        config.announce_unexpected = self.announce;
        config.limits = Limits {
            partners: at_least_one(self.partners),
            unexpected_bytes: u64::from(self.store_kib) << 10,
            unexpected_messages: usize::from(self.stored),
            open_mediums: u16::from(self.mediums % 8),
            unacked_messages: u16::from(self.unacked) + 1,
            unacked_bytes: 256 << 10,
            rendezvous: u16::from(self.rendezvous % 8),
            pulls: at_least_one(self.pulls),
            pull_jobs: u16::from(self.jobs % 16),
            answers: at_least_one(self.answers),
        };
        config.timers = Timers {
            give_up: Duration::from_secs(5),
            ..Timers::default()
        };
        config
    }

    /// What a path is like: `how` chooses the size of the pull window, whether offers go, and whether frames of pulled
    /// data are wide.
    pub(crate) fn profile(&self, how: u8) -> PathProfile {
        let dialect = self.dialect();
        let mut profile = PathProfile::new(dialect, 1 << (how & 31).min(22));
        profile.fetch = how & 32 != 0;
        if how & 64 != 0 {
            profile.max_frame = 60_000;
        }
        profile
    }
}

/// The key that both endpoints are opened with.
pub(crate) const KEY: u32 = 0x1234;

/// How long a message or a buffer is.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Length {
    Short(u8),
    Medium(u16),
    Long(u32),
}

impl Length {
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::Short(bytes) => bytes.into(),
            Self::Medium(bytes) => bytes.into(),
            Self::Long(bytes) => bytes % LONGEST,
        }
    }
}

/// By what messages are told apart: few values, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Label {
    bits: u8,
}

impl Label {
    pub(crate) fn space(self) -> Space {
        if self.bits & 1 == 0 {
            Space::Tagged
        } else {
            Space::Plain
        }
    }

    pub(crate) fn match_info(self) -> u64 {
        u64::from(self.bits >> 1 & 3) << 62 | u64::from(self.bits >> 3 & 3)
    }

    pub(crate) fn mode(self) -> SendMode {
        if self.bits & 32 == 0 {
            SendMode::Standard
        } else {
            SendMode::Synchronous
        }
    }

    /// Data beside the message: one in two has some.
    pub(crate) fn data(self) -> Option<u64> {
        (self.bits & 128 != 0).then_some(u64::from(self.bits) << 40)
    }

    /// What a receive looks at, and whether it takes messages of one partner only.
    pub(crate) fn mask(self) -> u64 {
        match self.bits >> 5 & 3 {
            0 => u64::MAX,
            1 => 0,
            2 => 3,
            _ => 3 << 62,
        }
    }

    pub(crate) fn selects(self) -> bool {
        self.bits & 128 != 0
    }
}

/// A change of one byte of a frame's head.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Edit {
    pub(crate) at: u8,
    pub(crate) flip: u8,
}

/// What happens. `at` says to which of the two endpoints; numbers of things are taken modulo how many there are.
#[derive(Arbitrary, Debug)]
pub(crate) enum Step {
    /// All frames under way are carried to where they belong, and what they cause as well, so many rounds.
    Exchange {
        rounds: u8,
    },
    Connect {
        at: bool,
        to: u8,
        wrong: bool,
        hurry: u8,
    },
    Send {
        at: bool,
        to: u8,
        label: Label,
        length: Length,
    },
    Receive {
        at: bool,
        from: u8,
        label: Label,
        length: Length,
    },
    Disconnect {
        at: bool,
        from: u8,
    },
    Cancel {
        at: bool,
        request: u8,
    },
    Deadline {
        at: bool,
        request: u8,
        after: u8,
    },
    Claim {
        at: bool,
        label: Label,
    },
    Take {
        at: bool,
        message: u8,
        length: Length,
    },
    Discard {
        at: bool,
        message: u8,
    },
    Fetched {
        at: bool,
        fetch: u8,
        worked: bool,
    },
    Path {
        at: bool,
        path: u8,
        how: u8,
    },
    DropPath {
        at: bool,
        path: u8,
    },
    Route {
        at: bool,
        to: u8,
        path: u8,
    },
    Gone {
        at: bool,
        who: u8,
        board: bool,
    },
    Close {
        at: bool,
    },
    Flush {
        at: bool,
    },
    Events {
        at: bool,
    },
    /// So much time passes: nanoseconds as a power of two.
    Pass {
        power: u8,
    },
    /// Takes frames out of an endpoint.
    Transmit {
        at: bool,
        path: u8,
        count: u8,
    },
    /// One of the frames under way arrives.
    Deliver {
        frame: u8,
    },
    /// One of the frames under way is lost.
    Lose {
        frame: u8,
    },
    /// A frame that was sent arrives (again), as it was.
    Repeat {
        frame: u8,
    },
    /// The same, changed, from whomever, by whatever path.
    Forge {
        frame: u8,
        at: bool,
        from: u8,
        path: u8,
        offer: bool,
        shorter: u16,
        edits: [Edit; 3],
    },
    /// Whatever arrives.
    Noise {
        at: bool,
        from: u8,
        path: u8,
        offer: bool,
        longer: u16,
        bytes: Vec<u8>,
    },
}
