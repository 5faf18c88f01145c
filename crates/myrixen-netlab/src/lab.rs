//! A lab and the hosts in it.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::LabError;
use crate::netlink::{Netlink, VethEnd};
use crate::sys::{self, IdMaps};

/// A place where this process may make network namespaces and wire them up: its own user and network
/// namespaces, of which it is root. Everything made in it vanishes with the processes that use it.
#[derive(Debug)]
pub struct Lab {
    private: (),
}

impl Lab {
    /// Moves this process to a lab. To be called first thing in `main`, while there is one thread;
    /// a test, which has many, uses [`test`](crate::test) instead.
    ///
    /// Afterwards the process and those it starts are root of the lab (and still the same user
    /// for the files of the machine), and have no network but the lab's, loopback switched on.
    ///
    /// # Errors
    /// [`LabError::Forbidden`] where namespaces are not allowed.
    pub fn enter() -> Result<Self, LabError> {
        sys::new_lab(&IdMaps::to_current_user()).map_err(LabError::refused)?;
        Self::here()
    }

    /// As [`Lab::enter`], for a root that keeps its rights on the machine: what it takes to load BPF programs, which
    /// the root of a user namespace may not.
    ///
    /// # Errors
    /// [`LabError::Forbidden`] to whoever is not root.
    pub fn enter_as_root() -> Result<Self, LabError> {
        sys::new_privileged_lab().map_err(LabError::refused)?;
        Self::here()
    }

    /// The lab in which this process has begun.
    pub(crate) fn here() -> Result<Self, LabError> {
        prepare_network()?;
        Ok(Self { private: () })
    }

    /// Makes a host: a network namespace, with loopback switched on.
    ///
    /// # Errors
    /// [`LabError::Forbidden`] when the kernel allows no further namespace.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        let () = self.private;
        let network = on_thread(|| {
            let network = sys::new_network().map_err(LabError::refused)?;
            prepare_network()?;
            Ok(network)
        })?;
        Ok(Host {
            name: name.to_owned(),
            network,
            interfaces: AtomicUsize::new(0),
        })
    }

    /// Joins two hosts by an Ethernet cable that carries packets of up to `mtu` bytes (without the Ethernet
    /// header), and gives the names of the new interface on each of them: `eth0`, `eth1`, ... Both are up.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn cable(&self, ends: [&Host; 2], mtu: u32) -> Result<[String; 2], LabError> {
        let names = ends.map(Host::next_interface);
        let veth = |i: usize| VethEnd {
            name: &names[i],
            network: ends[i].network.as_fd(),
        };
        Netlink::open()?.add_veth([veth(0), veth(1)], mtu)?;
        for (host, name) in ends.iter().zip(&names) {
            host.set_up(name, true)?;
        }
        Ok(names)
    }

    /// Joins hosts by a switch: a host of its own with a bridge in it and a cable to each of `hosts`.
    /// Gives the switch (whose interfaces `eth0`, `eth1`, ... lead to the hosts in their order) and the
    /// name of the new interface on each host.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn switch(
        &self,
        name: &str,
        hosts: &[&Host],
        mtu: u32,
    ) -> Result<(Host, Vec<String>), LabError> {
        const BRIDGE: &str = "bridge";
        let switch = self.host(name)?;
        switch.netlink(|netlink| {
            netlink.add_bridge(BRIDGE, mtu)?;
            netlink.set_up(BRIDGE, true)
        })?;
        let mut names = Vec::new();
        for &host in hosts {
            let [theirs, ours] = self.cable([host, &switch], mtu)?;
            switch.netlink(|netlink| netlink.enslave(&ours, BRIDGE))?;
            names.push(theirs);
        }
        Ok((switch, names))
    }
}

/// A host of a lab: a network namespace. Sockets opened in it stay in it, whoever uses them.
/// It lasts as long as this, or a process or socket in it.
#[derive(Debug)]
pub struct Host {
    name: String,
    network: OwnedFd,
    interfaces: AtomicUsize,
}

impl Host {
    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `body` on this host: in a thread of its own, until it ends. What it opens may be handed out.
    ///
    /// # Errors
    /// What the kernel said when the thread was to move here.
    ///
    /// # Panics
    /// When `body` does, with the same payload.
    pub fn run<R: Send>(&self, body: impl FnOnce() -> R + Send) -> Result<R, LabError> {
        let network = self.network.as_fd();
        on_thread(|| {
            sys::join_network(network)
                .map_err(|errno| LabError::io(format!("move to host {}", self.name), errno))?;
            Ok(body())
        })
    }

    /// Starts a process on this host.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child, LabError> {
        self.place(command)?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().map_err(|source| {
            LabError::io(format!("start {program} on host {}", self.name), source)
        })
    }

    /// Makes `command` start its process on this host, however it is run afterwards.
    ///
    /// # Errors
    /// When no descriptor is to be had.
    pub fn place(&self, command: &mut Command) -> Result<(), LabError> {
        let network = self
            .network
            .try_clone()
            .map_err(|source| LabError::io("copy a namespace's descriptor", source))?;
        sys::begin_in_network(command, network);
        Ok(())
    }

    /// Switches an interface on or off.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn set_up(&self, interface: &str, up: bool) -> Result<(), LabError> {
        self.netlink(|netlink| netlink.set_up(interface, up))
    }

    /// Sets the largest packet (without the Ethernet header) of an interface.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn set_mtu(&self, interface: &str, mtu: u32) -> Result<(), LabError> {
        self.netlink(|netlink| netlink.set_mtu(interface, mtu))
    }

    /// Gives an interface an IP address.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn add_address(
        &self,
        interface: &str,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), LabError> {
        self.netlink(|netlink| netlink.add_address(interface, address, prefix))
    }

    /// Unplugs an interface for good (and the other end of its cable).
    ///
    /// # Errors
    /// What the kernel said.
    pub fn remove(&self, interface: &str) -> Result<(), LabError> {
        self.netlink(|netlink| netlink.remove(interface))
    }

    fn netlink(
        &self,
        ask: impl FnOnce(&Netlink) -> Result<(), LabError> + Send,
    ) -> Result<(), LabError> {
        self.run(|| ask(&Netlink::open()?))?
    }

    fn next_interface(&self) -> String {
        format!("eth{}", self.interfaces.fetch_add(1, Ordering::Relaxed))
    }
}

/// Makes the calling thread's new network usable: loopback on; interfaces to come without IPv6, whose
/// neighbour discovery would put frames of its own on every wire.
fn prepare_network() -> Result<(), LabError> {
    let netlink = Netlink::open()?;
    netlink.set_up("lo", true).map_err(|error| match error {
        // Namespaces made, but no rights in them: what AppArmor does on some distributions.
        LabError::Io { source, .. } if source.raw_os_error() == Some(libc::EPERM) => {
            LabError::refused(rustix::io::Errno::PERM)
        }
        other => other,
    })?;
    // A kernel without IPv6 has no such file; one that is mounted read-only costs some extra frames.
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    Ok(())
}

/// Runs `body` on a thread of its own, whose namespaces may be changed.
fn on_thread<R: Send>(body: impl FnOnce() -> Result<R, LabError> + Send) -> Result<R, LabError> {
    std::thread::scope(|scope| match scope.spawn(body).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
