//! Which frames of a pull have arrived, which are asked for, which are to be asked for again (specification, 7.4).
//!
//! Frames are counted from 0. All below `base` have arrived; up to 256 from there on may be asked for, since replies tell
//! their frame modulo 256. An *ask* is a PULL that is not answered in full. A PULL is answered in order, and PULLs in the
//! order they came: so what an ask lacks when a later ask is complete, or when its own last frame has come, is lost or late.
//! It is given time to be late, as long as frames of one moment may be apart, and then asked for again, and only that. A frame
//! that was asked for again may be the late answer to the former ask: when it comes sooner than an answer can, it tells
//! nothing about asks before it.

use std::collections::VecDeque;
use std::time::Duration;

use super::timing::after;
use crate::time::Time;

/// Frames that may be asked for and not have arrived: their numbers are told modulo 256.
const SPAN: u32 = 256;

/// A PULL that is not answered in full.
#[derive(Clone, Copy, Debug)]
struct Ask {
    first: u32,
    /// The frame after the last one.
    end: u32,
    missing: u32,
    sent: Time,
    /// For frames that were asked for before, so that answers tell nothing about the round trip.
    again: bool,
    answered: bool,
    /// When it was seen that what is missing is lost or late.
    passed: Option<Time>,
}

/// How fast answers come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// No answer comes sooner after its ask.
    pub(super) soonest: Duration,
    /// So far apart frames may arrive that belong together.
    pub(super) apart: Duration,
}

/// What a reply has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    /// Frames that are not outstanding any more: this one, and those found lost.
    pub(super) settled: u32,
    /// The round trip, where the reply tells it.
    pub(super) sample: Option<Duration>,
}

/// A pull's frames.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Frames of the whole pull.
    frames: u32,
    /// The first frame that has not arrived.
    base: u32,
    /// Which frames from `base` on have arrived: frame `f` at bit `f % 256`.
    have: [u64; 4],
    /// The first frame never asked for.
    next: u32,
    /// In the order sent.
    asks: VecDeque<Ask>,
    /// Ranges to be asked for again; frames of them may arrive meanwhile.
    again: VecDeque<(u32, u32)>,
    /// Frames of `asks` that have not arrived.
    outstanding: u32,
    /// How many may be outstanding.
    limit: u32,
    /// The window does not shrink again before a frame from here on is found lost.
    shrunk_at: u32,
    /// Grown by as many frames as have arrived, until the first loss.
    slow_start: bool,
    /// Frames that have arrived towards the next growth.
    credit: u32,
}

impl Window {
    /// A pull of `frames` frames of which `limit` may be outstanding at first. Keeps its memory.
    pub(super) fn restart(&mut self, frames: u32, limit: u32) {
        self.asks.clear();
        self.again.clear();
        *self = Self {
            frames,
            limit: limit.clamp(1, SPAN),
            slow_start: true,
            asks: std::mem::take(&mut self.asks),
            again: std::mem::take(&mut self.again),
            ..Self::default()
        };
    }

