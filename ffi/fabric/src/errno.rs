//! Error numbers as libfabric counts them: those of the system, and its own from 256 on.

use std::ffi::{CStr, c_int};

use myrixen::Status;

/// An error number, positive. Calls return it negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(c_int);

impl Errno {
    pub(crate) const NOENT: Self = Self(libc::ENOENT);
    pub(crate) const IO: Self = Self(libc::EIO);
    pub(crate) const AGAIN: Self = Self(libc::EAGAIN);
    pub(crate) const NOMEM: Self = Self(libc::ENOMEM);
    pub(crate) const BUSY: Self = Self(libc::EBUSY);
    pub(crate) const INVAL: Self = Self(libc::EINVAL);
    pub(crate) const NOSYS: Self = Self(libc::ENOSYS);
    pub(crate) const NOMSG: Self = Self(libc::ENOMSG);
    pub(crate) const NODATA: Self = Self(libc::ENODATA);
    pub(crate) const MSGSIZE: Self = Self(libc::EMSGSIZE);
    pub(crate) const OPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
    pub(crate) const CONNABORTED: Self = Self(libc::ECONNABORTED);
    pub(crate) const CONNREFUSED: Self = Self(libc::ECONNREFUSED);
    pub(crate) const TIMEDOUT: Self = Self(libc::ETIMEDOUT);
    pub(crate) const HOSTUNREACH: Self = Self(libc::EHOSTUNREACH);
    pub(crate) const CANCELED: Self = Self(libc::ECANCELED);
    pub(crate) const ADDRNOTAVAIL: Self = Self(libc::EADDRNOTAVAIL);
    pub(crate) const ACCES: Self = Self(libc::EACCES);
    pub(crate) const OTHER: Self = Self(256);
    pub(crate) const TOOSMALL: Self = Self(257);
    pub(crate) const OPBADSTATE: Self = Self(258);
    pub(crate) const AVAIL: Self = Self(259);
    pub(crate) const NOCQ: Self = Self(263);
    pub(crate) const TRUNC: Self = Self(265);
    pub(crate) const NOKEY: Self = Self(266);
    pub(crate) const NOAV: Self = Self(267);

    /// The number, positive.
    pub(crate) const fn get(self) -> c_int {
        self.0
    }

    /// What a failed request becomes.
    pub(crate) fn of(status: Status) -> Self {
        match status {
            Status::Truncated => Self::TRUNC,
            Status::Cancelled => Self::CANCELED,
            Status::Timeout => Self::TIMEDOUT,
            Status::Unreachable => Self::HOSTUNREACH,
            Status::NotConnected => Self::CONNABORTED,
            Status::Closed => Self::OPBADSTATE,
            Status::NoPlainSpace | Status::NoSuchFeature => Self::OPNOTSUPP,
            Status::TooManyPartners => Self::NOMEM,
            Status::BadHandle => Self::INVAL,
            Status::Success => Self::OTHER,
            _ => Self::CONNREFUSED,
        }
    }
}

/// Our own number for an error, which `fi_cq_strerror` explains: the kind of [`Status`], from 1 on.
pub(crate) fn provider_errno(status: Status) -> c_int {
    let at = REASONS.iter().position(|(held, _)| *held == status);
    at.and_then(|at| c_int::try_from(at + 1).ok()).unwrap_or(0)
}

/// What such a number says.
pub(crate) fn reason(number: c_int) -> &'static CStr {
    let at = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
    let found = at.and_then(|at| REASONS.get(at));
    found.map_or(c"no error of this provider", |(_, text)| text)
}

const REASONS: [(Status, &CStr); 15] = [
    (Status::Truncated, c"the message was longer than the buffer"),
    (Status::Cancelled, c"cancelled"),
    (
        Status::Timeout,
        c"no answer in time; FI_MYRIXEN_TIMEOUT says how long a silent peer is waited for",
    ),
    (
        Status::Unreachable,
        c"the peer is silent; FI_MYRIXEN_TIMEOUT says how long a silent peer is waited for",
    ),
    (Status::NotConnected, c"the connection to the peer was lost"),
    (Status::Closed, c"the endpoint is closed"),
    (
        Status::NoPlainSpace,
        c"the peer knows tagged messages only: it is no libfabric endpoint",
    ),
    (
        Status::NoSuchFeature,
        c"the peer knows no data beside messages: it is no libfabric endpoint",
    ),
    (
        Status::TooManyPartners,
        c"as many peers as are allowed are known already",
    ),
    (Status::BadHandle, c"no such peer"),
    (
        Status::BadKey,
        c"the address is that of an endpoint that is no more",
    ),
    (
        Status::EndpointClosed,
        c"the peer has closed its endpoint, or has ended",
    ),
    (
        Status::PartnerRestarted,
        c"the peer has ended, and another one has taken its place",
    ),
    (Status::PartnerGone, c"the peer has ended"),
    (
        Status::PullFailed,
        c"the peer went away in the middle of a large message",
    ),
];
