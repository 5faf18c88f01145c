//! placeholder

use crate::abi::*;
use crate::errno::Errno;
use std::ffi::{c_int, c_void};

pub(crate) static OPS: OpsAtomic = OpsAtomic {
    size: size_of::<OpsAtomic>(),
    write,
    writev,
    writemsg,
    inject,
    readwrite,
    readwritev,
    readwritemsg,
    compwrite,
    compwritev,
    compwritemsg,
    writevalid,
    readwritevalid,
    compwritevalid,
};
unsafe extern "C" fn write(
    _: *mut FidEp,
    _: *const c_void,
    _: usize,
    _: *mut c_void,
    _: u64,
    _: u64,
    _: u64,
    _: c_int,
    _: c_int,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn writev(
    _: *mut FidEp,
    _: *const Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: u64,
    _: u64,
    _: u64,
    _: c_int,
    _: c_int,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn writemsg(_: *mut FidEp, _: *const MsgAtomic, _: u64) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn inject(
    _: *mut FidEp,
    _: *const c_void,
    _: usize,
    _: u64,
    _: u64,
    _: u64,
    _: c_int,
    _: c_int,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn readwrite(
    _: *mut FidEp,
    _: *const c_void,
    _: usize,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: u64,
    _: u64,
    _: u64,
    _: c_int,
    _: c_int,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn readwritev(
    _: *mut FidEp,
    _: *const Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: *mut Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: u64,
    _: u64,
    _: u64,
    _: c_int,
    _: c_int,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn readwritemsg(
    _: *mut FidEp,
    _: *const MsgAtomic,
    _: *mut Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: u64,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn compwrite(
    _: *mut FidEp,
    _: *const c_void,
    _: usize,
    _: *mut c_void,
    _: *const c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: u64,
    _: u64,
    _: u64,
    _: c_int,
    _: c_int,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn compwritev(
    _: *mut FidEp,
    _: *const Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: *const Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: *mut Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: u64,
    _: u64,
    _: u64,
    _: c_int,
    _: c_int,
    _: *mut c_void,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn compwritemsg(
    _: *mut FidEp,
    _: *const MsgAtomic,
    _: *const Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: *mut Ioc,
    _: *mut *mut c_void,
    _: usize,
    _: u64,
) -> isize {
    -(Errno::NOSYS.get() as isize)
}
unsafe extern "C" fn writevalid(_: *mut FidEp, _: c_int, _: c_int, _: *mut usize) -> c_int {
    -(Errno::NOSYS.get() as c_int)
}
unsafe extern "C" fn readwritevalid(_: *mut FidEp, _: c_int, _: c_int, _: *mut usize) -> c_int {
    -(Errno::NOSYS.get() as c_int)
}
unsafe extern "C" fn compwritevalid(_: *mut FidEp, _: c_int, _: c_int, _: *mut usize) -> c_int {
    -(Errno::NOSYS.get() as c_int)
}
pub(crate) fn query(_: c_int, _: c_int, _: u64) -> crate::edge::Answer<(usize, usize)> {
    Err(Errno::NOSYS)
}
