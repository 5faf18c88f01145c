//! Where C comes in: nothing that goes wrong below crosses this line but as a return code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::codes::ReturnCode;
use crate::endpoint::{self, Ep};
use crate::errors::report;
use crate::library::Library;
use crate::table::{self, Call, InUse};
use crate::types::{mx_endpoint_addr_t, mx_endpoint_t, mx_return_t};

/// An error on its way to the handler. In a box, so that all that is handed about where there is none fits into a register.
#[derive(Debug)]
pub(crate) struct Fault(Box<Reason>);

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Reason {
    pub(crate) code: ReturnCode,
    /// More than the code says.
    pub(crate) why: Option<String>,
}

impl std::ops::Deref for Fault {
    type Target = Reason;
    fn deref(&self) -> &Reason {
        &self.0
    }
}

impl From<ReturnCode> for Fault {
    #[cold]
    fn from(code: ReturnCode) -> Self {
        Self(Box::new(Reason { code, why: None }))
    }
}

impl Fault {
    #[cold]
    pub(crate) fn new(code: ReturnCode, why: impl std::fmt::Display) -> Self {
        let why = Some(why.to_string());
        Self(Box::new(Reason { code, why }))
    }
}

/// What the body of a call says.
pub(crate) type Answer = Result<(), Fault>;

/// Runs the body of a call.
pub(crate) fn call(name: &str, body: impl FnOnce() -> Answer) -> mx_return_t {
    match guarded(body) {
        Ok(()) => ReturnCode::Success as mx_return_t,
        Err(fault) => report(name, &fault, None),
    }
}

/// Runs the body of a call that needs the library.
pub(crate) fn with_library(name: &str, body: impl FnOnce(&Arc<Library>) -> Answer) -> mx_return_t {
    call(name, || body(&Library::get()?))
}

/// Runs the body of a call on an endpoint, whose own error handler hears of errors.
#[inline]
pub(crate) fn with_endpoint(
    name: &str,
    handle: mx_endpoint_t,
    body: impl FnOnce(&Ep) -> Answer,
) -> mx_return_t {
    with_found(name, endpoint::find(handle), body)
}

/// Runs the body of a short call, if this thread uses the endpoint as a rule. `None`: nothing has come of it, and the call goes the usual way, which finds out
/// why.
#[inline(always)]
pub(crate) fn shortcut(
    name: &str,
    handle: mx_endpoint_t,
    body: impl FnOnce(Call) -> Option<()>,
) -> Option<mx_return_t> {
    done_or_reported(name, handle, || Call::of(handle).and_then(body))
}

/// What a short call that does that returns.
#[inline(always)]
fn done_or_reported(
    name: &str,
    handle: mx_endpoint_t,
    body: impl FnOnce() -> Option<()>,
) -> Option<mx_return_t> {
    match guarded(|| Ok(body())) {
        Ok(done) => done.map(|()| ReturnCode::Success as mx_return_t),
        // A bug: much may have come of it, and is not done again.
        Err(fault) => Some(report_by_handle(name, &fault, handle)),
    }
}

/// As [`report_of`], for whoever holds no endpoint.
#[cold]
#[inline(never)]
fn report_by_handle(name: &str, fault: &Fault, handle: mx_endpoint_t) -> mx_return_t {
    match endpoint::find(handle) {
        Some(ep) => report_of(name, fault, ep),
        None => report(name, fault, None),
    }
}

/// The same, by an address that was obtained from the endpoint.
pub(crate) fn with_knower(
    name: &str,
    addr: mx_endpoint_addr_t,
    body: impl FnOnce(&Ep) -> Answer,
) -> mx_return_t {
    let place = addr.place().ok();
    with_found(name, place.and_then(|place| table::at(place.into())), body)
}

#[inline(always)]
fn with_found(name: &str, found: Option<InUse>, body: impl FnOnce(&Ep) -> Answer) -> mx_return_t {
    let Some(ep) = found else {
        return without_endpoint(name);
    };
    match guarded(|| body(&ep)) {
        Ok(()) => ReturnCode::Success as mx_return_t,
        Err(fault) => report_of(name, &fault, ep),
    }
}

/// Reports an error of a call on an endpoint, which is not in use any more when the handler hears of it: that may close it.
#[cold]
#[inline(never)]
fn report_of(name: &str, fault: &Fault, ep: InUse) -> mx_return_t {
    let own = ep.error_handler;
    drop(ep);
    report(name, fault, own)
}

#[cold]
fn without_endpoint(name: &str) -> mx_return_t {
    call(name, || {
        Library::get()?;
        Err(ReturnCode::BadEndpoint.into())
    })
}

#[inline]
fn guarded<T>(body: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    // What a panic may have left half done is behind locks that are taken again all the same (see `Shared::lock`).
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let why = "a bug in MyriXen; what it says above helps to find it";
        Err(Fault::new(ReturnCode::Failure, why))
    })
}

/// Stores a result where the program wants it; null says that it does not.
///
/// # Safety
/// `to` is null or points to a place for a `T`.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(value) };
    }
}

/// The place for a result that a call is useless without.
pub(crate) fn needed<T>(to: *mut T) -> Result<*mut T, Fault> {
    match to.is_null() {
        true => Err(Fault::new(
            ReturnCode::BadParamVal,
            "no place for the result",
        )),
        false => Ok(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{MX_ERRORS_RETURN, mx_set_error_handler};

    #[test]
    fn a_panic_below_is_a_return_code_and_the_next_call_is_as_ever() {
        mx_set_error_handler(MX_ERRORS_RETURN);
        // Through the frames that C would see, and with what a body holds while it is unwound.
        let held = Arc::new(());
        let body = {
            let held = held.clone();
            move || -> Answer {
                let _held = held;
                panic!("on purpose, by a test")
            }
        };
        assert_eq!(call("mx_test", body), ReturnCode::Failure as mx_return_t);
        assert_eq!(Arc::strong_count(&held), 1, "what it held is let go");
        assert_eq!(
            call("mx_test", || Ok(())),
            ReturnCode::Success as mx_return_t
        );
        let after = call("mx_test", || Err(ReturnCode::BadRequest.into()));
        assert_eq!(after, ReturnCode::BadRequest as mx_return_t);
        // A short call does not go the usual way then: what it has done would be done twice.
        let short = |body: fn() -> Option<()>| done_or_reported("mx_test", 0, body);
        let failed = short(|| panic!("on purpose, by a test"));
        assert_eq!(failed, Some(ReturnCode::Failure as mx_return_t));
        assert_eq!(short(|| None), None);
        assert_eq!(short(|| Some(())), Some(ReturnCode::Success as mx_return_t));
    }
}
