//! The side whose memory it is. Peers may ask anything: what they ask for is checked, and refused with a reply and a count.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use myrixen::{Completes, Ended, Launch, Match, Space, Status, Unexpected};
use slab::Slab;

use super::{Action, Kind, Request};
use crate::abi::{CqEntry, flag};
use crate::atomic::apply;
use crate::cq::Item;
use crate::edge::Answer;
use crate::ep::{EpCore, Event, Label, What};
use crate::errno::Errno;
use crate::mr::InUse;

/// A peer's operation that still moves bytes.
pub(super) struct Work {
    /// The memory stays registered for so long.
    _memory: InUse,
    what: Moves,
}

#[derive(Clone, Copy, Debug)]
enum Moves {
    /// Bytes to the peer.
    Out,
    /// Bytes from the peer; the application is told of them with this.
    In(Option<u64>),
}

/// Peers' operations that may move bytes at a time: more are refused.
const MOST_WORKS: usize = 4096;

impl EpCore {
    /// Carries out what peers ask for from now on.
    pub(crate) fn serve(self: &Arc<Self>) {
        let ep: Weak<Self> = Arc::downgrade(self);
        self.endpoint.serve(move |_, message, bytes| {
            if let Some(ep) = ep.upgrade() {
                ep.requested(message, bytes);
            }
        });
    }

    fn works(&self) -> MutexGuard<'_, Slab<Work>> {
        let works = self.service.works.lock();
        works.unwrap_or_else(PoisonError::into_inner)
    }

    fn requested(&self, message: &Unexpected, bytes: Option<&[u8]>) {
        let peer = message.message.peer().id();
        // Replies and bulks that nobody waits for are those of operations that were refused or given up.
        let Some((Kind::Request, number)) = Kind::of(message.message.bits) else {
            return;
        };
        let Some((request, rest)) = bytes.and_then(Request::parse) else {
            return self.refuse(peer, number, Errno::INVAL);
        };
        if let Err(errno) = self.carry_out(peer, number, &request, rest) {
            self.refuse(peer, number, errno);
        }
    }

    fn refuse(&self, peer: u64, number: u64, errno: Errno) {
        self.service.refused.fetch_add(1, Ordering::Relaxed);
        self.reply(peer, number, errno.get().unsigned_abs().into(), &[]);
    }

    /// Answers with a few bytes. A peer to whom nothing can be sent any more is gone.
    fn reply(&self, peer: u64, number: u64, status: u64, bytes: &[u8]) {
        let launch = self.answer(peer, number, status, 0);
        let _ = self.endpoint.inject(bytes, &launch);
    }

    fn answer(&self, peer: u64, number: u64, status: u64, work: u64) -> Launch {
        Launch {
            to: peer,
            space: Space::Service,
            bits: Kind::Reply.bits(number),
            data: Some(status),
            completes: Completes::WhenDelivered,
            context: work,
            label: Label::new(What::Served).get(),
        }
    }

    fn carry_out(&self, peer: u64, number: u64, request: &Request, rest: &[u8]) -> Answer {
        let access = match request.action {
            Action::Read => flag::REMOTE_READ,
            Action::Write | Action::WriteBulk | Action::Atomic => flag::REMOTE_WRITE,
            // Those that only look need no more.
            Action::Fetch if apply::only_reads(request.op) => flag::REMOTE_READ,
            Action::Fetch | Action::Compare => flag::REMOTE_READ | flag::REMOTE_WRITE,
        };
        let regions = &self.domain.regions;
        let memory = regions.find(request.key, request.addr, request.len, access)?;
        match request.action {
            Action::Read => return self.give(peer, number, memory),
            Action::WriteBulk => return self.take(peer, number, request, memory),
            Action::Write => {
                if rest.len() != memory.len() {
                    return Err(Errno::INVAL);
                }
                memory.handed().bytes_mut().copy_from_slice(rest);
                self.reply(peer, number, 0, &[]);
            }
            Action::Atomic | Action::Fetch | Action::Compare => {
                let mut former = vec![0; memory.len()];
                {
                    let _alone = self.domain.atomics();
                    let mut handed = memory.handed();
                    let bytes = handed.bytes_mut();
                    former.copy_from_slice(bytes);
                    let compares = request.action == Action::Compare;
                    apply::apply(request.datatype, request.op, compares, bytes, rest)?;
                }
                match request.action {
                    Action::Atomic => self.reply(peer, number, 0, &[]),
                    _ => self.reply(peer, number, 0, &former),
                }
            }
        }
        let event = match request.action {
            Action::Fetch if apply::only_reads(request.op) => Event::RemoteRead,
            _ => Event::RemoteWrite,
        };
        self.done_by_peer(event, request.data, memory.len());
        Ok(())
    }

    /// A peer reads. Few bytes are copied now, so that later writes do not show.
    fn give(&self, peer: u64, number: u64, memory: InUse) -> Answer {
        let len = memory.len();
        let handed = memory.handed();
        if len <= self.short() {
            self.reply(peer, number, 0, handed.bytes());
        } else {
            let work = self.begin_work(memory, Moves::Out)?;
            let launch = self.answer(peer, number, 0, work);
            if self.endpoint.launch(handed, &launch).is_err() {
                self.end_work(work);
            }
        }
        self.count(Event::RemoteRead, true);
        Ok(())
    }

    /// A peer writes much: it goes straight to where it belongs.
    fn take(&self, peer: u64, number: u64, request: &Request, memory: InUse) -> Answer {
        let handed = memory.handed();
        let work = self.begin_work(memory, Moves::In(request.data))?;
        let bulk = Match::exact(Kind::Bulk.bits(number)).service();
        let label = Label::new(What::Served).get();
        let posted = self
            .endpoint
            .accept(bulk.from_id(peer), handed, work, label);
        if posted.is_err() {
            self.end_work(work);
        }
        Ok(())
    }

    fn begin_work(&self, memory: InUse, what: Moves) -> Answer<u64> {
        let mut works = self.works();
        if works.len() >= MOST_WORKS {
            return Err(Errno::NOMEM);
        }
        let _memory = memory;
        Ok(works.insert(Work { _memory, what }) as u64)
    }

    fn end_work(&self, work: u64) -> Option<Work> {
        let at = usize::try_from(work).ok()?;
        self.works().try_remove(at)
    }

    /// The bytes of a peer's operation have moved, or will not.
    pub(crate) fn served_ended(&self, ended: &Ended) {
        let Some(work) = self.end_work(ended.context) else {
            return;
        };
        if let (Moves::In(data), Status::Success) = (work.what, ended.status) {
            self.done_by_peer(Event::RemoteWrite, data, ended.len as usize);
        }
    }

    /// A peer has done something with our memory.
    fn done_by_peer(&self, event: Event, data: Option<u64>, len: usize) {
        self.count(event, true);
        let Some(data) = data else { return };
        let entry = CqEntry {
            op_context: std::ptr::null_mut(),
            flags: flag::RMA | flag::REMOTE_WRITE | flag::REMOTE_CQ_DATA,
            len,
            buf: std::ptr::null_mut(),
            data,
            tag: 0,
        };
        let (fault, from) = (None, None);
        self.complete_rx(Item { entry, fault, from });
        // Whoever waits looks at what is there first.
        self.endpoint.wakeup();
    }
}
