//! `fid_cq`: completion queues.
//!
//! What ends at an endpoint is read from the engine's own queue of ended requests, straight into the application's buffer. What cannot be (errors, ends of
//! receives while somebody reads the queue of sends, operations on memory) waits in the queue's *backlog*, which is read first and has no limit.

mod reading;

use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use myrixen::{Address, Status};
use reading::Reading;

use crate::abi::{
    ADDR_UNSPEC, CqAttr, CqEntry, CqErrEntry, Fid, FidCq, FidDomain, OpsCq, OpsFid, class, control,
    wait,
};
use crate::domain::Domain;
use crate::edge::{self, Answer, Object, call, hand_out, hold, needed, object, put, size};
use crate::ep::EpCore;
use crate::errno::{Errno, provider_errno, reason};
use crate::listed::Listed;
use crate::signal::Signal;
use crate::stubs;

/// An open completion queue.
#[repr(C)]
pub(crate) struct Cq {
    fid: FidCq,
    pub(crate) core: Arc<CqCore>,
    _domain: Arc<Domain>,
}

// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Cq {}
// SAFETY: the handle's pointers are never changed.
unsafe impl Send for Cq {}
// SAFETY: as above.
unsafe impl Sync for Cq {}

/// What endpoints need of it.
pub(crate) struct CqCore {
    /// Bytes of one entry: how much of [`CqEntry`] the application has asked for.
    entry_bytes: usize,
    wait_obj: c_int,
    /// What is slept on, if it can be.
    pub(crate) signal: Option<Signal>,
    backlog: Mutex<VecDeque<Item>>,
    /// How many are in the backlog.
    waiting: AtomicUsize,
    /// The last thing that was done with it was a read that has taken all there was.
    drained: AtomicBool,
    /// Somebody wants the calls that wait to return.
    signalled: AtomicBool,
    /// Endpoints that complete here.
    eps: Listed<Arc<EpCore>>,
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) entry: CqEntry,
    pub(crate) fault: Option<Fault>,
    /// Whom a message is from.
    pub(crate) from: Option<Address>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) errno: Errno,
    pub(crate) provider: c_int,
    /// Bytes that were lost.
    pub(crate) lost: usize,
}

impl Fault {
    /// What is told of a request that ended so.
    pub(crate) fn of(status: Status, lost: usize) -> Self {
        Self {
            errno: Errno::of(status),
            provider: provider_errno(status),
            lost,
        }
    }
}

// SAFETY: the pointers are the application's, and only handed back to it.
unsafe impl Send for Item {}

static FID: OpsFid = OpsFid {
    control: control_of,
    ..stubs::fid(close)
};

static OPS: OpsCq = OpsCq {
    size: size_of::<OpsCq>(),
    read,
    readfrom,
    readerr,
    sread,
    sreadfrom,
    signal,
    strerror,
};

/// Where entries are written for the application.
struct Room {
    at: *mut u8,
    sources: *mut u64,
    left: usize,
    done: usize,
}

impl Room {
    /// # Safety
    /// There is room for `left` entries of `bytes`, and for as many sources unless that is null.
    #[inline(always)]
    unsafe fn write(&mut self, bytes: usize, entry: CqEntry, source: impl FnOnce() -> u64) {
        let to = self.at.wrapping_add(self.done * bytes).cast::<u64>();
        // Word by word, as the entry comes: what is copied in larger pieces than it was stored in has a processor wait.
        let put = |at: usize, word: u64| {
            // SAFETY: the caller's promise; each format begins as the next longer one does.
            unsafe { to.wrapping_add(at).write_unaligned(word) }
        };
        put(0, entry.op_context as u64);
        if bytes > offset_of!(CqEntry, flags) {
            put(1, entry.flags);
            put(2, entry.len as u64);
        }
        if bytes > offset_of!(CqEntry, buf) {
            put(3, entry.buf as u64);
            put(4, entry.data);
        }
        if bytes > offset_of!(CqEntry, tag) {
            put(5, entry.tag);
        }
        if !self.sources.is_null() {
            // SAFETY: the caller's promise.
            unsafe { self.sources.wrapping_add(self.done).write(source()) };
        }
        self.done += 1;
        self.left -= 1;
    }
}

