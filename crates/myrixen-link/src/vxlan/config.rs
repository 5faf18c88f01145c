//! Settings of a VXLAN link, and what follows from them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket as Socket2, Type};

use super::header::HEADER;
use crate::{ETHERNET_HEADER, LinkError};

/// The UDP port of VXLAN (RFC 7348, section 5).
pub const DEFAULT_PORT: u16 = 4789;

/// Settings of a VXLAN link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VxlanConfig {
    /// The local address to receive at and to send from; port 0 takes any.
    pub listen: SocketAddr,
    /// The remote ends. Frames for everybody, and for addresses not heard of yet, go to all of them.
    pub remotes: Vec<SocketAddr>,
    /// The largest packet inside, in bytes without the inner Ethernet header: what the interfaces towards the
    /// remote ends carry, when none is given, but at most [`DEFAULT_LARGEST`](Self::DEFAULT_LARGEST).
    pub mtu: Option<usize>,
    /// Remote ends that may be added to `remotes` because they sent something: 0 accepts only
    /// those configured. They are answered at the port we listen at.
    pub learned_remotes: usize,
    /// Inner addresses whose place is remembered.
    pub table: usize,
    /// How long an address is remembered that sends nothing.
    pub age: Duration,
    /// Bytes for the socket's receive and send buffers, each; the kernel grants what net.core.rmem_max and
    /// wmem_max allow.
    pub buffers: usize,
}

impl VxlanConfig {
    /// The largest inner packet that is of use to MXoE as we speak it.
    pub const DEFAULT_LARGEST: usize = 9000;

    /// A link with the usual settings: the table holds 16384 addresses for 5 minutes, buffers are of 4 MiB.
    #[must_use]
    pub fn new(listen: SocketAddr, remotes: Vec<SocketAddr>) -> Self {
        Self {
            listen,
            remotes,
            mtu: None,
            learned_remotes: 0,
            table: 16_384,
            age: Duration::from_secs(300),
            buffers: 4 << 20,
        }
    }

    /// Checks the remote ends against the local address.
    pub(super) fn check_remotes(&self, local: SocketAddr) -> Result<(), LinkError> {
        let problem = |problem| {
            Err(LinkError::Setting {
                setting: "remotes",
                problem,
            })
        };
        for (place, &remote) in self.remotes.iter().enumerate() {
            if remote.port() == 0 || remote.ip().is_unspecified() {
                return problem(format!("{remote} is not an address to send to"));
            }
            if remote.ip().is_multicast() {
                return problem(format!(
                    "{remote}: multicast groups are not supported, list the ends"
                ));
            }
            if remote.ip().is_ipv6() && local.is_ipv4() {
                return problem(format!("{remote} cannot be reached from {local}"));
            }
            if remote == local {
                return problem(format!("{remote} is this end"));
            }
            if self.remotes[..place].contains(&remote) {
                return problem(format!("{remote} is named twice"));
            }
        }
        Ok(())
    }

    /// Opens the socket.
    pub(super) fn bind(&self) -> Result<UdpSocket, LinkError> {
        let socket = Socket2::new(
            Domain::for_address(self.listen),
            Type::DGRAM,
            Some(Protocol::UDP),
        )
        .map_err(LinkError::io("open a UDP socket"))?;
        if self.listen.is_ipv6() {
            // One socket for both families, where it is not bound to an address of one.
            socket
                .set_only_v6(false)
                .map_err(LinkError::io("open a socket to IPv4"))?;
        }
        // Only a process with CAP_NET_ADMIN may exceed the limits; the plain way grants what they allow.
        if sockopt::set_socket_recv_buffer_size_force(&socket, self.buffers).is_err() {
            let _ = socket.set_recv_buffer_size(self.buffers);
        }
        if sockopt::set_socket_send_buffer_size_force(&socket, self.buffers).is_err() {
            let _ = socket.set_send_buffer_size(self.buffers);
        }
        socket.bind(&self.listen.into()).map_err(|source| {
            if source.kind() == std::io::ErrorKind::AddrInUse {
                let problem = format!(
                    "{} is in use (by a vxlan device of the kernel? ip -d link show type vxlan)",
                    self.listen,
                );
                LinkError::Setting {
                    setting: "listen",
                    problem,
                }
            } else {
                LinkError::io("bind a UDP socket")(source)
            }
        })?;
        Ok(socket.into())
    }

