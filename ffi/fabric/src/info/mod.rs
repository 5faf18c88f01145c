//! `fi_getinfo`: what there is, if it is what the application asks for.
//!
//! Applications say what they need as *hints*; zero says that they do not care. What is returned repeats their wishes where those are a choice
//! (threading, progress, sizes), since some insist on getting just what they asked for. docs/libfabric.md has the rules.

mod build;
mod hints;
pub(crate) mod limits;

use std::ffi::{CStr, c_char, c_int};

use crate::abi::{Info, flag};
use crate::boards::{self, Board};
use crate::edge::{Answer, call, maybe, text};
use crate::errno::Errno;
use crate::name::Name;

use hints::Hints;

/// `getinfo` of the provider.
///
/// # Safety
/// As `fi_getinfo`: texts and hints are null or whole, `info` points to a place for a pointer.
pub(crate) unsafe extern "C" fn getinfo(
    version: u32,
    node: *const c_char,
    service: *const c_char,
    flags: u64,
    hints: *const Info,
    info: *mut *mut Info,
) -> c_int {
    call(|| {
        if info.is_null() {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's promise.
        let node = unsafe { text(node) };
        // SAFETY: the caller's promise.
        let service = unsafe { text(service) };
        // SAFETY: the caller's promise.
        let hints = unsafe { maybe(hints) };
        // SAFETY: the hints are whole, so what they point to is.
        let hints = unsafe { Hints::read(version, hints) }?;
        hints.check()?;
        let place = Place {
            node,
            service,
            local: flags & flag::SOURCE != 0,
        };
        let first = list(&hints, &place)?;
        // SAFETY: it is not null, and the caller's promise.
        unsafe { info.write(first) };
        Ok(())
    })
}

/// What the application says of where.
struct Place<'a> {
    node: Option<&'a CStr>,
    service: Option<&'a CStr>,
    /// Of our side; else of the peer's.
    local: bool,
}

/// One entry for each board that fits.
fn list(hints: &Hints<'_>, place: &Place<'_>) -> Answer<*mut Info> {
    let mut first = std::ptr::null_mut();
    for board in boards::all().iter().rev() {
        if hints.fits(board) && (!place.local || is_here(board, place.node)) {
            let peer = peer(board, place)?;
            first = build::entry(hints, board, peer, first)?;
        }
    }
    if first.is_null() {
        return Err(Errno::NODATA);
    }
    Ok(first)
}

/// Whether this names one of our boards. A service says nothing: endpoints get numbers of their own.
fn is_here(board: &Board, node: Option<&CStr>) -> bool {
    let Some(node) = node else { return true };
    let name = node.to_bytes();
    let own = board.own.name.as_bytes();
    name == own || own.strip_suffix(b":0") == Some(name) || name == b"localhost"
}

/// The peer that the application names: its board, the number of its endpoint, and the key, which it must have been opened with.
fn peer(board: &Board, place: &Place<'_>) -> Answer<Option<Name>> {
    let (Some(node), false) = (place.node, place.local) else {
        return Ok(None);
    };
    let node = node.to_str().map_err(|_| Errno::NODATA)?;
    let service = place.service.and_then(|text| text.to_str().ok());
    Name::resolve(&board.fabric, node, service).map(Some)
}
