//! Guests' turns: frames out of their ports' rings, fairly by bytes, until there is nothing more and the worker can sleep.

use mxoe::frame::HEAD_BYTES;
use mxoe::time::Time;

use super::forward::Step;
use super::{MeshEnd, Switch, Uplinks, VISIT};
use crate::quota::Bucket;
use crate::sched::{Deficit, QUANTUM};

/// Ports that doze and are looked at in one round all the same: a bell that need not be heard is cheaper for the guest and for us, and
/// where there are few guests it is all of them.
const GLANCES: usize = 32;

/// What a guest has left in this turn.
#[derive(Clone, Copy)]
struct Account {
    deficit: Deficit,
    bucket: Option<Bucket>,
}

impl Account {
    /// Pays for a frame; false when the turn is over.
    fn take(&mut self, bytes: usize) -> bool {
        if self.bucket.as_ref().is_some_and(Bucket::is_dry) || !self.deficit.take(bytes) {
            return false;
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(bytes);
        }
        true
    }
}

/// What came of a guest's turn.
#[derive(Clone, Copy)]
pub(crate) struct Served {
    /// How many frames were taken from its rings.
    pub(crate) frames: usize,
    /// They are empty now.
    pub(crate) emptied: bool,
}

impl Default for Served {
    fn default() -> Self {
        Self {
            frames: 0,
            emptied: true,
        }
    }
}

/// How a visit to a port ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// The ring is empty, or dead.
    Empty,
    /// The guest's turn is over.
    Exhausted,
    /// The next frame waits for an uplink.
    Blocked,
}

impl Switch {
    /// How many guests have turns: those of whose ports some do not doze.
    pub(crate) fn guests(&self) -> usize {
        self.rota.active()
    }

    /// So many guests have had their turns: the next round begins behind them.
    pub(crate) fn pass_over(&mut self, guests: usize) {
        for _ in 0..guests {
            self.rota.next();
        }
    }

    /// Whether there are more ports that doze than one round looks at: then their bells are to be heard now and then, however much
    /// there is to do.
    pub(crate) fn must_listen(&self) -> bool {
        self.rota.dozing() > GLANCES
    }

    /// Looks at some of the ports that doze.
    pub(crate) fn glance(&mut self) {
        for _ in 0..self.rota.dozing().min(GLANCES) {
            let Some(key) = self.rota.glance() else {
                return;
            };
            let port = self.inbound.get_mut(key).filter(|port| !port.dead);
            // A fault is seen again, and dealt with, when the port has its turn.
            if port.is_some_and(|port| !matches!(port.consumer.peek(), Ok(None))) {
                self.rung(key);
            }
        }
    }

    /// Whether there is nothing to be done for a guest: its rings are empty, and all that was in them is given back.
    fn is_quiet(&self, index: usize) -> bool {
        let quiet = |key: &usize| {
            let port = self.inbound.get(*key).filter(|port| !port.dead);
            port.is_none_or(|port| !port.blocked && port.consumer.is_idle())
        };
        let turn = self.rota.turn(index);
        turn.is_some_and(|turn| turn.deficit.is_clear() && turn.awake.iter().all(quiet))
    }

    /// Gives the next guest its turn.
    pub(crate) fn serve_next(&mut self, now: Time, uplinks: &mut Uplinks) -> Served {
        let nothing = Served::default();
        let Some(index) = self.rota.next() else {
            return nothing;
        };
        if self.is_quiet(index) {
            return nothing;
        }
        let Some(turn) = self.rota.turn_mut(index) else {
            return nothing;
        };
        if turn.bucket.as_mut().is_some_and(|b| !b.may_send(now)) {
            return nothing;
        }
        let mut account = Account {
            deficit: turn.deficit,
            bucket: turn.bucket,
        };
        let mut rotation = turn.rotation;
        account.deficit.begin(QUANTUM);
        let members = turn.awake.len();
        let mut frames = 0;
        let mut all_empty = true;
        for _ in 0..members {
            let Some(at) = rotation.current(members) else {
                break;
            };
            let Some(&key) = self.rota.turn(index).and_then(|t| t.awake.get(at)) else {
                break;
            };
            let end = self.drain(key, &mut account, &mut frames, uplinks);
            if end == Drained::Blocked {
                // It goes on with the same port: its turn is not over.
                all_empty = false;
                break;
            }
            rotation.advance();
            if end == Drained::Exhausted {
                all_empty = false;
                break;
            }
        }
        if all_empty {
            account.deficit.clear();
        }
        if let Some(turn) = self.rota.turn_mut(index) {
            (turn.deficit, turn.bucket, turn.rotation) =
                (account.deficit, account.bucket, rotation);
        }
        Served {
            frames,
            emptied: all_empty,
        }
    }

