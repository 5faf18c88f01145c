//! `mx_get_info`.

use std::ffi::c_void;

use crate::codes::ReturnCode;
use crate::counters::{labels, values};
use crate::edge::{Answer, Fault, with_endpoint, with_library};
use crate::library::Library;
use crate::types::{MAX_STR_LEN, mx_endpoint_t, mx_return_t};

/// Sends up to this length are copied where they are posted.
const PIO_SEND_MAX: u32 = 128;
/// Sends up to this length are complete without their receiver: copied, where that has not answered soon.
const COPY_SEND_MAX: u32 = 32_768;
/// Requests that can be pending: bounded by memory only.
const NATIVE_REQUESTS: u32 = 1 << 20;
/// `MX_NET_ETHER`.
const NET_ETHER: u32 = 1;
/// `MX_SPEED_10G`: the highest that MX knows.
const SPEED_10G: u32 = 1;

/// `MX_MYRIXEN_ENDPOINTS`, which is not MX's: the open endpoints of a board, each with the process that has it.
const ENDPOINTS: u32 = 0x4d59_0001;
/// Numbers of endpoints have a byte.
const MOST_ENDPOINTS: usize = 256;

/// Tells what `key` names. `input` points to a board's number where one is needed. Texts and counters need room for all of it, numbers 4 bytes, addresses 8
/// for each board and 8 more for the zero at their end.
///
/// # Safety
/// `input` is null or points to `input_length` bytes, `output` is null or points to `output_length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mx_get_info(
    ep: mx_endpoint_t,
    key: u32,
    input: *mut c_void,
    input_length: u32,
    output: *mut c_void,
    output_length: u32,
) -> mx_return_t {
    let body = |library: &Library, default: Option<u32>| {
        // SAFETY: the caller's promise.
        let board = unsafe { board(input, input_length) }?;
        let told = tell(library, key, board.or(default))?;
        if output.is_null() {
            return Err(ReturnCode::BadInfoVal.into());
        }
        // SAFETY: the caller's promise.
        unsafe { give(&told, output, output_length) }
    };
    match ep {
        0 => with_library("mx_get_info", |library| body(library, None)),
        ep => with_endpoint("mx_get_info", ep, |ep| body(&ep.library, Some(ep.board))),
    }
}

/// The board that the program names.
///
/// # Safety
/// `input` is null or points to `length` bytes.
unsafe fn board(input: *const c_void, length: u32) -> Result<Option<u32>, Fault> {
    if input.is_null() {
        return Ok(None);
    }
    if (length as usize) < size_of::<u32>() {
        return Err(ReturnCode::BadInfoLength.into());
    }
    // SAFETY: the caller's promise; programs may have it anywhere.
    Ok(Some(unsafe { input.cast::<u32>().read_unaligned() }))
}

/// What is to be given.
#[derive(Debug)]
enum Told {
    /// One text, in a field that may be longer than the program's.
    Text(Vec<u8>),
    /// All of it or nothing.
    Bytes(Vec<u8>),
}

