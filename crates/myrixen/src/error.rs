//! What can go wrong, in words for a person.

use std::io;
use std::time::Duration;

use mxoe::addr::Address;
pub use mxoe::engine::Status;
use myrixen_platform::message::FailReason;
use myrixen_platform::process::{AttachError, RequestError};
use thiserror::Error;

/// A request's name that names none: it is over and its end was taken, or it was taken back or forgotten. The only thing that can be wrong with calls that are
/// made for each message, which are spared all that [`enum@Error`] has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRequest;

impl From<UnknownRequest> for Error {
    #[cold]
    fn from(UnknownRequest: UnknownRequest) -> Self {
        Self::UnknownRequest
    }
}

/// An error of the fabric, an endpoint or a request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The back end is not there, did not let us in, or the connection to it failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The back end refused a request.
    #[error("the back end refused to {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Which kind of reason it gave.
        kind: FailReason,
        /// The reason in words, with the limit and the setting that raises it.
        reason: String,
    },
    /// The back end is away and did not come back in time.
    #[error("the back end is away; could not {what} within {waited:?}")]
    BackEndAway {
        /// What was asked for.
        what: &'static str,
        /// How long we waited.
        waited: Duration,
    },
    /// A request to the back end failed.
    #[error("could not {what}")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        #[source]
        source: RequestError,
    },
    /// No answer to a connect within the timeout.
    #[error("no answer from {to} within {waited:?}")]
    ConnectTimeout {
        /// Who was asked.
        to: Address,
        /// How long we waited.
        waited: Duration,
    },
    /// A connect was answered with a refusal.
    #[error("{to} refused the connection: {status}")]
    ConnectRefused {
        /// Who was asked.
        to: Address,
        /// Its reason.
        status: Status,
    },
    /// A request failed.
    #[error("the {what} failed: {status}")]
    Failed {
        /// Which kind of request.
        what: &'static str,
        /// Why.
        status: Status,
    },
    /// The wait ended before the request did. The request goes on.
    #[error("not complete within {0:?}")]
    Timeout(Duration),
    /// A request's name that names none: it is over and its end was taken, or it was taken back or forgotten.
    #[error("no such request: it is over and was taken, or taken back")]
    UnknownRequest,
    /// A board name that nobody has.
    #[error("no board is called {0:?}; `myrixen info` lists those that are known")]
    UnknownName(String),
    /// An argument that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A system call failed.
    #[error("{what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The embedded back end could not be started.
    #[error("could not start the embedded back end")]
    Embedded(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
