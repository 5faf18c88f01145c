//! Connecting, and what is known of peers.

use std::ffi::c_void;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use myrixen::{Address, Connecting, EndpointId, Error, NicAddr, RequestId, Status};

use crate::codes::ReturnCode;
use crate::data::not_posted;
use crate::edge::{Answer, Fault, needed, put, with_endpoint, with_knower, with_library};
use crate::endpoint::{self, Ep};
use crate::types::{mx_endpoint_addr_t, mx_endpoint_t, mx_request_t, mx_return_t};

/// Where a connect goes.
fn target(nic_id: u64, endpoint_id: u32) -> Result<Address, Fault> {
    let number = u8::try_from(endpoint_id);
    let number = number.map_err(|_| Fault::new(ReturnCode::BadEndpointId, endpoint_id))?;
    if nic_id >> 48 != 0 {
        return Err(Fault::new(ReturnCode::NicNotFound, format!("{nic_id:#x}")));
    }
    Ok(Address::new(
        NicAddr::from_u64(nic_id),
        EndpointId::new(number),
    ))
}

/// Connects to an endpoint that was opened with `key`, within `timeout` milliseconds; 0 is for ever.
///
/// # Safety
/// `addr` is null or points to a place for an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_connect(
    ep: mx_endpoint_t,
    nic_id: u64,
    endpoint_id: u32,
    key: u32,
    timeout: u32,
    addr: *mut mx_endpoint_addr_t,
) -> mx_return_t {
    with_endpoint("mx_connect", ep, |ep| {
        let to = needed(addr)?;
        let found = connect(ep, target(nic_id, endpoint_id)?, key, timeout)?;
        // SAFETY: the program points to a place for an address.
        unsafe { to.write(found) };
        Ok(())
    })
}

/// How long one attempt of a connect without limit takes before the board is looked for.
const ATTEMPT: Duration = Duration::from_secs(5);

fn connect(ep: &Ep, to: Address, key: u32, timeout: u32) -> Result<mx_endpoint_addr_t, Fault> {
    if endpoint::in_handler_of(ep.handle) {
        let why = "a blocking connect in the endpoint's handler: nothing arrives there";
        return Err(Fault::new(ReturnCode::Busy, why));
    }
    let limit = (timeout > 0).then(|| Duration::from_millis(timeout.into()));
    let until = limit.map(|limit| Instant::now() + limit);
    loop {
        if ep.is_closing() {
            return Err(Fault::new(ReturnCode::BadEndpoint, "it is being closed"));
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let status = attempt(ep, to, key, left.unwrap_or(ATTEMPT).min(ATTEMPT))?;
        let status = match status {
            Ok(address) => return Ok(address),
            Err(status) => status,
        };
        let code = ReturnCode::of_connect(status);
        if code != ReturnCode::Timeout {
            return Err(Fault::new(code, format!("{to}: {status}")));
        }
        let over = until.is_some_and(|until| until <= Instant::now());
        if !is_known(ep, to.nic) {
            return Err(Fault::new(ReturnCode::NicNotFound, to.nic));
        }
        if over {
            return Err(Fault::new(code, to));
        }
    }
}

/// Whether the fabric has heard of a board. One that cannot be asked about may be there.
fn is_known(ep: &Ep, nic: NicAddr) -> bool {
    let board = ep.library.board(ep.board);
    let found = board.ok().and_then(|board| board.find(nic).ok());
    found.is_none_or(|found| found.is_some())
}

/// One attempt to connect. No other call sees it as a request.
fn attempt(
    ep: &Ep,
    to: Address,
    key: u32,
    timeout: Duration,
) -> Result<Result<mx_endpoint_addr_t, Status>, Fault> {
    match ep.endpoint.connect(to, key, timeout) {
        Ok(peer) => Ok(Ok(mx_endpoint_addr_t::of(ep, &peer))),
        Err(Error::ConnectTimeout { .. }) => Ok(Err(Status::Timeout)),
        Err(Error::ConnectRefused { status, .. }) => Ok(Err(status)),
        Err(error) => Err(not_posted(&error)),
    }
}

/// Begins to connect. The request's status has the address, `match_info` and `context`.
///
/// # Safety
/// `request` is null (nobody asks for the end) or points to a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_iconnect(
    ep: mx_endpoint_t,
    nic_id: u64,
    endpoint_id: u32,
    key: u32,
    match_info: u64,
    context: *mut c_void,
    request: *mut mx_request_t,
) -> mx_return_t {
    with_endpoint("mx_iconnect", ep, |ep| {
        let ms = ep.timeout_ms.load(Ordering::Relaxed);
        let posted = ep.endpoint.post_connect(Connecting {
            to: target(nic_id, endpoint_id)?,
            key,
            bits: match_info,
            timeout: (ms > 0).then(|| Duration::from_millis(ms.into())),
            context: context as u64,
        });
        let id = posted.map_err(|error| not_posted(&error))?;
        if request.is_null() {
            return ep.endpoint.forget(id).map_err(|error| not_posted(&error));
        }
        // SAFETY: the program points to a place for a handle.
        unsafe { request.write(ep.request_handle(id)) };
        Ok(())
    })
}

