//! A network interface, by AF_PACKET with mapped rings (TPACKET_V2).
//!
//! Needs CAP_NET_RAW and nothing else. Frames are copied into the transmit ring with their tag, and one system
//! call sends a burst, past the queueing discipline. Received frames are handed over where the kernel
//! put them, after it took the tag out. It also knows how the interface is, for the other way to it.
//!
//! The socket is bound to all protocols, with a filter for MXoE's: to a socket of one protocol the kernel gives
//! frames of *any* VLAN with the tag removed, so partitions could not be told apart.

mod setup;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mxoe::addr::NicAddr;
use rustix::io::Errno;
use rustix::net::{SendFlags, sockopt};

use super::EthernetConfig;
use super::direct::Direct;
use super::frame::{self, SHORTEST};
use super::xdp::is_virtual_cable;
use crate::sys::packet::{self, Hears, Membership};
use crate::sys::ring::{self, ReceiveRing, RingSizes, TransmitRing};
use crate::{
    DropReason, ETHERNET_HEADER, Incoming, Interest, Link, LinkCounters, LinkError, LinkInfo,
    LinkKind, Offloads, Outgoing,
};
use setup::{denied, look_up, prepare, usable_mtu};

/// Whether the interface works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// Found down, and the caller has yet to be told.
    WentDown,
    Down,
    /// Removed, which the caller is told from now on.
    Gone,
}

/// A network interface by its packet socket.
#[derive(Debug)]
pub(super) struct PacketLink {
    // The rings are unmapped before the socket is closed.
    receive: ReceiveRing,
    transmit: TransmitRing,
    socket: OwnedFd,
    pub(super) direct: Direct,
    pub(super) index: u32,
    pub(super) info: LinkInfo,
    /// Frames are in the ring that the kernel has not taken.
    unsent: bool,
    /// The last frame offered found no room.
    starved: bool,
    state: State,
    /// The caller has asked what to sleep on since the socket was last asked for an error.
    slept: Cell<bool>,
    hears: BTreeSet<[u8; 6]>,
    pub(super) counters: LinkCounters,
}

/// What came out of a receive queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Frames looked at.
    pub(super) seen: usize,
    /// Frames handed over.
    pub(super) count: usize,
}

impl PacketLink {
    /// Opens a link on an interface of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`LinkError::Denied`] without CAP_NET_RAW; [`LinkError::Interface`] when there is no such interface or it is
    /// not Ethernet; [`LinkError::Setting`] when the interface cannot carry the configured MTU.
    pub(super) fn open(config: &EthernetConfig) -> Result<Self, LinkError> {
        let socket = packet::open().map_err(denied)?;
        let (index, interface) = look_up(socket.as_fd(), &config.interface)?;
        let mac = interface.mac.ok_or_else(|| LinkError::Interface {
            name: config.interface.clone(),
            problem: "is not an Ethernet interface".to_owned(),
        })?;
        let mtu = ETHERNET_HEADER + usable_mtu(config, interface.mtu)?;
        let fd = socket.as_fd();
        let sizes = RingSizes {
            frame: mtu,
            receive: config.receive_ring,
            transmit: config.transmit_ring,
        };
        prepare(fd, config.transmit_ring)?;
        let virtual_cable = is_virtual_cable(fd, &config.interface);
        let (receive, transmit) = ring::map(fd, sizes).map_err(LinkError::io(
            "map rings (lower receive_ring and transmit_ring?)",
        ))?;
        packet::bind(fd, index).map_err(LinkError::io("bind a packet socket"))?;
        let mut counters = LinkCounters::default();
        let state = if interface.up {
            State::Up
        } else {
            State::WentDown
        };
        counters.outages += u64::from(state == State::WentDown);
        let info = LinkInfo {
            name: config.interface.clone(),
            kind: LinkKind::Ethernet,
            mac: Some(NicAddr::new(mac)),
            mtu,
            offloads: Offloads {
                transmit_segments: 1,
                receive_segments: 1,
                mapped: true,
            },
        };
        Ok(Self {
            receive,
            transmit,
            socket,
            direct: Direct::open(index, virtual_cable)?,
            index,
            info,
            unsent: false,
            starved: false,
            state,
            slept: Cell::new(false),
            hears: BTreeSet::new(),
            counters,
        })
    }

    fn down(&self) -> LinkError {
        LinkError::Down {
            name: self.info.name.clone(),
        }
    }

    fn gone(&self) -> LinkError {
        LinkError::Gone {
            name: self.info.name.clone(),
        }
    }

    /// The kernel says that the interface is down: it may even be gone.
    pub(super) fn note_down(&mut self) {
        let removed = rustix::net::netdevice::index_to_name(&self.socket, self.index).is_err();
        if removed {
            self.state = State::Gone;
        } else if self.state == State::Up {
            self.state = State::WentDown;
            self.counters.outages += 1;
        }
    }

