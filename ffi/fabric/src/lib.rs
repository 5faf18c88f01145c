//! The libfabric provider `myrixen`: `libmyrixen-fi.so`, which libfabric loads at run time, so that MPI libraries and everything else that is written
//! for libfabric use MyriXen without being built for it.
//!
//! libfabric calls everything here through tables of functions; the one symbol is [`fi_prov_ini`]. This crate turns handles into objects, checks what C
//! cannot, and says the rest to the crate `myrixen`. `docs/libfabric.md` says what becomes of what.

mod abi;
mod atomic;
mod av;
mod boards;
mod buffers;
mod cntr;
mod cq;
mod domain;
mod edge;
mod ep;
mod eq;
mod errno;
mod fabric;
mod host;
mod info;
mod listed;
mod mr;
mod name;
mod peers;
mod poll;
mod provider;
mod rma;
mod service;
mod settings;
mod signal;
mod stubs;

pub use provider::fi_prov_ini;
