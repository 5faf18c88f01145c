//! `fid_eq`: event queues. Endpoints have no events; insertions into address vectors do, and what applications write themselves.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::abi::{EqAttr, EqEntry, EqErrEntry, Fid, FidEq, FidFabric, OpsEq, OpsFid, class, wait};
use crate::cq::{explain, wait_object};
use crate::edge::{self, Answer, Object, call, hand_out, hold, list, object, put, size};
use crate::errno::Errno;
use crate::fabric::Fabric;
use crate::signal::Signal;
use crate::stubs;

/// An open event queue.
#[repr(C)]
pub(crate) struct Eq {
    fid: FidEq,
    pub(crate) core: Arc<EqCore>,
    _fabric: Arc<Fabric>,
}

// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Eq {}
// SAFETY: the handle's pointers are never changed.
unsafe impl Send for Eq {}
// SAFETY: as above.
unsafe impl Sync for Eq {}

/// What other objects need of it.
pub(crate) struct EqCore {
    wait_obj: c_int,
    /// Applications may write events.
    writable: bool,
    signal: Signal,
    events: Mutex<VecDeque<(u32, Vec<u8>)>>,
}

static FID: OpsFid = OpsFid {
    control,
    ..stubs::fid(close)
};

static OPS: OpsEq = OpsEq {
    size: size_of::<OpsEq>(),
    read,
    readerr,
    write,
    sread,
    strerror,
};

/// `FI_WRITE`, as an event queue's flag.
const WRITABLE: u64 = crate::abi::flag::WRITE;
/// Bytes of one written event, and of all that are unread.
const MOST: usize = 1 << 20;

impl EqCore {
    fn events(&self) -> MutexGuard<'_, VecDeque<(u32, Vec<u8>)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: u32, bytes: Vec<u8>) {
        self.events().push_back((event, bytes));
        self.signal.raise();
    }

    /// Something of an object is done.
    pub(crate) fn report(&self, event: u32, fid: *mut Fid, context: *mut c_void, data: u64) {
        let entry = EqEntry { fid, context, data };
        let mut bytes = Vec::with_capacity(size_of::<EqEntry>());
        bytes.extend_from_slice(&(entry.fid as usize).to_ne_bytes());
        bytes.extend_from_slice(&(entry.context as usize).to_ne_bytes());
        bytes.extend_from_slice(&entry.data.to_ne_bytes());
        self.push(event, bytes);
    }

    /// # Safety
    /// `event` is null or a place for a number, `buf` has room for `len` bytes.
    unsafe fn read(
        &self,
        event: *mut u32,
        buf: *mut c_void,
        len: usize,
        keep: bool,
    ) -> Answer<isize> {
        let mut events = self.events();
        let Some((number, bytes)) = events.front() else {
            self.signal.clear();
            return Err(Errno::AGAIN);
        };
        if len < bytes.len() {
            return Err(Errno::TOOSMALL);
        }
        // SAFETY: the caller's promise.
        unsafe { put(event, *number) };
        if !bytes.is_empty() {
            // SAFETY: there is room for so many bytes.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf.cast(), bytes.len()) };
        }
        let read = bytes.len().cast_signed();
        if !keep {
            events.pop_front();
            if events.is_empty() {
                self.signal.clear();
            }
        }
        Ok(read)
    }
}

/// `FI_PEEK`: the event stays.
const KEEP: u64 = crate::abi::flag::PEEK;

