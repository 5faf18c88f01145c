//! Open endpoints, and the handles by which C knows them and their requests.
//!
//! A handle is a number, never an address: one that is dead, or was never alive, is recognised without touching memory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use myrixen::{Endpoint, RequestId};

use crate::codes::ReturnCode;
use crate::edge::Fault;
use crate::library::Library;
use crate::table::{self, InUse, MOST, Reserved};
use crate::types::{mx_endpoint_t, mx_error_handler_t, mx_request_t};

/// Endpoints opened so far: tells a handle from an earlier one of the same place.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// Mark of a handle, so that few numbers that are none look like one.
const MARK: u64 = 0x9;

/// An open endpoint.
pub(crate) struct Ep {
    pub(crate) handle: mx_endpoint_t,
    /// What its requests' handles differ by from others'.
    salt: u64,
    /// Its place in the table, plus one.
    pub(crate) place: u8,
    pub(crate) endpoint: Endpoint,
    /// The number of its board.
    pub(crate) board: u32,
    /// What others have to give when they connect.
    pub(crate) key: u32,
    pub(crate) library: Arc<Library>,
    pub(crate) error_handler: mx_error_handler_t,
    /// The bits of the match information that name a context.
    pub(crate) context_mask: u64,
    /// For sends and connects that begin from now on, in milliseconds; 0: none.
    pub(crate) timeout_ms: AtomicU32,
    /// The program's pointers, by the first word of an address.
    pub(crate) contexts: Mutex<HashMap<u64, usize>>,
    /// It is being closed: waits end.
    pub(crate) closing: AtomicBool,
    /// It has had a handler of unexpected messages, so that calls may come from inside one.
    pub(crate) handled: AtomicBool,
}

/// What a new endpoint brings.
pub(crate) struct New {
    pub(crate) endpoint: Endpoint,
    pub(crate) board: u32,
    pub(crate) key: u32,
    pub(crate) library: Arc<Library>,
    pub(crate) error_handler: mx_error_handler_t,
    pub(crate) context_mask: u64,
}

/// Finds an endpoint by its handle. What is given keeps it from being closed.
#[inline]
pub(crate) fn find(handle: mx_endpoint_t) -> Option<InUse> {
    table::at(table::place_of(handle)).filter(|ep| ep.handle == handle)
}

pub(crate) fn any_open() -> bool {
    table::all().next().is_some()
}

/// Gives an endpoint a handle.
pub(crate) fn insert(new: New) -> Result<mx_endpoint_t, Fault> {
    let reserved = Reserved::new().ok_or_else(|| {
        let why = format!("{MOST} endpoints are open in this process");
        Fault::new(ReturnCode::NoResources, why)
    })?;
    let place = reserved.number();
    let opened = OPENED.fetch_add(1, Ordering::Relaxed) + 1;
    let word = (opened << 12) | (u64::from(place) << 4) | MARK;
    let handle = usize::try_from(word).map_err(|_| Fault::from(ReturnCode::NoResources))?;
    reserved.open(Ep {
        handle,
        // The lower half of a request's number is its place, far below 2^31: so a handle is never 0.
        salt: word.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 31,
        place,
        endpoint: new.endpoint,
        board: new.board,
        key: new.key,
        library: new.library,
        error_handler: new.error_handler,
        context_mask: new.context_mask,
        timeout_ms: AtomicU32::new(0),
        contexts: Mutex::default(),
        closing: AtomicBool::new(false),
        handled: AtomicBool::new(false),
    });
    Ok(handle)
}

/// How long a close looks away between looks at calls that have not returned yet.
const PAUSE: Duration = Duration::from_micros(200);

