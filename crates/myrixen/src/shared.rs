//! What the holders of an endpoint share, and how a wait is done: poll for a while, then sleep on
//! the doorbells. Whoever waits drives the endpoint; if several do, one sleeps on the doorbells and
//! the others on it.

mod closing;
mod courtesy;
mod driving;
mod poll;
mod quest;

pub(crate) use poll::Seen;
pub(crate) use quest::Quest;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::ThreadId;
use std::time::Duration;

use mxoe::addr::Address;
use mxoe::time::Time;
use myrixen_bias::{Room, Rooms};
use myrixen_platform::{Crowding, Polling, Ready, WaitSet, Waker as BellWaker};

use self::courtesy::Courtesy;
use crate::binding::Bell;
use crate::core::{Core, FRUITLESS_TURNS};
use crate::driver::{Bed, Rest, Watch, Watched};
use crate::fabric::Inner;
use crate::path::Wait;
use crate::request::{Key, Outcome};
use crate::unexpected::UnexpectedHandler;

/// The lock's content: the works, and who is driving. As a rule that is one of the program's threads, for which the lock costs next to nothing.
pub(crate) struct Guarded {
    pub(crate) core: Core,
    /// A thread sleeps on the doorbells and will drive when they ring.
    pub(crate) leader: bool,
    /// When it wakes up at the latest, as far as the engine is concerned.
    leader_due: Option<Time>,
    /// The progress thread has taken over; the rings say that we sleep.
    pub(crate) adopted: bool,
    /// The progress thread wants to be told when the leader stops waiting.
    pub(crate) tell_progress: bool,
    /// What is called for unexpected messages.
    pub(crate) handler: Option<UnexpectedHandler>,
    /// What is called for service messages.
    pub(crate) server: Option<UnexpectedHandler>,
    /// What is called when a request ends, once for each time that it is armed.
    pub(crate) bell: Option<Bell>,
    pub(crate) armed: bool,
    /// The thread that a handler runs on.
    pub(crate) handling: Option<ThreadId>,
    /// The program wants nothing to happen.
    pub(crate) paused: bool,
    /// When the program has looked last without waiting.
    looked: Option<Time>,
    /// It looks again and again, and does nothing else.
    spins: bool,
    /// When it lets others have the processor then.
    courtesy: Courtesy,
    /// Something had come then.
    found: bool,
    /// Messages taken straight, without a look for more, since a back end that the program drives had its turn.
    undriven: u32,
    /// Whether another thread drives it.
    watch: Watch,
    /// The fabric's.
    pub(crate) clock: Clock,
    wait: Wait,
    /// How long to poll before a sleep, where it is for us to find out.
    polling: Polling,
    /// Whether to look on without end, where we are to.
    crowding: Crowding,
    /// The doorbells that ended the last sleep and were not taken note of yet.
    ready: Vec<Ready>,
    /// Room for the uplinks to sleep on.
    uplinks: Vec<Watched>,
}

impl std::ops::Deref for Guarded {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}

impl std::ops::DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

/// Somebody is inside.
pub(crate) type Inside<'a> = myrixen_bias::Inside<'a, Guarded>;

/// Where endpoints' works are.
static ROOMS: Rooms<Guarded> = Rooms::new();

/// See the module.
pub(crate) struct Shared {
    pub(crate) address: Address,
    pub(crate) fabric: Arc<Inner>,
    pub(crate) me: Weak<Self>,
    /// The progress thread may take the endpoint over.
    pub(crate) taken_over: bool,
    /// The program's threads drive the back end.
    pub(crate) drives: bool,
    /// Its number at the fabric.
    pub(crate) slot: usize,
    pub(crate) bells: WaitSet,
    /// Where a thread sleeps that would drive the back end.
    bed: Option<Bed>,
    /// Direct channels are wanted.
    pub(crate) direct: bool,
    /// Size of the rings of its direct channels and of a port that is opened again.
    pub(crate) ring_bytes: u32,
    /// Memory lent to each partner in another domain, in bytes.
    pub(crate) lent_bytes: u32,
    /// Held by the thread that asks for some.
    pub(crate) lending: Mutex<()>,
    /// How many times the program has come in otherwise than by the bias. Counted inside.
    visits: AtomicU32,
    /// How many [`Endpoint`](crate::Endpoint)s there are of it.
    pub(crate) handles: AtomicUsize,
    pub(crate) guarded: Room<Guarded>,
    wakeup: BellWaker,
}

