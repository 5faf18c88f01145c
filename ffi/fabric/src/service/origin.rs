//! The side that begins an operation on a peer's memory.

use std::ffi::c_void;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use myrixen::{Completes, Ended, Launch, Match, Space, Status};
use slab::Slab;

use super::{Action, Kind, NUMBER, Request, short};
use crate::abi::{CqEntry, flag};
use crate::buffers::Buffers;
use crate::cq::{Fault, Item};
use crate::edge::Answer;
use crate::ep::{EpCore, Event, Label, What, fault_of, reports};
use crate::errno::Errno;
use crate::info::limits;

/// An operation of the application's on a peer's memory.
pub(crate) struct Operation {
    /// The place of the peer in the address vector.
    pub(crate) to: u64,
    pub(crate) request: Request,
    /// What is written, or operated with.
    pub(crate) operand: Buffers,
    /// What comes back goes here.
    pub(crate) result: Option<Buffers>,
    pub(crate) context: *mut c_void,
    /// The operation's flags.
    pub(crate) flags: u64,
    /// Nobody is told of its end.
    pub(crate) silent: bool,
}

/// One that is not over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    number: u64,
    action: Action,
    context: *mut c_void,
    /// Bytes that are to come or go.
    bytes: u64,
    reported: bool,
}

// SAFETY: the pointer is the application's, and only handed back to it.
unsafe impl Send for Pending {}

