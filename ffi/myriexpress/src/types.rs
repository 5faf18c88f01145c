//! The types of the C interface, laid out as MX's clients were compiled for. `include/myriexpress.h` says the same to C.
#![allow(non_camel_case_types, reason = "they are C's names")]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::mem::{align_of, offset_of, size_of};

/// What nearly every call returns: a [`ReturnCode`](crate::ReturnCode), or what the program's error handler made of it.
pub type mx_return_t = c_uint;
/// An endpoint; 0 is none.
pub type mx_endpoint_t = usize;
/// A request of one endpoint; 0 is none.
pub type mx_request_t = usize;
/// Called with each error: a text and its code. The result is what the call returns.
pub type mx_error_handler_t =
    Option<unsafe extern "C" fn(text: *mut c_char, code: mx_return_t) -> mx_return_t>;
/// Called for each message that no receive waits for; returns [`RECV_CONTINUE`] or [`RECV_FINISHED`].
pub type mx_unexp_handler_t = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        source: mx_endpoint_addr_t,
        match_info: u64,
        length: u32,
        data: *mut c_void,
    ) -> c_uint,
>;
/// The older kind, which is only told.
pub type mx_matching_callback_t =
    Option<unsafe extern "C" fn(context: *mut c_void, match_info: u64, length: c_int)>;
/// A board opened for its mapper's state; -1 is none.
pub type mx_endpt_handle_t = c_int;

/// A handler's answer: match again.
pub const RECV_CONTINUE: c_uint = 0;
/// A handler's answer: the message has been dealt with.
pub const RECV_FINISHED: c_uint = 1;
/// The first board, or any free endpoint number.
pub const ANY: u32 = 0xffff_ffff;
/// The most segments of a message.
pub const MAX_SEGMENTS: u32 = 256;
/// Bytes of a host name, its end included.
pub const MAX_HOSTNAME_LEN: usize = 80;
/// Bytes of other texts, their ends included.
pub const MAX_STR_LEN: usize = 128;

/// A remote endpoint, as one endpoint of this process knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct mx_endpoint_addr_t {
    /// Opaque to programs.
    pub stuff: [u64; 2],
}

/// A piece of a message's memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mx_segment_t {
    /// Its first byte; may be null if it has none.
    pub segment_ptr: *mut c_void,
    /// Its length in bytes.
    pub segment_length: u32,
}

/// How a request ended.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mx_status_t {
    /// A [`StatusCode`](crate::StatusCode).
    pub code: c_uint,
    /// Who sent, or was sent or connected to.
    pub source: mx_endpoint_addr_t,
    /// The message's match information.
    pub match_info: u64,
    /// Bytes that were sent.
    pub msg_length: u32,
    /// Bytes that were transferred.
    pub xfer_length: u32,
    /// The program's own.
    pub context: *mut c_void,
}

/// A setting of a new endpoint.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mx_param_t {
    /// Which: 0 the error handler, 1 bytes of unexpected messages, 2 the context id.
    pub key: c_uint,
    /// Its value.
    pub val: mx_param_value_t,
}

/// The value of a setting.
#[repr(C)]
#[derive(Clone, Copy)]
pub union mx_param_value_t {
    /// Key 0.
    pub error_handler: mx_error_handler_t,
    /// Key 1: bytes.
    pub unexp_queue_max: u32,
    /// Key 2: which bits of the match information are the context.
    pub context_id: mx_context_id_t,
}

/// A field of the match information.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mx_context_id_t {
    /// Its width: 1 to 16 bits.
    pub bits: u8,
    /// Its lowest bit.
    pub shift: u8,
}

/// What a network mapper would know; here what tells networks apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct mx_mapper_state_t {
    /// Given by the caller.
    pub board_number: u32,
    /// Tells networks apart.
    pub mapper_mac: [u8; 6],
    /// Always 0.
    pub iport: u16,
    /// Always 1.
    pub map_version: u32,
    /// Boards that are known.
    pub num_hosts: u32,
    /// Always 1.
    pub network_configured: u32,
    /// Always 1.
    pub routes_valid: u32,
    /// Always 0.
    pub level: u32,
    /// Always 0.
    pub flags: u32,
}

const _: () = {
    assert!(size_of::<mx_endpoint_t>() == 8 && size_of::<mx_request_t>() == 8);
    assert!(size_of::<mx_error_handler_t>() == 8 && size_of::<mx_unexp_handler_t>() == 8);
    assert!(size_of::<mx_matching_callback_t>() == 8 && size_of::<mx_endpt_handle_t>() == 4);
    assert!(size_of::<mx_endpoint_addr_t>() == 16 && align_of::<mx_endpoint_addr_t>() == 8);
    assert!(size_of::<mx_segment_t>() == 16 && align_of::<mx_segment_t>() == 8);
    assert!(offset_of!(mx_segment_t, segment_ptr) == 0);
    assert!(offset_of!(mx_segment_t, segment_length) == 8);
    assert!(size_of::<mx_return_t>() == 4);
    assert!(size_of::<mx_param_t>() == 16 && align_of::<mx_param_t>() == 8);
    assert!(offset_of!(mx_param_t, key) == 0 && offset_of!(mx_param_t, val) == 8);
    assert!(size_of::<mx_context_id_t>() == 2 && offset_of!(mx_context_id_t, bits) == 0);
    assert!(offset_of!(mx_context_id_t, shift) == 1);
    assert!(size_of::<mx_status_t>() == 48 && align_of::<mx_status_t>() == 8);
    assert!(offset_of!(mx_status_t, code) == 0);
    assert!(offset_of!(mx_status_t, source) == 8 && offset_of!(mx_status_t, match_info) == 24);
    assert!(offset_of!(mx_status_t, msg_length) == 32);
    assert!(offset_of!(mx_status_t, xfer_length) == 36 && offset_of!(mx_status_t, context) == 40);
    assert!(size_of::<mx_mapper_state_t>() == 36 && align_of::<mx_mapper_state_t>() == 4);
    assert!(offset_of!(mx_mapper_state_t, board_number) == 0);
    assert!(offset_of!(mx_mapper_state_t, mapper_mac) == 4);
    assert!(offset_of!(mx_mapper_state_t, iport) == 10);
    assert!(offset_of!(mx_mapper_state_t, map_version) == 12);
    assert!(offset_of!(mx_mapper_state_t, num_hosts) == 16);
    assert!(offset_of!(mx_mapper_state_t, network_configured) == 20);
    assert!(offset_of!(mx_mapper_state_t, routes_valid) == 24);
    assert!(offset_of!(mx_mapper_state_t, level) == 28);
    assert!(offset_of!(mx_mapper_state_t, flags) == 32);
};
