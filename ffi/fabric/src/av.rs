//! `fid_av`: address vectors. A place is a number from 0 on in the order of insertion, for maps as for tables.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use myrixen::Address;

use crate::abi::{
    ADDR_UNSPEC, AV_COMPLETE, AV_MAP, AV_TABLE, AvAttr, Fid, FidAv, FidDomain, OpsAv, OpsFid, class,
};
use crate::domain::Domain;
use crate::edge::{self, Answer, Object, call, hand_out, hold, int, needed, object, put, text};
use crate::ep::EpCore;
use crate::eq::{Eq, EqCore};
use crate::errno::Errno;
use crate::name::Name;
use crate::peers::PLACES;
use crate::stubs;

/// An open address vector.
#[repr(C)]
pub(crate) struct Av {
    fid: FidAv,
    pub(crate) core: Arc<AvCore>,
    domain: Arc<Domain>,
    /// Where insertions are reported, if they are.
    eq: Mutex<Option<Arc<EqCore>>>,
}

/// What endpoints need of it.
#[derive(Default)]
pub(crate) struct AvCore {
    table: RwLock<Table>,
    /// Endpoints that are bound to it.
    eps: Mutex<Vec<Weak<EpCore>>>,
    rx_ctx_bits: u32,
}

#[derive(Default)]
struct Table {
    names: Vec<Option<Name>>,
    /// By address, whichever opening of the endpoint.
    places: HashMap<Address, u64>,
}

// SAFETY: `repr(C)`, and begins with its `Fid`.
unsafe impl Object for Av {}
// SAFETY: the handle's pointers are never changed.
unsafe impl Send for Av {}
// SAFETY: as above.
unsafe impl Sync for Av {}

static FID: OpsFid = OpsFid {
    bind,
    ..stubs::fid(close)
};

static OPS: OpsAv = OpsAv {
    size: size_of::<OpsAv>(),
    insert,
    insertsvc,
    insertsym: stubs::insertsym,
    remove,
    lookup,
    straddr,
    av_set: stubs::av_set,
};

impl AvCore {
    /// Who is at a place.
    pub(crate) fn name(&self, place: u64) -> Option<Name> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        *table.names.get(usize::try_from(place).ok()?)?
    }

    /// The place of the endpoint at this address, whichever opening of it.
    pub(crate) fn place_of(&self, address: Address) -> Option<u64> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.places.get(&address).copied()
    }

    /// The place without the index of a receive context.
    #[inline]
    pub(crate) fn place(&self, address: u64) -> u64 {
        if self.rx_ctx_bits == 0 || address == ADDR_UNSPEC {
            return address;
        }
        address & (u64::MAX >> self.rx_ctx_bits)
    }

    pub(crate) fn bind(&self, ep: &Arc<EpCore>) {
        self.eps().push(Arc::downgrade(ep));
    }

    pub(crate) fn unbind(&self, ep: &Arc<EpCore>) {
        self.eps().retain(|held| held.as_ptr() != Arc::as_ptr(ep));
    }

    fn eps(&self) -> MutexGuard<'_, Vec<Weak<EpCore>>> {
        self.eps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, name: Name) -> Answer<u64> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let place = table.names.len();
        if place >= PLACES {
            return Err(Errno::NOMEM);
        }
        let place = place as u64;
        table.names.push(Some(name));
        table.places.insert(name.address, place);
        Ok(place)
    }

    fn remove(&self, place: u64) -> Answer {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(place).map_err(|_| Errno::INVAL)?;
        let name = table.names.get_mut(at).and_then(Option::take);
        let name = name.ok_or(Errno::INVAL)?;
        if table.places.get(&name.address) == Some(&place) {
            table.places.remove(&name.address);
        }
        drop(table);
        for ep in self.eps().iter().filter_map(Weak::upgrade) {
            ep.peers.forget(place);
        }
        Ok(())
    }
}

