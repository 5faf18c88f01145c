//! The ioctls of Xen's devices.
//!
//! The numbers and layouts are those of the kernel's `include/uapi/xen/{gntalloc,gntdev,evtchn}.h`. Each unsafe block
//! is one call.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use myrixen_shm::Access;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The head of `ioctl_gntalloc_alloc_gref`; the references follow it, four bytes each.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct AllocHead {
    domain: u16,
    flags: u16,
    count: u32,
    index: u64,
}

/// `GNTALLOC_FLAG_WRITABLE`: the peer may write too.
const ALLOC_WRITABLE: u16 = 1;

/// `ioctl_gntalloc_dealloc_gref`.
#[repr(C)]
struct Dealloc {
    index: u64,
    count: u32,
}

/// `ioctl_gntalloc_unmap_notify`, which `ioctl_gntdev_unmap_notify` equals.
#[repr(C)]
struct UnmapNotify {
    index: u64,
    action: u32,
    port: u32,
}

/// `UNMAP_NOTIFY_CLEAR_BYTE`.
const CLEAR: u32 = 1;
/// `UNMAP_NOTIFY_SEND_EVENT`.
const SEND: u32 = 2;

/// The head of `ioctl_gntdev_map_grant_ref`; what to map follows it, eight bytes each.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MapHead {
    count: u32,
    pad: u32,
    index: u64,
}

/// `ioctl_gntdev_grant_ref`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MapRef {
    domain: u32,
    reference: u32,
}

/// `ioctl_gntdev_unmap_grant_ref`.
#[repr(C)]
struct Unmap {
    index: u64,
    count: u32,
    pad: u32,
}

/// `ioctl_evtchn_bind_interdomain`.
#[repr(C)]
struct BindInterdomain {
    domain: u32,
    port: u32,
}

// The sizes are part of the ioctls' numbers; where an array follows, the kernel's struct has one element of it.
const ALLOC_SIZE: usize = 24;
const MAP_SIZE: usize = size_of::<MapHead>() + size_of::<MapRef>();
const _: () = {
    assert!(size_of::<AllocHead>() == 16 && align_of::<AllocHead>() == 8);
    assert!(size_of::<Dealloc>() == 16);
    assert!(size_of::<UnmapNotify>() == 16);
    assert!(size_of::<MapHead>() == 16 && size_of::<MapRef>() == 8 && MAP_SIZE == 24);
    assert!(size_of::<Unmap>() == 16);
    assert!(size_of::<BindInterdomain>() == 8);
};

/// `_IOC(_IOC_NONE, kind, number, size)`, as it is on x86 and Arm, where Xen is.
#[allow(
    clippy::cast_possible_truncation,
    clippy::unnecessary_cast,
    reason = "musl's type is an int; sizes are below 2^14, as asserted"
)]
const fn ioc(kind: u8, number: u8, size: usize) -> libc::Ioctl {
    assert!(size < 1 << 14);
    ((size as libc::Ioctl) << 16) | ((kind as libc::Ioctl) << 8) | number as libc::Ioctl
}

const GNTDEV_MAP: libc::Ioctl = ioc(b'G', 0, MAP_SIZE);
const GNTDEV_UNMAP: libc::Ioctl = ioc(b'G', 1, size_of::<Unmap>());
const GNTALLOC_ALLOC: libc::Ioctl = ioc(b'G', 5, ALLOC_SIZE);
const GNTALLOC_DEALLOC: libc::Ioctl = ioc(b'G', 6, size_of::<Dealloc>());
const SET_UNMAP_NOTIFY: libc::Ioctl = ioc(b'G', 7, size_of::<UnmapNotify>());
const EVTCHN_INTERDOMAIN: libc::Ioctl = ioc(b'E', 1, size_of::<BindInterdomain>());
const EVTCHN_UNBOUND: libc::Ioctl = ioc(b'E', 2, size_of::<u32>());
const EVTCHN_NOTIFY: libc::Ioctl = ioc(b'E', 4, size_of::<u32>());
const EVTCHN_RESTRICT: libc::Ioctl = ioc(b'E', 6, size_of::<u16>());

