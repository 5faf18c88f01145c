//! The Xen platform: guests are domains (`docs/xen.md`).

// What other domains write is read here.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)
)]

mod bus;
pub mod front;
mod pair;

pub use bus::BusState;
pub use pair::{Offered, Taken};
