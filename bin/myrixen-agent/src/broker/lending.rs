//! Lending pages, now or when some have come back.

use std::time::{Duration, Instant};

use myrixen_platform::message::{Brought, Failure, PortAddress};
use myrixen_platform::{Handover, SetupError};
use myrixen_ring::{Layout, Terms};

use super::Broker;
use super::pending::Asker;
use super::requests::setup_failure;

/// How long a request waits for pages that are on their way back: the kernel looks for them once a second, and a program waits 10 s for
/// its port.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const PAUSE: Duration = Duration::from_millis(100);

/// What pages are wanted for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loan {
    /// A port, with these rings.
    Port {
        asker: Asker,
        wanted: Option<u8>,
        rings: [u32; 2],
    },
    /// A channel to that domain.
    Direct {
        asker: Asker,
        endpoint: u8,
        to: PortAddress,
        layout: Layout,
        domain: u16,
    },
}

impl Loan {
    fn asker(&self) -> Asker {
        match *self {
            Self::Port { asker, .. } | Self::Direct { asker, .. } => asker,
        }
    }
}

/// When something is tried, and until when it is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    now: Instant,
    until: Instant,
}

impl Attempt {
    pub(super) fn first(now: Instant) -> Self {
        let until = now + PATIENCE;
        Self { now, until }
    }
}

/// A loan that waits for pages.
#[derive(Debug)]
pub(super) struct Postponed {
    loan: Loan,
    until: Instant,
    pub(super) next: Instant,
}

impl Broker {
    /// Lends a queue pair. `None`: pages are used up, and the loan is tried again.
    pub(super) fn lend(
        &mut self,
        attempt: Attempt,
        loan: Loan,
        to: u16,
        terms: &Terms,
    ) -> Result<Option<(Brought, Handover)>, Failure> {
        match self.lender.lend(to, terms) {
            Ok(lent) => Ok(Some(lent)),
            Err(SetupError::GrantsUsedUp(_)) if attempt.now < attempt.until => {
                self.postponed.push(Postponed {
                    loan,
                    until: attempt.until,
                    next: attempt.now + PAUSE,
                });
                Ok(None)
            }
            Err(error @ SetupError::GrantsUsedUp(_)) => {
                let failure = setup_failure(error);
                let text = format_args!("no pages came back within {PATIENCE:?}: {}", failure.text);
                Err(Failure::new(failure.reason, text))
            }
            Err(error) => Err(setup_failure(error)),
        }
    }

    /// Tries loans again that are due.
    pub(super) fn lend_again(&mut self, now: Instant) {
        let due = |postponed: &Postponed| postponed.next <= now;
        if !self.postponed.iter().any(due) {
            return;
        }
        let (ready, later) = std::mem::take(&mut self.postponed)
            .into_iter()
            .partition(due);
        self.postponed = later;
        let ready: Vec<Postponed> = ready;
        for Postponed { loan, until, .. } in ready {
            // Its program has gone.
            if self.seat(loan.asker().0).is_none() {
                continue;
            }
            let attempt = Attempt { now, until };
            match loan {
                Loan::Port {
                    asker,
                    wanted,
                    rings,
                } => {
                    let answer = self.open_port(attempt, asker, wanted, rings);
                    self.conclude(now, asker, answer);
                }
                Loan::Direct {
                    asker,
                    endpoint,
                    to,
                    ..
                } => {
                    let lent = self.lend_channel(attempt, loan);
                    self.channel_lent(now, asker, (endpoint, to), lent);
                }
            }
        }
    }
}
