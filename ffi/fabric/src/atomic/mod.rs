//! `fi_ops_atomic`: changing peers' memory element by element. Nobody else's atomic operation comes in between; see docs/libfabric.md for what
//! that says of the target's own loads and stores.

pub(crate) mod apply;

use std::ffi::{c_int, c_void};

use crate::abi::{FidEp, Ioc, MsgAtomic, OpsAtomic, flag};
use crate::buffers::Buffers;
use crate::edge::{Answer, call, done, list, needed, put};
use crate::ep::{EpCore, ready};
use crate::errno::Errno;
use crate::info::limits::IOV;
use crate::service::{Action, Operation, Request, SHORT};

use apply::{Family, size_of_element};

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

/// What is done where, and how the end is told.
#[derive(Clone, Copy, Debug)]
struct There {
    to: u64,
    addr: u64,
    key: u64,
    datatype: c_int,
    op: c_int,
    context: *mut c_void,
    flags: u64,
    silent: bool,
}

/// What it is done with.
struct Here {
    operand: Buffers,
    compare: Option<Buffers>,
    result: Option<Buffers>,
}

/// The most elements of one operation, and bytes of an element.
pub(crate) fn query(datatype: c_int, op: c_int, flags: u64) -> Answer<(usize, usize)> {
    let family = if flags & flag::COMPARE_ATOMIC != 0 {
        Family::Compare
    } else if flags & flag::FETCH_ATOMIC != 0 {
        Family::Fetch
    } else {
        Family::Write
    };
    let size = size_of_element(datatype, op, family).ok_or(Errno::OPNOTSUPP)?;
    let most = match family {
        Family::Compare => SHORT / 2,
        Family::Write | Family::Fetch => SHORT,
    };
    Ok((most / size, size))
}

fn begin(ep: &EpCore, family: Family, here: Here, there: &There) -> Answer {
    let size = size_of_element(there.datatype, there.op, family).ok_or(Errno::OPNOTSUPP)?;
    let byte = |number: c_int| u8::try_from(number).map_err(|_| Errno::INVAL);
    let reads = apply::only_reads(byte(there.op)?);
    let len = match (&here.result, reads) {
        // An operand of a mere look may be left out.
        (Some(result), true) => result.len(),
        _ => here.operand.len(),
    };
    let fits = |buffers: &Option<Buffers>| buffers.as_ref().is_none_or(|held| held.len() == len);
    if !len.is_multiple_of(size) || !fits(&here.compare) || !fits(&here.result) {
        return Err(Errno::INVAL);
    }
    let mut operand = here.operand;
    if let Some(compare) = &here.compare {
        let mut both = operand.to_vec();
        both.extend(compare.to_vec());
        operand = Buffers::owned(both);
    }
    let request = Request {
        action: match family {
            Family::Write => Action::Atomic,
            Family::Fetch => Action::Fetch,
            Family::Compare => Action::Compare,
        },
        datatype: byte(there.datatype)?,
        op: byte(there.op)?,
        key: there.key,
        addr: there.addr,
        len: len as u64,
        data: None,
    };
    ep.operate(Operation {
        to: there.to,
        request,
        operand,
        result: here.result,
        context: there.context,
        flags: there.flags,
        silent: there.silent,
    })
}

/// Bytes of so many elements.
fn bytes(count: usize, datatype: c_int) -> Answer<usize> {
    let size = apply::size_of_type(datatype).ok_or(Errno::OPNOTSUPP)?;
    count.checked_mul(size).ok_or(Errno::MSGSIZE)
}

/// One piece of so many elements.
///
/// # Safety
/// As for [`Buffers::one`].
unsafe fn one(at: *const c_void, count: usize, datatype: c_int) -> Answer<Buffers> {
    if at.is_null() {
        // Of a mere look.
        // SAFETY: there are no bytes.
        return unsafe { Buffers::one(at, 0) };
    }
    // SAFETY: the caller's promise.
    unsafe { Buffers::one(at, bytes(count, datatype)?) }
}

/// As many pieces as the application lists.
///
/// # Safety
/// As for [`Buffers::read`].
unsafe fn many(iov: *const Ioc, count: usize, datatype: c_int) -> Answer<Buffers> {
    if count > IOV {
        return Err(Errno::INVAL);
    }
    // SAFETY: the caller's promise.
    let pieces = unsafe { list(iov, count) }?;
    let pieces = pieces.iter().map(|piece| {
        Ok(libc::iovec {
            iov_base: piece.addr,
            iov_len: bytes(piece.count, datatype)?,
        })
    });
    let pieces: Vec<libc::iovec> = pieces.collect::<Answer<_>>()?;
    // SAFETY: the caller's promise.
    unsafe { Buffers::read(pieces.as_ptr(), pieces.len(), IOV) }
}

