//! Entries for what is not supported: each says so.

use std::ffi::{c_char, c_int, c_void};

use crate::abi::*;
use crate::errno::Errno;

const NO: c_int = -(Errno::NOSYS.get());
const NO_SIZE: isize = NO as isize;

/// The table of an object that can be closed. What else it can do replaces a stub: `OpsFid { bind, ..stubs::fid(close) }`.
pub(crate) const fn fid(close: unsafe extern "C" fn(*mut Fid) -> c_int) -> OpsFid {
    OpsFid {
        size: size_of::<OpsFid>(),
        close,
        bind,
        control,
        ops_open,
        tostr,
        ops_set,
    }
}

pub(crate) unsafe extern "C" fn bind(_: *mut Fid, _: *mut Fid, _: u64) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn control(_: *mut Fid, _: c_int, _: *mut c_void) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn ops_open(
    _: *mut Fid,
    _: *const c_char,
    _: u64,
    _: *mut *mut c_void,
    _: *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn tostr(_: *const Fid, _: *mut c_char, _: usize) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn ops_set(
    _: *mut Fid,
    _: *const c_char,
    _: u64,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn passive_ep(
    _: *mut FidFabric,
    _: *mut Info,
    _: *mut *mut c_void,
    _: *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn wait_open(
    _: *mut FidFabric,
    _: *mut c_void,
    _: *mut *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn scalable_ep(
    _: *mut FidDomain,
    _: *mut Info,
    _: *mut *mut c_void,
    _: *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn stx_ctx(
    _: *mut FidDomain,
    _: *mut c_void,
    _: *mut *mut c_void,
    _: *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn query_collective(
    _: *mut FidDomain,
    _: c_int,
    _: *mut c_void,
    _: u64,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn tx_ctx(
    _: *mut FidEp,
    _: c_int,
    _: *mut c_void,
    _: *mut *mut c_void,
    _: *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn setname(_: *mut Fid, _: *mut c_void, _: usize) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn getpeer(_: *mut FidEp, _: *mut c_void, _: *mut usize) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn connect(
    _: *mut FidEp,
    _: *const c_void,
    _: *const c_void,
    _: usize,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn listen(_: *mut c_void) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn accept(_: *mut FidEp, _: *const c_void, _: usize) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn reject(
    _: *mut c_void,
    _: *mut Fid,
    _: *const c_void,
    _: usize,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn shutdown(_: *mut FidEp, _: u64) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn join(
    _: *mut FidEp,
    _: *const c_void,
    _: u64,
    _: *mut *mut c_void,
    _: *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn insertsym(
    _: *mut FidAv,
    _: *const c_char,
    _: usize,
    _: *const c_char,
    _: usize,
    _: *mut u64,
    _: u64,
    _: *mut c_void,
) -> c_int {
    NO
}

pub(crate) unsafe extern "C" fn av_set(
    _: *mut FidAv,
    _: *mut c_void,
    _: *mut *mut c_void,
    _: *mut c_void,
) -> c_int {
    NO
}

/// Any collective operation: the caller cleans up its arguments, whatever they are.
unsafe extern "C" fn collective() -> isize {
    NO_SIZE
}

pub(crate) static COLLECTIVE: OpsCollective = OpsCollective {
    size: size_of::<OpsCollective>(),
    barrier: collective,
    broadcast: collective,
    alltoall: collective,
    allreduce: collective,
    allgather: collective,
    reduce_scatter: collective,
    reduce: collective,
    scatter: collective,
    gather: collective,
    msg: collective,
    barrier2: collective,
};
