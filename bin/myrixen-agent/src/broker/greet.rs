//! Taking programs in.

use std::time::{Duration, Instant};

use myrixen_platform::message::{
    GuestLimits, Hello, Mac, Name, PORTS_STAY, Refusal, RefusalReason, Ticket, VERSION, Welcome,
};
use myrixen_platform::xen::front::Connected;
use myrixen_platform::{Usage, Wanted};
use myrixen_ring::Support;

use super::{Broker, GuestLink, MAX_UNGREETED, Program, ProgramId, SPARE_CONNECTIONS, Seat, Stage};

/// How long somebody may be connected and say nothing.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// What a Hello comes to.
enum Verdict {
    /// Its board is not there.
    Wait,
    Seat(usize),
}

impl Broker {
    /// Somebody has connected.
    pub(super) fn arrive(&mut self, now: Instant, mut link: Box<dyn GuestLink>) {
        let most = usize::try_from(self.rules.policy.max_guests).unwrap_or(usize::MAX);
        let refuse = |link: &mut dyn GuestLink, text: String| {
            link.refuse(&Refusal::new(RefusalReason::Limit, text));
        };
        if self.programs.len() >= most.saturating_add(SPARE_CONNECTIONS) {
            let text = format!("{most} programs, the limit `limits.max_guests`, and more wait");
            return refuse(link.as_mut(), text);
        }
        let mut program = Program::new(link, now + HELLO_WITHIN);
        let uid = program.uid();
        let quiet = |p: &&Program| matches!(p.stage, Stage::Quiet(_)) && p.uid() == uid;
        let id = self.next_program;
        if self.programs.values().filter(quiet).count() >= MAX_UNGREETED {
            let text =
                format!("{MAX_UNGREETED} programs of this user are attaching at this moment");
            return refuse(program.link.as_mut(), text);
        }
        if let Err(error) = program.link.watch(&self.set, id) {
            let refusal = Refusal::new(RefusalReason::Internal, error);
            return program.link.refuse(&refusal);
        }
        self.next_program += 1;
        self.programs.insert(id, program);
        // It may have spoken before it was watched.
        self.hear_later(id);
    }

    /// Who has said nothing for too long is hung up on.
    pub(super) fn give_up_quiet(&mut self, now: Instant) {
        self.programs
            .retain(|_, p| !matches!(p.stage, Stage::Quiet(until) if until <= now));
    }

    /// A program has said who it wants to be.
    pub(super) fn greet(&mut self, id: ProgramId, hello: Hello) {
        if let Err(refusal) = hello.agree() {
            return self.refuse(id, &refusal);
        }
        if let Some(program) = self.programs.get_mut(&id) {
            program.stage = Stage::Waiting(Box::new(hello));
        }
        self.seat_program(id);
    }

    /// Programs that wait for a board: one has come.
    pub(super) fn seat_waiting(&mut self) {
        let waits =
            |(id, p): (&ProgramId, &Program)| matches!(p.stage, Stage::Waiting(_)).then_some(*id);
        let waiting: Vec<ProgramId> = self.programs.iter().filter_map(waits).collect();
        for id in waiting {
            self.seat_program(id);
        }
    }

    fn seat_program(&mut self, id: ProgramId) {
        let Some(Program {
            stage: Stage::Waiting(hello),
            ..
        }) = self.programs.get(&id)
        else {
            return;
        };
        let hello = hello.clone();
        let verdict = self.choose_board(&hello).and_then(|verdict| match verdict {
            Verdict::Wait => Ok(None),
            Verdict::Seat(place) => self.invite(id, &hello, place).map(|w| Some((place, w))),
        });
        match verdict {
            Ok(None) => {}
            Ok(Some((place, welcome))) => self.welcome(id, place, &welcome),
            Err(refusal) => self.refuse(id, &refusal),
        }
    }

    fn refuse(&mut self, id: ProgramId, refusal: &Refusal) {
        if let Some(mut program) = self.programs.remove(&id) {
            tracing::debug!(program = %program.link.identity(), "refused: {refusal}");
            program.link.refuse(refusal);
        }
    }

    fn welcome(&mut self, id: ProgramId, place: usize, welcome: &Welcome) {
        let Some(program) = self.programs.get_mut(&id) else {
            return;
        };
        let (who, board) = (program.link.identity(), &welcome.board);
        tracing::debug!(program = %who, %board, "attached");
        program.stage = Stage::Seated(Seat::new(place, welcome.limits));
        if program.link.welcome(welcome).is_err() {
            // It does not even read its Welcome; it has nothing yet.
            self.programs.remove(&id);
            return;
        }
        // Its control ring rings only after a first look at it.
        self.hear_later(id);
    }