pub(crate) unsafe extern "C" fn open(
    fabric: *mut FidFabric,
    attr: *mut EqAttr,
    to: *mut *mut FidEq,
    context: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: it is a fabric's, whose table this is in.
        let fabric = unsafe { hold::<Fabric, _>(fabric) }?;
        // SAFETY: the caller's attributes, or none.
        let attr = unsafe { edge::maybe(attr.cast_const()) };
        let wait_obj = attr.map_or(wait::NONE, |attr| attr.wait_obj);
        if ![wait::NONE, wait::UNSPEC, wait::FD, wait::YIELD].contains(&wait_obj) {
            return Err(Errno::NOSYS);
        }
        let object = Arc::new(Eq {
            fid: FidEq {
                fid: Fid {
                    fclass: class::EQ,
                    context,
                    ops: &raw const FID,
                },
                ops: &raw const OPS,
            },
            core: Arc::new(EqCore {
                wait_obj,
                writable: attr.is_some_and(|attr| attr.flags & WRITABLE != 0),
                signal: Signal::new()?,
                events: Mutex::default(),
            }),
            _fabric: fabric,
        });
        // SAFETY: there is a place for the handle.
        unsafe { hand_out(object, to) }
    })
}

unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    // SAFETY: it is an event queue's, whose table this is in.
    call(|| unsafe { edge::take_back::<Eq, _>(fid) }.map(drop))
}

unsafe extern "C" fn control(fid: *mut Fid, command: c_int, arg: *mut c_void) -> c_int {
    call(|| {
        // SAFETY: it is an event queue's, whose table this is in.
        let eq = &unsafe { object::<Eq, _>(fid) }?.core;
        // SAFETY: the caller's place for the answer to that question.
        unsafe { wait_object(command, arg, eq.wait_obj, Some(&eq.signal)) }
    })
}

/// Whether one may sleep on its descriptor.
///
/// # Safety
/// `fid` is the handle of an open event queue.
pub(crate) unsafe fn try_wait(fid: *mut Fid) -> Answer<bool> {
    // SAFETY: the caller's promise.
    let eq = &unsafe { object::<Eq, _>(fid) }?.core;
    Ok(eq.events().is_empty())
}

unsafe extern "C" fn read(
    eq: *mut FidEq,
    event: *mut u32,
    buf: *mut c_void,
    len: usize,
    flags: u64,
) -> isize {
    size(|| {
        // SAFETY: it is an event queue's, whose table this is in.
        let eq = &unsafe { object::<Eq, _>(eq) }?.core;
        // SAFETY: the caller's buffers.
        unsafe { eq.read(event, buf, len, flags & KEEP != 0) }
    })
}

/// Nothing fails later than in its call.
unsafe extern "C" fn readerr(_: *mut FidEq, _: *mut EqErrEntry, _: u64) -> isize {
    size(|| Err(Errno::AGAIN))
}

unsafe extern "C" fn write(
    eq: *mut FidEq,
    event: u32,
    buf: *const c_void,
    len: usize,
    _flags: u64,
) -> isize {
    size(|| {
        // SAFETY: it is an event queue's, whose table this is in.
        let eq = &unsafe { object::<Eq, _>(eq) }?.core;
        if !eq.writable || len > MOST {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's bytes.
        let bytes = unsafe { list(buf.cast::<u8>(), len) }?;
        eq.push(event, bytes.to_vec());
        Ok(len.cast_signed())
    })
}

unsafe extern "C" fn sread(
    eq: *mut FidEq,
    event: *mut u32,
    buf: *mut c_void,
    len: usize,
    timeout: c_int,
    flags: u64,
) -> isize {
    size(|| {
        // SAFETY: it is an event queue's, whose table this is in.
        let eq = &unsafe { object::<Eq, _>(eq) }?.core;
        let limit = u64::try_from(timeout).ok().map(Duration::from_millis);
        let until = limit.map(|limit| Instant::now() + limit);
        loop {
            // SAFETY: the caller's buffers.
            match unsafe { eq.read(event, buf, len, flags & KEEP != 0) } {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(Errno::AGAIN);
            }
            let millis = left.map_or(-1, |left| i64::try_from(left.as_millis()).unwrap_or(-1) + 1);
            eq.signal.wait(millis);
        }
    })
}

unsafe extern "C" fn strerror(
    _: *mut FidEq,
    number: c_int,
    _: *const c_void,
    buf: *mut c_char,
    len: usize,
) -> *const c_char {
    // SAFETY: the caller's buffer.
    unsafe { explain(number, buf, len) }
}
