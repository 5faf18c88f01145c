//! Why Xen, or its devices, did not do as they were asked.

use std::fmt;
use std::io;

use super::domain::{DomId, Port};

/// What went wrong. The text says what was asked for, which limit was hit, and which setting raises it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XenError {
    /// There is no such device.
    #[error("there is no {path}: {}", no_device(*.module))]
    NoDevice {
        /// Where it should be.
        path: &'static str,
        /// The kernel module that makes it; `None` when it is part of the kernel.
        module: Option<&'static str>,
    },
    /// The device may not be opened.
    #[error(
        "not permitted to open {path}: it belongs to root; run as root, or give it to a group by a udev rule"
    )]
    Permission {
        /// The device.
        path: &'static str,
    },
    /// The device cannot be opened for another reason.
    #[error("cannot open {path}")]
    Open {
        /// The device.
        path: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More pages than all programs of the domain together may grant.
    #[error(
        "{pages} pages are more than the {limit} that all programs of this domain together may grant; raise \
         /sys/module/xen_gntalloc/parameters/limit, or load the module with `xen-gntalloc limit=...`"
    )]
    GrantLimit {
        /// Pages asked for.
        pages: u32,
        /// gntalloc's limit.
        limit: u32,
    },
    /// No more pages can be granted. The kernel gives one answer for two limits.
    #[error(
        "{pages} more pages cannot be granted: either all programs of this domain together have reached gntalloc's \
         limit{} (raise /sys/module/xen_gntalloc/parameters/limit), or the domain's grant table is full \
         (raise `max_grant_frames=` in its xl configuration, and `gnttab_max_frames=` on Xen's command line)", of_pages(*.limit)
    )]
    GrantsUsedUp {
        /// Pages asked for.
        pages: u32,
        /// gntalloc's limit, where it could be read.
        limit: Option<u32>,
    },
    /// More pages than one mapping may have.
    #[error(
        "{pages} pages are more than the {limit} that may be mapped at once; raise \
         /sys/module/xen_gntdev/parameters/limit, or load the module with `xen-gntdev limit=...`"
    )]
    MapLimit {
        /// Pages asked for.
        pages: usize,
        /// gntdev's limit.
        limit: u32,
    },
    /// The kernel has no memory for that many pages.
    #[error(
        "the kernel has no memory for {pages} pages (`memory=` in the domain's xl configuration)"
    )]
    Memory {
        /// Pages asked for.
        pages: usize,
    },
    /// Nothing can be made of no page.
    #[error("at least one page is needed")]
    NoPages,
    /// The grants cannot be mapped.
    #[error(
        "cannot map {pages} pages of domain {from}: it does not grant them, or no longer, or only for reading; or they \
         are mapped already; or this domain maps too many (`max_maptrack_frames=` in its xl configuration)"
    )]
    NotMapped {
        /// Whose pages they are.
        from: DomId,
        /// How many.
        pages: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The domain has as many event channels as it may have.
    #[error(
        "no event channel is left in this domain, or in domain {remote}: raise `max_event_channels=` in the xl \
         configuration (1023 by default)"
    )]
    EventChannelsUsedUp {
        /// The other end's domain.
        remote: DomId,
    },
    /// There is no such domain, or not any more.
    #[error("there is no domain {0}")]
    NoDomain(DomId),
    /// The remote end is not there for us.
    #[error(
        "port {port} of domain {remote} does not wait for this domain: it is closed, bound already, or for another domain"
    )]
    PortRefused {
        /// The other end's domain.
        remote: DomId,
        /// The port there.
        port: Port,
    },
    /// The port is not one of this domain's open channels, or not one of this file.
    #[error("port {0} is not an open event channel of this file or domain")]
    NotBound(Port),
    /// The file was restricted before, or cannot be.
    #[error(
        "an event channel's file cannot be restricted to domain {domain}: once only, and never to domain 0"
    )]
    NotRestricted {
        /// To which domain.
        domain: DomId,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A module's parameter cannot be read or written.
    #[error("cannot access {path}: load the module, and run as root to change it")]
    Parameter {
        /// The parameter.
        path: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// xenstore refused.
    #[error("xenstore does not {operation} {path}: {reason}")]
    Store {
        /// What was asked for: `read`, `write`, ...
        operation: &'static str,
        /// Of which path.
        path: String,
        /// Why.
        reason: StoreReason,
    },
    /// xenstore refused because this domain has used up a quota.
    #[error("xenstore does not {operation} {path}: {quota}")]
    StoreQuota {
        /// What was asked for.
        operation: &'static str,
        /// Of which path.
        path: String,
        /// Which quota.
        quota: StoreQuota,
    },
    /// A request that does not fit. A long value has to be passed another way: in granted pages.
    #[error(
        "{bytes} bytes do not fit a xenstore request, {max} do: pass long values in granted pages"
    )]
    StoreTooLong {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        max: usize,
    },
    /// A path or token with a zero byte.
    #[error("{0:?} is no xenstore path or token: it contains a zero byte")]
    StorePath(String),
    /// What came from xenstore is not its protocol. The connection is of no use any more.
    #[error("xenstore's answer cannot be used: {0}")]
    StoreGarbled(&'static str),
    /// The connection failed before, or was closed.
    #[error("the connection to xenstore is broken: open it again")]
    StoreGone,
    /// Others changed what a transaction had read, again and again.
    #[error("a xenstore transaction met changes by others {attempts} times in a row")]
    StoreConflict {
        /// How often it was tried.
        attempts: u32,
    },
    /// More watch events came than are kept: look at everything that is watched again.
    #[error("more than {kept} xenstore watch events were waiting; some are lost")]
    EventsLost {
        /// How many are kept.
        kept: usize,
    },
    /// The system failed.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn no_device(module: Option<&'static str>) -> String {
    match module {
        Some(module) => format!("is this a Xen domain? then `modprobe {module}`"),
        None => "is this a Xen domain?".to_owned(),
    }
}

