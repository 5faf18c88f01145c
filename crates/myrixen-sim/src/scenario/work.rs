//! What programs do: sends, receives, cancels, in virtual time.

use std::time::Duration;

use mxoe::engine::{SendMode, Space};

use crate::payload::LONGEST;
use crate::rng::{Ppm, Rng};

/// A message of the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u32);

/// A receive of the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostId(pub u32);

/// One thing a program does.
#[derive(Debug, Clone)]
pub struct Action {
    /// When, at the earliest: a send waits for its connection.
    pub at: Duration,
    /// Whose program.
    pub node: usize,
    /// What.
    pub what: What,
}

/// What a program does.
#[derive(Debug, Clone)]
pub enum What {
    /// Sends a message.
    Send {
        /// Which one; ids count from 0 in order of time.
        id: MessageId,
        /// To which node; may be the sender itself.
        to: usize,
        /// In which matching space.
        space: Space,
        /// The upper half is a tag of few values, the lower half the message's own or 0.
        match_info: u64,
        /// Bytes.
        len: u32,
        /// When it is complete.
        mode: SendMode,
    },
    /// Posts a receive.
    Receive {
        /// In which matching space.
        space: Space,
        /// What to match.
        match_info: u64,
        /// Which bits of it.
        mask: u64,
        /// Only from this node, if the node knows it by then.
        from: Option<usize>,
        /// Room in bytes.
        len: u32,
        /// Whether the program loses patience.
        give: Give,
    },
    /// Shows a wrong key to another node, and expects to be refused.
    WrongKey {
        /// To which node.
        to: usize,
    },
}

/// How long a program waits for a receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Give {
    /// As long as it takes.
    Time,
    /// Cancels it after so long.
    Cancel(Duration),
    /// Gives it a deadline so long after posting it.
    Deadline(Duration),
}

/// The half of the match information that is a tag.
const TAG: u64 = 0xffff_ffff_0000_0000;

/// Messages of all sizes between all nodes.
pub(super) fn mixed(nodes: usize, services: Option<Rng>, rng: &mut Rng) -> Vec<Action> {
    let count = rng.between(20, 120);
    let window = Duration::from_micros(rng.between(100, 30_000));
    let mut work = Work::new(rng.chance(Ppm::percent(25)), services);
    for _ in 0..count {
        let from = rng.index(nodes);
        let to = rng.index(nodes);
        // To oneself, but seldom.
        let to = if from == to && rng.chance(Ppm::percent(80)) {
            (to + 1) % nodes
        } else {
            to
        };
        work.message(rng.up_to(window), from, to, nodes, window, rng);
    }
    if rng.chance(Ppm::percent(10)) {
        let (node, to) = (rng.index(nodes), rng.index(nodes));
        work.actions.push(Action {
            at: rng.up_to(window),
            node,
            what: What::WrongKey { to },
        });
    }
    work.finish()
}

/// Everybody to the first node, at once.
pub(super) fn many_to_one(nodes: usize, services: Option<Rng>, rng: &mut Rng) -> Vec<Action> {
    let count = rng.between(40, 150);
    let window = Duration::from_micros(rng.between(10, 2_000));
    let mut work = Work::new(false, services);
    for _ in 0..count {
        let from = 1 + rng.index(nodes - 1);
        work.message(rng.up_to(window), from, 0, nodes, window * 4, rng);
    }
    work.finish()
}

/// More tiny messages than there are sequence numbers.
pub(super) fn stream(rng: &mut Rng) -> Vec<Action> {
    let mut work = Work::new(false, None);
    for number in 0..rng.between(17_000, 20_000) {
        let at = Duration::from_micros(number / 2);
        work.send(at, 0, 1, 1 << 32, rng.length(0, 40), SendMode::Standard);
        let what = What::Receive {
            space: Space::Tagged,
            match_info: 1 << 32,
            mask: TAG,
            from: None,
            len: 64,
            give: Give::Time,
        };
        work.actions.push(Action {
            at: at + rng.up_to(Duration::from_millis(1)),
            node: 1,
            what,
        });
    }
    work.finish()
}

/// Actions under construction.
struct Work {
    actions: Vec<Action>,
    messages: u32,
    /// Both matching spaces of programs, not the tagged one alone.
    spaces: bool,
    /// Decides which messages are service messages, if any.
    services: Option<Rng>,
}