/// What a shared endpoint is made of.
pub(crate) struct Parts {
    pub(crate) address: Address,
    pub(crate) fabric: Arc<Inner>,
    pub(crate) slot: usize,
    pub(crate) bells: WaitSet,
    pub(crate) bed: Option<Bed>,
    pub(crate) core: Core,
    pub(crate) wait: Wait,
    pub(crate) direct: bool,
    pub(crate) ring_bytes: u32,
    pub(crate) lent_bytes: u32,
    pub(crate) handler: Option<UnexpectedHandler>,
    pub(crate) taken_over: bool,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|me| Self::build(parts, me.clone()))
    }

    fn build(parts: Parts, me: Weak<Self>) -> Self {
        let wakeup = parts.bells.waker();
        let drives = parts.fabric.driver.is_some();
        let guarded = Guarded {
            core: parts.core,
            leader: false,
            leader_due: None,
            adopted: false,
            tell_progress: false,
            handler: parts.handler,
            server: None,
            bell: None,
            armed: false,
            handling: None,
            paused: false,
            looked: None,
            spins: false,
            courtesy: Courtesy::new(),
            found: false,
            undriven: 0,
            watch: Watch::default(),
            clock: parts.fabric.clock.clone(),
            wait: parts.wait,
            polling: Polling::new(Duration::ZERO),
            crowding: Crowding::new(),
            ready: Vec::new(),
            uplinks: Vec::new(),
        };
        let shared = Self {
            address: parts.address,
            fabric: parts.fabric,
            me,
            slot: parts.slot,
            bells: parts.bells,
            bed: parts.bed,
            direct: parts.direct,
            ring_bytes: parts.ring_bytes,
            lent_bytes: parts.lent_bytes,
            lending: Mutex::new(()),
            visits: AtomicU32::new(0),
            handles: AtomicUsize::new(0),
            guarded: ROOMS.take(guarded, true),
            taken_over: parts.taken_over,
            drives,
            wakeup,
        };
        shared.set_wait(parts.wait);
        shared
    }

    pub(crate) fn set_wait(&self, wait: Wait) {
        let mut guarded = self.lock();
        guarded.wait = wait;
        if let Wait::Adaptive(limit) = wait {
            guarded.polling = Polling::new(limit);
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.fabric.clock.now()
    }

    /// The time where a tick more or less does not matter: what a program does between two sleeps.
    pub(crate) fn recent(&self) -> Time {
        self.fabric.clock.recent()
    }

    /// As [`recent`](Self::recent), but fine where somebody learns from it how long to poll.
    fn time_for(&self, learns: bool) -> Time {
        if learns {
            return self.fabric.clock.fine();
        }
        self.recent()
    }

    /// Wakes whoever sleeps on the doorbells, so that it looks at everything anew.
    pub(crate) fn rouse(&self) {
        self.wakeup.wake();
    }

    /// Ready when a doorbell rings.
    pub(crate) fn bells_fd(&self) -> BorrowedFd<'_> {
        self.bells.as_fd()
    }

    /// The lock itself, for the program's threads.
    #[inline]
    pub(crate) fn lock(&self) -> Inside<'_> {
        settled(self.guarded.lock())
    }

    /// The same for the fabric's thread, which comes now and then.
    pub(crate) fn visit(&self) -> Inside<'_> {
        settled(self.guarded.visit())
    }

    /// As [`visit`](Self::visit), if nobody is inside.
    pub(crate) fn try_visit(&self) -> Option<Inside<'_>> {
        self.guarded.try_visit().map(settled)
    }

    /// Comes in on behalf of the program.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Inside<'_> {
        settled(self.enter_to_ask())
    }

    /// As [`enter`](Self::enter), for whoever sends a short message, and settles the [arrears](Core::settle_arrears) behind it.
    #[inline(always)]
    pub(crate) fn enter_to_send(&self) -> Inside<'_> {
        let mut guarded = self.enter_to_ask();
        guarded.core.requests.settle();
        guarded
    }

    /// As [`enter`](Self::enter), for whoever reads ends as they come: the receive that [stands by](crate::standby) may go on doing so.
    #[inline(always)]
    pub(crate) fn enter_to_reap(&self) -> Inside<'_> {
        let mut guarded = self.enter_to_send();
        guarded.core.settle_arrears();
        guarded
    }

    /// As [`enter`](Self::enter), for whoever asks for the end of a request, which may be the one that is parked.
    #[inline(always)]
    pub(crate) fn enter_to_ask(&self) -> Inside<'_> {
        if self.drives {
            self.tell_driver();
        }
        if let Some(guarded) = self.guarded.lock_biased()
            && !guarded.adopted
        {
            return guarded;
        }
        self.enter_otherwise()
    }

    /// The same where others have to be told, or may be inside.
    #[cold]
    fn enter_otherwise(&self) -> Inside<'_> {
        let mut guarded = self.guarded.lock();
        // Nobody else changes it.
        let visits = self.visits.load(Ordering::Relaxed);
        self.visits.store(visits.wrapping_add(1), Ordering::Relaxed);
        if guarded.adopted {
            guarded.adopted = false;
            guarded.core.end_sleep();
            self.fabric.look_at(self.slot);
        }
        guarded
    }

    /// A number that is another one each time that the program has come in: the fabric's thread sees by it who is awake.
    pub(crate) fn comings(&self) -> u32 {
        let visits = self.visits.load(Ordering::Relaxed);
        visits.wrapping_add(self.guarded.passages())
    }

    /// Does what short messages have left for later, since others may wait for what it brings, and wakes a leader that would sleep past a timer that we have
    /// set.
    fn mind_timers(&self, guarded: &mut Guarded) {
        if guarded.core.engine.has_undated() {
            guarded.core.date(self.recent());
        }
        if guarded.leader && guarded.oversleeps() {
            guarded.leader_due = guarded.core.engine.next_timeout();
            self.wakeup.wake();
        }
    }

    /// Goes out: hands on what others have to do, and tells those who wait.
    #[inline]
    pub(crate) fn leave(&self, mut guarded: Inside<'_>) {
        if guarded.core.errand {
            self.leave_word(guarded);
        } else {
            // Who ended it knows.
            guarded.core.ended = false;
        }
    }

    /// Goes out, where others may wait for what has been done.
    fn leave_word(&self, mut guarded: Inside<'_>) {
        self.mind_timers(&mut guarded);
        if std::mem::take(&mut guarded.core.sent) {
            guarded.core.turn_back_end();
        }
        let ended = std::mem::take(&mut guarded.core.ended);
        let wakers = std::mem::take(&mut guarded.core.wakers);
        let notes = std::mem::take(&mut guarded.core.notes);
        let (leader, others) = (guarded.leader, guarded.core.waiters > 0);
        let unexpected = guarded.has_to_show();
        let bell = guarded.rings(ended);
        guarded.core.errand = guarded.has_errand();
        drop(guarded);
        if let Some(Bell(ring)) = bell {
            ring();
        }
        if ended && others {
            self.guarded.notify_all();
        }
        if ended && leader {
            self.wakeup.wake();
        }
        for waker in wakers {
            waker.wake();
        }
        if !notes.is_empty() {
            self.fabric.note(self.slot, notes);
        }
        if unexpected {
            self.show_unexpected();
        }
    }

    /// Looks at the rings, that many times, until something has arrived, and tells where. Not where a back end of our own has to bring it first.
    #[inline]
    fn look_out(&self, core: &Core, times: u32) -> Option<usize> {
        match self.drives {
            true => None,
            false => core.look_out(times),
        }
    }

    /// One turn of the back end, where we drive it, and of the endpoint: a short one if a look has found where something has arrived, and none where
    /// one `may_rest`, the look has found nothing, and there is nothing else to do.
    #[inline]
    fn turn(
        &self,
        guarded: &mut Guarded,
        now: Time,
        (looks_on, may_rest): (bool, bool),
        arrived: Option<usize>,
        quest: &mut impl Quest,
    ) -> bool {
        match arrived {
            Some(at) if !guarded.is_halted() => quest.turn_at(&mut guarded.core, now, looks_on, at),
            None if may_rest && !self.drives && guarded.core.rests(now) => false,
            _ => guarded.wait_for_back_end() | guarded.turn(now, looks_on),
        }
    }

    /// The handler of unexpected messages sees them before anybody else.
    #[inline(always)]
    fn let_handler_look<'a>(&'a self, guarded: Inside<'a>) -> Inside<'a> {
        match guarded.core.errand && guarded.has_to_show() {
            true => self.have_shown(guarded),
            false => guarded,
        }
    }

    #[cold]
    fn have_shown<'a>(&'a self, guarded: Inside<'a>) -> Inside<'a> {
        self.leave(guarded);
        self.lock()
    }

    /// Has the fabric's thread work for the endpoint until the program comes in again.
    pub(crate) fn adopt(&self) {
        self.fabric.adopt(self.slot);
    }

    /// Waits for a request to end and takes it out. `None` when the time is over.
    pub(crate) fn wait_for(&self, key: Key, timeout: Option<Duration>) -> Option<Outcome> {
        self.drive(timeout, |core, _| core.requests.take(key))
    }

    /// Works for the endpoint until `done` says so. `None` when the time is over. `done` is told whether there is nothing more to be done
    /// that could help: first no, then whether turns have found nothing, or many have not sufficed.
    pub(crate) fn drive<T>(
        &self,
        timeout: Option<Duration>,
        mut done: impl FnMut(&mut Core, bool) -> Option<T>,
    ) -> Option<T> {
        let mut guarded = self.enter();
        if let Some(found) = done(&mut guarded, false) {
            self.leave(guarded);
            return Some(found);
        }
        let (guarded, found) = self.drive_on(guarded, timeout, done)?;
        self.leave(guarded);
        Some(found)
    }

    /// The same for somebody who is inside, has found nothing yet, and stays inside if something is found.
    pub(crate) fn drive_on<'a, Q: Quest>(
        &'a self,
        mut guarded: Inside<'a>,
        timeout: Option<Duration>,
        mut quest: Q,
    ) -> Option<(Inside<'a>, Q::Found)> {
        let mut now = self.recent();
        let (mut turns, mut fruitless) = (0_u32, 0_u32);
        let deadline = timeout.map(|timeout| self.fabric.clock.deadline(now, timeout));
        let (mut idle_since, mut idle) = (now, false);
        let mut slept = false;
        let mut arrived = self.look_out(&guarded, 1);
        let mut looked = true;
        // Not while a back end waits to be driven.
        if arrived.is_none() && !self.drives && guarded.looks_on() {
            guarded.core.look_away();
        }
        loop {
            if guarded.is_halted() {
                if let Some(found) = quest.done(&mut guarded, true) {
                    return Some((guarded, found));
                }
                guarded = self.wait_for_go(guarded, deadline)?;
                now = self.now();
                continue;
            }
            guarded.core.sent = false;
            let looks_on = guarded.looks_on();
            let may_rest = std::mem::take(&mut looked) && looks_on;
            let with = (looks_on, may_rest);
            let busy = self.turn(&mut guarded, now, with, arrived.take(), &mut quest);
            if busy {
                if std::mem::take(&mut idle) {
                    guarded.polling.came_after(now.since(idle_since));
                }
                idle_since = now;
            }
            guarded = self.let_handler_look(guarded);
            turns = turns.saturating_add(1);
            fruitless = if busy { 0 } else { fruitless + 1 };
            let over = deadline.is_some_and(|deadline| deadline <= now);
            let helpless = !busy && (over || !looks_on || fruitless >= FRUITLESS_TURNS);
            if let Some(found) = quest.done(&mut guarded, helpless || turns >= MANY_TURNS) {
                if looks_on && !slept {
                    guarded.core.look_on();
                }
                return Some((guarded, found));
            }
            if over {
                self.leave(guarded);
                return None;
            }
            let (spins, learns) = match guarded.wait {
                Wait::Spin => {
                    let crowded = guarded.crowding.look(now.since(Time::ZERO));
                    (!crowded || fruitless < CROWDED_TURNS, false)
                }
                Wait::Sleep => (false, false),
                Wait::Adaptive(limit) => (false, !limit.is_zero()),
            };
            let has_time = || now.since(idle_since) < guarded.polling.time();
            if spins || (!busy && learns && has_time()) {
                idle = true;
                // Read before the looks: what comes is not to wait for it.
                now = self.time_for(learns);
                if !busy {
                    looked = true;
                    arrived = self.look_out(&guarded, LOOKS);
                    if arrived.is_none() {
                        guarded.core.one_way = 0;
                    }
                    if spins && fruitless.is_multiple_of(VAIN_TURNS) && arrived.is_none() {
                        guarded.crowding.looked_in_vain(now.since(Time::ZERO));
                    }
                }
                // Letting others have the lock takes longer than a turn that has something to do.
                if !guarded.is_quiet() || !(busy || arrived.is_some()) {
                    self.leave(guarded);
                    std::hint::spin_loop();
                    guarded = self.lock();
                }
            } else if !busy {
                guarded = self.sleep(guarded, deadline);
                slept = true;
                if learns {
                    now = self.now();
                    guarded.polling.came_after(now.since(idle_since));
                } else {
                    now = self.recent();
                }
                (idle_since, idle) = (now, false);
            } else {
                now = self.time_for(learns);
            }
        }
    }

    /// Sleeps while nothing is to happen, or until somebody ends a request. `None` when the time is over, and at once for a handler that would wait
    /// for its own end.
    #[cold]
    fn wait_for_go<'a>(
        &'a self,
        guarded: Inside<'a>,
        deadline: Option<Time>,
    ) -> Option<Inside<'a>> {
        if guarded.handling == Some(std::thread::current().id()) {
            self.leave(guarded);
            return None;
        }
        let now = self.now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            self.leave(guarded);
            return None;
        }
        Some(self.wait_to_be_told(guarded, deadline.map(|due| due.since(now))))
    }

    /// Sleeps until another thread tells what has become of requests or handlers, for so long at most; a second where none is given.
    fn wait_to_be_told<'a>(
        &'a self,
        mut guarded: Inside<'a>,
        limit: Option<Duration>,
    ) -> Inside<'a> {
        guarded.core.waiters += 1;
        guarded.core.errand = true;
        let mut guarded = settled(guarded.wait(limit.unwrap_or(Duration::from_secs(1))));
        guarded.core.waiters -= 1;
        guarded
    }

    /// Has nothing happen from now on. Waits for a handler that runs on another thread.
    pub(crate) fn halt(&self) {
        let mut guarded = self.enter();
        guarded.paused = true;
        while guarded
            .handling
            .is_some_and(|thread| thread != std::thread::current().id())
        {
            guarded = self.wait_to_be_told(guarded, None);
        }
        self.leave(guarded);
    }

    /// Sleeps until a doorbell rings, somebody else's turn ends a request, or a timer is due.
    #[inline(never)]
    fn sleep<'a>(&'a self, mut guarded: Inside<'a>, deadline: Option<Time>) -> Inside<'a> {
        if !guarded.is_quiet() {
            self.leave(guarded);
            return self.lock();
        }
        // Here nobody waits for us: whatever is slow and not urgent is done here.
        let now = self.now();
        if guarded.leader {
            self.mind_timers(&mut guarded);
            return self.wait_to_be_told(guarded, deadline.map(|due| due.since(now)));
        }
        let Some(due) = guarded.begin_sleep(now) else {
            return guarded;
        };
        if std::mem::take(&mut guarded.core.sent) {
            guarded.core.turn_back_end();
        }
        let mut due = [due, deadline].into_iter().flatten().min();
        let driver = self.fabric.driver.as_deref();
        let mut uplinks = std::mem::take(&mut guarded.uplinks);
        match driver.map(|driver| driver.prepare_sleep(&mut uplinks)) {
            None | Some(Rest::Asleep(None)) => {}
            Some(Rest::Asleep(Some(time))) => {
                let look = now + time;
                due = Some(due.map_or(look, |due| due.min(look)));
            }
            Some(Rest::Awake) => {
                guarded.uplinks = uplinks;
                self.end_sleep(&mut guarded);
                return guarded;
            }
        }
        let mut ready = std::mem::take(&mut guarded.ready);
        drop(guarded);
        // Waiting fails only for a set that does not exist, and then there is nothing to wait for.
        let timeout = due.map(|due| due.since(now));
        match (&self.bed, driver) {
            (Some(bed), Some(driver)) => {
                let rung = bed.wait(&self.bells, &uplinks, timeout, &mut ready);
                driver.wake_up(rung.unwrap_or(true));
            }
            _ => drop(self.bells.wait(timeout, &mut ready)),
        }
        let mut guarded = self.lock();
        guarded.ready = ready;
        guarded.uplinks = uplinks;
        self.end_sleep(&mut guarded);
        guarded
    }

    /// The leader is awake again: hands its place on.
    pub(crate) fn end_sleep(&self, guarded: &mut Guarded) {
        guarded.leader = false;
        // There may be none, now that nobody sleeps.
        guarded.core.errand = guarded.has_errand();
        guarded.core.end_sleep();
        if std::mem::take(&mut guarded.tell_progress) {
            self.fabric.look_at(self.slot);
        }
        if guarded.core.waiters > 0 {
            self.guarded.notify_all();
        }
    }
}

