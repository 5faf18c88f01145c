//! The queue-pair ABI between a MyriXen guest and its back end, or between two guests: `docs/ring-abi.md`.
//!
//! A [`QueuePair`] is two byte rings in pages that both ends map. Each end owns the [`Producer`] of one and the
//! [`Consumer`] of the other. Neither trusts the other: all sizes are agreed beforehand and kept privately, every word is read
//! once and checked, and what a peer writes can at worst end in a [`PeerFault`].
//!
//! This crate rings no bells, waits for nothing and knows no frames: it says when a bell is due, and moves bytes.
//!
//! ```
//! use myrixen_ring::{Capacity, Kind, Layout, QueuePair, Side, Support, Terms};
//! use myrixen_shm::Pages;
//!
//! let layout = Layout::new(Capacity::new(4096)?, Capacity::new(4096)?);
//! let terms = Terms { layout, support: Support::OURS };
//! let pages = Pages::private(layout.total())?;
//! let mut front = QueuePair::create(pages.clone(), &terms, Side::Front)?;
//! let mut back = QueuePair::join(pages, &terms, Side::Back)?;
//!
//! let mut slot = front.producer.reserve(5, 0)?.expect("room");
//! slot.write(0, b"frame");
//! slot.publish(Kind::Frame);
//! assert!(!front.producer.needs_bell(), "the back end is not asleep");
//!
//! let record = back.consumer.peek()?.expect("a record");
//! let mut frame = [0; 5];
//! back.consumer.read(&record, 0, &mut frame);
//! assert_eq!(&frame, b"frame");
//! back.consumer.advance(record);
//! assert!(!back.consumer.release(), "the front end does not wait for room");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod consumer;
mod error;
mod layout;
mod memory;
mod pair;
mod producer;
mod record;
#[cfg(test)]
mod tests;

pub use consumer::{Consumer, Sleep};
pub use error::{AttachError, PeerFault, ReserveError};
pub use layout::{Capacity, Features, LINE, Layout, Support, Terms, Version};
pub use memory::Memory;
pub use pair::{QueuePair, Side, format};
pub use producer::{Producer, Slot};
pub use record::{Kind, Record};
