//! `fid_cntr`: counters of ended operations.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::abi::{CntrAttr, Fid, FidCntr, FidDomain, OpsCntr, OpsFid, class, wait};
use crate::cq::wait_object;
use crate::domain::Domain;
use crate::edge::{self, Answer, Object, call, hand_out, hold, object, value};
use crate::ep::EpCore;
use crate::errno::Errno;
use crate::listed::Listed;
use crate::signal::Signal;
use crate::stubs;

/// An open counter.
#[repr(C)]
pub(crate) struct Cntr {
    fid: FidCntr,
    pub(crate) core: Arc<CntrCore>,
    _domain: Arc<Domain>,
}

// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Cntr {}
// SAFETY: the handle's pointers are never changed.
unsafe impl Send for Cntr {}
// SAFETY: as above.
unsafe impl Sync for Cntr {}

/// What endpoints need of it.
pub(crate) struct CntrCore {
    ended: AtomicU64,
    failed: AtomicU64,
    /// Both together, when a poll set last looked.
    seen: AtomicU64,
    wait_obj: c_int,
    pub(crate) signal: Option<Signal>,
    /// Endpoints that count here.
    eps: Listed<Weak<EpCore>>,
}

static FID: OpsFid = OpsFid {
    control,
    ..stubs::fid(close)
};

static OPS: OpsCntr = OpsCntr {
    size: size_of::<OpsCntr>(),
    read,
    readerr,
    add,
    set,
    wait: wait_for,
    adderr,
    seterr,
};

/// How long a wait looks away from counters that other threads may change.
const LOOK: Duration = Duration::from_millis(1);

impl CntrCore {
    pub(crate) fn bind(&self, ep: &Arc<EpCore>) {
        self.eps.change(|eps| {
            let mut eps = eps.to_vec();
            if !eps.iter().any(|held| held.as_ptr() == Arc::as_ptr(ep)) {
                eps.push(Arc::downgrade(ep));
            }
            eps
        });
    }

    pub(crate) fn unbind(&self, ep: &Arc<EpCore>) {
        self.eps.change(|eps| {
            let others = eps.iter().filter(|held| held.as_ptr() != Arc::as_ptr(ep));
            others.cloned().collect()
        });
    }

    /// An operation has ended.
    #[inline]
    pub(crate) fn count(&self, went_well: bool) {
        self.counter(went_well).fetch_add(1, Ordering::AcqRel);
        self.changed();
    }

    fn counter(&self, went_well: bool) -> &AtomicU64 {
        if went_well { &self.ended } else { &self.failed }
    }

    fn changed(&self) {
        if let Some(signal) = &self.signal {
            signal.raise();
        }
    }

    /// Works for all endpoints that count here.
    fn pump(&self) {
        self.eps.with(|eps| {
            for ep in eps.iter().filter_map(Weak::upgrade) {
                ep.pump();
            }
        });
    }

    /// Whether it has changed since this was asked last; works for the endpoints.
    pub(crate) fn has_changed(&self) -> bool {
        self.pump();
        let [ended, failed] = [&self.ended, &self.failed].map(|held| held.load(Ordering::Acquire));
        let now = ended.wrapping_add(failed);
        self.seen.swap(now, Ordering::AcqRel) != now
    }

    /// Waits for a moment for something to change.
    fn pause(&self) {
        match self.eps.to_vec().as_slice() {
            [ep] => {
                if let Some(ep) = ep.upgrade() {
                    ep.wait(LOOK);
                }
            }
            _ => std::thread::yield_now(),
        }
    }

    fn wait(&self, threshold: u64, timeout: c_int) -> Answer {
        let limit = u64::try_from(timeout).ok().map(Duration::from_millis);
        let until = limit.map(|limit| Instant::now() + limit);
        let failed = self.failed.load(Ordering::Acquire);
        loop {
            self.pump();
            if self.ended.load(Ordering::Acquire) >= threshold {
                return Ok(());
            }
            if self.failed.load(Ordering::Acquire) != failed {
                return Err(Errno::AVAIL);
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Err(Errno::TIMEDOUT);
            }
            self.pause();
        }
    }
}

/// Opens a counter of a domain.
///
/// # Safety
/// `domain` is a domain's handle, `attr` null or whole, `to` null or a place for a handle.
pub(crate) unsafe fn open(
    domain: *mut FidDomain,
    attr: *mut CntrAttr,
    to: *mut *mut FidCntr,
    context: *mut c_void,
) -> Answer {
    // SAFETY: the caller's promise.
    let domain = unsafe { hold::<Domain, _>(domain) }?;
    // SAFETY: the caller's promise.
    let attr = unsafe { edge::maybe(attr.cast_const()) };
    if attr.is_some_and(|attr| attr.events != 0) {
        return Err(Errno::NOSYS);
    }
    let wait_obj = attr.map_or(wait::NONE, |attr| attr.wait_obj);
    let signal = match wait_obj {
        wait::NONE | wait::UNSPEC | wait::YIELD => None,
        wait::FD => Some(Signal::new()?),
        _ => return Err(Errno::NOSYS),
    };
    let object = Arc::new(Cntr {
        fid: FidCntr {
            fid: Fid {
                fclass: class::CNTR,
                context,
                ops: &raw const FID,
            },
            ops: &raw const OPS,
        },
        core: Arc::new(CntrCore {
            ended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            wait_obj,
            signal,
            eps: Listed::default(),
        }),
        _domain: domain,
    });
    // SAFETY: the caller's promise.
    unsafe { hand_out(object, to) }
}

unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    call(|| {
        // SAFETY: it is a counter's, whose table this is in.
        let cntr = unsafe { object::<Cntr, _>(fid) }?;
        if cntr.core.eps.with(|eps| !eps.is_empty()) {
            return Err(Errno::BUSY);
        }
        // SAFETY: as above.
        unsafe { edge::take_back::<Cntr, _>(fid) }.map(drop)
    })
}

unsafe extern "C" fn control(fid: *mut Fid, command: c_int, arg: *mut c_void) -> c_int {
    call(|| {
        // SAFETY: it is a counter's, whose table this is in.
        let cntr = &unsafe { object::<Cntr, _>(fid) }?.core;
        // SAFETY: the caller's place for the answer to that question.
        unsafe { wait_object(command, arg, cntr.wait_obj, cntr.signal.as_ref()) }
    })
}

/// Whether one may sleep on its descriptor.
///
/// # Safety
/// `fid` is the handle of an open counter.
pub(crate) unsafe fn try_wait(fid: *mut Fid) -> Answer<bool> {
    // SAFETY: the caller's promise.
    let cntr = &unsafe { object::<Cntr, _>(fid) }?.core;
    let Some(signal) = &cntr.signal else {
        return Err(Errno::INVAL);
    };
    let before = cntr.ended.load(Ordering::Acquire);
    signal.clear();
    let eps = cntr.eps.to_vec();
    let armed = eps
        .iter()
        .filter_map(Weak::upgrade)
        .all(|ep| ep.endpoint.arm());
    if !armed {
        cntr.pump();
    }
    Ok(armed && cntr.ended.load(Ordering::Acquire) == before)
}

/// Does something with the counter behind a handle, which no error can be said of.
///
/// # Safety
/// `cntr` is the handle of an open counter.
unsafe fn with<T>(cntr: *mut FidCntr, otherwise: T, body: impl FnOnce(&CntrCore) -> T) -> T {
    // SAFETY: the caller's promise.
    match unsafe { object::<Cntr, _>(cntr) } {
        Ok(cntr) => value(otherwise, || body(&cntr.core)),
        Err(_) => otherwise,
    }
}

unsafe extern "C" fn read(cntr: *mut FidCntr) -> u64 {
    // SAFETY: it is a counter's, whose table this is in.
    unsafe {
        with(cntr, 0, |cntr| {
            cntr.pump();
            cntr.ended.load(Ordering::Acquire)
        })
    }
}

unsafe extern "C" fn readerr(cntr: *mut FidCntr) -> u64 {
    // SAFETY: it is a counter's, whose table this is in.
    unsafe {
        with(cntr, 0, |cntr| {
            cntr.pump();
            cntr.failed.load(Ordering::Acquire)
        })
    }
}

/// Changes a counter.
///
/// # Safety
/// `cntr` is the handle of an open counter.
unsafe fn change(cntr: *mut FidCntr, body: impl FnOnce(&CntrCore)) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        with(cntr, -Errno::INVAL.get(), |cntr| {
            body(cntr);
            cntr.changed();
            0
        })
    }
}

unsafe extern "C" fn add(cntr: *mut FidCntr, by: u64) -> c_int {
    // SAFETY: it is a counter's, whose table this is in.
    unsafe {
        change(cntr, |cntr| {
            cntr.ended.fetch_add(by, Ordering::AcqRel);
        })
    }
}

unsafe extern "C" fn set(cntr: *mut FidCntr, to: u64) -> c_int {
    // SAFETY: it is a counter's, whose table this is in.
    unsafe { change(cntr, |cntr| cntr.ended.store(to, Ordering::Release)) }
}

unsafe extern "C" fn adderr(cntr: *mut FidCntr, by: u64) -> c_int {
    // SAFETY: it is a counter's, whose table this is in.
    unsafe {
        change(cntr, |cntr| {
            cntr.failed.fetch_add(by, Ordering::AcqRel);
        })
    }
}

unsafe extern "C" fn seterr(cntr: *mut FidCntr, to: u64) -> c_int {
    // SAFETY: it is a counter's, whose table this is in.
    unsafe { change(cntr, |cntr| cntr.failed.store(to, Ordering::Release)) }
}

unsafe extern "C" fn wait_for(cntr: *mut FidCntr, threshold: u64, timeout: c_int) -> c_int {
    call(|| {
        // SAFETY: it is a counter's, whose table this is in.
        let cntr = unsafe { object::<Cntr, _>(cntr) }?;
        cntr.core.wait(threshold, timeout)
    })
}