// As the C macros give them on x86-64.
const _: () = {
    assert!(GNTDEV_MAP == 0x18_4700 && GNTDEV_UNMAP == 0x10_4701);
    assert!(GNTALLOC_ALLOC == 0x18_4705 && GNTALLOC_DEALLOC == 0x10_4706);
    assert!(SET_UNMAP_NOTIFY == 0x10_4707);
    assert!(EVTCHN_INTERDOMAIN == 0x08_4501 && EVTCHN_UNBOUND == 0x04_4502);
    assert!(EVTCHN_NOTIFY == 0x04_4504 && EVTCHN_RESTRICT == 0x02_4506);
};

/// What an ioctl returned.
fn checked(returned: libc::c_int) -> io::Result<u32> {
    u32::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// A head and zeros behind it, `len` bytes or a little more, aligned for the kernel's 64-bit fields.
fn argument(head: &[u8], len: usize) -> Vec<u64> {
    let mut words = vec![0u64; len.div_ceil(8)];
    words.as_mut_bytes()[..head.len()].copy_from_slice(head);
    words
}

/// Allocates pages and grants them. Gives the offset to map them at, and a reference for each.
pub(super) fn gntalloc_alloc(
    fd: BorrowedFd<'_>,
    domain: u16,
    count: u32,
    peer: Access,
) -> io::Result<(u64, Vec<u32>)> {
    let head = AllocHead {
        domain,
        flags: match peer {
            Access::ReadOnly => 0,
            Access::ReadWrite => ALLOC_WRITABLE,
        },
        count,
        index: 0,
    };
    let refs = usize::try_from(count).map_err(io::Error::other)?;
    let head_len = size_of::<AllocHead>();
    let mut words = argument(head.as_bytes(), (head_len + 4 * refs).max(ALLOC_SIZE));
    // SAFETY: the driver reads and writes the head, and writes `count` references behind it: `words` has room for all,
    // never less than the 24 bytes that the number says. Any bytes are valid in it. The descriptor is open.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), GNTALLOC_ALLOC, words.as_mut_ptr()) };
    checked(done)?;
    let index = words[1];
    let refs = words.as_bytes()[head_len..]
        .as_chunks::<4>()
        .0
        .iter()
        .take(refs)
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .collect();
    Ok((index, refs))
}

/// Takes pages out of the file: nobody can map them any more.
pub(super) fn gntalloc_dealloc(fd: BorrowedFd<'_>, index: u64, count: u32) -> io::Result<()> {
    let mut argument = Dealloc { index, count };
    // SAFETY: the driver reads the struct, which lives across the call; the descriptor is open.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), GNTALLOC_DEALLOC, &raw mut argument) };
    checked(done).map(drop)
}

/// What happens when the page of the byte at `index` is no longer in use here. For files of gntalloc and gntdev.
#[derive(Debug, Clone, Copy)]
pub(super) enum AtUnmap {
    /// The byte becomes 0, and an event is sent.
    ClearAndSend,
    /// An event is sent.
    Send,
}

/// Arranges for that, in place of what was arranged before.
pub(super) fn set_unmap_notify(
    fd: BorrowedFd<'_>,
    index: u64,
    what: AtUnmap,
    port: u32,
) -> io::Result<()> {
    let mut argument = UnmapNotify {
        index,
        action: match what {
            AtUnmap::ClearAndSend => CLEAR | SEND,
            AtUnmap::Send => SEND,
        },
        port,
    };
    // SAFETY: either driver reads the struct, which lives across the call; the descriptor is open.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), SET_UNMAP_NOTIFY, &raw mut argument) };
    checked(done).map(drop)
}

/// Prepares grants for mapping. Gives the offset to map them at.
pub(super) fn gntdev_map(fd: BorrowedFd<'_>, domain: u16, refs: &[u32]) -> io::Result<u64> {
    let head = MapHead {
        count: u32::try_from(refs.len()).map_err(io::Error::other)?,
        pad: 0,
        index: 0,
    };
    let head_len = size_of::<MapHead>();
    let mut words = argument(
        head.as_bytes(),
        (head_len + size_of_val(refs) * 2).max(MAP_SIZE),
    );
    let places = words.as_mut_bytes()[head_len..].as_chunks_mut::<8>().0;
    for (place, &reference) in places.iter_mut().zip(refs) {
        let domain = domain.into();
        place.copy_from_slice(MapRef { domain, reference }.as_bytes());
    }
    // SAFETY: the driver reads and writes the head, and reads `count` references of 8 bytes behind it: `words` has them
    // all, never less than the 24 bytes that the number says. Any bytes are valid in it. The descriptor is open.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), GNTDEV_MAP, words.as_mut_ptr()) };
    checked(done)?;
    Ok(words[1])
}

/// Forgets what [`gntdev_map`] prepared; what is mapped of it stays so until it is unmapped.
pub(super) fn gntdev_unmap(fd: BorrowedFd<'_>, index: u64, count: u32) -> io::Result<()> {
    let mut argument = Unmap {
        index,
        count,
        pad: 0,
    };
    // SAFETY: the driver reads the struct, which lives across the call; the descriptor is open.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), GNTDEV_UNMAP, &raw mut argument) };
    checked(done).map(drop)
}

/// Makes an event channel that `domain` can bind to. Gives our port.
pub(super) fn evtchn_unbound(fd: BorrowedFd<'_>, domain: u16) -> io::Result<u32> {
    let mut domain = u32::from(domain);
    // SAFETY: the driver reads the number, which lives across the call; the descriptor is open.
    let port = unsafe { libc::ioctl(fd.as_raw_fd(), EVTCHN_UNBOUND, &raw mut domain) };
    checked(port)
}

/// Binds to `port` of `domain`. Gives our port.
pub(super) fn evtchn_interdomain(fd: BorrowedFd<'_>, domain: u16, port: u32) -> io::Result<u32> {
    let domain = domain.into();
    let mut argument = BindInterdomain { domain, port };
    // SAFETY: the driver reads the struct, which lives across the call; the descriptor is open.
    let port = unsafe { libc::ioctl(fd.as_raw_fd(), EVTCHN_INTERDOMAIN, &raw mut argument) };
    checked(port)
}

/// Sends an event.
pub(super) fn evtchn_notify(fd: BorrowedFd<'_>, mut port: u32) -> io::Result<()> {
    // SAFETY: the driver reads the number, which lives across the call; the descriptor is open.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), EVTCHN_NOTIFY, &raw mut port) };
    checked(done).map(drop)
}

/// Limits the file to channels with one domain.
pub(super) fn evtchn_restrict(fd: BorrowedFd<'_>, mut domain: u16) -> io::Result<()> {
    // SAFETY: the driver reads the number, which lives across the call; the descriptor is open.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), EVTCHN_RESTRICT, &raw mut domain) };
    checked(done).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// No Xen here: another device takes none of these ioctls, which at least shows that all return.
    #[test]
    fn a_foreign_device_refuses_each() {
        let file = std::fs::File::open("/dev/null").expect("there is one");
        let fd = file.as_fd();
        let refused = |result: io::Result<()>| {
            let err = result.expect_err("not a Xen device");
            assert_eq!(err.raw_os_error(), Some(libc::ENOTTY));
        };
        refused(gntalloc_alloc(fd, 1, 1000, Access::ReadWrite).map(drop));
        refused(gntalloc_dealloc(fd, 0, 1));
        refused(set_unmap_notify(fd, 0, AtUnmap::Send, 1));
        refused(gntdev_map(fd, 1, &[8; 1000]).map(drop));
        refused(gntdev_unmap(fd, 0, 1));
        refused(evtchn_unbound(fd, 1).map(drop));
        refused(evtchn_interdomain(fd, 1, 2).map(drop));
        refused(evtchn_notify(fd, 1));
        refused(evtchn_restrict(fd, 1));
    }
}
