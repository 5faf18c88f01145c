//! Error handlers: what is told of an error before the call returns.

use std::ffi::{CString, c_char};
use std::fmt;
use std::io::{self, Write};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::codes::ReturnCode;
use crate::edge::Fault;
use crate::settings;
use crate::types::{mx_error_handler_t, mx_return_t};

/// The default: prints the error and ends the program (`MX_ERRORS_ARE_FATAL=0` in the environment: it returns the code).
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "C's name")]
pub static MX_ERRORS_ARE_FATAL: mx_error_handler_t = Some(errors_are_fatal);

/// Returns the code, and nothing else.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "C's name")]
pub static MX_ERRORS_RETURN: mx_error_handler_t = Some(errors_return);

/// The handler of endpoints that have none of their own.
static HANDLER: RwLock<mx_error_handler_t> = RwLock::new(Some(errors_are_fatal));

unsafe extern "C" fn errors_are_fatal(text: *mut c_char, code: mx_return_t) -> mx_return_t {
    // SAFETY: whoever calls an error handler gives it a text that ends with 0.
    let text = unsafe { std::ffi::CStr::from_ptr(text) };
    say(format_args!("{}", text.to_string_lossy()));
    if settings::errors_are_fatal() {
        end_program();
    }
    code
}

/// Ends the program with what it has registered by `atexit`. An error that this makes in turn ends it at once: nothing may ask for that twice.
fn end_program() -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if ENDING.swap(true, Ordering::Relaxed) {
        // SAFETY: it ends the program, and runs nothing of it.
        unsafe { libc::_exit(1) };
    }
    std::process::exit(1)
}

/// Says something on standard error. That nobody hears it is no fault of the call, as `eprintln!` would have it.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

unsafe extern "C" fn errors_return(_: *mut c_char, code: mx_return_t) -> mx_return_t {
    code
}

/// Sets the error handler and gives the one before. Null sets the default again. May be called at any time.
#[unsafe(no_mangle)]
pub extern "C" fn mx_set_error_handler(handler: mx_error_handler_t) -> mx_error_handler_t {
    let mut held = HANDLER
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    std::mem::replace(&mut *held, handler.or(Some(errors_are_fatal)))
}

/// Hands an error to the handler it is for. Returns what the call is to return.
#[cold]
pub(crate) fn report(call: &str, fault: &Fault, own: mx_error_handler_t) -> mx_return_t {
    let code = fault.code as mx_return_t;
    let global = *HANDLER
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(handler) = own.or(global) else {
        return code;
    };
    let meaning =
        ReturnCode::text(code).map_or_else(String::new, |text| text.to_string_lossy().into_owned());
    let more = fault
        .why
        .as_ref()
        .map_or(String::new(), |why| format!(": {why}"));
    let text = CString::new(format!("MX: {call}: {meaning}{more}"));
    let text = text.unwrap_or_else(|_| c"MX: error".to_owned());
    // The handler's type lets it write there: the text is its own.
    let text = text.into_raw();
    // SAFETY: the program gave a function of this type, and the text ends with 0.
    let result = unsafe { handler(text, code) };
    // SAFETY: it came from `into_raw` above, and handlers do not keep it.
    drop(unsafe { CString::from_raw(text) });
    result
}
