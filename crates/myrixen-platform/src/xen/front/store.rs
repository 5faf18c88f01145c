//! The front end on a real Xen: xenstore by its device, control rings in granted pages.

use std::io;
use std::os::fd::BorrowedFd;

use myrixen_ring::Terms;

use super::{Rings, Store};
use crate::meeting::{PortEnd, SetupError};
use crate::message::Brought;
use crate::xen::{DomId, Offered, StoreReason, XenError, XenStore, bus};

/// Every watch has the same meaning: look again.
const TOKEN: &str = "myrixen";

fn failed(error: XenError) -> io::Error {
    let kind = match &error {
        error if error.is_not_found() => io::ErrorKind::NotFound,
        XenError::Store {
            reason: StoreReason::Denied,
            ..
        } => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Store for XenStore {
    fn read(&mut self, path: &str) -> io::Result<Option<String>> {
        bus::read_text(self, path).map_err(failed)
    }

    fn write(&mut self, folder: &str, keys: &[(&str, String)]) -> io::Result<()> {
        self.transaction(|steps| {
            for (key, value) in keys {
                steps.write(&format!("{folder}/{key}"), value.as_bytes())?;
            }
            Ok(())
        })
        .map_err(failed)
    }

    fn watch(&mut self, path: &str) -> io::Result<()> {
        Self::watch(self, path, TOKEN).map_err(failed)
    }

    fn unwatch(&mut self, path: &str) {
        // Of a path that is gone, or a store that is: nothing will be heard of it either way.
        let _ = Self::unwatch(self, path, TOKEN);
    }

    fn changed(&mut self) -> io::Result<bool> {
        Self::changed(self).map_err(failed)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(Self::fd(self))
    }
}

/// Control rings in pages that are granted to the back end.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantedRings;

impl Rings for GrantedRings {
    fn offer(&mut self, to: u16, terms: &Terms) -> Result<(Brought, PortEnd), SetupError> {
        let offered = Offered::make(DomId::new(to), terms)?;
        Ok((offered.brought(), offered.into_end()?))
    }
}
