//! The objects that applications hold: what libfabric's inline functions read of them.

use std::ffi::{c_char, c_int, c_void};

use super::attr::{FabricAttr, Info};
use super::tables::{
    OpsAtomic, OpsAv, OpsCm, OpsCntr, OpsCollective, OpsCq, OpsDomain, OpsEp, OpsEq, OpsFabric,
    OpsFid, OpsMr, OpsMsg, OpsPoll, OpsRma, OpsTagged,
};

/// `struct fid`: what every object begins with.
#[repr(C)]
pub(crate) struct Fid {
    pub(crate) fclass: usize,
    pub(crate) context: *mut c_void,
    pub(crate) ops: *const OpsFid,
}
const _: () = assert!(size_of::<Fid>() == 24);

/// `struct fid_fabric`. libfabric writes `api_version` after the fabric was opened.
#[repr(C)]
pub(crate) struct FidFabric {
    pub(crate) fid: Fid,
    pub(crate) ops: *const OpsFabric,
    pub(crate) api_version: u32,
}
const _: () = assert!(size_of::<FidFabric>() == 40);

/// `struct fid_domain`.
#[repr(C)]
pub(crate) struct FidDomain {
    pub(crate) fid: Fid,
    pub(crate) ops: *const OpsDomain,
    pub(crate) mr: *const OpsMr,
}
const _: () = assert!(size_of::<FidDomain>() == 40);

/// `struct fid_ep`.
#[repr(C)]
pub(crate) struct FidEp {
    pub(crate) fid: Fid,
    pub(crate) ops: *const OpsEp,
    pub(crate) cm: *const OpsCm,
    pub(crate) msg: *const OpsMsg,
    pub(crate) rma: *const OpsRma,
    pub(crate) tagged: *const OpsTagged,
    pub(crate) atomic: *const OpsAtomic,
    pub(crate) collective: *const OpsCollective,
}
const _: () = assert!(size_of::<FidEp>() == 80);

/// `struct fid_av`.
#[repr(C)]
pub(crate) struct FidAv {
    pub(crate) fid: Fid,
    pub(crate) ops: *const OpsAv,
}
const _: () = assert!(size_of::<FidAv>() == 32);

/// `struct fid_mr`.
#[repr(C)]
pub(crate) struct FidMr {
    pub(crate) fid: Fid,
    pub(crate) mem_desc: *mut c_void,
    pub(crate) key: u64,
}
const _: () = assert!(size_of::<FidMr>() == 40);

/// `struct fid_cq`.
#[repr(C)]
pub(crate) struct FidCq {
    pub(crate) fid: Fid,
    pub(crate) ops: *const OpsCq,
}
const _: () = assert!(size_of::<FidCq>() == 32);

/// `struct fid_eq`.
#[repr(C)]
pub(crate) struct FidEq {
    pub(crate) fid: Fid,
    pub(crate) ops: *const OpsEq,
}
const _: () = assert!(size_of::<FidEq>() == 32);

/// `struct fid_cntr`.
#[repr(C)]
pub(crate) struct FidCntr {
    pub(crate) fid: Fid,
    pub(crate) ops: *const OpsCntr,
}
const _: () = assert!(size_of::<FidCntr>() == 32);

/// `struct fid_poll`.
#[repr(C)]
pub(crate) struct FidPoll {
    pub(crate) fid: Fid,
    pub(crate) ops: *const OpsPoll,
}
const _: () = assert!(size_of::<FidPoll>() == 32);

/// `getinfo` of a provider.
pub(crate) type GetInfo = unsafe extern "C" fn(
    version: u32,
    node: *const c_char,
    service: *const c_char,
    flags: u64,
    hints: *const Info,
    info: *mut *mut Info,
) -> c_int;

/// `fabric` of a provider.
pub(crate) type OpenFabric =
    unsafe extern "C" fn(*mut FabricAttr, *mut *mut FidFabric, *mut c_void) -> c_int;

/// `struct fi_provider`. libfabric writes into `context`.
#[repr(C)]
pub(crate) struct Provider {
    pub(crate) version: u32,
    pub(crate) fi_version: u32,
    pub(crate) context: [*mut c_void; 4],
    pub(crate) name: *const c_char,
    pub(crate) getinfo: Option<GetInfo>,
    pub(crate) fabric: Option<OpenFabric>,
    pub(crate) cleanup: Option<extern "C" fn()>,
}
const _: () = assert!(size_of::<Provider>() == 72);
const _: () = assert!(std::mem::offset_of!(Provider, name) == 40);
