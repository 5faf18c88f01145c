//! A network interface. Partitions are 802.1Q VLANs.
//!
//! Frames cross by AF_PACKET with mapped rings, which needs CAP_NET_RAW and works everywhere, or by AF_XDP, which
//! takes them from the driver and needs more ([`Driver`]). With AF_XDP the packet socket stays: it hears all
//! that is not redirected (frames for groups, of other receive queues, those whose tag the card took out), holds the card's
//! address filter, and notices when the interface goes down. So what a link does is the same either way.

mod direct;
mod frame;
mod packet;
mod xdp;

use std::fmt;
use std::os::fd::BorrowedFd;

use mxoe::addr::NicAddr;

use crate::{Incoming, Interest, Link, LinkCounters, LinkError, LinkInfo, Outgoing};
use packet::PacketLink;
use xdp::XdpPath;
pub use xdp::XdpSocket;

/// How frames get to the card and from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Driver {
    /// AF_XDP where it is to be had in the card's driver, else AF_PACKET; the log says which, and why. AF_XDP is not tried on a
    /// virtual cable, where AF_PACKET is faster, nor on a machine that runs on Xen, where a program can reset the card of
    /// other domains.
    #[default]
    Auto,
    /// AF_PACKET.
    Packet,
    /// AF_XDP, or not at all.
    Xdp,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Packet => "packet",
            Self::Xdp => "xdp",
        })
    }
}

/// Settings of an Ethernet link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EthernetConfig {
    /// The network interface.
    pub interface: String,
    /// The largest packet, in bytes without the Ethernet header: the interface's MTU when none
    /// is given, but at most [`DEFAULT_LARGEST`](Self::DEFAULT_LARGEST).
    pub mtu: Option<usize>,
    /// How frames get to the card and from it.
    pub driver: Driver,
    /// With AF_XDP: whoever receives polls the card instead of waiting for its interrupts. Each look at an empty link takes
    /// a system call then. Worth it on real cards, for a worker that never sleeps.
    pub busy_poll: bool,
    /// Bytes of memory for the receive ring, of either kind.
    pub receive_ring: usize,
    /// Bytes of memory for the transmit ring, of either kind.
    pub transmit_ring: usize,
}

impl EthernetConfig {
    /// The largest packet that is of use to MXoE as we speak it.
    pub const DEFAULT_LARGEST: usize = 9000;

    /// An interface with the usual settings: 8 MiB to receive, which holds several windows of pulled
    /// data while the receiver does something else, and 2 MiB to send.
    #[must_use]
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            mtu: None,
            driver: Driver::Auto,
            busy_poll: false,
            receive_ring: 8 << 20,
            transmit_ring: 2 << 20,
        }
    }
}

/// A network interface.
#[derive(Debug)]
pub struct EthernetLink {
    // Taken off the card before the packet socket is closed.
    xdp: Option<XdpPath>,
    packet: PacketLink,
}

impl EthernetLink {
    /// Opens a link on an interface of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`LinkError::Denied`] without CAP_NET_RAW; [`LinkError::Interface`] when there is no such interface or it is
    /// not Ethernet; [`LinkError::Setting`] when the interface cannot carry the configured MTU. With [`Driver::Xdp`] also
    /// whatever stands in the way of AF_XDP.
    pub fn open(config: &EthernetConfig) -> Result<Self, LinkError> {
        let packet = PacketLink::open(config)?;
        let xdp = xdp::choose(config, &packet)?;
        Ok(Self { xdp, packet })
    }

    /// Whether frames cross by AF_XDP.
    #[must_use]
    pub fn uses_xdp(&self) -> bool {
        self.xdp.is_some()
    }
}

/// Of a budget, what is kept for the packet socket, so that a flood of redirected frames cannot silence it.
const PACKET_SHARE: usize = 8;

impl Link for EthernetLink {
    fn describe(&self) -> LinkInfo {
        self.packet.describe()
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        match &mut self.xdp {
            Some(xdp) => xdp.transmit(&mut self.packet, frame),
            None => self.packet.transmit(frame),
        }
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        match &mut self.xdp {
            Some(xdp) => xdp.flush(&mut self.packet),
            None => self.packet.flush(),
        }
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        let Some(xdp) = &mut self.xdp else {
            return self.packet.receive(budget, sink);
        };
        let redirected = xdp.take(&mut self.packet, budget - budget / PACKET_SHARE, sink)?;
        let others = self.packet.take(budget - redirected.seen, sink)?;
        if redirected.seen + others.seen == 0 {
            self.packet.idle()?;
        } else {
            self.packet.woke_for_frames();
        }
        Ok(redirected.count + others.count)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        match &self.xdp {
            Some(xdp) => xdp.readiness(&self.packet),
            None => self.packet.readiness(),
        }
    }

    fn set_addresses(&mut self, macs: &[NicAddr]) -> Result<(), LinkError> {
        if let Some(xdp) = &mut self.xdp {
            xdp.set_addresses(macs);
        }
        self.packet.set_addresses(macs)
    }

    fn counters(&self) -> LinkCounters {
        self.packet.counters()
    }
}
