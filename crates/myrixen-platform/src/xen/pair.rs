//! Stand-in until queue pairs in granted pages are here.

use std::io;

use myrixen_ring::{Side, Terms};

use crate::handover::Handover;
use crate::meeting::{PortEnd, SetupError};
use crate::message::Brought;
use crate::xen::DomId;

fn unsupported<T>() -> Result<T, SetupError> {
    Err(SetupError::System {
        what: "granted memory",
        source: io::ErrorKind::Unsupported.into(),
    })
}

/// A queue pair in pages that this domain grants to another.
#[derive(Debug)]
pub struct Offered(());

impl Offered {
    /// Makes one for domain `to`.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn make(to: DomId, terms: &Terms) -> Result<Self, SetupError> {
        let _ = (to, terms);
        unsupported()
    }

    /// What names it.
    pub fn brought(&self) -> Brought {
        Brought { page: 1, event: 1 }
    }

    /// For a program.
    pub fn into_handover(self) -> Handover {
        Handover::none()
    }

    /// For ourselves.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn into_end(self) -> Result<PortEnd, SetupError> {
        unsupported()
    }
}

/// A queue pair that another domain has granted to us.
#[derive(Debug)]
pub struct Taken(());

impl Taken {
    /// Maps it.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn take(from: DomId, brought: Brought, terms: &Terms) -> Result<Self, SetupError> {
        let _ = (from, brought, terms);
        unsupported()
    }

    /// For a program.
    pub fn into_handover(self) -> Handover {
        Handover::none()
    }

    /// For ourselves.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn into_end(self, side: Side) -> Result<PortEnd, SetupError> {
        let _ = side;
        unsupported()
    }
}
