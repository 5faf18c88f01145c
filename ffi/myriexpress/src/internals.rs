//! Symbols that are not of the interface, and that some programs use all the same.

use std::ffi::{c_int, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::codes::ReturnCode;
use crate::edge::{needed, with_library};
use crate::types::{mx_endpt_handle_t, mx_mapper_state_t, mx_return_t};

/// Opens a board to ask for its mapper's state.
///
/// # Safety
/// `handle` is null or points to a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_open_board(
    board: c_int,
    handle: *mut mx_endpt_handle_t,
) -> mx_return_t {
    with_library("mx_open_board", |library| {
        let number = u32::try_from(board).map_err(|_| ReturnCode::BoardUnknown)?;
        library.board(number)?;
        // SAFETY: the caller's promise, and it is not null. The board's number is all there is to a handle: nothing has to be closed.
        unsafe { needed(handle)?.write(board) };
        Ok(())
    })
}

/// The state of a board's network. `mapper_mac` is the same on all boards of a partition: programs tell networks apart by it.
///
/// # Safety
/// `state` is null or points to a state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx__get_mapper_state(
    handle: mx_endpt_handle_t,
    state: *mut mx_mapper_state_t,
) -> mx_return_t {
    with_library("mx__get_mapper_state", |library| {
        let to = needed(state)?;
        let number = u32::try_from(handle).map_err(|_| ReturnCode::BadParamVal)?;
        let board = library.board(number)?;
        let known = board.boards().map_or(1, |boards| boards.len());
        let mut hash = DefaultHasher::new();
        board.board().partition.hash(&mut hash);
        let [a, b, c, d, e, ..] = hash.finish().to_be_bytes();
        let filled = mx_mapper_state_t {
            board_number: number,
            // Locally administered, as addresses are that nobody has bought.
            mapper_mac: [0x02, a, b, c, d, e],
            map_version: 1,
            num_hosts: u32::try_from(known).unwrap_or(u32::MAX),
            network_configured: 1,
            routes_valid: 1,
            ..mx_mapper_state_t::default()
        };
        // SAFETY: the caller's promise, and it is not null.
        unsafe { to.write(filled) };
        Ok(())
    })
}

/// Nothing is cached of the program's memory: there is nothing to be cleaned.
#[unsafe(no_mangle)]
pub extern "C" fn mx__regcache_clean(_at: *mut c_void, _length: usize) -> c_int {
    0
}
