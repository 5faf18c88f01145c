//! Knows what programs were promised, and sees every breach.
//!
//! - A message is received once, or its sender is told that it failed. Where nothing that excuses a failure has
//!   happened to either end, it is received.
//! - A receive gets the bytes of a message that it matches, and says truly how many.
//! - Messages of one sender that match the same receives are received in the order in which they were
//!   sent, receives that match the same message in the order in which they were posted.

use mxoe::engine::{SendMode, Space, Status};

use crate::payload;
use crate::scenario::{MessageId, PostId};
use crate::violation::Violation;

/// One life of one node: a node that starts again is somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// The node.
    pub node: usize,
    /// How often it had started before.
    pub number: u32,
}

/// A message as its sender gave it to the engine.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// Who sends.
    pub from: Life,
    /// The node it is for; which life of it is decided on arrival.
    pub to: usize,
    /// Matching space.
    pub space: Space,
    /// Match information.
    pub match_info: u64,
    /// Bytes.
    pub len: u32,
    /// When it is complete.
    pub mode: SendMode,
    /// Something may happen to one of the ends, or between them, that excuses a failure.
    pub excused: bool,
}

/// A receive as it was given to the engine.
#[derive(Debug, Clone, Copy)]
pub struct Posting {
    /// Whose.
    pub by: Life,
    /// Matching space.
    pub space: Space,
    /// What to match.
    pub match_info: u64,
    /// Which bits.
    pub mask: u64,
    /// Only from this node.
    pub from: Option<usize>,
    /// Room in bytes.
    pub len: u32,
    /// It took an unexpected message that was claimed: no rule of order applies to it.
    pub claimed: bool,
    /// It has a deadline, which may pass while the message is being transferred.
    pub hurried: bool,
}

/// What a receive says it has got.
#[derive(Debug, Clone, Copy)]
pub struct Got<'a> {
    /// How it went.
    pub status: Status,
    /// From which node.
    pub from: usize,
    /// Matching space.
    pub space: Space,
    /// Match information.
    pub match_info: u64,
    /// The message's length.
    pub length: u32,
    /// What is in the buffer.
    pub bytes: &'a [u8],
}

#[derive(Debug)]
struct Message {
    sending: Sending,
    /// What its sender was told.
    told: Option<(Status, u32)>,
    /// Who has got it, by which receive, how many bytes.
    got: Option<(PostId, u32)>,
    /// A receive failed that had matched it.
    broken: bool,
    /// Its receiver has died since it was acknowledged: what comes in the next life is another one.
    buried: bool,
    /// It looks like others that may have been lost with a life: which of them was received is a guess.
    guessed: bool,
    /// Nothing more can happen to it that must.
    settled: bool,
}

#[derive(Debug)]
struct Post {
    posting: Posting,
    state: PostState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PostState {
    Open,
    Got {
        message: MessageId,
        step: u64,
    },
    Failed,
    /// Withdrawn at this step.
    Withdrawn {
        step: u64,
    },
    /// Its program died.
    Gone,
}

/// The oracle of one run.
#[derive(Debug, Default)]
pub struct Oracle {
    messages: Vec<Option<Message>>,
    posts: Vec<Post>,
    /// For each node: which life it is in; `None` while it is dead.
    alive: Vec<Option<u32>>,
    unsettled: usize,
    /// Every message before this one has been received: nobody need look there.
    all_got_before: usize,
    /// Counts what happens.
    step: u64,
}

/// How a run went, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that engines accepted.
    pub sent: u64,
    /// Received.
    pub received: u64,
    /// Bytes that receives got of them.
    pub bytes: u64,
    /// Failed, and their sender was told or died.
    pub failed: u64,
}

impl Oracle {
    /// An oracle for so many nodes and messages.
    #[must_use]
    pub fn new(nodes: usize, messages: usize) -> Self {
        let mut empty = Vec::new();
        empty.resize_with(messages, || None);
        Self {
            messages: empty,
            alive: vec![None; nodes],
            ..Self::default()
        }
    }