    /// The interface has just worked.
    pub(super) fn note_up(&mut self) {
        if self.state != State::Gone {
            self.state = State::Up;
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// A frame is to be sent: can it be? Looks again when it could not before; else the frame counts as dropped.
    pub(super) fn check_up(&mut self) -> Result<(), LinkError> {
        if self.state != State::Up {
            // Perhaps it is up again.
            self.kick()?;
        }
        match self.state {
            State::Up => Ok(()),
            State::Gone => Err(self.gone()),
            State::WentDown | State::Down => {
                self.counters.drop_one(DropReason::InterfaceDown);
                Err(self.down())
            }
        }
    }

    /// Tells the caller of an outage, once.
    pub(super) fn report_outage(&mut self) -> Result<(), LinkError> {
        match self.state {
            State::Up | State::Down => Ok(()),
            State::WentDown => {
                self.state = State::Down;
                Err(self.down())
            }
            State::Gone => Err(self.gone()),
        }
    }

    /// The device took nothing: because it is full, or because its cable leads nowhere?
    pub(super) fn note_refusal(&mut self) {
        match packet::interface(self.socket.as_fd(), &self.info.name) {
            Ok(interface) if interface.running => self.state = State::Up,
            _ => self.note_down(),
        }
    }

    /// Tells the kernel to send what is in the ring.
    fn kick(&mut self) -> Result<(), LinkError> {
        self.counters.system_calls += 1;
        match rustix::net::send(&self.socket, &[], SendFlags::DONTWAIT) {
            Ok(_) => {
                self.state = State::Up;
                self.unsent = self.transmit.is_pending();
            }
            // The socket's share of memory is in flight: what is left goes later.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => self.note_failure(errno)?,
        }
        Ok(())
    }

    /// Sends the frame that waits to be sent alone, if there is one. True if it has to go another way.
    pub(super) fn send_held(&mut self) -> Result<bool, LinkError> {
        if self.direct.held().is_none() {
            return Ok(false);
        }
        self.counters.system_calls += 1;
        match self.direct.send() {
            Ok(()) => self.state = State::Up,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(errno) => {
                self.note_failure(errno)?;
                if matches!(self.state, State::WentDown | State::Down) && errno != Errno::NOBUFS {
                    // The kernel did not take it.
                    return Ok(false);
                }
            }
        }
        self.direct.let_go();
        Ok(false)
    }

    /// Sends a long frame from where it is, behind those that wait. False if it has to go another way: what is wrong is found out there.
    fn send_at_once(&mut self, frame: &Outgoing<'_>, vlan: Option<u16>) -> Result<bool, LinkError> {
        if self.unsent || self.send_held()? {
            return Ok(false);
        }
        self.counters.system_calls += 1;
        let sent = self.direct.send_at_once(frame, vlan);
        if sent {
            self.note_up();
        }
        Ok(sent)
    }

    /// The kernel did not send, for a reason that waiting for room does not mend.
    fn note_failure(&mut self, errno: Errno) -> Result<(), LinkError> {
        match errno {
            Errno::NOBUFS => self.note_refusal(),
            Errno::NETDOWN | Errno::NXIO | Errno::NODEV => self.note_down(),
            // The interface's MTU was lowered below ours: the kernel has skipped the frame.
            Errno::MSGSIZE => self.counters.drop_one(DropReason::TransmitRefused),
            errno => return Err(LinkError::io("send frames")(errno.into())),
        }
        Ok(())
    }

    /// Puts the frame that was to be sent alone into the ring. False if there is no room.
    fn spill(&mut self) -> bool {
        let Some(held) = self.direct.held() else {
            return true;
        };
        let Some(slot) = self.transmit.free_slot() else {
            return false;
        };
        if slot.was_refused {
            self.counters.drop_one(DropReason::TransmitRefused);
        }
        slot.send(held.len(), |out| out.copy_from_slice(held));
        self.direct.let_go();
        self.unsent = true;
        true
    }

    /// Hands over what is in the ring.
    pub(super) fn take(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<Taken, LinkError> {
        let (mut seen, mut count, mut losing) = (0, 0, false);
        // What is dropped counts as seen, so that a flood of it is bounded work too.
        while seen < budget {
            let Some(frame) = self.receive.peek() else {
                break;
            };
            seen += 1;
            losing |= frame.losing;
            let accepted = if frame.bytes.len() < frame.len {
                Err(DropReason::Truncated)
            } else if frame.len < ETHERNET_HEADER {
                Err(DropReason::ReceiveTooShort)
            } else if frame.len > self.info.mtu.max(SHORTEST) {
                Err(DropReason::ReceiveTooLong)
            } else {
                frame::partition(frame.vlan)
            };
            match accepted {
                Ok(tag) => {
                    self.counters.received.count(frame.len);
                    count += 1;
                    sink(Incoming::bytes(frame.bytes, tag));
                }
                Err(reason) => self.counters.drop_one(reason),
            }
            self.receive.release();
        }
        if losing {
            self.count_overruns()?;
        }
        if count > 0 {
            self.note_up();
        }
        Ok(Taken { seen, count })
    }

    /// Nothing arrived: is something wrong?
    pub(super) fn idle(&mut self) -> Result<(), LinkError> {
        self.check_socket();
        self.report_outage()
    }

    /// It was frames that woke the sleeper, if he slept: the next sleep is still to come.
    pub(super) fn woke_for_frames(&self) {
        self.slept.set(false);
    }

    /// The caller is about to sleep.
    pub(super) fn note_sleep(&self) {
        self.slept.set(true);
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// A sleeper woke and found nothing: an interface that goes down leaves an error on the socket,
    /// which wakes every sleeper until it is read.
    fn check_socket(&mut self) {
        if self.slept.take()
            && let Ok(Err(Errno::NETDOWN)) = sockopt::socket_error(&self.socket)
        {
            self.note_down();
        }
    }

    fn count_overruns(&mut self) -> Result<(), LinkError> {
        let lost = packet::take_overruns(self.socket.as_fd())
            .map_err(LinkError::io("read a packet socket's statistics"))?;
        self.counters.drops[DropReason::ReceiveOverrun] += lost;
        Ok(())
    }

    fn hear(&self, change: Membership, what: Hears) -> io::Result<()> {
        packet::membership(self.socket.as_fd(), self.index, change, what)
    }

    /// Switches promiscuous mode on or off.
    fn hear_everything(&mut self, wanted: bool) -> Result<(), LinkError> {
        if wanted != self.counters.promiscuous {
            let change = if wanted {
                Membership::Join
            } else {
                Membership::Leave
            };
            self.hear(change, Hears::Everything)
                .map_err(LinkError::io("switch promiscuous mode"))?;
            self.counters.promiscuous = wanted;
        }
        Ok(())
    }
}

impl Link for PacketLink {
    fn describe(&self) -> LinkInfo {
        self.info.clone()
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        let vlan = frame::check(frame, self.info.mtu)?;
        self.check_up()?;
        if self.direct.wants(frame) && self.send_at_once(frame, vlan)? {
            self.starved = false;
            self.counters.transmitted.count(frame.len());
            return Ok(());
        }
        if !self.unsent && self.direct.hold(frame, vlan) {
            self.starved = false;
            self.counters.transmitted.count(frame.len());
            return Ok(());
        }
        // A second frame: both go by the ring.
        let room = self.spill();
        let Some(slot) = self.transmit.free_slot().filter(|_| room) else {
            self.starved = true;
            self.counters.full += 1;
            return Err(LinkError::Full);
        };
        if slot.was_refused {
            self.counters.drop_one(DropReason::TransmitRefused);
        }
        slot.send(frame::wire_len(frame, vlan), |out| {
            frame::write_frame(frame, vlan, out)
        });
        self.unsent = true;
        self.starved = false;
        self.counters.transmitted.count(frame.len());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        if self.send_held()? && !self.spill() {
            self.starved = true;
        }
        if self.unsent {
            self.kick()?;
        }
        self.report_outage()
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        let taken = self.take(budget, sink)?;
        if taken.seen == 0 {
            self.idle()?;
        } else {
            self.woke_for_frames();
        }
        Ok(taken.count)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        self.note_sleep();
        // Nothing can be sent while the interface is down: waiting for room would not wait.
        let wants_room = (self.unsent || self.starved) && self.state == State::Up;
        let interest = if wants_room {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        (self.socket.as_fd(), interest)
    }

    fn set_addresses(&mut self, macs: &[NicAddr]) -> Result<(), LinkError> {
        let wanted: BTreeSet<[u8; 6]> = macs
            .iter()
            .filter(|mac| !mac.is_multicast() && Some(**mac) != self.info.mac)
            .map(|mac| mac.octets())
            .collect();
        let stale: Vec<_> = self.hears.difference(&wanted).copied().collect();
        for mac in stale {
            self.hear(Membership::Leave, Hears::Address(mac))
                .map_err(LinkError::io("take an address off the card"))?;
            self.hears.remove(&mac);
        }
        let mut no_room = false;
        for mac in wanted {
            if !self.hears.contains(&mac) {
                if self.hear(Membership::Join, Hears::Address(mac)).is_ok() {
                    self.hears.insert(mac);
                } else {
                    no_room = true;
                }
            }
        }
        self.hear_everything(no_room)
    }

    fn counters(&self) -> LinkCounters {
        self.counters
    }
}