/// Whoever comes in finds no send parked, and nothing put off.
#[inline(always)]
fn settled(mut guarded: Inside<'_>) -> Inside<'_> {
    guarded.core.requests.settle();
    guarded.core.settle_arrears();
    let Guarded { core, clock, .. } = &mut *guarded;
    core.settle_standby(|| clock.recent());
    guarded
}

impl Guarded {
    /// The caller goes to sleep on the doorbells, as the leader: until they ring, or until the time that is given. `None`:
    /// there is something to do first.
    pub(crate) fn begin_sleep(&mut self, now: Time) -> Option<Option<Time>> {
        self.drain_bells();
        if !self.is_quiet() || !self.core.prepare_sleep(now) {
            self.core.end_sleep();
            return None;
        }
        self.leader = true;
        self.core.errand = true;
        self.leader_due = self.core.engine.next_timeout();
        Some(self.leader_due)
    }

    /// Takes note of the doorbells that ended the last sleep. Only now: some are drained, which takes system calls, and what they rang for
    /// is more urgent.
    pub(crate) fn drain_bells(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.core.rung(&ready);
        ready.clear();
        self.ready = ready;
    }

    /// Whoever waits looks on for a while before it sleeps.
    fn looks_on(&self) -> bool {
        match self.wait {
            Wait::Spin => true,
            Wait::Sleep => false,
            Wait::Adaptive(limit) => !limit.is_zero() && !self.polling.time().is_zero(),
        }
    }

    /// The leader sleeps past a timer that has been set since.
    fn oversleeps(&self) -> bool {
        let due = self.core.engine.next_timeout();
        due.is_some_and(|due| self.leader_due.is_none_or(|later| due < later))
    }

    /// Sees, without waiting, which doorbells rang.
    pub(crate) fn look_at_bells(&mut self, bells: &WaitSet) {
        self.drain_bells();
        let mut ready = std::mem::take(&mut self.ready);
        if bells.wait(Some(Duration::ZERO), &mut ready).is_err() {
            ready.clear();
        }
        self.ready = ready;
        self.drain_bells();
    }

    /// As [`Core::turn`], unless nothing is to happen.
    pub(crate) fn turn(&mut self, now: Time, looks_on: bool) -> bool {
        !self.is_halted() && self.core.turn(now, looks_on)
    }

    /// Nothing is to happen: the program says so, or a handler decides about a message first.
    pub(crate) fn is_halted(&self) -> bool {
        self.paused || self.handling.is_some()
    }

    /// The handler has messages to see.
    fn has_to_show(&self) -> bool {
        self.shows_later() && !self.is_halted()
    }

    /// The handler has messages to see, now or when it may.
    fn shows_later(&self) -> bool {
        let announced = self.handler.is_some() && !self.core.announced.is_empty();
        announced || !self.core.requested.is_empty()
    }

    /// Whether whoever goes out next has something to hand on, or may have somebody to tell.
    fn has_errand(&self) -> bool {
        let others = self.leader || self.core.waiters > 0 || self.armed;
        others || self.core.sent || self.core.has_word() || self.shows_later()
    }

    /// What to call now that requests have ended, if it is armed.
    fn rings(&mut self, ended: bool) -> Option<Bell> {
        if ended && self.armed {
            self.armed = false;
            return self.bell.clone();
        }
        None
    }

    /// Nobody has to be told anything.
    #[inline]
    fn is_quiet(&self) -> bool {
        let word = self.core.errand && (self.core.has_word() || self.has_to_show());
        !self.core.ended && !word
    }
}

/// Looks at the rings between two turns of whoever waits by looking: some hundred nanoseconds in which others wait for the lock.
const LOOKS: u32 = 64;
/// Whoever looks on without end asks after so many turns in vain, of a microsecond each, whether others want the processor.
const VAIN_TURNS: u32 = 64;
/// If they do, it sleeps after so many: a partner that has its processor has answered by then.
const CROWDED_TURNS: u32 = 3;
/// Whoever can go on without what it waits for, at some cost, does so after [`FRUITLESS_TURNS`], and after this many, however busy they are.
const MANY_TURNS: u32 = 64;

/// Time since the fabric was joined.
#[derive(Clone)]
pub(crate) struct Clock(pub(crate) myrixen_platform::Clock);

impl Clock {
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.0.now()
    }

    /// As [`myrixen_platform::Clock::recent`].
    #[inline]
    pub(crate) fn recent(&self) -> Time {
        Time::from_nanos(self.0.recent_nanos())
    }

    /// As [`myrixen_platform::Clock::fine`].
    pub(crate) fn fine(&self) -> Time {
        Time::ZERO + self.0.fine()
    }

    /// As [`myrixen_platform::Clock::deadline`].
    pub(crate) fn deadline(&self, recent: Time, timeout: Duration) -> Time {
        Time::ZERO + self.0.deadline(recent.since(Time::ZERO), timeout)
    }
}
