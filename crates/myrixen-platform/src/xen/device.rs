//! Opening the devices, now or ahead of time.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::error::XenError;

/// A device of which each user gets an open file of its own.
#[derive(Debug)]
pub(super) struct Device {
    path: &'static str,
    /// What to load when it is not there.
    module: &'static str,
    flags: OFlags,
    /// Opened ahead, for when the privilege to open is gone.
    spares: Mutex<Vec<OwnedFd>>,
}

impl Device {
    pub(super) fn open(
        path: &'static str,
        module: &'static str,
        flags: OFlags,
        spares: usize,
    ) -> Result<Self, XenError> {
        let files: Result<Vec<_>, _> = (0..spares)
            .map(|_| open_device(path, Some(module), flags))
            .collect();
        Ok(Self {
            path,
            module,
            flags,
            spares: Mutex::new(files?),
        })
    }

    /// An open file that nobody else has.
    pub(super) fn file(&self) -> Result<OwnedFd, XenError> {
        let spare = self
            .spares
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        match spare {
            Some(file) => Ok(file),
            None => open_device(self.path, Some(self.module), self.flags),
        }
    }
}

/// Opens a device for reading and writing, close-on-exec.
pub(super) fn open_device(
    path: &'static str,
    module: Option<&'static str>,
    flags: OFlags,
) -> Result<OwnedFd, XenError> {
    open(path, OFlags::RDWR | OFlags::CLOEXEC | flags, Mode::empty())
        .map_err(|errno| open_error(path, module, errno))
}

fn open_error(path: &'static str, module: Option<&'static str>, errno: Errno) -> XenError {
    match errno {
        // ENODEV, ENXIO: the node is there, its driver is not.
        Errno::NOENT | Errno::NODEV | Errno::NXIO => XenError::NoDevice { path, module },
        Errno::ACCESS | Errno::PERM => XenError::Permission { path },
        errno => XenError::Open {
            path,
            source: io::Error::from(errno),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_names_its_module() {
        let found = Device::open("/nonexistent/gntalloc", "xen-gntalloc", OFlags::empty(), 1);
        let text = found.expect_err("no such file").to_string();
        assert!(text.contains("modprobe xen-gntalloc"), "{text}");
    }

    #[test]
    fn a_spare_is_used_before_the_device_is_opened_again() {
        let mut device = Device::open("/dev/null", "null", OFlags::empty(), 1).expect("opened");
        device.path = "/nonexistent/null";
        device.file().expect("the spare");
        device.file().expect_err("no more");
    }
}
