//! Receiving: posted receives, looks at what has come, claims, cancelling.

use std::ffi::c_void;
use std::sync::{MutexGuard, PoisonError};

use myrixen::{Error, Foreign, Match, Status, Unexpected};

use super::core::EpCore;
use super::labels::{Label, What};
use super::reports;
use crate::abi::{ADDR_UNSPEC, CqEntry, flag};
use crate::buffers::Buffers;
use crate::cq::{Fault, Item};
use crate::edge::Answer;
use crate::errno::Errno;

/// A receive of the application's, without its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) what: What,
    /// The place of the sender in the address vector.
    pub(crate) from: u64,
    pub(crate) tag: u64,
    /// The bits of the tag that do not count.
    pub(crate) ignore: u64,
    pub(crate) context: *mut c_void,
    /// The operation's flags.
    pub(crate) flags: u64,
}

impl Wanted {
    /// A message without a tag.
    pub(crate) fn untagged(from: u64, context: *mut c_void, flags: u64) -> Self {
        Self {
            what: What::Receive,
            from,
            tag: 0,
            ignore: 0,
            context,
            flags,
        }
    }

    /// One with a tag, of which the bits in `ignore` do not count.
    pub(crate) fn tagged(self, tag: u64, ignore: u64) -> Self {
        Self {
            what: What::ReceiveTagged,
            tag,
            ignore,
            ..self
        }
    }
}

/// How many of `count` pieces of memory are looked at: a look at a message has none.
pub(crate) fn pieces_wanted(flags: u64, count: usize) -> usize {
    if flags & (flag::PEEK | flag::DISCARD) == 0 {
        count
    } else {
        0
    }
}

impl EpCore {
    /// Posts a receive, or does what its flags say instead.
    #[inline(always)]
    pub(crate) fn receive(&self, buffers: Buffers, wanted: &Wanted) -> Answer {
        if wanted.flags & (flag::PEEK | flag::CLAIM | flag::DISCARD | flag::MULTI_RECV) != 0 {
            return self.receive_specially(buffers, wanted);
        }
        let matching = self.matching(wanted)?;
        let label = self.label(wanted);
        let context = wanted.context as u64;
        let posted = match buffers {
            Buffers::One(one) => self.endpoint.accept(matching, one, context, label),
            Buffers::Many(many) => self.accept_many(matching, many, context, label),
        };
        posted.map_err(|error| self.not_posted(wanted.from, &error))
    }

    #[inline(never)]
    fn accept_many(
        &self,
        matching: Match,
        buffer: Box<dyn Foreign>,
        context: u64,
        label: u32,
    ) -> myrixen::Result<()> {
        self.endpoint.accept(matching, buffer, context, label)
    }

    #[inline(always)]
    fn label(&self, wanted: &Wanted) -> u32 {
        let reported = reports(self.rx.get(), wanted.flags);
        Label::new(wanted.what).reported(reported).get()
    }

    // In line, so that what it gives is not put together in memory: it would be copied on in other pieces than it was stored in, which has a processor wait.
    #[inline(always)]
    fn matching(&self, wanted: &Wanted) -> Answer<Match> {
        let matching = match wanted.what {
            What::ReceiveTagged => Match::masked(wanted.tag, !wanted.ignore),
            _ => Match::any().plain(),
        };
        // Who has not asked for it may give anything for the source.
        if wanted.from == ADDR_UNSPEC || self.caps & flag::DIRECTED_RECV == 0 {
            return Ok(matching);
        }
        let source = self.source(wanted.from)?;
        Ok(matching.from_id(source))
    }