impl Work {
    fn new(spaces: bool, services: Option<Rng>) -> Self {
        Self {
            actions: Vec::new(),
            messages: 0,
            spaces,
            services,
        }
    }

    /// In order of time, messages numbered in this order too.
    fn finish(mut self) -> Vec<Action> {
        self.actions.sort_by_key(|action| action.at);
        let mut next = 0;
        for action in &mut self.actions {
            if let What::Send { id, .. } = &mut action.what {
                *id = MessageId(next);
                next += 1;
            }
        }
        self.actions
    }

    fn send(
        &mut self,
        at: Duration,
        node: usize,
        to: usize,
        match_info: u64,
        len: u32,
        mode: SendMode,
    ) {
        self.messages += 1;
        let space = Space::Tagged;
        let what = What::Send {
            id: MessageId(0),
            to,
            space,
            match_info,
            len,
            mode,
        };
        self.actions.push(Action { at, node, what });
    }

    /// A message, and perhaps a receive for it, before or after.
    fn message(
        &mut self,
        at: Duration,
        node: usize,
        to: usize,
        nodes: usize,
        window: Duration,
        rng: &mut Rng,
    ) {
        let own = rng.chance(Ppm::percent(60));
        let lower = if own { u64::from(self.messages) + 1 } else { 0 };
        let match_info = rng.between(1, 3) << 32 | lower;
        let len = length(rng);
        let mode = if rng.chance(Ppm::percent(10)) {
            SendMode::Synchronous
        } else {
            SendMode::Standard
        };
        self.send(at, node, to, match_info, len, mode);
        let plain = self.spaces && rng.chance(Ppm::percent(40));
        let service = self.services.as_mut();
        let service = service.is_some_and(|services| services.chance(Ppm::percent(50)));
        let chosen = match (service, plain) {
            (true, _) => Space::Service,
            (false, true) => Space::Plain,
            (false, false) => Space::Tagged,
        };
        if let Some(Action {
            what: What::Send { space, .. },
            ..
        }) = self.actions.last_mut()
        {
            *space = chosen;
        }
        if let Some((mask, room)) = receive_for(len, rng) {
            let wanted = match_info & mask;
            let from = rng.chance(Ppm::percent(30)).then(|| {
                if rng.chance(Ppm::percent(90)) {
                    node
                } else {
                    rng.index(nodes)
                }
            });
            let patience = rng.up_to(window);
            let give = match rng.below(20) {
                0 => Give::Cancel(patience),
                1 => Give::Deadline(patience),
                _ => Give::Time,
            };
            let what = What::Receive {
                space: chosen,
                match_info: wanted,
                mask,
                from,
                len: room,
                give,
            };
            self.actions.push(Action {
                at: rng.up_to(window),
                node: to,
                what,
            });
        }
    }
}

/// The mask of the receive for a message, and its room; `None`: the program takes it with the rest.
fn receive_for(len: u32, rng: &mut Rng) -> Option<(u64, u32)> {
    let mask = rng.weighted(&[
        (45, Some(u64::MAX)),
        (30, Some(TAG)),
        (8, Some(0)),
        (17, None),
    ])??;
    let short = rng.chance(Ppm::percent(8));
    let room = if short {
        rng.length(0, len)
    } else if mask == u64::MAX {
        len
    } else {
        LONGEST
    };
    Some((mask, room))
}

/// Lengths of every class, and those at their borders.
fn length(rng: &mut Rng) -> u32 {
    const BORDERS: [u32; 14] = [
        0, 1, 32, 33, 128, 129, 1452, 1453, 4096, 4097, 8192, 32768, 32769, LONGEST,
    ];
    let (low, high) = rng
        .weighted(&[
            (30, (0, 32)),
            (18, (33, 128)),
            (22, (129, 8192)),
            (10, (8193, 32768)),
            (8, (32769, 131_072)),
            (2, (131_073, LONGEST)),
        ])
        .unwrap_or((0, 0));
    if rng.chance(Ppm::percent(10)) {
        BORDERS[rng.index(BORDERS.len() - 1)]
    } else {
        rng.length(low, high)
    }
}
