//! Pages of ours that another domain may map.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use myrixen_shm::{Access, Pages};
use rustix::fs::OFlags;

use super::device::Device;
use super::domain::{DomId, GrantRef, Port};
use super::error::XenError;
use super::sys::AtUnmap;
use super::{bytes, sys};

/// The device that grants pages, `/dev/xen/gntalloc` (kernel module `xen-gntalloc`).
///
/// Each allocation has an open file of its own, so that it can be handed to another process without the others, and is
/// freed when everybody has closed and unmapped it.
#[derive(Debug)]
pub struct GrantAlloc {
    device: Device,
}

/// `limit` of the module: how many pages all users of the device together may grant.
const LIMIT: &str = "/sys/module/xen_gntalloc/parameters/limit";

/// How many pages that were given up while the peer mapped them the kernel looks at a second, to take them back
/// (since 2023, in 6.1 by an update; 10 unless it was changed).
const RECLAIM: &str = "/sys/module/grant_table/parameters/free_per_iteration";

impl GrantAlloc {
    /// Opens the device, for one allocation. More open it again.
    ///
    /// # Errors
    /// When the device is not there, or may not be opened.
    pub fn open() -> Result<Self, XenError> {
        Self::with_spares(1)
    }

    /// Opens the device for that many allocations, so that no privilege is needed for them later.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_spares(allocations: usize) -> Result<Self, XenError> {
        let (path, module) = ("/dev/xen/gntalloc", "xen-gntalloc");
        let device = Device::open(path, module, OFlags::empty(), allocations)?;
        Ok(Self { device })
    }

    /// Allocates zeroed pages that domain `to` may map, with the given access; we may always write them. Whether there
    /// is such a domain is not checked. They are memory of the kernel's that is never swapped out.
    ///
    /// # Errors
    /// When a limit is reached (see [`limit`](Self::limit)), or the kernel has no memory.
    pub fn alloc(&self, to: DomId, pages: u32, access: Access) -> Result<Granted, XenError> {
        if pages == 0 {
            return Err(XenError::NoPages);
        }
        let len = bytes(usize::try_from(pages).unwrap_or(usize::MAX));
        let file = self.device.file()?;
        let (offset, refs) = sys::gntalloc_alloc(file.as_fd(), to.get(), pages, access)
            .map_err(|source| refused(pages, source))?;
        let mapped =
            Pages::map_device(&file, offset, len, Access::ReadWrite).map_err(|source| {
                let doing = "map the pages that were just granted";
                XenError::System { doing, source }
            })?;
        Ok(Granted {
            pages: mapped,
            refs: refs.into_iter().map(GrantRef::new).collect(),
            offset,
            file,
        })
    }

    /// How many pages all programs of this domain together may grant: 1024 unless it was changed. Pages that their
    /// owner has given up while the peer still maps them do not count (Linux 5.17, and older ones by an update), but keep their place in the grant
    /// table.
    ///
    /// # Errors
    /// When the module is not loaded.
    pub fn limit() -> Result<u32, XenError> {
        read_limit(LIMIT)
    }

    /// Changes the limit; root may. Keep it below the grant table's size (512 grants for each of `max_grant_frames`),
    /// which network and disk devices need a part of: a table that was full once may stay so until the next boot.
    ///
    /// # Errors
    /// When the module is not loaded, or we are not root.
    pub fn set_limit(pages: u32) -> Result<(), XenError> {
        let path = LIMIT;
        fs::write(path, pages.to_string()).map_err(|source| XenError::Parameter { path, source })
    }

    /// How many pages a second the kernel tries to take back of those that were given up while the peer mapped them: 10 unless it
    /// was changed, 0 for all.
    ///
    /// # Errors
    /// When the kernel has no such parameter.
    pub fn reclaim_rate() -> Result<u32, XenError> {
        read_limit(RECLAIM)
    }

    /// Changes that; root may.
    ///
    /// # Errors
    /// When the kernel has no such parameter, or we are not root.
    pub fn set_reclaim_rate(pages: u32) -> Result<(), XenError> {
        let path = RECLAIM;
        fs::write(path, pages.to_string()).map_err(|source| XenError::Parameter { path, source })
    }
}

/// The error of an allocation.
fn refused(pages: u32, source: io::Error) -> XenError {
    match source.raw_os_error() {
        // Linux drivers/xen/gntalloc.c for the limit, grant-table.c for a full table.
        Some(libc::ENOSPC) => match GrantAlloc::limit().ok() {
            Some(limit) if limit < pages => XenError::GrantLimit { pages, limit },
            limit => XenError::GrantsUsedUp { pages, limit },
        },
        Some(libc::ENOMEM) => XenError::Memory {
            pages: usize::try_from(pages).unwrap_or(usize::MAX),
        },
        _ => XenError::System {
            doing: "grant pages",
            source,
        },
    }
}

