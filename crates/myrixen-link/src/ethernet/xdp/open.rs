//! Opening the way by AF_XDP, and choosing it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::error::Error as _;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::card::{self, Tags};
use super::program::{self, Maps};
use super::{XdpPath, interest};
use crate::LinkError;
use crate::ethernet::packet::PacketLink;
use crate::ethernet::{Driver, EthernetConfig, frame};
use crate::sys::bpf::{self, MapKind};
use crate::sys::ring::RingSizes;
use crate::sys::xsk::{self, Step};

/// The receive queue that the socket is for.
const QUEUE: u32 = 0;
/// Addresses whose frames can be redirected; those of others are heard by the packet socket.
const ADDRESSES: u32 = 4096;

const RIGHTS: &str = "it takes CAP_NET_ADMIN and CAP_BPF besides CAP_NET_RAW, outside of user namespaces (setcap \
                      cap_net_raw,cap_net_admin,cap_bpf+ep on the program, or packaging/myrixend-xdp.conf for its \
                      systemd unit)";

/// Opens the way by AF_XDP if it is wanted and, where the choice is ours, to be had.
pub(in crate::ethernet) fn choose(
    config: &EthernetConfig,
    packet: &PacketLink,
) -> Result<Option<XdpPath>, LinkError> {
    let interface = config.interface.as_str();
    match config.driver {
        Driver::Packet => return Ok(None),
        Driver::Auto => {
            if let Some(reason) = needless(config, packet) {
                tracing::info!(interface, reason, "Ethernet by AF_PACKET");
                return Ok(None);
            }
        }
        Driver::Xdp => {}
    }
    match open(config, packet) {
        Ok(path) => {
            let copies = if path.xsk.zero_copy {
                "zero copy"
            } else {
                "copying: the driver has no zero copy for frames of this size"
            };
            tracing::info!(interface, "Ethernet by AF_XDP, {copies}");
            Ok(Some(path))
        }
        Err(error) if config.driver == Driver::Auto => {
            let reason = chain(&error);
            tracing::info!(interface, reason, "Ethernet by AF_PACKET");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Why AF_XDP is not even tried, where the choice is ours.
fn needless(config: &EthernetConfig, packet: &PacketLink) -> Option<&'static str> {
    if runs_on_xen() {
        return Some(
            "this machine runs on Xen, where a program can reset the card of other domains",
        );
    }
    card::is_virtual_cable(packet.socket(), &config.interface)
        .then_some("it is faster on a virtual cable, whose frames AF_XDP would copy once more")
}

fn runs_on_xen() -> bool {
    std::fs::read_to_string("/sys/hypervisor/type").is_ok_and(|text| text.trim() == "xen")
}

fn chain(error: &LinkError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

pub(super) fn open(config: &EthernetConfig, packet: &PacketLink) -> Result<XdpPath, LinkError> {
    // Before any call of bpf(2), for which a sandbox may end the process.
    check_rights(&rights().map_err(LinkError::io("ask for this process's capabilities"))?)?;
    let addresses = bpf::create_map(MapKind::Hash, ADDRESSES).map_err(map_error)?;
    let sockets = bpf::create_map(MapKind::Sockets, QUEUE + 1).map_err(map_error)?;
    let program = load(config, packet, &addresses, &sockets)?;
    let sizes = RingSizes {
        frame: frame::longest_on_wire(packet.info.mtu),
        receive: config.receive_ring,
        transmit: config.transmit_ring,
    };
    let xsk = xsk::open(packet.index, QUEUE, sizes)
        .map_err(|(step, source)| socket_error(config, step, source))?;
    let socket = xsk.socket.as_fd();
    if config.busy_poll {
        xsk::prefer_busy_poll(socket).map_err(LinkError::io(
            "set busy polling (busy_poll; needs Linux 5.11)",
        ))?;
    }
    bpf::insert_socket(sockets.as_fd(), QUEUE, socket)
        .map_err(LinkError::io("enter an AF_XDP socket in its map"))?;
    let both = watch_both(packet, &xsk.socket).map_err(LinkError::io("make an epoll set"))?;
    let attached = xsk::while_busy(|| bpf::attach(program.as_fd(), packet.index))
        .map_err(|source| attach_error(config, source))?;
    Ok(XdpPath {
        _attached: attached,
        addresses,
        xsk,
        both,
        redirects: BTreeSet::new(),
        unsent: false,
        starved: false,
        watches_room: Cell::new(false),
        busy_poll: config.busy_poll,
        overruns: 0,
    })
}

fn rights() -> io::Result<CapabilitySet> {
    Ok(rustix::thread::capabilities(None)?.effective)
}

/// Refuses without the rights to load a program and to attach it.
fn check_rights(rights: &CapabilitySet) -> Result<(), LinkError> {
    let network = rights.contains(CapabilitySet::NET_ADMIN);
    let programs = rights.intersects(CapabilitySet::BPF | CapabilitySet::SYS_ADMIN);
    if network && programs {
        return Ok(());
    }
    Err(denied("load an XDP program", Errno::PERM.into()))
}

fn load(
    config: &EthernetConfig,
    packet: &PacketLink,
    addresses: &OwnedFd,
    sockets: &OwnedFd,
) -> Result<OwnedFd, LinkError> {
    let maps = Maps {
        addresses: addresses.as_fd(),
        sockets: sockets.as_fd(),
    };
    let tags = card::tags(packet.socket(), &config.interface, packet.index)?;
    let (function, bound_to) = match tags {
        Tags::Told(function) => (Some(function), Some(packet.index)),
        Tags::InTheFrame => (None, None),
    };
    let code = program::program(maps, function);
    bpf::load(&code, program::LICENSE, bound_to).map_err(program_error)
}

fn watch_both(packet: &PacketLink, xsk: &OwnedFd) -> io::Result<OwnedFd> {
    let both = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &both,
        packet.socket(),
        EventData::new_u64(0),
        EventFlags::IN,
    )?;
    epoll::add(&both, xsk, EventData::new_u64(0), interest(false))?;
    Ok(both)
}

fn is(source: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(source) == Some(errno)
}

fn denied(doing: &'static str, source: io::Error) -> LinkError {
    LinkError::Denied {
        doing,
        needs: RIGHTS,
        source,
    }
}

fn map_error(source: io::Error) -> LinkError {
    if is(&source, Errno::PERM) {
        return denied("make a map for an XDP program", source);
    }
    LinkError::io("make a map for an XDP program (needs Linux 5.9 with CONFIG_XDP_SOCKETS)")(source)
}

fn program_error(source: io::Error) -> LinkError {
    // The verifier's objections are EACCES and EINVAL.
    if is(&source, Errno::PERM) {
        return denied("load an XDP program", source);
    }
    LinkError::io("load an XDP program (needs Linux 5.18)")(source)
}

fn socket_error(config: &EthernetConfig, step: Step, source: io::Error) -> LinkError {
    let interface = |problem: &str| LinkError::Interface {
        name: config.interface.clone(),
        problem: problem.to_owned(),
    };
    match step {
        Step::Socket if is(&source, Errno::PERM) => denied("open an AF_XDP socket", source),
        Step::Socket => LinkError::io(
            "open an AF_XDP socket (needs CONFIG_XDP_SOCKETS, and AF_XDP in the systemd unit's RestrictAddressFamilies)",
        )(source),
        Step::Memory if is(&source, Errno::NOBUFS) => LinkError::Denied {
            doing: "lock memory for an AF_XDP socket",
            needs: "raise the limit (LimitMEMLOCK=infinity in the systemd unit, ulimit -l) or lower receive_ring and \
                    transmit_ring",
            source,
        },
        Step::Memory => LinkError::io("register memory with an AF_XDP socket")(source),
        Step::Queues => LinkError::io("map an AF_XDP socket's queues")(source),
        Step::Bind { .. } if is(&source, Errno::BUSY) => {
            interface("another program has an AF_XDP socket on its first queue")
        }
        Step::Bind { scatters: true } if is(&source, Errno::INVAL) => {
            interface("frames as long as its mtu cross AF_XDP from Linux 6.6 on (lower mtu)")
        }
        Step::Bind { .. } => LinkError::io("bind an AF_XDP socket")(source),
    }
}

fn attach_error(config: &EthernetConfig, source: io::Error) -> LinkError {
    let interface = |problem: String| LinkError::Interface {
        name: config.interface.clone(),
        problem,
    };
    let name = &config.interface;
    match Errno::from_io_error(&source) {
        Some(Errno::PERM) => denied("attach an XDP program", source),
        Some(Errno::BUSY | Errno::EXIST) => interface(format!(
            "another XDP program is attached (ip link show {name})"
        )),
        Some(Errno::OPNOTSUPP) => interface(format!(
            "its driver runs no XDP programs, or not as it is set up: {source} (dmesg may say more)"
        )),
        _ => interface(format!(
            "its driver takes no XDP program as it is set up (mtu, number of queues): {source} (dmesg may say more)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_takes_rights_on_the_network_and_on_bpf() {
        let network = CapabilitySet::NET_ADMIN;
        assert!(check_rights(&(network | CapabilitySet::BPF)).is_ok());
        for lacking in [network, CapabilitySet::BPF, CapabilitySet::NET_RAW] {
            let error = check_rights(&lacking).unwrap_err();
            assert!(error.to_string().contains("CAP_BPF"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_what_helps() {
        let config = EthernetConfig::new("eth7");
        let errno = |errno: Errno| io::Error::from(errno);
        let cases = [
            (program_error(errno(Errno::PERM)), "CAP_BPF"),
            (map_error(errno(Errno::PERM)), "systemd"),
            (
                socket_error(&config, Step::Memory, errno(Errno::NOBUFS)),
                "LimitMEMLOCK",
            ),
            (
                attach_error(&config, errno(Errno::BUSY)),
                "ip link show eth7",
            ),
            (
                socket_error(&config, Step::Bind { scatters: true }, errno(Errno::INVAL)),
                "6.6",
            ),
        ];
        for (error, wanted) in cases {
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}
