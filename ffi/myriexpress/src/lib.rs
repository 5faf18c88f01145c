//! The C interface of MX (Myrinet Express) over MyriXen: `libmyriexpress.so`, for programs that were written for Myricom's library.
//!
//! Everything here is called from C, declared in `include/`, and said in `docs/mx.md`: which call does what, and where it differs from Myricom's. This crate
//! turns handles into what they name, checks what C cannot, and says the rest to the crate `myrixen`. It has no state of messages of its own.
//!
//! Its Rust side is for its own tests: a Rust program uses `myrixen`.
//!
//! ```
//! use std::ffi::CStr;
//!
//! // SAFETY: the text of a code is never null, ends with a 0, and lives for ever.
//! let text = unsafe { CStr::from_ptr(myriexpress::mx_strerror(0)) };
//! assert_eq!(text.to_str(), Ok("success"));
//! ```

mod address;
mod codes;
mod completion;
mod connect;
mod counters;
mod data;
mod edge;
mod endpoint;
mod errors;
mod handler;
mod info;
mod internals;
mod library;
mod naming;
mod open;
mod segments;
mod settings;
mod table;
mod types;

pub use codes::{ReturnCode, StatusCode, mx_strerror, mx_strstatus};
pub use completion::{
    mx_buffered, mx_cancel, mx_context, mx_forget, mx_ibuffered, mx_ipeek, mx_iprobe, mx_peek,
    mx_probe, mx_test, mx_test_any, mx_wait, mx_wait_any,
};
pub use connect::{
    mx_connect, mx_decompose_endpoint_addr, mx_decompose_endpoint_addr2, mx_disconnect,
    mx_get_endpoint_addr, mx_get_endpoint_addr_context, mx_iconnect, mx_set_endpoint_addr_context,
    mx_set_request_timeout,
};
pub use data::{mx_iget, mx_iput, mx_irecv, mx_isend, mx_issend};
pub use errors::{MX_ERRORS_ARE_FATAL, MX_ERRORS_RETURN, mx_set_error_handler};
pub use handler::{
    mx_disable_progression, mx_progress, mx_reenable_progression, mx_register_unexp_callback,
    mx_register_unexp_handler,
};
pub use info::mx_get_info;
pub use internals::{mx__get_mapper_state, mx__regcache_clean, mx_open_board};
pub use library::{mx__init_api, mx_finalize};
pub use naming::{
    mx_board_number_to_nic_id, mx_hostname_to_nic_id, mx_nic_id_to_board_number,
    mx_nic_id_to_hostname,
};
pub use open::{mx_close_endpoint, mx_open_endpoint, mx_wakeup};
pub use types::*;