impl CqCore {
    fn backlog(&self) -> MutexGuard<'_, VecDeque<Item>> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many completions are in the backlog.
    pub(crate) fn backlog_len(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether there is something in the backlog.
    #[inline]
    fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Puts a completion behind all others.
    pub(crate) fn push(&self, item: Item) {
        let mut backlog = self.backlog();
        backlog.push_back(item);
        self.waiting.store(backlog.len(), Ordering::Release);
        drop(backlog);
        if let Some(signal) = &self.signal {
            signal.raise();
        }
    }

    pub(crate) fn bind(&self, ep: &Arc<EpCore>) {
        self.eps.change(|eps| {
            let mut eps = eps.to_vec();
            if !eps.iter().any(|held| Arc::ptr_eq(held, ep)) {
                eps.push(Arc::clone(ep));
            }
            eps
        });
    }

    pub(crate) fn unbind(&self, ep: &Arc<EpCore>) {
        self.eps.change(|eps| {
            let others = eps.iter().filter(|held| !Arc::ptr_eq(held, ep));
            others.cloned().collect()
        });
    }

    fn is_bound(&self) -> bool {
        self.eps.with(|eps| !eps.is_empty())
    }

    /// The place of a source in an address vector of one of our endpoints.
    fn place_of(&self, from: Option<Address>) -> u64 {
        let find = |from| {
            self.eps
                .with(|eps| eps.iter().find_map(|ep| ep.av.get()?.place_of(from)))
        };
        from.and_then(find).unwrap_or(ADDR_UNSPEC)
    }

    /// Writes what is in the backlog, up to the first error. True if there is an error now.
    ///
    /// # Safety
    /// As for [`Room::write`].
    unsafe fn take_backlog(&self, room: &mut Room) -> bool {
        if !self.has_waiting() {
            return false;
        }
        let mut backlog = self.backlog();
        let mut error = false;
        while room.left > 0
            && let Some(item) = backlog.front()
        {
            if item.fault.is_some() {
                error = true;
                break;
            }
            // SAFETY: the caller's promise.
            unsafe { room.write(self.entry_bytes, item.entry, || self.place_of(item.from)) };
            backlog.pop_front();
        }
        self.waiting.store(backlog.len(), Ordering::Release);
        error
    }

    /// Takes completions from the endpoints. Those that come behind one that cannot be written go to the backlog as well.
    ///
    /// # Safety
    /// As for [`Room::write`].
    #[inline(always)]
    unsafe fn take_ended(&self, room: &mut Room) {
        self.eps.with(|eps| match eps {
            // SAFETY: the caller's promise.
            [ep] => unsafe { self.take_ended_of(ep, room) },
            // SAFETY: as above.
            _ => unsafe { self.take_ended_of_all(eps, room) },
        });
    }

    /// # Safety
    /// As for [`Room::write`].
    #[inline(never)]
    unsafe fn take_ended_of_all(&self, eps: &[Arc<EpCore>], room: &mut Room) {
        for ep in eps {
            if room.left > 0 {
                // SAFETY: the caller's promise.
                unsafe { self.take_ended_of(ep, room) };
            }
        }
    }

    /// # Safety
    /// As for [`Room::write`].
    #[inline(always)]
    unsafe fn take_ended_of(&self, ep: &EpCore, room: &mut Room) {
        let limit = room.left;
        let mut reading = Reading {
            cq: self,
            ep,
            room,
            behind: false,
            later: Vec::new(),
        };
        ep.endpoint.reap_for(limit, &mut reading);
        if !reading.later.is_empty() {
            ep.catch_up(reading.later);
        }
    }

    /// # Safety
    /// `buf` has room for `count` entries, and `sources` for as many places unless it is null.
    #[inline(always)]
    unsafe fn read(&self, buf: *mut c_void, count: usize, sources: *mut u64) -> Answer<isize> {
        let mut room = Room {
            at: buf.cast(),
            sources,
            left: count,
            done: 0,
        };
        if count > 0 && !self.has_waiting() {
            // SAFETY: the caller's promise.
            unsafe { self.take_ended(&mut room) };
            if room.done > 0 {
                return Ok(room.done.cast_signed());
            }
            if !self.has_waiting() {
                return Err(Errno::AGAIN);
            }
        }
        // SAFETY: as above.
        unsafe { self.read_waiting_first(room) }
    }

    /// As [`read`](Self::read), for programs that read again at once, until there is nothing, before they go on with what they have read: what comes
    /// between a read that has taken all there was and the next one is left to the one after it.
    ///
    /// # Safety
    /// As for [`read`](Self::read).
    #[inline(always)]
    unsafe fn read_until_nothing(
        &self,
        buf: *mut c_void,
        count: usize,
        sources: *mut u64,
    ) -> Answer<isize> {
        if self.drained.load(Ordering::Relaxed) {
            self.drained.store(false, Ordering::Relaxed);
            if count > 0 {
                return Err(Errno::AGAIN);
            }
        }
        // SAFETY: the caller's promise.
        let read = unsafe { self.read(buf, count, sources) };
        if let Ok(done) = read
            && done.cast_unsigned() < count
            && !self.has_waiting()
        {
            self.drained.store(true, Ordering::Relaxed);
        }
        read
    }

    /// # Safety
    /// As for [`read`](Self::read).
    #[cold]
    unsafe fn read_waiting_first(&self, mut room: Room) -> Answer<isize> {
        if room.left == 0 {
            return self.look();
        }
        // SAFETY: the caller's promise.
        let mut error = unsafe { self.take_backlog(&mut room) };
        if !error && room.left > 0 {
            // SAFETY: the caller's promise.
            unsafe { self.take_ended(&mut room) };
            if room.done == 0 {
                // An error may have been found, or what another thread has put there.
                // SAFETY: the caller's promise.
                error = unsafe { self.take_backlog(&mut room) };
            }
        }
        match room.done {
            0 if error => Err(Errno::AVAIL),
            0 => Err(Errno::AGAIN),
            done => Ok(done.cast_signed()),
        }
    }

    /// Works for the endpoints, and says what a read would find: how applications have progress made that want nothing else.
    fn look(&self) -> Answer<isize> {
        let something = self.has_something();
        match self.backlog().front() {
            Some(item) if item.fault.is_some() => Err(Errno::AVAIL),
            Some(_) if something => Ok(0),
            _ => Err(Errno::AGAIN),
        }
    }

    /// # Safety
    /// As for [`read`](Self::read).
    unsafe fn read_waiting(
        &self,
        buf: *mut c_void,
        count: usize,
        sources: *mut u64,
        timeout: c_int,
    ) -> Answer<isize> {
        let limit = u64::try_from(timeout).ok().map(Duration::from_millis);
        let until = limit.map(|limit| Instant::now() + limit);
        let mut first = true;
        self.drained.store(false, Ordering::Relaxed);
        loop {
            // SAFETY: the caller's promise.
            match unsafe { self.read(buf, count, sources) } {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
            if self.signalled.swap(false, Ordering::SeqCst) {
                return Err(Errno::AGAIN);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if !first && left == Some(Duration::ZERO) {
                return Err(Errno::AGAIN);
            }
            first = false;
            self.sleep(left);
        }
    }

    /// Waits until there may be something, for so long at most.
    fn sleep(&self, left: Option<Duration>) {
        /// Whoever is bound to several endpoints, or waits for what comes by the fabric's thread, looks again after this time.
        const LOOK: Duration = Duration::from_millis(100);
        let Some(signal) = &self.signal else {
            // There is nothing to sleep on: the endpoints do the waiting.
            return match self.eps.to_vec().as_slice() {
                [ep] => ep.wait(left.unwrap_or(LOOK).min(LOOK)),
                _ => std::thread::yield_now(),
            };
        };
        if self.is_quiet() {
            let left = left.unwrap_or(LOOK).min(LOOK);
            signal.wait(i64::try_from(left.as_millis()).unwrap_or(0).max(1));
        }
    }

    /// Whether there is something to be read; works for the endpoints.
    pub(crate) fn has_something(&self) -> bool {
        self.drained.store(false, Ordering::Relaxed);
        self.eps.with(|eps| eps.iter().for_each(|ep| ep.pump()));
        self.has_waiting()
    }

    /// Whether one may sleep on the descriptor, which becomes readable with the next completion.
    fn is_quiet(&self) -> bool {
        // Who asks has not just read, and reads next what there is.
        self.drained.store(false, Ordering::Relaxed);
        let Some(signal) = &self.signal else {
            return !self.has_waiting();
        };
        signal.clear();
        let armed = self.eps.with(|eps| eps.iter().all(|ep| ep.endpoint.arm()));
        armed && self.waiting.load(Ordering::SeqCst) == 0 && !self.signalled.load(Ordering::SeqCst)
    }
}

pub(crate) unsafe extern "C" fn open(
    domain: *mut FidDomain,
    attr: *mut CqAttr,
    to: *mut *mut FidCq,
    context: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: it is a domain's, whose table this is in.
        let domain = unsafe { hold::<Domain, _>(domain) }?;
        // SAFETY: the caller's attributes, or none.
        let attr = unsafe { edge::maybe(attr) };
        let entry_bytes = match attr.map_or(0, |attr| attr.format) {
            0 | 1 => 8,
            2 => 24,
            3 => 40,
            4 => size_of::<CqEntry>(),
            _ => return Err(Errno::INVAL),
        };
        let wait_obj = attr.map_or(wait::NONE, |attr| attr.wait_obj);
        let signal = match wait_obj {
            wait::NONE | wait::YIELD => None,
            wait::UNSPEC | wait::FD => Some(Signal::new()?),
            _ => return Err(Errno::NOSYS),
        };
        let object = Arc::new(Cq {
            fid: FidCq {
                fid: Fid {
                    fclass: class::CQ,
                    context,
                    ops: &raw const FID,
                },
                ops: &raw const OPS,
            },
            core: Arc::new(CqCore {
                entry_bytes,
                wait_obj,
                signal,
                backlog: Mutex::default(),
                waiting: AtomicUsize::new(0),
                drained: AtomicBool::new(false),
                signalled: AtomicBool::new(false),
                eps: Listed::default(),
            }),
            _domain: domain,
        });
        // SAFETY: there is a place for the handle.
        unsafe { hand_out(object, to) }
    })
}

unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    call(|| {
        // SAFETY: it is a queue's, whose table this is in.
        if unsafe { object::<Cq, _>(fid) }?.core.is_bound() {
            return Err(Errno::BUSY);
        }
        // SAFETY: as above.
        unsafe { edge::take_back::<Cq, _>(fid) }.map(drop)
    })
}

