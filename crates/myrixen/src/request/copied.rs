//! Sends whose buffer is the program's again while their end is waited for.

use super::{Early, Key, Kind, Requests};

impl Requests {
    /// Whether a send whose end is to be waited for may have its buffer copied now, given that so many bytes may be.
    pub(crate) fn may_be_copied(&self, key: Key, cap: usize) -> bool {
        self.slot(key).is_some_and(|slot| {
            let waits = matches!(slot.early, Early::No | Early::Asked);
            slot.kind == Kind::Send && waits && slot.outcome.is_none() && self.retained < cap
        })
    }

    /// A send's buffer was copied: `kept` bytes.
    pub(crate) fn copied(&mut self, key: Key, kept: usize) {
        if let Some(slot) = self.slot_mut(key) {
            slot.early = Early::Copied { kept };
            self.retained += kept;
        }
    }

    /// The copy of a request's buffer, if there is one, is not needed any more.
    #[cold]
    pub(super) fn drop_copy(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        if let Early::Copied { kept } = slot.early {
            slot.early = Early::No;
            self.retained -= kept;
        }
    }
}
