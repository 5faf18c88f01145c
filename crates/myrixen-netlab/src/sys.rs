//! Namespaces of threads and of processes about to begin: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// What to write where so that this user is root of a new user namespace.
/// Made before a fork: afterwards nothing may be allocated.
#[derive(Debug, Clone)]
pub(crate) struct IdMaps {
    uid: Vec<u8>,
    gid: Vec<u8>,
}

impl IdMaps {
    /// Maps root of the new namespace to the user that runs now.
    pub(crate) fn to_current_user() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        Self {
            uid: format!("0 {uid} 1").into_bytes(),
            gid: format!("0 {gid} 1").into_bytes(),
        }
    }

    fn write(&self) -> Result<(), Errno> {
        // user_namespaces(7): without "deny" an unprivileged process may not write gid_map.
        write_file(c"/proc/self/setgroups", b"deny")?;
        write_file(c"/proc/self/uid_map", &self.uid)?;
        write_file(c"/proc/self/gid_map", &self.gid)
    }
}

/// Calls nothing but the kernel: it runs between fork and exec.
fn write_file(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, bytes).map(|_| ())
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: the flags never hold `FILES`, so descriptors stay common to all threads.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Moves the calling process, which must have one thread, to new user and network namespaces as their root.
/// A process with the right to make network namespaces, but none to make user namespaces, keeps its own.
pub(crate) fn new_lab(maps: &IdMaps) -> Result<(), Errno> {
    match unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) {
        Ok(()) => maps.write(),
        Err(refused) => unshare(UnshareFlags::NEWNET).map_err(|_| refused),
    }
}

/// Moves the calling thread to a new network namespace only: it keeps the rights it has on the machine.
pub(crate) fn new_privileged_lab() -> Result<(), Errno> {
    unshare(UnshareFlags::NEWNET)
}

/// Makes the process that `command` starts begin in a lab of its own: one with `maps` (see [`new_lab`]), or
/// one that keeps its rights.
pub(crate) fn begin_in_new_lab(command: &mut Command, maps: Option<IdMaps>) {
    let enter = move || {
        let entered = match &maps {
            Some(maps) => new_lab(maps),
            None => new_privileged_lab(),
        };
        entered.map_err(io::Error::from)
    };
    // SAFETY: between fork and exec the closure makes system calls only: it takes no lock
    // and allocates nothing (`io::Error::from(Errno)` holds a number).
    unsafe { command.pre_exec(enter) };
}

/// Makes the process that `command` starts begin in the network namespace `network`.
pub(crate) fn begin_in_network(command: &mut Command, network: OwnedFd) {
    let enter = move || join_network(network.as_fd()).map_err(io::Error::from);
    // SAFETY: as in `begin_in_new_lab`: one system call on a descriptor that the closure owns.
    unsafe { command.pre_exec(enter) };
}

/// Moves the calling thread to a network namespace.
pub(crate) fn join_network(network: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
}

/// Moves the calling thread to a new network namespace and gives a descriptor for it.
pub(crate) fn new_network() -> Result<OwnedFd, Errno> {
    unshare(UnshareFlags::NEWNET)?;
    rustix::fs::open(
        c"/proc/thread-self/ns/net",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// A plain packet socket for frames of one EtherType on one interface of the network that the caller is in.
pub(crate) fn packet_socket(interface: &str, ethertype: u16) -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
    // No protocol yet: nothing arrives from other interfaces.
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
    let address = libc::sockaddr_ll {
        sll_family: family.as_raw(),
        sll_protocol: ethertype.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    // SAFETY: the address is of that length, and only read.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if bound == 0 {
        Ok(socket)
    } else {
        Err(io::Error::last_os_error())
    }
}
