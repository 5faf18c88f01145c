//! `fi_ops_tagged`: messages that are selected by a tag.

use std::ffi::c_void;

use super::ready;
use super::receive::{Wanted, pieces_wanted};
use super::send::Message;
use crate::abi::{FidEp, MsgTagged, OpsTagged, flag};
use crate::buffers::Buffers;
use crate::edge::{done, needed};
use crate::info::limits::IOV;

pub(super) static OPS: OpsTagged = OpsTagged {
    size: size_of::<OpsTagged>(),
    recv,
    recvv,
    recvmsg,
    send,
    sendv,
    sendmsg,
    inject,
    senddata,
    injectdata,
};

// SAFETY of all entries: libfabric calls them with the endpoint whose table they are in; memory and structures are the application's, and stay as
// libfabric's contract says: until the call returns, and what is sent from or received into until the operation is complete.

unsafe extern "C" fn recv(
    ep: *mut FidEp,
    buf: *mut c_void,
    len: usize,
    _desc: *mut c_void,
    from: u64,
    tag: u64,
    ignore: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let wanted = Wanted::untagged(from, context, ep.rx_flags()).tagged(tag, ignore);
        // SAFETY: see above.
        ep.receive(unsafe { Buffers::one(buf, len) }?, &wanted)
    })
}

unsafe extern "C" fn recvv(
    ep: *mut FidEp,
    iov: *const libc::iovec,
    _desc: *mut *mut c_void,
    count: usize,
    from: u64,
    tag: u64,
    ignore: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let wanted = Wanted::untagged(from, context, ep.rx_flags()).tagged(tag, ignore);
        // SAFETY: see above.
        ep.receive(unsafe { Buffers::read(iov, count, IOV) }?, &wanted)
    })
}

unsafe extern "C" fn recvmsg(ep: *mut FidEp, msg: *const MsgTagged, flags: u64) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let msg = unsafe { needed(msg) }?;
        let wanted = Wanted::untagged(msg.addr, msg.context, flags).tagged(msg.tag, msg.ignore);
        let count = pieces_wanted(flags, msg.iov_count);
        // SAFETY: see above.
        ep.receive(unsafe { Buffers::read(msg.iov, count, IOV) }?, &wanted)
    })
}

unsafe extern "C" fn send(
    ep: *mut FidEp,
    buf: *const c_void,
    len: usize,
    _desc: *mut c_void,
    to: u64,
    tag: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let message = Message::untagged(to, None, context, ep.tx_flags()).tagged(tag);
        // SAFETY: see above.
        ep.send(unsafe { Buffers::one(buf, len) }?, &message)
    })
}

unsafe extern "C" fn sendv(
    ep: *mut FidEp,
    iov: *const libc::iovec,
    _desc: *mut *mut c_void,
    count: usize,
    to: u64,
    tag: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let message = Message::untagged(to, None, context, ep.tx_flags()).tagged(tag);
        // SAFETY: see above.
        ep.send(unsafe { Buffers::read(iov, count, IOV) }?, &message)
    })
}

unsafe extern "C" fn sendmsg(ep: *mut FidEp, msg: *const MsgTagged, flags: u64) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        // SAFETY: see above.
        let msg = unsafe { needed(msg) }?;
        let message = Message::untagged(
            msg.addr,
            (flags & flag::REMOTE_CQ_DATA != 0).then_some(msg.data),
            msg.context,
            flags,
        )
        .tagged(msg.tag);
        // SAFETY: see above.
        ep.send(
            unsafe { Buffers::read(msg.iov, msg.iov_count, IOV) }?,
            &message,
        )
    })
}

unsafe extern "C" fn inject(
    ep: *mut FidEp,
    buf: *const c_void,
    len: usize,
    to: u64,
    tag: u64,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let message = Message::untagged(to, None, std::ptr::null_mut(), 0).tagged(tag);
        // SAFETY: see above.
        ep.inject(&unsafe { Buffers::one(buf, len) }?, &message)
    })
}

unsafe extern "C" fn senddata(
    ep: *mut FidEp,
    buf: *const c_void,
    len: usize,
    _desc: *mut c_void,
    data: u64,
    to: u64,
    tag: u64,
    context: *mut c_void,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let message = Message::untagged(to, Some(data), context, ep.tx_flags()).tagged(tag);
        // SAFETY: see above.
        ep.send(unsafe { Buffers::one(buf, len) }?, &message)
    })
}

unsafe extern "C" fn injectdata(
    ep: *mut FidEp,
    buf: *const c_void,
    len: usize,
    data: u64,
    to: u64,
    tag: u64,
) -> isize {
    done(|| {
        // SAFETY: see above.
        let ep = unsafe { ready(ep) }?;
        let message = Message::untagged(to, Some(data), std::ptr::null_mut(), 0).tagged(tag);
        // SAFETY: see above.
        ep.inject(&unsafe { Buffers::one(buf, len) }?, &message)
    })
}
