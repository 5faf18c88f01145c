//! An AF_XDP socket with nothing around it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use mxoe::addr::NicAddr;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::{XdpPath, open};
use crate::LinkError;
use crate::ethernet::packet::PacketLink;
use crate::ethernet::{Driver, EthernetConfig, frame};

/// An AF_XDP socket on the first receive queue of an interface, as a link by AF_XDP opens it, with nothing around it: to measure what of a
/// link's time is the socket's. It hears untagged frames of MXoE's EtherType for its addresses.
#[derive(Debug)]
pub struct XdpSocket {
    path: XdpPath,
    /// Bytes of the longest frame.
    longest: usize,
}

impl XdpSocket {
    /// Opens a socket on an interface of the calling thread's network namespace, for frames to `addresses`.
    ///
    /// # Errors
    /// What stands in the way of AF_XDP, as [`EthernetLink::open`](crate::ethernet::EthernetLink::open) says it with [`Driver::Xdp`].
    pub fn open(interface: &str, addresses: &[NicAddr]) -> Result<Self, LinkError> {
        let config = EthernetConfig {
            driver: Driver::Xdp,
            ..EthernetConfig::new(interface)
        };
        // It knows the interface; frames are not taken from it.
        let packet = PacketLink::open(&config)?;
        let mut path = open::open(&config, &packet)?;
        path.set_addresses(addresses);
        let longest = frame::longest_on_wire(packet.info.mtu);
        Ok(Self { path, longest })
    }

    /// Sends a frame, of 14 bytes at least. False where there was no room for it.
    ///
    /// # Errors
    /// What the kernel said; `InvalidInput` for a frame that is longer than the interface carries.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<bool> {
        if frame.len() > self.longest {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let transmitter = &mut self.path.xsk.transmitter;
        let queued = transmitter.send(frame.len(), |out| out.copy_from_slice(frame));
        while transmitter.waiting() > 0 && transmitter.needs_wakeup() {
            let left = transmitter.waiting();
            match rustix::net::send(&self.path.xsk.socket, &[], SendFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::BUSY | Errno::NOBUFS) => {}
                Err(errno) => return Err(errno.into()),
            }
            if transmitter.waiting() == left {
                break;
            }
        }
        Ok(queued)
    }

    /// Hands a frame to `sink`, if one has arrived. Whoever sleeps waits until the descriptor can be read.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn receive(&mut self, mut sink: impl FnMut(&[u8])) -> io::Result<bool> {
        let receiver = &mut self.path.xsk.receiver;
        let taken = receiver.take(1, |bytes| sink(bytes)).frames;
        if taken == 0 && receiver.needs_wakeup() {
            match rustix::net::recv(&self.path.xsk.socket, &mut [0; 0], RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::BUSY) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(taken > 0)
    }
}

impl AsFd for XdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.path.xsk.socket.as_fd()
    }
}
