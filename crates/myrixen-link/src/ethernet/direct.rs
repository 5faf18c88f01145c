//! A frame that is sent alone: by a packet socket of its own, without a ring. The kernel copies such a frame in one piece,
//! which is less work than holding on to pages of the ring, for it and for who receives, up to the longest frames.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::frame;
use crate::sys::packet;
use crate::{LinkError, Outgoing};

/// A socket that only sends, and what it sends next.
#[derive(Debug)]
pub(super) struct Direct {
    socket: OwnedFd,
    bytes: Vec<u8>,
}

impl Direct {
    /// Opens the socket on an interface.
    pub(super) fn open(index: u32) -> Result<Self, LinkError> {
        let socket = packet::open().map_err(LinkError::io("open a packet socket"))?;
        packet::set_number(socket.as_fd(), libc::PACKET_QDISC_BYPASS, 1)
            .map_err(LinkError::io("set PACKET_QDISC_BYPASS"))?;
        packet::bind_to_send(socket.as_fd(), index)
            .map_err(LinkError::io("bind a packet socket"))?;
        Ok(Self {
            socket,
            bytes: Vec::new(),
        })
    }

    /// The frame that waits, as it will be on the wire.
    pub(super) fn held(&self) -> Option<&[u8]> {
        (!self.bytes.is_empty()).then_some(self.bytes.as_slice())
    }

    /// Takes a frame, if none waits.
    pub(super) fn hold(&mut self, frame: &Outgoing<'_>, vlan: Option<u16>) -> bool {
        if !self.bytes.is_empty() {
            return false;
        }
        self.bytes.resize(frame::wire_len(frame, vlan), 0);
        frame::write_frame(frame, vlan, &mut self.bytes);
        true
    }

    /// The frame is gone, or goes another way.
    pub(super) fn let_go(&mut self) {
        self.bytes.clear();
    }

    /// Sends the frame, which is still held afterwards.
    pub(super) fn send(&self) -> Result<(), Errno> {
        rustix::net::send(&self.socket, &self.bytes, SendFlags::DONTWAIT).map(|_| ())
    }
}
