//! `fid_fabric`: a partition.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use crate::abi::{FabricAttr, Fid, FidDomain, FidFabric, Info, OpsFabric, OpsFid, class};
use crate::edge::{self, Object, call, hand_out, hold, int, list, needed, text};
use crate::errno::Errno;
use crate::{cq, domain, eq, stubs};

/// An open fabric.
#[repr(C)]
pub(crate) struct Fabric {
    fid: FidFabric,
    /// The partition's name.
    pub(crate) name: String,
}

// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Fabric {}
// SAFETY: what it points to is never changed; libfabric sets the version before the application has the handle.
unsafe impl Send for Fabric {}
// SAFETY: as above.
unsafe impl Sync for Fabric {}

static FID: OpsFid = stubs::fid(close);

static OPS: OpsFabric = OpsFabric {
    size: size_of::<OpsFabric>(),
    domain: open_domain,
    passive_ep: stubs::passive_ep,
    eq_open: eq::open,
    wait_open: stubs::wait_open,
    trywait,
    domain2: open_domain_with,
};

/// `fabric` of the provider.
pub(crate) unsafe extern "C" fn open(
    attr: *mut FabricAttr,
    fabric: *mut *mut FidFabric,
    context: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: libfabric gives the attributes of an entry of ours.
        let attr = unsafe { needed(attr) }?;
        // SAFETY: their name is a text.
        let name = unsafe { text(attr.name) }.ok_or(Errno::INVAL)?;
        let object = Arc::new(Fabric {
            fid: FidFabric {
                fid: Fid {
                    fclass: class::FABRIC,
                    context,
                    ops: &raw const FID,
                },
                ops: &raw const OPS,
                api_version: attr.api_version,
            },
            name: name.to_string_lossy().into_owned(),
        });
        // SAFETY: there is a place for the handle.
        unsafe { hand_out(object, fabric) }
    })
}

unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    // SAFETY: it is a fabric's, whose table this is in.
    call(|| unsafe { edge::take_back::<Fabric, _>(fid) }.map(drop))
}

unsafe extern "C" fn open_domain(
    fabric: *mut FidFabric,
    info: *mut Info,
    domain: *mut *mut FidDomain,
    context: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: it is a fabric's, whose table this is in.
        let fabric = unsafe { hold::<Fabric, _>(fabric) }?;
        // SAFETY: the caller's: an entry of ours, and a place for the handle.
        unsafe { domain::open(fabric, info, domain, context) }
    })
}

unsafe extern "C" fn open_domain_with(
    fabric: *mut FidFabric,
    info: *mut Info,
    domain: *mut *mut FidDomain,
    flags: u64,
    context: *mut c_void,
) -> c_int {
    if flags != 0 {
        return -Errno::NOSYS.get();
    }
    // SAFETY: the caller's promises are the same.
    unsafe { open_domain(fabric, info, domain, context) }
}

/// Whether one may sleep on the descriptors of all these objects: 0, or that one has something to be read first.
unsafe extern "C" fn trywait(_: *mut FidFabric, fids: *mut *mut Fid, count: c_int) -> c_int {
    int(|| {
        let count = usize::try_from(count).map_err(|_| Errno::INVAL)?;
        // SAFETY: the caller's list.
        for fid in unsafe { list(fids.cast_const(), count) }? {
            // SAFETY: they are handles of open objects.
            let class = unsafe { needed(fid.cast_const()) }?.fclass;
            let quiet = match class {
                // SAFETY: the class says so.
                class::CQ => unsafe { cq::try_wait(*fid) }?,
                // SAFETY: the class says so.
                class::EQ => unsafe { eq::try_wait(*fid) }?,
                // SAFETY: the class says so.
                class::CNTR => unsafe { crate::cntr::try_wait(*fid) }?,
                _ => return Err(Errno::NOSYS),
            };
            if !quiet {
                return Err(Errno::AGAIN);
            }
        }
        Ok(0)
    })
}