    /// A node begins a life.
    pub fn born(&mut self, life: Life) {
        if let Some(alive) = self.alive.get_mut(life.node) {
            *alive = Some(life.number);
        }
    }

    /// A node's life ends: its receives are gone, and messages from and to it need not arrive any more.
    pub fn died(&mut self, node: usize) {
        if let Some(alive) = self.alive.get_mut(node) {
            *alive = None;
        }
        let alive = &self.alive;
        for post in &mut self.posts {
            if post.state == PostState::Open && !lives(alive, post.posting.by) {
                post.state = PostState::Gone;
            }
        }
        for message in self.messages.iter_mut().flatten() {
            message.buried |= message.sending.to == node && message.told.is_some();
        }
        for index in 0..self.messages.len() {
            self.settle(index);
        }
    }

    /// A send was accepted by an engine.
    pub fn sending(&mut self, id: MessageId, sending: Sending) {
        self.step += 1;
        if let Some(place) = self.messages.get_mut(id.0 as usize) {
            *place = Some(Message {
                sending,
                told: None,
                got: None,
                broken: false,
                buried: false,
                guessed: false,
                settled: false,
            });
            self.unsettled += 1;
        }
    }

    /// A receive was accepted by an engine.
    pub fn posting(&mut self, posting: Posting) -> PostId {
        self.step += 1;
        let id = u32::try_from(self.posts.len()).unwrap_or(u32::MAX);
        self.posts.push(Post {
            posting,
            state: PostState::Open,
        });
        PostId(id)
    }

    /// A receive was withdrawn: cancelled, or its deadline passed.
    ///
    /// # Errors
    ///
    /// When it had ended before.
    pub fn withdrawn(&mut self, id: PostId) -> Result<(), Violation> {
        self.step += 1;
        let step = self.step;
        let post = self.post(id)?;
        if post.state != PostState::Open {
            return Err(Violation::EndedTwice { post: id });
        }
        post.state = PostState::Withdrawn { step };
        Ok(())
    }

    /// A sender was told how its message went.
    ///
    /// # Errors
    ///
    /// When it was told before, or something that cannot be.
    pub fn told(&mut self, id: MessageId, status: Status, length: u32) -> Result<(), Violation> {
        self.step += 1;
        let message = self.message(id)?;
        if message.told.is_some() {
            return Err(Violation::ToldTwice { message: id });
        }
        let good = matches!(status, Status::Success | Status::Truncated);
        if !good && !message.sending.excused {
            return Err(Violation::Unexcused {
                message: id,
                status,
            });
        }
        if good && length > message.sending.len {
            return Err(Violation::WrongLength {
                message: id,
                told: length,
                is: message.sending.len,
            });
        }
        message.told = Some((status, length));
        self.settle(id.0 as usize);
        Ok(())
    }

    /// A receive ended.
    ///
    /// # Errors
    ///
    /// When it ended before, does not match what it got, got something that was never sent or was received
    /// already, the wrong bytes, or a failure that nothing excuses.
    pub fn got(&mut self, id: PostId, got: &Got<'_>) -> Result<(), Violation> {
        self.step += 1;
        let step = self.step;
        let post = self.post(id)?;
        if post.state != PostState::Open {
            return Err(Violation::EndedTwice { post: id });
        }
        let posting = post.posting;
        if !accepts(&posting, got.from, got.space, got.match_info) {
            return Err(Violation::DoesNotMatch {
                post: id,
                match_info: got.match_info,
            });
        }
        if !matches!(got.status, Status::Success | Status::Truncated) {
            post.state = PostState::Failed;
            return self.broke(id, &posting, got);
        }
        let fits = got.length.min(posting.len);
        let truncated = got.length > posting.len;
        if truncated != (got.status == Status::Truncated) || got.bytes.len() != fits as usize {
            return Err(Violation::Misreported {
                post: id,
                status: got.status,
                length: got.length,
            });
        }
        let (message, sure) = self
            .identify(&posting, got)
            .ok_or_else(|| self.unidentified(id, got))?;
        self.post(id)?.state = PostState::Got { message, step };
        let found = self.message(message)?;
        found.got = Some((id, fits));
        found.guessed = !sure;
        self.settle(message.0 as usize);
        let is_got = |message: &Option<Message>| {
            message
                .as_ref()
                .is_some_and(|message| message.got.is_some())
        };
        while self.messages.get(self.all_got_before).is_some_and(is_got) {
            self.all_got_before += 1;
        }
        Ok(())
    }

