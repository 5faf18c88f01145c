//! One request at a time, and the events that come in between.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::WatchEvent;
use super::wire::{self, Assembler, ERROR, Kind, MAX_PAYLOAD, Message, TxId, WATCH_EVENT};
use crate::waitset::timespec;
use crate::xen::error::{StoreReason, XenError};

/// How many different events wait to be taken. Other domains make them, so there is an end to it.
pub const MAX_EVENTS: usize = 1024;

/// The stream, and what was read from it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: OwnedFd,
    assembler: Assembler,
    events: VecDeque<WatchEvent>,
    /// An event did not fit.
    lost: bool,
    /// The number of the last request.
    request: u32,
    /// Nothing that comes from the stream means anything any more.
    broken: bool,
}

/// Why a request has no reply.
pub(super) enum Refused {
    /// xenstore says no.
    By(StoreReason),
    /// It did not get that far.
    Failed(XenError),
}

impl From<XenError> for Refused {
    fn from(error: XenError) -> Self {
        Self::Failed(error)
    }
}

impl Connection {
    pub(super) fn new(stream: OwnedFd) -> Self {
        Self {
            stream,
            assembler: Assembler::default(),
            events: VecDeque::new(),
            lost: false,
            request: 0,
            broken: false,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Sends a request and waits for its reply.
    pub(super) fn ask(&mut self, kind: Kind, id: TxId, payload: &[u8]) -> Result<Vec<u8>, Refused> {
        if self.broken {
            return Err(XenError::StoreGone.into());
        }
        self.request = self.request.wrapping_add(1);
        let bytes = wire::request(kind, self.request, id, payload)?;
        self.send(&bytes)?;
        loop {
            match self.step()? {
                Step::Reply(reply) => return self.check(kind, reply),
                Step::Event => {}
                Step::Blocked => self.wait(PollFlags::IN, None)?,
            }
        }
    }

    /// Writes a whole request.
    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        let mut begun = false;
        while !bytes.is_empty() {
            match rustix::io::write(&self.stream, bytes) {
                Ok(0) => return Err(self.give_up(XenError::StoreGone).into()),
                Ok(written) => {
                    begun = true;
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, None)?,
                Err(errno) => return Err(self.not_sent(errno, begun)),
            }
        }
        Ok(())
    }

    /// The device refuses a request as a whole, and answers nothing then: in particular a watch, which the kernel sets
    /// for us. Only the rest of a request that was sent in part cannot be made up for.
    fn not_sent(&mut self, errno: Errno, begun: bool) -> Refused {
        match StoreReason::from_errno(errno.raw_os_error()) {
            Some(reason) if !begun => Refused::By(reason),
            _ => {
                self.broken |= begun;
                Refused::Failed(XenError::System {
                    doing: "send a request to xenstore",
                    source: errno.into(),
                })
            }
        }
    }

    /// The next event of a watch, if one has arrived.
    pub(super) fn next_event(&mut self) -> Result<Option<WatchEvent>, XenError> {
        if std::mem::take(&mut self.lost) {
            return Err(XenError::EventsLost { kept: MAX_EVENTS });
        }
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.broken {
                return Err(XenError::StoreGone);
            }
            match self.step()? {
                Step::Blocked => return Ok(None),
                Step::Event => {}
                Step::Reply(_) => return Err(self.garbled("a reply to no request")),
            }
        }
    }

    /// The next event of a watch; `None` when none came in time.
    pub(super) fn wait_event(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Option<WatchEvent>, XenError> {
        // A time that is too far away to be counted is never reached.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if let Some(event) = self.next_event()? {
                return Ok(Some(event));
            }
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.wait(PollFlags::IN, left)?;
        }
    }

    /// Reads until the next message is complete, or nothing more has arrived.
    fn step(&mut self) -> Result<Step, XenError> {
        loop {
            let Ok(missing) = self.assembler.missing() else {
                return Err(self.garbled("a message is longer than 4096 bytes"));
            };
            if missing == 0 {
                let Ok(Some(message)) = self.assembler.take() else {
                    return Err(self.garbled("a message without a header")); // cannot be: nothing is missing
                };
                return self.sort(message);
            }
            let mut room = [0; MAX_PAYLOAD];
            // Never more than a payload is missing.
            let room = room.get_mut(..missing).unwrap_or_default();
            match rustix::io::read(&self.stream, &mut *room) {
                Ok(0) => return Err(self.give_up(XenError::StoreGone)),
                Ok(len) => self.assembler.add(room.get(..len).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Step::Blocked),
                Err(errno) => {
                    let doing = "read from xenstore";
                    let source = io::Error::from(errno);
                    return Err(self.give_up(XenError::System { doing, source }));
                }
            }
        }
    }

    /// Puts an event aside, and hands a reply on.
    fn sort(&mut self, message: Message) -> Result<Step, XenError> {
        if message.header.kind != WATCH_EVENT {
            return Ok(Step::Reply(message));
        }
        let mut parts = wire::parts(&message.payload);
        let (Some(path), Some(token)) = (parts.next(), parts.next()) else {
            return Err(self.garbled("an event without a path and a token"));
        };
        let (Ok(path), Ok(token)) = (wire::text(path), wire::text(token)) else {
            return Err(self.garbled("an event whose path is not text"));
        };
        let event = WatchEvent { path, token };
        if !self.events.contains(&event) {
            if self.events.len() < MAX_EVENTS {
                self.events.push_back(event);
            } else {
                self.lost = true;
            }
        }
        Ok(Step::Event)
    }

    /// What a reply says to the last request.
    fn check(&mut self, kind: Kind, reply: Message) -> Result<Vec<u8>, Refused> {
        let header = reply.header;
        if header.request != self.request {
            return Err(self.garbled("a reply to another request").into());
        }
        if header.kind == ERROR {
            let word = wire::before_zero(&reply.payload);
            return Err(Refused::By(StoreReason::from_wire(word)));
        }
        if header.kind != kind as u32 {
            return Err(self.garbled("a reply of another kind").into());
        }
        Ok(reply.payload)
    }

    /// Waits until the stream can be read or written, or is closed, or a signal or the end of the time comes.
    fn wait(&self, flags: PollFlags, timeout: Option<Duration>) -> Result<(), XenError> {
        let mut fds = [PollFd::new(&self.stream, flags)];
        match poll(&mut fds, timeout.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(XenError::System {
                doing: "wait for xenstore",
                source: errno.into(),
            }),
        }
    }

    fn garbled(&mut self, what: &'static str) -> XenError {
        self.give_up(XenError::StoreGarbled(what))
    }

    /// From now on nothing is sent or read any more.
    fn give_up(&mut self, error: XenError) -> XenError {
        self.broken = true;
        error
    }
}

/// What came of reading.
enum Step {
    /// Nothing more has arrived.
    Blocked,
    /// An event, which was put aside.
    Event,
    /// A reply.
    Reply(Message),
}
