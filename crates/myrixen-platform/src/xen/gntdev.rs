//! Pages that another domain has granted us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use myrixen_shm::{Access, Pages};
use rustix::fs::OFlags;

use super::device::Device;
use super::domain::{DomId, GrantRef, Port};
use super::error::XenError;
use super::gntalloc::{read_limit, set_unmap_notify};
use super::sys::AtUnmap;
use super::{bytes, sys};

/// The device that maps other domains' pages, `/dev/xen/gntdev` (kernel module `xen-gntdev`).
///
/// Each mapping has an open file of its own, as with [`GrantAlloc`](super::GrantAlloc).
#[derive(Debug)]
pub struct GrantMap {
    device: Device,
}

/// `limit` of the module: how many pages one mapping may have.
const LIMIT: &str = "/sys/module/xen_gntdev/parameters/limit";

impl GrantMap {
    /// Opens the device, for one mapping. More open it again.
    ///
    /// # Errors
    /// When the device is not there, or may not be opened.
    pub fn open() -> Result<Self, XenError> {
        Self::with_spares(1)
    }

    /// Opens the device for that many mappings, so that no privilege is needed for them later.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_spares(mappings: usize) -> Result<Self, XenError> {
        let (path, module) = ("/dev/xen/gntdev", "xen-gntdev");
        let device = Device::open(path, module, OFlags::empty(), mappings)?;
        Ok(Self { device })
    }

    /// Maps pages that domain `from` has granted us, in the order of `refs`.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare) and [`Prepared::map`].
    pub fn map(&self, from: DomId, refs: &[GrantRef], access: Access) -> Result<Mapped, XenError> {
        self.prepare(from, refs)?.map(access)
    }

    /// Tells the device which pages to map, and maps nothing yet: for handing the mapping to another process. The
    /// references are not checked before they are mapped.
    ///
    /// # Errors
    /// When there are more than the device allows at once (see [`limit`](Self::limit)), or the kernel has no memory.
    pub fn prepare(&self, from: DomId, refs: &[GrantRef]) -> Result<Prepared, XenError> {
        let pages = refs.len();
        if pages == 0 {
            return Err(XenError::NoPages);
        }
        let file = self.device.file()?;
        let numbers: Vec<u32> = refs.iter().map(|reference| reference.get()).collect();
        let offset = sys::gntdev_map(file.as_fd(), from.get(), &numbers)
            .map_err(|source| refused(pages, source))?;
        Ok(Prepared {
            file,
            from,
            offset,
            pages,
        })
    }

    /// How many pages one mapping may have: 65536 unless it was changed (older kernels count all mappings together).
    ///
    /// # Errors
    /// When the module is not loaded.
    pub fn limit() -> Result<u32, XenError> {
        read_limit(LIMIT)
    }
}

/// The error of a preparation.
fn refused(pages: usize, source: io::Error) -> XenError {
    let over = GrantMap::limit()
        .ok()
        .filter(|&limit| usize::try_from(limit).is_ok_and(|limit| limit < pages));
    match (source.raw_os_error(), over) {
        // Linux drivers/xen/gntdev.c: EINVAL, in older kernels ENOMEM.
        (Some(libc::EINVAL | libc::ENOMEM), Some(limit)) => XenError::MapLimit { pages, limit },
        // Each page takes an address of the domain's own, from memory that was ballooned out or from an unused range.
        (Some(libc::ENOMEM), None) => XenError::Memory { pages },
        _ => XenError::System {
            doing: "prepare a mapping of granted pages",
            source,
        },
    }
}

/// Pages of another domain that can be mapped, once.
///
/// Another process may be given [`fd`](Self::fd), [`offset`](Self::offset) and [`len`](Self::len) and map them with
/// [`Pages::map_device`], whole: since Linux 5.5 in any kind of domain; before that, a PV domain maps in the process only
/// that opened the device. **Only one mapping is ever made of it**, whoever is first and even if that fails (Linux 6.1,
/// and older ones by an update). Who is given the file can map whatever else other domains grant to this one.
#[derive(Debug)]
pub struct Prepared {
    file: OwnedFd,
    from: DomId,
    offset: u64,
    pages: usize,
}

