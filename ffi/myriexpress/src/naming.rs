//! Names, numbers and addresses of boards.

use std::ffi::{CStr, c_char};

use myrixen::{Error, NicAddr};

use crate::codes::ReturnCode;
use crate::edge::{Fault, needed, with_library};
use crate::types::{MAX_HOSTNAME_LEN, mx_return_t};

/// The address of the board called `HOST:BOARD`; without `:BOARD` the first one of that host is meant.
///
/// # Safety
/// `hostname` is null or a text that ends with 0; `nic_id` is null or points to a place for an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_hostname_to_nic_id(
    hostname: *mut c_char,
    nic_id: *mut u64,
) -> mx_return_t {
    with_library("mx_hostname_to_nic_id", |library| {
        let to = needed(nic_id)?;
        if hostname.is_null() {
            return Err(ReturnCode::BadHostnameArgs.into());
        }
        // SAFETY: the caller's promise.
        let name = unsafe { CStr::from_ptr(hostname) };
        let name = name.to_str().ok().filter(|name| !name.is_empty());
        let name = name.ok_or(ReturnCode::BadHostnameArgs)?;
        let mut away = None;
        for board in &library.boards {
            match board.lookup(name) {
                Ok(nic) => {
                    // SAFETY: the caller's promise, and it is not null.
                    unsafe { to.write(nic.to_u64()) };
                    return Ok(());
                }
                Err(Error::UnknownName(_)) => {}
                Err(error) => away = Some(error),
            }
        }
        Err(match away {
            Some(error) => Fault::new(ReturnCode::NicDead, error),
            None => Fault::new(ReturnCode::HostNotFound, name),
        })
    })
}

/// The name of the board with this address, `HOST:BOARD`.
///
/// # Safety
/// `hostname` is null or points to 80 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_nic_id_to_hostname(nic_id: u64, hostname: *mut c_char) -> mx_return_t {
    with_library("mx_nic_id_to_hostname", |library| {
        let to = needed(hostname)?;
        let nic = address(nic_id)?;
        let own = library.boards.iter().map(|board| board.board());
        let own = own
            .into_iter()
            .find(|own| own.nic == nic)
            .map(|own| own.name);
        let name = match own {
            Some(name) => Some(name),
            None => library.boards.iter().find_map(|board| {
                let found = board.find(nic).ok().flatten();
                found.and_then(|board| board.name)
            }),
        };
        let name = name.ok_or_else(|| Fault::new(ReturnCode::NicNotFound, nic))?;
        // SAFETY: the caller's promise, and it is not null.
        unsafe { write_text(&name, to, MAX_HOSTNAME_LEN) };
        Ok(())
    })
}

/// Writes a text and its end, as far as there is room.
///
/// # Safety
/// `to` points to `room` bytes, at least one.
pub(crate) unsafe fn write_text(text: &str, to: *mut c_char, room: usize) {
    let len = text.len().min(room.saturating_sub(1));
    // SAFETY: `len` bytes fit, with one to spare; two allocations do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), to, len) };
    // SAFETY: it is the byte to spare.
    unsafe { to.wrapping_add(len).write(0) };
}

fn address(nic_id: u64) -> Result<NicAddr, Fault> {
    match nic_id >> 48 {
        0 => Ok(NicAddr::from_u64(nic_id)),
        _ => Err(Fault::new(ReturnCode::NicNotFound, format!("{nic_id:#x}"))),
    }
}

/// The address of a board of this guest.
///
/// # Safety
/// `nic_id` is null or points to a place for an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_board_number_to_nic_id(board: u32, nic_id: *mut u64) -> mx_return_t {
    with_library("mx_board_number_to_nic_id", |library| {
        let nic = library.board(board)?.board().nic;
        // SAFETY: the caller's promise, and it is not null.
        unsafe { needed(nic_id)?.write(nic.to_u64()) };
        Ok(())
    })
}

/// The number of a board of this guest, by its address.
///
/// # Safety
/// `board` is null or points to a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_nic_id_to_board_number(nic_id: u64, board: *mut u32) -> mx_return_t {
    with_library("mx_nic_id_to_board_number", |library| {
        let to = needed(board)?;
        let nic = address(nic_id)?;
        let number = library.number_of(nic);
        let number = number.ok_or_else(|| Fault::new(ReturnCode::NicNotFound, nic))?;
        // SAFETY: the caller's promise, and it is not null.
        unsafe { to.write(number) };
        Ok(())
    })
}
