//! A frame that is sent alone: by a packet socket of its own, without a ring. The kernel copies such a frame in one piece,
//! which is less work than holding on to pages of the ring, for it and for who receives, up to the longest frames.
//!
//! A virtual cable does not hold on to them either: its other end gets a copy. There long frames are all sent so, from the guest's
//! pages: a call for each costs less than a copy into the ring, which spares the kernel nothing.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::frame::{self, TaggedHead};
use crate::sys::packet;
use crate::{Body, LinkError, Outgoing};

/// A socket that only sends, and what it sends next.
#[derive(Debug)]
pub(super) struct Direct {
    socket: OwnedFd,
    bytes: Vec<u8>,
    /// Long frames are sent at once.
    gathers: bool,
}

/// Of so many bytes a copy costs more than a call.
const LONG: usize = 4096;

impl Direct {
    /// Opens the socket on an interface.
    pub(super) fn open(index: u32, virtual_cable: bool) -> Result<Self, LinkError> {
        let socket = packet::open().map_err(LinkError::io("open a packet socket"))?;
        packet::set_number(socket.as_fd(), libc::PACKET_QDISC_BYPASS, 1)
            .map_err(LinkError::io("set PACKET_QDISC_BYPASS"))?;
        packet::bind_to_send(socket.as_fd(), index)
            .map_err(LinkError::io("bind a packet socket"))?;
        Ok(Self {
            socket,
            bytes: Vec::new(),
            gathers: virtual_cable,
        })
    }

    /// Whether this frame is better sent at once, from where it is.
    pub(super) fn wants(&self, frame: &Outgoing<'_>) -> bool {
        self.gathers && matches!(frame.body, Body::Pages { len, .. } if len >= LONG)
    }

    /// Sends a frame from where it is. False if it has to go another way.
    pub(super) fn send_at_once(&self, frame: &Outgoing<'_>, vlan: Option<u16>) -> bool {
        let Body::Pages { pages, offset, len } = frame.body else {
            return false;
        };
        let mut head = [0; size_of::<TaggedHead>()];
        frame::write_head(frame.head, vlan, &mut head).is_some_and(|end| {
            packet::send_gathered(self.socket.as_fd(), &head[..end], (pages, offset, len)).is_ok()
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
