//! From the ends of requests to where the application reads them.

use std::ffi::c_void;
use std::sync::Arc;

use myrixen::{Address, Ended, Reaper};

use super::{CqCore, Item, Room};
use crate::abi::{ADDR_UNSPEC, CqEntry, flag};
use crate::ep::{EpCore, Label, Later};

/// A read of a queue, at one of its endpoints.
pub(super) struct Reading<'a> {
    pub(super) cq: &'a CqCore,
    pub(super) ep: &'a EpCore,
    /// For which [`Room::write`] has its promise.
    pub(super) room: &'a mut Room,
    /// Something was put into the backlog.
    pub(super) behind: bool,
    pub(super) later: Vec<Later>,
}

impl Reading<'_> {
    #[inline(always)]
    fn write(&mut self, entry: CqEntry, from: Option<Address>) {
        let ep = self.ep;
        let place = || from.and_then(|from| ep.av.get()?.place_of(from));
        let place = || place().unwrap_or(ADDR_UNSPEC);
        // SAFETY: see `room`.
        unsafe { self.room.write(self.cq.entry_bytes, entry, place) };
    }
}

impl Reaper for Reading<'_> {
    fn end(&mut self, ended: &Ended) {
        let (ep, mut later) = (self.ep, std::mem::take(&mut self.later));
        let mut each = |cq: &Arc<CqCore>, item: Item| {
            if !std::ptr::eq(Arc::as_ptr(cq), self.cq) {
                return cq.push(item);
            }
            self.behind |= item.fault.is_some();
            if self.behind || self.room.left == 0 {
                return cq.push(item);
            }
            self.write(item.entry, item.from);
        };
        ep.deliver(ended, &mut each, &mut later);
        self.later = later;
    }

    // What is read where it matters how long that takes, so it does not go through what is for all.
    #[inline(always)]
    fn takes_short(&self, label: u32) -> bool {
        Label::of(label).is_plain_receive() && self.ep.receives_at(self.cq)
    }

    #[inline(always)]
    fn short(&mut self, ended: Ended) {
        let beside = if ended.data.is_some() {
            flag::REMOTE_CQ_DATA
        } else {
            0
        };
        let entry = CqEntry {
            op_context: ended.context as *mut c_void,
            flags: Label::of(ended.label).receive_flags() | beside,
            len: ended.len as usize,
            buf: std::ptr::null_mut(),
            data: ended.data.unwrap_or(0),
            tag: ended.bits,
        };
        self.write(entry, ended.source);
    }
}