unsafe extern "C" fn control_of(fid: *mut Fid, command: c_int, arg: *mut c_void) -> c_int {
    call(|| {
        // SAFETY: it is a queue's, whose table this is in.
        let cq = &unsafe { object::<Cq, _>(fid) }?.core;
        // SAFETY: the caller's place for the answer to that question.
        unsafe { wait_object(command, arg, cq.wait_obj, cq.signal.as_ref()) }
    })
}

/// Answers what is to be waited on.
///
/// # Safety
/// `arg` is null or a place for what `command` asks for.
pub(crate) unsafe fn wait_object(
    command: c_int,
    arg: *mut c_void,
    wait_obj: c_int,
    signal: Option<&Signal>,
) -> Answer {
    if arg.is_null() {
        return Err(Errno::INVAL);
    }
    match (command, signal) {
        (control::GETWAIT, Some(signal)) if wait_obj == wait::FD => {
            // SAFETY: the caller's promise.
            unsafe { put(arg.cast::<RawFd>(), signal.descriptor()) };
        }
        (control::GETWAITOBJ, _) => {
            // SAFETY: the caller's promise.
            unsafe { put(arg.cast::<c_int>(), wait_obj) };
        }
        _ => return Err(Errno::NOSYS),
    }
    Ok(())
}

