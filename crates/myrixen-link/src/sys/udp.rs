//! What sockets tell about themselves that no crate asks.

use std::ffi::c_int;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams that the kernel dropped at a socket since it was opened, because its buffer was full. Wraps.
pub(crate) fn dropped_at(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // linux/sock_diag.h: SK_MEMINFO_DROPS of SK_MEMINFO_VARS.
    const DROPS: usize = 8;
    // asm-generic/socket.h; not in libc.
    const SO_MEMINFO: c_int = 55;
    let mut words = [0u32; DROPS + 1];
    let mut len = libc::socklen_t::try_from(size_of_val(&words)).expect("small");
    let out = words.as_mut_ptr();
    // SAFETY: `out` is good for `len` bytes, which the kernel may write, and so is `len` itself.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            out.cast(),
            &raw mut len,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(words[DROPS])
    }
}
