//! A meeting place within one process: a program that embeds the back end is its own guest.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use super::handshake::{Handshake, HelloOptions};
use super::link::ProcessLink;
use super::socket::Socket;
use crate::bell::{self, Ringer, Waiter};
use crate::meeting::{GuestLink, Meeting};
use crate::waitset::WaitSet;

/// Makes a meeting place without a name, and the way to it.
///
/// # Errors
/// When descriptors are used up.
pub fn embedded() -> io::Result<(EmbeddedMeeting, Connector)> {
    let (ringer, waiter) = bell::bell()?;
    let (send, receive) = channel();
    Ok((
        EmbeddedMeeting { receive, waiter },
        Connector { send, ringer },
    ))
}

/// Where guests of the same process arrive.
#[derive(Debug)]
pub struct EmbeddedMeeting {
    receive: Receiver<ProcessLink>,
    waiter: Waiter,
}

/// The way to an [`EmbeddedMeeting`].
#[derive(Debug)]
pub struct Connector {
    send: Sender<ProcessLink>,
    ringer: Ringer,
}

impl Connector {
    /// Says Hello. The back end has to be driven for the handshake to come to an end, perhaps by this very thread.
    ///
    /// # Errors
    /// When descriptors are used up, or the back end is gone (`ConnectionRefused`).
    pub fn connect(&self, options: HelloOptions) -> io::Result<Handshake> {
        let (ours, theirs) = Socket::pair()?;
        let link = ProcessLink::over(theirs)?;
        self.send
            .send(link)
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        self.ringer.ring();
        Handshake::over(ours, options)
    }
}

impl Meeting for EmbeddedMeeting {
    fn accept(&mut self) -> io::Result<Option<Box<dyn GuestLink>>> {
        // Before the look, so that a guest that comes after it rings again.
        self.waiter.drain();
        match self.receive.try_recv() {
            Ok(link) => Ok(Some(Box::new(link))),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(None),
        }
    }

    fn watch(&self, set: &WaitSet, token: u64) -> io::Result<()> {
        set.add_bell(&self.waiter, token)
    }

    fn unwatch(&self, set: &WaitSet) {
        set.remove_bell(&self.waiter);
    }
}
