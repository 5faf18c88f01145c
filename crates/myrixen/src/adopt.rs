//! Taking endpoints over while the program computes.
//!
//! An endpoint whose program has not come in for a tick is *adopted*: the fabric's thread does its
//! work, says in its rings that it sleeps, and watches its doorbells. When the program comes in
//! again it takes the endpoint back. Endpoints that sleep in a wait look after themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mxoe::time::Time;

use crate::shared::Shared;

/// How often the thread looks whether programs are still coming in, while any is.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Turns made for an endpoint in one visit: others are waiting too.
const TURNS: usize = 16;

/// What the fabric's thread knows of its endpoints, and when it visits which.
#[derive(Default)]
pub(crate) struct Wards {
    by_slot: Vec<Ward>,
    due: BTreeSet<(Time, usize)>,
}

/// What it knows of one.
#[derive(Default)]
struct Ward {
    /// What [`Shared::comings`] was.
    comings: u32,
    /// Its doorbells are watched by the fabric's thread.
    watched: bool,
    /// When to look at it again, unless a doorbell rings or its program says that it came in or went.
    due: Option<Time>,
}

/// Why the thread looks at an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Look {
    /// A doorbell rang, or a task went to sleep: take it over now.
    Now,
    /// Time to look.
    Tick,
}

impl Wards {
    /// Whether the doorbells of this endpoint are watched.
    pub(crate) fn watches(&self, slot: usize) -> bool {
        self.by_slot.get(slot).is_some_and(|ward| ward.watched)
    }

    /// The endpoints whose time has come.
    pub(crate) fn due(&self, now: Time) -> impl Iterator<Item = usize> {
        let due = self.due.iter().take_while(move |(due, _)| *due <= now);
        due.map(|(_, slot)| *slot)
    }

    /// When the time of the next one comes.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Looks after an endpoint once. True if its doorbells are to be watched from now on.
    pub(crate) fn visit(
        &mut self,
        slot: usize,
        shared: &Arc<Shared>,
        look: Look,
        now: Time,
    ) -> bool {
        if self.by_slot.len() <= slot {
            self.by_slot.resize_with(slot + 1, Ward::default);
        }
        let ward = &mut self.by_slot[slot];
        let before = ward.due;
        ward.visit(shared, look, now);
        let (after, watched) = (ward.due, ward.watched);
        if before != after {
            self.due.extend(after.map(|due| (due, slot)));
            if let Some(before) = before {
                self.due.remove(&(before, slot));
            }
        }
        watched
    }

    /// An endpoint is closed. Its doorbells leave the watch with their last handle.
    pub(crate) fn forget(&mut self, slot: usize) {
        let Some(ward) = self.by_slot.get_mut(slot) else {
            return;
        };
        if let Some(due) = std::mem::take(ward).due {
            self.due.remove(&(due, slot));
        }
    }
}

impl Ward {
    /// Looks after an endpoint once.
    fn visit(&mut self, shared: &Arc<Shared>, look: Look, now: Time) {
        if !shared.taken_over {
            return;
        }
        let comings = shared.comings();
        if look == Look::Tick && !self.watched && self.comings != comings {
            // Its program comes in: a look inside would only disturb it.
            self.comings = comings;
            self.due = Some(now + TICK);
            return;
        }
        let mut guarded = match look {
            Look::Now => shared.visit(),
            Look::Tick => {
                let Some(guarded) = shared.try_visit() else {
                    // Somebody is in there and at work. Waiting would have each of his turns wake us, to find the next one begun.
                    self.comings = comings;
                    self.due = Some(now + TICK);
                    return;
                };
                guarded
            }
        };
        if guarded.is_halted() {
            self.due = Some(now + TICK);
            return;
        }
        let came_in = std::mem::replace(&mut self.comings, comings) != comings;
        if guarded.leader {
            // It sleeps in a wait, with its doorbells armed. Who comes and goes is looked at again; who sleeps long tells us when he
            // is awake.
            guarded.tell_progress = !came_in;
            self.watched = false;
            self.due = came_in.then(|| now + TICK);
            return;
        }
        if came_in && look == Look::Tick && !guarded.adopted {
            self.watched = false;
            self.due = Some(now + TICK);
            return;
        }
        let mut rung = guarded.adopted;
        if rung {
            guarded.core.end_sleep();
        }
        guarded.adopted = true;
        self.watched = true;
        for _ in 0..TURNS {
            let busy = guarded.turn(now, false);
            // Only now: which bells rang matters before the next sleep, and what they rang for is more urgent.
            if std::mem::take(&mut rung) {
                guarded.look_at_bells(&shared.bells);
            }
            guarded.drain_bells();
            if !busy && guarded.prepare_sleep(now) {
                self.due = guarded.engine.next_timeout();
                shared.leave(guarded);
                return;
            }
            guarded.core.end_sleep();
        }
        self.due = Some(now);
        shared.leave(guarded);
    }
}
