//! A range of shared pages, and everything that may be done with it.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::copy::copy;
use crate::mapping::{Access, Mapping};

/// A range of mapped memory that others may read and write at any moment.
///
/// Cheap to clone; the mapping lives until the last clone is gone. Offsets count bytes from the start of the range.
///
/// Every method panics when the range it is asked for does not lie within [`len`](Self::len), when a word is not aligned, and when read-only pages are to
/// be written: these are mistakes of the caller, never of a peer.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Start of the range. Kept beside the mapping so that an access needs no further load.
    base: NonNull<u8>,
    len: usize,
    /// `len`, or 0 when the pages are read-only: one comparison checks both.
    writable: usize,
    mapping: Arc<Mapping>,
}

// SAFETY: `base` points into `mapping`, which is `Send`; the bytes are only reached through raw copies and atomics.
unsafe impl Send for Pages {}
// SAFETY: as above; no method hands out a reference to the bytes.
unsafe impl Sync for Pages {}

impl Pages {
    /// Zeroed memory of this process alone, for both ends of a ring in one program. A fork does not share it.
    ///
    /// # Errors
    ///
    /// What the system says, or `InvalidInput` for a length of 0.
    pub fn private(len: usize) -> io::Result<Self> {
        Ok(Self::whole(
            Mapping::anonymous(len)?,
            len,
            Access::ReadWrite,
        ))
    }

    /// Maps `len` bytes at `offset` (a multiple of the page size) of a memfd that somebody made.
    ///
    /// # Errors
    ///
    /// `InvalidInput` around a [`MapError`](crate::MapError) when the file is not plain shared memory, is not sealed against shrinking or is too short, so that no
    /// peer can make a later access fail; `PermissionDenied` when it may not be written; else what the system says.
    pub fn map(fd: &impl AsFd, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        Ok(Self::whole(
            Mapping::sealed(fd, offset, len, access)?,
            len,
            access,
        ))
    }

    /// Maps `len` bytes at `offset` of a device: grants, device memory. Devices have no size and no seals to check.
    ///
    /// That the pages stay is up to the driver, so the caller vouches that the descriptor is from somebody trusted (our own
    /// platform or agent). Xen's drivers keep them until they are unmapped: gntalloc's are the kernel's own memory, and of
    /// gntdev's the hypervisor frees none while it is mapped, whatever becomes of the domain that granted it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` around [`MapError::NotADevice`](crate::MapError::NotADevice) for a regular file; else what the system says.
    pub fn map_device(fd: &impl AsFd, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        Ok(Self::whole(
            Mapping::device(fd, offset, len, access)?,
            len,
            access,
        ))
    }

    fn whole(mapping: Mapping, len: usize, access: Access) -> Self {
        let writable = match access {
            Access::ReadOnly => 0,
            Access::ReadWrite => len,
        };
        Self {
            base: mapping.base(),
            len,
            writable,
            mapping: Arc::new(mapping),
        }
    }

    /// A part of these pages; it keeps the whole mapping alive.
    #[must_use]
    pub fn sub(&self, offset: usize, len: usize) -> Self {
        let writable = if self.writable == 0 { 0 } else { len };
        let base = NonNull::new(self.readable(offset, len)).expect("a place within a mapping");
        Self {
            base,
            len,
            writable,
            mapping: Arc::clone(&self.mapping),
        }
    }

    /// The same pages with stores and copies into them ruled out.
    #[must_use]
    pub fn read_only(&self) -> Self {
        Self {
            writable: 0,
            ..self.clone()
        }
    }

    /// Bytes in the range.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the range is empty, as only a [`sub`](Self::sub) can be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether stores and copies into the pages are allowed.
    #[must_use]
    pub fn access(&self) -> Access {
        if self.writable == 0 {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        }
    }

    /// Where `len` bytes at `offset` are, checked to lie within the range.
    #[inline(always)]
    fn readable(&self, offset: usize, len: usize) -> *mut u8 {
        if offset > self.len || len > self.len - offset {
            outside(offset, len, self.len);
        }
        // SAFETY: just checked: the place is within the mapping, or one behind its end for an empty range.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// As [`readable`](Self::readable), for writing.
    #[inline(always)]
    fn writable(&self, offset: usize, len: usize) -> *mut u8 {
        if offset > self.writable || len > self.writable - offset {
            not_writable(offset, len, self.writable);
        }
        // SAFETY: as in `readable`; `writable` is never more than `len`.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Copies `into.len()` bytes at `offset` out of the pages.
    #[inline(always)]
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let src = self.readable(offset, into.len());
        // SAFETY: `readable` checked the source; the destination is a slice of ours, which no mapping overlaps.
        unsafe { copy(src, into.as_mut_ptr(), into.len()) };
    }

    /// Copies `bytes` into the pages at `offset`.
    #[inline(always)]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let dst = self.writable(offset, bytes.len());
        // SAFETY: `writable` checked the destination; the source is a slice of ours.
        unsafe { copy(bytes.as_ptr(), dst, bytes.len()) };
    }

