//! Driving a back end that runs within the program: see [`Driver`](crate::driver::Driver).

use super::{Guarded, LOOKS, Shared};
use crate::core::Core;
use crate::driver::{Turn, Watch};

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

    /// The first looks of a wait for what a back end that we drive has to bring, or whoever drives it just now.
    pub(super) fn look_and_drive(&self, core: &mut Core) -> Option<usize> {
        let driver = core.driver.as_deref()?;
        let mut watch = Watch::default();
        let mut arrived = None;
        for _ in 0..DRIVES {
            let looks = match driver.turn_of_waiter(&mut watch) {
                Some(_) => {
                    driver.look_on(true);
                    LOOKS_AFTER_TURN
                }
                None => LOOKS,
            };
            arrived = core.look_out(looks);
            if arrived.is_some() {
                break;
            }
        }
        driver.look_on(false);
        arrived
    }
}

impl Core {
    /// Lets a back end that we drive look at its rings and uplinks, after something was put into ours. True if it had anything to do.
    pub(crate) fn turn_back_end(&mut self) -> bool {
        let Some(driver) = &self.driver else {
            return false;
        };
        let turn = driver.turn(&|| self.is_taken_by_back_end());
        self.heed(turn)
    }

    /// Whether it is for us to drive the back end.
    pub(crate) fn drives_back_end(&self) -> bool {
        let driver = self.driver.as_ref();
        driver.is_some_and(|driver| driver.is_callers())
    }

    /// A back end has had a turn. True if it had anything to do.
    fn heed(&mut self, turn: Turn) -> bool {
        if !turn.saw_all {
            self.ring_back_end();
        }
        turn.busy
    }
}

impl Guarded {
    /// As [`turn_back_end`](Core::turn_back_end), for who waits for what it may bring.
    pub(super) fn wait_for_back_end(&mut self) -> bool {
        let driver = self.core.driver.as_deref();
        let turn = driver.and_then(|driver| driver.turn_of_waiter(&mut self.watch));
        turn.is_some_and(|turn| self.core.heed(turn))
    }
}