pub(crate) unsafe extern "C" fn open(
    domain: *mut FidDomain,
    attr: *mut AvAttr,
    to: *mut *mut FidAv,
    context: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: it is a domain's, whose table this is in.
        let domain = unsafe { hold::<Domain, _>(domain) }?;
        // SAFETY: the caller's attributes.
        let attr = unsafe { needed(attr) }?;
        if ![0, AV_MAP, AV_TABLE].contains(&attr.kind) || !attr.name.is_null() {
            // No vectors are shared between processes.
            return Err(Errno::NOSYS);
        }
        let rx_ctx_bits = u32::try_from(attr.rx_ctx_bits).map_err(|_| Errno::INVAL)?;
        if rx_ctx_bits > 32 {
            return Err(Errno::INVAL);
        }
        let object = Arc::new(Av {
            fid: FidAv {
                fid: Fid {
                    fclass: class::AV,
                    context,
                    ops: &raw const FID,
                },
                ops: &raw const OPS,
            },
            core: Arc::new(AvCore {
                rx_ctx_bits,
                ..AvCore::default()
            }),
            domain,
            eq: Mutex::default(),
        });
        // SAFETY: there is a place for the handle.
        unsafe { hand_out(object, to) }
    })
}

unsafe extern "C" fn close(fid: *mut Fid) -> c_int {
    call(|| {
        // SAFETY: it is an address vector's, whose table this is in.
        let av = unsafe { object::<Av, _>(fid) }?;
        if av.core.eps().iter().any(|ep| ep.strong_count() > 0) {
            return Err(Errno::BUSY);
        }
        // SAFETY: as above.
        unsafe { edge::take_back::<Av, _>(fid) }.map(drop)
    })
}

/// With an event queue, each insertion is reported there.
unsafe extern "C" fn bind(fid: *mut Fid, to: *mut Fid, _: u64) -> c_int {
    call(|| {
        // SAFETY: it is an address vector's, whose table this is in.
        let av = unsafe { object::<Av, _>(fid) }?;
        // SAFETY: the caller's object.
        if unsafe { needed(to.cast_const()) }?.fclass != class::EQ {
            return Err(Errno::INVAL);
        }
        // SAFETY: its class says so.
        let eq = unsafe { object::<Eq, _>(to) }?;
        *av.eq.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&eq.core));
        Ok(())
    })
}

unsafe extern "C" fn insert(
    av: *mut FidAv,
    addr: *const c_void,
    count: usize,
    fi_addr: *mut u64,
    _flags: u64,
    context: *mut c_void,
) -> c_int {
    let fid = av.cast::<Fid>();
    int(|| {
        // SAFETY: it is an address vector's, whose table this is in.
        let av = unsafe { object::<Av, _>(av) }?;
        // SAFETY: the caller's addresses: as many, of our length.
        let names = unsafe { edge::list(addr.cast::<[u8; Name::BYTES]>(), count) }?;
        let mut inserted: c_int = 0;
        for (at, bytes) in names.iter().enumerate() {
            let name = Name::from_bytes(bytes).ok_or(Errno::INVAL);
            let place = name.and_then(|name| av.core.insert(name));
            inserted += c_int::from(place.is_ok());
            if !fi_addr.is_null() {
                let to = fi_addr.wrapping_add(at);
                // SAFETY: the caller's list has a place for each.
                unsafe { put(to, place.unwrap_or(ADDR_UNSPEC)) };
            }
        }
        av.inserted(fid, context, inserted)
    })
}

impl Av {
    /// What an insertion of so many says.
    fn inserted(&self, fid: *mut Fid, context: *mut c_void, inserted: c_int) -> Answer<c_int> {
        let eq = self.eq.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(eq) = eq.as_ref() else {
            return Ok(inserted);
        };
        eq.report(AV_COMPLETE, fid, context, inserted.unsigned_abs().into());
        Ok(0)
    }
}

