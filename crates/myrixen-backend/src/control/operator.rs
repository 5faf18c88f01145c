//! The operators' socket: one JSON request a line, one JSON reply a line.
//!
//! Who may connect is for the socket's file permissions to say. Operators are trusted with what they see, not
//! with the control side's time: nothing here blocks, and what one may have waiting is bounded.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use mxoe::time::Time;
use myrixen_control::{MAX_REQUEST, Reply, Request, decode, encode};
use myrixen_platform::{Interest, WaitSet};

use super::{BREATHER, Control, OPERATOR};

/// Operators connected at once.
const MAX_OPERATORS: u64 = 16;

/// The socket and who is connected. Number 0 is the socket itself.
pub(super) struct Operators {
    listener: Option<UnixListener>,
    wait: WaitSet,
    connected: BTreeMap<u64, Operator>,
    /// Nobody is let in until then.
    pub(super) paused: Option<Time>,
}

struct Operator {
    stream: UnixStream,
    /// The beginning of a request.
    said: Vec<u8>,
    /// The rest of a reply.
    unread: Vec<u8>,
}

impl Operators {
    pub(super) fn new(
        listener: Option<UnixListener>,
        wait: &WaitSet,
        token: u64,
    ) -> io::Result<Self> {
        if let Some(listener) = &listener {
            listener.set_nonblocking(true)?;
            wait.add(listener.as_fd(), token, Interest::Read)?;
        }
        Ok(Self {
            listener,
            wait: wait.clone(),
            connected: BTreeMap::new(),
            paused: None,
        })
    }

    fn accept(&mut self, now: Time) {
        let Some(listener) = &self.listener else {
            return;
        };
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Most likely descriptors are used up: who waits goes on waiting, and we do not spin.
                    self.wait.remove(listener.as_fd());
                    self.paused = Some(now + BREATHER);
                    return;
                }
            };
            let free = (1..=MAX_OPERATORS).find(|n| !self.connected.contains_key(n));
            // One too many is hung up on.
            let Some(number) = free else { continue };
            let token = OPERATOR | number;
            let watched = stream
                .set_nonblocking(true)
                .and_then(|()| self.wait.add(stream.as_fd(), token, Interest::Read));
            if watched.is_ok() {
                let operator = Operator {
                    stream,
                    said: Vec::new(),
                    unread: Vec::new(),
                };
                self.connected.insert(number, operator);
            }
        }
    }

    /// Lets operators in again when the pause is over.
    pub(super) fn resume(&mut self, now: Time) {
        let Some(listener) = self
            .listener
            .as_ref()
            .filter(|_| self.paused.is_some_and(|t| t <= now))
        else {
            return;
        };
        self.paused = match self.wait.add(listener.as_fd(), OPERATOR, Interest::Read) {
            Ok(()) => None,
            Err(_) => Some(now + BREATHER),
        };
    }

    fn hang_up(&mut self, number: u64) {
        if let Some(operator) = self.connected.remove(&number) {
            self.wait.remove(operator.stream.as_fd());
        }
    }
}

impl Operator {
    /// The next whole line, without its newline; an error when there is none and never will be.
    fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.said.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.said.len() > MAX_REQUEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut bytes = [0; 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.said.extend(&bytes[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Writes what is left of a reply; true when nothing is.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.unread.is_empty() {
            match self.stream.write(&self.unread) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => drop(self.unread.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

impl Control {
    /// The socket, or an operator, has something.
    pub(super) fn hear_operators(&mut self, now: Time, number: u64) {
        if number == 0 {
            return self.operators.accept(now);
        }
        if self.serve_operator(now, number).is_err() {
            self.operators.hang_up(number);
        }
    }

    /// Answers one request at a time, and the next when the reply has been read.
    fn serve_operator(&mut self, now: Time, number: u64) -> io::Result<()> {
        for _ in 0..super::VISIT {
            let Some(operator) = self.operators.connected.get_mut(&number) else {
                return Ok(());
            };
            let token = OPERATOR | number;
            if !operator.flush()? {
                let fd = operator.stream.as_fd();
                return self.operators.wait.change(fd, token, Interest::ReadWrite);
            }
            self.operators
                .wait
                .change(operator.stream.as_fd(), token, Interest::Read)?;
            let Some(line) = operator.line()? else {
                return Ok(());
            };
            let reply = match decode::<Request>(&line) {
                Ok(request) => self.answer_operator(now, request),
                Err(error) => Reply::Refused(format!("not understood: {error}")),
            };
            let Some(operator) = self.operators.connected.get_mut(&number) else {
                return Ok(());
            };
            operator.unread = encode(&reply)?.into_bytes();
        }
        Ok(())
    }
}