/// Takes an endpoint away from its handle, and closes it when the last call on it has returned. Blocking calls of other threads end.
pub(crate) fn remove(handle: mx_endpoint_t) -> Result<(), Fault> {
    let found = find(handle).ok_or(ReturnCode::BadEndpoint)?;
    let closed = table::close(found, |ep| {
        if !ep.closing.swap(true, Ordering::SeqCst) {
            ep.endpoint.resume();
        }
        ep.endpoint.wakeup();
        std::thread::sleep(PAUSE);
    });
    match closed {
        true => Ok(()),
        false => Err(ReturnCode::BadEndpoint.into()),
    }
}

impl Ep {
    /// The handle of a request. Other endpoints do not know it.
    pub(crate) fn request_handle(&self, id: RequestId) -> mx_request_t {
        let word = id.to_u64() ^ self.salt;
        usize::try_from(word).unwrap_or(0)
    }

    /// The request with this handle, if it is one of ours; whether it lives the endpoint knows.
    pub(crate) fn request(&self, handle: mx_request_t) -> Result<RequestId, Fault> {
        if handle == 0 {
            return Err(ReturnCode::BadRequest.into());
        }
        Ok(self.known_request(handle))
    }

    /// The same where 0 need not be told from others that are none of ours.
    #[inline]
    pub(crate) fn known_request(&self, handle: mx_request_t) -> RequestId {
        RequestId::from_u64(handle as u64 ^ self.salt)
    }

    /// Whether short sends are over at once, and need no timeout.
    #[inline]
    pub(crate) fn sends_end_early(&self) -> bool {
        self.library.settings.zombie_send && self.timeout_ms.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// How long a call may wait: 0 is for ever. In the endpoint's own handler nothing can come, so nothing is waited for.
    #[inline(always)]
    pub(crate) fn patience(&self, timeout_ms: u32) -> Option<Duration> {
        if self.handled.load(Ordering::Relaxed) && in_handler_of(self.handle) {
            return Some(Duration::ZERO);
        }
        (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into()))
    }
}

thread_local! {
    /// The endpoint whose handler runs on this thread; 0: none. Neither this nor the next is dropped with its thread: the program's `atexit` handlers run
    /// when others of their kind are gone, and call us too.
    static HANDLING: Cell<mx_endpoint_t> = const { Cell::new(0) };
    /// Those whose handlers it runs inside of.
    static AROUND: ManuallyDrop<RefCell<Vec<mx_endpoint_t>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Runs a handler of this endpoint.
pub(crate) fn handling<T>(handle: mx_endpoint_t, handler: impl FnOnce() -> T) -> T {
    let around = HANDLING.replace(handle);
    if around != 0 {
        AROUND.with(|all| all.borrow_mut().push(around));
    }
    let result = handler();
    HANDLING.set(around);
    if around != 0 {
        AROUND.with(|all| leave_outer(&mut all.borrow_mut()));
    }
    result
}

/// Takes the last one out, and lets go of the memory with it: nobody else does.
fn leave_outer(all: &mut Vec<mx_endpoint_t>) {
    all.pop();
    if all.is_empty() {
        *all = Vec::new();
    }
}

/// Whether this thread is in a handler of this endpoint.
#[cold]
pub(crate) fn in_handler_of(handle: mx_endpoint_t) -> bool {
    handle != 0 && (HANDLING.get() == handle || AROUND.with(|all| all.borrow().contains(&handle)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_inside_of_handlers_are_all_known() {
        let inside = || [1, 2, 3, 0].map(in_handler_of);
        assert_eq!(inside(), [false; 4]);
        handling(1, || {
            assert_eq!(inside(), [true, false, false, false]);
            handling(2, || {
                handling(3, || assert_eq!(inside(), [true, true, true, false]));
                handling(1, || assert_eq!(inside(), [true, true, false, false]));
                assert_eq!(inside(), [true, true, false, false]);
            });
            assert_eq!(inside(), [true, false, false, false]);
        });
        assert_eq!(inside(), [false; 4]);
        AROUND.with(|all| assert_eq!(all.borrow().capacity(), 0));
    }
}