/// A module's limit.
pub(super) fn read_limit(path: &'static str) -> Result<u32, XenError> {
    let parse = |text: String| text.trim().parse().map_err(io::Error::other);
    fs::read_to_string(path)
        .and_then(parse)
        .map_err(|source| XenError::Parameter { path, source })
}

/// Pages of ours that one other domain may map.
///
/// # Handing them on
///
/// Another process of this domain that is given [`fd`](Self::fd), [`offset`](Self::offset) and [`len`](Self::len) maps
/// them with [`Pages::map_device`]. It can then do everything with the file: grant more pages up to the limit, to any
/// domain; change the notification; take the pages out of the file. Children of a fork inherit the mapping.
///
/// # When they are freed
///
/// Dropping it unmaps, then closes. The grants end, and the notification fires, when every process that had the file
/// has closed it **and** every mapping is gone, in whichever process. A peer that still maps the pages keeps their
/// memory and their places in the grant table: the kernel retries until the peer is done, a few pages a second
/// ([`reclaim_rate`](GrantAlloc::reclaim_rate)), so let the peer unmap first.
#[derive(Debug)]
pub struct Granted {
    // Dropped in this order: unmapped first, released second.
    pages: Pages,
    refs: Vec<GrantRef>,
    offset: u64,
    file: OwnedFd,
}

impl Granted {
    /// A reference for each page, in order: what the peer needs to know.
    #[must_use]
    pub fn refs(&self) -> &[GrantRef] {
        &self.refs
    }

    /// The pages, mapped for reading and writing. A clone that outlives this keeps the grants.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.pages.clone()
    }

    /// The file, for another process that maps the pages too.
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
        self.pages.len()
    }

    /// Arranges that, when the page with this byte is freed on our side (see above), the byte becomes 0 and an event is
    /// sent through `port`. The peer sees it: its mapping stays.
    ///
    /// Each page has one such arrangement; a second call replaces it. The kernel keeps the channel open for it, even if
    /// its [`EventChannel`](super::EventChannel) is closed before. It fires however our processes end, but not when the
    /// domain is destroyed.
    ///
    /// # Errors
    /// [`XenError::NotBound`] when `port` is not open in this domain.
    ///
    /// # Panics
    /// When the byte is not within the pages.
    pub fn set_unmap_notify(&self, byte_offset: u64, port: Port) -> Result<(), XenError> {
        let pages = (self.fd(), self.offset, self.len());
        set_unmap_notify(pages, byte_offset, AtUnmap::ClearAndSend, port)
    }

    /// Unmaps the pages here and gives the file away, with [`offset`](Self::offset) and [`len`](Self::len): whoever maps it now
    /// has the pages.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, u64, usize) {
        let len = self.len();
        (self.file, self.offset, len)
    }

    /// Takes the pages out of the file: whoever has it can no longer map them, and they are freed with the last
    /// mapping, even if somebody keeps the file open.
    ///
    /// # Errors
    /// When another holder of the file did it before.
    pub fn release(self) -> Result<(), XenError> {
        let Self {
            pages,
            refs,
            offset,
            file,
        } = self;
        drop(pages);
        let count = u32::try_from(refs.len()).unwrap_or(u32::MAX);
        sys::gntalloc_dealloc(file.as_fd(), offset, count).map_err(|source| XenError::System {
            doing: "release granted pages",
            source,
        })
    }
}

/// Arranges for what happens at the end of pages: of so many bytes, from where on in a file of gntalloc or gntdev.
pub(super) fn set_unmap_notify(
    (fd, start, len): (BorrowedFd<'_>, u64, usize),
    byte_offset: u64,
    what: AtUnmap,
    port: Port,
) -> Result<(), XenError> {
    let inside = usize::try_from(byte_offset).is_ok_and(|offset| offset < len);
    assert!(inside, "byte {byte_offset} of {len}");
    sys::set_unmap_notify(fd, start + byte_offset, what, port.get()).map_err(|source| {
        match source.raw_os_error() {
            // The byte is in the pages, so the port is not: evtchn_get() in drivers/xen/events/events_base.c.
            Some(libc::EINVAL) => XenError::NotBound(port),
            _ => XenError::System {
                doing: "ask for an event when pages are unmapped",
                source,
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_and_a_full_device_are_told_apart_where_the_kernel_does() {
        let error = |errno| refused(5, io::Error::from_raw_os_error(errno));
        assert!(matches!(
            error(libc::ENOSPC),
            XenError::GrantsUsedUp { pages: 5, .. } | XenError::GrantLimit { .. }
        ));
        assert!(matches!(error(libc::ENOMEM), XenError::Memory { pages: 5 }));
        assert!(matches!(error(libc::EFAULT), XenError::System { .. }));
    }
}
