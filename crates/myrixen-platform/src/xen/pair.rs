//! Queue pairs in granted pages: `docs/xen.md`, "Queue pairs in granted pages".
//!
//! Who makes one ([`Offered`]) grants its pages and opens an event channel; who is told two numbers takes it
//! ([`Taken`]). Either may use it itself, or hand it to a program of its domain and forget it.

use std::error::Error;
use std::os::fd::{BorrowedFd, OwnedFd};

use myrixen_ring::{QueuePair, Side, Terms};
use myrixen_shm::{Access, Pages};

use super::gntalloc::set_unmap_notify;
use super::sys::AtUnmap;
use super::{
    DomId, EventChannel, GrantAlloc, GrantMap, GrantRef, Granted, PAGE, Port, Prepared, XenError,
};
use crate::bell::{self, Ringer, Waiter};
use crate::handover::{Handover, Item};
use crate::meeting::{PortEnd, SetupError};
use crate::message::Brought;

/// The most pages of a queue pair: so many references fit its first page.
pub const MOST_PAGES: usize = (PAGE - LIST) / size_of::<u32>();

/// Where in the first page each side's kernel says that it is gone: the front end's, the back end's.
const ALIVE: [usize; 2] = [1280, 1408];
/// Where in the first page the references of all pages are.
const LIST: usize = 2048;

/// The byte that is cleared when `side` is gone.
fn alive(side: Side) -> usize {
    match side {
        Side::Front => ALIVE[0],
        Side::Back => ALIVE[1],
    }
}

/// Where that is, for the kernel.
fn alive_byte(side: Side) -> u64 {
    u64::try_from(alive(side)).unwrap_or(0)
}

