//! xenstore: the small shared tree of names and values through which domains find each other.
//!
//! The protocol is that of Xen's `docs/misc/xenstore.txt` and `xen/include/public/io/xs_wire.h`: a request and its reply
//! have a header of four words each, in the machine's byte order, and a payload of at most 4096 bytes; events of watches
//! come between them.

// The bytes of other domains are read here.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::panic
    )
)]

mod connection;
mod permission;
mod wire;

#[cfg(test)]
mod tests;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::OFlags;

pub use connection::MAX_EVENTS;
pub use permission::{Permission, Rights};
pub use wire::MAX_REQUEST;

use super::device::open_device;
use super::domain::DomId;
use super::error::{StoreQuota, StoreReason, XenError};
use connection::{Connection, Refused};
use wire::{Kind, TxId};

/// A connection to xenstore.
///
/// Paths are absolute (`/local/domain/3/data/x`) or below this domain's own place (`data/x`). A request waits for its
/// reply. Events of watches are kept as they arrive, and taken with [`next_event`](Self::next_event).
///
/// Dropping it removes its watches and aborts what it has begun.
#[derive(Debug)]
pub struct XenStore {
    connection: Connection,
}

/// Something at or below a watched path has changed, or its permissions. A hint: look at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    /// What has changed, absolute or not as the watch is.
    pub path: String,
    /// The token that the watch was given.
    pub token: String,
}

/// How often a transaction is tried before its caller hears of it.
const ATTEMPTS: u32 = 64;

impl XenStore {
    /// Connects through the kernel's device.
    ///
    /// # Errors
    /// When there is none (this is no Xen domain), or it may not be opened.
    pub fn open() -> Result<Self, XenError> {
        match open_device("/dev/xen/xenbus", None, OFlags::NONBLOCK) {
            Ok(file) => Ok(Self::new(file)),
            // Where it was before Linux 3.3, and still is when xenfs is mounted.
            Err(XenError::NoDevice { path, module }) => {
                open_device("/proc/xen/xenbus", None, OFlags::NONBLOCK)
                    .map(Self::new)
                    .map_err(|_| XenError::NoDevice { path, module })
            }
            Err(err) => Err(err),
        }
    }

