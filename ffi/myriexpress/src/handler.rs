//! Handlers of unexpected messages, and when they and the rest of the endpoint's work may run.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use myrixen::{Endpoint, Unexpected, Verdict};

use crate::edge::with_endpoint;
use crate::endpoint::{self, Ep};
use crate::errors::say;
use crate::types::{
    RECV_CONTINUE, RECV_FINISHED, mx_endpoint_addr_t, mx_endpoint_t, mx_matching_callback_t,
    mx_return_t, mx_unexp_handler_t,
};

/// The program's pointer for its handler. Threads of the library hand it on, and nobody here follows it.
#[derive(Clone, Copy)]
struct Context(*mut c_void);

// SAFETY: it is handed on only: what is behind it is the program's, which registers handlers for any thread.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    fn get(self) -> *mut c_void {
        self.0
    }
}

/// Stands for the data of an empty message: it is there.
static NO_BYTES: u8 = 0;

/// Calls `handler` from now on for each message that no receive waits for; null: no more.
#[unsafe(no_mangle)]
pub extern "C" fn mx_register_unexp_handler(
    ep: mx_endpoint_t,
    handler: mx_unexp_handler_t,
    context: *mut c_void,
) -> mx_return_t {
    with_endpoint("mx_register_unexp_handler", ep, |ep| {
        let Some(handler) = handler else {
            clear(ep);
            return Ok(());
        };
        let (handle, place, context) = (ep.handle, ep.place, Context(context));
        let show = move |_: &Endpoint, message: &Unexpected, bytes: Option<&[u8]>| {
            let cover = &message.message;
            let source = mx_endpoint_addr_t::with(place, cover.source, cover.peer().id());
            let length = u32::try_from(cover.len).unwrap_or(u32::MAX);
            let data = bytes.map_or(std::ptr::null(), |bytes| match bytes {
                [] => &raw const NO_BYTES,
                bytes => bytes.as_ptr(),
            });
            let answer = endpoint::handling(handle, || {
                let data = data.cast_mut().cast();
                // SAFETY: the program has registered a function of this type, which only reads the data, and only while it runs.
                unsafe { handler(context.get(), source, cover.bits, length, data) }
            });
            verdict(answer)
        };
        ep.handled.store(true, Ordering::Relaxed);
        ep.endpoint.set_unexpected_handler(Some(show));
        Ok(())
    })
}

/// What the program's handler says.
fn verdict(answer: u32) -> Verdict {
    match answer {
        RECV_CONTINUE => Verdict::Left,
        RECV_FINISHED => Verdict::Taken,
        other => {
            say(format_args!(
                "MX: a handler of unexpected messages returned {other}, which means nothing"
            ));
            std::process::abort();
        }
    }
}

/// The type of a handler that is none.
type Nobody = fn(&Endpoint, &Unexpected, Option<&[u8]>) -> Verdict;

fn clear(ep: &Ep) {
    ep.endpoint.set_unexpected_handler(None::<Nobody>);
}

/// The older kind of handler: told of each message that no receive waits for, which then waits for one.
#[unsafe(no_mangle)]
pub extern "C" fn mx_register_unexp_callback(
    ep: mx_endpoint_t,
    callback: mx_matching_callback_t,
    context: *mut c_void,
) -> mx_return_t {
    with_endpoint("mx_register_unexp_callback", ep, |ep| {
        let Some(callback) = callback else {
            clear(ep);
            return Ok(());
        };
        let (handle, context) = (ep.handle, Context(context));
        let tell = move |_: &Endpoint, message: &Unexpected, _: Option<&[u8]>| {
            let length = c_int::try_from(message.message.len).unwrap_or(c_int::MAX);
            endpoint::handling(handle, || {
                // SAFETY: the program has registered a function of this type.
                unsafe { callback(context.get(), message.message.bits, length) };
            });
            Verdict::Left
        };
        ep.handled.store(true, Ordering::Relaxed);
        ep.endpoint.set_unexpected_handler(Some(tell));
        Ok(())
    })
}

/// Works for the endpoint once, without waiting.
#[unsafe(no_mangle)]
pub extern "C" fn mx_progress(ep: mx_endpoint_t) -> mx_return_t {
    with_endpoint("mx_progress", ep, |ep| {
        ep.endpoint.progress();
        Ok(())
    })
}

/// Nothing arrives and no handler is called until [`mx_reenable_progression`]. Waits for a handler that runs on another thread.
#[unsafe(no_mangle)]
pub extern "C" fn mx_disable_progression(ep: mx_endpoint_t) -> mx_return_t {
    with_endpoint("mx_disable_progression", ep, |ep| {
        ep.endpoint.pause();
        Ok(())
    })
}

/// Takes [`mx_disable_progression`] back, and works for the endpoint once.
#[unsafe(no_mangle)]
pub extern "C" fn mx_reenable_progression(ep: mx_endpoint_t) -> mx_return_t {
    with_endpoint("mx_reenable_progression", ep, |ep| {
        ep.endpoint.resume();
        Ok(())
    })
}
