//! MX over Ethernet: frames, matching and the endpoint engine, without I/O.
//!
//! - [`frame`]: every packet type, bytes to meaning and back, in both dialects. All that a switch needs.
//! - [`engine`]: one endpoint as a state machine. It is told of frames and of time, and says what to send, where payload goes,
//!   and what has happened. [`matching`] is its match queues.
//! - [`text`]: frames for people to read.
//!
//! Nothing here opens a socket, reads a clock, starts a thread or holds payload, and the same calls always give
//! the same results. Frames are peers' bytes: whatever they hold, the worst is a [`frame::WireError`].
//!
//! ```
//! use mxoe::frame::{Dialect, parse};
//! use mxoe::text::describe;
//!
//! // A PULL_REPLY with one byte of payload, padded by the network card.
//! let mut frame = [0; 60];
//! frame[..33].copy_from_slice(&[
//!     0x02, 0, 0, 0, 0, 0x0b, 0x02, 0, 0, 0, 0, 0x0a, 0x86, 0xdf, 0, 0, // boards, EtherType
//!     42, 8, 0, 1, 0, 0, 0x80, 0, 0, 0, 0, 0x23, 0x21, 0x07, 0x19, 0x83, 0x82,
//! ]);
//! let parsed = parse(Dialect::Compat, &frame, frame.len())?;
//! assert_eq!(parsed.payload, 32..33);
//! assert_eq!(
//!     describe(Dialect::Compat, &frame, frame.len()).to_string(),
//!     "02:00:00:00:00:0a > 02:00:00:00:00:0b PULL_REPLY frame 8 offset 32768 len 1 handle 00000023 magic 21071983"
//! );
//! # Ok::<(), mxoe::frame::WireError>(())
//! ```

#![forbid(unsafe_code)]

pub mod addr;
pub mod checksum;
pub mod engine;
pub mod frame;
pub mod matching;
pub mod text;
pub mod time;
