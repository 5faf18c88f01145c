//! The side whose memory it is. Peers may ask anything: what they ask for is checked, and refused with a reply and a count.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use myrixen::{Completes, Ended, Launch, Match, Peer, Space, Status, Unexpected};

use super::works::{Moves, Work, Works};
use super::{Action, Kind, Request};
use crate::abi::{CqEntry, flag};
use crate::atomic::apply;
use crate::cq::Item;
use crate::edge::Answer;
use crate::ep::{EpCore, Event, Label, What};
use crate::errno::Errno;
use crate::mr::InUse;

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

    fn works(&self) -> MutexGuard<'_, Works> {
        let works = self.service.works.lock();
        works.unwrap_or_else(PoisonError::into_inner)
    }

    fn requested(&self, message: &Unexpected, bytes: Option<&[u8]>) {
        let peer = message.message.peer().id();
        let Some((Kind::Request, number)) = Kind::of(message.message.bits) else {
            // A reply or a bulk of an operation that was refused or given up; or nobody ever asked for it.
            self.service.unasked.fetch_add(1, Ordering::Relaxed);
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
        let mut launch = self.answer(peer, number, status, 0);
        if self.endpoint.inject(bytes, &launch) != Ok(false) {
            return;
        }
        // Much of what was sent is not acknowledged, by whomever: this answer is kept on the peer's own account.
        match self.begin_work(peer, None, Moves::Out) {
            Ok(work) => {
                launch.context = work;
                if self.endpoint.launch(bytes.to_vec(), &launch).is_err() {
                    self.end_work(work);
                }
            }
            Err(_) => self.disconnect(peer),
        }
    }

    /// A peer asks and asks, and takes no answers: without one it would wait for ever, so it has to notice.
    fn disconnect(&self, peer: u64) {
        self.service.dropped.fetch_add(1, Ordering::Relaxed);
        if let Some(address) = self.endpoint.address_of(peer) {
            self.endpoint.break_off(&Peer::from_parts(address, peer));
        }
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
        if request.data.is_some() && self.is_told_too_much() {
            return Err(Errno::NOMEM);
        }
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
                // Operands and answers go with one frame; and nobody else gets at the memory meanwhile.
                if memory.len() > self.short() {
                    return Err(Errno::INVAL);
                }
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
            let work = self.begin_work(peer, Some(memory), Moves::Out)?;
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
        let work = self.begin_work(peer, Some(memory), Moves::In(request.data))?;
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

    fn begin_work(&self, peer: u64, memory: Option<InUse>, what: Moves) -> Answer<u64> {
        if self.works().are_too_many(peer) {
            // Some may be over, and the application has not come to see it.
            self.pump_all();
        }
        self.works().begin(peer, memory, what)
    }

    fn end_work(&self, work: u64) -> Option<Work> {
        self.works().end(work)
    }

    /// A registration is to end: what peers have announced for it and not begun to send is not wanted any more.
    pub(crate) fn give_up_works(&self, is_of: impl Fn(&InUse) -> bool) {
        let waiting = self.works().to_memory(is_of);
        let served = |label| Label::of(label).what() == Some(What::Served);
        for work in waiting {
            if self.endpoint.take_back_receive(work, served).is_some() {
                self.end_work(work);
            }
        }
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
