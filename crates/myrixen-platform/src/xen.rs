//! Xen from user space: grants, event channels and xenstore, through the kernel's own devices.
//!
//! A domain lends pages to another one with [`GrantAlloc`] (`/dev/xen/gntalloc`); the other maps them with [`GrantMap`]
//! (`/dev/xen/gntdev`). Each wakes the other through an [`EventChannel`] (`/dev/xen/evtchn`). The numbers that name
//! pages and channels are exchanged through [`XenStore`] (`/dev/xen/xenbus`). No Xen library is needed, and nothing here
//! knows what lies in the pages.
//!
//! One domain offers a page and waits for the other:
//!
#![cfg_attr(feature = "xen", doc = "```no_run")]
#![cfg_attr(not(feature = "xen"), doc = "```ignore")]
//! use myrixen_platform::xen::{DomId, EventChannel, GrantAlloc, Permission, Rights, XenStore};
//! use myrixen_shm::Access;
//!
//! let peer = DomId::new(2);
//! let granted = GrantAlloc::open()?.alloc(peer, 1, Access::ReadWrite)?;
//! let channel = EventChannel::open_unbound(peer)?;
//! // The peer hears of it when this program is gone: byte 0 becomes 0, and an event comes.
//! granted.pages().write(0, &[1]);
//! granted.set_unmap_notify(0, channel.local_port())?;
//!
//! let mut store = XenStore::open()?;
//! let me = store.domid()?;
//! let offer = format!("{} {}", granted.refs()[0], channel.local_port());
//! store.write("data/offer", offer.as_bytes())?;
//! store.set_perms("data/offer", &[Permission::new(Rights::None, me), Permission::new(Rights::Read, peer)])?;
//! # Ok::<(), myrixen_platform::xen::XenError>(())
//! ```
//!
//! The other takes it up:
//!
#![cfg_attr(feature = "xen", doc = "```no_run")]
#![cfg_attr(not(feature = "xen"), doc = "```ignore")]
//! use myrixen_platform::xen::{DomId, EventChannel, GrantMap, GrantRef, Port};
//! use myrixen_shm::Access;
//!
//! # let (grant, port) = (GrantRef::new(8), Port::new(12));
//! let peer = DomId::new(1);
//! let mapped = GrantMap::open()?.map(peer, &[grant], Access::ReadWrite)?;
//! let channel = EventChannel::bind(peer, port)?;
//! mapped.pages().write(100, b"hello");
//! channel.notify()?;
//! # Ok::<(), myrixen_platform::xen::XenError>(())
//! ```
//!
//! # Privileges
//!
//! The devices belong to root. A program that gives up its privileges opens what it will need before that:
//! [`GrantAlloc::with_spares`], [`GrantMap::with_spares`] and [`EventChannels::with_spares`] keep files for later. Whoever
//! is handed a file of these devices can do with it all that the device does, with few exceptions: see the types.
//!
//! # When a side goes
//!
//! A process that ends in any way closes its files, and with them its grants and channels. The peer's mapping stays
//! readable and writable until the peer unmaps it. A *domain* that is destroyed sends no events and clears no bytes:
//! only xenstore tells, by a watch on a key of that domain, or on `@releaseDomain` in domain 0.

pub(crate) mod bus;
mod device;
mod domain;
mod error;
mod evtchn;
pub mod front;
mod gntalloc;
mod gntdev;
mod link;
mod meeting;
pub(crate) mod pair;
mod pool;
mod sys;
pub mod toolstack;
mod xenstore;

pub use domain::{DomId, GrantRef, Port};
pub use error::{StoreQuota, StoreReason, XenError};
pub use evtchn::{EventChannel, EventChannels};
pub use gntalloc::{GrantAlloc, Granted};
pub use gntdev::{GrantMap, Mapped, Prepared};
pub use link::XenLink;
pub use meeting::XenMeeting;
pub use pair::{MOST_PAGES, Offered, Taken};
pub use pool::{MOST_POOL_PAGES, borrow_pool, lend_pool};
pub use xenstore::{
    MAX_EVENTS, MAX_REQUEST, Permission, Rights, Transaction, WatchEvent, XenStore,
};

/// The size of a granted page. Linux kernels with larger pages grant the first 4096 bytes of each: they are not supported here.
pub const PAGE: usize = 4096;

/// The bytes of that many pages.
fn bytes(pages: usize) -> usize {
    // No more pages than a u32 counts are ever asked for, so it fits wherever they could be mapped.
    pages.saturating_mul(PAGE)
}
