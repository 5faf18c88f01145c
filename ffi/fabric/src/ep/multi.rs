//! Buffers that take many messages (`FI_MULTI_RECV`): what is left of one is posted as a receive; when that has ended, what is left then.

use std::ffi::c_void;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use myrixen::{Ended, Error, Handed, Match, Status};
use slab::Slab;

use super::core::EpCore;
use super::labels::{Label, What};
use crate::abi::{CqEntry, flag};

/// The buffers of an endpoint that take many messages.
pub(crate) struct Multi {
    /// Room below which a buffer is given back (`FI_OPT_MIN_MULTI_RECV`), in bytes.
    pub(crate) least: AtomicUsize,
    buffers: Mutex<Slab<Buffer>>,
}

impl Default for Multi {
    fn default() -> Self {
        Self {
            least: AtomicUsize::new(64),
            buffers: Mutex::default(),
        }
    }
}

/// Such a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    at: *mut u8,
    len: usize,
    used: usize,
    context: *mut c_void,
    matching: Match,
    reported: bool,
}

// SAFETY: it is memory that the application has handed over, and a pointer that is only handed back.
unsafe impl Send for Buffer {}

impl Multi {
    fn buffers(&self) -> MutexGuard<'_, Slab<Buffer>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the buffer with this context.
    pub(super) fn find(&self, context: *mut c_void) -> Option<u64> {
        let buffers = self.buffers();
        let found = buffers.iter().find(|(_, buffer)| buffer.context == context);
        found.map(|(at, _)| at as u64)
    }

    fn get(&self, number: u64) -> Option<Buffer> {
        let at = usize::try_from(number).ok()?;
        self.buffers().get(at).copied()
    }

    /// Takes a buffer out: nothing more comes into it.
    pub(super) fn take(&self, number: u64) -> Option<Buffer> {
        let at = usize::try_from(number).ok()?;
        self.buffers().try_remove(at)
    }

    /// A message has come into a buffer, or none will. Writes into the entry where, and whether that was the buffer's last; tells whether what is left
    /// is to be posted.
    pub(super) fn ended(&self, ended: &Ended, entry: &mut CqEntry, least: usize) -> bool {
        let mut buffers = self.buffers();
        let at = usize::try_from(ended.context).unwrap_or(usize::MAX);
        let Some(buffer) = buffers.get_mut(at) else {
            return false;
        };
        entry.op_context = buffer.context;
        entry.buf = buffer.at.wrapping_add(buffer.used).cast();
        buffer.used += ended.len as usize;
        let goes_on =
            ended.status == myrixen::Status::Success && buffer.len - buffer.used >= least.max(1);
        if !goes_on {
            entry.flags |= flag::MULTI_RECV;
            buffers.remove(at);
        }
        goes_on
    }
}

impl EpCore {
    /// Posts a buffer for many messages.
    ///
    /// # Errors
    /// As for any receive; the buffer is the application's then.
    ///
    /// # Safety
    /// The `len` bytes at `at` stay the endpoint's until the buffer is given back.
    pub(super) unsafe fn receive_many(
        &self,
        (at, len): (*mut c_void, usize),
        matching: Match,
        context: *mut c_void,
        reported: bool,
    ) -> myrixen::Result<()> {
        let buffer = Buffer {
            at: at.cast(),
            len,
            used: 0,
            context,
            matching,
            reported,
        };
        let number = self.multi.buffers().insert(buffer) as u64;
        let posted = self.post_rest(number);
        if posted.is_err() {
            self.multi.take(number);
        }
        posted
    }

    /// Posts what is left of a buffer.
    fn post_rest(&self, number: u64) -> myrixen::Result<()> {
        let Some(buffer) = self.multi.get(number) else {
            return Ok(());
        };
        let left = buffer.len - buffer.used;
        let from = buffer.at.wrapping_add(buffer.used);
        // SAFETY: it is the rest of what was handed over, and was not given back.
        let rest = unsafe { Handed::new(from, left.min(u32::MAX as usize)) };
        let label = Label::new(What::ReceiveMany).reported(buffer.reported);
        self.endpoint
            .accept(buffer.matching, rest, number, label.get())
    }

    /// Posts what is left of a buffer of which a message has taken a part. From a peer that is lost meanwhile nothing more comes, so that the buffer is given back.
    pub(super) fn go_on(&self, number: u64) {
        // On a closed endpoint nothing is told any more.
        let Err(Error::Failed { status, .. }) = self.post_rest(number) else {
            return;
        };
        if status != Status::Closed
            && let Some(buffer) = self.multi.take(number)
        {
            self.received_nothing(What::ReceiveMany, buffer.context, status);
        }
    }
}
