//! Data that partners have offered: read where it is, or asked for first.
//!
//! Reading it needs nothing of the partner, who may be computing. But where it goes through the kernel, who looks on may ask a partner that is awake instead
//! ([`pace`](crate::pace)), and reads after all when nothing comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mxoe::engine::{FetchFailed, OfferId, PullId, RegionId};
use mxoe::time::Time;
use slab::Slab;

use crate::core::Core;
use crate::pace::Meter;
use crate::path::Path;

/// Bytes of offered data copied in one turn: about 50 us at memory speed.
const STEP: usize = 512 * 1024;

/// Data to be read.
pub(crate) struct Fetch {
    pull: PullId,
    offer: OfferId,
    to: RegionId,
    done: usize,
    len: usize,
    /// The path by which its owner may be asked for it.
    path: Option<usize>,
    way: Way,
    /// How long its owner was waited for, and what reading has taken so far, from which byte on.
    waited: Duration,
    read_for: Duration,
    from: usize,
}

/// How data comes.
#[derive(Clone, Copy)]
enum Way {
    Open,
    /// It was asked for then. It may have to be read all the same.
    Asked(Instant),
    Read,
}

impl Fetch {
    /// `path` is that by which the owner may be asked instead.
    pub(crate) fn new(
        pull: PullId,
        offer: OfferId,
        to: RegionId,
        len: usize,
        path: Option<usize>,
    ) -> Self {
        Self {
            pull,
            offer,
            to,
            done: 0,
            len,
            path,
            way: Way::Open,
            waited: Duration::ZERO,
            read_for: Duration::ZERO,
            from: 0,
        }
    }

    /// What was asked for has come, or is not waited for any longer.
    fn end_wait(&mut self, meter: &mut Meter) {
        if let Way::Asked(begun) = self.way {
            self.waited = meter.end(begun);
        }
    }

    fn path_in<'a>(&self, paths: &'a mut Slab<Path>) -> Option<&'a mut Path> {
        paths.get_mut(self.path?)
    }
}

/// What is being read and what has been asked for.
#[derive(Default)]
pub(crate) struct Fetches {
    /// In steps, one after the other, so that one long message does not hold up the others.
    reads: VecDeque<Fetch>,
    asked: Vec<Fetch>,
    meter: Meter,
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

impl Core {
    /// Reads offered data, one step, or asks for it. True if anything was done.
    pub(crate) fn fetch(&mut self, now: Time, looks_on: bool) -> bool {
        if let Some(fetch) = self.fetches.reads.pop_front() {
            self.begin_or_go_on(now, fetch, looks_on);
            for fetch in &self.fetches.asked {
                if let Some(path) = fetch.path_in(&mut self.paths) {
                    path.pace.heard();
                }
            }
            return true;
        }
        self.read_overdue(now, true)
    }

    /// Nobody looks on any more: what has been asked for is to be read.
    pub(crate) fn stop_waiting_for_offered(&mut self, now: Time) {
        self.read_overdue(now, false);
    }

    /// What was asked for is to be read if nothing has come by its path for long, or at once, without patience. True if there is such.
    fn read_overdue(&mut self, now: Time, patience: bool) -> bool {
        let asked = &mut self.fetches.asked;
        let before = self.fetches.reads.len();
        let mut at = 0;
        while let Some(fetch) = asked.get(at) {
            let path = fetch.path_in(&mut self.paths);
            let late = !patience || path.is_none_or(|path| path.pace.gives_up(now, fetch.len));
            if !late {
                at += 1;
                continue;
            }
            let mut fetch = asked.swap_remove(at);
            if let Some(done) = self.engine.read_after_all(now, fetch.pull) {
                if !patience {
                    // The partner is not to blame.
                    fetch.way = Way::Read;
                }
                fetch.end_wait(&mut self.fetches.meter);
                fetch.from = done as usize;
                fetch.done = fetch.from;
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
            let mut fetch = asked.swap_remove(at);
            fetch.end_wait(&mut self.fetches.meter);
            self.learn_from(&fetch);
        }
    }

    /// It has all come, or been read.
    fn learn_from(&mut self, fetch: &Fetch) {
        let Some(path) = fetch.path_in(&mut self.paths) else {
            return;
        };
        if matches!(fetch.way, Way::Asked(_)) {
            let took = fetch.waited + fetch.read_for;
            path.pace.learn_of_asking(took, fetch.len);
        }
        path.pace
            .learn_of_reading(fetch.read_for, fetch.done - fetch.from);
    }

    fn begin_or_go_on(&mut self, now: Time, mut fetch: Fetch, looks_on: bool) {
        if matches!(fetch.way, Way::Open) {
            if looks_on && self.is_worth_asking(&fetch) && self.engine.pull_first(now, fetch.pull) {
                fetch.way = Way::Asked(Instant::now());
                self.fetches.asked.push(fetch);
                self.events();
                return;
            }
            fetch.way = Way::Read;
        }
        let begun = fetch.path.map(|_| Instant::now());
        let step = (fetch.len - fetch.done).min(STEP);
        let copied = self.offers.get(fetch.offer).is_some_and(|offer| {
            let copied = offer.read(&mut self.regions, fetch.to, fetch.done, step);
            let last = fetch.done + step == fetch.len;
            copied && (!last || offer.still_valid())
        });
        fetch.done += step;
        if let Some(begun) = begun {
            fetch.read_for += self.fetches.meter.end(begun);
        }
        if copied && fetch.done < fetch.len {
            self.fetches.reads.push_back(fetch);
            return;
        }
        if copied {
            self.learn_from(&fetch);
        }
        let result = if copied { Ok(()) } else { Err(FetchFailed) };
        self.engine.fetched(now, fetch.pull, result);
        self.events();
    }

    fn is_worth_asking(&mut self, fetch: &Fetch) -> bool {
        fetch
            .path_in(&mut self.paths)
            .is_some_and(|path| !path.dead && !path.producer.peer_sleeps() && path.pace.is_to_ask())
    }
}