fn of_pages(limit: Option<u32>) -> String {
    limit.map_or_else(String::new, |limit| format!(" of {limit} pages"))
}

impl XenError {
    /// Whether xenstore has no such path.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Store {
                reason: StoreReason::NotFound,
                ..
            }
        )
    }

    /// Whether xenstore has no such path, or does not let us see whether it has: so it answers an unprivileged domain of keys of a
    /// domain that is gone.
    pub(super) fn is_absent(&self) -> bool {
        self.is_not_found()
            || matches!(
                self,
                Self::Store {
                    reason: StoreReason::Denied,
                    ..
                }
            )
    }

    /// Whether a transaction failed because others changed what it had read.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Store {
                reason: StoreReason::Conflict,
                ..
            }
        )
    }
}

/// Why xenstore refused: the errors of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreReason {
    /// `EINVAL`: not a path, a value or a request that it knows.
    Invalid,
    /// `EACCES`, `EPERM`: this domain may not.
    Denied,
    /// `EEXIST`: it is there already.
    Exists,
    /// `ENOENT`: it is not there.
    NotFound,
    /// `ENOMEM`: it has no memory.
    Memory,
    /// `ENOSPC`, `EQUOTA`: a quota. Where the operation tells which, the error is [`XenError::StoreQuota`].
    Full,
    /// `EIO`: it failed.
    Failed,
    /// `ENOSYS`: it does not know the request.
    Unknown,
    /// `EROFS`: it takes no changes.
    ReadOnly,
    /// `EBUSY`, `EISCONN`, `EISDIR`, `ENOTEMPTY`: the state of things.
    State,
    /// `EAGAIN`: others changed what the transaction had read.
    Conflict,
    /// `E2BIG`: the answer is too long.
    TooBig,
    /// Another word.
    Other,
}

impl StoreReason {
    /// Of the word in an error reply.
    pub(super) fn from_wire(word: &[u8]) -> Self {
        match word {
            b"EINVAL" => Self::Invalid,
            b"EACCES" | b"EPERM" => Self::Denied,
            b"EEXIST" => Self::Exists,
            b"ENOENT" => Self::NotFound,
            b"ENOMEM" => Self::Memory,
            b"ENOSPC" | b"EQUOTA" => Self::Full,
            b"EIO" => Self::Failed,
            b"ENOSYS" => Self::Unknown,
            b"EROFS" => Self::ReadOnly,
            b"EBUSY" | b"EISCONN" | b"EISDIR" | b"ENOTEMPTY" => Self::State,
            b"EAGAIN" => Self::Conflict,
            b"E2BIG" => Self::TooBig,
            _ => Self::Other,
        }
    }