    /// Copies `len` bytes at `offset` to `into` at `into_offset`. The two may be the same pages and overlap.
    #[inline]
    pub fn copy_to(&self, offset: usize, into: &Pages, into_offset: usize, len: usize) {
        let src = self.readable(offset, len);
        let dst = into.writable(into_offset, len);
        // SAFETY: both ends are checked, and `copy` allows overlap.
        unsafe { copy(src, dst, len) };
    }

    /// Sets `len` bytes at `offset` to zero.
    pub fn zero(&self, offset: usize, len: usize) {
        let dst = self.writable(offset, len);
        // SAFETY: `writable` checked the range.
        unsafe { dst.write_bytes(0, len) };
    }

    /// Loads the word of 4 bytes at `offset`, in the machine's byte order.
    #[inline(always)]
    #[must_use]
    pub fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        let place = aligned::<AtomicU32>(self.readable(offset, 4));
        // SAFETY: mapped for as long as `self` lives, aligned, and every word access is atomic. A load is fine on read-only pages.
        let word = unsafe { AtomicU32::from_ptr(place.cast()) };
        word.load(order)
    }

    /// Stores the word of 4 bytes at `offset`, in the machine's byte order.
    #[inline(always)]
    pub fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        let place = aligned::<AtomicU32>(self.writable(offset, 4));
        // SAFETY: mapped for as long as `self` lives, aligned, writable, and every word access is atomic.
        let word = unsafe { AtomicU32::from_ptr(place.cast()) };
        word.store(value, order);
    }

    /// Loads the word of 8 bytes at `offset`, in the machine's byte order.
    #[inline(always)]
    #[must_use]
    pub fn load_u64(&self, offset: usize, order: Ordering) -> u64 {
        let place = aligned::<AtomicU64>(self.readable(offset, 8));
        // SAFETY: as in `load_u32`.
        let word = unsafe { AtomicU64::from_ptr(place.cast()) };
        word.load(order)
    }

    /// Stores the word of 8 bytes at `offset`, in the machine's byte order.
    #[inline(always)]
    pub fn store_u64(&self, offset: usize, value: u64, order: Ordering) {
        let place = aligned::<AtomicU64>(self.writable(offset, 8));
        // SAFETY: as in `store_u32`.
        let word = unsafe { AtomicU64::from_ptr(place.cast()) };
        word.store(value, order);
    }

    /// Hints that the line at `offset` will be read soon.
    #[inline(always)]
    pub fn prefetch(&self, offset: usize) {
        let place = self.readable(offset, 1);
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch never faults, and the place is mapped.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = place;
    }

    /// The range as a pointer for a system call that gathers from it. It is valid while `self` lives; to make a
    /// reference of it is never right.
    #[inline]
    #[must_use]
    pub fn as_io_ptr(&self, offset: usize, len: usize) -> (*const u8, usize) {
        (self.readable(offset, len).cast_const(), len)
    }

    /// The range as a pointer for a system call that scatters to it; as [`as_io_ptr`](Self::as_io_ptr).
    #[inline]
    #[must_use]
    pub fn as_io_mut_ptr(&self, offset: usize, len: usize) -> (*mut u8, usize) {
        (self.writable(offset, len), len)
    }
}

/// The place, checked to be where a `T` may lie.
#[inline(always)]
fn aligned<T>(place: *mut u8) -> *mut u8 {
    assert!(place.cast::<T>().is_aligned(), "a word has to be aligned");
    place
}

#[cold]
#[inline(never)]
fn outside(offset: usize, len: usize, have: usize) -> ! {
    panic!("{len} bytes at {offset} of {have}")
}

#[cold]
#[inline(never)]
fn not_writable(offset: usize, len: usize, have: usize) -> ! {
    panic!("{len} bytes at {offset} to be written, of {have} that may be")
}
