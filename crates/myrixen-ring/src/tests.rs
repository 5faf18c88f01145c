//! Tests of the inside: rings far smaller than the ABI allows, in memory that is not pages.

#[cfg(not(loom))]
mod exhaustive;
#[cfg(not(loom))]
mod headers;
#[cfg(loom)]
mod model;
