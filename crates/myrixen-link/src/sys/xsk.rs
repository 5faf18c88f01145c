//! AF_XDP sockets: frames cross to and from the driver in memory of ours, redirected by a program.

mod area;
mod queue;

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::ring::RingSizes;
use area::{Area, Geometry};
pub(crate) use area::{Receiver, Transmitter};
use queue::{Consumer, Producer};

/// A bound socket with its two directions.
#[derive(Debug)]
pub(crate) struct Xsk {
    // The queues are unmapped before the socket is closed.
    pub(crate) receiver: Receiver,
    pub(crate) transmitter: Transmitter,
    pub(crate) socket: OwnedFd,
    /// The driver puts frames into our memory itself.
    pub(crate) zero_copy: bool,
}

/// Which step of opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The socket itself.
    Socket,
    /// Memory for frames: it is locked.
    Memory,
    /// The queues.
    Queues,
    /// Binding to the interface's queue.
    Bind {
        /// The longest frames need several chunks.
        scatters: bool,
    },
}

/// Opens a socket on one queue of an interface: zero copy where the driver has it, which the kernel decides.
pub(crate) fn open(index: u32, queue: u32, sizes: RingSizes) -> Result<Xsk, (Step, io::Error)> {
    let at = |step| move |errno: rustix::io::Errno| (step, io::Error::from(errno));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, flags, None)
        .map_err(at(Step::Socket))?;
    let geometry = Geometry::new(sizes.frame, sizes.receive, sizes.transmit);
    let area = register(socket.as_fd(), geometry).map_err(|e| (Step::Memory, e))?;
    let (receiver, transmitter) =
        map_queues(socket.as_fd(), geometry, &area).map_err(|e| (Step::Queues, e))?;
    let scatters = geometry.scatters(sizes.frame);
    let mut flags = SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    flags.set(SocketAddrXdpFlags::XDP_USE_SG, scatters);
    let address = SocketAddrXdp::new(flags, index, queue);
    while_busy(|| Ok(rustix::net::bind(&socket, &address)?))
        .map_err(|error| (Step::Bind { scatters }, error))?;
    let options = sockopt::xdp_options(&socket).map_err(at(Step::Bind { scatters }))?;
    Ok(Xsk {
        receiver,
        transmitter,
        socket,
        zero_copy: options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY),
    })
}

/// Tries again for a moment what is refused because somebody has it: the kernel lets go of a queue, or of a program, some
/// time after the process that had it is gone.
pub(crate) fn while_busy<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const ENOUGH: Duration = Duration::from_millis(500);
    const PAUSE: Duration = Duration::from_millis(5);
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < ENOUGH =>
            {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn register(socket: BorrowedFd<'_>, geometry: Geometry) -> io::Result<Arc<Area>> {
    let area = Arc::new(Area::new(geometry.len())?);
    let request = XdpUmemReg {
        addr: area.address(),
        len: area.len(),
        chunk_size: u32::try_from(geometry.chunk).map_err(|_| io::ErrorKind::InvalidInput)?,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    sockopt::set_xdp_umem_reg(socket, request)?;
    Ok(area)
}

fn map_queues(
    socket: BorrowedFd<'_>,
    geometry: Geometry,
    area: &Arc<Area>,
) -> io::Result<(Receiver, Transmitter)> {
    let (receive, transmit) = (geometry.receive, geometry.transmit_entries());
    sockopt::set_xdp_umem_fill_ring_size(socket, receive)?;
    sockopt::set_xdp_umem_completion_ring_size(socket, transmit)?;
    sockopt::set_xdp_rx_ring_size(socket, receive)?;
    sockopt::set_xdp_tx_ring_size(socket, transmit)?;
    let places = sockopt::xdp_mmap_offsets(socket)?;
    let fill = Producer::map(socket, XDP_UMEM_PGOFF_FILL_RING, &places.fr, receive)?;
    let done = Consumer::map(socket, XDP_UMEM_PGOFF_COMPLETION_RING, &places.cr, transmit)?;
    let arrived = Consumer::map(socket, XDP_PGOFF_RX_RING, &places.rx, receive)?;
    let queue = Producer::map(socket, XDP_PGOFF_TX_RING, &places.tx, transmit)?;
    Ok((
        Receiver::new(Arc::clone(area), geometry, arrived, fill),
        Transmitter::new(Arc::clone(area), geometry, queue, done),
    ))
}

/// Frames that were redirected to a socket and found no room there, since it was opened.
pub(crate) fn overruns(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let statistics = sockopt::xdp_statistics(socket)?;
    // A fill queue that was empty is counted as dropped already.
    Ok(statistics.rx_dropped + statistics.rx_ring_full.unwrap_or(0))
}

/// Has calls on the socket poll the card, and the card leave its interrupts off meanwhile.
pub(crate) fn prefer_busy_poll(socket: BorrowedFd<'_>) -> io::Result<()> {
    // asm-generic/socket.h; not in libc.
    const SO_BUSY_POLL: c_int = 46;
    const SO_PREFER_BUSY_POLL: c_int = 69;
    const SO_BUSY_POLL_BUDGET: c_int = 70;
    // One look at the card a call: how long to go on is the caller's business.
    const MICROSECONDS: c_int = 1;
    const FRAMES: c_int = 64;
    set_number(socket, SO_PREFER_BUSY_POLL, 1)?;
    set_number(socket, SO_BUSY_POLL, MICROSECONDS)?;
    set_number(socket, SO_BUSY_POLL_BUDGET, FRAMES)
}

fn set_number(socket: BorrowedFd<'_>, name: c_int, value: c_int) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<c_int>()).expect("options are small");
    let value: *const c_int = &raw const value;
    let (fd, level) = (socket.as_raw_fd(), libc::SOL_SOCKET);
    // SAFETY: `value` points to `len` readable bytes for the length of the call, and the kernel only reads them.
    let result = unsafe { libc::setsockopt(fd, level, name, value.cast(), len) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
