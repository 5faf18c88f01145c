//! `fid_ep`: an endpoint, which is one of MyriXen's.

mod core;
mod deliver;
mod labels;
mod msg;
mod multi;
mod receive;
mod send;
mod tagged;

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::abi::{
    Fid, FidDomain, FidEp, Info, OPT_ENDPOINT, OPT_MIN_MULTI_RECV, OpsCm, OpsEp, OpsFid, class,
    control, flag,
};
use crate::av::{Av, copy_out};
use crate::cntr::Cntr;
use crate::cq::Cq;
use crate::domain::Domain;
use crate::edge::{
    self, Answer, Object, call, done, hand_out, hold, needed, object, put, size, take_back,
};
use crate::errno::Errno;
use crate::info::limits;
use crate::{atomic, rma, stubs};

pub(crate) use self::core::{Binding, EpCore, Event};
pub(crate) use deliver::{Later, fault_of};
pub(crate) use labels::{Label, What};

/// An open endpoint.
#[repr(C)]
pub(crate) struct Ep {
    fid: FidEp,
    pub(crate) core: Arc<EpCore>,
    _domain: Arc<Domain>,
}

// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Ep {}
// SAFETY: the handle's pointers are never changed.
unsafe impl Send for Ep {}
// SAFETY: as above.
unsafe impl Sync for Ep {}

static FID: OpsFid = OpsFid {
    bind,
    control: control_of,
    ..stubs::fid(close)
};

static OPS: OpsEp = OpsEp {
    size: size_of::<OpsEp>(),
    cancel,
    getopt,
    setopt,
    tx_ctx: stubs::tx_ctx,
    rx_ctx: stubs::tx_ctx,
    rx_size_left: room,
    tx_size_left: room,
};

static CM: OpsCm = OpsCm {
    size: size_of::<OpsCm>(),
    setname: stubs::setname,
    getname,
    getpeer: stubs::getpeer,
    connect: stubs::connect,
    listen: stubs::listen,
    accept: stubs::accept,
    reject: stubs::reject,
    shutdown: stubs::shutdown,
    join: stubs::join,
};

/// The endpoint whose table an entry is in.
///
/// # Safety
/// `ep` is the handle of an open endpoint.
#[inline]
pub(crate) unsafe fn ready<'a>(ep: *mut FidEp) -> Answer<&'a EpCore> {
    // SAFETY: the caller's promise.
    let core = &unsafe { object::<Ep, _>(ep) }?.core;
    if core.enabled.load(Ordering::Relaxed) {
        Ok(core)
    } else {
        Err(Errno::OPBADSTATE)
    }
}

/// Opens an endpoint as an entry of `fi_getinfo` describes it.
///
/// # Safety
/// `domain` is a domain's handle, `info` null or whole, `to` null or a place for a handle.
pub(crate) unsafe fn open(
    domain: *mut FidDomain,
    info: *mut Info,
    to: *mut *mut FidEp,
    context: *mut c_void,
) -> Answer {
    // SAFETY: the caller's promise.
    let domain = unsafe { hold::<Domain, _>(domain) }?;
    // SAFETY: the caller's promise.
    let info = unsafe { needed(info.cast_const()) }?;
    // SAFETY: what an entry points to is whole.
    if let Some(ep) = unsafe { edge::maybe(info.ep_attr) }
        && (ep.tx_ctx_cnt > 1 || ep.rx_ctx_cnt > 1)
    {
        return Err(Errno::INVAL);
    }
    // SAFETY: what an entry points to is whole.
    let tx_flags = unsafe { edge::maybe(info.tx_attr) }.map_or(0, |tx| tx.op_flags);
    // SAFETY: what an entry points to is whole.
    let rx_flags = unsafe { edge::maybe(info.rx_attr) }.map_or(0, |rx| rx.op_flags);
    let core = EpCore::open(&domain.core, info.caps, [tx_flags, rx_flags])?;
    let object = Arc::new(Ep {
        fid: FidEp {
            fid: Fid {
                fclass: class::EP,
                context,
                ops: &raw const FID,
            },
            ops: &raw const OPS,
            cm: &raw const CM,
            msg: &raw const msg::OPS,
            rma: &raw const rma::OPS,
            tagged: &raw const tagged::OPS,
            atomic: &raw const atomic::OPS,
            collective: &raw const stubs::COLLECTIVE,
        },
        core,
        _domain: domain,
    });
    // SAFETY: the caller's promise.
    unsafe { hand_out(object, to) }
}

/// Nothing of the application's memory is touched after this.
unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    call(|| {
        // SAFETY: it is an endpoint's, whose table this is in.
        let ep = unsafe { take_back::<Ep, _>(fid) }?;
        ep.core.shut();
        Ok(())
    })
}