    /// Of the error of a write: the kernel answers a watch that xenstore refused that way.
    pub(super) fn from_errno(errno: i32) -> Option<Self> {
        Some(match errno {
            libc::EINVAL => Self::Invalid,
            libc::EACCES | libc::EPERM => Self::Denied,
            libc::EEXIST => Self::Exists,
            libc::ENOENT => Self::NotFound,
            libc::ENOSPC => Self::Full,
            libc::E2BIG => Self::TooBig,
            _ => return None,
        })
    }
}

impl fmt::Display for StoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "the path, value or request is invalid",
            Self::Denied => "this domain is not permitted to; set the permissions of the path",
            Self::Exists => "it exists already",
            Self::NotFound => "there is no such path",
            Self::Memory => "it has no memory",
            Self::Full => "a quota of this domain is used up",
            Self::Failed => "it failed",
            Self::Unknown => "it does not know the request",
            Self::ReadOnly => "it is read-only",
            Self::State => "it is not in a state for that",
            Self::Conflict => "others changed what the transaction had read",
            Self::TooBig => "the answer, or the number of things, is too big",
            Self::Other => "for a reason it has no word for in the protocol",
        })
    }
}

/// A quota that xenstore keeps for each domain but 0. The text names the settings of both daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreQuota {
    /// Paths of this domain, and the size of one: its value, or the names below it.
    Entries,
    /// Watches.
    Watches,
    /// Transactions that are open at the same time.
    Transactions,
    /// Permissions of one path.
    Permissions,
}

impl fmt::Display for StoreQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options of xenstored(8), and the keys of oxenstored.conf.
        f.write_str(match self {
            Self::Entries => {
                "this domain has as many paths as it may have (`xenstored --entry-nb`, `quota-maxentity` in \
                 oxenstored.conf), or the value, or the list of names beside this one, is too long (`--entry-size`, \
                 `quota-maxsize`; 2048 bytes by default)"
            }
            Self::Watches => {
                "this domain has as many watches as it may have (`xenstored --watch-nb`, `quota-maxwatch` in \
                 oxenstored.conf)"
            }
            Self::Transactions => {
                "this domain has as many open transactions as it may have (`xenstored --transaction`, \
                 `quota-transaction` in oxenstored.conf)"
            }
            Self::Permissions => {
                "the path has as many permissions as it may have (`xenstored --perm-nb`), or is too big \
                 (`--entry-size`, `quota-maxsize` in oxenstored.conf)"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_names_its_setting() {
        let remote = DomId::new(3);
        let path = || "data/x".to_owned();
        let operation = "write";
        let quota = |quota| XenError::StoreQuota {
            operation,
            path: path(),
            quota,
        };
        let cases = [
            (
                XenError::GrantLimit {
                    pages: 2000,
                    limit: 1024,
                },
                "xen_gntalloc/parameters/limit",
            ),
            (
                XenError::GrantsUsedUp {
                    pages: 7,
                    limit: Some(1024),
                },
                "1024 pages (raise /sys/module/xen_gntalloc",
            ),
            (
                XenError::GrantsUsedUp {
                    pages: 7,
                    limit: None,
                },
                "`gnttab_max_frames=`",
            ),
            (
                XenError::GrantsUsedUp {
                    pages: 7,
                    limit: None,
                },
                "`max_grant_frames=`",
            ),
            (
                XenError::MapLimit {
                    pages: 70_000,
                    limit: 65_536,
                },
                "xen_gntdev/parameters/limit",
            ),
            (
                XenError::EventChannelsUsedUp { remote },
                "`max_event_channels=`",
            ),
            (quota(StoreQuota::Entries), "--entry-nb"),
            (quota(StoreQuota::Watches), "`quota-maxwatch`"),
            (quota(StoreQuota::Transactions), "--transaction"),
            (quota(StoreQuota::Permissions), "--perm-nb"),
        ];
        for (error, setting) in cases {
            let text = error.to_string();
            assert!(text.contains(setting), "{text}");
            assert!(!text.ends_with('.') && !text.contains("  "), "{text}");
            assert!(text.starts_with(|c: char| !c.is_uppercase()), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_of_which_path() {
        let error = XenError::Store {
            operation: "read",
            path: "data/x".to_owned(),
            reason: StoreReason::from_wire(b"ENOENT"),
        };
        assert!(error.is_not_found());
        assert_eq!(
            error.to_string(),
            "xenstore does not read data/x: there is no such path"
        );
    }
}
