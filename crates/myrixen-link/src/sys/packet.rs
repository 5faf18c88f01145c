//! Packet sockets (packet(7)): options, addresses, and questions about an interface.

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use myrixen_shm::Pages;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// linux/if_packet.h; not in libc.
pub(crate) const PACKET_IGNORE_OUTGOING: c_int = 23;

/// Opens a packet socket that hears nothing until it is bound.
pub(crate) fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol: nothing arrives before the filter is in place.
    Ok(rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        flags,
        None,
    )?)
}

fn set_option<T: Copy>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    let value: *const T = value;
    // SAFETY: `value` points to `len` readable bytes for the length of the call, and the kernel only reads them.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.cast(), len) };
    check(result)
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets an option of packet sockets that takes a number.
pub(crate) fn set_number(fd: BorrowedFd<'_>, name: c_int, value: c_int) -> io::Result<()> {
    set_option(fd, libc::SOL_PACKET, name, &value)
}

/// Asks for a receive or transmit ring (`PACKET_RX_RING`, `PACKET_TX_RING`).
pub(crate) fn set_ring(
    fd: BorrowedFd<'_>,
    name: c_int,
    request: &libc::tpacket_req,
) -> io::Result<()> {
    set_option(fd, libc::SOL_PACKET, name, request)
}

/// Lets only frames of one EtherType through, tagged or not: the kernel has taken a VLAN tag out of the frame
/// before it asks the filter, and gives the protocol behind it.
pub(crate) fn filter_ethertype(fd: BorrowedFd<'_>, ethertype: u16) -> io::Result<()> {
    // linux/filter.h: ancillary data lie at negative offsets.
    const AD_OFF: u32 = (-0x1000_i32).cast_unsigned();
    const AD_PROTOCOL: u32 = 0;
    const LD_W_ABS: u16 = 0x20;
    const JEQ_K: u16 = 0x15;
    const RET_K: u16 = 0x06;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LD_W_ABS, 0, 0, AD_OFF + AD_PROTOCOL),
        step(JEQ_K, 0, 1, u32::from(ethertype)),
        step(RET_K, 0, 0, u32::MAX),
        step(RET_K, 0, 0, 0),
    ];
    let len = libc::c_ushort::try_from(program.len()).expect("four steps");
    let program = libc::sock_fprog {
        len,
        filter: program.as_mut_ptr(),
    };
    // The kernel copies the program, which outlives the call.
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Binds to all protocols of an interface: with one protocol alone the kernel would hide the VLAN tags.
pub(crate) fn bind(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    let all = u16::try_from(libc::ETH_P_ALL).expect("an EtherType");
    bind_protocol(fd, interface, all)
}

/// Binds to an interface to send by it: nothing arrives.
pub(crate) fn bind_to_send(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    bind_protocol(fd, interface, 0)
}

fn bind_protocol(fd: BorrowedFd<'_>, interface: u32, protocol: u16) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `sockaddr_ll`, a struct of integers.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::c_ushort::try_from(libc::AF_PACKET).expect("a small number");
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = interface.cast_signed();
    let len =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("addresses are small");
    let pointer: *const libc::sockaddr_ll = &raw const address;
    // SAFETY: `pointer` is good for `len` bytes during the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), pointer.cast(), len) })
}

