//! The middle between a domain's programs and the back end: who may attach, which endpoint is whose, which request waits for
//! which answer.
//!
//! A [`Broker`] is driven: [`wait`](Broker::wait), then [`work`](Broker::work), for ever. It moves no frames and keeps nothing of
//! what it hands on, so that programs go on when it ends.

mod adoption;
mod answers;
mod direct;
mod greet;
mod leave;
mod lending;
mod news;
mod pending;
mod pools;
mod program;
mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use myrixen_platform::message::{ChannelId, Failure, Notice, Reply, Request, Serial};
use myrixen_platform::xen::front::Connected;
use myrixen_platform::{
    GuestLink, Handover, Heard, Meeting, PeerFault, Policy, Ready, WaitSet, Waker,
};

use crate::budget::Budget;
use crate::kept::Kept;
use crate::upstream::{Lender, Upstream};
use leave::Leaving;
use lending::Postponed;
use pending::Pending;
use program::{Program, Seat, Stage};

/// Tokens of the wait set: programs have their ids.
const ARRIVALS: u64 = 1 << 62;
const BOARD: u64 = 1 << 61;
/// Programs taken in at one turn, and what one of them may say before the others are heard.
const ARRIVALS_PER_TURN: usize = 16;
const MESSAGES_PER_TURN: usize = 16;
/// What a back end may say at one turn.
const NEWS_PER_TURN: usize = 64;
/// How long to take nobody in when descriptors are used up.
const NO_DESCRIPTORS: Duration = Duration::from_millis(100);
/// Connections beyond those the policy allows: they are told why they are refused.
const SPARE_CONNECTIONS: usize = 64;
/// How many connections of one user may be silent at once.
const MAX_UNGREETED: usize = 64;

/// Which program.
type ProgramId = u64;

/// What a broker goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who may attach.
    pub policy: Policy,
    /// How large rings may be.
    pub budget: Budget,
}

/// A device, and who has its endpoints.
struct Board {
    upstream: Box<dyn Upstream>,
    /// What the back end says that we are; `None`: it is away.
    connected: Option<Connected>,
    /// What was asked and not answered.
    pending: BTreeMap<u64, Pending>,
    owners: BTreeMap<u8, ProgramId>,
    leaving: Leaving,
    kept: Kept,
    number: u32,
}

/// See the module.
pub struct Broker {
    rules: Rules,
    meeting: Box<dyn Meeting>,
    lender: Box<dyn Lender>,
    boards: Vec<Board>,
    programs: BTreeMap<ProgramId, Program>,
    next_program: ProgramId,
    /// The number that the last channel within the domain got.
    last_channel: ChannelId,
    /// Programs that may have more to say.
    talking: VecDeque<ProgramId>,
    set: WaitSet,
    /// Nobody is taken in before.
    arrivals_at: Option<Instant>,
    arrivals: bool,
    /// More is to be done at once.
    busy: bool,
    ready: Vec<Ready>,
    /// What waits for pages.
    postponed: Vec<Postponed>,
    /// When a program's fault was logged last.
    logged: Option<Instant>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("boards", &self.boards.len())
            .field("programs", &self.programs.len())
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker for programs that arrive at `meeting`, for devices by their numbers. `state_dir` is where it is kept whose the
    /// open endpoints are.
    ///
    /// # Errors
    /// When descriptors are used up.
    pub fn new(
        rules: Rules,
        meeting: Box<dyn Meeting>,
        lender: Box<dyn Lender>,
        devices: Vec<(u32, Box<dyn Upstream>)>,
        state_dir: &Path,
    ) -> io::Result<Self> {
        let set = WaitSet::new()?;
        meeting.watch(&set, ARRIVALS)?;
        let mut boards = Vec::new();
        for ((number, mut upstream), place) in devices.into_iter().zip(0..) {
            upstream.watch(&set, BOARD | place)?;
            boards.push(Board {
                upstream,
                connected: None,
                pending: BTreeMap::new(),
                owners: BTreeMap::new(),
                leaving: Leaving::No,
                kept: Kept::load(kept_at(state_dir, number)),
                number,
            });
        }
        Ok(Self {
            rules,
            meeting,
            lender,
            boards,
            programs: BTreeMap::new(),
            next_program: 0,
            last_channel: first_channel(),
            talking: VecDeque::new(),
            set,
            arrivals_at: None,
            arrivals: true,
            busy: true,
            ready: Vec::new(),
            postponed: Vec::new(),
            logged: None,
        })
    }

