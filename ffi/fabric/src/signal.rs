//! A descriptor that becomes readable when there is something to be read: what applications sleep on.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::Timespec;

use crate::edge::Answer;
use crate::errno::Errno;

/// See the module.
pub(crate) struct Signal {
    fd: OwnedFd,
    raised: AtomicBool,
}

impl Signal {
    pub(crate) fn new() -> Answer<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let fd = eventfd(0, flags).map_err(|_| Errno::NOMEM)?;
        Ok(Self {
            fd,
            raised: AtomicBool::new(false),
        })
    }

    /// The descriptor, for as long as this lives.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Wakes whoever sleeps.
    pub(crate) fn raise(&self) {
        if !self.raised.swap(true, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Whoever sleeps from now on waits for the next.
    pub(crate) fn clear(&self) {
        self.raised.store(false, Ordering::SeqCst);
        let mut count = [0; 8];
        // There may be nothing to be read.
        let _ = rustix::io::read(&self.fd, &mut count);
    }

    /// Sleeps until it is raised, or for so many milliseconds; negative: for ever.
    pub(crate) fn wait(&self, millis: i64) {
        let timeout = (millis >= 0).then(|| Timespec {
            tv_sec: millis / 1000,
            tv_nsec: millis % 1000 * 1_000_000,
        });
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, timeout.as_ref());
    }
}
