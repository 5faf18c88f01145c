//! Event channels: how one domain wakes another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::device::Device;
use super::domain::{DomId, Port};
use super::error::XenError;
use super::sys;

/// The device of event channels, `/dev/xen/evtchn` (kernel module `xen-evtchn`), for programs that open many channels,
/// or give up their privileges before they do.
#[derive(Debug)]
pub struct EventChannels {
    device: Device,
}

impl EventChannels {
    /// Opens the device, for one channel. More open it again.
    ///
    /// # Errors
    /// When the device is not there, or may not be opened.
    pub fn open() -> Result<Self, XenError> {
        Self::with_spares(1)
    }

    /// Opens the device for that many channels, so that no privilege is needed for them later.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_spares(channels: usize) -> Result<Self, XenError> {
        let (path, module) = ("/dev/xen/evtchn", "xen-evtchn");
        let device = Device::open(path, module, OFlags::NONBLOCK, channels)?;
        Ok(Self { device })
    }

    /// As [`EventChannel::open_unbound`].
    ///
    /// # Errors
    /// As there.
    pub fn open_unbound(&self, remote: DomId) -> Result<EventChannel, XenError> {
        let file = self.device.file()?;
        let port = sys::evtchn_unbound(file.as_fd(), remote.get())
            .map_err(|source| refused(remote, None, source))?;
        Ok(EventChannel::new(file, Port::new(port)))
    }

    /// As [`EventChannel::bind`].
    ///
    /// # Errors
    /// As there.
    pub fn bind(&self, remote: DomId, port: Port) -> Result<EventChannel, XenError> {
        let file = self.device.file()?;
        let local = sys::evtchn_interdomain(file.as_fd(), remote.get(), port.get())
            .map_err(|source| refused(remote, Some(port), source))?;
        Ok(EventChannel::new(file, Port::new(local)))
    }
}

/// The error of making a channel: what the hypervisor said (Xen's `evtchn_alloc_unbound`, `evtchn_bind_interdomain`).
fn refused(remote: DomId, port: Option<Port>, source: io::Error) -> XenError {
    match (source.raw_os_error(), port) {
        (Some(libc::ENOSPC), _) => XenError::EventChannelsUsedUp { remote },
        (Some(libc::ESRCH), _) => XenError::NoDomain(remote),
        (Some(libc::EINVAL | libc::EPERM | libc::EACCES), Some(port)) => {
            XenError::PortRefused { remote, port }
        }
        _ => XenError::System {
            doing: "open an event channel",
            source,
        },
    }
}

/// One end of an event channel, in an open file of its own. Dropping it closes the end.
///
/// Events are hints: several merge into one, one may come for nothing (binding raises one on the binder's side), and
/// the other side may have gone without any. Whoever is woken [`drain`](Self::drain)s first, and looks at the shared
/// memory then.
///
/// # Handing it on
///
/// Another process of this domain that is given [`fd`](Self::fd) makes a channel of it with [`from_fd`](Self::from_fd).
/// Only one of both should drain: what one reads the other does not, and whoever clears `O_NONBLOCK` makes the other's
/// drain wait. Sending is safe for both: it never waits for the other side or another holder's program.
#[derive(Debug)]
pub struct EventChannel {
    file: OwnedFd,
    port: Port,
}

/// Ports that one read takes. A file with one channel never has more than one: the port is masked until it is written back.
const PORTS: usize = 16;

impl EventChannel {
    fn new(file: OwnedFd, port: Port) -> Self {
        Self { file, port }
    }

    /// Makes a channel that domain `remote` can bind to, when it is told our [`local_port`](Self::local_port).
    ///
    /// # Errors
    /// When the device cannot be opened, or this domain has no channel left.
    pub fn open_unbound(remote: DomId) -> Result<Self, XenError> {
        EventChannels::open()?.open_unbound(remote)
    }

    /// Binds to the channel that domain `remote` has opened for us as its `port`. It raises one event here.
    ///
    /// # Errors
    /// When the device cannot be opened, there is no such domain or port for us, or no channel is left.
    pub fn bind(remote: DomId, port: Port) -> Result<Self, XenError> {
        EventChannels::open()?.bind(remote, port)
    }

