//! An uplink, as the worker that owns it sees it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use mxoe::addr::NicAddr;
use mxoe::time::Time;
use myrixen_control::DropReason;
use myrixen_link::{Body, Link, LinkCounters, LinkError, Outgoing, Tag};
use myrixen_platform::{Interest, WaitSet};

use super::forward::Step;
use super::table::{Cached, Stranger};
use crate::ids::{PartitionId, UplinkId};
use crate::meter::UplinkMeter;
use crate::worker::interest;

/// Between two complaints about the same uplink.
const QUIET: Duration = Duration::from_secs(1);

/// Which partition a tag means.
#[derive(Debug)]
pub(super) struct Tags {
    by_tag: HashMap<Tag, PartitionId>,
    last: Option<(Tag, PartitionId)>,
}

impl Tags {
    /// The partition that is marked so on this uplink.
    pub(super) fn partition(&mut self, tag: Tag) -> Option<PartitionId> {
        if let Some((_, partition)) = self.last.filter(|(t, _)| *t == tag) {
            return Some(partition);
        }
        let partition = *self.by_tag.get(&tag)?;
        self.last = Some((tag, partition));
        Some(partition)
    }
}

/// An uplink.
pub(crate) struct Uplink {
    pub(crate) id: UplinkId,
    pub(crate) link: Box<dyn Link>,
    pub(super) tags: Tags,
    /// Between whom the last frame that arrived was: most come in trains.
    pub(super) between: (Stranger, Cached),
    pub(crate) meter: Arc<UplinkMeter>,
    /// What the link counts, brought up to date now and then for the control side to read.
    counters: Arc<Mutex<LinkCounters>>,
    /// The descriptor that stands in the worker's wait set.
    watched: Option<(RawFd, Interest)>,
    complained: Option<Time>,
    problem: Option<String>,
    dirty: bool,
    /// Something has been queued since a flush was last thought of.
    fresh: bool,
}

impl Uplink {
    pub(crate) fn new(
        id: UplinkId,
        link: Box<dyn Link>,
        partitions: HashMap<Tag, PartitionId>,
        meter: Arc<UplinkMeter>,
        counters: Arc<Mutex<LinkCounters>>,
    ) -> Self {
        Self {
            id,
            link,
            tags: Tags {
                by_tag: partitions,
                last: None,
            },
            between: Default::default(),
            meter,
            counters,
            watched: None,
            complained: None,
            problem: None,
            dirty: false,
            fresh: false,
        }
    }

    /// Queues a frame.
    pub(super) fn send(&mut self, tag: Tag, head: &[u8], rest: Body<'_>) -> Step {
        let frame = Outgoing {
            head,
            body: rest,
            tag,
        };
        let mut result = self.link.transmit(&frame);
        if matches!(result, Err(LinkError::Full)) {
            self.flush();
            result = self.link.transmit(&frame);
        }
        match result {
            Ok(()) => {
                (self.dirty, self.fresh) = (true, true);
                self.meter.sent_frames.add(1);
                self.meter.sent_bytes.add(frame.len() as u64);
                Step::Moved
            }
            Err(LinkError::Full) => {
                self.meter.waits.add(1);
                Step::Blocked
            }
            Err(LinkError::TooLong { .. }) => Step::Dropped(DropReason::TooLong),
            Err(error) => {
                self.complain(&error);
                Step::Dropped(DropReason::UplinkFault)
            }
        }
    }

    /// Sends what is queued: once in a burst. If one `may_wait`, a train of long frames that has just grown waits until it is complete, or has not grown
    /// any more: whoever writes them is about to write the next.
    pub(crate) fn flush_if_dirty(&mut self, may_wait: bool) {
        let grows = std::mem::take(&mut self.fresh) && may_wait && self.link.is_gathering();
        if self.dirty && !grows {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.dirty = false;
        if let Err(error) = self.link.flush() {
            self.complain(&error);
        }
    }

    /// Sends one of our own frames; one that finds no room is lost, as on the wire.
    pub(crate) fn say(&mut self, frame: &Outgoing<'_>) {
        let _ = self.send(frame.tag, frame.head, frame.body);
    }

    /// Keeps the wait set in step with what the link asks to be waited for.
    pub(crate) fn watch(&mut self, wait: &WaitSet, token: u64) -> io::Result<()> {
        let (fd, wanted) = self.link.readiness();
        let wanted = interest(wanted);
        let now = Some((fd.as_raw_fd(), wanted));
        if self.watched == now {
            return Ok(());
        }
        // A descriptor that the link has closed meanwhile is out of the set by itself.
        let same = self
            .watched
            .is_some_and(|(watched, _)| watched == fd.as_raw_fd());
        self.watched = now;
        if same {
            wait.change(fd, token, wanted)
        } else {
            wait.add(fd, token, wanted)
        }
    }

    /// Takes the link out of the wait set.
    pub(crate) fn unwatch(&mut self, wait: &WaitSet) {
        let Some((watched, _)) = self.watched.take() else {
            return;
        };
        let (fd, _) = self.link.readiness();
        if fd.as_raw_fd() == watched {
            wait.remove(fd);
        }
    }

    /// What the link asks to be waited for.
    pub(crate) fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        let (fd, wanted) = self.link.readiness();
        (fd, interest(wanted))
    }

    /// The boards of this host, for the card's filters.
    pub(crate) fn set_addresses(&mut self, nics: &[NicAddr]) {
        if let Err(error) = self.link.set_addresses(nics) {
            self.complain(&error);
        }
    }

    /// Keeps the latest problem to be reported.
    pub(super) fn complain(&mut self, error: &LinkError) {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.problem = Some(text);
    }

    /// The latest problem, at most once a second.
    pub(crate) fn problem(&mut self, now: Time) -> Option<String> {
        if self.problem.is_none() || self.complained.is_some_and(|t| now.since(t) < QUIET) {
            return None;
        }
        self.complained = Some(now);
        self.problem.take()
    }

    /// Lets the control side see what the link counts.
    pub(crate) fn publish_counters(&self) {
        // Whoever reads holds the lock for a copy; a missed update comes with the next.
        if let Ok(mut counters) = self.counters.try_lock() {
            *counters = self.link.counters();
        }
    }
}
