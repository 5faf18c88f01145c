//! Symbols that are not of the interface, and that some programs use all the same.

use std::ffi::{c_int, c_void};

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
        let filled = mx_mapper_state_t {
            board_number: number,
            mapper_mac: mapper_of(&board.board().partition),
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

/// What stands for the mapper of a partition's network. Hosts compare it, whatever they were built with.
fn mapper_of(partition: &str) -> [u8; 6] {
    let [.., a, b, c, d, e] = fnv_1a(partition.as_bytes()).to_be_bytes();
    // Locally administered, as addresses are that nobody has bought.
    [0x02, a, b, c, d, e]
}

/// The hash function FNV-1a, of 64 bits.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Nothing is cached of the program's memory: there is nothing to be cleaned.
#[unsafe(no_mangle)]
pub extern "C" fn mx__regcache_clean(_at: *mut c_void, _length: usize) -> c_int {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of FNV-1a that its authors give; the mapper's address must never change.
    #[test]
    fn a_partition_has_the_same_mapper_everywhere() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fnv_1a(text.as_bytes()), hash, "{text}");
        }
        assert_eq!(mapper_of("foobar"), [0x02, 0x71, 0xf7, 0x39, 0x67, 0xe8]);
        assert_ne!(mapper_of("red"), mapper_of("blue"));
    }
}
