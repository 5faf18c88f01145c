//! Why a guest is not attached, or its request not fulfilled.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::handover::HandoverError;
use crate::message::{Failure, Refusal};

/// A guest is not attached. The text says what failed, on what, and what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// There is no socket.
    #[error(
        "no MyriXen back end at {}: there is no such socket; start one with `myrixend`, or set \
         MYRIXEN_SOCKET to where it listens", .socket.display()
    )]
    NoSocket {
        /// Where it should be.
        socket: PathBuf,
    },
    /// Nobody listens on the socket.
    #[error(
        "the MyriXen back end at {} does not run: nobody listens on its socket; start it with \
         `myrixend`, or set MYRIXEN_SOCKET to where one listens", .socket.display()
    )]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket may not be opened.
    #[error(
        "not permitted to connect to {}: write permission on the socket is needed; join the group \
         that owns it, or change `socket_mode` in the daemon's configuration", .socket.display()
    )]
    Permission {
        /// The socket.
        socket: PathBuf,
    },
    /// The system failed.
    #[error("cannot connect to {}", .socket.display())]
    System {
        /// The socket, or `embedded`.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The back end does not take this guest.
    #[error("the MyriXen back end at {} refused: {refusal}", .socket.display())]
    Refused {
        /// The socket, or `embedded`.
        socket: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// The back end hung up instead of answering.
    #[error(
        "the MyriXen back end at {} hung up during the handshake; its log says why", .socket.display()
    )]
    HungUp {
        /// The socket, or `embedded`.
        socket: PathBuf,
    },
    /// The back end did not answer in time.
    #[error("the MyriXen back end at {} did not answer within {after:?}", .socket.display())]
    TimedOut {
        /// The socket, or `embedded`.
        socket: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// What listens there speaks something else.
    #[error("what listens on {} does not speak MyriXen's control protocol 1", .socket.display())]
    Protocol {
        /// The socket, or `embedded`.
        socket: PathBuf,
        /// What was wrong.
        #[source]
        source: HandoverError,
    },
}

impl AttachError {
    /// For a failed system call on the way to `socket`.
    pub(super) fn system(socket: &Path, source: io::Error) -> Self {
        let socket = socket.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NoSocket { socket },
            io::ErrorKind::ConnectionRefused => Self::NotRunning { socket },
            io::ErrorKind::PermissionDenied => Self::Permission { socket },
            _ => Self::System { socket, source },
        }
    }

    /// Whether it may succeed a little later, as while a back end restarts.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoSocket { .. }
            | Self::NotRunning { .. }
            | Self::HungUp { .. }
            | Self::TimedOut { .. } => true,
            Self::Refused { refusal, .. } => refusal.reason.is_transient(),
            Self::Permission { .. } | Self::System { .. } | Self::Protocol { .. } => false,
        }
    }
}

/// A request was not fulfilled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The back end says no.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// The back end is gone: reattach.
    #[error("the MyriXen back end is gone")]
    Lost,
    /// The back end did not answer in time; what it may still do for the request is undone.
    #[error("the MyriXen back end did not answer within {0:?}")]
    TimedOut(Duration),
    /// Too many requests are unanswered: collect some replies first.
    #[error("{0} requests are unanswered, which is as many as a guest may have")]
    Busy(usize),
    /// The answer does not fit the request, or what came with it cannot be used.
    #[error("the MyriXen back end gave an answer that cannot be used")]
    Unusable(#[from] HandoverError),
    /// Another kind of answer than the request has.
    #[error("the MyriXen back end gave an answer to another question")]
    WrongAnswer,
    /// The system failed.
    #[error("waiting for the MyriXen back end failed")]
    System(#[from] io::Error),
}
