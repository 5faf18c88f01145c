//! Driving a back end that runs within the program: see [`Driver`](crate::driver::Driver).

use super::{Guarded, LOOKS, Shared};
use crate::core::Core;
use crate::driver::{Driver, Turn, Watch};

/// Turns of a back end that we drive before a receive is posted that waits for what it may bring.
const DRIVES: u32 = 32;
/// Looks at the rings after one of our own, which brings what it brings before it ends.
const LOOKS_AFTER_TURN: u32 = 1;

impl Shared {
    /// Tells a back end that we drive that from now on we do.
    pub(crate) fn tell_driver(&self) {
        if let Some(driver) = &self.fabric.driver {
            driver.enter();
        }
    }
}

impl Core {
    /// Lets a back end that we drive look at its rings and uplinks, after something was put into ours. True if it had anything to do.
    pub(crate) fn turn_back_end(&mut self) -> bool {
        let Some(driver) = &self.driver else {
            return false;
        };
        let turn = driver.turn(&|| self.is_taken_by_back_end());
        self.heed(turn).busy
    }

    /// The same at once, if it is for us to do so. False: for another thread, as far as it goes on.
    pub(crate) fn turn_own_back_end(&mut self) -> bool {
        let driver = self.driver.as_deref();
        let turn = driver.and_then(Driver::turn_of_holder);
        turn.map(|turn| self.heed(turn)).is_some()
    }

    /// As [`turn_back_end`](Self::turn_back_end), for who waits for what it may bring. `None`: another thread is at it.
    fn wait_for_back_end(&mut self, watch: &mut Watch) -> Option<Turn> {
        let turn = self.driver.as_deref()?.turn_of_waiter(watch)?;
        Some(self.heed(turn))
    }

    /// A back end has had a turn.
    fn heed(&mut self, turn: Turn) -> Turn {
        if !turn.saw_all {
            self.ring_back_end();
        }
        turn
    }

    /// The first looks of a wait for what a back end that we drive has to bring, or whoever drives it just now.
    pub(super) fn look_and_drive(&mut self) -> Option<usize> {
        let mut watch = Watch::default();
        let mut arrived = None;
        for _ in 0..DRIVES {
            let looks = match self.wait_for_back_end(&mut watch) {
                Some(_) => {
                    self.look_on_as_driver(true);
                    LOOKS_AFTER_TURN
                }
                None => LOOKS,
            };
            arrived = self.look_out(looks);
            if arrived.is_some() {
                break;
            }
        }
        self.look_on_as_driver(false);
        arrived
    }

    fn look_on_as_driver(&self, looks_on: bool) {
        if let Some(driver) = &self.driver {
            driver.look_on(looks_on);
        }
    }
}

impl Guarded {
    /// A turn of a back end that we drive, for who waits. True if it had anything to do.
    pub(super) fn wait_for_back_end(&mut self) -> bool {
        let turn = self.core.wait_for_back_end(&mut self.watch);
        turn.is_some_and(|turn| turn.busy)
    }
}
