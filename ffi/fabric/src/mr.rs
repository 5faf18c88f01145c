//! `fid_mr`: memory that peers may use.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use myrixen::Handed;

use crate::abi::{Fid, FidMr, MrAttr, OpsFid, OpsMr, class, flag};
use crate::domain::Domain;
use crate::edge::{self, Answer, Object, call, hand_out, hold, list, needed, object};
use crate::errno::Errno;
use crate::stubs;

/// Registered memory.
#[repr(C)]
struct Mr {
    fid: FidMr,
    region: Arc<Region>,
    domain: Arc<Domain>,
}

// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Mr {}
// SAFETY: the handle's pointers are never changed.
unsafe impl Send for Mr {}
// SAFETY: as above.
unsafe impl Sync for Mr {}

/// What peers may use of our memory.
struct Region {
    at: *mut u8,
    len: usize,
    /// The address by which peers mean its first byte.
    base: u64,
    access: u64,
    /// Operations of peers that are under way in it.
    users: AtomicUsize,
}

// SAFETY: memory that the application has registered; it belongs to no thread.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// Some of it, in use for a peer: it stays registered for so long.
pub(crate) struct InUse {
    region: Arc<Region>,
    at: *mut u8,
    len: usize,
}

// SAFETY: as for the region.
unsafe impl Send for InUse {}

impl InUse {
    /// The memory. Not to outlive this.
    pub(crate) fn handed(&self) -> Handed {
        // SAFETY: it lies within what was registered, and stays registered while this lives.
        unsafe { Handed::new(self.at, self.len) }
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.region.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// All memory of a domain that peers may use, by key.
pub(crate) struct Regions {
    /// Peers say our addresses; else offsets.
    virtual_addresses: bool,
    /// We choose the keys.
    own_keys: bool,
    regions: RwLock<HashMap<u64, Arc<Region>>>,
}

impl Regions {
    pub(crate) fn new(virtual_addresses: bool, own_keys: bool) -> Self {
        Self {
            virtual_addresses,
            own_keys,
            regions: RwLock::default(),
        }
    }

    /// The memory that a peer means, if it may do so with it.
    pub(crate) fn find(&self, key: u64, addr: u64, len: u64, access: u64) -> Answer<InUse> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let region = regions.get(&key).ok_or(Errno::NOKEY)?;
        if region.access & access != access {
            return Err(Errno::ACCES);
        }
        let offset = addr.checked_sub(region.base).ok_or(Errno::INVAL)?;
        let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let len = usize::try_from(len).map_err(|_| Errno::INVAL)?;
        let fits = offset.checked_add(len).is_some_and(|end| end <= region.len);
        if !fits {
            return Err(Errno::INVAL);
        }
        region.users.fetch_add(1, Ordering::AcqRel);
        Ok(InUse {
            region: Arc::clone(region),
            at: region.at.wrapping_add(offset),
            len,
        })
    }

    fn add(&self, region: &Arc<Region>, wanted: u64) -> Answer<u64> {
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        let mut key = wanted;
        if self.own_keys {
            // Not to be guessed, and never 0 or "not available".
            loop {
                let mut bytes = [0; 8];
                rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
                    .map_err(|_| Errno::IO)?;
                key = u64::from_ne_bytes(bytes);
                if key != 0 && key != u64::MAX && !regions.contains_key(&key) {
                    break;
                }
            }
        } else if regions.contains_key(&key) {
            return Err(Errno::NOKEY);
        }
        regions.insert(key, Arc::clone(region));
        Ok(key)
    }

    fn remove(&self, key: u64) {
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        regions.remove(&key);
    }
}

static FID: OpsFid = OpsFid {
    bind,
    control,
    ..stubs::fid(close)
};

pub(crate) static OPS: OpsMr = OpsMr {
    size: size_of::<OpsMr>(),
    reg,
    regv,
    regattr,
};

/// What of the application's is to be registered.
struct Wanted {
    at: *mut u8,
    len: usize,
    access: u64,
    key: u64,
    context: *mut c_void,
}

const ACCESS: u64 =
    flag::SEND | flag::RECV | flag::READ | flag::WRITE | flag::REMOTE_READ | flag::REMOTE_WRITE;

/// # Safety
/// `domain` is the handle of an open domain, `to` null or a place for a handle.
unsafe fn register(domain: *mut Fid, wanted: &Wanted, to: *mut *mut FidMr) -> Answer {
    // SAFETY: the caller's object.
    if unsafe { needed(domain.cast_const()) }?.fclass != class::DOMAIN {
        return Err(Errno::INVAL);
    }
    // SAFETY: its class says so.
    let domain = unsafe { hold::<Domain, _>(domain) }?;
    if wanted.access & !ACCESS != 0 {
        return Err(Errno::INVAL);
    }
    let regions = &domain.core.regions;
    let region = Arc::new(Region {
        at: wanted.at,
        len: wanted.len,
        base: if regions.virtual_addresses {
            wanted.at as u64
        } else {
            0
        },
        access: wanted.access,
        users: AtomicUsize::new(0),
    });
    let key = regions.add(&region, wanted.key)?;
    let mut object = Mr {
        fid: FidMr {
            fid: Fid {
                fclass: class::MR,
                context: wanted.context,
                ops: &raw const FID,
            },
            mem_desc: std::ptr::null_mut(),
            key,
        },
        region,
        domain,
    };
    // Who looks for a descriptor finds one; nothing reads it.
    object.fid.mem_desc = wanted.at.cast();
    // SAFETY: the caller's promise.
    unsafe { hand_out(Arc::new(object), to) }
}

unsafe extern "C" fn reg(
    fid: *mut Fid,
    buf: *const c_void,
    len: usize,
    access: u64,
    _offset: u64,
    key: u64,
    _flags: u64,
    to: *mut *mut FidMr,
    context: *mut c_void,
) -> c_int {
    let wanted = Wanted {
        at: buf.cast_mut().cast(),
        len,
        access,
        key,
        context,
    };
    // SAFETY: the caller's: a domain, whose table this is in, memory, and a place for the handle.
    call(|| unsafe { register(fid, &wanted, to) })
}

unsafe extern "C" fn regv(
    fid: *mut Fid,
    iov: *const libc::iovec,
    count: usize,
    access: u64,
    _offset: u64,
    key: u64,
    _flags: u64,
    to: *mut *mut FidMr,
    context: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's list.
        let [piece] = unsafe { list(iov, count) }? else {
            // `mr_iov_limit` is 1.
            return Err(Errno::INVAL);
        };
        let wanted = Wanted {
            at: piece.iov_base.cast(),
            len: piece.iov_len,
            access,
            key,
            context,
        };
        // SAFETY: as for `reg`.
        unsafe { register(fid, &wanted, to) }
    })
}

