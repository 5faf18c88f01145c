//! Looks of programs that do not wait.

use std::time::Duration;

use mxoe::engine::Space;
use mxoe::time::Time;

use super::{Guarded, Inside, LOOKS, MANY_TURNS, Shared};
use crate::core::{Core, FRUITLESS_TURNS};

/// Within so long a program comes again that does nothing but look: a few such looks. One that computes meanwhile takes longer, and is not held up.
const AT_ONCE: Duration = Duration::from_micros(2);

/// Messages that are taken without a turn of the back end between two of them.
const UNDRIVEN: u32 = 8;

/// What a look has seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Something has arrived here.
    At(usize),
    Nothing,
    /// Nothing, and a turn can be left out.
    Enough,
}

impl Shared {
    /// One turn, and one look. `done` is told, as by [`drive`](Self::drive), whether there is nothing more to be done that could help: when looks have found
    /// nothing so many times, since who looks once without waiting will look again, as a rule.
    pub(crate) fn poll<T>(&self, mut done: impl FnMut(&mut Core, bool) -> Option<T>) -> Option<T> {
        let mut guarded = self.enter();
        let mut found = done(&mut guarded, false);
        if found.is_none() {
            let hurried;
            (guarded, hurried) = self.poll_once(guarded);
            found = done(&mut guarded, hurried);
        }
        self.leave(guarded);
        found
    }

    /// The turn of [`poll`](Self::poll), and what it tells `done` after it.
    #[inline]
    pub(crate) fn poll_once<'a>(&'a self, mut guarded: Inside<'a>) -> (Inside<'a>, bool) {
        match self.look_once(&mut guarded) {
            Seen::Enough => (guarded, false),
            seen => self.act_on(guarded, seen),
        }
    }

    /// The first half of [`poll_once`](Self::poll_once): looks at the rings.
    #[inline]
    pub(crate) fn look_once(&self, guarded: &mut Guarded) -> Seen {
        // Programs that have found something look again at once, until there is nothing, before they go on with what they have found.
        if std::mem::take(&mut guarded.found) && !self.drives && !guarded.core.has_arrived() {
            return Seen::Enough;
        }
        self.look_thoroughly(guarded)
    }

    /// Looks at the rings as whoever wants a message in this space does first, for one that needs no receive, and tells where something has arrived. Looks once where
    /// nobody `waits`.
    #[inline(always)]
    pub(crate) fn look_for(
        &self,
        guarded: &mut Guarded,
        space: Space,
        waits: bool,
    ) -> Option<usize> {
        if !guarded.core.engine.has_none(space) {
            return None;
        }
        self.look_first(guarded, waits)
    }

    /// The first looks of a wait, before anything else is done for it.
    #[inline(always)]
    pub(crate) fn look_first(&self, guarded: &mut Guarded, waits: bool) -> Option<usize> {
        if guarded.is_halted() {
            return None;
        }
        let arrived = guarded.core.look_out(1);
        if arrived.is_some() || !(waits && guarded.looks_on()) {
            return arrived;
        }
        match self.drives {
            true => {
                guarded.undriven = 0;
                guarded.core.look_and_drive()
            }
            false => guarded.core.look_longer(LOOKS),
        }
    }

    /// What was looked for has come, and was taken: who waits so goes on looking. Where we drive the back end it has its turn now and then, also while there is
    /// always something that need not be waited for.
    #[inline]
    pub(crate) fn took_straight(&self, guarded: &mut Guarded) {
        if guarded.looks_on() {
            guarded.core.look_on();
        }
        if self.drives {
            guarded.undriven += 1;
            if guarded.undriven >= UNDRIVEN {
                guarded.undriven = 0;
                guarded.core.turn_back_end();
            }
        }
    }

    fn look_thoroughly(&self, guarded: &mut Guarded) -> Seen {
        let now = self.recent();
        let at_once = |last| now.since(last) <= AT_ONCE;
        guarded.spins = guarded.looked.replace(now).is_some_and(at_once);
        // Where nothing else is done between two looks, what comes is seen sooner from in here.
        let looks = if guarded.spins { LOOKS } else { 1 };
        match self.look_out(&guarded.core, looks) {
            Some(at) => Seen::At(at),
            None => Seen::Nothing,
        }
    }

    /// What a look has found was taken, and no more is to be done. The program knows that there is nothing else.
    #[inline]
    pub(crate) fn took(&self, guarded: &mut Guarded) {
        guarded.core.look_on();
        guarded.found = false;
        guarded.patience = guarded.patience.saturating_add(1);
    }

    /// The second half of [`poll_once`](Self::poll_once).
    pub(crate) fn act_on<'a>(&'a self, mut guarded: Inside<'a>, seen: Seen) -> (Inside<'a>, bool) {
        let (now, spins) = (guarded.seen_at(), guarded.spins);
        let arrived = match seen {
            Seen::At(at) => Some(at),
            Seen::Nothing | Seen::Enough => None,
        };
        // Who looks again and again need not wait for a whole turn each time: what comes meanwhile would, too.
        let busy = self.turn(&mut guarded, now, (true, spins), arrived, &mut no_quest);
        if busy {
            guarded.core.look_on();
        }
        guarded.found = busy;
        guarded = self.let_handler_look(guarded);
        if busy || !spins {
            guarded.courtesy.found();
        } else if guarded.courtesy.looked_in_vain() {
            guarded = self.give_way(guarded);
        }
        let spent = if busy {
            1
        } else {
            MANY_TURNS / FRUITLESS_TURNS
        };
        guarded.patience = guarded.patience.saturating_add(spent);
        let hurried = guarded.patience >= MANY_TURNS;
        (guarded, hurried)
    }

    /// Lets others have the processor.
    #[cold]
    fn give_way<'a>(&'a self, guarded: Inside<'a>) -> Inside<'a> {
        self.leave(guarded);
        let began = self.now();
        std::thread::yield_now();
        let away = self.now().since(began);
        let mut guarded = self.lock();
        guarded.courtesy.gave_way(away);
        guarded
    }

    /// As `poll`, for a task that goes to sleep: the progress thread takes over at once, unless somebody sleeps on
    /// the doorbells already.
    pub(crate) fn poll_with_waker<T>(
        &self,
        mut done: impl FnMut(&mut Core) -> Option<T>,
    ) -> Option<T> {
        let found = self.poll(|core, _| done(core));
        if found.is_none() && !self.lock().leader {
            self.fabric.adopt(self.slot);
        }
        found
    }
}

/// Who looks at what has come after the turn.
fn no_quest(_: &mut Core, _: bool) -> Option<()> {
    None
}

impl Guarded {
    /// When the program has looked last.
    #[inline]
    pub(crate) fn seen_at(&self) -> Time {
        self.looked.unwrap_or(Time::ZERO)
    }
}
