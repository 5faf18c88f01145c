//! How requests end, and looking at messages that nobody has received.

use std::ffi::c_void;

use myrixen::{End, Error, Guest, Kind, Pending, RequestId, UnknownRequest};

use crate::codes::{ReturnCode, StatusCode};
use crate::data::{matching, not_posted};
use crate::edge::{Answer, Fault, put, shortcut, with_endpoint, with_library};
use crate::endpoint::Ep;
use crate::table;
use crate::types::{mx_endpoint_addr_t, mx_endpoint_t, mx_request_t, mx_return_t, mx_status_t};

/// Where the end of a request goes; each may be null.
#[derive(Clone, Copy)]
struct Report {
    request: *mut mx_request_t,
    status: *mut mx_status_t,
    result: *mut u32,
}

impl Report {
    fn new(request: *mut mx_request_t, status: *mut mx_status_t, result: *mut u32) -> Self {
        Self {
            request,
            status,
            result,
        }
    }

    /// Says how a request ended.
    #[inline(always)]
    fn fill(self, ep: &Ep, done: &End) {
        // SAFETY: the program points to a place for a status, or nowhere.
        unsafe { put(self.status, status(ep, done)) };
        // SAFETY: the program points to the request's handle, or nowhere.
        unsafe { put(self.request, 0) };
    }

    /// Says whether one has ended.
    #[inline(always)]
    fn answer(self, ended: Result<Option<()>, UnknownRequest>) -> Answer {
        let ended = ended.map_err(|UnknownRequest| Fault::from(ReturnCode::BadRequest))?;
        // SAFETY: the program points to a place for a number, or nowhere.
        unsafe { put(self.result, u32::from(ended.is_some())) };
        Ok(())
    }
}

#[inline(always)]
fn status(ep: &Ep, done: &End) -> mx_status_t {
    mx_status_t {
        code: StatusCode::from(done.status) as u32,
        source: done
            .peer
            .as_ref()
            .map_or_else(mx_endpoint_addr_t::default, |peer| {
                mx_endpoint_addr_t::of(ep, peer)
            }),
        match_info: done.bits,
        msg_length: length(done.message_len),
        xfer_length: length(done.len),
        context: done.context as *mut c_void,
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Reads a request's handle.
fn request(ep: &Ep, request: *mut mx_request_t) -> Result<RequestId, Fault> {
    if request.is_null() {
        return Err(ReturnCode::BadRequest.into());
    }
    // SAFETY: the program points to a handle.
    ep.request(unsafe { request.read() })
}

/// What becomes of a request, in a short call: its end if it is over, or what `otherwise` finds. `None`: the usual way is to find out.
#[inline(always)]
fn ended_shortly(
    name: &str,
    handle: mx_endpoint_t,
    report: Report,
    otherwise: impl FnOnce(&Ep, Guest, RequestId) -> Result<Option<()>, UnknownRequest>,
) -> Option<mx_return_t> {
    if report.request.is_null() {
        return None;
    }
    shortcut(name, handle, |mut call| {
        let (ep, guest) = call.parts();
        // SAFETY: the program points to a handle.
        let id = ep.known_request(unsafe { report.request.read() });
        let ended = match guest.take_end(id, |end| report.fill(ep, end)) {
            Ok(None) => {
                let (ep, guest) = call.stay();
                otherwise(&ep, guest, id)
            }
            ended => {
                call.leave();
                ended
            }
        };
        report.answer(ended).ok()
    })
}

/// The end of a request, if it is over: fills the status, sets the handle to null and the result to 1; else the result is 0.
///
/// # Safety
/// The pointers are null or point to what they are for. So for all calls in this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_test(
    ep: mx_endpoint_t,
    req: *mut mx_request_t,
    status: *mut mx_status_t,
    result: *mut u32,
) -> mx_return_t {
    let report = Report::new(req, status, result);
    let short = ended_shortly("mx_test", ep, report, |ep, guest, id| {
        ep.endpoint.test_on(guest, id, |end| report.fill(ep, end))
    });
    if let Some(code) = short {
        return code;
    }
    with_endpoint("mx_test", ep, |ep| {
        let id = request(ep, req)?;
        report.answer(ep.endpoint.test_with(id, |end| report.fill(ep, end)))
    })
}

/// As [`mx_test`], and waits for up to `timeout` milliseconds; 0 is for ever.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_wait(
    ep: mx_endpoint_t,
    req: *mut mx_request_t,
    timeout: u32,
    status: *mut mx_status_t,
    result: *mut u32,
) -> mx_return_t {
    let report = Report::new(req, status, result);
    let short = ended_shortly("mx_wait", ep, report, |ep, guest, id| {
        let patience = ep.patience(timeout);
        let fill = |end: &End| report.fill(ep, end);
        ep.endpoint.wait_on(guest, id, patience, fill)
    });
    if let Some(code) = short {
        return code;
    }
    with_endpoint("mx_wait", ep, |ep| {
        let (id, patience) = (request(ep, req)?, ep.patience(timeout));
        let fill = |end: &End| report.fill(ep, end);
        report.answer(ep.endpoint.wait_with(id, patience, fill))
    })
}