/// A board by its name, and the number of the endpoint, with its key behind a slash where it has one.
unsafe extern "C" fn insertsvc(
    av: *mut FidAv,
    node: *const c_char,
    service: *const c_char,
    fi_addr: *mut u64,
    _flags: u64,
    context: *mut c_void,
) -> c_int {
    let fid = av.cast::<Fid>();
    int(|| {
        // SAFETY: it is an address vector's, whose table this is in.
        let av = unsafe { object::<Av, _>(av) }?;
        // SAFETY: the caller's text.
        let node = unsafe { text(node) }.and_then(|text| text.to_str().ok());
        // SAFETY: the caller's text.
        let service = unsafe { text(service) }.and_then(|text| text.to_str().ok());
        let fabric = &av.domain.core.board.fabric;
        let name = Name::resolve(fabric, node.ok_or(Errno::INVAL)?, service)?;
        let place = av.core.insert(name)?;
        // SAFETY: the caller's place for it.
        unsafe { put(fi_addr, place) };
        av.inserted(fid, context, 1)
    })
}

unsafe extern "C" fn remove(av: *mut FidAv, fi_addr: *mut u64, count: usize, _: u64) -> c_int {
    call(|| {
        // SAFETY: it is an address vector's, whose table this is in.
        let av = unsafe { object::<Av, _>(av) }?;
        // SAFETY: the caller's list.
        for place in unsafe { edge::list(fi_addr.cast_const(), count) }? {
            av.core.remove(*place)?;
        }
        Ok(())
    })
}

unsafe extern "C" fn lookup(
    av: *mut FidAv,
    fi_addr: u64,
    addr: *mut c_void,
    len: *mut usize,
) -> c_int {
    call(|| {
        // SAFETY: it is an address vector's, whose table this is in.
        let av = unsafe { object::<Av, _>(av) }?;
        let place = av.core.place(fi_addr);
        let name = av.core.name(place).ok_or(Errno::INVAL)?;
        // SAFETY: the caller's buffer, as long as it says.
        unsafe { copy_out(&name.to_bytes(), addr, len) }?;
        Ok(())
    })
}

/// Copies as much of an answer as there is room for, and says how long it is.
///
/// # Safety
/// `len` is null or points to the length of the buffer at `to`.
pub(crate) unsafe fn copy_out(bytes: &[u8], to: *mut c_void, len: *mut usize) -> Answer {
    // SAFETY: the caller's promise.
    let room = *unsafe { needed(len.cast_const()) }?;
    let fits = bytes.len().min(room);
    if fits > 0 && !to.is_null() {
        // SAFETY: the buffer has so much room.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast::<u8>(), fits) };
    }
    // SAFETY: it is not null.
    unsafe { put(len, bytes.len()) };
    // A question for the length alone, or too short a buffer.
    if room < bytes.len() {
        return Err(Errno::TOOSMALL);
    }
    Ok(())
}

unsafe extern "C" fn straddr(
    av: *mut FidAv,
    addr: *const c_void,
    buf: *mut c_char,
    len: *mut usize,
) -> *const c_char {
    edge::value(std::ptr::null(), || {
        // SAFETY: it is an address vector's, whose table this is in.
        let Ok(av) = (unsafe { object::<Av, _>(av) }) else {
            return std::ptr::null();
        };
        // SAFETY: the caller's address is as long as ours are.
        let bytes = unsafe { edge::maybe(addr.cast::<[u8; Name::BYTES]>()) };
        let fabric = &av.domain.core.board.fabric;
        let name = bytes.and_then(Name::from_bytes);
        let mut text = name.map_or("?".to_owned(), |name| name.text(fabric));
        // SAFETY: the caller's length of its buffer.
        let room = unsafe { edge::maybe(len) }.copied().unwrap_or(0);
        let whole = text.len() + 1;
        text.truncate(room.saturating_sub(1));
        text.push('\0');
        if room > 0 && !buf.is_null() {
            // SAFETY: the text with its 0 is no longer than the buffer.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buf, text.len()) };
        }
        // SAFETY: the caller's place for the length that would have been needed.
        unsafe { put(len, whole) };
        buf.cast_const()
    })
}
