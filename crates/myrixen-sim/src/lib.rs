//! A seeded network and hostile guests for testing MyriXen.
//!
//! [`simulate`] turns a seed into a [`scenario::Scenario`] (nodes, what their programs do, how their network behaves,
//! what happens to them), runs the real engines of `mxoe` through it on a virtual clock with real bytes, and has an
//! [`oracle::Oracle`] hold them to their promises: every message once, in order, with the right bytes, or an error
//! to its sender; no livelock; not many more frames than without losses.
//!
//! The same seed gives the same run, everywhere. Nothing here does I/O, reads a clock or sleeps.
//!
//! ```
//! let report = myrixen_sim::simulate(1).expect("the engines keep their promises");
//! assert!(report.outcome.tally.received > 0);
//! ```

#![forbid(unsafe_code)]

pub mod hostile;
mod memory;
pub mod network;
mod node;
pub mod oracle;
pub mod payload;
pub mod rng;
mod run;
pub mod scenario;
pub mod violation;
pub mod world;

pub use run::{Report, With, simulate, simulate_repeatably, trace};