    /// A message that waits was shown to its receiver, with its first bytes.
    ///
    /// # Errors
    ///
    /// When nobody has sent it.
    pub fn shown(&self, to: usize, shown: &Got<'_>) -> Result<(), Violation> {
        let is = |(index, message): (usize, &Option<Message>)| {
            message.as_ref().is_some_and(|message| {
                is_it(message, to, shown)
                    && payload::of_message(index as u64, shown.length).starts_with(shown.bytes)
            })
        };
        if self.messages.iter().enumerate().any(is) {
            return Ok(());
        }
        Err(Violation::WrongShown {
            node: to,
            from: shown.from,
            length: shown.length,
        })
    }

    /// A receive failed after it was matched: that needs an excuse.
    fn broke(&mut self, id: PostId, posting: &Posting, got: &Got<'_>) -> Result<(), Violation> {
        let late = posting.hurried && got.status == Status::Timeout;
        let same = |message: &Message| {
            message.got.is_none()
                && !message.broken
                && (message.sending.excused || late)
                && is_it(message, posting.by.node, got)
        };
        let index = self
            .messages
            .iter()
            .position(|message| message.as_ref().is_some_and(same));
        let Some(index) = index else {
            return Err(Violation::FailedReceive {
                post: id,
                status: got.status,
            });
        };
        if let Some(Some(message)) = self.messages.get_mut(index) {
            message.broken = true;
        }
        self.settle(index);
        Ok(())
    }

    /// The oldest message not yet received that this can be, and whether it can be no other.
    fn identify(&self, posting: &Posting, got: &Got<'_>) -> Option<(MessageId, bool)> {
        let number = |index: usize| MessageId(u32::try_from(index).unwrap_or(u32::MAX));
        let fits = |(index, message): &(usize, &Option<Message>)| {
            message.as_ref().is_some_and(|message| {
                message.got.is_none()
                    && !message.broken
                    && !message.buried
                    && is_it(message, posting.by.node, got)
                    && payload::of_message(*index as u64, got.length).starts_with(got.bytes)
            })
        };
        let all = self.messages.iter().enumerate().skip(self.all_got_before);
        let mut fitting = all.into_iter().filter(fits);
        let (index, message) = fitting.next()?;
        // Where nothing is lost with a life, the oldest is the one.
        let excused = message
            .as_ref()
            .is_some_and(|message| message.sending.excused);
        let sure = !excused || fitting.next().is_none();
        Some((number(index), sure))
    }

    /// Says what is wrong with bytes that belong to no message that is awaited.
    fn unidentified(&self, post: PostId, got: &Got<'_>) -> Violation {
        let own = u32::try_from(got.match_info & u64::from(u32::MAX)).unwrap_or(0);
        let twice = self.messages.iter().enumerate().any(|(index, message)| {
            message.as_ref().is_some_and(|message| {
                message.got.is_some()
                    && message.sending.match_info == got.match_info
                    && message.sending.len == got.length
                    && message.sending.from.node == got.from
                    && payload::of_message(index as u64, got.length).starts_with(got.bytes)
            })
        });
        if twice {
            Violation::ReceivedTwice { post, own }
        } else {
            Violation::WrongBytes {
                post,
                own,
                from: got.from,
                length: got.length,
            }
        }
    }

