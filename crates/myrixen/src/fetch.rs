//! Data that partners have offered: read where it is, or asked for first.
//!
//! Reading it needs nothing of the partner, who may be computing. But where it goes through the kernel it is one copy by one processor, page
//! by page, while data that is asked for crosses the ring in two copies that both ends make at the same time, in their caches. So who looks on asks a
//! partner that is awake, and reads after all when nothing comes.

use std::collections::VecDeque;
use std::time::Duration;

use mxoe::engine::{FetchFailed, OfferId, PullId, RegionId};
use mxoe::time::Time;
use slab::Slab;

use crate::core::Core;
use crate::path::Path;

/// Bytes of offered data copied in one turn: about 50 us at memory speed.
const STEP: usize = 512 * 1024;

/// How long a partner may take to answer, or to go on: several times what one that looks on needs.
const PATIENCE: Duration = Duration::from_micros(20);

/// Data to be read.
pub(crate) struct Fetch {
    pull: PullId,
    offer: OfferId,
    to: RegionId,
    done: usize,
    len: usize,
    /// Where its owner may be asked for it.
    ask: Option<usize>,
}

impl Fetch {
    /// `ask` is the path by which the owner may be asked instead.
    pub(crate) fn new(
        pull: PullId,
        offer: OfferId,
        to: RegionId,
        len: usize,
        ask: Option<usize>,
    ) -> Self {
        Self {
            pull,
            offer,
            to,
            done: 0,
            len,
            ask,
        }
    }

    fn path_in<'a>(&self, paths: &'a mut Slab<Path>) -> Option<&'a mut Path> {
        paths.get_mut(self.ask?)
    }
}

/// What is being read and what has been asked for.
#[derive(Default)]
pub(crate) struct Fetches {
    /// In steps, one after the other, so that one long message does not hold up the others.
    reads: VecDeque<Fetch>,
    asked: Vec<Fetch>,
}

impl Fetches {
    pub(crate) fn add(&mut self, fetch: Fetch) {
        self.reads.push_back(fetch);
    }

    pub(crate) fn has_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Whether there is nothing to be read, and nothing asked for.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.asked.is_empty()
    }
}

/// Whether the other end of a channel answers at once when it seems awake: it may be computing.
#[derive(Default)]
pub(crate) struct Promptness {
    /// Since when nothing has come of it, as far as we have looked; `None` when something came in the last turn. What we did meanwhile
    /// does not count against it.
    silent_since: Option<Time>,
    /// Messages that are read without asking after it did not answer: more each time.
    spared: u8,
    left: u8,
}

impl Promptness {
    /// Whether to ask it. To be called once a message.
    pub(crate) fn is_worth_asking(&mut self) -> bool {
        let ask = self.left == 0;
        self.left = self.left.saturating_sub(1);
        // It has not been silent since it was asked.
        self.heard();
        ask
    }

    /// Something has come, or we have not looked.
    pub(crate) fn heard(&mut self) {
        self.silent_since = None;
    }

    /// Nothing has come in this turn.
    fn is_late(&mut self, now: Time, patience: Duration) -> bool {
        now.since(*self.silent_since.get_or_insert(now)) >= patience
    }

    /// It has sent everything, or kept us waiting.
    fn learn(&mut self, sent: bool) {
        const MOST: u8 = 63;
        if sent {
            self.spared = 0;
        } else if self.left == 0 {
            self.spared = self.spared.saturating_mul(2).saturating_add(1).min(MOST);
            self.left = self.spared;
        }
    }
}

impl Core {
    /// Reads offered data, one step, or asks for it. True if anything was done.
    pub(crate) fn fetch(&mut self, now: Time, looks_on: bool) -> bool {
        if let Some(fetch) = self.fetches.reads.pop_front() {
            self.begin_or_go_on(now, fetch, looks_on);
            for fetch in &self.fetches.asked {
                if let Some(path) = fetch.path_in(&mut self.paths) {
                    path.promptness.heard();
                }
            }
            return true;
        }
        self.read_overdue(now, PATIENCE)
    }

    /// Nobody looks on any more: what has been asked for is to be read.
    pub(crate) fn stop_waiting_for_offered(&mut self, now: Time) {
        self.read_overdue(now, Duration::ZERO);
    }

    /// What was asked for is to be read if nothing has come by its path for so long. True if there is such.
    fn read_overdue(&mut self, now: Time, patience: Duration) -> bool {
        let asked = &mut self.fetches.asked;
        let before = self.fetches.reads.len();
        let mut at = 0;
        while let Some(fetch) = asked.get(at) {
            let path = fetch.path_in(&mut self.paths);
            let late = path.is_none_or(|path| {
                let late = path.promptness.is_late(now, patience);
                if late && !patience.is_zero() {
                    path.promptness.learn(false);
                }
                late
            });
            if !late {
                at += 1;
                continue;
            }
            let mut fetch = asked.swap_remove(at);
            if let Some(done) = self.engine.read_after_all(now, fetch.pull) {
                fetch.ask = None;
                fetch.done = done as usize;
                self.fetches.reads.push_back(fetch);
            }
        }
        self.fetches.reads.len() > before
    }

    /// An offer is over: what was asked for has come, or never will.
    pub(crate) fn offer_freed(&mut self, offer: OfferId) {
        self.offers.remove(offer);
        let asked = &mut self.fetches.asked;
        if let Some(at) = asked.iter().position(|fetch| fetch.offer == offer) {
            let fetch = asked.swap_remove(at);
            if let Some(path) = fetch.path_in(&mut self.paths) {
                path.promptness.learn(true);
            }
        }
    }

    fn begin_or_go_on(&mut self, now: Time, mut fetch: Fetch, looks_on: bool) {
        if looks_on && self.is_worth_asking(&fetch) && self.engine.pull_first(now, fetch.pull) {
            self.fetches.asked.push(fetch);
            self.events();
            return;
        }
        fetch.ask = None;
        let step = (fetch.len - fetch.done).min(STEP);
        let copied = self.offers.get(fetch.offer).is_some_and(|offer| {
            let copied = offer.read(&mut self.regions, fetch.to, fetch.done, step);
            let last = fetch.done + step == fetch.len;
            copied && (!last || offer.still_valid())
        });
        fetch.done += step;
        if copied && fetch.done < fetch.len {
            self.fetches.reads.push_back(fetch);
            return;
        }
        let result = if copied { Ok(()) } else { Err(FetchFailed) };
        self.engine.fetched(now, fetch.pull, result);
        self.events();
    }

    fn is_worth_asking(&mut self, fetch: &Fetch) -> bool {
        fetch.path_in(&mut self.paths).is_some_and(|path| {
            !path.dead && !path.producer.peer_sleeps() && path.promptness.is_worth_asking()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_did_not_answer_is_asked_again_less_and_less_often_until_he_does() {
        let mut promptness = Promptness::default();
        let mut spared = || {
            promptness.learn(false);
            (0..1000)
                .take_while(|_| !promptness.is_worth_asking())
                .count()
        };
        let series: Vec<usize> = (0..8).map(|_| spared()).collect();
        assert_eq!(series, [1, 3, 7, 15, 31, 63, 63, 63]);
        promptness.learn(true);
        promptness.learn(false);
        assert!(!promptness.is_worth_asking());
        assert!(promptness.is_worth_asking());
    }
}
