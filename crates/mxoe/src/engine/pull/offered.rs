//! Data that the driver can read where it is. The partner need not be asked for it, and can be: whoever answers at once does a part of the work.

use super::{Endpoint, PullId, Stage};
use crate::engine::FetchFailed;
use crate::time::Time;

impl Endpoint {
    /// How a fetch went. What could not be fetched is pulled. Of a pull that has ended meanwhile nothing comes.
    pub fn fetched(&mut self, now: Time, pull: PullId, result: Result<(), FetchFailed>) {
        let Some(key) = pull.find(&self.pulls) else {
            return;
        };
        let pull = &mut self.pulls[key];
        if pull.stage != Stage::Fetching {
            return;
        }
        pull.stage = Stage::Waiting;
        let offer = pull.offer.take();
        self.free_offer(offer);
        match result {
            Ok(()) => {
                self.counters.fetches = self.counters.fetches.wrapping_add(1);
                self.finish_pull(now, key);
            }
            Err(FetchFailed) => {
                self.counters.fetches_failed = self.counters.fetches_failed.wrapping_add(1);
                self.run_pull(now, key);
            }
        }
    }

    /// Has the partner send what it has offered, instead of the driver reading it: worth while when the partner answers at once, for then
    /// both work on the transfer. The offer stands, for [`read_after_all`](Self::read_after_all). False: there is nothing to be fetched by this pull.
    pub fn pull_first(&mut self, now: Time, pull: PullId) -> bool {
        let Some(key) = pull.find(&self.pulls) else {
            return false;
        };
        let pull = &mut self.pulls[key];
        if pull.stage != Stage::Fetching {
            return false;
        }
        pull.stage = Stage::Waiting;
        pull.advanced = now;
        self.run_pull(now, key);
        true
    }

    /// The partner does not answer (any more): what it has offered is to be read from the byte on that is given, into the same region. Then
    /// [`fetched`](Self::fetched) is to be called. `None`: the pull is over, or goes on since nothing is offered.
    pub fn read_after_all(&mut self, now: Time, pull: PullId) -> Option<u32> {
        let key = pull.find(&self.pulls)?;
        let pull = &self.pulls[key];
        pull.offer?;
        let done = match pull.stage {
            Stage::Running { .. } => pull.offset_of(pull.window.base()),
            Stage::Waiting => 0,
            // It is being read.
            Stage::Fetching => return None,
        };
        if self.leave_slot(key, Stage::Fetching) {
            self.run_waiting(now);
        }
        Some(done)
    }
}