unsafe extern "C" fn bind(fid: *mut Fid, to: *mut Fid, flags: u64) -> c_int {
    call(|| {
        // SAFETY: it is an endpoint's, whose table this is in.
        let core = &unsafe { object::<Ep, _>(fid) }?.core;
        // SAFETY: the caller's object.
        match unsafe { needed(to.cast_const()) }?.fclass {
            class::AV => {
                // SAFETY: its class says so.
                let av = &unsafe { object::<Av, _>(to) }?.core;
                core.bind_av(av)
            }
            class::CQ => {
                // SAFETY: its class says so.
                let cq = &unsafe { object::<Cq, _>(to) }?.core;
                core.bind_cq(cq, flags)
            }
            class::CNTR => {
                // SAFETY: its class says so.
                let cntr = &unsafe { object::<Cntr, _>(to) }?.core;
                core.bind_cntr(cntr, flags)
            }
            // Connections are nobody's business here: there are no events.
            class::EQ => Ok(()),
            _ => Err(Errno::INVAL),
        }
    })
}

unsafe extern "C" fn control_of(fid: *mut Fid, command: c_int, arg: *mut c_void) -> c_int {
    call(|| {
        // SAFETY: it is an endpoint's, whose table this is in.
        let core = &unsafe { object::<Ep, _>(fid) }?.core;
        match command {
            control::ENABLE => core.enable(),
            control::GETOPSFLAG => {
                let flags = arg.cast::<u64>();
                // SAFETY: the caller's flags, which say of which side.
                let side = *unsafe { needed(flags.cast_const()) }?;
                // SAFETY: as above.
                unsafe { put(flags, core.op_flags(side)) };
                Ok(())
            }
            control::SETOPSFLAG => {
                // SAFETY: the caller's flags.
                let flags = *unsafe { needed(arg.cast::<u64>().cast_const()) }?;
                core.set_op_flags(flags)
            }
            _ => Err(Errno::NOSYS),
        }
    })
}

unsafe extern "C" fn cancel(fid: *mut Fid, context: *mut c_void) -> isize {
    done(|| {
        // SAFETY: it is an endpoint's, whose table this is in.
        let core = &unsafe { object::<Ep, _>(fid) }?.core;
        core.cancel(context)
    })
}

unsafe extern "C" fn getopt(
    fid: *mut Fid,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut usize,
) -> c_int {
    call(|| {
        // SAFETY: it is an endpoint's, whose table this is in.
        let core = &unsafe { object::<Ep, _>(fid) }?.core;
        if (level, name) != (OPT_ENDPOINT, OPT_MIN_MULTI_RECV) {
            return Err(Errno::NOSYS);
        }
        let least = core.multi.least.load(Ordering::Relaxed);
        // SAFETY: the caller's buffer, as long as it says.
        unsafe { copy_out(&least.to_ne_bytes(), value, len) }
    })
}

unsafe extern "C" fn setopt(
    fid: *mut Fid,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: usize,
) -> c_int {
    call(|| {
        // SAFETY: it is an endpoint's, whose table this is in.
        let core = &unsafe { object::<Ep, _>(fid) }?.core;
        if (level, name) != (OPT_ENDPOINT, OPT_MIN_MULTI_RECV) {
            return Err(Errno::NOSYS);
        }
        if len < size_of::<usize>() || value.is_null() {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's value of that length.
        let least = unsafe { value.cast::<usize>().read_unaligned() };
        core.multi.least.store(least, Ordering::Relaxed);
        Ok(())
    })
}

/// There is always room: what is too much is told by the operation itself.
unsafe extern "C" fn room(ep: *mut FidEp) -> isize {
    size(|| {
        // SAFETY: it is an endpoint's, whose table this is in.
        unsafe { ready(ep) }?;
        Ok(limits::QUEUE.cast_signed())
    })
}

unsafe extern "C" fn getname(fid: *mut Fid, addr: *mut c_void, len: *mut usize) -> c_int {
    call(|| {
        // SAFETY: it is an endpoint's, whose table this is in.
        let core = &unsafe { object::<Ep, _>(fid) }?.core;
        // SAFETY: the caller's buffer, as long as it says.
        unsafe { copy_out(&core.name.to_bytes(), addr, len) }
    })
}

/// Whether an operation's end is to be told, given its own flags and how its queue is bound.
#[inline]
pub(crate) fn reports(binding: Option<&Binding>, flags: u64) -> bool {
    binding.is_some_and(|binding| !binding.selective || flags & flag::COMPLETION != 0)
}
