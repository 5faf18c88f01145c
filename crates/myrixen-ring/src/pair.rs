//! A queue pair: making its pages, and taking one end of it.

use std::sync::atomic::Ordering;

use myrixen_shm::{Access, Pages};

use crate::consumer::Consumer;
use crate::error::AttachError;
use crate::layout::{MAGIC, Terms, header};
use crate::memory::Memory;
use crate::producer::Producer;
use crate::record::STOP;

/// Which end of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Produces into ring 0: a guest, or on a direct channel the guest that asked for it.
    Front,
    /// Produces into ring 1: the back end, or the guest that was asked.
    Back,
}

impl Side {
    /// The side of the peer.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Front => Self::Back,
            Self::Back => Self::Front,
        }
    }
}

/// One end of a queue pair. The two halves are independent and may go to different threads.
#[derive(Debug)]
pub struct QueuePair {
    /// What we write.
    pub producer: Producer,
    /// What we read.
    pub consumer: Consumer,
}

impl QueuePair {
    /// Makes the pages a queue pair and takes one end of it. The pages must not have been handed over yet.
    ///
    /// # Errors
    ///
    /// As for [`format()`].
    pub fn create(pages: Pages, terms: &Terms, side: Side) -> Result<Self, AttachError> {
        format(&pages, terms)?;
        Self::join(pages, terms, side)
    }

    /// Takes an end of a queue pair that somebody has made. `terms` come from the control plane; that the header block
    /// repeats them is checked once, so that a mix-up shows here.
    ///
    /// # Errors
    ///
    /// [`AttachError`] when the pages are too short, cannot be written, or say something else than `terms`.
    pub fn join(pages: Pages, terms: &Terms, side: Side) -> Result<Self, AttachError> {
        check_pages(&pages, terms)?;
        check_header(&pages, terms)?;
        let [to_back, to_front] = terms.layout.rings();
        for ring in [&to_back, &to_front] {
            // Whatever it is: the page is mapped now, and not when the first frame comes, for which somebody waits.
            Memory::load_u64(&pages, ring.place(0), Ordering::Acquire);
        }
        let (ours, theirs) = match side {
            Side::Front => (to_back, to_front),
            Side::Back => (to_front, to_back),
        };
        let features = terms.support.features;
        Ok(Self {
            producer: Producer::new(pages.clone(), ours, features, 0),
            consumer: Consumer::new(pages, theirs, features, 0),
        })
    }
}

/// Makes the pages an empty queue pair for two others, who [`join`](QueuePair::join) it. Whatever was in the pages is of
/// no consequence.
///
/// # Errors
///
/// [`AttachError`] when the pages are too short or cannot be written.
pub fn format(pages: &Pages, terms: &Terms) -> Result<(), AttachError> {
    check_pages(pages, terms)?;
    pages.zero(0, 4096);
    for ring in terms.layout.rings() {
        Memory::store_u64(pages, ring.place(0), STOP, Ordering::Relaxed);
    }
    for (offset, value) in words(terms) {
        Memory::store_u32(pages, offset, value, Ordering::Relaxed);
    }
    Memory::store_u64(pages, header::MAGIC, MAGIC, Ordering::Release);
    Ok(())
}

fn check_pages(pages: &Pages, terms: &Terms) -> Result<(), AttachError> {
    let (have, need) = (pages.len(), terms.layout.total());
    if pages.access() == Access::ReadOnly {
        return Err(AttachError::ReadOnly);
    }
    if have < need {
        Err(AttachError::PagesTooShort { have, need })
    } else {
        Ok(())
    }
}

fn check_header(pages: &Pages, terms: &Terms) -> Result<(), AttachError> {
    let found = Memory::load_u64(pages, header::MAGIC, Ordering::Acquire);
    if found != MAGIC {
        return Err(AttachError::Header {
            offset: header::MAGIC,
            found,
            agreed: MAGIC,
        });
    }
    for (offset, agreed) in words(terms) {
        let found = Memory::load_u32(pages, offset, Ordering::Relaxed);
        if found != agreed {
            return Err(AttachError::Header {
                offset,
                found: found.into(),
                agreed: agreed.into(),
            });
        }
    }
    Ok(())
}

/// The words of the header block after the magic.
fn words(terms: &Terms) -> [(usize, u32); 6] {
    let version = terms.support.version;
    let capacity = terms.layout.capacities();
    let offset = |bytes: usize| u32::try_from(bytes).expect("two rings of 64 MiB at most");
    let [first, second] = terms.layout.records();
    [
        (
            header::VERSION,
            u32::from(version.major) | u32::from(version.minor) << 16,
        ),
        (header::FEATURES, terms.support.features.bits()),
        (header::CAPACITY[0], capacity[0].bytes()),
        (header::CAPACITY[1], capacity[1].bytes()),
        (header::RECORDS[0], offset(first)),
        (header::RECORDS[1], offset(second)),
    ]
}

const _: () = assert!(header::RECORDS[1] + 4 <= header::END);
