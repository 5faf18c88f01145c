//! How an endpoint is closed: what it has sent is waited for, and what it has lent.

use std::time::Duration;

use mxoe::engine::PathId;
use mxoe::time::Time;

use super::Shared;
use crate::core::Core;
use crate::path::Path;

/// How long closing an endpoint waits for the last acknowledgements.
const LINGER: Duration = Duration::from_secs(2);
/// How long it waits for another domain to let go of its pages: one that hangs does not hold us up for ever.
const LETTING_GO: Duration = Duration::from_secs(1);

impl Drop for Shared {
    /// Closes the endpoint. Sends that were reported complete are waited for, for a while.
    fn drop(&mut self) {
        self.linger();
        let mut guarded = self.lock();
        guarded.core.say_last(self.now());
        guarded.core.turn_back_end();
        self.end_directs(&mut guarded.core);
        drop(guarded);
        self.wait_for_pages(|path| path.direct.is_some());
        if self.fabric.forget(self.slot, self.address.endpoint.get()) {
            self.wait_for_pages(Path::leads_to_back_end);
        }
    }
}

impl Shared {
    /// Waits, for a while, for sends that were reported complete.
    pub(crate) fn linger(&self) {
        self.drive(Some(LINGER), |core, _| {
            (core.requests.unfinished_sends() + core.regions.shorts.sends() == 0).then_some(())
        });
    }

    /// Says on all direct channels that nothing more comes, and lets go of those whose pages are not lent to others, and of the loop-back.
    fn end_directs(&self, core: &mut Core) {
        core.paths.retain(|_, path| {
            if path.leads_to_back_end() {
                return true;
            }
            path.close();
            let stays = path.is_lent();
            if !stays {
                self.bells.remove_bell(&path.waiter);
            }
            stays
        });
    }

    /// Waits, for a while, until other domains have let go of what is lent to them on these paths.
    fn wait_for_pages(&self, of: impl Fn(&Path) -> bool) {
        let until = self.now() + LETTING_GO;
        let mut ready = Vec::new();
        loop {
            let mut guarded = self.lock();
            // Heard before the looks, so that what rings after them ends the sleep.
            guarded.drain_bells();
            let paths = &guarded.core.paths;
            let lent = paths.iter().any(|(_, path)| of(path) && path.is_lent());
            let now = self.now();
            drop(guarded);
            if !lent || until <= now {
                return;
            }
            let _ = self.bells.wait(Some(until.since(now)), &mut ready);
            self.lock().core.rung(&ready);
        }
    }
}

impl Core {
    /// Closes the engine's end, and sends what that says last: acknowledgements, which nobody would send again. Where a direct channel has not been taken up yet, as
    /// far as can be seen, they go by the back end if it is there, those too that lie in the channel.
    pub(crate) fn say_last(&mut self, now: Time) {
        if self.is_live(usize::from(PathId::SWITCH.get())) {
            let unheard = self.paths.iter().filter_map(|(_, path)| path.unheard());
            for peer in unheard {
                self.engine.route(now, peer, PathId::SWITCH);
                self.engine.acknowledge_again(peer);
            }
        }
        self.engine.close(now);
        self.transmit(now);
    }
}
