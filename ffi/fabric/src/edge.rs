//! Where C comes in: handles become references, and nothing that goes wrong below crosses this line but as an error number.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::errno::Errno;
use crate::host::{self, Level};

/// What the body of a call says.
pub(crate) type Answer<T = ()> = Result<T, Errno>;

/// Runs the body of a call that gives a number or an error.
#[inline]
pub(crate) fn size(body: impl FnOnce() -> Answer<isize>) -> isize {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(errno)) => -(errno.get() as isize),
        Err(_) => -(bug().get() as isize),
    }
}

/// Runs the body of a call that gives nothing but whether it went well.
#[inline]
pub(crate) fn done(body: impl FnOnce() -> Answer) -> isize {
    size(|| body().map(|()| 0))
}

/// Runs the body of a call that gives a number or an error.
pub(crate) fn int(body: impl FnOnce() -> Answer<c_int>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(errno)) => -errno.get(),
        Err(_) => -bug().get(),
    }
}

/// Runs the body of a call that gives nothing but whether it went well.
pub(crate) fn call(body: impl FnOnce() -> Answer) -> c_int {
    int(|| body().map(|()| 0))
}

/// Runs the body of a call that cannot say that something went wrong.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        bug();
        otherwise
    })
}

fn bug() -> Errno {
    // What a panic may have left half done is behind locks that are taken again all the same.
    host::log(
        Level::Warn,
        "a bug in MyriXen; what it says above helps to find it",
    );
    Errno::OTHER
}

/// An object whose first member is what libfabric knows of it.
///
/// # Safety
/// The type is `repr(C)`, and begins with a `Fid`.
pub(crate) unsafe trait Object: Sized {}

/// The object behind a handle.
///
/// # Safety
/// `handle` is null, or one that [`hand_out`] gave for a `T` and that was not closed.
#[inline]
pub(crate) unsafe fn object<'a, T: Object, H>(handle: *mut H) -> Answer<&'a T> {
    // SAFETY: the caller's promise; it lives until it is closed.
    unsafe { handle.cast::<T>().as_ref() }.ok_or(Errno::INVAL)
}

/// Another hold on the object behind a handle.
///
/// # Safety
/// As for [`object`].
pub(crate) unsafe fn hold<T: Object, H>(handle: *mut H) -> Answer<Arc<T>> {
    if handle.is_null() {
        return Err(Errno::INVAL);
    }
    let handle = handle.cast::<T>().cast_const();
    // SAFETY: the handle is an `Arc`'s that was handed out and not closed.
    unsafe { Arc::increment_strong_count(handle) };
    // SAFETY: the count that it takes over was just added.
    Ok(unsafe { Arc::from_raw(handle) })
}

/// Gives an object to the application, until it closes it.
///
/// # Safety
/// `to` is null or points to a place for a handle.
pub(crate) unsafe fn hand_out<T: Object, H>(object: Arc<T>, to: *mut *mut H) -> Answer {
    if to.is_null() {
        return Err(Errno::INVAL);
    }
    let handle = Arc::into_raw(object).cast_mut().cast::<H>();
    // SAFETY: the caller's promise.
    unsafe { to.write(handle) };
    Ok(())
}

/// Takes an object back from the application, unless others still need it.
///
/// # Safety
/// As for [`object`]; if this succeeds, the handle is dead.
pub(crate) unsafe fn take_back<T: Object, H>(handle: *mut H) -> Answer<T> {
    if handle.is_null() {
        return Err(Errno::INVAL);
    }
    // SAFETY: the handle is an `Arc`'s that was handed out and not closed.
    let object = unsafe { Arc::from_raw(handle.cast::<T>().cast_const()) };
    Arc::try_unwrap(object).map_err(|object| {
        // It stays the application's.
        let _ = Arc::into_raw(object);
        Errno::BUSY
    })
}

/// Reads a structure of the application's that may be left out.
///
/// # Safety
/// `at` is null or points to a `T` that stays as it is for the length of the call.
pub(crate) unsafe fn maybe<'a, T>(at: *const T) -> Option<&'a T> {
    // SAFETY: the caller's promise.
    unsafe { at.as_ref() }
}

/// Reads a structure of the application's.
///
/// # Safety
/// As for [`maybe`].
pub(crate) unsafe fn needed<'a, T>(at: *const T) -> Answer<&'a T> {
    // SAFETY: the caller's promise.
    unsafe { maybe(at) }.ok_or(Errno::INVAL)
}

/// A list of the application's.
///
/// # Safety
/// `at` points to `count` of them, which stay as they are for the length of the call, or `count` is 0.
pub(crate) unsafe fn list<'a, T>(at: *const T, count: usize) -> Answer<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if at.is_null() {
        return Err(Errno::INVAL);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(at, count) })
}

/// Stores a result where the application wants it; null says that it does not.
///
/// # Safety
/// `to` is null or points to a place for a `T`.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(value) };
    }
}

/// A text of the application's; `None` for null.
///
/// # Safety
/// `at` is null or points to a text that ends with a 0 and stays as it is for the length of the call.
pub(crate) unsafe fn text<'a>(at: *const std::ffi::c_char) -> Option<&'a std::ffi::CStr> {
    // SAFETY: the caller's promise.
    (!at.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(at) })
}
