//! The socket that guests connect to.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with, sockopt,
};

use super::link::ProcessLink;
use crate::meeting::{GuestLink, Meeting};
use crate::waitset::{Interest, WaitSet};

/// How many guests may wait to be taken in; more get `EAGAIN` and try again.
const BACKLOG: i32 = 128;

/// Where guests of this host arrive: a listening Unix socket.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    /// What to remove at the end: the socket's name and its inode.
    name: Option<(PathBuf, u64, u64)>,
}

/// The address of a path; `@name` is a name in the abstract namespace, which leaves nothing in any file system.
pub(super) fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    let address = match path.as_os_str().as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        _ => SocketAddrUnix::new(path),
    };
    address.map_err(|err| match err {
        Errno::NAMETOOLONG => io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{}: a socket's path has at most 107 bytes", path.display()),
        ),
        err => err.into(),
    })
}

pub(super) fn open() -> io::Result<OwnedFd> {
    let (unix, seqpacket) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(socket_with(unix, seqpacket, SocketFlags::CLOEXEC, None)?)
}

impl Listener {
    /// Listens on `path`, with file permissions `mode` (such as `0o660`: who may connect must be able to write).
    /// A socket file that nobody listens on any more is replaced; `@name` is an abstract name, which has no permissions.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there, or when what is there is no socket; else what the system says.
    pub fn bind(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let path = path.as_ref();
        let address = address(path)?;
        let fd = open()?;
        if address.abstract_name().is_some() {
            bind(&fd, &address)?;
            return Self::listening(fd, None);
        }
        // The file gets the socket's own mode, less the umask: never more than this, not even for a moment.
        fchmod(&fd, Mode::from_raw_mode(mode & 0o777))?;
        match bind(&fd, &address) {
            Err(Errno::ADDRINUSE) => {
                remove_stale(path, &address)?;
                bind(&fd, &address)?;
            }
            other => other?,
        }
        let found = fs::symlink_metadata(path)?;
        let name = Some((path.to_owned(), found.dev(), found.ino()));
        let listener = Self::listening(fd, name)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
        Ok(listener)
    }

    /// Takes over a `SOCK_SEQPACKET` Unix socket that listens already, such as one from a service manager. Its name is left alone.
    ///
    /// # Errors
    /// `InvalidInput` when it is no such socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let kind = sockopt::socket_type(&fd)?;
        if kind != SocketType::SEQPACKET || !sockopt::socket_acceptconn(&fd)? {
            let what = "not a listening SOCK_SEQPACKET socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, name: None })
    }

    fn listening(fd: OwnedFd, name: Option<(PathBuf, u64, u64)>) -> io::Result<Self> {
        let listener = Self { fd, name };
        listen(&listener.fd, BACKLOG)?;
        rustix::io::ioctl_fionbio(&listener.fd, true)?;
        Ok(listener)
    }

    /// Takes one guest that has connected, or `None`. Does not block.
    ///
    /// # Errors
    /// As [`Meeting::accept`].
    pub fn accept_link(&self) -> io::Result<Option<ProcessLink>> {
        match accept_with(&self.fd, SocketFlags::CLOEXEC) {
            Ok(fd) => ProcessLink::new(fd).map(Some),
            // The guest thought better of it, or there is none.
            Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }
}

/// Removes a socket file whose listener died. Another starting back end may do the same at the same time: only the
/// file that was found dead is removed.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    let in_use = |what: &str| {
        let text = format!("{}: {what}", path.display());
        io::Error::new(io::ErrorKind::AddrInUse, text)
    };
    let found = match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let probe = open()?;
    // A listener whose backlog is full is alive as well.
    rustix::io::ioctl_fionbio(&probe, true)?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => {}
        // Of the wrong kind: somebody else's.
        Err(Errno::PROTOTYPE) | Ok(()) | Err(Errno::AGAIN) => {
            return Err(in_use("another process listens there"));
        }
        Err(Errno::NOENT) => return Ok(()),
        Err(err) => return Err(err.into()),
    }
    if rustix::fs::FileType::from_raw_mode(found.mode()) != rustix::fs::FileType::Socket {
        return Err(in_use("there is a file that is no socket"));
    }
    let aside = aside(path);
    fs::rename(path, &aside)?;
    let moved = fs::symlink_metadata(&aside)?;
    if (moved.dev(), moved.ino()) != (found.dev(), found.ino()) {
        // Somebody has bound it in between: put it back unless there is a yet newer one.
        let _ = fs::hard_link(&aside, path);
        fs::remove_file(&aside)?;
        return Err(in_use("another process has just begun to listen there"));
    }
    fs::remove_file(&aside)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

impl Meeting for Listener {
    fn accept(&mut self) -> io::Result<Option<Box<dyn GuestLink>>> {
        let link = self.accept_link()?;
        Ok(link.map(|link| Box::new(link) as Box<dyn GuestLink>))
    }

    fn watch(&self, set: &WaitSet, token: u64) -> io::Result<()> {
        set.add(self.fd.as_fd(), token, Interest::Read)
    }

    fn unwatch(&self, set: &WaitSet) {
        set.remove(self.fd.as_fd());
    }
}

impl Drop for Listener {
    /// Removes the socket's name, unless it is somebody else's by now.
    fn drop(&mut self) {
        if let Some((path, dev, ino)) = &self.name
            && let Ok(found) = fs::symlink_metadata(path)
            && (found.dev(), found.ino()) == (*dev, *ino)
        {
            let _ = fs::remove_file(path);
        }
    }
}
