//! Before the domain is saved or moved: programs let go of everything, then the agent does.

use std::time::{Duration, Instant};

use myrixen_platform::Handover;
use myrixen_platform::message::Notice;

use super::Broker;

/// Programs that have not let go by then are named in the log.
const PATIENCE: Duration = Duration::from_secs(5);

/// A board that is to be left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Leaving {
    /// It is not.
    #[default]
    No,
    /// As soon as no program has it any more; then who still does is named.
    Until(Instant),
    /// The same, and they have been named.
    Named,
}

impl Broker {
    /// The back end wants us gone for a while.
    pub(super) fn let_go(&mut self, now: Instant, place: usize) {
        let programs = self.seated(place);
        let Some(board) = self.boards.get_mut(place) else {
            return;
        };
        tracing::info!(
            device = board.number,
            programs = programs.len(),
            "the domain is to be saved or moved: all let go"
        );
        // Nothing is opened any more, who comes waits, and of who leaves nobody is told: they will be back.
        board.connected = None;
        board.leaving = Leaving::Until(now + PATIENCE);
        for id in programs {
            self.notify(now, id, &Notice::LetGo, Handover::none());
        }
        self.leave(now);
    }

    /// Leaves boards that no program has any more.
    pub(super) fn leave(&mut self, now: Instant) {
        for place in 0..self.boards.len() {
            if matches!(self.boards[place].leaving, Leaving::No) {
                continue;
            }
            let left = self.seated(place);
            let board = &mut self.boards[place];
            match board.leaving {
                _ if left.is_empty() => {
                    board.leaving = Leaving::No;
                    board.upstream.leave(now);
                }
                Leaving::Until(until) if until <= now => {
                    board.leaving = Leaving::Named;
                    for id in left {
                        if let Some(program) = self.programs.get(&id) {
                            let who = program.link.identity();
                            tracing::warn!(program = %who, "has not let go: the domain cannot be saved before");
                        }
                    }
                }
                Leaving::No | Leaving::Until(_) | Leaving::Named => {}
            }
        }
    }

    pub(super) fn leaving_timeout(&self) -> Option<Instant> {
        let until = self.boards.iter().filter_map(|board| match board.leaving {
            Leaving::Until(until) => Some(until),
            Leaving::No | Leaving::Named => None,
        });
        until.min()
    }
}