/// Has the kernel say that we are gone, as `side` of a queue pair that is mapped from a file of `gntdev`: who handed it to us could not ask for that
/// ([`Prepared::send_at_unmap`]). What was granted here says so from the start.
pub(crate) fn say_when_gone(
    mapped: (BorrowedFd<'_>, u64, usize),
    channel: &EventChannel,
    side: Side,
) -> Result<(), XenError> {
    match side {
        Side::Front => Ok(()),
        Side::Back => set_unmap_notify(
            mapped,
            alive_byte(side),
            AtUnmap::ClearAndSend,
            channel.local_port(),
        ),
    }
}

/// The bell of a queue pair of which we are `side`.
pub(crate) fn bell_of(channel: EventChannel, pages: &Pages, side: Side) -> (Ringer, Waiter) {
    bell::event_bell(channel, pages.clone(), alive(side.other()))
}

pub(super) fn grants(source: impl Error + Send + Sync + 'static) -> SetupError {
    SetupError::Grants(Box::new(source))
}

/// Why pages could not be granted.
pub(super) fn no_pages(error: XenError) -> SetupError {
    match error {
        error @ XenError::GrantsUsedUp { .. } => SetupError::GrantsUsedUp(Box::new(error)),
        other => grants(other),
    }
}

/// How many pages a queue pair has.
fn count(terms: &Terms) -> Result<usize, SetupError> {
    let pages = terms.layout.total().div_ceil(PAGE);
    if pages > MOST_PAGES {
        return Err(SetupError::Grants(
            format!(
                "a queue pair of {pages} pages, {MOST_PAGES} can be granted: ask for smaller rings"
            )
            .into(),
        ));
    }
    Ok(pages)
}

fn end(
    pages: &Pages,
    channel: EventChannel,
    terms: &Terms,
    side: Side,
) -> Result<PortEnd, SetupError> {
    let pair = QueuePair::join(pages.clone(), terms, side)?;
    let (ringer, waiter) = bell_of(channel, pages, side);
    Ok(PortEnd {
        pair,
        ringer,
        waiter,
    })
}

/// The two things that a program is handed.
fn handover(fd: OwnedFd, offset: u64, len: usize, channel: EventChannel) -> Handover {
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    let items = vec![Item::DevicePages { fd, offset, len }, Item::Event(channel)];
    Handover { items }
}

/// So that the program that is handed the channel can make none for others. Xen knows no such limit towards domain 0.
fn restrict(channel: &EventChannel, other: DomId) -> Result<(), SetupError> {
    if other == DomId::new(0) {
        return Ok(());
    }
    channel.restrict(other).map_err(grants)
}

/// A queue pair in pages that this domain has granted to another: an empty one, of which this side is
/// [`Side::Front`]. Dropping it takes it back, as far as the other side lets go.
#[derive(Debug)]
pub struct Offered {
    granted: Granted,
    channel: EventChannel,
    terms: Terms,
    to: DomId,
}

impl Offered {
    /// Grants pages for a queue pair, makes them one, and opens an event channel.
    ///
    /// # Errors
    /// [`SetupError::GrantsUsedUp`] and [`SetupError::Grants`] name the limit that was hit and its setting.
    pub fn make(to: DomId, terms: &Terms) -> Result<Self, SetupError> {
        let pages = u32::try_from(count(terms)?).unwrap_or(u32::MAX);
        let alloc = GrantAlloc::open().map_err(grants)?;
        let granted = alloc
            .alloc(to, pages, Access::ReadWrite)
            .map_err(no_pages)?;
        let channel = EventChannel::open_unbound(to).map_err(grants)?;
        let memory = granted.pages();
        myrixen_ring::format(&memory, terms)?;
        let list: Vec<u8> = granted
            .refs()
            .iter()
            .flat_map(|reference| reference.get().to_le_bytes())
            .collect();
        memory.write(LIST, &list);
        // The other side counts as there until its kernel says otherwise: it may be slow to come.
        memory.write(alive(Side::Front), &[1]);
        memory.write(alive(Side::Back), &[1]);
        granted
            .set_unmap_notify(alive_byte(Side::Front), channel.local_port())
            .map_err(grants)?;
        Ok(Self {
            granted,
            channel,
            terms: *terms,
            to,
        })
    }

    /// What the other side needs to know.
    #[must_use]
    pub fn brought(&self) -> Brought {
        Brought {
            page: self.granted.refs().first().map_or(0, |first| first.get()),
            event: self.channel.local_port().get(),
        }
    }

    /// For a program of this domain, which has it from now on: it ends with the program.
    ///
    /// # Errors
    /// When the channel cannot be restricted.
    pub fn into_handover(self) -> Result<Handover, SetupError> {
        restrict(&self.channel, self.to)?;
        let (fd, offset, len) = self.granted.into_parts();
        Ok(handover(fd, offset, len, self.channel))
    }

    /// For our own use.
    ///
    /// # Errors
    /// When somebody has changed it meanwhile: the other side may have.
    pub fn into_end(self) -> Result<PortEnd, SetupError> {
        end(
            &self.granted.pages(),
            self.channel,
            &self.terms,
            Side::Front,
        )
    }
}

/// A queue pair in pages that another domain has granted to this one, about to be mapped: this side is [`Side::Back`].
#[derive(Debug)]
pub struct Taken {
    prepared: Prepared,
    channel: EventChannel,
    terms: Terms,
    from: DomId,
}

impl Taken {
    /// Finds the pages and binds the event channel. The other domain may say anything here.
    ///
    /// # Errors
    /// [`SetupError::Grants`]: what was granted is not what was said, or a limit of ours.
    pub fn take(from: DomId, brought: Brought, terms: &Terms) -> Result<Self, SetupError> {
        let refs = list(from, brought, count(terms)?)?;
        let map = GrantMap::open().map_err(grants)?;
        let prepared = map.prepare(from, &refs).map_err(grants)?;
        let channel = EventChannel::bind(from, Port::new(brought.event)).map_err(grants)?;
        // Whoever maps them arranges for the byte, see `say_when_gone`.
        prepared
            .send_at_unmap(channel.local_port())
            .map_err(grants)?;
        Ok(Self {
            prepared,
            channel,
            terms: *terms,
            from,
        })
    }

    /// For a program of this domain, which has it from now on.
    ///
    /// # Errors
    /// When the channel cannot be restricted.
    pub fn into_handover(self) -> Result<Handover, SetupError> {
        restrict(&self.channel, self.from)?;
        let (fd, offset, len) = self.prepared.into_parts();
        Ok(handover(fd, offset, len, self.channel))
    }

    /// For our own use.
    ///
    /// # Errors
    /// When a page is not granted, or they are no queue pair of these terms.
    pub fn into_end(self) -> Result<PortEnd, SetupError> {
        let mapped = self.prepared.map(Access::ReadWrite).map_err(grants)?;
        mapped
            .set_unmap_notify(alive_byte(Side::Back), self.channel.local_port())
            .map_err(grants)?;
        // The rings and the bell keep the pages mapped.
        end(&mapped.pages(), self.channel, &self.terms, Side::Back)
    }
}

/// The references of all pages, read once from the first.
fn list(from: DomId, brought: Brought, count: usize) -> Result<Vec<GrantRef>, SetupError> {
    let first = GrantRef::new(brought.page);
    let map = GrantMap::open().map_err(grants)?;
    let page = map.map(from, &[first], Access::ReadOnly).map_err(grants)?;
    let mut bytes = vec![0; count * size_of::<u32>()];
    page.pages().read(LIST, &mut bytes);
    let (words, _) = bytes.as_chunks::<4>();
    let refs: Vec<GrantRef> = words
        .iter()
        .map(|word| GrantRef::new(u32::from_le_bytes(*word)))
        .collect();
    if refs.first() == Some(&first) {
        Ok(refs)
    } else {
        let text =
            format!("the page of grant {first} does not list itself as first of its queue pair");
        Err(SetupError::Grants(text.into()))
    }
}

const _: () = assert!(ALIVE[0] < LIST && ALIVE[1] < LIST && MOST_PAGES == 512);