    /// The channel whose open file was handed over, and its port in this domain. Who handed it over is trusted.
    ///
    /// # Errors
    /// When the flags of the file cannot be changed.
    pub fn from_fd(file: OwnedFd, port: Port) -> io::Result<Self> {
        // A blocking drain would wait for the next event.
        let flags = fcntl_getfl(&file)?;
        fcntl_setfl(&file, flags | OFlags::NONBLOCK)?;
        Ok(Self::new(file, port))
    }

    /// Our end's number: what `remote` binds to, and what unmap notifications name.
    #[must_use]
    pub fn local_port(&self) -> Port {
        self.port
    }

    /// Becomes readable with an event, and stays so until it is drained.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Wakes the other side. Never blocks. It succeeds too when nobody is bound, or the other domain is gone.
    ///
    /// # Errors
    /// [`XenError::NotBound`] when the port is not of this file.
    pub fn notify(&self) -> Result<(), XenError> {
        sys::evtchn_notify(self.fd(), self.port.get()).map_err(|source| {
            match source.raw_os_error() {
                Some(libc::ENOTCONN) => XenError::NotBound(self.port),
                _ => XenError::System {
                    doing: "send an event",
                    source,
                },
            }
        })
    }

    /// Forgets all events up to now, tells whether there were any, and lets the next one through. Never blocks.
    ///
    /// # Errors
    /// What the system says: `EFBIG` when somebody who was handed the file bound more channels to it, and lost events.
    pub fn drain(&self) -> io::Result<bool> {
        let mut ports = [0; 4 * PORTS];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.file, &mut ports));
        let len = match read {
            Ok(len) => len.min(ports.len()),
            Err(Errno::AGAIN) => return Ok(false),
            Err(err) => return Err(err.into()),
        };
        // Written back, the ports are unmasked: an event that came in between is there at once.
        rustix::io::retry_on_intr(|| rustix::io::write(&self.file, &ports[..len]))?;
        Ok(len > 0)
    }

    /// Limits the file for good, so that it can be handed to a program that is trusted less.
    ///
    /// Its holder can still: send and receive events of this channel; close it (also for us); bind to any other port
    /// that domain `remote` has opened for this domain, so also take one that was meant for another program here; and
    /// take file flags and unread events from us. It can no longer make channels for other domains, or bind virtual
    /// interrupts.
    ///
    /// # Errors
    /// [`XenError::NotRestricted`] when it was restricted before, or `remote` is 0: the kernel restricts no file to domain 0.
    pub fn restrict(&self, remote: DomId) -> Result<(), XenError> {
        sys::evtchn_restrict(self.fd(), remote.get()).map_err(|source| XenError::NotRestricted {
            domain: remote,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A stream stands in for the device: the ports are read, and written back as they are.
    #[test]
    fn a_drain_writes_back_what_it_read_and_does_not_wait() {
        let (device, user) = UnixStream::pair().expect("a socket pair");
        let channel = EventChannel::from_fd(user.into(), Port::new(7)).expect("flags");
        assert!(!channel.drain().expect("nothing yet"));
        rustix::io::write(&device, &7u32.to_ne_bytes()).expect("room");
        assert!(channel.drain().expect("an event"));
        let mut back = [0; 8];
        assert_eq!(rustix::io::read(&device, &mut back), Ok(4));
        assert_eq!(back[..4], 7u32.to_ne_bytes());
        assert!(!channel.drain().expect("nothing more"));
    }

    #[test]
    fn errors_say_what_the_hypervisor_meant() {
        let remote = DomId::new(3);
        let error = |port, errno| refused(remote, port, io::Error::from_raw_os_error(errno));
        let port = Some(Port::new(9));
        assert!(matches!(
            error(None, libc::ENOSPC),
            XenError::EventChannelsUsedUp { .. }
        ));
        assert!(matches!(error(port, libc::ESRCH), XenError::NoDomain(_)));
        assert!(matches!(
            error(port, libc::EINVAL),
            XenError::PortRefused { .. }
        ));
        assert!(matches!(error(None, libc::EINVAL), XenError::System { .. }));
    }
}