    /// The board that a program wants: that of its ticket, one that it names, or the first.
    fn choose_board(&self, hello: &Hello) -> Result<Verdict, Refusal> {
        let here = |fits: &dyn Fn(&Connected) -> bool| {
            let fits = |b: &super::Board| b.connected.as_ref().is_some_and(fits);
            self.boards.iter().position(fits)
        };
        let absent = self.boards.iter().any(|b| b.connected.is_none());
        if let Some(mac) = hello.ticket.as_ref().and_then(ticket_mac) {
            match here(&|c| c.welcome.mac == mac) {
                Some(place) => return Ok(Verdict::Seat(place)),
                None if absent => return Ok(Verdict::Wait),
                None => {}
            }
        }
        let wish = &hello.wish;
        if wish.partition.is_none() && wish.board.is_none() {
            let first = self.boards.first().and_then(|b| b.connected.as_ref());
            return Ok(first.map_or(Verdict::Wait, |_| Verdict::Seat(0)));
        }
        let partition = |c: &Connected| {
            wish.partition
                .as_ref()
                .is_none_or(|p| *p == c.welcome.partition)
        };
        let board = |c: &Connected| {
            wish.board
                .as_ref()
                .is_none_or(|b| same(b, &c.welcome.board))
        };
        match here(&|c| partition(c) && board(c)) {
            Some(place) => Ok(Verdict::Seat(place)),
            None if absent => Ok(Verdict::Wait),
            None => Err(self.no_such_board(hello, here(&partition).is_some())),
        }
    }

    fn no_such_board(&self, hello: &Hello, right_partition: bool) -> Refusal {
        let boards = self.boards.iter().filter_map(|b| b.connected.as_ref());
        let has: Vec<String> = boards
            .map(|c| format!("{} in partition {}", c.welcome.board, c.welcome.partition))
            .collect();
        let has = has.join(", ");
        match &hello.wish.partition {
            Some(wanted) if !right_partition => Refusal::new(
                RefusalReason::NoSuchPartition,
                format_args!("this domain has no device in partition {wanted}; it has {has}"),
            ),
            _ => Refusal::new(
                RefusalReason::NotPermitted,
                format_args!(
                    "a domain's board is named where its device is attached; this one has {has}"
                ),
            ),
        }
    }

    /// What a program is told when it may have this board.
    fn invite(&self, id: ProgramId, hello: &Hello, place: usize) -> Result<Welcome, Refusal> {
        let internal = || Refusal::new(RefusalReason::Internal, "the board has just gone");
        let program = self.programs.get(&id).ok_or_else(internal)?;
        let board = self.boards.get(place).and_then(|b| b.connected.as_ref());
        let Connected {
            welcome, support, ..
        } = board.ok_or_else(internal)?;
        if Support::OURS
            .agree(hello.ring)
            .and_then(|s| s.agree(*support))
            != Ok(*support)
        {
            let text = format_args!(
                "the program's library lacks features of the ring ABI that the back end uses ({:?}); upgrade it",
                support.features
            );
            return Err(Refusal::new(RefusalReason::Version, text));
        }
        let plain = hello.wish.board.as_ref().and_then(plain_name);
        let wanted = Wanted {
            partition: &welcome.partition,
            board: plain.as_ref(),
        };
        let grant = self
            .rules
            .policy
            .check(program.link.identity(), wanted, self.usage(id))?;
        let mine = grant.limits;
        let ring = self.rules.budget.largest_ring(welcome.profile.mtu);
        Ok(Welcome {
            version: hello.version.common(VERSION).ok_or_else(internal)?,
            features: welcome.features & PORTS_STAY,
            limits: GuestLimits {
                ports: mine.ports.min(welcome.limits.ports),
                directs: mine.directs.min(welcome.limits.directs),
                ring_bytes: mine.ring_bytes.min(welcome.limits.ring_bytes).min(ring),
            },
            // The back end's names the domain; a program's only names its board.
            ticket: Ticket::new(welcome.mac.bytes().to_vec()),
            ..welcome.clone()
        })
    }

    /// Who is attached besides this one.
    fn usage(&self, id: ProgramId) -> Usage {
        let uid = self.programs.get(&id).map(Program::uid);
        let mut usage = Usage::default();
        for (other, program) in &self.programs {
            if *other != id && program.seat().is_some() {
                usage.guests += 1;
                usage.guests_of_owner += u32::from(Some(program.uid()) == uid);
            }
        }
        usage
    }
}

fn ticket_mac(ticket: &Ticket) -> Option<Mac> {
    Some(Mac::new(ticket.as_bytes().try_into().ok()?))
}

/// Names of boards are equal with and without `:0`.
fn same(wish: &Name, board: &Name) -> bool {
    let plain = |name: &str| name.strip_suffix(":0").unwrap_or(name).to_owned();
    plain(wish.as_str()) == plain(board.as_str())
}

/// As policies have it.
fn plain_name(name: &Name) -> Option<Name> {
    let text = name.as_str();
    Name::new(text.strip_suffix(":0").unwrap_or(text)).ok()
}
