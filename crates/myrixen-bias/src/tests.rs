//! Nobody is inside with somebody else, whichever way each has come, and nobody waits for nothing.

#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod rooms;
#[cfg(not(loom))]
mod threads;
