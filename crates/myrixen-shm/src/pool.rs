//! Memory that its owner writes and that others only read.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::extents::Extents;
use crate::{CACHE_LINE, Pages, memfd_readonly_to_others};

/// Address space for message buffers, in one memfd as a rule, from which [`PoolBuf`]s are cut.
///
/// Pages come into being when they are first touched, so a pool can be much larger than what will be used of it. What a dropped buffer
/// has touched stays with the pool for the next one (the kernel punches no holes in memory that is sealed against other writers), and goes back to the system with the
/// last handle. Allocations are kept together at the bottom.
///
/// Cheap to clone. The memory lives until the last clone and the last buffer are gone.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fd: OwnedFd,
    /// The only writable mapping there is or can be. Never handed out: `PoolBuf` makes references to parts of it.
    pages: Pages,
    /// In cache lines.
    free: Mutex<Extents>,
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, Extents> {
        // An extent list is changed in steps that do not panic half way, except for mistakes that end the test anyway.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// What suits most programs: address space costs nothing until it is touched.
    pub const DEFAULT_LEN: usize = 1 << 30;

    /// Makes a pool of `len` bytes, rounded up to whole pages of 4 KiB.
    ///
    /// # Errors
    ///
    /// As for [`memfd`](crate::memfd()).
    pub fn new(len: usize) -> io::Result<Self> {
        let len = len
            .checked_next_multiple_of(4096)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let (fd, pages) = memfd_readonly_to_others("myrixen-pool", len)?;
        let free = Mutex::new(Extents::new(len / CACHE_LINE));
        Ok(Self {
            shared: Arc::new(Shared { fd, pages, free }),
        })
    }

    /// A pool in pages that somebody else has made: granted ones. `fd` is kept open with them, and is what [`fd`](Self::fd) gives.
    ///
    /// # Safety
    ///
    /// Nobody else writes to the pages, in this process or another, as long as the pool or a buffer of it lives.
    #[must_use]
    pub unsafe fn of_pages(fd: OwnedFd, pages: Pages) -> Self {
        let free = Mutex::new(Extents::new(pages.len() / CACHE_LINE));
        Self {
            shared: Arc::new(Shared { fd, pages, free }),
        }
    }

    /// Takes `len` bytes that begin on a cache line. What is in them is left from before (zeros at first). `None` when
    /// no free part of the pool is that long.
    #[must_use]
    pub fn alloc(&self, len: usize) -> Option<PoolBuf> {
        let lines = len.div_ceil(CACHE_LINE);
        let offset = if lines == 0 {
            0
        } else {
            self.shared.free().take(lines)? * CACHE_LINE
        };
        let (base, len) = self.shared.pages.as_io_mut_ptr(offset, len);
        let base = NonNull::new(base).expect("a place within a mapping");
        Some(PoolBuf {
            base,
            len,
            offset,
            shared: Arc::clone(&self.shared),
        })
    }

    /// The descriptor to hand to those who may read the pool. The kernel lets nobody write through it.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }

    /// Bytes of address space.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.pages.len()
    }

    /// Whether there is no byte of address space (there always is).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that are not allocated, in whole cache lines, in however many parts.
    #[must_use]
    pub fn available(&self) -> usize {
        self.shared.free().free() * CACHE_LINE
    }

    /// Whether `buf` was cut from this pool.
    #[must_use]
    pub fn owns(&self, buf: &PoolBuf) -> bool {
        Arc::ptr_eq(&self.shared, &buf.shared)
    }
}

/// A buffer in a [`Pool`]: plain memory for its owner, readable by those who were given the pool's descriptor. It goes
/// back to the pool on drop.
pub struct PoolBuf {
    base: NonNull<u8>,
    len: usize,
    offset: usize,
    shared: Arc<Shared>,
}

// SAFETY: a `PoolBuf` is the only user of its part of the mapping, as a `Box<[u8]>` of its memory.
unsafe impl Send for PoolBuf {}
// SAFETY: as above: shared references only read.
unsafe impl Sync for PoolBuf {}

impl PoolBuf {
    /// Where the buffer begins in the pool, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// Stores the word of 8 bytes at `offset`, in the machine's byte order, for readers who look at it while it changes: whole, and ordered
    /// with what else is written as `order` says. Panics when the word is not within the buffer or not aligned.
    pub fn store_u64(&mut self, offset: usize, value: u64, order: Ordering) {
        assert!(
            offset <= self.len && self.len - offset >= 8,
            "a word at {offset} of {}",
            self.len
        );
        self.shared
            .pages
            .store_u64(self.offset + offset, value, order);
    }
}

impl Deref for PoolBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the range was checked in `alloc`, is initialised (the kernel zeroes it), belongs to this buffer alone until it is dropped, and
        // nobody else can write to it: the seal sees to it that the mapping in `Shared` is the last writable one, or whoever called
        // `of_pages` does.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl DerefMut for PoolBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` rules out other references to this part.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for PoolBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for PoolBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: they are a program's own.
        f.debug_struct("PoolBuf")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Drop for PoolBuf {
    fn drop(&mut self) {
        let lines = self.len.div_ceil(CACHE_LINE);
        if lines > 0 {
            self.shared.free().give(self.offset / CACHE_LINE, lines);
        }
    }
}
