//! Doorbells: how one side of a ring wakes the other.
//!
//! A bell has a [`Ringer`] and a [`Waiter`]. Rings are hints: several merge into one, and a spurious one is
//! harmless. What is behind a bell is the platform's business: on the process platform a pipe, between domains of Xen an
//! event channel. One channel rings both ways, so that a ringer and a waiter share it, and it never hangs up: that the
//! other side is gone is told by a byte of the shared pages, which a kernel clears before it rings.
//!
//! # Why a pipe
//!
//! Whoever holds an eventfd can do everything to it: fill its counter and clear `O_NONBLOCK`, so that the
//! other side's write blocks for ever. The ends of a pipe are separate things. The ringer alone holds the
//! write end's file description, so nobody else can make its write block. The waiter drains with `splice` and
//! `SPLICE_F_NONBLOCK`, which does not block whatever is done to the read end's flags. When the ringer's
//! process dies the waiter sees a hang-up, even while the back end is down. So that a program is not sent
//! SIGPIPE when the waiter goes away, the ringer holds the read end too, and never reads.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use myrixen_shm::Pages;

use crate::xen::EventChannel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What is behind a bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BellKind {
    /// A pipe: a byte is a ring, the closed write end a hang-up.
    Pipe,
    /// An event channel of Xen, and a byte that says whether the other side is there.
    EventChannel,
}

/// Bytes that a bell's pipe holds: one page is the least there is, and 4096 unheard rings are plenty.
const PIPE_BYTES: usize = 4096;
/// More than any pipe holds, so that one `splice` empties it.
const DRAIN_BYTES: usize = 1 << 24;

/// Makes a bell.
///
/// # Errors
/// When no pipe can be made: the limit on open files (`RLIMIT_NOFILE`, `LimitNOFILE=` of a systemd unit) or on
/// a user's pipes (`/proc/sys/fs/pipe-user-pages-hard`), or when `/dev/null` cannot be opened.
pub fn bell() -> io::Result<(Ringer, Waiter)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // A larger pipe works as well: only its memory is wasted.
    let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
    let keep = rustix::io::fcntl_dupfd_cloexec(&read, 0)?;
    let waiter = Waiter::from_pipe(read)?;
    Ok((Ringer(Ring::Pipe { write, keep }), waiter))
}

/// The bell of a queue pair between domains: its event channel, and where in the pages the other side's kernel says that it is gone
/// (`docs/xen.md`, "Queue pairs in granted pages").
pub(crate) fn event_bell(channel: EventChannel, pages: Pages, alive: usize) -> (Ringer, Waiter) {
    let channel = Arc::new(channel);
    let ringer = Ringer(Ring::Event(Arc::clone(&channel)));
    let life = Arc::new(Life { pages, alive });
    (ringer, Waiter(Wait::Event(channel, life)))
}

/// The side that rings. Dropping it hangs up, where the platform has it so.
#[derive(Debug)]
pub struct Ringer(Ring);

#[derive(Debug)]
enum Ring {
    Pipe {
        write: OwnedFd,
        /// Against SIGPIPE; never read from.
        keep: OwnedFd,
    },
    Event(Arc<EventChannel>),
}

/// Where the other side's kernel says that it is gone.
#[derive(Debug)]
struct Life {
    pages: Pages,
    alive: usize,
}

impl Life {
    fn is_over(&self) -> bool {
        let mut byte = [1];
        self.pages.read(self.alive, &mut byte);
        byte == [0]
    }
}

impl Ringer {
    /// Rings: whoever waits wakes up. Never blocks, never raises a signal; when nobody listens any more nothing happens.
    pub fn ring(&self) {
        match &self.0 {
            // EAGAIN: thousands of rings have not been heard yet; one more says nothing new. Other errors
            // cannot happen: the read end is open, by `keep`.
            Ring::Pipe { write, .. } => {
                let _ = rustix::io::retry_on_intr(|| rustix::io::write(write, &[1]));
            }
            // It fails only for a channel that is not ours.
            Ring::Event(channel) => {
                let _ = channel.notify();
            }
        }
    }

