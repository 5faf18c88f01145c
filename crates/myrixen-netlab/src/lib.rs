//! Hosts to test networks with: network namespaces joined by virtual Ethernet cables, made without root and
//! without tools like `ip`.
//!
//! [`Lab::enter`] moves a program (at its start, while it has one thread) to a user and network
//! namespace of its own, where it may make [`Host`]s and wires. [`test()`] does the same for one
//! `#[test]`, whatever the test program's threads do, and skips it where that is forbidden.
//! Nothing of it touches the machine's own network, and nothing is left behind.
//!
//! ```no_run
//! use std::process::Command;
//! use myrixen_netlab::Lab;
//!
//! let lab = Lab::enter()?;
//! let (left, right) = (lab.host("left")?, lab.host("right")?);
//! let [left_if, _right_if] = lab.cable([&left, &right], 9000)?;
//! let mut child = left.spawn(Command::new("cat").arg("/proc/net/dev"))?;
//! child.wait().map_err(|_| ()).ok();
//! println!("{left_if}");
//! # Ok::<(), myrixen_netlab::LabError>(())
//! ```
#![deny(unsafe_code)]

mod error;
mod lab;
mod netlink;
mod sys;
mod test;

pub use error::LabError;
pub use lab::{Host, Lab};
pub use test::{Verdict, test, test_as_root};

/// A plain packet socket (AF_PACKET) for frames of one EtherType on an interface of the host that the caller is in: frames as they are on the
/// wire, without any protocol. Sending puts out what it is given, header and all.
///
/// # Errors
/// What the kernel said; without CAP_NET_RAW it says no.
pub fn packet_socket(interface: &str, ethertype: u16) -> std::io::Result<std::os::fd::OwnedFd> {
    sys::packet_socket(interface, ethertype)
}
