//! Starts programs of Open MPI and of MPICH on hosts of a [`Lab`](myrixen_netlab::Lab), over whatever carries their messages: the provider
//! `myrixen`, other providers of libfabric, or what MPI has of its own.
//!
//! A host of a lab is a network namespace. So that MPI takes it for a host, what is started there gets a host name of its own too (a UTS
//! namespace, by `unshare` of util-linux), and the ranks of other hosts are started by a script in place of `ssh`, which enters
//! their network by `nsenter`. Nothing of MPI's is patched, and nothing needs root.
//!
//! The library knows no back end: which one a host's programs attach to is said by the environment of its [`Place`].
//!
//! ```no_run
//! use std::time::Duration;
//! use myrixen_mpi::{Job, Over, Place, Places};
//! use myrixen_netlab::Lab;
//!
//! let lab = Lab::enter()?;
//! let host = lab.host("a")?;
//! let places = Places::new(vec![Place::new(&host, &[])?])?;
//! let job = Job::new(Over::provider("tcp;ofi_rxm"), "./program").ranks(2);
//! let outcome = job.run(&places, Duration::from_secs(30))?;
//! assert!(outcome.well, "{}", outcome.said);
//! # Ok::<(), anyhow::Error>(())
//! ```
#![forbid(unsafe_code)]

mod job;
mod place;
mod program;
mod run;

pub use job::{Job, Kind, Over};
pub use place::{Place, Places};
pub use program::{SOURCES, compile, version};
pub use run::{Outcome, Running};
