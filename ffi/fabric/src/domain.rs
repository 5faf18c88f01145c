//! `fid_domain`: a board, as which objects are opened.

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::abi::{
    AtomicAttr, CntrAttr, DomainAttr, Fid, FidCntr, FidDomain, FidEp, FidPoll, Info, OpsDomain,
    OpsFid, class, mr as mode,
};
use crate::boards::{self, Board};
use crate::edge::{self, Answer, Object, call, hand_out, needed, text};
use crate::ep::EpCore;
use crate::errno::Errno;
use crate::fabric::Fabric;
use crate::mr::Regions;
use crate::settings::Settings;
use crate::{atomic, av, cntr, cq, ep, mr, poll, stubs};

/// An open domain.
#[repr(C)]
pub(crate) struct Domain {
    fid: FidDomain,
    pub(crate) core: Arc<DomainCore>,
    _fabric: Arc<Fabric>,
}

/// What objects of a domain need of it.
pub(crate) struct DomainCore {
    pub(crate) board: Board,
    pub(crate) settings: Settings,
    /// Memory that peers may use.
    pub(crate) regions: Regions,
    /// Held for the length of one atomic operation.
    atomics: Mutex<()>,
    /// Endpoints that are open.
    eps: Mutex<Vec<Weak<EpCore>>>,
}

impl DomainCore {
    /// Keeps other atomic operations out.
    pub(crate) fn atomics(&self) -> MutexGuard<'_, ()> {
        self.atomics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, ep: &Arc<EpCore>) {
        let mut eps = self.eps.lock().unwrap_or_else(PoisonError::into_inner);
        eps.retain(|held| held.strong_count() > 0);
        eps.push(Arc::downgrade(ep));
    }

    /// The endpoints that are open.
    pub(crate) fn eps(&self) -> Vec<Arc<EpCore>> {
        let eps = self.eps.lock().unwrap_or_else(PoisonError::into_inner);
        eps.iter().filter_map(Weak::upgrade).collect()
    }
}

// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Domain {}
// SAFETY: the handle's pointers are never changed.
unsafe impl Send for Domain {}
// SAFETY: as above.
unsafe impl Sync for Domain {}

static FID: OpsFid = stubs::fid(close);

static OPS: OpsDomain = OpsDomain {
    size: size_of::<OpsDomain>(),
    av_open: av::open,
    cq_open: cq::open,
    endpoint: open_ep,
    scalable_ep: stubs::scalable_ep,
    cntr_open: open_cntr,
    poll_open: open_poll,
    stx_ctx: stubs::stx_ctx,
    srx_ctx: stubs::stx_ctx,
    query_atomic,
    query_collective: stubs::query_collective,
    endpoint2: open_ep_with,
};

/// Opens the domain that an entry of `fi_getinfo` names.
///
/// # Safety
/// `info` is null or whole, `to` null or a place for a handle.
pub(crate) unsafe fn open(
    fabric: Arc<Fabric>,
    info: *mut Info,
    to: *mut *mut FidDomain,
    context: *mut c_void,
) -> Answer {
    // SAFETY: the caller's promise.
    let info = unsafe { needed(info) }?;
    // SAFETY: what an entry points to is whole.
    let attr: &DomainAttr = unsafe { needed(info.domain_attr) }?;
    // SAFETY: its name is a text.
    let name = unsafe { text(attr.name) }.ok_or(Errno::INVAL)?;
    let is = |board: &Board| {
        board.own.name.as_bytes() == name.to_bytes() && board.own.partition == fabric.name
    };
    let board = boards::all().into_iter().find(is).ok_or(Errno::NODATA)?;
    let mr_mode = attr.mr_mode;
    let basic = mr_mode == mode::BASIC;
    let core = Arc::new(DomainCore {
        board,
        settings: Settings::read(),
        regions: Regions::new(
            basic || mr_mode & mode::VIRT_ADDR != 0,
            basic || mr_mode & mode::PROV_KEY != 0,
        ),
        atomics: Mutex::default(),
        eps: Mutex::default(),
    });
    let object = Arc::new(Domain {
        fid: FidDomain {
            fid: Fid {
                fclass: class::DOMAIN,
                context,
                ops: &raw const FID,
            },
            ops: &raw const OPS,
            mr: &raw const mr::OPS,
        },
        core,
        _fabric: fabric,
    });
    // SAFETY: the caller's promise.
    unsafe { hand_out(object, to) }
}

unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    // SAFETY: it is a domain's, whose table this is in.
    call(|| unsafe { edge::take_back::<Domain, _>(fid) }.map(drop))
}

unsafe extern "C" fn open_ep(
    domain: *mut FidDomain,
    info: *mut Info,
    ep: *mut *mut FidEp,
    context: *mut c_void,
) -> c_int {
    // SAFETY: the caller's: a domain, whose table this is in, an entry of ours, and a place for the handle.
    call(|| unsafe { ep::open(domain, info, ep, context) })
}

unsafe extern "C" fn open_ep_with(
    domain: *mut FidDomain,
    info: *mut Info,
    ep: *mut *mut FidEp,
    flags: u64,
    context: *mut c_void,
) -> c_int {
    if flags != 0 {
        return -Errno::NOSYS.get();
    }
    // SAFETY: the caller's promises are the same.
    unsafe { open_ep(domain, info, ep, context) }
}

unsafe extern "C" fn open_cntr(
    domain: *mut FidDomain,
    attr: *mut CntrAttr,
    to: *mut *mut FidCntr,
    context: *mut c_void,
) -> c_int {
    // SAFETY: the caller's: a domain, whose table this is in, attributes, and a place for the handle.
    call(|| unsafe { cntr::open(domain, attr, to, context) })
}

unsafe extern "C" fn open_poll(
    domain: *mut FidDomain,
    _: *mut c_void,
    to: *mut *mut FidPoll,
) -> c_int {
    // SAFETY: the caller's: a domain, whose table this is in, and a place for the handle.
    call(|| unsafe { poll::open(domain, to) })
}

unsafe extern "C" fn query_atomic(
    _: *mut FidDomain,
    datatype: c_int,
    op: c_int,
    attr: *mut AtomicAttr,
    flags: u64,
) -> c_int {
    call(|| {
        let (count, size) = atomic::query(datatype, op, flags)?;
        // SAFETY: the caller's place for the answer.
        unsafe { edge::put(attr, AtomicAttr { count, size }) };
        Ok(())
    })
}
