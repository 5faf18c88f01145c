//! The queues of descriptors that an AF_XDP socket shares with the kernel: one end fills, the other takes.
//! See the kernel's Documentation/networking/af_xdp.rst.

use std::io;
use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};

/// A queue in this process's memory.
#[derive(Debug)]
struct Shared<T> {
    base: NonNull<u8>,
    len: usize,
    producer: usize,
    consumer: usize,
    flags: Option<usize>,
    entries: usize,
    mask: u32,
    what: PhantomData<T>,
}

// SAFETY: the mapping belongs to no thread; entries are handed over by the atomic indices.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Copy> Shared<T> {
    fn map(
        socket: BorrowedFd<'_>,
        place: u64,
        offsets: &XdpRingOffset,
        entries: u32,
    ) -> io::Result<Self> {
        let number = |n: u64| usize::try_from(n).map_err(|_| io::ErrorKind::InvalidData);
        let start = number(offsets.desc)?;
        let bytes = usize::try_from(entries).map_err(|_| io::ErrorKind::InvalidInput)?;
        let len = start + bytes * size_of::<T>();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let base = unsafe { rustix::mm::mmap(null, len, access, flags, socket, place) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            base,
            len,
            producer: number(offsets.producer)?,
            consumer: number(offsets.consumer)?,
            flags: offsets.flags.map(number).transpose()?,
            entries: start,
            mask: entries - 1,
            what: PhantomData,
        })
    }

    /// The address of `len` bytes at `offset`.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset + len <= self.len, "outside the queue");
        // SAFETY: `offset` lies within the mapping, as just checked.
        unsafe { self.base.as_ptr().add(offset) }
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        let pointer: *mut u32 = self.at(offset, size_of::<u32>()).cast();
        debug_assert!(pointer.is_aligned());
        // SAFETY: the word is mapped as long as `self` is, aligned (the kernel puts it on a cache line), and nobody
        // makes a plain reference to it.
        unsafe { AtomicU32::from_ptr(pointer) }
    }

    fn entry(&self, index: u32) -> *mut T {
        let place = usize::try_from(index & self.mask).unwrap_or(0);
        let pointer = self.at(self.entries + place * size_of::<T>(), size_of::<T>());
        debug_assert!(pointer.addr().is_multiple_of(align_of::<T>()));
        pointer.cast()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: whoever reaches into the mapping does so through `self`: nobody is left.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Our end of a queue that we fill.
#[derive(Debug)]
pub(super) struct Producer<T> {
    shared: Shared<T>,
    /// Where the next entry goes; what lies before it is the kernel's once it is published.
    at: u32,
}

impl<T: Copy> Producer<T> {
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        place: u64,
        offsets: &XdpRingOffset,
        entries: u32,
    ) -> io::Result<Self> {
        let shared = Shared::map(socket, place, offsets, entries)?;
        Ok(Self { shared, at: 0 })
    }

    /// Entries that the kernel has not taken.
    pub(super) fn waiting(&self) -> u32 {
        // pairs with: the kernel's store when it has read the entries
        let taken = self
            .shared
            .word(self.shared.consumer)
            .load(Ordering::Acquire);
        self.at.wrapping_sub(taken)
    }

    /// Adds an entry, for which there must be room.
    pub(super) fn push(&mut self, entry: T) {
        let pointer = self.shared.entry(self.at);
        // SAFETY: within the mapping and aligned; the entry is ours, since the queue has room for all that is ever in it.
        unsafe { pointer.write(entry) };
        self.at = self.at.wrapping_add(1);
    }

    /// Shows the kernel what was added.
    pub(super) fn publish(&self) {
        // pairs with: the kernel's load of the producer index, before it reads the entries
        self.shared
            .word(self.shared.producer)
            .store(self.at, Ordering::Release);
    }

    /// Whether the kernel wants a system call to see what was added.
    pub(super) fn needs_wakeup(&self) -> bool {
        let need = XdpRingFlags::XDP_RING_NEED_WAKEUP.bits();
        self.shared
            .flags
            .is_none_or(|flags| self.shared.word(flags).load(Ordering::Relaxed) & need != 0)
    }
}

/// Our end of a queue that the kernel fills.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    shared: Shared<T>,
    at: u32,
}

impl<T: Copy> Consumer<T> {
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        place: u64,
        offsets: &XdpRingOffset,
        entries: u32,
    ) -> io::Result<Self> {
        let shared = Shared::map(socket, place, offsets, entries)?;
        Ok(Self { shared, at: 0 })
    }

    /// Entries that are there.
    pub(super) fn available(&self) -> u32 {
        // pairs with: the kernel's store of the producer index, after it wrote entries and frames
        let end = self
            .shared
            .word(self.shared.producer)
            .load(Ordering::Acquire);
        end.wrapping_sub(self.at).min(self.shared.mask + 1)
    }

    /// The entry so many after the oldest; it must be available.
    pub(super) fn peek(&self, ahead: u32) -> T {
        let pointer = self.shared.entry(self.at.wrapping_add(ahead));
        // SAFETY: within the mapping and aligned; the kernel leaves entries alone until they are released, and they are
        // plain integers.
        unsafe { pointer.read() }
    }

    /// Gives the oldest entries back to the kernel.
    pub(super) fn release(&mut self, count: u32) {
        self.at = self.at.wrapping_add(count);
        // pairs with: the kernel's load of the consumer index, before it overwrites entries
        self.shared
            .word(self.shared.consumer)
            .store(self.at, Ordering::Release);
    }
}
