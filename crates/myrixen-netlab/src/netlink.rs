//! rtnetlink, as far as a lab needs it: make, change and remove interfaces, give them addresses.
//!
//! A socket belongs to the network namespace of the thread that makes it.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::LabError;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// linux/veth.h
const VETH_INFO_PEER: u16 = 1;
/// linux/if_link.h
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;

/// One end of a pair of virtual Ethernet interfaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VethEnd<'a> {
    pub(crate) name: &'a str,
    pub(crate) network: BorrowedFd<'a>,
}

/// A socket to the kernel's network configuration.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, LabError> {
        // Protocol 0 of this family is NETLINK_ROUTE.
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| LabError::io("open a netlink socket", errno))?;
        Ok(Self { socket })
    }

    /// Makes a pair of interfaces, down, each in the namespace named with it.
    pub(crate) fn add_veth(&self, ends: [VethEnd<'_>; 2], mtu: u32) -> Result<(), LabError> {
        let [here, there] = ends;
        let mut request = Request::new(libc::RTM_NEWLINK, CREATE);
        request.interface(0, 0, 0);
        request.veth_end(&here, mtu);
        request.nest(libc::IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"veth");
            info.nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.interface(0, 0, 0);
                    peer.veth_end(&there, mtu);
                });
            });
        });
        self.ask(request, || {
            format!("make the veth pair {} and {}", here.name, there.name)
        })
    }

    /// Makes a bridge that forwards everything at once: no spanning tree, no delay, no snooping.
    pub(crate) fn add_bridge(&self, name: &str, mtu: u32) -> Result<(), LabError> {
        let mut request = Request::new(libc::RTM_NEWLINK, CREATE);
        request.interface(0, 0, 0);
        request.text(libc::IFLA_IFNAME, name);
        request.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        request.nest(libc::IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"bridge");
            info.nest(IFLA_INFO_DATA, |data| {
                data.attribute(IFLA_BR_FORWARD_DELAY, &0u32.to_ne_bytes());
                data.attribute(IFLA_BR_MCAST_SNOOPING, &[0]);
            });
        });
        self.ask(request, || format!("make the bridge {name}"))
    }

    /// Puts an interface into a bridge.
    pub(crate) fn enslave(&self, name: &str, bridge: &str) -> Result<(), LabError> {
        let mut request = Request::new(libc::RTM_NEWLINK, 0);
        request.interface(self.index(name)?, 0, 0);
        request.attribute(libc::IFLA_MASTER, &self.index(bridge)?.to_ne_bytes());
        self.ask(request, || format!("put {name} into {bridge}"))
    }

    /// Switches an interface on or off.
    pub(crate) fn set_up(&self, name: &str, up: bool) -> Result<(), LabError> {
        let flag = libc::IFF_UP.cast_unsigned();
        let mut request = Request::new(libc::RTM_NEWLINK, 0);
        request.interface(self.index(name)?, if up { flag } else { 0 }, flag);
        self.ask(request, || {
            format!("switch {name} {}", if up { "on" } else { "off" })
        })
    }

    /// Sets the largest packet (without the Ethernet header) of an interface.
    pub(crate) fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), LabError> {
        let mut request = Request::new(libc::RTM_NEWLINK, 0);
        request.interface(self.index(name)?, 0, 0);
        request.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        self.ask(request, || format!("set the MTU of {name} to {mtu}"))
    }

    /// Removes an interface (and its peer, of a veth pair).
    pub(crate) fn remove(&self, name: &str) -> Result<(), LabError> {
        let mut request = Request::new(libc::RTM_DELLINK, 0);
        request.interface(self.index(name)?, 0, 0);
        self.ask(request, || format!("remove {name}"))
    }

    /// Gives an interface an IP address.
    pub(crate) fn add_address(
        &self,
        name: &str,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), LabError> {
        let (family, octets) = match address {
            IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
        };
        let family = u8::try_from(family).expect("address families are small numbers");
        let mut request = Request::new(libc::RTM_NEWADDR, CREATE);
        // No duplicate address detection: an address is usable at once.
        request
            .bytes
            .extend_from_slice(&[family, prefix, IFA_F_NODAD, 0]);
        request
            .bytes
            .extend_from_slice(&self.index(name)?.to_ne_bytes());
        request.attribute(libc::IFA_LOCAL, &octets);
        request.attribute(libc::IFA_ADDRESS, &octets);
        self.ask(request, || {
            format!("give {name} the address {address}/{prefix}")
        })
    }

    fn index(&self, name: &str) -> Result<u32, LabError> {
        rustix::net::netdevice::name_to_index(&self.socket, name)
            .map_err(|errno| LabError::io(format!("find the interface {name}"), errno))
    }

    /// Sends a request and waits for the kernel's verdict.
    fn ask(&self, request: Request, doing: impl Fn() -> String) -> Result<(), LabError> {
        let bytes = request.finish();
        rustix::net::send(&self.socket, &bytes, SendFlags::empty())
            .map_err(|errno| LabError::io(doing(), errno))?;
        let mut answer = [0; 4096];
        let (len, _) = rustix::net::recv(&self.socket, &mut answer, RecvFlags::empty())
            .map_err(|errno| LabError::io(doing(), errno))?;
        match verdict(&answer[..len]) {
            Ok(0) => Ok(()),
            Ok(code) => Err(LabError::io(doing(), Errno::from_raw_os_error(-code))),
            Err(problem) => Err(LabError::Answer {
                doing: doing(),
                problem,
            }),
        }
    }
}

/// linux/if_addr.h
const IFA_F_NODAD: u8 = 2;
const CREATE: u16 = 0x400 | 0x200; // NLM_F_CREATE | NLM_F_EXCL

/// Reads an NLMSG_ERROR message: 0 or a negative error number.
fn verdict(answer: &[u8]) -> Result<i32, &'static str> {
    let kind = answer
        .get(4..6)
        .and_then(|b| b.try_into().ok())
        .map(u16::from_ne_bytes);
    if kind.map(i32::from) != Some(libc::NLMSG_ERROR) {
        return Err("not a verdict");
    }
    let code = answer
        .get(HEADER..HEADER + 4)
        .and_then(|b| b.try_into().ok());
    code.map(i32::from_ne_bytes).ok_or("cut short")
}

/// A netlink request under construction.
struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(kind: u16, flags: u16) -> Self {
        const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST_AND_ACKNOWLEDGE).to_ne_bytes());
        Self { bytes }
    }

    /// `struct ifinfomsg`.
    fn interface(&mut self, index: u32, flags: u32, change: u32) {
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&index.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&change.to_ne_bytes());
    }

    fn veth_end(&mut self, end: &VethEnd<'_>, mtu: u32) {
        self.text(libc::IFLA_IFNAME, end.name);
        self.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        self.attribute(libc::IFLA_NET_NS_FD, &end.network.as_raw_fd().to_ne_bytes());
    }

    fn text(&mut self, kind: u16, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |request| request.bytes.extend_from_slice(value));
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let len = u16::try_from(self.bytes.len() - start).expect("a lab's requests are short");
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len()).expect("a lab's requests are short");
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes
    }
}