/// The end of the oldest request that is over and whose match information is `match_info` under the mask.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_test_any(
    ep: mx_endpoint_t,
    match_info: u64,
    match_mask: u64,
    status: *mut mx_status_t,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_test_any", ep, |ep| {
        let report = Report::new(std::ptr::null_mut(), status, result);
        let matching = matching(match_info, match_mask)?;
        let fill = |end: &End| report.fill(ep, end);
        report.answer(Ok(ep.endpoint.test_any_with(matching, fill)))
    })
}

/// As [`mx_test_any`], and waits for up to `timeout` milliseconds; 0 is for ever.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_wait_any(
    ep: mx_endpoint_t,
    timeout: u32,
    match_info: u64,
    match_mask: u64,
    status: *mut mx_status_t,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_wait_any", ep, |ep| {
        let report = Report::new(std::ptr::null_mut(), status, result);
        let (matching, patience) = (matching(match_info, match_mask)?, ep.patience(timeout));
        let fill = |end: &End| report.fill(ep, end);
        report.answer(Ok(ep.endpoint.wait_any_with(matching, patience, fill)))
    })
}

/// The oldest request that is over, without taking its end.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_ipeek(
    ep: mx_endpoint_t,
    request: *mut mx_request_t,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_ipeek", ep, |ep| {
        peek(ep, Some(std::time::Duration::ZERO), request, result);
        Ok(())
    })
}

/// As [`mx_ipeek`], and waits for up to `timeout` milliseconds; 0 is for ever.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_peek(
    ep: mx_endpoint_t,
    timeout: u32,
    request: *mut mx_request_t,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_peek", ep, |ep| {
        peek(ep, ep.patience(timeout), request, result);
        Ok(())
    })
}

fn peek(
    ep: &Ep,
    patience: Option<std::time::Duration>,
    request: *mut mx_request_t,
    result: *mut u32,
) {
    let peeked = ep.endpoint.peek(patience);
    // SAFETY: the program points to a place for a number, or nowhere.
    unsafe { put(result, u32::from(peeked.is_some())) };
    if let Some(peeked) = peeked {
        // SAFETY: the program points to a place for a handle, or nowhere.
        unsafe { put(request, ep.request_handle(peeked.id)) };
    }
}

/// The oldest message that fits and that no receive has taken: its source, match information and length. It stays.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_iprobe(
    ep: mx_endpoint_t,
    match_info: u64,
    match_mask: u64,
    status: *mut mx_status_t,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_iprobe", ep, |ep| {
        let found = ep.endpoint.iprobe(matching(match_info, match_mask)?);
        probed(ep, found, status, result);
        Ok(())
    })
}

/// As [`mx_iprobe`], and waits for up to `timeout` milliseconds; 0 is for ever.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_probe(
    ep: mx_endpoint_t,
    timeout: u32,
    match_info: u64,
    match_mask: u64,
    status: *mut mx_status_t,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_probe", ep, |ep| {
        let matching = matching(match_info, match_mask)?;
        let found = ep.endpoint.probe(matching, ep.patience(timeout));
        probed(ep, found, status, result);
        Ok(())
    })
}

