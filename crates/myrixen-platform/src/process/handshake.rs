//! The guest's part of the handshake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use myrixen_ring::{Support, Terms};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{connect, sockopt};

use super::attachment::Attachment;
use super::control::Control;
use super::error::AttachError;
use super::socket::{Received, Sent, Socket};
use super::{handles, listener};
use crate::handover::{Handover, Item, SharedPool, Tag};
use crate::memory;
use crate::message::{Greeting, Hello, MessageError, Serial, Ticket, VERSION, Welcome, Wish};
use crate::waitset::timespec;

/// What a guest says of itself.
#[derive(Debug)]
pub struct HelloOptions {
    /// Who it would like to be.
    pub wish: Wish,
    /// From an earlier attachment's [`Welcome`].
    pub ticket: Option<Ticket>,
    /// Whether direct partners may try to read this process's memory (they can only where the kernel lets
    /// them read it anyway).
    pub offer_memory: bool,
    /// How long [`Attachment::connect`] waits for the back end.
    pub timeout: Duration,
    /// What direct partners may read of ours, never write.
    pub pool: Option<SharedPool>,
}

impl Default for HelloOptions {
    /// No wishes, memory offered, 5 s.
    fn default() -> Self {
        Self {
            wish: Wish::default(),
            ticket: None,
            offer_memory: true,
            timeout: Duration::from_secs(5),
            pool: None,
        }
    }
}

impl HelloOptions {
    fn hello(&self) -> io::Result<Hello> {
        Ok(Hello {
            version: VERSION,
            features: 0,
            ring: Support::OURS,
            wish: self.wish.clone(),
            ticket: self.ticket.clone(),
            memory: if self.offer_memory {
                Some(memory::own_probe()?)
            } else {
                None
            },
        })
    }
}

/// A guest that is attached.
pub type Attached = (Attachment, Welcome);

/// A Hello that has not been answered yet.
#[derive(Debug)]
pub struct Handshake {
    socket: Option<Socket>,
    path: PathBuf,
    timeout: Duration,
    /// A Welcome whose control ring has not come yet.
    welcome: Option<(Box<Welcome>, Terms)>,
}

impl Handshake {
    /// Connects to the back end that listens on `path` (`@name`: an abstract name) and says Hello. It waits only while more guests
    /// queue there than the back end has taken in, `options.timeout` at most.
    ///
    /// # Errors
    /// [`AttachError`] says what failed and what helps.
    pub fn start(path: impl AsRef<Path>, options: HelloOptions) -> Result<Self, AttachError> {
        let path = path.as_ref();
        let connected = |options: HelloOptions| {
            let fd = listener::open()?;
            // For when the back end's backlog is full: connect waits this long, and then says EAGAIN.
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(options.timeout))?;
            connect(&fd, &listener::address(path)?)?;
            Self::say_hello(Socket::new(fd)?, path, options)
        };
        let timeout = options.timeout;
        connected(options).map_err(|err| match err.kind() {
            io::ErrorKind::WouldBlock => AttachError::TimedOut {
                socket: path.to_owned(),
                after: timeout,
            },
            _ => AttachError::system(path, err),
        })
    }

    /// Says Hello over a socket that was made for it, such as one inherited from a parent process: a connected Unix
    /// `SOCK_SEQPACKET` socket.
    ///
    /// # Errors
    /// When it is no such socket, or the other end is gone.
    pub fn over_fd(fd: OwnedFd, options: HelloOptions) -> io::Result<Self> {
        Self::over(Socket::new(fd)?, options)
    }

    pub(super) fn over(socket: Socket, options: HelloOptions) -> io::Result<Self> {
        Self::say_hello(socket, Path::new("embedded"), options)
    }

    fn say_hello(socket: Socket, path: &Path, mut options: HelloOptions) -> io::Result<Self> {
        let hello = options.hello()?;
        let pool = options.pool.take();
        let mut sent = socket.send(&hello.emit(u8::from(pool.is_some())), &[])?;
        if let (Sent::Yes, Some(pool)) = (sent, pool) {
            let handover = Handover {
                items: vec![Item::Pool(pool)],
            };
            let tag = Tag {
                serial: Serial::new(0),
                answer: false,
            };
            sent = socket.send(&handover.emit(tag), &handover.fds())?;
        }
        match sent {
            Sent::Yes => {
                let (path, timeout) = (path.to_owned(), options.timeout);
                Ok(Self {
                    socket: Some(socket),
                    path,
                    timeout,
                    welcome: None,
                })
            }
            Sent::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            Sent::Closed => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Readable when [`poll`](Self::poll) has something to do.
    ///
    /// # Panics
    /// After `poll` has given a result.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("the handshake goes on").as_fd()
    }

    /// Goes on with the handshake; `None` while the back end has not answered. Does not block.
    ///
    /// # Errors
    /// [`AttachError`] says what failed and what helps.
    ///
    /// # Panics
    /// After it has given a result.
    pub fn poll(&mut self) -> Result<Option<Attached>, AttachError> {
        loop {
            let socket = self.socket.as_ref().expect("the handshake goes on");
            match socket.receive() {
                Ok(Received::Nothing) => return Ok(None),
                Ok(Received::Packet(bytes, fds)) => {
                    if let Some(attached) = self.answered(&bytes, fds)? {
                        return Ok(Some(attached));
                    }
                }
                Ok(Received::Closed) => {
                    return Err(AttachError::HungUp {
                        socket: self.path.clone(),
                    });
                }
                Err(err) => return Err(AttachError::system(&self.path, err)),
            }
        }
    }

    fn answered(
        &mut self,
        bytes: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<Option<Attached>, AttachError> {
        let protocol = |source| AttachError::Protocol {
            socket: self.path.clone(),
            source,
        };
        let Some((welcome, terms)) = self.welcome.take() else {
            match Greeting::parse(bytes).map_err(|err| protocol(err.into()))? {
                Greeting::Refused(refusal) => {
                    return Err(AttachError::Refused {
                        socket: self.path.clone(),
                        refusal,
                    });
                }
                Greeting::Welcome(welcome, terms, _) => self.welcome = Some((welcome, terms)),
            }
            return Ok(None);
        };
        let tag = Tag {
            serial: Serial::new(0),
            answer: true,
        };
        let handover = Handover::parse(bytes, fds, tag).map_err(protocol)?;
        let (pair, ringer, waiter) = handles::control(handover, &terms).map_err(protocol)?;
        let Some(socket) = self.socket.take() else {
            return Err(protocol(MessageError::OutOfPlace { kind: 0 }.into()));
        };
        let control = Control::new(pair, ringer, waiter);
        let attachment =
            Attachment::new(socket, control).map_err(|err| AttachError::system(&self.path, err))?;
        Ok(Some((attachment, *welcome)))
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`AttachError`] says what failed and what helps.
    pub fn wait(mut self) -> Result<Attached, AttachError> {
        let until = Instant::now() + self.timeout;
        loop {
            if let Some(attached) = self.poll()? {
                return Ok(attached);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AttachError::TimedOut {
                    socket: self.path,
                    after: self.timeout,
                });
            }
            let mut fds = [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(err) => return Err(AttachError::system(&self.path, err.into())),
            }
        }
    }
}
