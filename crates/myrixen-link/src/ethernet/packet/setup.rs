//! What is asked and set before a packet socket is used.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::sockopt;

use crate::ethernet::EthernetConfig;
use crate::sys::packet;
use crate::{LinkError, MXOE_ETHERTYPE};

pub(super) fn denied(source: io::Error) -> LinkError {
    if source.kind() == io::ErrorKind::PermissionDenied {
        LinkError::Denied {
            doing: "open a packet socket",
            needs: "it takes CAP_NET_RAW (setcap cap_net_raw+ep on the program, \
                    or AmbientCapabilities=CAP_NET_RAW in its systemd unit)",
            source,
        }
    } else {
        LinkError::io("open a packet socket")(source)
    }
}

pub(super) fn look_up(
    socket: BorrowedFd<'_>,
    name: &str,
) -> Result<(u32, packet::Interface), LinkError> {
    let problem = |source: io::Error| LinkError::Interface {
        name: name.to_owned(),
        problem: source.to_string(),
    };
    let index =
        rustix::net::netdevice::name_to_index(socket, name).map_err(|e| problem(e.into()))?;
    let interface = packet::interface(socket, name).map_err(problem)?;
    Ok((index, interface))
}

/// The packet size to use on an interface that carries `have`.
pub(super) fn usable_mtu(config: &EthernetConfig, have: usize) -> Result<usize, LinkError> {
    let wanted = config
        .mtu
        .unwrap_or_else(|| have.min(EthernetConfig::DEFAULT_LARGEST));
    if wanted > have {
        return Err(LinkError::Setting {
            setting: "mtu",
            problem: format!(
                "{wanted} is more than the {have} of {name} (ip link set {name} mtu {wanted})",
                name = config.interface,
            ),
        });
    }
    Ok(wanted)
}

/// Sets what a socket needs before it has rings.
pub(super) fn prepare(fd: BorrowedFd<'_>, buffer: usize) -> Result<(), LinkError> {
    // A frame that the device does not take is skipped, not left to block the ring.
    packet::set_number(fd, libc::PACKET_LOSS, 1).map_err(LinkError::io("set PACKET_LOSS"))?;
    packet::set_number(fd, libc::PACKET_QDISC_BYPASS, 1)
        .map_err(LinkError::io("set PACKET_QDISC_BYPASS"))?;
    packet::set_number(fd, packet::PACKET_IGNORE_OUTGOING, 1).map_err(LinkError::io(
        "set PACKET_IGNORE_OUTGOING (needs Linux 4.20)",
    ))?;
    packet::filter_ethertype(fd, MXOE_ETHERTYPE).map_err(LinkError::io("attach a filter"))?;
    // How much may be in flight within the device; the kernel grants what net.core.wmem_max allows.
    sockopt::set_socket_send_buffer_size(fd, buffer)
        .map_err(|errno| LinkError::io("set the send buffer's size")(errno.into()))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_mtu_is_the_interfaces_within_reason() {
        let mut config = EthernetConfig::new("eth0");
        assert_eq!(usable_mtu(&config, 1500).unwrap(), 1500);
        assert_eq!(
            usable_mtu(&config, 65535).unwrap(),
            EthernetConfig::DEFAULT_LARGEST
        );
        config.mtu = Some(9000);
        let error = usable_mtu(&config, 1500).unwrap_err();
        assert!(
            error.to_string().contains("ip link set eth0 mtu 9000"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_right_is_named_with_its_remedy() {
        let error = denied(Errno::PERM.into()).to_string();
        assert!(
            error.contains("CAP_NET_RAW") && error.contains("setcap"),
            "{error}"
        );
        assert!(matches!(denied(Errno::MFILE.into()), LinkError::Io { .. }));
    }
}
