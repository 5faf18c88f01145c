//! What a wait is for.

use mxoe::time::Time;

use crate::core::Core;

/// What a wait is for: a closure that finds it, or what knows more.
pub(crate) trait Quest {
    type Found;

    /// What was waited for, if it is there. `helpless` says that there is nothing more to be done that could help.
    fn done(&mut self, core: &mut Core, helpless: bool) -> Option<Self::Found>;

    /// The turn at a path on which something has arrived.
    fn turn_at(&mut self, core: &mut Core, now: Time, looks_on: bool, at: usize) -> bool {
        core.turn_at(now, looks_on, at, &mut Core::end_taken)
    }
}

impl<T, F: FnMut(&mut Core, bool) -> Option<T>> Quest for F {
    type Found = T;

    #[inline(always)]
    fn done(&mut self, core: &mut Core, helpless: bool) -> Option<T> {
        self(core, helpless)
    }
}