    /// Talks to xenstore over another stream: the daemon's socket (`/run/xenstored/socket` in domain 0), or a test's.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn over(stream: impl Into<OwnedFd>) -> std::io::Result<Self> {
        let stream = stream.into();
        let flags = rustix::fs::fcntl_getfl(&stream)?;
        rustix::fs::fcntl_setfl(&stream, flags | OFlags::NONBLOCK)?;
        Ok(Self::new(stream))
    }

    fn new(stream: OwnedFd) -> Self {
        Self {
            connection: Connection::new(stream),
        }
    }

    /// Becomes readable when events may have arrived. Whoever waits for it takes all events first: those that came
    /// with a reply are here already, and the descriptor says nothing of them.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.connection.fd()
    }

    /// The next event of a watch, if one has arrived. Never blocks. Equal ones that wait are one.
    ///
    /// # Errors
    /// [`XenError::EventsLost`], once, when more than [`MAX_EVENTS`] had to wait. Else the connection is of no use any more.
    pub fn next_event(&mut self) -> Result<Option<WatchEvent>, XenError> {
        self.connection.next_event()
    }

    /// Takes all events that have arrived; whether there were any, or some were lost. Never blocks. For those to whom an event
    /// says no more than to look again. After an error the connection is of no use any more.
    pub(crate) fn changed(&mut self) -> Result<bool, XenError> {
        let mut changed = false;
        loop {
            match self.next_event() {
                Ok(Some(_)) | Err(XenError::EventsLost { .. }) => changed = true,
                Ok(None) => return Ok(changed),
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`next_event`](Self::next_event), but waits for one (`None`: for ever). Gives nothing when the time is over.
    ///
    /// # Errors
    /// As there.
    pub fn wait_event(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Option<WatchEvent>, XenError> {
        self.connection.wait_event(timeout)
    }

    /// Reports changes at and below `path` from now on, with this token; the first event comes at once. Setting
    /// permissions counts as a change, so a path can be watched before it may be read.
    ///
    /// # Errors
    /// As [`Transaction::read`]; [`XenError::StoreQuota`] when this domain has as many watches as it may. The daemon
    /// refuses a second watch with the same path and token, the kernel's device does not.
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), XenError> {
        let payload = wire::strings(&[path, token])?;
        self.ask("watch", Kind::Watch, TxId::NONE, path, &payload)
            .map(drop)
    }

    /// Ends a watch. Events of it that arrived before may still be taken.
    ///
    /// # Errors
    /// When there is none (not through the device).
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<(), XenError> {
        let payload = wire::strings(&[path, token])?;
        self.ask("unwatch", Kind::Unwatch, TxId::NONE, path, &payload)
            .map(drop)
    }

    /// Does many things at once or none: what `steps` reads does not change while it runs, and what it writes is seen
    /// by others only at the end. When others have changed what it read, it runs again, up to 64 times.
    ///
    /// When `steps` fails, nothing is changed.
    ///
    /// # Errors
    /// What `steps` says; [`XenError::StoreConflict`].
    pub fn transaction<T>(
        &mut self,
        mut steps: impl FnMut(&mut Transaction<'_>) -> Result<T, XenError>,
    ) -> Result<T, XenError> {
        for _ in 0..ATTEMPTS {
            let id = self.begin()?;
            let mut transaction = Transaction { store: self, id };
            let result = steps(&mut transaction);
            let end = if result.is_ok() { b"T\0" } else { b"F\0" };
            let ended = self.ask("end a transaction", Kind::TransactionEnd, id, "", end);
            match (result, ended) {
                (Ok(value), Ok(_)) => return Ok(value),
                (Ok(_), Err(err)) | (Err(err), _) if err.is_conflict() => {}
                (Ok(_), Err(err)) | (Err(err), _) => return Err(err),
            }
        }
        Err(XenError::StoreConflict { attempts: ATTEMPTS })
    }

    fn begin(&mut self) -> Result<TxId, XenError> {
        let doing = "begin a transaction";
        let reply = self.ask(doing, Kind::TransactionStart, TxId::NONE, "", b"\0")?;
        wire::number(&reply)
            .map(TxId::new)
            .filter(|&id| id != TxId::NONE)
            .ok_or(XenError::StoreGarbled("a transaction without a number"))
    }

    /// Where a domain's paths begin, whether there is such a domain or not: `/local/domain/3`.
    ///
    /// # Errors
    /// As [`Transaction::read`].
    pub fn get_domain_path(&mut self, domain: DomId) -> Result<String, XenError> {
        let domain = domain.to_string();
        let payload = wire::strings(&[&domain])?;
        let kind = Kind::GetDomainPath;
        let reply = self.ask(
            "tell the path of domain",
            kind,
            TxId::NONE,
            &domain,
            &payload,
        )?;
        wire::text(wire::before_zero(&reply))
    }

    /// This domain's own number.
    ///
    /// # Errors
    /// As [`Transaction::read`].
    pub fn domid(&mut self) -> Result<DomId, XenError> {
        let value = self.read("domid")?;
        wire::number(&value)
            .and_then(|number| u16::try_from(number).ok())
            .map(DomId::new)
            .ok_or(XenError::StoreGarbled("a domain's number is none"))
    }

    /// As [`Transaction::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, XenError> {
        self.alone().read(path)
    }

    /// As [`Transaction::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<(), XenError> {
        self.alone().write(path, value)
    }

    /// As [`Transaction::mkdir`].
    ///
    /// # Errors
    /// As there.
    pub fn mkdir(&mut self, path: &str) -> Result<(), XenError> {
        self.alone().mkdir(path)
    }

    /// As [`Transaction::rm`].
    ///
    /// # Errors
    /// As there.
    pub fn rm(&mut self, path: &str) -> Result<(), XenError> {
        self.alone().rm(path)
    }

    /// As [`Transaction::directory`].
    ///
    /// # Errors
    /// As there.
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>, XenError> {
        self.alone().directory(path)
    }

    /// As [`Transaction::get_perms`].
    ///
    /// # Errors
    /// As there.
    pub fn get_perms(&mut self, path: &str) -> Result<Vec<Permission>, XenError> {
        self.alone().get_perms(path)
    }

    /// As [`Transaction::set_perms`].
    ///
    /// # Errors
    /// As there.
    pub fn set_perms(&mut self, path: &str, permissions: &[Permission]) -> Result<(), XenError> {
        self.alone().set_perms(path, permissions)
    }

    /// Each thing by itself.
    fn alone(&mut self) -> Transaction<'_> {
        let id = TxId::NONE;
        Transaction { store: self, id }
    }

    fn ask(
        &mut self,
        operation: &'static str,
        kind: Kind,
        id: TxId,
        path: &str,
        payload: &[u8],
    ) -> Result<Vec<u8>, XenError> {
        self.connection
            .ask(kind, id, payload)
            .map_err(|refused| match refused {
                Refused::By(reason) => refusal(operation, kind, path, reason),
                Refused::Failed(err) => err,
            })
    }
}

