//! Over a plain AF_XDP socket, an Ethernet frame a message: what is left of the kernel's share where a link goes past its protocols.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use mxoe::addr::NicAddr;
use myrixen::link::MXOE_ETHERTYPE;
use myrixen::link::ethernet::XdpSocket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::datagrams::{self, AGAIN, Datagrams};

/// Whom frames are for: the other end, whichever that is.
const TO: NicAddr = NicAddr::new([2, 0, 0, 0, 0, 2]);
const FROM: NicAddr = NicAddr::new([2, 0, 0, 0, 0, 1]);
const HEADER: usize = 14;
/// What a frame carries on a link with jumbo frames.
const LARGEST: u64 = 9000;

/// A socket on an interface.
pub(super) struct Xdp {
    socket: RefCell<XdpSocket>,
    spin: bool,
    header: [u8; HEADER],
    buffer: RefCell<Vec<u8>>,
}

impl Xdp {
    fn open(interface: &str, spin: bool) -> anyhow::Result<Self> {
        let socket = XdpSocket::open(interface, &[TO])
            .with_context(|| format!("cannot open an AF_XDP socket on {interface}"))?;
        let mut header = [0; HEADER];
        header[..6].copy_from_slice(&TO.octets());
        header[6..12].copy_from_slice(&FROM.octets());
        header[12..].copy_from_slice(&MXOE_ETHERTYPE.to_be_bytes());
        Ok(Self {
            socket: RefCell::new(socket),
            spin,
            header,
            buffer: RefCell::new(Vec::new()),
        })
    }

    /// Whether something can be received before [`AGAIN`] has passed.
    fn sleep(&self) -> io::Result<bool> {
        let socket = self.socket.borrow();
        let mut watched = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
        let longest = Timespec::try_from(AGAIN).map_err(|_| ErrorKind::InvalidInput)?;
        Ok(poll(&mut watched, Some(&longest))? > 0)
    }
}

/// Echoes frames for ever.
pub(super) fn serve(interface: &str, spin: bool, ready: &dyn Fn()) -> anyhow::Result<()> {
    let xdp = Xdp::open(interface, spin)?;
    let receive = |into: &mut [u8]| Ok((xdp.receive(into)?, ()));
    datagrams::echo(ready, receive, |bytes, ()| xdp.send(bytes))
}

/// The side that measures.
pub(super) fn client(interface: &str, spin: bool) -> anyhow::Result<datagrams::Client<Xdp>> {
    Ok(datagrams::Client::new(Xdp::open(interface, spin)?, spin))
}

impl Datagrams for Xdp {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        buffer.extend_from_slice(&self.header);
        buffer.extend_from_slice(bytes);
        // One frame is under way at a time: there is room.
        self.socket.borrow_mut().send(&buffer)?;
        Ok(())
    }

    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut taken = None;
        loop {
            self.socket.borrow_mut().receive(|frame| {
                let payload = frame.get(HEADER..).unwrap_or_default();
                let len = payload.len().min(into.len());
                into[..len].copy_from_slice(&payload[..len]);
                taken = Some(len);
            })?;
            if let Some(len) = taken {
                return Ok(len);
            }
            if self.spin || !self.sleep()? {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
    }

    fn largest(&self) -> u64 {
        LARGEST
    }

    fn partner(&self) -> &'static str {
        "the other end"
    }
}
