//! Shared memory without a name: nothing is left behind anywhere when its users are gone.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::{Access, Pages};

/// What keeps a mapping of the file from being cut short; `SEAL` makes it final.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Makes `len` bytes of zeroed shared memory that everybody who is given the descriptor may read and write.
///
/// `name` shows in `/proc/PID/maps` and is nothing else. Pages come into being when they are touched. The size is sealed. The descriptor is
/// close-on-exec.
///
/// # Errors
///
/// What the system says (descriptors or memory used up), or `InvalidInput` for a length of 0.
pub fn memfd(name: &str, len: usize) -> io::Result<(OwnedFd, Pages)> {
    let fd = create(name, len)?;
    fcntl_add_seals(&fd, SIZE_SEALS | SealFlags::SEAL)?;
    let pages = Pages::map(&fd, 0, len, Access::ReadWrite)?;
    Ok((fd, pages))
}

/// Makes `len` bytes of zeroed shared memory that only the returned [`Pages`] can write: others who are
/// given the descriptor may map and read it, and the kernel refuses them everything else.
///
/// # Errors
///
/// As for [`memfd`].
pub fn memfd_readonly_to_others(name: &str, len: usize) -> io::Result<(OwnedFd, Pages)> {
    let fd = create(name, len)?;
    fcntl_add_seals(&fd, SIZE_SEALS)?;
    // Mapped first: the seal forbids every writable mapping from then on, also a second one of ours.
    let pages = Pages::map(&fd, 0, len, Access::ReadWrite)?;
    fcntl_add_seals(&fd, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
    Ok((fd, pages))
}

fn create(name: &str, len: usize) -> io::Result<OwnedFd> {
    let size = u64::try_from(len).map_err(io::Error::other)?;
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, size)?;
    Ok(fd)
}
