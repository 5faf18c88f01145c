//! Taking endpoints over while the program computes.
//!
//! An endpoint whose program has not come in for a tick is *adopted*: the fabric's thread does its
//! work, says in its rings that it sleeps, and watches its doorbells. When the program comes in
//! again it takes the endpoint back. Endpoints that sleep in a wait look after themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mxoe::time::Time;

use crate::shared::Shared;

/// How often the thread looks whether programs are still coming in, while any is.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Turns made for an endpoint in one visit: others are waiting too.
const TURNS: usize = 16;

/// What the fabric's thread knows of one endpoint.
#[derive(Default)]
pub(crate) struct Ward {
    visits: usize,
    /// Its doorbells are watched by the fabric's thread.
    pub(crate) watched: bool,
    /// When to look at it again, if nothing rings.
    pub(crate) due: Option<Time>,
}

/// Why the thread looks at an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Time to look.
    Tick,
    /// A doorbell rang, or a task went to sleep: take it over now.
    Now,
}

impl Ward {
    /// The program has come in since the last visit: it has taken the endpoint back, and its doorbells ring for nobody now.
    pub(crate) fn taken_back(&self, shared: &Shared) -> bool {
        self.visits != shared.visits.load(Ordering::Relaxed)
    }

    /// Looks after an endpoint once.
    pub(crate) fn visit(&mut self, shared: &Arc<Shared>, look: Look, now: Time) {
        let visits = shared.visits.load(Ordering::Relaxed);
        let mut guarded = match look {
            Look::Now => shared.lock(),
            Look::Tick => {
                let Some(guarded) = shared.try_lock() else {
                    // Somebody is in there and at work. Waiting would have each of his turns wake us, to find the next one begun.
                    self.visits = visits;
                    self.due = Some(now + TICK);
                    return;
                };
                guarded
            }
        };
        let came_in = std::mem::replace(&mut self.visits, visits) != visits;
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
        if guarded.adopted {
            guarded.core.end_sleep();
            guarded.look_at_bells(&shared.bells);
        }
        guarded.drain_bells();
        guarded.adopted = true;
        self.watched = true;
        for _ in 0..TURNS {
            let busy = guarded.turn(now);
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
