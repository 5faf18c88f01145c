//! The keys of one device in xenstore, as the back end sees them, and the states in them: `docs/xen.md`, "xenstore".

use myrixen_ring::{AttachError, Features, Support, Terms, Version};

use super::{DomId, XenError, XenStore};
use crate::meeting::DomainDevice;
use crate::process::control;

/// Where a side stands (Xen's `public/io/xenbus.h`). What else may be written there is nothing we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BusState {
    Initialising,
    InitWait,
    Initialised,
    Connected,
    Closing,
    Closed,
}

impl BusState {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Initialising, "1"),
        (Self::InitWait, "2"),
        (Self::Initialised, "3"),
        (Self::Connected, "4"),
        (Self::Closing, "5"),
        (Self::Closed, "6"),
    ];

    /// As xenstore has it.
    pub(crate) fn text(self) -> &'static str {
        let found = Self::ALL.iter().find(|(state, _)| *state == self);
        found.map_or("0", |(_, text)| text)
    }

    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, text)| text.as_bytes() == value);
        found.map(|(state, _)| *state)
    }
}

/// The version of `docs/xen.md`.
pub(crate) const VERSION: &str = "1";

/// The terms that every control ring is made with, before anything is agreed on: the first version, no features. What ports
/// and channels are made with is what Welcome says of its control ring.
pub(crate) fn control_terms() -> Result<Terms, AttachError> {
    let version = Version { major: 1, minor: 0 };
    let features = Features::empty();
    control::terms(Support { version, features })
}

/// A value as text; `None` when the key is not there.
pub(crate) fn read_text(store: &mut XenStore, path: &str) -> Result<Option<String>, XenError> {
    match store.read(path) {
        Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A number; `None` when the key is not there, or holds something else.
pub(crate) fn read_number(store: &mut XenStore, path: &str) -> Result<Option<u32>, XenError> {
    Ok(read_text(store, path)?.and_then(|text| text.trim().parse().ok()))
}

/// A device of a guest's domain, seen from the back end.
#[derive(Debug)]
pub(super) struct BackDevice {
    store: XenStore,
    /// Our folder, below this domain's own place.
    back: String,
    /// The guest's folder.
    front: String,
}

/// What a look at the keys has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The front end is there.
    Front {
        /// Its state; `None`: one that means nothing.
        state: Option<BusState>,
        /// The domain is about to be saved or moved.
        hold: bool,
    },
    /// The device is to go: detached, or its domain is gone.
    Gone,
}

impl BackDevice {
    /// Looks a device up and says that we are there. `None`: it is gone, and so are its keys now.
    pub(super) fn open(
        mut store: XenStore,
        domain: DomId,
        device: u32,
    ) -> Result<Option<(Self, DomainDevice)>, XenError> {
        let back = format!("backend/myrixen/{domain}/{device}");
        let Some(front) = read_text(&mut store, &format!("{back}/frontend"))? else {
            return Ok(None);
        };
        let partition = read_text(&mut store, &format!("{back}/partition"))?;
        let board = read_text(&mut store, &format!("{back}/board"))?;
        let mac = read_text(&mut store, &format!("{back}/mac"))?;
        let identity = DomainDevice {
            domain: domain.get(),
            device,
            partition: partition.filter(|name| !name.is_empty()),
            board: board.unwrap_or_else(|| format!("domain{domain}:{device}")),
            mac: mac.and_then(|text| text.trim().parse().ok()),
        };
        let mut found = Self { store, back, front };
        found
            .store
            .watch(&format!("{}/state", found.front), "front")?;
        for key in ["online", "hold"] {
            found.store.watch(&format!("{}/{key}", found.back), key)?;
        }
        if found.look()? == Seen::Gone {
            found.remove();
            return Ok(None);
        }
        let (version, features) = (
            format!("{}/version", found.back),
            format!("{}/features", found.back),
        );
        found.store.write(&version, VERSION.as_bytes())?;
        found.store.write(&features, b"0")?;
        found.set_state(BusState::InitWait)?;
        Ok(Some((found, identity)))
    }

    /// Ready when something may have changed.
    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.store.fd()
    }

    /// Whether anything may have changed since the last call. Does not block.
    pub(super) fn changed(&mut self) -> Result<bool, XenError> {
        self.store.changed()
    }

    /// How the device stands.
    pub(super) fn look(&mut self) -> Result<Seen, XenError> {
        let online = read_text(&mut self.store, &format!("{}/online", self.back))?;
        if online.as_deref() != Some("1") {
            return Ok(Seen::Gone);
        }
        let hold = read_text(&mut self.store, &format!("{}/hold", self.back))?;
        match self.store.read(&format!("{}/state", self.front)) {
            Ok(value) => Ok(Seen::Front {
                state: BusState::parse(&value),
                hold: hold.as_deref() == Some("1"),
            }),
            Err(error) if error.is_absent() => Ok(Seen::Gone),
            Err(error) => Err(error),
        }
    }

    /// The control ring's first page and event channel, if the front end says so.
    pub(super) fn ring(&mut self) -> Result<Option<(u32, u32)>, XenError> {
        let page = read_number(&mut self.store, &format!("{}/ring-ref", self.front))?;
        let event = read_number(&mut self.store, &format!("{}/event-channel", self.front))?;
        Ok(page.zip(event))
    }

    pub(super) fn set_state(&mut self, state: BusState) -> Result<(), XenError> {
        let path = format!("{}/state", self.back);
        self.store.write(&path, state.text().as_bytes())
    }

    /// Says why the guest was let go.
    pub(super) fn set_error(&mut self, text: &str) {
        // Whoever reads it can do without.
        let _ = self
            .store
            .write(&format!("{}/error", self.back), text.as_bytes());
    }

    /// Takes the keys of a device away whose domain is gone; detach does it itself.
    pub(super) fn remove(&mut self) {
        let domain_is_gone = matches!(
            self.store.read(&format!("{}/state", self.front)),
            Err(error) if error.is_absent()
        );
        if !domain_is_gone {
            let _ = self.set_state(BusState::Closed);
            return;
        }
        let _ = self.store.rm(&self.back);
        if let Some((parent, _)) = self.back.rsplit_once('/')
            && self
                .store
                .directory(parent)
                .is_ok_and(|rest| rest.is_empty())
        {
            let _ = self.store.rm(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_what_xenbus_calls_them() {
        for (state, text) in BusState::ALL {
            assert_eq!(
                (state.text(), BusState::parse(text.as_bytes())),
                (text, Some(state))
            );
        }
        assert_eq!(BusState::parse(b"7"), None);
        assert_eq!(BusState::parse(b""), None);
    }
}
