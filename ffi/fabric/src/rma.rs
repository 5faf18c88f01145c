//! `fi_ops_rma`: reading and writing peers' memory.

use std::ffi::c_void;

use crate::abi::{FidEp, MsgRma, OpsRma, flag};
use crate::buffers::Buffers;
use crate::edge::{Answer, done, list, needed};
use crate::ep::{EpCore, ready};
use crate::errno::Errno;
use crate::info::limits::IOV;
use crate::service::{Action, Operation, Request};

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

/// Where at a peer, and how the end is told.
#[derive(Clone, Copy, Debug)]
struct There {
    to: u64,
    addr: u64,
    key: u64,
    data: Option<u64>,
    context: *mut c_void,
    flags: u64,
    silent: bool,
}

impl There {
    fn request(&self, action: Action, len: usize) -> Request {
        Request {
            action,
            datatype: 0,
            op: 0,
            key: self.key,
            addr: self.addr,
            len: len as u64,
            data: self.data,
        }
    }
}

fn begin(ep: &EpCore, action: Action, local: Buffers, there: &There) -> Answer {
    let request = there.request(action, local.len());
    // SAFETY: there are no bytes.
    let nothing = unsafe { Buffers::one(std::ptr::null(), 0) }?;
    let (operand, result) = match action {
        Action::Read => (nothing, Some(local)),
        _ => (local, None),
    };
    ep.operate(Operation {
        to: there.to,
        request,
        operand,
        result,
        context: there.context,
        flags: there.flags,
        silent: there.silent,
    })
}

// SAFETY of all entries: libfabric calls them with the endpoint whose table they are in; memory and structures are the application's, and stay as
// libfabric's contract says: until the call returns, and what is written from or read into until the operation is complete.

unsafe extern "C" fn read(
    ep: *mut FidEp,
    buf: *mut c_void,
    len: usize,
    _desc: *mut c_void,
    to: u64,
    addr: u64,
    key: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let local = unsafe { Buffers::one(buf, len) }?;
        begin(ep, Action::Read, local, &plain(ep, to, addr, key, context))
    })
}

/// An operation with the endpoint's flags.
fn plain(ep: &EpCore, to: u64, addr: u64, key: u64, context: *mut c_void) -> There {
    There {
        to,
        addr,
        key,
        data: None,
        context,
        flags: ep.tx_flags(),
        silent: false,
    }
}

unsafe extern "C" fn readv(
    ep: *mut FidEp,
    iov: *const libc::iovec,
    _desc: *mut *mut c_void,
    count: usize,
    to: u64,
    addr: u64,
    key: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let local = unsafe { Buffers::read(iov, count, IOV) }?;
        begin(ep, Action::Read, local, &plain(ep, to, addr, key, context))
    })
}

/// What a message structure says.
///
/// # Safety
/// Its lists are whole.
unsafe fn parts(msg: &MsgRma, flags: u64) -> Answer<(Buffers, There)> {
    // SAFETY: the caller's promise.
    let [far] = unsafe { list(msg.rma_iov, msg.rma_iov_count) }? else {
        // `rma_iov_limit` is 1.
        return Err(Errno::INVAL);
    };
    // SAFETY: the caller's promise.
    let local = unsafe { Buffers::read(msg.iov, msg.iov_count, IOV) }?;
    if local.len() != far.len {
        return Err(Errno::INVAL);
    }
    let there = There {
        to: msg.addr,
        addr: far.addr,
        key: far.key,
        data: (flags & flag::REMOTE_CQ_DATA != 0).then_some(msg.data),
        context: msg.context,
        flags,
        silent: false,
    };
    Ok((local, there))
}

unsafe extern "C" fn readmsg(ep: *mut FidEp, msg: *const MsgRma, flags: u64) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let msg = unsafe { needed(msg) }?;
        // SAFETY: see above.
        let (local, there) = unsafe { parts(msg, flags & !flag::REMOTE_CQ_DATA) }?;
        begin(ep, Action::Read, local, &there)
    })
}

unsafe extern "C" fn write(
    ep: *mut FidEp,
    buf: *const c_void,
    len: usize,
    _desc: *mut c_void,
    to: u64,
    addr: u64,
    key: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let local = unsafe { Buffers::one(buf, len) }?;
        begin(ep, Action::Write, local, &plain(ep, to, addr, key, context))
    })
}

unsafe extern "C" fn writev(
    ep: *mut FidEp,
    iov: *const libc::iovec,
    _desc: *mut *mut c_void,
    count: usize,
    to: u64,
    addr: u64,
    key: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let local = unsafe { Buffers::read(iov, count, IOV) }?;
        begin(ep, Action::Write, local, &plain(ep, to, addr, key, context))
    })
}

unsafe extern "C" fn writemsg(ep: *mut FidEp, msg: *const MsgRma, flags: u64) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let msg = unsafe { needed(msg) }?;
        // SAFETY: see above.
        let (local, there) = unsafe { parts(msg, flags) }?;
        begin(ep, Action::Write, local, &there)
    })
}

/// What is written at once, and whose end only counters tell.
fn silent(to: u64, addr: u64, key: u64, data: Option<u64>) -> There {
    There {
        to,
        addr,
        key,
        data,
        context: std::ptr::null_mut(),
        flags: flag::INJECT,
        silent: true,
    }
}

unsafe extern "C" fn inject(
    ep: *mut FidEp,
    buf: *const c_void,
    len: usize,
    to: u64,
    addr: u64,
    key: u64,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let local = unsafe { Buffers::one(buf, len) }?;
        begin(ep, Action::Write, local, &silent(to, addr, key, None))
    })
}

unsafe extern "C" fn writedata(
    ep: *mut FidEp,
    buf: *const c_void,
    len: usize,
    _desc: *mut c_void,
    data: u64,
    to: u64,
    addr: u64,
    key: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let there = There {
            data: Some(data),
            ..plain(ep, to, addr, key, context)
        };
        // SAFETY: see above.
        begin(
            ep,
            Action::Write,
            unsafe { Buffers::one(buf, len) }?,
            &there,
        )
    })
}

unsafe extern "C" fn injectdata(
    ep: *mut FidEp,
    buf: *const c_void,
    len: usize,
    data: u64,
    to: u64,
    addr: u64,
    key: u64,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let local = unsafe { Buffers::one(buf, len) }?;
        begin(ep, Action::Write, local, &silent(to, addr, key, Some(data)))
    })
}