    /// Messages that still have to arrive or to fail.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// The first few messages that are not settled, for people.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        let open = self
            .messages
            .iter()
            .enumerate()
            .filter_map(|(index, message)| {
                let message = message.as_ref().filter(|message| !message.settled)?;
                Some(format!("message {index}: {message:?}"))
            });
        open.take(5).collect()
    }

    /// Whether a receive takes whatever comes.
    #[must_use]
    pub fn is_for_anything(&self, id: PostId) -> bool {
        self.posts
            .get(id.0 as usize)
            .is_some_and(|post| post.posting.mask == 0 && post.posting.from.is_none())
    }

    /// Receives of this life that wait.
    pub fn open_posts(&self, life: Life) -> impl Iterator<Item = PostId> {
        let open = self.posts.iter().enumerate();
        let open =
            open.filter(move |(_, post)| post.state == PostState::Open && post.posting.by == life);
        open.map(|(index, _)| PostId(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    /// The closing check: nothing open, lengths agree, and the order was kept.
    ///
    /// # Errors
    ///
    /// With the first breach found.
    pub fn close(&self) -> Result<Tally, Violation> {
        let mut tally = Tally::default();
        for (index, message) in self.messages.iter().enumerate() {
            let Some(message) = message else { continue };
            let id = MessageId(u32::try_from(index).unwrap_or(u32::MAX));
            tally.sent += 1;
            match (message.got, message.told) {
                (Some((_, fits)), Some((Status::Success | Status::Truncated, length))) => {
                    let eager = length == message.sending.len;
                    if !eager && length != fits {
                        return Err(Violation::WrongLength {
                            message: id,
                            told: length,
                            is: fits,
                        });
                    }
                }
                (None, Some((Status::Success | Status::Truncated, _))) => {
                    let synchronous = message.sending.mode == SendMode::Synchronous;
                    if synchronous && !message.broken && !message.sending.excused {
                        return Err(Violation::NeverReceived { message: id });
                    }
                }
                _ => {}
            }
            tally.received += u64::from(message.got.is_some());
            tally.bytes += message.got.map_or(0, |(_, fits)| u64::from(fits));
            tally.failed += u64::from(message.got.is_none());
            if !message.settled {
                return Err(Violation::NeverReceived { message: id });
            }
            if let Some((took, _)) = message.got {
                self.check_posts(took, &message.sending)?;
            }
        }
        self.check_order()?;
        Ok(tally)
    }

    /// How far back the order is checked. Messages that overtake do so by a few places.
    const LOOK_BACK: usize = 64;

    /// The rules of matching order, for all pairs of messages of one sender to one life.
    fn check_order(&self) -> Result<(), Violation> {
        let mut pairs = std::collections::BTreeMap::<(Life, usize), Vec<usize>>::new();
        for (index, message) in self.messages.iter().enumerate() {
            if let Some(message) = message {
                pairs
                    .entry((message.sending.from, message.sending.to))
                    .or_default()
                    .push(index);
            }
        }
        for sequence in pairs.values() {
            for (place, &later) in sequence.iter().enumerate() {
                let from = place.saturating_sub(Self::LOOK_BACK);
                for &earlier in sequence.get(from..place).unwrap_or_default() {
                    self.check_pair(earlier, later)?;
                }
            }
        }
        Ok(())
    }

    /// `earlier` and `later` have the same sender and receiver. If a receive took `later` that would have taken
    /// `earlier` as well, `earlier` must have been taken by a receive posted before.
    fn check_pair(&self, earlier: usize, later: usize) -> Result<(), Violation> {
        let (Some(Some(first)), Some(Some(second))) =
            (self.messages.get(earlier), self.messages.get(later))
        else {
            return Ok(());
        };
        let Some((took, _)) = second.got else {
            return Ok(());
        };
        let Some(post) = self.posts.get(took.0 as usize) else {
            return Ok(());
        };
        let sent = &first.sending;
        let would = accepts(&post.posting, sent.from.node, sent.space, sent.match_info);
        if !would || post.posting.claimed || first.broken || first.guessed || second.guessed {
            return Ok(());
        }
        let overtaken = match first.got {
            Some((by, _)) => self.posts.get(by.0 as usize).is_some_and(|other| {
                !other.posting.claimed && other.posting.by == post.posting.by && by > took
            }),
            // It may have failed, or have been for an earlier life of the receiver.
            None => !sent.excused,
        };
        if overtaken {
            let number = |index: usize| MessageId(u32::try_from(index).unwrap_or(u32::MAX));
            return Err(Violation::Overtaken {
                earlier: number(earlier),
                later: number(later),
                post: took,
            });
        }
        Ok(())
    }

    /// A receive posted before the one that took a message, and that accepts it too, must not be without a message
    /// when that one ended.
    fn check_posts(&self, took: PostId, sent: &Sending) -> Result<(), Violation> {
        let Some(post) = self.posts.get(took.0 as usize) else {
            return Ok(());
        };
        let PostState::Got { step: ended, .. } = post.state else {
            return Ok(());
        };
        if post.posting.claimed {
            return Ok(());
        }
        let from = (took.0 as usize).saturating_sub(Self::LOOK_BACK);
        for (index, older) in self
            .posts
            .iter()
            .enumerate()
            .take(took.0 as usize)
            .skip(from)
        {
            let waited = match older.state {
                PostState::Open => true,
                PostState::Withdrawn { step } => step > ended,
                PostState::Got { .. } | PostState::Failed | PostState::Gone => false,
            };
            let suits = older.posting.by == post.posting.by
                && !older.posting.claimed
                && accepts(&older.posting, sent.from.node, sent.space, sent.match_info);
            if waited && suits {
                let older = PostId(u32::try_from(index).unwrap_or(u32::MAX));
                return Err(Violation::PassedOver { older, newer: took });
            }
        }
        Ok(())
    }

    /// Looks whether anything more has to happen to a message.
    fn settle(&mut self, index: usize) {
        let alive = &self.alive;
        let Some(Some(message)) = self.messages.get_mut(index) else {
            return;
        };
        if message.settled {
            return;
        }
        let sender_lives = lives(alive, message.sending.from);
        let good = matches!(message.told, Some((Status::Success | Status::Truncated, _)));
        let failed = message.told.is_some() && !good;
        // A message that is excused may have reached a life that died since: nobody can tell.
        let receiver_lives = alive.get(message.sending.to).is_some_and(Option::is_some);
        let arrived = message.got.is_some() || message.broken;
        let lost = message.sending.excused && (!sender_lives || failed || !receiver_lives);
        let told = message.told.is_some() || !sender_lives;
        if told && (arrived || lost || (good && message.sending.excused)) {
            message.settled = true;
            self.unsettled -= 1;
        }
    }

    fn message(&mut self, id: MessageId) -> Result<&mut Message, Violation> {
        let found = self
            .messages
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut);
        found.ok_or(Violation::NeverSent { message: id })
    }

    fn post(&mut self, id: PostId) -> Result<&mut Post, Violation> {
        self.posts
            .get_mut(id.0 as usize)
            .ok_or(Violation::NeverPosted { post: id })
    }
}

fn lives(alive: &[Option<u32>], life: Life) -> bool {
    alive.get(life.node).copied().flatten() == Some(life.number)
}

fn accepts(posting: &Posting, from: usize, space: Space, match_info: u64) -> bool {
    posting.space == space
        && posting.match_info == match_info & posting.mask
        && posting.from.is_none_or(|node| node == from)
}

/// Whether what a receive of this node got looks like this message from outside.
fn is_it(message: &Message, by: usize, got: &Got<'_>) -> bool {
    let sending = &message.sending;
    sending.to == by
        && sending.from.node == got.from
        && sending.space == got.space
        && sending.match_info == got.match_info
        && sending.len == got.length
}

#[cfg(test)]
mod tests;