    /// The largest inner frame, Ethernet header included.
    pub(super) fn largest_frame(&self) -> Result<usize, LinkError> {
        if let Some(mtu) = self.mtu {
            return Ok(mtu + ETHERNET_HEADER);
        }
        let mut largest = Self::DEFAULT_LARGEST + ETHERNET_HEADER;
        for &remote in &self.remotes {
            let frame = path_mtu(remote).saturating_sub(overhead(remote));
            largest = largest.min(frame);
        }
        if self.remotes.is_empty() {
            largest = ETHERNET_MTU - overhead(self.listen);
        }
        Ok(largest)
    }
}

/// What a path carries of which nothing is known.
const ETHERNET_MTU: usize = 1500;

/// Bytes of an outer packet that are not inner frame.
fn overhead(remote: SocketAddr) -> usize {
    const UDP: usize = 8;
    let ip = if remote.ip().to_canonical().is_ipv4() {
        20
    } else {
        40
    };
    ip + UDP + HEADER
}

/// The largest packet towards an address, as far as this host knows.
fn path_mtu(remote: SocketAddr) -> usize {
    let ask = || -> std::io::Result<u32> {
        let any: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let probe = UdpSocket::bind(any)?;
        // Sends nothing: it looks the route up.
        probe.connect(remote)?;
        Ok(match remote {
            SocketAddr::V4(_) => sockopt::ip_mtu(&probe)?,
            SocketAddr::V6(_) => sockopt::ipv6_mtu(&probe)?,
        })
    };
    // A remote end without a route yet gets the usual.
    ask()
        .ok()
        .and_then(|mtu| usize::try_from(mtu).ok())
        .unwrap_or(ETHERNET_MTU)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(remotes: &[&str]) -> VxlanConfig {
        let remotes = remotes.iter().map(|text| text.parse().unwrap()).collect();
        VxlanConfig::new("127.0.0.1:4789".parse().unwrap(), remotes)
    }

    #[test]
    fn remote_ends_must_be_others_and_be_named_once() {
        let local = "127.0.0.1:4789".parse().unwrap();
        for (remotes, word) in [
            (vec!["127.0.0.1:4789"], "this end"),
            (vec!["127.0.0.2:4789", "127.0.0.2:4789"], "twice"),
            (vec!["0.0.0.0:4789"], "not an address"),
            (vec!["10.0.0.1:0"], "not an address"),
            (vec!["239.1.1.1:4789"], "multicast"),
            (vec!["[::1]:4789"], "cannot be reached"),
        ] {
            let error = config(&remotes)
                .check_remotes(local)
                .unwrap_err()
                .to_string();
            assert!(error.contains(word), "{error}");
        }
        config(&["127.0.0.2:4789", "127.0.0.1:4790"])
            .check_remotes(local)
            .unwrap();
    }

    #[test]
    fn the_largest_frame_leaves_room_for_what_is_around_it() {
        assert_eq!(config(&[]).largest_frame().unwrap(), 1500 - 36);
        assert_eq!(config(&["127.0.0.1:9"]).largest_frame().unwrap(), 9014);
        let fixed = VxlanConfig {
            mtu: Some(1450),
            ..config(&["127.0.0.1:9"])
        };
        assert_eq!(fixed.largest_frame().unwrap(), 1464);
        assert_eq!(overhead("[::1]:9".parse().unwrap()), 56);
        assert_eq!(overhead("[::ffff:10.0.0.1]:9".parse().unwrap()), 36);
    }
}
