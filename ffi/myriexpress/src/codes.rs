//! Return codes and status codes, in numbers and in words.

use std::ffi::{CStr, c_char, c_uint};

use myrixen::Status;

use crate::types::mx_return_t;

/// Numbers with a name and a text each.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum $name {
            $(#[doc = $text] $variant = $number,)+
        }

        impl $name {
            /// The text for a number; `None` for one that is no code.
            #[must_use]
            pub fn text(number: u32) -> Option<&'static CStr> {
                match number {
                    $($number => CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()).ok(),)+
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// What a call returns.
    ReturnCode {
        Success = 0, "success";
        BadBadBad = 1, "unspecified error";
        Failure = 2, "failed";
        AlreadyInitialized = 3, "the library is initialized already";
        NotInitialized = 4, "the library is not initialized";
        NoDev = 5, "no board";
        NoDriver = 6, "no MyriXen back end runs here";
        NoPerm = 7, "not permitted";
        BoardUnknown = 8, "no such board";
        BadEndpoint = 9, "not an open endpoint, or not an address that it knows";
        BadSegList = 10, "bad list of segments";
        BadSegMem = 11, "a segment has bytes but no memory";
        BadSegCnt = 12, "too many segments";
        BadRequest = 13, "not a request of this endpoint, or it is over already";
        BadMatchMask = 14, "match information has bits outside of its mask";
        NoResources = 15, "out of resources";
        BadAddrList = 16, "bad list of addresses";
        BadAddrCount = 17, "bad number of addresses";
        BadRoot = 18, "bad root";
        NotCompleted = 19, "not completed";
        Busy = 20, "in use";
        BadInfoKey = 21, "no such information";
        BadInfoVal = 22, "no place for the information, or no valid argument for it";
        BadNic = 23, "bad network card";
        BadParamList = 24, "bad list of parameters";
        BadParamName = 25, "no such parameter";
        BadParamVal = 26, "bad value of a parameter or argument";
        BadHostnameArgs = 27, "bad host name";
        HostNotFound = 28, "no board of that name is known";
        RequestPending = 29, "the request is pending";
        Timeout = 30, "timed out";
        NoMatch = 31, "nothing matches";
        BadEndpointId = 32, "no such endpoint number";
        ConnectionFailed = 33, "connection refused: nobody has that endpoint open";
        BadConnectionKey = 34, "the endpoint was opened with another key";
        BadInfoLength = 35, "the place for the information has the wrong size";
        NicNotFound = 36, "no board with that address is known";
        BadKernelVersion = 37, "the back end is of another version";
        BadLibVersion = 38, "the program was compiled for another version of the library";
        NicDead = 39, "the board is dead";
        CancelNotSupported = 40, "requests of this kind cannot be cancelled";
        CloseInHandler = 41, "an endpoint cannot be closed in its handler";
        BadMatchingForContextIdMask = 42, "the mask leaves out bits of the context id";
        NotSupportedWithContextId = 43, "not supported with context ids";
    }
}

codes! {
    /// How a request ended.
    StatusCode {
        Success = 0, "success";
        Pending = 1, "pending";
        Buffered = 2, "buffered";
        Rejected = 3, "rejected";
        Timeout = 4, "timed out";
        Truncated = 5, "truncated: the receive was too small";
        Cancelled = 6, "cancelled";
        EndpointUnknown = 7, "no such endpoint";
        EndpointClosed = 8, "the remote endpoint is closed";
        EndpointUnreachable = 9, "the remote endpoint is unreachable, or was disconnected";
        BadSession = 10, "the remote endpoint was closed and opened again";
        BadKey = 11, "the remote endpoint was opened with another key";
        BadEndpoint = 12, "the remote board has no endpoint of that number";
        BadRdmawin = 13, "bad memory window";
        Aborted = 14, "aborted by the sender";
        EventqFull = 15, "event queue full";
        NoResources = 16, "out of resources";
    }
}

impl From<Status> for StatusCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Success => Self::Success,
            Status::Truncated => Self::Truncated,
            Status::BadKey => Self::BadKey,
            Status::BadEndpoint => Self::BadEndpoint,
            Status::EndpointClosed | Status::PartnerGone | Status::Closed => Self::EndpointClosed,
            Status::BadSession | Status::PartnerRestarted => Self::BadSession,
            Status::Unreachable | Status::NotConnected => Self::EndpointUnreachable,
            Status::Timeout => Self::Timeout,
            Status::Cancelled => Self::Cancelled,
            Status::PullFailed => Self::Aborted,
            Status::NoPlainSpace | Status::NoSuchFeature => Self::Rejected,
            Status::BadHandle => Self::EndpointUnknown,
            Status::TooManyPartners => Self::NoResources,
        }
    }
}

impl ReturnCode {
    /// Why a blocking connect failed.
    pub(crate) fn of_connect(status: Status) -> Self {
        match status {
            Status::Success => Self::Success,
            Status::BadKey => Self::BadConnectionKey,
            Status::BadEndpoint => Self::BadEndpointId,
            Status::Timeout | Status::Unreachable => Self::Timeout,
            Status::TooManyPartners => Self::NoResources,
            _ => Self::ConnectionFailed,
        }
    }
}

/// The text of a return code. Never null; lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn mx_strerror(code: mx_return_t) -> *const c_char {
    ReturnCode::text(code)
        .unwrap_or(c"no such return code")
        .as_ptr()
}

/// The text of a status code. Never null; lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn mx_strstatus(code: c_uint) -> *const c_char {
    StatusCode::text(code)
        .unwrap_or(c"no such status code")
        .as_ptr()
}