/// Whether one may sleep on its descriptor.
///
/// # Safety
/// `fid` is the handle of an open queue.
pub(crate) unsafe fn try_wait(fid: *mut Fid) -> Answer<bool> {
    // SAFETY: the caller's promise.
    Ok(unsafe { object::<Cq, _>(fid) }?.core.is_quiet())
}

unsafe extern "C" fn read(cq: *mut FidCq, buf: *mut c_void, count: usize) -> isize {
    // SAFETY: the caller's promises are the same.
    unsafe { readfrom(cq, buf, count, std::ptr::null_mut()) }
}

unsafe extern "C" fn readfrom(
    cq: *mut FidCq,
    buf: *mut c_void,
    count: usize,
    sources: *mut u64,
) -> isize {
    size(|| {
        // SAFETY: it is a queue's, whose table this is in.
        let cq = unsafe { object::<Cq, _>(cq) }?;
        // SAFETY: the caller's buffers.
        unsafe { cq.core.read_until_nothing(buf, count, sources) }
    })
}

unsafe extern "C" fn sread(
    cq: *mut FidCq,
    buf: *mut c_void,
    count: usize,
    cond: *const c_void,
    timeout: c_int,
) -> isize {
    // SAFETY: the caller's promises are the same.
    unsafe { sreadfrom(cq, buf, count, std::ptr::null_mut(), cond, timeout) }
}

