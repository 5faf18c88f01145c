//! From the engine's ends of requests to the application's completions.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use myrixen::{Ended, Status};

use super::core::{EpCore, Event};
use super::labels::{Label, What};
use crate::abi::{CqEntry, flag};
use crate::cq::{CqCore, Fault, Item};
use crate::errno::Errno;
use crate::peers::Link;

/// What can be done only when the endpoint is not being worked for.
pub(crate) enum Later {
    /// The rest of a buffer for many messages is to be posted.
    Post(u64),
    /// Data of an operation on memory has come, or will not.
    Memory(Ended),
    /// Data of a peer's operation on our memory.
    Served(Ended),
}

impl EpCore {
    /// Gives the completions of up to `limit` ended requests to `each`, with the queue that each belongs to. Gives how many requests there were.
    pub(crate) fn reap(&self, limit: usize, mut each: impl FnMut(&Arc<CqCore>, Item)) -> usize {
        let mut later = Vec::new();
        let ended = self
            .endpoint
            .reap(limit, |ended| self.deliver(ended, &mut each, &mut later));
        if !later.is_empty() {
            self.catch_up(later);
        }
        ended
    }

    /// The same, and waits for so long until there is something.
    pub(crate) fn reap_within(
        &self,
        limit: usize,
        within: Option<Duration>,
        mut each: impl FnMut(&Arc<CqCore>, Item),
    ) {
        let mut later = Vec::new();
        let deliver = |ended: &Ended| self.deliver(ended, &mut each, &mut later);
        self.endpoint.reap_wait(limit, within, deliver);
        self.catch_up(later);
    }

    pub(crate) fn catch_up(&self, later: Vec<Later>) {
        for later in later {
            match later {
                Later::Post(number) => self.go_on(number),
                Later::Memory(ended) => self.memory_ended(&ended),
                Later::Served(ended) => self.served_ended(&ended),
            }
        }
    }

    pub(crate) fn deliver(
        &self,
        ended: &Ended,
        each: &mut impl FnMut(&Arc<CqCore>, Item),
        later: &mut Vec<Later>,
    ) {
        let label = Label::of(ended.label);
        let Some(what) = label.what() else { return };
        let went_well = ended.status == Status::Success;
        let (binding, event) = match what {
            What::SendTagged | What::Send => (&self.tx, Event::Send),
            What::ReceiveTagged | What::Receive | What::ReceiveMany => (&self.rx, Event::Receive),
            What::Connect => return self.connected(ended),
            What::Memory => return later.push(Later::Memory(*ended)),
            What::Served => return later.push(Later::Served(*ended)),
        };
        self.count(event, went_well);
        let mut entry = CqEntry {
            op_context: ended.context as *mut c_void,
            flags: what.flags(),
            len: ended.len as usize,
            buf: std::ptr::null_mut(),
            data: ended.data.unwrap_or(0),
            tag: ended.bits,
        };
        if ended.data.is_some() {
            entry.flags |= flag::REMOTE_CQ_DATA;
        }
        let mut told = label.is_reported();
        if what == What::ReceiveMany {
            let least = self.multi.least.load(Ordering::Relaxed);
            // A copy, so that the entry of a plain receive need not lie in memory.
            let mut whole = entry;
            let goes_on = self.multi.ended(ended, &mut whole, least);
            entry = whole;
            if goes_on {
                later.push(Later::Post(ended.context));
            } else {
                // That the buffer is the application's again is told in any case.
                told = true;
            }
        }
        if went_well && !told {
            return;
        }
        let Some(binding) = binding.get() else { return };
        let fault = (!went_well).then(|| fault_of(ended));
        let from = ended.source;
        each(&binding.cq, Item { entry, fault, from });
    }

    /// A connect has ended.
    fn connected(&self, ended: &Ended) {
        let place = ended.context;
        let mut links = self.peers.links();
        match (ended.status, ended.peer) {
            (Status::Success, Some(peer)) => {
                links.remove(&place);
                drop(links);
                self.peers.set(place, peer);
            }
            (status, _) => {
                links.insert(place, Link::Failed(Errno::of(status)));
            }
        }
    }
}

/// What is told of a request that failed.
pub(crate) fn fault_of(ended: &Ended) -> Fault {
    let lost = (ended.message_len as usize).saturating_sub(ended.len as usize);
    Fault::of(ended.status, lost)
}