/// An operation with the endpoint's flags: where to, and which on what.
fn plain(
    ep: &EpCore,
    (to, addr, key): (u64, u64, u64),
    (datatype, op): (c_int, c_int),
    context: *mut c_void,
) -> There {
    There {
        to,
        addr,
        key,
        datatype,
        op,
        context,
        flags: ep.tx_flags(),
        silent: false,
    }
}

/// What a message structure says.
///
/// # Safety
/// Its lists are whole.
unsafe fn parts(msg: &MsgAtomic, flags: u64) -> Answer<(Buffers, There)> {
    // SAFETY: the caller's promise.
    let [far] = unsafe { list(msg.rma_iov, msg.rma_iov_count) }? else {
        return Err(Errno::INVAL);
    };
    // SAFETY: the caller's promise.
    let operand = unsafe { many(msg.iov, msg.iov_count, msg.datatype) }?;
    let there = There {
        to: msg.addr,
        addr: far.addr,
        key: far.key,
        datatype: msg.datatype,
        op: msg.op,
        context: msg.context,
        flags,
        silent: false,
    };
    Ok((operand, there))
}

// SAFETY of all entries: libfabric calls them with the endpoint whose table they are in; memory and structures are the application's, and stay as
// libfabric's contract says: until the call returns, and what results come into until the operation is complete.

unsafe extern "C" fn write(
    ep: *mut FidEp,
    buf: *const c_void,
    count: usize,
    _desc: *mut c_void,
    to: u64,
    addr: u64,
    key: u64,
    datatype: c_int,
    op: c_int,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let there = plain(ep, (to, addr, key), (datatype, op), context);
        // SAFETY: see above.
        let operand = unsafe { one(buf, count, datatype) }?;
        let here = Here {
            operand,
            compare: None,
            result: None,
        };
        begin(ep, Family::Write, here, &there)
    })
}

unsafe extern "C" fn writev(
    ep: *mut FidEp,
    iov: *const Ioc,
    _desc: *mut *mut c_void,
    count: usize,
    to: u64,
    addr: u64,
    key: u64,
    datatype: c_int,
    op: c_int,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let there = plain(ep, (to, addr, key), (datatype, op), context);
        // SAFETY: see above.
        let operand = unsafe { many(iov, count, datatype) }?;
        let here = Here {
            operand,
            compare: None,
            result: None,
        };
        begin(ep, Family::Write, here, &there)
    })
}

unsafe extern "C" fn writemsg(ep: *mut FidEp, msg: *const MsgAtomic, flags: u64) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let msg = unsafe { needed(msg) }?;
        // SAFETY: see above.
        let (operand, there) = unsafe { parts(msg, flags) }?;
        let here = Here {
            operand,
            compare: None,
            result: None,
        };
        begin(ep, Family::Write, here, &there)
    })
}

unsafe extern "C" fn inject(
    ep: *mut FidEp,
    buf: *const c_void,
    count: usize,
    to: u64,
    addr: u64,
    key: u64,
    datatype: c_int,
    op: c_int,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let there = There {
            to,
            addr,
            key,
            datatype,
            op,
            context: std::ptr::null_mut(),
            flags: flag::INJECT,
            silent: true,
        };
        // SAFETY: see above.
        let operand = unsafe { one(buf, count, datatype) }?;
        let here = Here {
            operand,
            compare: None,
            result: None,
        };
        begin(ep, Family::Write, here, &there)
    })
}

unsafe extern "C" fn readwrite(
    ep: *mut FidEp,
    buf: *const c_void,
    count: usize,
    _desc: *mut c_void,
    result: *mut c_void,
    _result_desc: *mut c_void,
    to: u64,
    addr: u64,
    key: u64,
    datatype: c_int,
    op: c_int,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let there = plain(ep, (to, addr, key), (datatype, op), context);
        // SAFETY: see above.
        let operand = unsafe { one(buf, count, datatype) }?;
        // SAFETY: see above.
        let result = unsafe { one(result, count, datatype) }?;
        let here = Here {
            operand,
            compare: None,
            result: Some(result),
        };
        begin(ep, Family::Fetch, here, &there)
    })
}

unsafe extern "C" fn readwritev(
    ep: *mut FidEp,
    iov: *const Ioc,
    _desc: *mut *mut c_void,
    count: usize,
    result: *mut Ioc,
    _result_desc: *mut *mut c_void,
    results: usize,
    to: u64,
    addr: u64,
    key: u64,
    datatype: c_int,
    op: c_int,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let there = plain(ep, (to, addr, key), (datatype, op), context);
        // SAFETY: see above.
        let operand = unsafe { many(iov, count, datatype) }?;
        // SAFETY: see above.
        let result = unsafe { many(result, results, datatype) }?;
        let here = Here {
            operand,
            compare: None,
            result: Some(result),
        };
        begin(ep, Family::Fetch, here, &there)
    })
}