    /// What is behind it.
    pub fn kind(&self) -> BellKind {
        match self.0 {
            Ring::Pipe { .. } => BellKind::Pipe,
            Ring::Event(_) => BellKind::EventChannel,
        }
    }

    /// The ringer whose write end and read end were handed over.
    pub(crate) fn from_pipe(write: OwnedFd, keep: OwnedFd) -> io::Result<Self> {
        // Whoever made the pipe may have left it blocking; the flag is ours alone from now on.
        let flags = rustix::fs::fcntl_getfl(&write)?;
        rustix::fs::fcntl_setfl(&write, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self(Ring::Pipe { write, keep }))
    }

    /// The write and the read end, to be handed over. An event channel is handed over in other ways.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.0 {
            Ring::Pipe { write, keep } => vec![write.as_fd(), keep.as_fd()],
            Ring::Event(_) => Vec::new(),
        }
    }
}

/// The side that waits: with [`Waiter::fd`] in a poll, or in a [`WaitSet`](crate::WaitSet).
#[derive(Clone, Debug)]
pub struct Waiter(Wait);

#[derive(Clone, Debug)]
enum Wait {
    Pipe(Arc<OwnedFd>),
    Event(Arc<EventChannel>, Arc<Life>),
}

impl Waiter {
    /// Becomes readable when the bell is rung, and hung up when its ringer is gone.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Wait::Pipe(read) => read.as_fd(),
            Wait::Event(channel, _) => channel.fd(),
        }
    }

    /// What is behind it.
    pub fn kind(&self) -> BellKind {
        match self.0 {
            Wait::Pipe(_) => BellKind::Pipe,
            Wait::Event(..) => BellKind::EventChannel,
        }
    }

    /// Forgets all rings up to now, and tells whether there were any. Never blocks. A bell that can no longer be
    /// read counts as hung up.
    pub fn drain(&self) -> Drained {
        match &self.0 {
            Wait::Pipe(read) => drain_pipe(read),
            Wait::Event(channel, life) => match channel.drain() {
                // The byte is cleared before the last event.
                _ if life.is_over() => Drained::HungUp,
                Ok(true) => Drained::Rung,
                Ok(false) => Drained::Silent,
                Err(_) => Drained::HungUp,
            },
        }
    }

    /// Whether the ringer is gone. Rings may still be unheard.
    pub fn hung_up(&self) -> bool {
        let read = match &self.0 {
            Wait::Pipe(read) => read,
            Wait::Event(_, life) => return life.is_over(),
        };
        let mut fds = [PollFd::new(&**read, PollFlags::empty())];
        match rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))) {
            Ok(_) => {
                let [fd] = fds;
                fd.revents()
                    .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
            }
            Err(_) => true,
        }
    }

    /// The waiter whose read end was handed over.
    pub(crate) fn from_pipe(read: OwnedFd) -> io::Result<Self> {
        sink()?;
        Ok(Self(Wait::Pipe(Arc::new(read))))
    }
}

fn drain_pipe(read: &OwnedFd) -> Drained {
    let Some(sink) = SINK.get() else {
        return Drained::HungUp; // no waiter exists without its sink
    };
    let nonblock = SpliceFlags::NONBLOCK;
    let moved = rustix::io::retry_on_intr(|| splice(read, None, sink, None, DRAIN_BYTES, nonblock));
    match moved {
        Ok(0) => Drained::HungUp,
        Ok(_) => Drained::Rung,
        Err(Errno::AGAIN) => Drained::Silent,
        Err(_) => Drained::HungUp,
    }
}

/// What [`Waiter::drain`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// It had been rung.
    Rung,
    /// It had not.
    Silent,
    /// It had not, and never will be: the ringer is gone.
    HungUp,
}

/// `/dev/null`, where rings are drained to.
static SINK: OnceLock<File> = OnceLock::new();

/// Opens the sink with the first bell, so that a program that confines itself later still has it.
fn sink() -> io::Result<()> {
    if SINK.get().is_none() {
        let file = File::options().write(true).open("/dev/null")?;
        let _ = SINK.set(file); // another thread was faster: as good
    }
    Ok(())
}

#[cfg(test)]
mod tests;