fn probed(ep: &Ep, found: Option<Pending>, status: *mut mx_status_t, result: *mut u32) {
    // SAFETY: the program points to a place for a number, or nowhere.
    unsafe { put(result, u32::from(found.is_some())) };
    let Some(found) = found else { return };
    let filled = mx_status_t {
        code: StatusCode::Success as u32,
        source: mx_endpoint_addr_t::of(ep, &found.peer()),
        match_info: found.bits,
        msg_length: length(found.len),
        xfer_length: 0,
        context: std::ptr::null_mut(),
    };
    // SAFETY: the program points to a place for a status, or nowhere.
    unsafe { put(status, filled) };
}

/// Whether a send's memory can be used again, though it may be pending: so it is at once up to 32 KiB, which are copied if they have to be.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_ibuffered(
    ep: mx_endpoint_t,
    req: *mut mx_request_t,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_ibuffered", ep, |ep| {
        buffered(ep, req, Some(std::time::Duration::ZERO), result)
    })
}

/// As [`mx_ibuffered`], and waits for up to `timeout` milliseconds; 0 is for ever.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_buffered(
    ep: mx_endpoint_t,
    req: *mut mx_request_t,
    timeout: u32,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_buffered", ep, |ep| {
        buffered(ep, req, ep.patience(timeout), result)
    })
}

fn buffered(
    ep: &Ep,
    req: *mut mx_request_t,
    patience: Option<std::time::Duration>,
    result: *mut u32,
) -> Answer {
    let id = request(ep, req)?;
    send_only(ep, id)?;
    let buffered = ep.endpoint.await_buffered(id, patience);
    let buffered = buffered.map_err(|error| not_posted(&error))?;
    // SAFETY: the program points to a place for a number, or nowhere.
    unsafe { put(result, u32::from(buffered)) };
    Ok(())
}

fn send_only(ep: &Ep, id: RequestId) -> Answer {
    let (kind, _, _) = ep
        .endpoint
        .look_at(id)
        .map_err(|error| not_posted(&error))?;
    match kind {
        Kind::Send => Ok(()),
        _ => Err(Fault::new(ReturnCode::BadRequest, "it is not a send")),
    }
}

/// Takes a receive or connect back for which nothing has happened yet: the result is 1, the handle null, and its end does not come.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_cancel(
    ep: mx_endpoint_t,
    req: *mut mx_request_t,
    result: *mut u32,
) -> mx_return_t {
    with_endpoint("mx_cancel", ep, |ep| {
        let id = request(ep, req)?;
        if send_only(ep, id).is_ok() {
            return Err(ReturnCode::CancelNotSupported.into());
        }
        let gone = ep
            .endpoint
            .take_back(id)
            .map_err(|error| not_posted(&error))?;
        // SAFETY: the program points to a place for a number, or nowhere.
        unsafe { put(result, u32::from(gone)) };
        if gone {
            // SAFETY: the program points to the request's handle.
            unsafe { put(req, 0) };
        }
        Ok(())
    })
}

/// Nobody will ask for the end of this request: the handle becomes null.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_forget(ep: mx_endpoint_t, req: *mut mx_request_t) -> mx_return_t {
    with_endpoint("mx_forget", ep, |ep| {
        let id = request(ep, req)?;
        ep.endpoint.forget(id).map_err(|error| not_posted(&error))?;
        // SAFETY: the program points to the request's handle.
        unsafe { put(req, 0) };
        Ok(())
    })
}

/// The program's own pointer of a request.
///
/// # Safety
/// As for [`mx_test`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_context(
    req: *mut mx_request_t,
    context: *mut *mut c_void,
) -> mx_return_t {
    with_library("mx_context", |_| {
        // No endpoint is said: whichever knows the handle. Those of different endpoints differ.
        let held = table::all().find_map(|ep| {
            let id = request(&ep, req).ok()?;
            let look: Result<_, Error> = ep.endpoint.look_at(id);
            look.ok().map(|(_, context, _)| context)
        });
        let held = held.ok_or(ReturnCode::BadRequest)?;
        // SAFETY: the program points to a place for a pointer, or nowhere.
        unsafe { put(context, held as *mut c_void) };
        Ok(())
    })
}