    /// Wakes [`wait`](Self::wait) from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.set.waker()
    }

    /// Another policy, for programs that attach from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.rules.policy = policy;
    }

    /// Waits until there is something to do, `most` at most.
    ///
    /// # Errors
    /// Only when the kernel has no memory.
    pub fn wait(&mut self, now: Instant, most: Option<Duration>) -> io::Result<()> {
        let due = self
            .next_timeout()
            .map(|at| at.saturating_duration_since(now));
        let mut timeout = [most, due].into_iter().flatten().min();
        if self.busy || !self.talking.is_empty() {
            timeout = Some(Duration::ZERO);
        }
        let mut ready = std::mem::take(&mut self.ready);
        self.set.wait(timeout, &mut ready)?;
        for event in &ready {
            match event.token {
                ARRIVALS => self.arrivals = true,
                // Boards are all asked at each turn.
                token if token & BOARD != 0 => {}
                id => self.hear_later(id),
            }
        }
        self.ready = ready;
        Ok(())
    }

    /// Does what there is to do, in portions that are fair to everybody.
    pub fn work(&mut self, now: Instant) {
        self.busy = false;
        for place in 0..self.boards.len() {
            self.hear_back_end(now, place);
        }
        self.take_in(now);
        for _ in 0..self.talking.len() {
            if let Some(id) = self.talking.pop_front() {
                self.hear_program(now, id);
            }
        }
        self.lend_again(now);
        self.give_up_adopted(now);
        self.give_up_quiet(now);
        self.leave(now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let boards = self.boards.iter().filter_map(|b| b.upstream.next_timeout());
        let adopted = self.programs.values().filter_map(Program::next_timeout);
        let postponed = self.postponed.iter().map(|p| p.next);
        boards
            .chain(adopted)
            .chain(postponed)
            .chain(self.arrivals_at)
            .chain(self.leaving_timeout())
            .min()
    }

    fn hear_later(&mut self, id: ProgramId) {
        if !self.talking.contains(&id) {
            self.talking.push_back(id);
        }
    }

    /// Takes in who has connected.
    fn take_in(&mut self, now: Instant) {
        if self.arrivals_at.is_some_and(|at| at <= now) {
            self.arrivals_at = None;
            self.arrivals = self.meeting.watch(&self.set, ARRIVALS).is_ok();
        }
        if !self.arrivals || self.arrivals_at.is_some() {
            return;
        }
        for _ in 0..ARRIVALS_PER_TURN {
            match self.meeting.accept() {
                Ok(Some(link)) => self.arrive(now, link),
                Ok(None) => {
                    self.arrivals = false;
                    return;
                }
                Err(error) => {
                    tracing::warn!(
                        "cannot take programs in: {error} (limit: `LimitNOFILE=` of the unit)"
                    );
                    self.meeting.unwatch(&self.set);
                    self.arrivals_at = Some(now + NO_DESCRIPTORS);
                    return;
                }
            }
        }
        self.busy = true;
    }

    fn hear_back_end(&mut self, now: Instant, place: usize) {
        for _ in 0..NEWS_PER_TURN {
            let Some(event) = self
                .boards
                .get_mut(place)
                .and_then(|b| b.upstream.poll(now))
            else {
                return;
            };
            self.on_event(now, place, event);
        }
        self.busy = true;
    }

    fn hear_program(&mut self, now: Instant, id: ProgramId) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(program) = self.programs.get_mut(&id) else {
                return;
            };
            match program.link.hear() {
                Ok(None) => return,
                Ok(Some(Heard::Hello(hello))) => self.greet(id, *hello),
                Ok(Some(Heard::Request(serial, request))) => {
                    self.on_request(now, id, serial, &request);
                }
                Ok(Some(Heard::Left)) => return self.depart(now, id),
                // The platform grew a thing that we do not know.
                Ok(Some(_)) => {}
                Err(fault) => return self.expel(now, id, &fault),
            }
        }
        self.hear_later(id);
    }

    /// Answers a request of a program, if it is still there.
    fn answer(
        &mut self,
        now: Instant,
        (id, serial): (ProgramId, Serial),
        reply: &Reply,
        with: Handover,
    ) {
        let Some(program) = self.programs.get_mut(&id) else {
            return;
        };
        if let Err(fault) = program.link.reply(serial, reply, with) {
            self.expel(now, id, &fault);
        }
    }

    fn fail(&mut self, now: Instant, to: (ProgramId, Serial), failure: Failure) {
        self.answer(now, to, &Reply::Failed(failure), Handover::none());
    }

    fn notify(&mut self, now: Instant, id: ProgramId, notice: &Notice, with: Handover) {
        let Some(program) = self.programs.get_mut(&id) else {
            return;
        };
        if let Err(fault) = program.link.notify(notice, with) {
            self.expel(now, id, &fault);
        }
    }

    /// Tells all programs of a board.
    fn notify_all(&mut self, now: Instant, place: usize, notice: &Notice) {
        for id in self.seated(place) {
            self.notify(now, id, notice, Handover::none());
        }
    }

    fn seated(&self, place: usize) -> Vec<ProgramId> {
        let here = |p: &Program| p.seat().is_some_and(|seat| seat.board == place);
        let programs = self.programs.iter().filter(|(_, p)| here(p));
        programs.map(|(id, _)| *id).collect()
    }

    fn seat(&self, id: ProgramId) -> Option<&Seat> {
        self.programs.get(&id)?.seat()
    }

    fn seat_mut(&mut self, id: ProgramId) -> Option<&mut Seat> {
        self.programs.get_mut(&id)?.seat_mut()
    }

    /// Asks the back end; `Err`: it is away, and here is what was to wait for the answer.
    fn ask(&mut self, place: usize, request: &Request, pending: Pending) -> Result<(), Pending> {
        let Some(board) = self.boards.get_mut(place) else {
            return Err(pending);
        };
        match board.upstream.ask(request) {
            Some(serial) => {
                board.pending.insert(serial.get(), pending);
                Ok(())
            }
            None => Err(pending),
        }
    }

    /// Tells the back end to undo something; when it is away there is nothing to undo.
    fn tell(&mut self, place: usize, request: &Request) {
        let _ = self.ask(place, request, Pending::Nobody);
    }

    /// A program breaks the rules.
    fn expel(&mut self, now: Instant, id: ProgramId, fault: &PeerFault) {
        let quiet = self
            .logged
            .is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1));
        if let Some(program) = self.programs.get(&id).filter(|_| !quiet) {
            self.logged = Some(now);
            let cause = std::error::Error::source(fault).map(|e| format!(": {e}"));
            let who = program.link.identity();
            tracing::warn!(program = %who, "detached: {fault}{}", cause.unwrap_or_default());
        }
        self.depart(now, id);
    }

    /// A program is gone, or is to go: its ports and channels with it, and its partners are told.
    fn depart(&mut self, now: Instant, id: ProgramId) {
        let Some(program) = self.programs.remove(&id) else {
            return;
        };
        let Stage::Seated(seat) = program.stage else {
            return;
        };
        tracing::debug!(program = %program.link.identity(), "left");
        // Its socket closes before anybody is told.
        drop(program.link);
        self.vacate(now, id, seat);
    }

    /// A back end has let us go: programs do as if it were theirs, and come back.
    fn send_away(&mut self, place: usize) {
        for id in self.seated(place) {
            self.programs.remove(&id);
        }
        if let Some(board) = self.boards.get_mut(place) {
            board.connected = None;
            board.leaving = Leaving::No;
            board.pending.clear();
            board.owners.clear();
        }
    }
}

/// Where to begin to number channels: those that an earlier agent has joined are still there.
fn first_channel() -> ChannelId {
    // Each is seeded anew.
    ChannelId::new(RandomState::new().build_hasher().finish())
}

fn kept_at(state_dir: &Path, number: u32) -> PathBuf {
    state_dir.join(format!("ports-{number}"))
}
