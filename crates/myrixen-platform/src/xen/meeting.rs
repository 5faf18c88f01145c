//! Where the guests of a driver domain arrive: the devices in its part of xenstore.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use super::link::XenLink;
use super::{DomId, XenError, XenStore};
use crate::meeting::{GuestLink, Meeting};
use crate::waitset::{Interest, WaitSet};

/// The devices of this domain as back end, below its own place.
const DEVICES: &str = "backend/myrixen";

/// The devices that `myrixen attach` (or the toolstack) makes in xenstore: `docs/xen.md`.
#[derive(Debug)]
pub struct XenMeeting {
    store: XenStore,
    /// Devices that have a link, or had one and are still there.
    known: BTreeSet<(DomId, u32)>,
    arrived: VecDeque<(DomId, u32)>,
}

impl XenMeeting {
    /// Watches for devices.
    ///
    /// # Errors
    /// When this is no domain of Xen, or its devices cannot be opened.
    pub fn open() -> Result<Self, XenError> {
        Self::over(XenStore::open()?)
    }

    /// The same over a connection that was made otherwise.
    ///
    /// # Errors
    /// When xenstore refuses the watch.
    pub fn over(mut store: XenStore) -> Result<Self, XenError> {
        store.watch(DEVICES, "devices")?;
        Ok(Self {
            store,
            known: BTreeSet::new(),
            arrived: VecDeque::new(),
        })
    }

    /// Takes in what has changed. Events are hints: everything is looked at. Those that came with an answer do not show at the
    /// descriptor, so it goes on until there are none.
    fn pump(&mut self) -> Result<(), XenError> {
        while self.store.changed()? {
            let found = self.find()?;
            self.known.retain(|device| found.contains(device));
            for device in found {
                if self.known.insert(device) {
                    self.arrived.push_back(device);
                }
            }
        }
        Ok(())
    }

    /// The devices that are complete: attach writes `online` last.
    fn find(&mut self) -> Result<BTreeSet<(DomId, u32)>, XenError> {
        let mut found = BTreeSet::new();
        for domain in list(&mut self.store, DEVICES)? {
            let Ok(id) = domain.parse() else { continue };
            for device in list(&mut self.store, &format!("{DEVICES}/{domain}"))? {
                let Ok(number) = device.parse() else { continue };
                let path = format!("{DEVICES}/{domain}/{device}/online");
                match self.store.read(&path) {
                    Ok(_) => {
                        found.insert((DomId::new(id), number));
                    }
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }
}

/// What is below a path; nothing if it is not there.
fn list(store: &mut XenStore, path: &str) -> Result<Vec<String>, XenError> {
    match store.directory(path) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        other => other,
    }
}

impl Meeting for XenMeeting {
    fn accept(&mut self) -> io::Result<Option<Box<dyn GuestLink>>> {
        self.pump().map_err(io::Error::other)?;
        while let Some((domain, device)) = self.arrived.pop_front() {
            match XenLink::open(domain, device) {
                Ok(Some(link)) => return Ok(Some(Box::new(link))),
                // Gone already.
                Ok(None) => {}
                Err(error) => {
                    self.known.remove(&(domain, device));
                    return Err(io::Error::other(error));
                }
            }
        }
        Ok(None)
    }

    fn watch(&self, set: &WaitSet, token: u64) -> io::Result<()> {
        set.add(self.store.fd(), token, Interest::Read)
    }

    fn unwatch(&self, set: &WaitSet) {
        set.remove(self.store.fd());
    }
}
