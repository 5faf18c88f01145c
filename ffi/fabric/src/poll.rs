//! `fid_poll`: sets of queues and counters to be looked at together.

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use crate::abi::{Fid, FidDomain, FidPoll, OpsFid, OpsPoll, class};
use crate::cntr::Cntr;
use crate::cq::Cq;
use crate::domain::Domain;
use crate::edge::{self, Answer, Object, call, hand_out, hold, int, needed, object};
use crate::errno::Errno;
use crate::stubs;

/// An open poll set.
#[repr(C)]
struct Poll {
    fid: FidPoll,
    members: Mutex<Vec<Member>>,
    _domain: Arc<Domain>,
}

/// A queue or a counter, which the application keeps open while it is in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member(*mut Fid);

// SAFETY: a handle; what is behind it belongs to no thread.
unsafe impl Send for Member {}
// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Poll {}
// SAFETY: the handle's pointers are never changed.
unsafe impl Send for Poll {}
// SAFETY: as above.
unsafe impl Sync for Poll {}

static FID: OpsFid = stubs::fid(close);

static OPS: OpsPoll = OpsPoll {
    size: size_of::<OpsPoll>(),
    poll,
    poll_add,
    poll_del,
};

/// Opens a poll set of a domain.
///
/// # Safety
/// `domain` is a domain's handle, `to` null or a place for a handle.
pub(crate) unsafe fn open(domain: *mut FidDomain, to: *mut *mut FidPoll) -> Answer {
    // SAFETY: the caller's promise.
    let domain = unsafe { hold::<Domain, _>(domain) }?;
    let object = Arc::new(Poll {
        fid: FidPoll {
            fid: Fid {
                fclass: class::POLL,
                context: std::ptr::null_mut(),
                ops: &raw const FID,
            },
            ops: &raw const OPS,
        },
        members: Mutex::default(),
        _domain: domain,
    });
    // SAFETY: the caller's promise.
    unsafe { hand_out(object, to) }
}

unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    // SAFETY: it is a poll set's, whose table this is in.
    call(|| unsafe { edge::take_back::<Poll, _>(fid) }.map(drop))
}

impl Poll {
    fn change(&self, body: impl FnOnce(&mut Vec<Member>) -> Answer) -> Answer {
        body(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Gives the contexts of those that have something to be read.
unsafe extern "C" fn poll(set: *mut FidPoll, contexts: *mut *mut c_void, count: c_int) -> c_int {
    int(|| {
        // SAFETY: it is a poll set's, whose table this is in.
        let set = unsafe { object::<Poll, _>(set) }?;
        let members = set.members.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: c_int = 0;
        for Member(fid) in members.iter().copied() {
            if found >= count {
                break;
            }
            // SAFETY: the application keeps its members open.
            let head = unsafe { needed(fid.cast_const()) }?;
            let ready = match head.fclass {
                // SAFETY: its class says so.
                class::CQ => unsafe { object::<Cq, _>(fid) }?.core.has_something(),
                // SAFETY: its class says so.
                _ => unsafe { object::<Cntr, _>(fid) }?.core.has_changed(),
            };
            if ready {
                let at = usize::try_from(found).map_err(|_| Errno::INVAL)?;
                // SAFETY: the caller's list has a place for `count` contexts.
                unsafe { edge::put(contexts.wrapping_add(at), head.context) };
                found += 1;
            }
        }
        Ok(found)
    })
}

unsafe extern "C" fn poll_add(set: *mut FidPoll, fid: *mut Fid, _: u64) -> c_int {
    call(|| {
        // SAFETY: it is a poll set's, whose table this is in.
        let set = unsafe { object::<Poll, _>(set) }?;
        // SAFETY: the caller's object.
        if ![class::CQ, class::CNTR].contains(&unsafe { needed(fid.cast_const()) }?.fclass) {
            return Err(Errno::INVAL);
        }
        set.change(|members| {
            members.push(Member(fid));
            Ok(())
        })
    })
}

unsafe extern "C" fn poll_del(set: *mut FidPoll, fid: *mut Fid, _: u64) -> c_int {
    call(|| {
        // SAFETY: it is a poll set's, whose table this is in.
        let set = unsafe { object::<Poll, _>(set) }?;
        set.change(|members| {
            let at = members.iter().position(|member| *member == Member(fid));
            members.remove(at.ok_or(Errno::INVAL)?);
            Ok(())
        })
    })
}