/// Sends one frame without waiting: `head`, then `len` bytes of pages that others may write meanwhile, gathered by the kernel.
pub(crate) fn send_gathered(
    fd: BorrowedFd<'_>,
    head: &[u8],
    (pages, offset, len): (&Pages, usize, usize),
) -> io::Result<()> {
    let (body, len) = pages.as_io_ptr(offset, len);
    let mut pieces = [
        libc::iovec {
            iov_base: head.as_ptr().cast_mut().cast(),
            iov_len: head.len(),
        },
        libc::iovec {
            iov_base: body.cast_mut().cast(),
            iov_len: len,
        },
    ];
    // SAFETY: all zeroes is a valid `msghdr`: no address, no pieces, no control data.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = pieces.len();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `message` names two ranges, of a slice and of pages that are mapped, both for longer than the call; the kernel only
    // reads them, and does not mind if somebody writes to the pages meanwhile.
    let result = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Joins or leaves a membership of the interface: an address, or promiscuous mode.
pub(crate) fn membership(
    fd: BorrowedFd<'_>,
    interface: u32,
    change: Membership,
    what: Hears,
) -> io::Result<()> {
    let mut address = [0; 8];
    let (kind, len) = match what {
        Hears::Address(mac) => {
            address[..6].copy_from_slice(&mac);
            (PACKET_MR_UNICAST, 6)
        }
        Hears::Everything => (libc::PACKET_MR_PROMISC, 0),
    };
    let request = libc::packet_mreq {
        mr_ifindex: interface.cast_signed(),
        mr_type: libc::c_ushort::try_from(kind).expect("a small number"),
        mr_alen: len,
        mr_address: address,
    };
    let name = match change {
        Membership::Join => libc::PACKET_ADD_MEMBERSHIP,
        Membership::Leave => libc::PACKET_DROP_MEMBERSHIP,
    };
    set_option(fd, libc::SOL_PACKET, name, &request)
}

/// linux/if_packet.h; not in libc.
const PACKET_MR_UNICAST: c_int = 3;

/// What [`membership`] does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Membership {
    Join,
    Leave,
}

/// What the interface is to hear for us, besides broadcast.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hears {
    Address([u8; 6]),
    Everything,
}

/// Frames that found no room in the receive ring since the last call.
pub(crate) fn take_overruns(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut stats = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut len = libc::socklen_t::try_from(size_of::<libc::tpacket_stats>()).expect("small");
    let out: *mut libc::tpacket_stats = &raw mut stats;
    // SAFETY: `out` is good for `len` bytes, which the kernel may write, and so is `len` itself.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            out.cast(),
            &raw mut len,
        )
    };
    check(result)?;
    Ok(u64::from(stats.tp_drops))
}

/// What the kernel says about an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interface {
    /// The address, of an interface with Ethernet's kind of header.
    pub(crate) mac: Option<[u8; 6]>,
    /// The largest packet, without the Ethernet header.
    pub(crate) mtu: usize,
    /// Whether it is switched on.
    pub(crate) up: bool,
    /// Whether it is also ready: its cable leads somewhere. The kernel says so a moment late.
    pub(crate) running: bool,
}

/// Asks for MAC address, MTU and state of an interface, in the socket's network namespace.
pub(crate) fn interface(fd: BorrowedFd<'_>, name: &str) -> io::Result<Interface> {
    let mut request = named_request(name)?;
    ask(fd, libc::SIOCGIFHWADDR, &mut request)?;
    // SAFETY: `SIOCGIFHWADDR` has filled this field in.
    let hardware = unsafe { request.ifr_ifru.ifru_hwaddr };
    ask(fd, libc::SIOCGIFMTU, &mut request)?;
    // SAFETY: `SIOCGIFMTU` has filled this field in.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    ask(fd, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: `SIOCGIFFLAGS` has filled this field in.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    const RUNNING: c_int = libc::IFF_UP | libc::IFF_RUNNING;
    let ethernet = hardware.sa_family == libc::ARPHRD_ETHER;
    let [a, b, c, d, e, f, ..] = hardware.sa_data.map(i8::cast_unsigned);
    Ok(Interface {
        mac: ethernet.then_some([a, b, c, d, e, f]),
        mtu: usize::try_from(mtu).unwrap_or(0),
        up: c_int::from(flags) & libc::IFF_UP != 0,
        running: c_int::from(flags) & RUNNING == RUNNING,
    })
}

pub(super) fn named_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeroes is a valid `ifreq`, integers and a null pointer.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays 0.
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn ask(fd: BorrowedFd<'_>, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    let request: *mut libc::ifreq = request;
    // SAFETY: the requests used here read and write one `ifreq`, which `request` is.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), what, request) })
}