impl EpCore {
    fn pending(&self) -> MutexGuard<'_, Slab<Pending>> {
        let pending = self.service.pending.lock();
        pending.unwrap_or_else(PoisonError::into_inner)
    }

    /// The most bytes that go with a request.
    pub(crate) fn short(&self) -> usize {
        short(self.domain.board.own.max_frame)
    }

    /// Begins an operation.
    pub(crate) fn operate(&self, mut operation: Operation) -> Answer {
        if operation.request.len > limits::MESSAGE as u64 {
            return Err(Errno::MSGSIZE);
        }
        let request = &mut operation.request;
        let mut bulk = None;
        if request.action == Action::Write && operation.operand.len() > self.short() {
            request.action = Action::WriteBulk;
            // SAFETY: there are no bytes.
            let nothing = unsafe { Buffers::one(std::ptr::null(), 0) }?;
            let bytes = std::mem::replace(&mut operation.operand, nothing);
            bulk = Some(match operation.flags & flag::INJECT != 0 {
                // The application's memory is its own again at once.
                true if bytes.len() > limits::INJECT => return Err(Errno::MSGSIZE),
                true => Buffers::owned(bytes.to_vec()),
                false => bytes,
            });
        } else if operation.operand.len() > self.short() {
            return Err(Errno::MSGSIZE);
        }
        let peer = self.peer(operation.to)?;
        let number = self.expect(&operation);
        let begun = self.begin(peer, number, operation, bulk);
        if begun.is_err() {
            self.forget(number);
        }
        begun
    }

    /// Gives an operation its number.
    fn expect(&self, operation: &Operation) -> u64 {
        let begun = self.service.begun.fetch_add(1, Ordering::Relaxed);
        let mut pending = self.pending();
        let entry = pending.vacant_entry();
        // The place in the lower half, so that it is found.
        let number = (begun << 32 | entry.key() as u64) & NUMBER;
        entry.insert(Pending {
            number,
            action: operation.request.action,
            context: operation.context,
            bytes: operation.request.len,
            reported: !operation.silent && reports(self.tx.get(), operation.flags),
        });
        number
    }

    fn forget(&self, number: u64) -> Option<Pending> {
        let at = usize::try_from(number & u64::from(u32::MAX)).ok()?;
        let mut pending = self.pending();
        pending.get(at).filter(|held| held.number == number)?;
        pending.try_remove(at)
    }

    /// Sends what there is to be sent, and posts a receive for the reply.
    fn begin(&self, peer: u64, number: u64, operation: Operation, bulk: Option<Buffers>) -> Answer {
        let label = Label::new(What::Memory).get();
        let mut launch = Launch {
            to: peer,
            space: Space::Service,
            bits: Kind::Request.bits(number),
            data: None,
            completes: Completes::WhenMatched,
            context: number,
            label,
        };
        if bulk.is_none() {
            // First, or the reply might come before it.
            let reply = Match::exact(Kind::Reply.bits(number))
                .service()
                .from_id(peer);
            let posted = match operation.result {
                None => self.endpoint.accept(reply, Vec::<u8>::new(), number, label),
                Some(Buffers::One(one)) => self.endpoint.accept(reply, one, number, label),
                Some(Buffers::Many(many)) => self.endpoint.accept(reply, many, number, label),
            };
            posted.map_err(|_| Errno::OPBADSTATE)?;
        }
        let mut bytes = operation.request.to_bytes().to_vec();
        bytes.extend_from_slice(&operation.operand.to_vec());
        let sent = match self.endpoint.inject(&bytes, &launch) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Errno::AGAIN),
            Err(status) => Err(self.not_begun(operation.to, status)),
        };
        if let Err(errno) = sent {
            let ours = |held| held == label;
            self.endpoint.take_back_receive(number, ours);
            return Err(errno);
        }
        let Some(bulk) = bulk else { return Ok(()) };
        launch.bits = Kind::Bulk.bits(number);
        let sent = match bulk {
            Buffers::One(one) => self.endpoint.launch(one, &launch),
            Buffers::Many(many) => self.endpoint.launch(many, &launch),
        };
        sent.map_err(|status| self.not_begun(operation.to, status))
    }

    /// A reply has come, or a bulk was taken; or neither will be.
    pub(crate) fn memory_ended(&self, ended: &Ended) {
        let Some(held) = self.forget(ended.context) else {
            return;
        };
        let refused = match held.action {
            // What the peer does not want it takes nothing of.
            Action::WriteBulk => u64::from(ended.len) < held.bytes,
            _ => ended.data.is_some_and(|status| status != 0),
        };
        let fault = match ended.status {
            Status::Success | Status::Truncated if refused => Some(Fault {
                errno: refusal(ended.data),
                provider: 0,
                lost: 0,
            }),
            // One that has done it and brings something else than was asked for is not to be believed.
            Status::Success if answers(held.action) && u64::from(ended.len) != held.bytes => {
                Some(Fault {
                    errno: Errno::IO,
                    provider: 0,
                    lost: 0,
                })
            }
            Status::Success => None,
            _ => Some(fault_of(ended)),
        };
        let (flags, event) = match held.action {
            Action::Read => (flag::RMA | flag::READ, Event::Read),
            Action::Write | Action::WriteBulk => (flag::RMA | flag::WRITE, Event::Write),
            Action::Atomic => (flag::ATOMIC | flag::WRITE, Event::Write),
            Action::Fetch | Action::Compare => (flag::ATOMIC | flag::READ, Event::Read),
        };
        self.count(event, fault.is_none());
        if fault.is_none() && !held.reported {
            return;
        }
        let entry = CqEntry {
            op_context: held.context,
            flags,
            len: usize::try_from(held.bytes).unwrap_or(usize::MAX),
            buf: std::ptr::null_mut(),
            data: 0,
            tag: 0,
        };
        let from = None;
        self.complete_tx(Item { entry, fault, from });
    }
}

/// Whether the reply to an operation that was done brings all of its bytes.
fn answers(action: Action) -> bool {
    matches!(action, Action::Read | Action::Fetch | Action::Compare)
}

/// Why a peer says that it has not done it.
fn refusal(data: Option<u64>) -> Errno {
    let said = data.and_then(|status| i32::try_from(status).ok());
    match said {
        Some(libc::EINVAL) => Errno::INVAL,
        Some(libc::EACCES) | None => Errno::ACCES,
        Some(libc::ENOMEM) => Errno::NOMEM,
        Some(number) if number == Errno::NOKEY.get() => Errno::NOKEY,
        Some(_) => Errno::OPNOTSUPP,
    }
}