    /// One more visit to a port that is about to go, paid for by its guest.
    pub(super) fn take_last_words(&mut self, key: usize, uplinks: &mut Uplinks) {
        let Some(index) = self.rota.turn_of(key) else {
            return;
        };
        let mut account = Account {
            deficit: Deficit::default(),
            bucket: self.rota.turn(index).and_then(|t| t.bucket),
        };
        account.deficit.begin(QUANTUM);
        self.drain(key, &mut account, &mut 0, uplinks);
        if let Some(turn) = self.rota.turn_mut(index) {
            turn.bucket = account.bucket;
        }
    }

    /// Moves frames out of one port's ring until it is empty or the guest's turn is over.
    fn drain(
        &mut self,
        key: usize,
        account: &mut Account,
        frames: &mut usize,
        uplinks: &mut Uplinks,
    ) -> Drained {
        let mut end = Drained::Exhausted;
        // Another handle to the ring's pages, so that all ports can be reached while a frame of it is on its way. One for all frames: to
        // count handles waits for all that was stored before, which is the frame before.
        let mut pages = None;
        for _ in 0..VISIT {
            let Some(port) = self.inbound.get_mut(key).filter(|p| !p.dead) else {
                return Drained::Empty;
            };
            let record = match port.consumer.peek() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    end = Drained::Empty;
                    break;
                }
                Err(fault) => {
                    self.fault(key, &fault.to_string());
                    return Drained::Empty;
                }
            };
            let before = *account;
            if !account.take(record.len()) {
                break;
            }
            let clone = || port.consumer.memory().clone();
            let pages = (record.len() > HEAD_BYTES).then(|| &*pages.get_or_insert_with(clone));
            if self.forward(key, &record, pages, uplinks) == Step::Blocked {
                *account = before;
                end = Drained::Blocked;
                break;
            }
            *frames += 1;
            let Some(port) = self.inbound.get_mut(key) else {
                break;
            };
            port.meter.sent_frames.add(1);
            port.meter.sent_bytes.add(record.len() as u64);
            port.consumer.advance(record);
            if port.consumer.release() {
                self.ring(key);
            }
        }
        let Some(port) = self.inbound.get_mut(key) else {
            return end;
        };
        port.blocked = end == Drained::Blocked;
        if port.consumer.release() {
            self.ring(key);
        }
        end
    }

    /// Says in all rings that we are about to sleep. False when there is something to do; then sleep is off,
    /// though some rings may go on saying so, which costs their producers a bell at most.
    ///
    /// `until` becomes the moment when a guest may send again, if one has to wait for its quota.
    pub(crate) fn prepare_sleep(&mut self, until: &mut Option<Time>) -> bool {
        // From the last to the first: who dozes gives its place to one that has been seen.
        for number in (0..self.rota.active()).rev() {
            let Some(turn) = self.rota.nth(number) else {
                continue;
            };
            let awake = self.rota.turn(turn).map_or(0, |turn| turn.awake.len());
            for place in (0..awake).rev() {
                let Some(&key) = self.rota.turn(turn).and_then(|t| t.awake.get(place)) else {
                    continue;
                };
                if !self.let_doze(key) {
                    let bucket = self.rota.turn(turn).and_then(|t| t.bucket);
                    let Some(bucket) = bucket.filter(Bucket::is_dry) else {
                        return false;
                    };
                    let ready = bucket.ready_at();
                    *until = Some(until.map_or(ready, |u| u.min(ready)));
                }
            }
        }
        self.mesh.iter_mut().flatten().all(MeshEnd::prepare_sleep)
    }

    /// Says in a port's ring that we are about to sleep. False when there is something in it that could be taken now.
    fn let_doze(&mut self, key: usize) -> bool {
        let Some(port) = self.inbound.get_mut(key).filter(|port| !port.dead) else {
            // Until it is removed.
            self.rota.doze(key);
            return true;
        };
        if port.blocked {
            return true;
        }
        let sleep = port.consumer.prepare_sleep();
        port.asleep = sleep.may_sleep;
        if sleep.ring {
            self.ring(key);
        }
        if sleep.may_sleep {
            self.rota.doze(key);
        }
        sleep.may_sleep
    }

    /// Whether a guest's frame waits for an uplink.
    pub(crate) fn is_blocked(&self) -> bool {
        let waits = |key: &usize| self.inbound.get(*key).is_some_and(|port| port.blocked);
        (0..self.rota.active())
            .filter_map(|number| self.rota.turn(self.rota.nth(number)?))
            .any(|turn| turn.awake.iter().any(waits))
    }
}
