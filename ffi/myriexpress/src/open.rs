//! Opening and closing endpoints.

use std::time::{Duration, Instant};

use myrixen::{Endpoint, EndpointOptions, Error, Fabric, FailReason};

use crate::codes::ReturnCode;
use crate::edge::{Answer, Fault, call, needed, with_endpoint, with_library};
use crate::endpoint::{self, New};
use crate::library::Library;
use crate::types::{
    ANY, mx_context_id_t, mx_endpoint_t, mx_error_handler_t, mx_param_t, mx_return_t,
};

/// What the parameters of an open say.
#[derive(Default)]
struct Params {
    error_handler: mx_error_handler_t,
    unexpected_bytes: Option<u64>,
    context_mask: u64,
}

/// Reads the parameters.
///
/// # Safety
/// `params` is null or points to `count` parameters.
unsafe fn read_params(params: *const mx_param_t, count: u32) -> Result<Params, Fault> {
    let mut read = Params::default();
    if count > 0 && params.is_null() {
        return Err(ReturnCode::BadParamList.into());
    }
    for at in 0..count as usize {
        // SAFETY: the caller's promise: there are that many.
        let param = unsafe { params.wrapping_add(at).read() };
        match param.key {
            0 => {
                // SAFETY: the key says that this is the value; any word is one.
                read.error_handler = unsafe { param.val.error_handler };
            }
            1 => {
                // SAFETY: as above.
                read.unexpected_bytes = Some(u64::from(unsafe { param.val.unexp_queue_max }));
            }
            2 => {
                // SAFETY: as above.
                read.context_mask = context_mask(unsafe { param.val.context_id })?;
            }
            key => return Err(Fault::new(ReturnCode::BadParamName, key)),
        }
    }
    Ok(read)
}

/// The bits of a field of the match information.
fn context_mask(id: mx_context_id_t) -> Result<u64, Fault> {
    let (bits, shift) = (u32::from(id.bits), u32::from(id.shift));
    if bits == 0 || bits > 16 || bits + shift > 64 {
        let why = format!("a context id of {bits} bits from bit {shift} on");
        return Err(Fault::new(ReturnCode::BadParamVal, why));
    }
    Ok(((1 << bits) - 1) << shift)
}

/// Opens an endpoint on a board (`MX_ANY_NIC`: the first), with a number (`MX_ANY_ENDPOINT`: any that is free) and the key that others have to give to
/// connect.
///
/// # Safety
/// `params` is null or points to `params_count` parameters; `ep` is null or points to a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_open_endpoint(
    board: u32,
    endpoint_id: u32,
    key: u32,
    params: *mut mx_param_t,
    params_count: u32,
    ep: *mut mx_endpoint_t,
) -> mx_return_t {
    with_library("mx_open_endpoint", |library| {
        let to = needed(ep)?;
        // SAFETY: the caller's promise.
        let params = unsafe { read_params(params, params_count) }?;
        let fabric = library.board(board)?;
        let options = options(library, endpoint_id, key, &params)?;
        let endpoint = open(fabric, &options, endpoint_id)?;
        let handle = endpoint::insert(New {
            endpoint,
            board: if board == ANY { 0 } else { board },
            key,
            library: library.clone(),
            error_handler: params.error_handler,
            context_mask: params.context_mask,
        })?;
        // SAFETY: the caller's promise, and it is not null.
        unsafe { to.write(handle) };
        Ok(())
    })
}

fn options(
    library: &Library,
    id: u32,
    key: u32,
    params: &Params,
) -> Result<EndpointOptions, Fault> {
    let settings = &library.settings;
    let mut options = EndpointOptions::default().key(key).direct(settings.direct);
    if id != ANY {
        let number = u8::try_from(id).ok();
        let number = number.ok_or_else(|| Fault::new(ReturnCode::BadEndpointId, id))?;
        options = options.id(number);
    }
    if let Some(bytes) = params.unexpected_bytes {
        options = options.unexpected_bytes(bytes.max(LEAST_STORE));
    }
    if let Some(after) = settings.give_up {
        options = options.give_up(after);
    }
    if settings.monothread {
        options = options.taken_over(false);
    }
    if let Some(wait) = settings.wait {
        options = options.wait(wait);
    }
    Ok(options)
}

/// The smallest store of unexpected messages, in bytes: half of it has to hold the longest eager message, or one would be stopped for ever.
const LEAST_STORE: u64 = 4 * 32_768;

/// The back end hears of a close a little after it: a number may seem taken that was ours.
const GRACE: Duration = Duration::from_millis(200);

fn open(fabric: &Fabric, options: &EndpointOptions, id: u32) -> Result<Endpoint, Fault> {
    let until = Instant::now() + GRACE;
    loop {
        let error = match fabric.open(options.clone()) {
            Ok(endpoint) => return Ok(endpoint),
            Err(error) => error,
        };
        let kind = match &error {
            Error::Refused { kind, .. } => Some(*kind),
            _ => None,
        };
        let code = match kind {
            Some(FailReason::InUse) if id != ANY && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            Some(FailReason::InUse) => ReturnCode::Busy,
            Some(FailReason::Limit) => ReturnCode::NoResources,
            Some(FailReason::NotPermitted) => ReturnCode::NoPerm,
            Some(FailReason::Invalid) => ReturnCode::BadEndpointId,
            _ => match error {
                Error::System { .. } => ReturnCode::NoResources,
                _ => ReturnCode::NicDead,
            },
        };
        return Err(Fault::new(code, error));
    }
}

/// Closes an endpoint. What was sent and is reported complete is delivered first, within two seconds; what is pending is dropped.
#[unsafe(no_mangle)]
pub extern "C" fn mx_close_endpoint(ep: mx_endpoint_t) -> mx_return_t {
    if endpoint::in_handler_of(ep) {
        return with_endpoint("mx_close_endpoint", ep, |_| {
            Err(ReturnCode::CloseInHandler.into())
        });
    }
    // Not in use by this call: a close waits for those that use it.
    call("mx_close_endpoint", || close(ep))
}

fn close(ep: mx_endpoint_t) -> Answer {
    Library::get()?;
    endpoint::remove(ep)
}

/// Has every thread that is blocked in a call on this endpoint return, with success and result 0.
#[unsafe(no_mangle)]
pub extern "C" fn mx_wakeup(ep: mx_endpoint_t) -> mx_return_t {
    with_endpoint("mx_wakeup", ep, |ep| {
        ep.endpoint.wakeup();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_id_is_a_field_of_one_to_sixteen_bits() {
        let mask = |bits, shift| context_mask(mx_context_id_t { bits, shift }).ok();
        assert_eq!(mask(4, 60), Some(0xf << 60));
        assert_eq!(mask(16, 0), Some(0xffff));
        assert_eq!(mask(1, 63), Some(1 << 63));
        for (bits, shift) in [(0, 0), (17, 0), (16, 49), (1, 64), (255, 255)] {
            assert_eq!(mask(bits, shift), None);
        }
    }
}
