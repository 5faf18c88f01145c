//! placeholder

use crate::abi::*;
use crate::errno::Errno;
use std::ffi::{c_int, c_void};

pub(crate) static OPS: OpsRma = OpsRma {
    size: size_of::<OpsRma>(),
    read,
    readv,
    readmsg,
    write,
    writev,
    writemsg,
    inject,
    writedata,
    injectdata,
};
unsafe extern "C" fn read(
    _: *mut FidEp,
    _: *mut c_void,
    _: usize,
    _: *mut c_void,
    _: u64,
    _: u64,
    _: u64,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn readv(
    _: *mut FidEp,
    _: *const libc::iovec,
    _: *mut *mut c_void,
    _: usize,
    _: u64,
    _: u64,
    _: u64,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn readmsg(_: *mut FidEp, _: *const MsgRma, _: u64) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn write(
    _: *mut FidEp,
    _: *const c_void,
    _: usize,
    _: *mut c_void,
    _: u64,
    _: u64,
    _: u64,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn writev(
    _: *mut FidEp,
    _: *const libc::iovec,
    _: *mut *mut c_void,
    _: usize,
    _: u64,
    _: u64,
    _: u64,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn writemsg(_: *mut FidEp, _: *const MsgRma, _: u64) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn inject(
    _: *mut FidEp,
    _: *const c_void,
    _: usize,
    _: u64,
    _: u64,
    _: u64,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn writedata(
    _: *mut FidEp,
    _: *const c_void,
    _: usize,
    _: *mut c_void,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn injectdata(
    _: *mut FidEp,
    _: *const c_void,
    _: usize,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
