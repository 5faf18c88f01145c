//! What is said on the control ring, from the guest's end.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use myrixen_ring::Support;

use crate::bell::Waiter;
use crate::meeting::{MAX_UNANSWERED, PeerFault, PortEnd};
use crate::message::{
    Downward, Greeting, Hello, MessageError, Notice, Refusal, Reply, Request, Serial, Welcome,
};
use crate::process::control::Control;

/// Why a control ring is given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrontLoss {
    /// Its *alive* byte is 0.
    #[error("the back end is gone")]
    HungUp,
    /// It said something that cannot be.
    #[error("the back end breaks the rules")]
    Fault(#[from] PeerFault),
    /// It does not take the ring, or does not answer Hello.
    #[error("the back end does not answer on the control ring")]
    Silent,
    /// Its keys say that it has begun anew, or that the device is closed.
    #[error("the back end has let the device go")]
    LetGo,
}

impl From<MessageError> for FrontLoss {
    fn from(error: MessageError) -> Self {
        Self::Fault(error.into())
    }
}

/// What the back end says.
#[derive(Debug)]
pub(super) enum Said {
    /// We are in; queue pairs are made with this support.
    Welcome(Box<Welcome>, Support),
    Refused(Refusal),
    Reply(Serial, Reply),
    Notice(Notice),
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The back end has not taken the ring yet; it should by then.
    Offered(Instant),
    /// Hello is said; an answer is expected by then.
    Greeting(Instant),
    Welcomed,
}

/// One control ring, from its offer to its loss.
#[derive(Debug)]
pub(super) struct Talk {
    control: Control,
    stage: Stage,
    /// What is not in the ring yet: there is no room, or too much is unanswered.
    outbox: VecDeque<(Option<Serial>, Vec<u8>)>,
    unanswered: HashSet<u64>,
    /// What went wrong while something was said; heard of next.
    broken: Option<FrontLoss>,
}

impl Talk {
    /// A ring that the back end is to take by then.
    pub(super) fn new(end: PortEnd, until: Instant) -> Self {
        Self {
            control: Control::new(end.pair, end.ringer, end.waiter),
            stage: Stage::Offered(until),
            outbox: VecDeque::new(),
            unanswered: HashSet::new(),
            broken: None,
        }
    }

    pub(super) fn waiter(&self) -> &Waiter {
        self.control.waiter()
    }

    /// Says Hello, to be answered until then.
    pub(super) fn greet(&mut self, hello: &Hello, until: Instant) {
        self.outbox.push_back((None, hello.emit(0)));
        self.stage = Stage::Greeting(until);
        self.send();
    }

    pub(super) fn is_welcomed(&self) -> bool {
        self.stage == Stage::Welcomed
    }

    /// When the back end has been silent for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Offered(until) | Stage::Greeting(until) => Some(until),
            Stage::Welcomed => None,
        }
    }

    /// Asks, as soon as there is room.
    pub(super) fn ask(&mut self, serial: Serial, request: &Request) {
        self.outbox
            .push_back((Some(serial), request.emit(serial, 0)));
        self.send();
    }

    /// What cannot be sent for another reason than room is heard of next.
    fn send(&mut self) {
        if let Err(loss) = self.flush() {
            self.broken = Some(loss);
        }
    }

    /// Whether there is something to hear although no bell has rung.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The next thing said; after `None` the bell rings. Also sends what there is to send.
    pub(super) fn hear(&mut self, now: Instant) -> Result<Option<Said>, FrontLoss> {
        if let Some(loss) = self.broken.take() {
            return Err(loss);
        }
        loop {
            self.flush()?;
            let Some(bytes) = self.control.take()? else {
                if self.control.hung_up() {
                    return Err(FrontLoss::HungUp);
                }
                return match self.deadline() {
                    Some(until) if until <= now => Err(FrontLoss::Silent),
                    _ => Ok(None),
                };
            };
            if let Some(said) = self.understand(&bytes)? {
                return Ok(Some(said));
            }
        }
    }

    fn understand(&mut self, bytes: &[u8]) -> Result<Option<Said>, FrontLoss> {
        match self.stage {
            // Nothing is said before Hello.
            Stage::Offered(_) => Err(MessageError::OutOfPlace { kind: 0 }.into()),
            Stage::Greeting(_) => match Greeting::parse(bytes)? {
                Greeting::Refused(refusal) => Ok(Some(Said::Refused(refusal))),
                Greeting::Welcome(welcome, terms, _) => {
                    self.stage = Stage::Welcomed;
                    let support = Support::OURS
                        .agree(terms.support)
                        .ok()
                        .filter(|agreed| *agreed == terms.support);
                    let support = support.ok_or(MessageError::Invalid {
                        kind: crate::message::kind::WELCOME,
                        field: "control ring",
                    })?;
                    Ok(Some(Said::Welcome(welcome, support)))
                }
            },
            Stage::Welcomed => {
                let (said, handed) = Downward::parse(bytes)?;
                if handed != 0 {
                    // Nothing can be handed over between domains.
                    return Err(MessageError::OutOfPlace { kind: 0 }.into());
                }
                Ok(match said {
                    Downward::Reply(serial, reply) => {
                        if !self.unanswered.remove(&serial.get()) {
                            let kind = crate::message::kind::DONE;
                            return Err(MessageError::OutOfPlace { kind }.into());
                        }
                        Some(Said::Reply(serial, reply))
                    }
                    Downward::Notice(_, notice) => Some(Said::Notice(notice)),
                    Downward::Unknown(_) => None,
                })
            }
        }
    }

    /// Sends in order, no more at once than a guest may have unanswered.
    fn flush(&mut self) -> Result<(), FrontLoss> {
        while let Some((serial, bytes)) = self.outbox.front() {
            if self.unanswered.len() >= MAX_UNANSWERED || !self.control.give(bytes)? {
                break;
            }
            if let Some(serial) = serial {
                self.unanswered.insert(serial.get());
            }
            self.outbox.pop_front();
        }
        Ok(())
    }
}