unsafe extern "C" fn sreadfrom(
    cq: *mut FidCq,
    buf: *mut c_void,
    count: usize,
    sources: *mut u64,
    _cond: *const c_void,
    timeout: c_int,
) -> isize {
    size(|| {
        // SAFETY: it is a queue's, whose table this is in.
        let cq = unsafe { object::<Cq, _>(cq) }?;
        // SAFETY: the caller's buffers.
        unsafe { cq.core.read_waiting(buf, count, sources, timeout) }
    })
}

unsafe extern "C" fn readerr(cq: *mut FidCq, to: *mut CqErrEntry, _flags: u64) -> isize {
    size(|| {
        // SAFETY: it is a queue's, whose table this is in.
        let cq = &unsafe { object::<Cq, _>(cq) }?.core;
        let mut backlog = cq.backlog();
        let fault = backlog.front().and_then(|item| item.fault);
        let Some((fault, item)) = fault.zip(backlog.front().copied()) else {
            return Err(Errno::AGAIN);
        };
        // SAFETY: the caller's entry.
        let former = unsafe { needed(to.cast_const()) }?;
        let error = CqErrEntry {
            entry: item.entry,
            olen: fault.lost,
            err: fault.errno.get(),
            prov_errno: fault.provider,
            err_data: former.err_data,
            err_data_size: 0,
        };
        backlog.pop_front();
        cq.waiting.store(backlog.len(), Ordering::Release);
        // SAFETY: the caller's entry.
        unsafe { put(to, error) };
        Ok(1)
    })
}

unsafe extern "C" fn signal(cq: *mut FidCq) -> c_int {
    call(|| {
        // SAFETY: it is a queue's, whose table this is in.
        let cq = &unsafe { object::<Cq, _>(cq) }?.core;
        cq.signalled.store(true, Ordering::SeqCst);
        if let Some(signal) = &cq.signal {
            signal.raise();
        }
        cq.eps
            .with(|eps| eps.iter().for_each(|ep| ep.endpoint.wakeup()));
        Ok(())
    })
}

pub(crate) unsafe extern "C" fn strerror(
    _: *mut FidCq,
    number: c_int,
    _: *const c_void,
    buf: *mut c_char,
    len: usize,
) -> *const c_char {
    // SAFETY: the caller's buffer.
    unsafe { explain(number, buf, len) }
}

/// What one of our numbers says; into the buffer too, if there is one.
///
/// # Safety
/// `buf` is null or has room for `len` bytes.
pub(crate) unsafe fn explain(number: c_int, buf: *mut c_char, len: usize) -> *const c_char {
    let text = reason(number);
    if !buf.is_null() && len > 0 {
        let fits = text.to_bytes().len().min(len - 1);
        // SAFETY: the buffer has room for so much, and a 0.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buf, fits) };
        // SAFETY: as above.
        unsafe { buf.wrapping_add(fits).write(0) };
    }
    text.as_ptr()
}
