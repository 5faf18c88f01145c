//! A back end with guests that speak raw frames through their rings.
//!
//! Workers are driven inline, so that what passes is counted in turns and not in seconds; only the
//! control side has its thread, and every request waits for its answer.

mod control;
mod crowd;
mod host;
mod hostile;
mod switching;
mod uplinks;
