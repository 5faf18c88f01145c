//! Requests that do not go through the completion queue they are for.

use super::{Early, Interest, Key, Requests};

/// What the program calls a request that was over before it came to the completion queue.
pub(crate) struct Straight {
    pub(crate) context: u64,
    pub(crate) label: u32,
}

impl Requests {
    /// Ends a request of the completion queue's past it: to be told at once, by whoever gives its memory back. `None`: it is another's, not known, or has a label
    /// that `takes` does not want.
    #[inline(always)]
    pub(crate) fn end_straight(
        &mut self,
        token: u64,
        takes: impl FnOnce(u32) -> bool,
    ) -> Option<Straight> {
        let key = Key::from_token(token);
        let slot = self.slot(key)?;
        let Interest::Queue(context) = slot.interest else {
            return None;
        };
        let label = slot.label;
        if slot.early != Early::No || slot.outcome.is_some() || !takes(label) {
            return None;
        }
        self.vacate(key.slot());
        Some(Straight { context, label })
    }
}
