//! Endpoints on a simulated network.

mod exchange;
mod frames;
mod hold;
mod net;
mod partners;
mod probes;
mod requests;
mod short;

use crate::frame::{Dialect, Mtu};

/// Those that differ in something.
fn dialects() -> [Dialect; 3] {
    let native = |mtu| Dialect::Native { mtu };
    [Dialect::Compat, native(Mtu::STANDARD), native(Mtu::DEFAULT)]
}
