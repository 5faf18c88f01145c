//! MX over Ethernet: frames, matching and the endpoint engine, without I/O.

#![forbid(unsafe_code)]

pub mod addr;
pub mod checksum;
pub mod engine;
pub mod frame;
pub mod matching;
pub mod text;
pub mod time;
