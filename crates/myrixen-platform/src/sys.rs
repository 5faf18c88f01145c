//! The system calls that no crate wraps the way we need them.
//!
//! Each unsafe block is one call, but for a promise to `myrixen-shm`. `rustix` has `SO_PEERCRED` too, but its process id cannot be 0, which is what the
//! kernel says of a peer in a process-id namespace that cannot be seen from ours.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use myrixen_shm::{Pages, Pool};

use crate::meeting::Credentials;

/// The processor's time stamp counter, where there is one that programs can read.
#[inline]
pub(crate) fn ticks() -> Option<u64> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        // SAFETY: every x86-64 processor has the instruction. Where a hypervisor or the kernel catches it, it still gives a number.
        Some(unsafe { core::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    None
}

/// How a thread came to be without a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switches {
    /// How often it gave it away.
    pub(crate) sleeps: i64,
    /// How often it was taken.
    pub(crate) preemptions: i64,
}

/// How this thread came to be without a processor. `None` if the kernel does not say.
pub(crate) fn switches() -> Option<Switches> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is valid for writing one `rusage`.
    let done = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    // SAFETY: any bytes are an `rusage`, zeroes too.
    let usage = unsafe { usage.assume_init() };
    (done == 0).then_some(Switches {
        sleeps: usage.ru_nvcsw,
        preemptions: usage.ru_nivcsw,
    })
}

/// Who is at the other end of a Unix socket, as of when it connected.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut who = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = libc_len(size_of::<libc::ucred>())?;
    // SAFETY: `who` is valid for writing `len` bytes and any bytes are a valid `ucred`; `len` is a
    // valid place for the length that is written; the descriptor is open for as long as it is borrowed.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut who).cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Credentials {
        pid: u32::try_from(who.pid).unwrap_or(0),
        uid: who.uid,
        gid: who.gid,
        groups: peer_groups(socket)?,
    })
}

/// The most supplementary groups a process has: NGROUPS_MAX of Linux.
const MAX_GROUPS: usize = 65536;

/// The supplementary groups of who is at the other end. None on kernels before 4.13, which do not say.
fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; 32];
    loop {
        let mut len = libc_len(size_of_val(groups.as_slice()))?;
        // SAFETY: `groups` is valid for writing `len` bytes, and any bytes are valid numbers; `len` is a valid
        // place for the length that is written; the descriptor is open for as long as it is borrowed.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let count = usize::try_from(len).unwrap_or(0) / size_of::<u32>();
        if done == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let err = io::Error::last_os_error();
        match err.raw_os_error() {
            // The kernel has written how much it needs.
            Some(libc::ERANGE) if count > groups.len() && count <= MAX_GROUPS => {
                groups.resize(count, 0);
            }
            Some(libc::ENOPROTOOPT | libc::ENODATA) => return Ok(Vec::new()),
            _ => return Err(err),
        }
    }
}

fn libc_len(len: usize) -> io::Result<libc::socklen_t> {
    libc::socklen_t::try_from(len).map_err(io::Error::other)
}

/// Reads from two places in another process's memory into two buffers, in one call: both come from the same
/// process. Gives the number of bytes read, the first buffer's before the second's.
pub(crate) fn read_process(pid: u32, from: [u64; 2], into: [&mut [u8]; 2]) -> io::Result<usize> {
    let pid =
        libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let remote = |at: u64, len: usize| -> io::Result<libc::iovec> {
        let at = usize::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(libc::iovec {
            iov_base: std::ptr::without_provenance_mut(at),
            iov_len: len,
        })
    };
    let [first, second] = into;
    let theirs = [
        remote(from[0], first.len())?,
        remote(from[1], second.len())?,
    ];
    let ours = [first, second].map(|buf| libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    });
    // SAFETY: `ours` names two exclusively borrowed buffers, where any bytes may be written; `theirs` is only
    // looked up in the other process, where the kernel checks it.
    let read = unsafe { libc::process_vm_readv(pid, ours.as_ptr(), 2, theirs.as_ptr(), 2, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// A pool in pages that an agent has granted for us.
pub(crate) fn pool_of(fd: OwnedFd, pages: Pages) -> Pool {
    // SAFETY: the agent, which we trust with all that we share, grants pages of a pool once, to one program, for others to read only;
    // they were mapped here alone, from this descriptor, which goes into the pool.
    unsafe { Pool::of_pages(fd, pages) }
}

/// 16 bytes that nobody can guess.
pub(crate) fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    // SAFETY: `bytes` is valid for writing its length.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // Up to 256 bytes come whole or not at all (getrandom(2)).
    if got == 16 {
        Ok(bytes)
    } else {
        Err(io::Error::last_os_error())
    }
}