/// Ends everything with a peer: what is pending to it or from it fails, what has arrived from it and was not received is dropped.
#[unsafe(no_mangle)]
pub extern "C" fn mx_disconnect(ep: mx_endpoint_t, addr: mx_endpoint_addr_t) -> mx_return_t {
    with_endpoint("mx_disconnect", ep, |ep| {
        ep.endpoint.break_off(&addr.peer(ep)?);
        Ok(())
    })
}

/// Has a request fail that is not over within so many milliseconds from now (0: takes that back). With no request: sends and connects that begin from
/// now on.
#[unsafe(no_mangle)]
pub extern "C" fn mx_set_request_timeout(
    ep: mx_endpoint_t,
    request: mx_request_t,
    ms: u32,
) -> mx_return_t {
    with_endpoint("mx_set_request_timeout", ep, |ep| {
        if request == 0 {
            ep.timeout_ms.store(ms, Ordering::Relaxed);
            return Ok(());
        }
        let id: RequestId = ep.request(request)?;
        let timeout = (ms > 0).then(|| Duration::from_millis(ms.into()));
        ep.endpoint
            .set_timeout(id, timeout)
            .map_err(|error| not_posted(&error))
    })
}

/// The endpoint's own address.
///
/// # Safety
/// `addr` is null or points to a place for an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_get_endpoint_addr(
    ep: mx_endpoint_t,
    addr: *mut mx_endpoint_addr_t,
) -> mx_return_t {
    with_endpoint("mx_get_endpoint_addr", ep, |ep| {
        // SAFETY: the program points to a place for an address, and it is not null.
        unsafe { needed(addr)?.write(mx_endpoint_addr_t::own(ep)) };
        Ok(())
    })
}

/// The board's address and the endpoint's number in an address.
///
/// # Safety
/// The pointers are null or point to places for numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_decompose_endpoint_addr(
    addr: mx_endpoint_addr_t,
    nic_id: *mut u64,
    endpoint_id: *mut u32,
) -> mx_return_t {
    with_library("mx_decompose_endpoint_addr", |_| {
        // SAFETY: the caller's promise.
        unsafe { decompose(addr, nic_id, endpoint_id) }
    })
}

/// As [`mx_decompose_endpoint_addr`], and the number of that endpoint's opening; 0 when it is not connected any more.
///
/// # Safety
/// The pointers are null or point to places for numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_decompose_endpoint_addr2(
    addr: mx_endpoint_addr_t,
    nic_id: *mut u64,
    endpoint_id: *mut u32,
    session_id: *mut u32,
) -> mx_return_t {
    with_knower("mx_decompose_endpoint_addr2", addr, |ep| {
        let session = if addr.address() == ep.endpoint.address() {
            Some(ep.endpoint.session())
        } else {
            ep.endpoint.session_of(&addr.peer(ep)?)
        };
        // SAFETY: the caller's promise.
        unsafe { decompose(addr, nic_id, endpoint_id) }?;
        // SAFETY: the caller's promise.
        unsafe { put(session_id, session.unwrap_or(0)) };
        Ok(())
    })
}

/// # Safety
/// The pointers are null or point to places for numbers.
unsafe fn decompose(addr: mx_endpoint_addr_t, nic_id: *mut u64, number: *mut u32) -> Answer {
    addr.place()?;
    let address = addr.address();
    // SAFETY: the caller's promise.
    unsafe { put(nic_id, address.nic.to_u64()) };
    // SAFETY: the caller's promise.
    unsafe { put(number, address.endpoint.get().into()) };
    Ok(())
}

/// Keeps a pointer of the program's with a peer.
#[unsafe(no_mangle)]
pub extern "C" fn mx_set_endpoint_addr_context(
    addr: mx_endpoint_addr_t,
    context: *mut c_void,
) -> mx_return_t {
    with_knower("mx_set_endpoint_addr_context", addr, |ep| {
        let mut contexts = ep.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        if context.is_null() {
            contexts.remove(&addr.stuff[0]);
        } else {
            contexts.insert(addr.stuff[0], context as usize);
        }
        Ok(())
    })
}

/// The pointer that the program keeps with a peer; null before it has set one.
///
/// # Safety
/// `context` is null or points to a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_get_endpoint_addr_context(
    addr: mx_endpoint_addr_t,
    context: *mut *mut c_void,
) -> mx_return_t {
    with_knower("mx_get_endpoint_addr_context", addr, |ep| {
        let contexts = ep.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let held = contexts.get(&addr.stuff[0]).copied().unwrap_or(0);
        // SAFETY: the caller's promise.
        unsafe { put(context, held as *mut c_void) };
        Ok(())
    })
}