impl Prepared {
    /// Maps the pages here.
    ///
    /// # Errors
    /// [`XenError::NotMapped`] when the domain does not grant one of them, or not for this access.
    pub fn map(self, access: Access) -> Result<Mapped, XenError> {
        let Self {
            file,
            from,
            offset,
            pages,
        } = self;
        let mapped = Pages::map_device(&file, offset, bytes(pages), access)
            .map_err(|source| not_mapped(from, pages, source))?;
        Ok(Mapped {
            pages: mapped,
            device: Told {
                offset,
                count: u32::try_from(pages).unwrap_or(u32::MAX),
                file,
            },
        })
    }

    /// The file, for another process that maps the pages.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where in the file the pages are.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Their length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        bytes(self.pages)
    }

    /// Gives the file away, with [`offset`](Self::offset) and [`len`](Self::len).
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, u64, usize) {
        let len = self.len();
        (self.file, self.offset, len)
    }

    /// As [`Mapped::set_unmap_notify`], before it is known who maps the pages: an event is sent, and no byte becomes 0. Not before they are mapped: a kernel
    /// that is to clear a byte of a page that could not be mapped, since it is not granted any more or not for writing, writes where no page is
    /// (Linux 6.1, `__unmap_grant_pages` in drivers/xen/gntdev.c), and is stopped by that.
    ///
    /// # Errors
    /// [`XenError::NotBound`] when `port` is not open in this domain.
    pub fn send_at_unmap(&self, port: Port) -> Result<(), XenError> {
        let pages = (self.fd(), self.offset, self.len());
        set_unmap_notify(pages, 0, AtUnmap::Send, port)
    }
}

/// The error of a mapping.
fn not_mapped(from: DomId, pages: usize, source: io::Error) -> XenError {
    match source.raw_os_error() {
        Some(libc::ENOMEM) => XenError::Memory { pages },
        _ => XenError::NotMapped {
            from,
            pages,
            source,
        },
    }
}

/// Pages of another domain, mapped here.
///
/// They stay readable and writable whatever becomes of the other domain: its memory is freed when the last mapper is
/// done. In a PV domain a fork does not inherit them: the child dies when it touches them.
///
/// Dropping it unmaps, then tells the device. In a PV domain nobody may change the protection of the pages or move
/// them: the kernel takes them away at that.
#[derive(Debug)]
pub struct Mapped {
    // Dropped in this order: unmapped first, then the device is told.
    pages: Pages,
    device: Told,
}

/// What the device knows of a mapping, until it is told to forget it.
#[derive(Debug)]
struct Told {
    offset: u64,
    count: u32,
    file: OwnedFd,
}

impl Drop for Told {
    fn drop(&mut self) {
        // Closing would do, were nobody else given the file. It cannot fail but where such a holder was faster.
        let _ = sys::gntdev_unmap(self.file.as_fd(), self.offset, self.count);
    }
}

impl Mapped {
    /// The pages. A clone that outlives this keeps them mapped, and delays the notification.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.pages.clone()
    }

    /// Their length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Arranges that, when the pages are unmapped, this byte of them becomes 0, and an event is sent through `port`,
    /// for the granting side to see. It fires when the mapping is gone and the device was told or its file closed, so
    /// also when this process ends in any way.
    ///
    /// There is one such arrangement for all the pages; a second call replaces it. The kernel keeps the channel open
    /// for it.
    ///
    /// # Errors
    /// [`XenError::NotBound`] when `port` is not open in this domain, or the pages are mapped for reading only.
    ///
    /// # Panics
    /// When the byte is not within the pages.
    pub fn set_unmap_notify(&self, byte_offset: u64, port: Port) -> Result<(), XenError> {
        let device = &self.device;
        let pages = (device.file.as_fd(), device.offset, self.len());
        set_unmap_notify(pages, byte_offset, AtUnmap::ClearAndSend, port)
    }
}