    #[cold]
    fn receive_specially(&self, buffers: Buffers, wanted: &Wanted) -> Answer {
        let has = |bits| wanted.flags & bits != 0;
        if has(flag::PEEK) {
            return self.peek(wanted);
        }
        if has(flag::CLAIM) {
            return self.receive_claimed(buffers, wanted);
        }
        match buffers {
            Buffers::One(one) if has(flag::MULTI_RECV) && wanted.what == What::Receive => {
                let (at, len) = one.parts();
                let piece = (at.cast(), len);
                let matching = self.matching(wanted)?;
                let reported = reports(self.rx.get(), wanted.flags);
                // SAFETY: the memory is what the application has handed over for this.
                let posted =
                    unsafe { self.receive_many(piece, matching, wanted.context, reported) };
                posted.map_err(|error| self.not_posted(wanted.from, &error))
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn claims(&self) -> MutexGuard<'_, std::collections::HashMap<usize, Unexpected>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a message that has come and that no receive has taken.
    fn peek(&self, wanted: &Wanted) -> Answer {
        let matching = self.matching(wanted)?;
        let found = if wanted.flags & (flag::CLAIM | flag::DISCARD) == 0 {
            self.endpoint.iprobe(matching)
        } else {
            self.endpoint.claim(matching).map(|message| {
                let pending = message.message;
                if wanted.flags & flag::DISCARD == 0 {
                    self.claims().insert(wanted.context as usize, message);
                } else {
                    self.endpoint.discard(message);
                }
                pending
            })
        };
        let mut entry = self.entry(wanted);
        let Some(pending) = found else {
            let fault = Some(Fault {
                errno: Errno::NOMSG,
                provider: 0,
                lost: 0,
            });
            let from = None;
            self.complete_rx(Item { entry, fault, from });
            return Ok(());
        };
        entry.len = pending.len;
        entry.tag = pending.bits;
        if let Some(data) = pending.data {
            entry.data = data;
            entry.flags |= flag::REMOTE_CQ_DATA;
        }
        self.complete_rx(Item {
            entry,
            fault: None,
            from: Some(pending.source),
        });
        Ok(())
    }

    /// Receives the message that was claimed with this context, or throws it away.
    fn receive_claimed(&self, buffers: Buffers, wanted: &Wanted) -> Answer {
        let message = self.claims().remove(&(wanted.context as usize));
        let message = message.ok_or(Errno::INVAL)?;
        if wanted.flags & flag::DISCARD != 0 {
            let mut entry = self.entry(wanted);
            entry.tag = message.message.bits;
            let from = Some(message.message.source);
            self.endpoint.discard(message);
            if reports(self.rx.get(), wanted.flags) {
                let fault = None;
                self.complete_rx(Item { entry, fault, from });
            }
            return Ok(());
        }
        let (context, label) = (wanted.context as u64, self.label(wanted));
        let posted = match buffers {
            Buffers::One(one) => self.endpoint.accept_claimed(&message, one, context, label),
            Buffers::Many(many) => self.endpoint.accept_claimed(&message, many, context, label),
        };
        posted.map_err(|error| self.not_posted(wanted.from, &error))
    }

    fn entry(&self, wanted: &Wanted) -> CqEntry {
        CqEntry {
            op_context: wanted.context,
            flags: wanted.what.flags(),
            len: 0,
            buf: std::ptr::null_mut(),
            data: 0,
            tag: wanted.tag,
        }
    }

    /// Takes a receive back that no message has met. That it is gone is told in the queue.
    pub(crate) fn cancel(&self, context: *mut c_void) -> Answer {
        let of = |label: u32| {
            let what = Label::of(label).what();
            matches!(what, Some(What::ReceiveTagged | What::Receive))
        };
        let taken = self.endpoint.take_back_receive(context as u64, of);
        let what = match taken.and_then(|label| Label::of(label).what()) {
            Some(what) => what,
            None => self.cancel_many(context)?,
        };
        self.received_nothing(what, context, Status::Cancelled);
        Ok(())
    }

    /// Tells of the end of a receive that has got nothing.
    pub(super) fn received_nothing(&self, what: What, context: *mut c_void, status: Status) {
        let mut entry = CqEntry {
            op_context: context,
            flags: what.flags(),
            len: 0,
            buf: std::ptr::null_mut(),
            data: 0,
            tag: 0,
        };
        if what == What::ReceiveMany {
            entry.flags |= flag::MULTI_RECV;
        }
        self.count(super::Event::Receive, false);
        let fault = Some(Fault::of(status, 0));
        let from = None;
        self.complete_rx(Item { entry, fault, from });
    }

    fn cancel_many(&self, context: *mut c_void) -> Answer<What> {
        let number = self.multi.find(context).ok_or(Errno::NOENT)?;
        let of = |label| Label::of(label).what() == Some(What::ReceiveMany);
        self.endpoint
            .take_back_receive(number, of)
            .ok_or(Errno::NOENT)?;
        self.multi.take(number);
        Ok(What::ReceiveMany)
    }

    /// What a receive says that was not accepted.
    #[cold]
    fn not_posted(&self, from: u64, error: &Error) -> Errno {
        match error {
            Error::Invalid(_) => Errno::MSGSIZE,
            Error::Failed { status, .. } => self.not_begun(from, *status),
            _ => Errno::OTHER,
        }
    }
}
