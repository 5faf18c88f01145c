//! Sending and receiving.

use std::ffi::c_void;
use std::sync::atomic::Ordering;
use std::time::Duration;

use myrixen::{Completes, Error, Foreign, INLINE, Match, Outgoing, Peer, RequestId};

use crate::codes::ReturnCode;
use crate::edge::{Answer, Fault, needed, shortcut, with_endpoint};
use crate::endpoint::Ep;
use crate::segments::Segments;
use crate::types::{mx_endpoint_addr_t, mx_endpoint_t, mx_request_t, mx_return_t, mx_segment_t};

/// Sends a message. Complete when the memory can be used again: at once up to 128 bytes, up to 32 KiB when the receiver has it or, if somebody has asked for
/// the end in vain for a while, when it is copied; else, and with `MX_ZOMBIE_SEND=0`, when the receiver has it.
///
/// # Safety
/// `segments` is null or points to `count` segments, whose memory is valid until the request is over; `request` is null or points to a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_isend(
    ep: mx_endpoint_t,
    segments: *mut mx_segment_t,
    count: u32,
    dest: mx_endpoint_addr_t,
    match_info: u64,
    context: *mut c_void,
    request: *mut mx_request_t,
) -> mx_return_t {
    // SAFETY: the caller's promise.
    let short = unsafe { Segments::one(segments, count) }.filter(|one| one.len() <= INLINE);
    if let Some(short) = short.filter(|_| !request.is_null())
        && let Some(code) = shortcut("mx_isend", ep, |mut call| {
            let (ep, guest) = call.parts();
            if !ep.sends_end_early() {
                return None;
            }
            let outgoing = Outgoing {
                bits: match_info,
                completes: Completes::WhenBuffered,
                context: context as u64,
            };
            let id = guest.post_short(&dest.known_peer(ep)?, short.bytes(), outgoing)?;
            // SAFETY: the program points to a place for a handle.
            unsafe { request.write(ep.request_handle(id)) };
            call.leave();
            Some(())
        })
    {
        return code;
    }
    with_endpoint("mx_isend", ep, |ep| {
        let completes = match ep.library.settings.zombie_send {
            true => Completes::WhenBuffered,
            false => Completes::WhenDelivered,
        };
        let outgoing = Outgoing {
            bits: match_info,
            completes,
            context: context as u64,
        };
        // SAFETY: the caller's promise.
        let segments = unsafe { Segments::read(segments, count) }?;
        send(ep, segments, dest, outgoing, request)
    })
}

/// Sends a message. Complete when the receiver has matched it.
///
/// # Safety
/// As for [`mx_isend`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_issend(
    ep: mx_endpoint_t,
    segments: *mut mx_segment_t,
    count: u32,
    dest: mx_endpoint_addr_t,
    match_info: u64,
    context: *mut c_void,
    request: *mut mx_request_t,
) -> mx_return_t {
    with_endpoint("mx_issend", ep, |ep| {
        // SAFETY: the caller's promise.
        let segments = unsafe { Segments::read(segments, count) }?;
        let outgoing = Outgoing {
            bits: match_info,
            completes: Completes::WhenMatched,
            context: context as u64,
        };
        send(ep, segments, dest, outgoing, request)
    })
}

/// Sends up to [`INLINE`] bytes, which are copied.
#[inline(always)]
fn send_short(
    ep: &Ep,
    bytes: &[u8],
    peer: &Peer,
    outgoing: Outgoing,
    request: *mut mx_request_t,
) -> Answer {
    let posted = ep.endpoint.post_short(peer, bytes, outgoing);
    posted_as(ep, posted, request)
}

fn send(
    ep: &Ep,
    segments: Segments,
    dest: mx_endpoint_addr_t,
    outgoing: Outgoing,
    request: *mut mx_request_t,
) -> Answer {
    let request = needed(request)?;
    let peer = dest.peer(ep)?;
    let posted = match segments {
        Segments::One(piece) if piece.len() <= INLINE => {
            return send_short(ep, piece.bytes(), &peer, outgoing, request);
        }
        Segments::Many(many) if many.len() <= INLINE => {
            let mut short = [0; INLINE];
            let short = &mut short[..many.len()];
            many.copy_to(short);
            return send_short(ep, short, &peer, outgoing, request);
        }
        Segments::One(piece) => ep.endpoint.post_send(&peer, piece, outgoing),
        Segments::Many(many) => {
            let many: Box<dyn Foreign> = Box::new(many);
            ep.endpoint.post_send(&peer, many, outgoing)
        }
    };
    posted_as(ep, posted, request)
}

