//! Shared pages as checked loads, stores and copies.
//!
//! This is the only crate of the workspace that touches raw memory. It knows nothing of rings, frames or
//! peers: it maps pages, and offers four ways to get at memory that somebody else may use at the same time.
//!
//! - [`Pages`]: a mapping that a peer may rewrite at any instruction. Bytes cross by copies, words by atomic loads
//!   and stores; there is never a Rust reference to what lies in it.
//! - [`Pool`]: memory that others can map but never write, so that its owner may use it as plain `&mut [u8]`.
//! - [`lend()`]: a borrowed buffer lent, for the length of one call, to whoever holds the handle.
//! - [`Handed`]: memory of a program in another language, which has promised to leave it alone.
//!
//! Its copies of kilobytes are faster than the C library's on some processors, so it has them for private memory as well: [`copy_slice`], [`append`].
//!
//! An offset or a length outside the pages is a mistake of the caller's and panics. Callers check what a peer says before they
//! pass it on.
//!
//! ```
//! use std::sync::atomic::Ordering;
//! use myrixen_shm::{Access, Pages, memfd};
//!
//! let (fd, ours) = memfd("example", 8192)?;
//! let theirs = Pages::map(&fd, 0, 8192, Access::ReadWrite)?;
//! ours.write(4096, b"hello");
//! ours.store_u32(0, 5, Ordering::Release);
//!
//! let mut bytes = [0; 5];
//! assert_eq!(theirs.load_u32(0, Ordering::Acquire), 5);
//! theirs.read(4096, &mut bytes);
//! assert_eq!(&bytes, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

mod bulk;
mod copy;
mod extents;
mod handed;
mod lend;
mod mapping;
mod memfd;
mod pages;
mod pool;

pub use copy::{append, copy_slice};
pub use handed::Handed;
pub use lend::{Lent, Revoked, lend, lend_ref};
pub use mapping::{Access, MapError};
pub use memfd::{memfd, memfd_readonly_to_others};
pub use pages::Pages;
pub use pool::{Pool, PoolBuf};

/// What one core takes from another at a time, in bytes: rings and pool allocations are aligned to it.
pub const CACHE_LINE: usize = 64;
