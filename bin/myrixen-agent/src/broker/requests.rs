//! What programs ask, but for direct channels.

use std::time::Instant;

use myrixen_platform::message::{Board, FailReason, Failure, Place, Reply, Request, Serial};
use myrixen_platform::{Handover, SetupError};
use myrixen_ring::{Layout, Terms};

use super::lending::{Attempt, Loan};
use super::pending::{Asker, Pending};
use super::{Broker, Connected, ProgramId, Seat};

/// Endpoints of a board.
const ENDPOINTS: usize = 256;

/// An answer, or `None`: it comes from the back end.
pub(super) type Answer = Result<Option<(Reply, Handover)>, Failure>;

pub(super) fn done() -> Answer {
    Ok(Some((Reply::Done, Handover::none())))
}

pub(super) fn fail<T>(reason: FailReason, text: impl std::fmt::Display) -> Result<T, Failure> {
    Err(Failure::new(reason, text))
}

/// The back end has gone, and with it all that waits for it: the program's socket closes in a moment.
pub(super) fn away() -> Failure {
    Failure::new(FailReason::Draining, "the back end is away")
}

impl Broker {
    /// Answers a request of a program, now or when the back end has.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        id: ProgramId,
        serial: Serial,
        request: &Request,
    ) {
        let answer = self.decide(now, (id, serial), request);
        self.conclude(now, (id, serial), answer);
    }

    /// Gives the answer, if there is one already.
    pub(super) fn conclude(&mut self, now: Instant, asker: Asker, answer: Answer) {
        match answer {
            Ok(None) => {}
            Ok(Some((reply, with))) => self.answer(now, asker, &reply, with),
            Err(failure) => self.fail(now, asker, failure),
        }
    }

    fn decide(&mut self, now: Instant, asker: Asker, request: &Request) -> Answer {
        match *request {
            // What a program brings nobody could map.
            Request::OpenPort {
                endpoint,
                forward,
                backward,
                ..
            } => {
                let attempt = Attempt::first(now);
                self.open_port(attempt, asker, endpoint, [forward, backward])
            }
            Request::ClosePort { endpoint } => self.close_port(asker, endpoint),
            Request::AdoptPort { endpoint } => self.adopt_port(asker, endpoint),
            Request::Resolve(_) | Request::ListBoards { .. } | Request::ListPorts { .. } => {
                self.pass_on(asker, request, Pending::Forward(asker))
            }
            Request::ListOwnBoards { from } => Ok(Some((self.own_boards(from), Handover::none()))),
            Request::OpenDirect {
                endpoint,
                to,
                forward,
                backward,
                ..
            } => self.open_direct(now, asker, (endpoint, to), [forward, backward]),
            Request::CloseDirect {
                endpoint,
                to,
                channel,
            } => self.close_direct(now, asker, (endpoint, to), channel),
            Request::AdoptDirect {
                endpoint,
                to,
                channel,
            } => self.adopt_direct(now, asker, (endpoint, to), channel),
            Request::LendPool {
                endpoint,
                to,
                channel,
                bytes,
                ..
            } => self.lend_pool(asker, (endpoint, to), channel, bytes),
            Request::AskGrantee { .. } => fail(
                FailReason::NotPermitted,
                "programs grant nothing: the agent does",
            ),
            Request::Unknown { kind } => fail(
                FailReason::Unsupported,
                format_args!("request of unknown kind {kind:#06x}"),
            ),
        }
    }

    pub(super) fn place_of(&self, (id, _): Asker) -> Result<(usize, &Seat), Failure> {
        match self.seat(id) {
            Some(seat) => Ok((seat.board, seat)),
            None => fail(FailReason::Invalid, "not attached"),
        }
    }

    /// What the back end has said of a board.
    pub(super) fn connected(&self, place: usize) -> Result<&Connected, Failure> {
        let board = self.boards.get(place);
        board.and_then(|b| b.connected.as_ref()).ok_or_else(away)
    }

    /// The boards of the devices that are there, in the devices' order.
    fn own_boards(&self, from: u32) -> Reply {
        let here = self.boards.iter().filter_map(|b| b.connected.as_ref());
        let boards = here.map(|connected| Board {
            mac: connected.welcome.mac,
            place: Place::Local,
            name: Some(connected.welcome.board.clone()),
        });
        Reply::boards(boards, from)
    }

    /// Asks the back end what a program has asked.
    pub(super) fn pass_on(&mut self, asker: Asker, request: &Request, pending: Pending) -> Answer {
        let (place, _) = self.place_of(asker)?;
        match self.ask(place, request, pending) {
            Ok(()) => Ok(None),
            Err(_) => Err(away()),
        }
    }

    /// The layout of a queue pair as a program wants it, cut to what granted memory allows.
    pub(super) fn layout(&self, asker: Asker, rings: [u32; 2]) -> Result<Layout, Failure> {
        let (place, seat) = self.place_of(asker)?;
        let limit = seat.limits.ring_bytes;
        let [forward, backward] = rings;
        if forward > limit || backward > limit {
            let most = forward.max(backward);
            let text = format!(
                "a ring of {most} bytes, {limit} are allowed (by the policy's `ring_bytes`, here and at the back end, \
                 and by `grants.table`)"
            );
            return fail(FailReason::Limit, text);
        }
        let frame = self.connected(place)?.welcome.profile.mtu;
        self.rules.budget.fit(forward, backward, frame)
    }

    pub(super) fn open_port(
        &mut self,
        attempt: Attempt,
        asker: Asker,
        wanted: Option<u8>,
        rings: [u32; 2],
    ) -> Answer {
        let (place, seat) = self.place_of(asker)?;
        let most = seat.limits.ports;
        if seat.ports.len() + seat.opening.len() >= usize::from(most) {
            let text = format!(
                "{most} ports are open, the policy's `ports` (here or at the back end) allows no more"
            );
            return fail(FailReason::Limit, text);
        }
        if self.open_endpoints(place) >= ENDPOINTS {
            return fail(
                FailReason::Limit,
                "all 256 endpoints of the board are in use",
            );
        }
        let layout = self.layout(asker, rings)?;
        let connected = self.connected(place)?;
        let terms = Terms {
            layout,
            support: connected.support,
        };
        let back = connected.back;
        let loan = Loan::Port {
            asker,
            wanted,
            rings,
        };
        let Some((brought, with)) = self.lend(attempt, loan, back, &terms)? else {
            return Ok(None);
        };
        // What the back end agrees on must be what was made: exactly these capacities.
        let [forward, backward] = layout.capacities().map(|c| c.bytes());
        let request = Request::OpenPort {
            endpoint: wanted,
            forward,
            backward,
            brought: Some(brought),
        };
        let pending = Pending::Port {
            asker,
            wanted,
            terms,
            with,
        };
        let answer = self.pass_on(asker, &request, pending)?;
        if let Some(seat) = self.seat_mut(asker.0) {
            seat.opening.push(wanted);
        }
        Ok(answer)
    }

    /// Endpoints of a board that are open or about to be.
    fn open_endpoints(&self, place: usize) -> usize {
        let here = self.programs.values().filter_map(|p| p.seat());
        let opening = here.filter(|s| s.board == place).map(|s| s.opening.len());
        let open = self.boards.get(place).map_or(0, |b| b.owners.len());
        open + opening.sum::<usize>()
    }

    fn close_port(&mut self, asker: Asker, endpoint: u8) -> Answer {
        let (_, seat) = self.place_of(asker)?;
        if !seat.ports.contains(&endpoint) {
            return fail(
                FailReason::NotFound,
                format_args!("endpoint {endpoint} is not open"),
            );
        }
        let pending = Pending::Close { asker, endpoint };
        self.pass_on(asker, &Request::ClosePort { endpoint }, pending)
    }

    /// A port that a program has from the agent before this one, or from before the back end let us go.
    fn adopt_port(&mut self, asker: Asker, endpoint: u8) -> Answer {
        let (place, seat) = self.place_of(asker)?;
        if seat.ports.contains(&endpoint) {
            return done();
        }
        let user = self.programs.get(&asker.0).map(|p| p.uid());
        let board = self.boards.get(place).ok_or_else(away)?;
        let mut others = self.programs.values().filter_map(|p| p.seat());
        let adopts = |s: &Seat| s.board == place && s.opening.contains(&Some(endpoint));
        if board.owners.contains_key(&endpoint) || others.any(adopts) {
            return fail(
                FailReason::InUse,
                format_args!("endpoint {endpoint} is another program's"),
            );
        }
        if user.is_none() || board.kept.user(endpoint) != user {
            let text = format_args!("endpoint {endpoint} is not known to be this user's");
            return fail(FailReason::NotFound, text);
        }
        let most = usize::from(seat.limits.ports);
        if seat.ports.len() + seat.opening.len() >= most {
            return fail(
                FailReason::Limit,
                "the policy's `ports` allows no more ports",
            );
        }
        let pending = Pending::AdoptPort { asker, endpoint };
        let answer = self.pass_on(asker, &Request::AdoptPort { endpoint }, pending)?;
        if let Some(seat) = self.seat_mut(asker.0) {
            seat.opening.push(Some(endpoint));
        }
        Ok(answer)
    }
}

/// An error of the platform for the program that asked, with all it has to say of limits.
pub(super) fn setup_failure(error: SetupError) -> Failure {
    let reason = match error {
        SetupError::Ring(_) => FailReason::Invalid,
        SetupError::NoDirectPath => FailReason::NoDirectPath,
        _ => FailReason::Limit,
    };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    Failure::new(reason, text)
}