/// Tells the program by what handle it knows what it has begun to send.
#[inline(always)]
fn posted_as(ep: &Ep, posted: Result<RequestId, Error>, request: *mut mx_request_t) -> Answer {
    let id = posted.map_err(|error| not_posted(&error))?;
    limit(ep, id)?;
    // SAFETY: the program points to a place for a handle.
    unsafe { request.write(ep.request_handle(id)) };
    Ok(())
}

/// Gives a new request the endpoint's timeout.
#[inline]
pub(crate) fn limit(ep: &Ep, id: RequestId) -> Answer {
    let ms = ep.timeout_ms.load(Ordering::Relaxed);
    if ms > 0 {
        let timeout = Some(Duration::from_millis(ms.into()));
        ep.endpoint
            .set_timeout(id, timeout)
            .map_err(|error| not_posted(&error))?;
    }
    Ok(())
}

/// Why a request was not accepted.
pub(crate) fn not_posted(error: &Error) -> Fault {
    let code = match error {
        Error::Invalid(_) => ReturnCode::BadSegList,
        Error::UnknownRequest => ReturnCode::BadRequest,
        Error::ConnectRefused { status, .. } => ReturnCode::of_connect(*status),
        _ => ReturnCode::NoResources,
    };
    Fault::new(code, error)
}

/// Posts a receive for messages whose match information is `match_info` under the mask.
///
/// # Safety
/// As for [`mx_isend`]; nobody else touches the memory until the request is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_irecv(
    ep: mx_endpoint_t,
    segments: *mut mx_segment_t,
    count: u32,
    match_info: u64,
    match_mask: u64,
    context: *mut c_void,
    request: *mut mx_request_t,
) -> mx_return_t {
    // SAFETY: the caller's promise.
    if let Some(piece) = unsafe { Segments::one(segments, count) }
        && !request.is_null()
        && let Some(code) = shortcut("mx_irecv", ep, |mut call| {
            let (ep, guest) = call.parts();
            let matching = receivable(ep, match_info, match_mask).ok()?;
            let id = guest.post_recv(matching, piece, context as u64).ok()?;
            // SAFETY: the program points to a place for a handle.
            unsafe { request.write(ep.request_handle(id)) };
            call.leave();
            Some(())
        })
    {
        return code;
    }
    with_endpoint("mx_irecv", ep, |ep| {
        let request = needed(request)?;
        // SAFETY: the caller's promise.
        let segments = unsafe { Segments::read(segments, count) }?;
        let matching = receivable(ep, match_info, match_mask)?;
        let context = context as u64;
        let posted = match segments {
            Segments::One(piece) => ep.endpoint.post_recv(matching, piece, context),
            Segments::Many(many) => {
                let many: Box<dyn Foreign> = Box::new(many);
                ep.endpoint.post_recv(matching, many, context)
            }
        };
        let id = posted.map_err(|error| not_posted(&error))?;
        // SAFETY: the program points to a place for a handle.
        unsafe { request.write(ep.request_handle(id)) };
        Ok(())
    })
}

/// What match information and mask say, if they fit.
#[inline(always)]
pub(crate) fn matching(match_info: u64, match_mask: u64) -> Result<Match, Fault> {
    if match_info & !match_mask != 0 {
        let why = format!("{match_info:#x} and {match_mask:#x}");
        return Err(Fault::new(ReturnCode::BadMatchMask, why));
    }
    Ok(Match::masked(match_info, match_mask))
}

/// The same for a receive, which may not span contexts.
#[inline(always)]
fn receivable(ep: &Ep, match_info: u64, match_mask: u64) -> Result<Match, Fault> {
    let matching = matching(match_info, match_mask)?;
    if ep.context_mask & !match_mask != 0 {
        return Err(ReturnCode::BadMatchingForContextIdMask.into());
    }
    Ok(matching)
}

/// Not implemented, as in MX.
#[unsafe(no_mangle)]
pub extern "C" fn mx_iput(
    ep: mx_endpoint_t,
    _local: *mut c_void,
    _length: u32,
    _dest: mx_endpoint_addr_t,
    _remote: u64,
    _context: *mut c_void,
    _request: *mut mx_request_t,
) -> mx_return_t {
    with_endpoint("mx_iput", ep, |_| Err(not_in_mx()))
}

/// Not implemented, as in MX.
#[unsafe(no_mangle)]
pub extern "C" fn mx_iget(
    ep: mx_endpoint_t,
    _local: *mut c_void,
    _length: u32,
    _dest: mx_endpoint_addr_t,
    _remote: u64,
    _context: *mut c_void,
    _request: *mut mx_request_t,
) -> mx_return_t {
    with_endpoint("mx_iget", ep, |_| Err(not_in_mx()))
}

fn not_in_mx() -> Fault {
    Fault::new(ReturnCode::Failure, "no release of MX implements it")
}