/// What a refusal means for this kind of request.
fn refusal(operation: &'static str, kind: Kind, path: &str, reason: StoreReason) -> XenError {
    let path = path.to_owned();
    // xenstored answers ENOSPC, and for watches E2BIG; oxenstored EQUOTA.
    let quota = match (kind, reason) {
        (Kind::Write | Kind::Mkdir, StoreReason::Full) => StoreQuota::Entries,
        (Kind::SetPerms, StoreReason::Full) => StoreQuota::Permissions,
        (Kind::TransactionStart, StoreReason::Full) => StoreQuota::Transactions,
        (Kind::Watch, StoreReason::Full | StoreReason::TooBig) => StoreQuota::Watches,
        _ => {
            return XenError::Store {
                operation,
                path,
                reason,
            };
        }
    };
    XenError::StoreQuota {
        operation,
        path,
        quota,
    }
}

/// What can be done in a transaction, and without one by the same methods of [`XenStore`].
#[derive(Debug)]
pub struct Transaction<'a> {
    store: &'a mut XenStore,
    id: TxId,
}

impl Transaction<'_> {
    /// The value of a path.
    ///
    /// # Errors
    /// [`XenError::Store`] when there is no such path or this domain may not; else the connection is of no use any more.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, XenError> {
        let payload = wire::strings(&[path])?;
        self.store.ask("read", Kind::Read, self.id, path, &payload)
    }

    /// Sets the value of a path, which is made if need be, with all above it. Any bytes will do.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`XenError::StoreQuota`]; [`XenError::StoreTooLong`] when path and value together have
    /// more than [`MAX_REQUEST`] bytes less one.
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<(), XenError> {
        let mut payload = wire::strings(&[path])?;
        payload.extend_from_slice(value);
        self.store
            .ask("write", Kind::Write, self.id, path, &payload)
            .map(drop)
    }

    /// Makes a path with an empty value, unless it is there.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn mkdir(&mut self, path: &str) -> Result<(), XenError> {
        let payload = wire::strings(&[path])?;
        self.store
            .ask("make", Kind::Mkdir, self.id, path, &payload)
            .map(drop)
    }

    /// Removes a path and everything below it. None is an error only when what would hold it is not there either.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn rm(&mut self, path: &str) -> Result<(), XenError> {
        let payload = wire::strings(&[path])?;
        self.store
            .ask("remove", Kind::Rm, self.id, path, &payload)
            .map(drop)
    }

    /// The names right below a path.
    ///
    /// # Errors
    /// As [`read`](Self::read); with `TooBig` when the names do not fit a reply.
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>, XenError> {
        let payload = wire::strings(&[path])?;
        let (doing, kind) = ("list", Kind::Directory);
        let reply = self.store.ask(doing, kind, self.id, path, &payload)?;
        wire::parts(&reply).map(wire::text).collect()
    }

    /// Who may read and write a path: the first entry is its owner, and what everybody else may.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn get_perms(&mut self, path: &str) -> Result<Vec<Permission>, XenError> {
        let payload = wire::strings(&[path])?;
        let (doing, kind) = ("tell the permissions of", Kind::GetPerms);
        let reply = self.store.ask(doing, kind, self.id, path, &payload)?;
        wire::parts(&reply)
            .map(|part| {
                Permission::from_wire(part).ok_or(XenError::StoreGarbled("an unknown permission"))
            })
            .collect()
    }

    /// Says who may read and write a path. The first entry names its owner, who may do everything, and what everybody
    /// else may who is not named after it. Only the owner and domain 0 may say so.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`XenError::StoreQuota`].
    pub fn set_perms(&mut self, path: &str, permissions: &[Permission]) -> Result<(), XenError> {
        let mut payload = wire::strings(&[path])?;
        for permission in permissions {
            payload.extend_from_slice(permission.to_string().as_bytes());
            payload.push(0);
        }
        let doing = "set the permissions of";
        self.store
            .ask(doing, Kind::SetPerms, self.id, path, &payload)
            .map(drop)
    }
}