fn tell(library: &Library, key: u32, board: Option<u32>) -> Result<Told, Fault> {
    let number = |value: u32| Ok(Told::Bytes(value.to_ne_bytes().to_vec()));
    let boards = &library.boards;
    let named = || {
        let board = board.ok_or_else(|| Fault::new(ReturnCode::BadInfoVal, "no board is named"))?;
        library.board(board)?;
        Ok::<u32, Fault>(board)
    };
    match key {
        1 => number(u32::try_from(boards.len()).unwrap_or(u32::MAX)),
        2 => {
            let ids = boards.iter().map(|board| board.board().nic.to_u64());
            let bytes = ids.chain([0]).flat_map(u64::to_ne_bytes);
            Ok(Told::Bytes(bytes.collect()))
        }
        3 => {
            let most = library.board(board.unwrap_or(0))?.board().max_endpoints;
            number(most.into())
        }
        4 => number(NATIVE_REQUESTS),
        5 => {
            named()?;
            number(u32::try_from(labels().count()).unwrap_or(u32::MAX))
        }
        6 => {
            named()?;
            Ok(Told::Bytes(labels().flat_map(field).collect()))
        }
        7 => {
            let board = named()?;
            let values = values(board, library.board(board)?);
            let bytes = values.into_iter().flat_map(u32::to_ne_bytes);
            Ok(Told::Bytes(bytes.collect()))
        }
        8 => named().map(|_| Told::Text(field("MyriXen"))),
        9 => named().map(|_| Told::Text(field(env!("CARGO_PKG_VERSION")))),
        10 => {
            let board = library.board(named()?)?.board();
            Ok(Told::Text(field(&board.nic.to_string())))
        }
        11 => named().and_then(|_| number(1)),
        12 => number(PIO_SEND_MAX),
        13 => number(COPY_SEND_MAX),
        14 => named().and_then(|_| number(0)),
        15 => named().and_then(|_| number(NET_ETHER)),
        16 => named().and_then(|_| number(SPEED_10G)),
        ENDPOINTS => {
            let ports = library.board(named()?)?.ports().unwrap_or_default();
            let mut pairs: Vec<[u32; 2]> =
                ports.iter().map(|p| [p.endpoint.into(), p.pid]).collect();
            // There are no more, and an endpoint's number is less than what ends them.
            pairs.truncate(MOST_ENDPOINTS);
            pairs.resize(MOST_ENDPOINTS + 1, [u32::MAX; 2]);
            let bytes = pairs.concat().into_iter().flat_map(u32::to_ne_bytes);
            Ok(Told::Bytes(bytes.collect()))
        }
        other => Err(Fault::new(ReturnCode::BadInfoKey, other)),
    }
}

/// A text in a field of its own.
fn field(text: &str) -> Vec<u8> {
    let mut field = text.as_bytes().to_vec();
    field.resize(MAX_STR_LEN, 0);
    field
}

/// Hands it to the program.
///
/// # Safety
/// `output` points to `length` bytes.
unsafe fn give(told: &Told, output: *mut c_void, length: u32) -> Answer {
    let room = length as usize;
    let (bytes, least) = match told {
        // As much as fits, with the text's end: programs have shorter fields than ours.
        Told::Text(bytes) => {
            let last = bytes.iter().rposition(|&byte| byte != 0);
            (bytes, last.map_or(1, |last| last + 2).min(bytes.len()))
        }
        Told::Bytes(bytes) => (bytes, bytes.len()),
    };
    if room < least {
        let why = format!("{least} bytes are needed, there are {room}");
        return Err(Fault::new(ReturnCode::BadInfoLength, why));
    }
    let given = bytes.len().min(room);
    // SAFETY: that many bytes fit, and are ours.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), output.cast(), given) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `told` in a field of `room` bytes, or the return code.
    fn given(told: &Told, room: usize) -> Result<Vec<u8>, ReturnCode> {
        let mut field = vec![0xee; room];
        let length = u32::try_from(room).expect("a small field");
        // SAFETY: the field is as long as is said.
        let given = unsafe { give(told, field.as_mut_ptr().cast(), length) };
        given.map(|()| field).map_err(|fault| fault.code)
    }

    #[test]
    fn a_text_is_cut_after_its_end_and_all_else_is_not() {
        let text = Told::Text(field("abc"));
        assert_eq!(given(&text, 4).as_deref(), Ok(&b"abc\0"[..]));
        assert_eq!(given(&text, 3), Err(ReturnCode::BadInfoLength));
        assert_eq!(
            given(&text, 200).map(|field| field[127..130].to_vec()),
            Ok(vec![0, 0xee, 0xee])
        );
        assert_eq!(given(&Told::Text(field("")), 1), Ok(vec![0]));
        // Fifteen addresses and the zero at their end are as long as a field of text.
        let ids: Vec<u8> = (1..16).chain([0]).flat_map(u64::to_ne_bytes).collect();
        assert_eq!(ids.len(), MAX_STR_LEN);
        let ids = Told::Bytes(ids);
        assert_eq!(given(&ids, 15 * 8), Err(ReturnCode::BadInfoLength));
        assert_eq!(
            given(&ids, 128).map(|ids| ids[120..].to_vec()),
            Ok(vec![0; 8])
        );
    }
}
