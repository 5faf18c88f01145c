//! A pair of links in this process: what one sends, the other receives. For tests.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mxoe::addr::NicAddr;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::{
    ETHERNET_HEADER, Incoming, Interest, Link, LinkCounters, LinkError, LinkInfo, LinkKind,
    Offloads, Outgoing, Tag,
};

/// Makes a pair of links that carry frames of up to `mtu` bytes (Ethernet header included) and hold up to
/// `depth` frames in each direction. They pass every tag and hear every address.
///
/// # Errors
/// [`LinkError::Io`] when no descriptor is to be had.
pub fn pair(mtu: usize, depth: usize) -> Result<(MemoryLink, MemoryLink), LinkError> {
    let left = Arc::new(Inbox::new()?);
    let right = Arc::new(Inbox::new()?);
    let end = |name: &'static str, mine: &Arc<Inbox>, theirs: &Arc<Inbox>| MemoryLink {
        name,
        mtu,
        depth,
        mine: Arc::clone(mine),
        theirs: Arc::clone(theirs),
        staged: Vec::new(),
        counters: LinkCounters::default(),
    };
    Ok((end("memory0", &left, &right), end("memory1", &right, &left)))
}

/// One end of a pair.
#[derive(Debug)]
pub struct MemoryLink {
    name: &'static str,
    mtu: usize,
    depth: usize,
    mine: Arc<Inbox>,
    theirs: Arc<Inbox>,
    staged: Vec<Frame>,
    counters: LinkCounters,
}

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    tag: Tag,
}

/// What has been sent to one end and not yet received.
#[derive(Debug)]
struct Inbox {
    queue: Mutex<Queue>,
    bell: OwnedFd,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// The sender found no room and waits for its own bell.
    starved: bool,
}

impl Inbox {
    fn new() -> Result<Self, LinkError> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| LinkError::io("make an eventfd")(errno.into()))?;
        Ok(Self {
            queue: Mutex::default(),
            bell,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere leaves whole frames in the queue: nothing is half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> Result<(), LinkError> {
        match rustix::io::write(&self.bell, &1u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(LinkError::io("ring an eventfd")(errno.into())),
        }
    }

    fn silence(&self) -> Result<(), LinkError> {
        match rustix::io::read(&self.bell, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(LinkError::io("read an eventfd")(errno.into())),
        }
    }
}

impl Link for MemoryLink {
    fn describe(&self) -> LinkInfo {
        LinkInfo {
            name: self.name.to_owned(),
            kind: LinkKind::Memory,
            mac: None,
            mtu: self.mtu,
            offloads: Offloads {
                transmit_segments: 1,
                receive_segments: 1,
                mapped: false,
            },
        }
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        let len = frame.len();
        if frame.head.len() < ETHERNET_HEADER {
            return Err(LinkError::TooShort {
                len: frame.head.len(),
            });
        }
        if len > self.mtu {
            return Err(LinkError::TooLong { len, mtu: self.mtu });
        }
        let mut theirs = self.theirs.lock();
        if theirs.frames.len() + self.staged.len() >= self.depth {
            theirs.starved = true;
            drop(theirs);
            self.counters.full += 1;
            return Err(LinkError::Full);
        }
        drop(theirs);
        let mut bytes = vec![0; len];
        frame.write_to(&mut bytes);
        self.staged.push(Frame {
            bytes,
            tag: frame.tag,
        });
        self.counters.transmitted.count(len);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        if self.staged.is_empty() {
            return Ok(());
        }
        self.theirs.lock().frames.extend(self.staged.drain(..));
        self.counters.system_calls += 1;
        self.theirs.ring()
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        self.mine.silence()?;
        self.counters.system_calls += 1;
        let mut count = 0;
        while count < budget {
            let Some(frame) = self.mine.lock().frames.pop_front() else {
                break;
            };
            self.counters.received.count(frame.bytes.len());
            sink(Incoming::bytes(&frame.bytes, frame.tag));
            count += 1;
        }
        let mut mine = self.mine.lock();
        let starved = count > 0 && std::mem::take(&mut mine.starved);
        let more = !mine.frames.is_empty();
        drop(mine);
        if starved {
            self.theirs.ring()?;
        }
        if more {
            self.mine.ring()?;
        }
        Ok(count)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        // The one bell rings for frames and for room.
        (self.mine.bell.as_fd(), Interest::Read)
    }

    fn set_addresses(&mut self, _macs: &[NicAddr]) -> Result<(), LinkError> {
        Ok(())
    }

    fn counters(&self) -> LinkCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_back_pressure_and_room_rings() {
        let (mut here, mut there) = pair(100, 2).unwrap();
        let frame = [0xff; 60];
        for _ in 0..2 {
            here.transmit(&Outgoing::bytes(&frame, Tag::None)).unwrap();
        }
        let third = here.transmit(&Outgoing::bytes(&frame, Tag::None));
        assert!(matches!(third, Err(LinkError::Full)));
        here.flush().unwrap();
        assert_eq!(there.receive(8, &mut |_| ()).unwrap(), 2);
        let mut bell = [0; 8];
        rustix::io::read(here.readiness().0, &mut bell).unwrap();
        here.transmit(&Outgoing::bytes(&frame, Tag::None)).unwrap();
        assert_eq!(here.counters().full, 1);
    }
}