unsafe extern "C" fn regattr(
    fid: *mut Fid,
    attr: *const MrAttr,
    _flags: u64,
    to: *mut *mut FidMr,
) -> c_int {
    call(|| {
        // SAFETY: the caller's attributes.
        let attr = unsafe { needed(attr) }?;
        if attr.iface != 0 {
            return Err(Errno::NOSYS);
        }
        // SAFETY: the list that they name.
        let [piece] = unsafe { list(attr.iov, attr.iov_count) }? else {
            return Err(Errno::INVAL);
        };
        let wanted = Wanted {
            at: piece.iov_base.cast(),
            len: piece.iov_len,
            access: attr.access,
            key: attr.requested_key,
            context: attr.context,
        };
        // SAFETY: as for `reg`.
        unsafe { register(fid, &wanted, to) }
    })
}

/// Peers cannot begin anything in it any more; what they have begun to move is waited for.
unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    call(|| {
        // SAFETY: it is a registration's, whose table this is in.
        let mr = unsafe { object::<Mr, _>(fid) }?;
        mr.domain.core.regions.remove(mr.fid.key);
        for ep in mr.domain.core.eps() {
            ep.give_up_works(|memory| Arc::ptr_eq(&memory.region, &mr.region));
        }
        while mr.region.users.load(Ordering::Acquire) > 0 {
            // It goes on, or turns out to be of a peer that is gone.
            for ep in mr.domain.core.eps() {
                ep.pump();
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        // SAFETY: as above.
        unsafe { edge::take_back::<Mr, _>(fid) }.map(drop)
    })
}

/// To an endpoint or a counter; neither changes anything.
unsafe extern "C" fn bind(_: *mut Fid, _: *mut Fid, _: u64) -> c_int {
    0
}

/// A registration is in force from the beginning; others want to be told.
unsafe extern "C" fn control(_: *mut Fid, command: c_int, _: *mut c_void) -> c_int {
    match command {
        crate::abi::control::ENABLE => 0,
        _ => -Errno::NOSYS.get(),
    }
}