    #[cfg(test)]
    fn outstanding(&self) -> u32 {
        self.outstanding
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// The first frame that has not arrived.
    pub(super) fn base(&self) -> u32 {
        self.base
    }

    pub(super) fn is_complete(&self) -> bool {
        self.base >= self.frames
    }

    /// When the last ask went out that is not answered in full.
    pub(super) fn last_sent(&self) -> Option<Time> {
        self.asks.back().map(|ask| ask.sent)
    }

    fn has(&self, frame: u32) -> bool {
        frame < self.base || self.word(frame) & bit(frame) != 0
    }

    fn word(&self, frame: u32) -> u64 {
        self.have.get(place(frame)).copied().unwrap_or(0)
    }

    fn word_mut(&mut self, frame: u32) -> Option<&mut u64> {
        self.have.get_mut(place(frame))
    }

    /// Whether the frame is one that was asked for and has not arrived.
    pub(super) fn expects(&self, frame: u32) -> bool {
        frame < self.next && frame.wrapping_sub(self.base) < SPAN && !self.has(frame)
    }

    /// Takes in a frame that was expected. `block` is how many frames a PULL can ask for.
    pub(super) fn arrive(&mut self, now: Time, frame: u32, block: u32, pace: Pace) -> Arrived {
        if let Some(word) = self.word_mut(frame) {
            *word |= bit(frame);
        }
        let outstanding = self.outstanding;
        let mut sample = None;
        let asked = self
            .asks
            .iter()
            .position(|ask| ask.first <= frame && frame < ask.end);
        if let Some(place) = asked
            && let Some(ask) = self.asks.get_mut(place)
        {
            if !ask.answered && !ask.again {
                sample = Some(now.since(ask.sent));
            }
            let answers = !ask.again || now.since(ask.sent) >= pace.soonest;
            ask.answered |= answers;
            ask.missing = ask.missing.saturating_sub(1);
            let complete = ask.missing == 0;
            let last = frame.saturating_add(1) == ask.end;
            self.outstanding = self.outstanding.saturating_sub(1);
            self.grow(block);
            let passed = place.saturating_add((last && !complete).into());
            if complete {
                self.asks.remove(place);
            }
            if answers && (complete || last) {
                self.pass(now, passed);
            }
        }
        self.give_up_passed(now, pace.apart);
        while self.base < self.frames && self.word(self.base) & bit(self.base) != 0 {
            let base = self.base;
            if let Some(word) = self.word_mut(base) {
                *word &= !bit(base);
            }
            self.base = base.saturating_add(1);
        }
        Arrived {
            settled: outstanding.saturating_sub(self.outstanding),
            sample,
        }
    }

    /// A frame has arrived: one more may be outstanding, or, after a loss, one block more a round trip.
    fn grow(&mut self, block: u32) {
        if self.slow_start {
            self.limit = self.limit.saturating_add(1).min(SPAN);
            return;
        }
        self.credit = self.credit.saturating_add(block);
        if self.credit >= self.limit {
            self.credit = self.credit.saturating_sub(self.limit);
            self.limit = self.limit.saturating_add(1).min(SPAN);
        }
    }

    /// What the first `count` asks lack is lost or late.
    fn pass(&mut self, now: Time, count: usize) {
        for ask in self.asks.iter_mut().take(count) {
            ask.passed.get_or_insert(now);
        }
    }

    /// When the first of what is lost or late has been late for long enough. Asks are passed from the front on.
    pub(super) fn loss_due(&self, apart: Duration) -> Option<Time> {
        let passed = self.asks.front()?.passed?;
        Some(after(passed, apart))
    }

    /// What was late for so long is lost. Gives how many frames that were.
    pub(super) fn give_up_passed(&mut self, now: Time, apart: Duration) -> u32 {
        let outstanding = self.outstanding;
        while self.loss_due(apart).is_some_and(|due| due <= now) {
            self.give_up_asks(1);
        }
        outstanding.saturating_sub(self.outstanding)
    }

    /// What the first `count` asks lack is lost.
    fn give_up_asks(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(ask) = self.asks.pop_front() {
                self.lose(ask);
            }
        }
    }

    fn lose(&mut self, ask: Ask) {
        self.outstanding = self.outstanding.saturating_sub(ask.missing);
        self.again.push_back((ask.first, ask.end));
        if ask.end > self.shrunk_at {
            self.shrunk_at = self.next;
            self.slow_start = false;
            self.limit = (self.limit / 2).max(2);
        }
    }

    /// Nothing has come for too long: all that is outstanding is lost. Gives how many frames that were.
    pub(super) fn lose_all(&mut self) -> u32 {
        let outstanding = self.outstanding;
        self.give_up_asks(self.asks.len());
        self.outstanding = 0;
        outstanding
    }

    /// The next run of frames to ask for: at most `block`, and no more than `room`. They are outstanding from now on.
    ///
    /// Rather than a small piece of a block while much is outstanding it gives nothing, and waits until there is
    /// more room.
    pub(super) fn ask(&mut self, now: Time, block: u32, room: u32) -> Option<(u32, u32)> {
        let room = room.min(self.limit.saturating_sub(self.outstanding));
        let (first, count, again) = match self.next_again(block) {
            Some((first, count)) => (first, count.min(room), true),
            None => {
                let left = self.frames.saturating_sub(self.next);
                let span = self.base.saturating_add(SPAN).saturating_sub(self.next);
                let wanted = block.min(left);
                let count = wanted.min(span).min(room);
                let enough = wanted.min(self.limit).div_ceil(2);
                if count < enough && self.outstanding > 0 {
                    return None;
                }
                (self.next, count, false)
            }
        };
        if count == 0 {
            return None;
        }
        let end = first.saturating_add(count);
        if !again {
            self.next = end;
        } else if let Some(range) = self.again.front_mut() {
            range.0 = end;
        }
        self.asks.push_back(Ask {
            first,
            end,
            missing: count,
            sent: now,
            again,
            answered: false,
            passed: None,
        });
        self.outstanding = self.outstanding.saturating_add(count);
        Some((first, count))
    }

