//! A lock for what one thread uses nearly always, and others now and then: that thread comes and goes without an atomic read-modify-write and without
//! a fence of its own, each of which takes as long as fifty instructions.
//!
//! Such a thread gets the *bias* of the lock after it has come a few times in a row. From then on it says that it is inside by a plain store, and looks
//! whether the bias is still its own. Whoever else wants to come in takes the bias back first: it says so, has the kernel put a fence into all threads
//! of the process (`membarrier(2)`, private expedited), and waits until the other is not inside. Each of the two stores before it loads, and
//! the kernel's fence stands between: so one of them sees the other. Taking the bias back costs microseconds; a lock that several threads use by turns
//! finds that out, and stays an ordinary one.
//!
//! [`Presence`] counts the users of what can be taken away in the same manner. A [`Room`] is a lock that whoever has once been told of it may try for ever,
//! by a [`Door`]: what it guards may be gone, the lock is not.
//!
//! Where the kernel has no such call, no bias is given.

mod fence;
mod lock;
mod presence;
#[cfg(not(loom))]
mod room;
mod sync;
#[cfg(test)]
mod tests;
mod thread;

pub use lock::{Guard, Lock};
pub use presence::{Presence, Present};
#[cfg(not(loom))]
pub use room::{Door, Guest, Inside, Room, Rooms};
pub use thread::thread_number;
