//! Sending, and getting to know peers.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use myrixen::{Completes, Connecting, Error, INLINE, Launch, Space, Status};

use super::core::{EpCore, Event};
use super::labels::{Label, What};
use super::reports;
use crate::abi::flag;
use crate::buffers::Buffers;
use crate::edge::Answer;
use crate::errno::Errno;
use crate::info::limits;
use crate::peers::Link;

/// A message of the application's, without its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// What it is sent as.
    pub(crate) what: What,
    /// The place of the peer in the address vector.
    pub(crate) to: u64,
    pub(crate) tag: u64,
    pub(crate) data: Option<u64>,
    pub(crate) context: *mut c_void,
    /// The operation's flags.
    pub(crate) flags: u64,
}

impl Message {
    /// One without a tag.
    pub(crate) fn untagged(to: u64, data: Option<u64>, context: *mut c_void, flags: u64) -> Self {
        Self {
            what: What::Send,
            to,
            tag: 0,
            data,
            context,
            flags,
        }
    }

    /// The same with a tag.
    pub(crate) fn tagged(self, tag: u64) -> Self {
        Self {
            what: What::SendTagged,
            tag,
            ..self
        }
    }
}

/// How long a first operation to a peer waits for the connection before the application is asked to come again.
const PATIENCE: Duration = Duration::from_millis(2);

impl EpCore {
    /// Sends a message.
    #[inline]
    pub(crate) fn send(&self, buffers: Buffers, message: &Message) -> Answer {
        if buffers.len() > limits::MESSAGE {
            return Err(Errno::MSGSIZE);
        }
        let inject = message.flags & flag::INJECT != 0;
        if inject && buffers.len() > limits::INJECT {
            return Err(Errno::MSGSIZE);
        }
        let mut launch = self.launch(message)?;
        launch.completes = completes(message.flags);
        let reported = reports(self.tx.get(), message.flags);
        launch.label = Label::new(message.what).reported(reported).get();
        let launched = match buffers {
            short if inject || short.len() <= INLINE => {
                short.with_bytes(|bytes| self.endpoint.launch_short(bytes, &launch))
            }
            Buffers::One(handed) => self.endpoint.launch(handed, &launch),
            Buffers::Many(many) => self.endpoint.launch(many, &launch),
        };
        launched.map_err(|status| self.not_begun(message.to, status))
    }

    /// Sends a message whose end is not told, and whose memory is the application's again at once.
    #[inline(always)]
    pub(crate) fn inject(&self, buffers: &Buffers, message: &Message) -> Answer {
        if buffers.len() > limits::INJECT {
            return Err(Errno::MSGSIZE);
        }
        let launch = self.launch(message)?;
        let launched = buffers.with_bytes(|bytes| self.endpoint.inject(bytes, &launch));
        match launched {
            Ok(true) => {
                self.count(Event::Send, true);
                Ok(())
            }
            // As much as may be is kept until it is acknowledged.
            Ok(false) => Err(Errno::AGAIN),
            Err(status) => Err(self.not_begun(message.to, status)),
        }
    }

    #[inline(always)]
    fn launch(&self, message: &Message) -> Answer<Launch> {
        Ok(Launch {
            to: self.peer(message.to)?,
            space: match message.what {
                What::SendTagged => Space::Tagged,
                _ => Space::Plain,
            },
            bits: message.tag,
            data: message.data,
            completes: Completes::WhenBuffered,
            context: message.context as u64,
            label: 0,
        })
    }

    /// The engine's number of the peer at a place, which is connected as far as is known.
    #[inline]
    pub(crate) fn peer(&self, to: u64) -> Answer<u64> {
        let place = self.av.get().ok_or(Errno::NOAV)?.place(to);
        match self.peers.get(place) {
            Some(peer) => Ok(peer),
            None => self.connect(place),
        }
    }

    /// Connects to the peer at a place. Waits for a moment; if that does not suffice, the application is to come again.
    #[cold]
    fn connect(&self, place: u64) -> Answer<u64> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(peer) = self.try_connect(place)? {
                return Ok(peer);
            }
            if Instant::now() >= until {
                return Err(Errno::AGAIN);
            }
            self.pump();
        }
    }

    fn try_connect(&self, place: u64) -> Answer<Option<u64>> {
        if let Some(peer) = self.peers.get(place) {
            return Ok(Some(peer));
        }
        let mut links = self.peers.links();
        match links.get(&place).copied() {
            Some(Link::Asked) => return Ok(None),
            Some(Link::Failed(errno)) => {
                // Told once; whoever tries again connects again.
                links.remove(&place);
                return Err(errno);
            }
            None => {}
        }
        drop(links);
        let name = self.av.get().and_then(|av| av.name(place));
        let name = name.ok_or(Errno::ADDRNOTAVAIL)?;
        if let Some((peer, true)) = self.endpoint.peer_id(name.address) {
            self.peers.set(place, peer);
            return Ok(Some(peer));
        }
        self.ask(place).map(|_| None)
    }

    /// Begins to connect; gives the number that the peer has from now on.
    fn ask(&self, place: u64) -> Answer<u64> {
        let name = self.av.get().and_then(|av| av.name(place));
        let name = name.ok_or(Errno::ADDRNOTAVAIL)?;
        let connecting = Connecting {
            to: name.address,
            key: name.key,
            bits: 0,
            timeout: None,
            context: place,
        };
        self.peers.links().insert(place, Link::Asked);
        let label = Label::new(What::Connect).get();
        self.endpoint.reach(connecting, label).map_err(|error| {
            self.peers.links().remove(&place);
            match error {
                Error::ConnectRefused { status, .. } => Errno::of(status),
                _ => Errno::OTHER,
            }
        })
    }

    /// The number of the peer at a place, whom a receive is to be from: also of one that is not connected yet.
    #[inline(always)]
    pub(crate) fn source(&self, from: u64) -> Answer<u64> {
        let place = self.av.get().ok_or(Errno::NOAV)?.place(from);
        match self.peers.get(place) {
            Some(peer) => Ok(peer),
            None => self.find_source(place),
        }
    }

    #[cold]
    fn find_source(&self, place: u64) -> Answer<u64> {
        let name = self.av.get().and_then(|av| av.name(place));
        let name = name.ok_or(Errno::ADDRNOTAVAIL)?;
        match self.endpoint.peer_id(name.address) {
            Some((peer, connected)) => {
                if connected {
                    self.peers.set(place, peer);
                }
                Ok(peer)
            }
            None => self.ask(place),
        }
    }

    /// What an operation with a peer says that was not begun.
    #[cold]
    pub(crate) fn not_begun(&self, peer: u64, status: Status) -> Errno {
        if !matches!(status, Status::NotConnected | Status::BadHandle) {
            return Errno::of(status);
        }
        // The connection was lost meanwhile: it is made again.
        let place = self.av.get().map_or(peer, |av| av.place(peer));
        self.peers.forget(place);
        match self.connect(place) {
            Ok(_) => Errno::AGAIN,
            Err(errno) => errno,
        }
    }
}

/// When an operation with these flags is complete.
#[inline]
fn completes(flags: u64) -> Completes {
    if flags & flag::MATCH_COMPLETE != 0 {
        Completes::WhenMatched
    } else if flags & (flag::DELIVERY_COMPLETE | flag::TRANSMIT_COMPLETE) != 0 {
        Completes::WhenDelivered
    } else {
        Completes::WhenBuffered
    }
}