    /// The first run of frames that are to be asked for again and have not arrived meanwhile.
    fn next_again(&mut self, block: u32) -> Option<(u32, u32)> {
        while let Some(&(start, end)) = self.again.front() {
            let mut missing = (start.max(self.base)..end).skip_while(|frame| self.has(*frame));
            if let Some(first) = missing.next() {
                let more = missing.take_while(|frame| !self.has(*frame));
                let more = more.take(block.saturating_sub(1) as usize).count();
                if let Some(range) = self.again.front_mut() {
                    range.0 = first;
                }
                let count = u32::try_from(more).unwrap_or(0).saturating_add(1);
                return Some((first, count));
            }
            self.again.pop_front();
        }
        None
    }

    /// The first frame never asked for: where an ask that is no repetition begins.
    pub(super) fn next_fresh(&self) -> u32 {
        self.next
    }

    /// Whether there is anything left to ask for, now or later.
    pub(super) fn wants_more(&self) -> bool {
        self.next < self.frames || !self.again.is_empty()
    }
}

fn place(frame: u32) -> usize {
    (frame % SPAN / u64::BITS) as usize
}

fn bit(frame: u32) -> u64 {
    1_u64.checked_shl(frame % u64::BITS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::ZERO;

    fn window(frames: u32, limit: u32) -> Window {
        let mut window = Window::default();
        window.restart(frames, limit);
        window
    }

    fn arrive(window: &mut Window, frames: impl IntoIterator<Item = u32>) {
        for frame in frames {
            assert!(window.expects(frame), "{frame}");
            window.arrive(NOW, frame, 8, Pace::default());
            assert!(!window.expects(frame), "{frame}");
        }
    }

    #[test]
    fn blocks_are_asked_for_within_the_limit() {
        let mut window = window(20, 16);
        assert_eq!(window.ask(NOW, 8, 100), Some((0, 8)));
        assert_eq!(window.ask(NOW, 8, 100), Some((8, 8)));
        assert_eq!(window.ask(NOW, 8, 100), None);
        arrive(&mut window, 0..8);
        assert_eq!(window.ask(NOW, 8, 100), Some((16, 4)));
        arrive(&mut window, 8..20);
        assert!(window.is_complete() && window.outstanding() == 0);
    }

    #[test]
    fn what_a_block_lacks_when_a_later_one_is_complete_is_asked_for_again() {
        let mut window = window(24, 24);
        for first in [0, 8, 16] {
            assert_eq!(window.ask(NOW, 8, 100), Some((first, 8)));
        }
        arrive(&mut window, [0, 1, 3, 4, 5]);
        arrive(&mut window, 8..16);
        assert_eq!(window.outstanding(), 8);
        assert_eq!(window.ask(NOW, 8, 100), Some((2, 1)));
        assert_eq!(window.ask(NOW, 8, 100), Some((6, 2)));
        assert_eq!(window.ask(NOW, 8, 100), None);
        arrive(&mut window, [2, 6, 7]);
        arrive(&mut window, 16..24);
        assert!(window.is_complete());
        assert_eq!(window.ask(NOW, 8, 100), None);
        assert!(!window.wants_more());
    }

    #[test]
    fn a_hole_before_the_end_of_the_last_block_is_found_without_a_timer() {
        let mut window = window(8, 8);
        window.ask(NOW, 8, 100);
        arrive(&mut window, [0, 1, 2, 4, 5, 6, 7]);
        assert_eq!(window.ask(NOW, 8, 100), Some((3, 1)));
        arrive(&mut window, [3]);
        assert!(window.is_complete());
    }

    /// Answers take 100 us at least, and belong together within 30 us.
    const PACE: Pace = Pace {
        soonest: Duration::from_micros(100),
        apart: Duration::from_micros(30),
    };

    fn at(micros: u64) -> Time {
        Time::from_nanos(micros * 1000)
    }

    #[test]
    fn a_late_frame_is_waited_for_before_it_is_asked_for_again() {
        let mut window = window(24, 24);
        for _ in 0..3 {
            window.ask(at(0), 8, 100);
        }
        for frame in [0, 1, 3, 4, 5, 6, 7] {
            window.arrive(at(200), frame, 8, PACE);
        }
        assert_eq!(window.loss_due(PACE.apart), Some(at(230)));
        assert_eq!(window.ask(at(200), 8, 100), None);
        window.arrive(at(210), 2, 8, PACE);
        assert_eq!(window.loss_due(PACE.apart), None);
        assert_eq!(window.give_up_passed(at(500), PACE.apart), 0);
        // The next block lacks its first frame, and that does not come.
        for frame in 9..16 {
            window.arrive(at(220), frame, 8, PACE);
        }
        assert_eq!(window.give_up_passed(at(249), PACE.apart), 0);
        assert_eq!(window.give_up_passed(at(250), PACE.apart), 1);
        assert_eq!(window.ask(at(250), 8, 100), Some((8, 1)));
    }

    #[test]
    fn the_late_answer_to_a_former_ask_says_nothing_about_others() {
        let mut window = window(16, 64);
        window.ask(at(0), 8, 100);
        window.ask(at(0), 8, 100);
        assert_eq!(window.lose_all(), 16);
        assert_eq!(window.ask(at(300), 8, 100), Some((0, 8)));
        assert_eq!(window.ask(at(300), 8, 100), Some((8, 8)));
        // The second block was on its way after all; the first one's repetition cannot be here yet.
        for frame in 8..16 {
            window.arrive(at(310), frame, 8, PACE);
        }
        assert_eq!(window.give_up_passed(at(399), PACE.apart), 0);
        assert_eq!(window.ask(at(399), 8, 100), None);
        for frame in 0..8 {
            window.arrive(at(410), frame, 8, PACE);
        }
        assert!(window.is_complete() && window.outstanding() == 0);
    }

    #[test]
    fn a_frame_that_was_taken_for_lost_is_welcome_when_it_comes() {
        let mut window = window(16, 16);
        window.ask(NOW, 8, 100);
        window.ask(NOW, 8, 100);
        assert_eq!(window.lose_all(), 16);
        arrive(&mut window, 0..16);
        assert!(window.is_complete());
        assert_eq!(window.ask(NOW, 8, 100), None);
        assert!(!window.wants_more());
    }

    #[test]
    fn no_more_than_256_frames_are_ambiguous() {
        let mut window = window(1000, 256);
        for _ in 0..32 {
            assert!(window.ask(NOW, 8, 1000).is_some());
        }
        // The first frame is missing; all others that were asked for arrive.
        arrive(&mut window, 1..256);
        let again = window.ask(NOW, 8, 1000);
        assert_eq!(again, Some((0, 1)));
        assert_eq!(window.ask(NOW, 8, 1000), None);
        assert!(!window.expects(256));
        arrive(&mut window, [0]);
        assert_eq!(window.ask(NOW, 8, 1000), Some((256, 8)));
    }

    #[test]
    fn the_window_halves_once_for_one_loss_and_grows_slowly_after_it() {
        let mut window = window(10_000, 64);
        while window.ask(NOW, 8, 1000).is_some() {}
        arrive(&mut window, 8..64);
        // It was 72 when the second block was complete, and what came after it was worth a bit more than a block.
        assert!(
            (36 + 8..36 + 12).contains(&window.limit()),
            "{}",
            window.limit()
        );
    }

    #[test]
    fn every_order_of_arrival_with_losses_completes() {
        let mut state = 1_u64;
        for round in 0..200_u64 {
            let mut window = window(300, 32);
            let mut flying = vec![];
            let mut turns = 0;
            while !window.is_complete() {
                turns += 1;
                assert!(turns < 10_000, "round {round}");
                while let Some((first, count)) = window.ask(NOW, 8, 64) {
                    flying.extend(first..first + count);
                }
                if flying.is_empty() {
                    window.lose_all();
                    continue;
                }
                let random = crate::matching::hash::splitmix(&mut state);
                let place = usize::try_from(random % 5).unwrap().min(flying.len() - 1);
                let frame = flying.remove(place);
                if !random.is_multiple_of(11) && window.expects(frame) {
                    window.arrive(NOW, frame, 8, Pace::default());
                }
                let missing: u32 = window.asks.iter().map(|ask| ask.missing).sum();
                assert_eq!(window.outstanding(), missing);
            }
            assert_eq!(window.outstanding(), 0);
        }
    }
}
