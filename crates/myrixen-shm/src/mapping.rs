//! A mapping and its end: made once, checked once, unmapped on drop.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstat, fstatfs};
use rustix::mm::{MapFlags, ProtFlags, mmap};
#[cfg(not(miri))]
use rustix::mm::{mmap_anonymous, munmap};

/// What we may do with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads and copies out.
    ReadOnly,
    /// Loads, stores, and copies both ways.
    ReadWrite,
}

/// Why a descriptor that somebody handed us is not mapped.
///
/// It is the inner error of the [`io::Error`] that [`Pages::map`](crate::Pages::map) returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// Touching a page behind the end of the file would kill us.
    #[error("{len} bytes at {offset} asked for, but the file has {size}")]
    OutsideFile {
        /// Where the mapping should have begun.
        offset: u64,
        /// How long it should have been, in bytes.
        len: usize,
        /// The size of the file, in bytes.
        size: u64,
    },
    /// Whoever holds the file could shrink it under us.
    #[error("the file is not sealed against shrinking")]
    NotSealed,
    /// A file on huge pages fails at the time of a touch when none is left.
    #[error("the file is not plain shared memory (file system type {0:#x})")]
    NotSharedMemory(u64),
    /// A file in the place of a device.
    #[error("a device was expected, not a regular file")]
    NotADevice,
}

impl From<MapError> for io::Error {
    fn from(error: MapError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// `f_type` of tmpfs, where memfds live (linux/magic.h).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Bytes mapped by us and unmapped on drop. Whether they may be written is known to [`Pages`](crate::Pages).
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread, and it is only used through raw copies and atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing in here makes a reference to the bytes.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Zeroed memory of this process.
    #[cfg(not(miri))]
    pub(crate) fn anonymous(len: usize) -> io::Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the place, so nothing that exists is replaced.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, MapFlags::PRIVATE) }?;
        Ok(Self::own(base.cast(), len))
    }

    /// Zeroed memory of this process, from the allocator: Miri knows no mappings.
    #[cfg(miri)]
    pub(crate) fn anonymous(len: usize) -> io::Result<Self> {
        assert_ne!(len, 0);
        let layout = std::alloc::Layout::from_size_align(len, 4096).map_err(io::Error::other)?;
        // SAFETY: the size is not zero.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        Ok(Self::own(base, len))
    }

    /// A part of a memfd. Refused unless nobody can take the pages away under us.
    pub(crate) fn sealed(
        fd: &impl AsFd,
        offset: u64,
        len: usize,
        access: Access,
    ) -> io::Result<Self> {
        let magic = fstatfs(fd)?.f_type.cast_unsigned();
        if magic != TMPFS_MAGIC {
            return Err(MapError::NotSharedMemory(magic).into());
        }
        if !fcntl_get_seals(fd)?.contains(SealFlags::SHRINK) {
            return Err(MapError::NotSealed.into());
        }
        // After the seals: from now on the size can only grow.
        let size = u64::try_from(fstat(fd)?.st_size).unwrap_or(0);
        let inside = u64::try_from(len)
            .ok()
            .and_then(|len| offset.checked_add(len))
            .is_some_and(|end| end <= size);
        if !inside {
            return Err(MapError::OutsideFile { offset, len, size }.into());
        }
        Self::file(fd, offset, len, access)
    }

    /// A part of a device, which has no seals; the driver is trusted to keep the pages.
    pub(crate) fn device(
        fd: &impl AsFd,
        offset: u64,
        len: usize,
        access: Access,
    ) -> io::Result<Self> {
        if FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::RegularFile {
            return Err(MapError::NotADevice.into());
        }
        Self::file(fd, offset, len, access)
    }

    fn file(fd: &impl AsFd, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        let prot = match access {
            Access::ReadOnly => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: the kernel chooses the place, so nothing that exists is replaced.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                prot,
                MapFlags::SHARED,
                fd,
                offset,
            )
        }?;
        Ok(Self::own(base.cast(), len))
    }

    fn own(base: *mut u8, len: usize) -> Self {
        let base = NonNull::new(base).expect("a mapping does not begin at address 0");
        Self { base, len }
    }
}

impl Drop for Mapping {
    #[cfg(not(miri))]
    fn drop(&mut self) {
        // SAFETY: the range is ours since `own`, and every `Pages` keeps the mapping alive, so nobody can use it any more.
        let result = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(result.is_ok(), "munmap of our own mapping: {result:?}");
    }

    #[cfg(miri)]
    fn drop(&mut self) {
        let layout =
            std::alloc::Layout::from_size_align(self.len, 4096).expect("as when it was made");
        // SAFETY: allocated in `anonymous` with the same layout; Miri runs make no other mappings.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), layout) };
    }
}
