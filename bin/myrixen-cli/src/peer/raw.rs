//! Over a plain packet socket (AF_PACKET), an Ethernet frame a message: what the network costs without any protocol.

use std::io;
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::datagrams::{self, AGAIN, Datagrams};

/// For experiments on one's own network (IEEE 802).
const ETHERTYPE: u16 = 0x88b5;
const HEADER: usize = 14;
/// What a frame carries on a link with jumbo frames.
const LARGEST: u64 = 9000;

/// A packet socket on an interface. Frames go to everybody on the link: there is nobody but the partner.
pub(super) struct Raw {
    socket: OwnedFd,
    header: [u8; HEADER],
    buffer: std::cell::RefCell<Vec<u8>>,
}

impl Raw {
    fn open(interface: &str, spin: bool) -> anyhow::Result<Self> {
        let socket = myrixen_netlab::packet_socket(interface, ETHERTYPE)
            .with_context(|| format!("cannot open a packet socket on {interface}"))?;
        if spin {
            rustix::io::ioctl_fionbio(&socket, true)?;
        } else {
            let option = rustix::net::sockopt::Timeout::Recv;
            rustix::net::sockopt::set_socket_timeout(&socket, option, Some(AGAIN))?;
        }
        let mut header = [0xff; HEADER];
        header[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        header[12..].copy_from_slice(&ETHERTYPE.to_be_bytes());
        Ok(Self {
            socket,
            header,
            buffer: std::cell::RefCell::new(Vec::new()),
        })
    }
}

/// Echoes frames for ever.
pub(super) fn serve(interface: &str, spin: bool, ready: &dyn Fn()) -> anyhow::Result<()> {
    let raw = Raw::open(interface, spin)?;
    datagrams::echo(
        ready,
        |into| Ok((recv(&raw.socket, into, RecvFlags::empty())?.0, ())),
        |bytes, ()| Ok(send(&raw.socket, bytes, SendFlags::empty()).map(drop)?),
    )
}

/// The side that measures.
pub(super) fn client(interface: &str, spin: bool) -> anyhow::Result<datagrams::Client<Raw>> {
    Ok(datagrams::Client::new(Raw::open(interface, spin)?, spin))
}

impl Datagrams for Raw {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        buffer.extend_from_slice(&self.header);
        buffer.extend_from_slice(bytes);
        send(&self.socket, &buffer, SendFlags::empty())?;
        Ok(())
    }

    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.resize(HEADER + into.len(), 0);
        let (len, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
        let len = len.saturating_sub(HEADER);
        into[..len].copy_from_slice(&buffer[HEADER..HEADER + len]);
        Ok(len)
    }

    fn largest(&self) -> u64 {
        LARGEST
    }

    fn partner(&self) -> &'static str {
        "the other end"
    }
}