unsafe extern "C" fn readwritemsg(
    ep: *mut FidEp,
    msg: *const MsgAtomic,
    result: *mut Ioc,
    _result_desc: *mut *mut c_void,
    results: usize,
    flags: u64,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let msg = unsafe { needed(msg) }?;
        // SAFETY: see above.
        let (operand, there) = unsafe { parts(msg, flags) }?;
        // SAFETY: see above.
        let result = unsafe { many(result, results, there.datatype) }?;
        let here = Here {
            operand,
            compare: None,
            result: Some(result),
        };
        begin(ep, Family::Fetch, here, &there)
    })
}

unsafe extern "C" fn compwrite(
    ep: *mut FidEp,
    buf: *const c_void,
    count: usize,
    _desc: *mut c_void,
    compare: *const c_void,
    _compare_desc: *mut c_void,
    result: *mut c_void,
    _result_desc: *mut c_void,
    to: u64,
    addr: u64,
    key: u64,
    datatype: c_int,
    op: c_int,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let there = plain(ep, (to, addr, key), (datatype, op), context);
        // SAFETY: see above.
        let operand = unsafe { one(buf, count, datatype) }?;
        // SAFETY: see above.
        let compare = unsafe { one(compare, count, datatype) }?;
        // SAFETY: see above.
        let result = unsafe { one(result, count, datatype) }?;
        let here = Here {
            operand,
            compare: Some(compare),
            result: Some(result),
        };
        begin(ep, Family::Compare, here, &there)
    })
}

unsafe extern "C" fn compwritev(
    ep: *mut FidEp,
    iov: *const Ioc,
    _desc: *mut *mut c_void,
    count: usize,
    compare: *const Ioc,
    _compare_desc: *mut *mut c_void,
    compares: usize,
    result: *mut Ioc,
    _result_desc: *mut *mut c_void,
    results: usize,
    to: u64,
    addr: u64,
    key: u64,
    datatype: c_int,
    op: c_int,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let there = plain(ep, (to, addr, key), (datatype, op), context);
        // SAFETY: see above.
        let operand = unsafe { many(iov, count, datatype) }?;
        // SAFETY: see above.
        let compare = unsafe { many(compare, compares, datatype) }?;
        // SAFETY: see above.
        let result = unsafe { many(result, results, datatype) }?;
        let here = Here {
            operand,
            compare: Some(compare),
            result: Some(result),
        };
        begin(ep, Family::Compare, here, &there)
    })
}

unsafe extern "C" fn compwritemsg(
    ep: *mut FidEp,
    msg: *const MsgAtomic,
    compare: *const Ioc,
    _compare_desc: *mut *mut c_void,
    compares: usize,
    result: *mut Ioc,
    _result_desc: *mut *mut c_void,
    results: usize,
    flags: u64,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let msg = unsafe { needed(msg) }?;
        // SAFETY: see above.
        let (operand, there) = unsafe { parts(msg, flags) }?;
        // SAFETY: see above.
        let compare = unsafe { many(compare, compares, there.datatype) }?;
        // SAFETY: see above.
        let result = unsafe { many(result, results, there.datatype) }?;
        let here = Here {
            operand,
            compare: Some(compare),
            result: Some(result),
        };
        begin(ep, Family::Compare, here, &there)
    })
}

/// Says how many elements one operation may have, if there is such an operation.
///
/// # Safety
/// `count` is null or a place for a number.
unsafe fn valid(datatype: c_int, op: c_int, flags: u64, count: *mut usize) -> c_int {
    call(|| {
        let (most, _) = query(datatype, op, flags)?;
        // SAFETY: the caller's promise.
        unsafe { put(count, most) };
        Ok(())
    })
}

unsafe extern "C" fn writevalid(
    _: *mut FidEp,
    datatype: c_int,
    op: c_int,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller's place for the answer.
    unsafe { valid(datatype, op, 0, count) }
}

unsafe extern "C" fn readwritevalid(
    _: *mut FidEp,
    datatype: c_int,
    op: c_int,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller's place for the answer.
    unsafe { valid(datatype, op, flag::FETCH_ATOMIC, count) }
}

unsafe extern "C" fn compwritevalid(
    _: *mut FidEp,
    datatype: c_int,
    op: c_int,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller's place for the answer.
    unsafe { valid(datatype, op, flag::COMPARE_ATOMIC, count) }
}
