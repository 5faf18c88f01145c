//! Looking at the rings, which is most of what whoever waits for a message does.

use crate::core::Core;
use crate::path::Path;

/// So many messages have come one way, and none gone the other, where a partner sends more than it waits.
const ONE_WAY: u32 = 16;
/// Pauses of a processor, 20 to 60 nanoseconds each, for which a reader looks away then: the time of some messages.
const AWAY: u32 = 40;

impl Core {
    /// The first path on which something has arrived.
    #[inline]
    fn arrived(&self) -> Option<usize> {
        let arrived = |path: &Path| !path.dead && !path.consumer.is_empty();
        let mut paths = self.paths.iter();
        paths.find(|(_, path)| arrived(path)).map(|(at, _)| at)
    }

    /// A reader has caught up with its partner. Where messages come one way it looks away for a while: who looks at the place that is about to be written takes
    /// the line from its writer, and each message then waits for it to go there and back.
    #[inline]
    pub(crate) fn look_away(&self) {
        if self.one_way >= ONE_WAY {
            for _ in 0..AWAY {
                std::hint::spin_loop();
            }
        }
    }

    /// A first look has found nothing: looks away where that helps, and then that many times more.
    #[inline]
    pub(crate) fn look_longer(&mut self, times: u32) -> Option<usize> {
        self.look_away();
        let arrived = self.look_out(times);
        if arrived.is_none() {
            self.one_way = 0;
        }
        arrived
    }

    /// Whether something has arrived that was not taken.
    #[inline]
    pub(crate) fn has_arrived(&self) -> bool {
        self.arrived().is_some()
    }

    /// Looks at the rings, that many times, until something has arrived; tells where. Far cheaper than as many turns, and what arrives is seen sooner.
    pub(crate) fn look_out(&self, times: u32) -> Option<usize> {
        for look in 0..times {
            let arrived = self.arrived();
            if arrived.is_some() {
                return arrived;
            }
            if look % 4 == 3 {
                std::hint::spin_loop();
            }
        }
        None
    }

    /// Polling pays: spares the other ends their fences. They hear of it before we sleep.
    #[inline]
    pub(crate) fn look_on(&mut self) {
        if !std::mem::replace(&mut self.looking, true) {
            for (_, path) in &mut self.paths {
                path.consumer.look_on();
            }
        }
    }
}
