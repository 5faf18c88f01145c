//! A network interface, by AF_XDP: a program in the driver redirects our frames to a socket whose memory they lie in.
//!
//! One socket, on the first receive queue: cards put there what is not IP. Frames of other queues reach the packet socket.

mod btf;
mod card;
mod open;
mod plain;
mod program;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mxoe::addr::NicAddr;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::frame;
use super::packet::{PacketLink, Taken};
use crate::sys::bpf;
use crate::sys::xsk::{self, Xsk};
use crate::{DropReason, Incoming, Interest, LinkError, Outgoing};

pub(super) use card::is_virtual_cable;
pub(super) use open::choose;
pub use plain::XdpSocket;

/// The other way to a network interface, beside its packet socket.
#[derive(Debug)]
pub(super) struct XdpPath {
    // The program is detached before what it leads to is closed.
    _attached: OwnedFd,
    /// The addresses whose frames are redirected.
    addresses: OwnedFd,
    xsk: Xsk,
    /// Ready when either socket is.
    both: OwnedFd,
    redirects: BTreeSet<[u8; 6]>,
    /// Frames are queued that the kernel has not taken.
    unsent: bool,
    /// The last frame offered found no room.
    starved: bool,
    /// `both` is ready too when there is room to send.
    watches_room: Cell<bool>,
    busy_poll: bool,
    /// Overruns that are counted already.
    overruns: u64,
}

impl XdpPath {
    pub(super) fn transmit(
        &mut self,
        packet: &mut PacketLink,
        frame: &Outgoing<'_>,
    ) -> Result<(), LinkError> {
        let vlan = frame::check(frame, packet.info.mtu)?;
        packet.check_up()?;
        // Where the kernel copies anyway, a frame alone is sent sooner without the queue.
        let alone = !self.xsk.zero_copy && !self.unsent && packet.direct.hold(frame, vlan);
        let taken = alone || (self.spill(packet) && self.queue(frame, vlan));
        self.starved = !taken;
        if self.starved {
            packet.counters.full += 1;
            return Err(LinkError::Full);
        }
        packet.counters.transmitted.count(frame.len());
        Ok(())
    }

    /// Queues a frame. False if there is no room.
    fn queue(&mut self, frame: &Outgoing<'_>, vlan: Option<u16>) -> bool {
        let len = frame::wire_len(frame, vlan);
        let fill = |out: &mut [u8]| frame::write_frame(frame, vlan, out);
        let queued = self.xsk.transmitter.send(len, fill);
        self.unsent |= queued;
        queued
    }

    /// Queues the frame that was to be sent alone. False if there is no room.
    fn spill(&mut self, packet: &mut PacketLink) -> bool {
        let Some(held) = packet.direct.held() else {
            return true;
        };
        let fill = |out: &mut [u8]| out.copy_from_slice(held);
        let queued = self.xsk.transmitter.send(held.len(), fill);
        if queued {
            packet.direct.let_go();
            self.unsent = true;
        }
        queued
    }

    pub(super) fn flush(&mut self, packet: &mut PacketLink) -> Result<(), LinkError> {
        if packet.send_held()? && !self.spill(packet) {
            self.starved = true;
        }
        if self.unsent {
            self.kick(packet)?;
        }
        packet.report_outage()
    }

    /// Has the kernel send what is queued.
    fn kick(&mut self, packet: &mut PacketLink) -> Result<(), LinkError> {
        let zero_copy = self.xsk.zero_copy;
        let mut waiting = self.xsk.transmitter.waiting();
        while waiting > 0 && self.xsk.transmitter.needs_wakeup() {
            packet.counters.system_calls += 1;
            match rustix::net::send(&self.xsk.socket, &[], SendFlags::DONTWAIT) {
                Ok(_) => packet.note_up(),
                // It takes so many frames a call, or the device is full.
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A frame was taken and lost.
                Err(Errno::BUSY | Errno::NOBUFS) => {
                    packet.counters.drop_one(DropReason::TransmitRefused);
                    packet.note_refusal();
                }
                Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV) => packet.note_down(),
                Err(errno) => return Err(LinkError::io("send frames")(errno.into())),
            }
            let left = self.xsk.transmitter.waiting();
            if left == waiting || zero_copy {
                break;
            }
            waiting = left;
        }
        // A driver that was woken goes on by itself.
        self.unsent = !zero_copy && self.xsk.transmitter.waiting() > 0;
        Ok(())
    }

    /// Hands over frames that were redirected.
    pub(super) fn take(
        &mut self,
        packet: &mut PacketLink,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<Taken, LinkError> {
        let taken = self.take_arrived(packet, budget, sink)?;
        if taken.seen > 0 || !(self.busy_poll || self.xsk.receiver.needs_wakeup()) {
            return Ok(taken);
        }
        packet.counters.system_calls += 1;
        match rustix::net::recv(&self.xsk.socket, &mut [0; 0], RecvFlags::DONTWAIT) {
            // What became of the interface, the packet socket knows.
            Ok(_) | Err(_) => self.take_arrived(packet, budget, sink),
        }
    }

    fn take_arrived(
        &mut self,
        packet: &mut PacketLink,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<Taken, LinkError> {
        let (mtu, counters) = (packet.info.mtu, &mut packet.counters);
        let mut count = 0;
        let taken = self
            .xsk
            .receiver
            .take(budget, |bytes| match frame::untag(bytes, mtu) {
                Ok((tag, bytes)) => {
                    counters.received.count(bytes.len());
                    counters.redirected += 1;
                    count += 1;
                    sink(Incoming::bytes(bytes, tag));
                }
                Err(reason) => counters.drop_one(reason),
            });
        if taken.pressed {
            self.count_overruns(packet)?;
        }
        if count > 0 {
            packet.note_up();
        }
        Ok(Taken {
            seen: taken.frames,
            count,
        })
    }

    fn count_overruns(&mut self, packet: &mut PacketLink) -> Result<(), LinkError> {
        let all = xsk::overruns(self.xsk.socket.as_fd())
            .map_err(LinkError::io("read an AF_XDP socket's statistics"))?;
        packet.counters.drops[DropReason::ReceiveOverrun] += all - self.overruns;
        self.overruns = all;
        Ok(())
    }

    pub(super) fn readiness(&self, packet: &PacketLink) -> (BorrowedFd<'_>, Interest) {
        packet.note_sleep();
        // As for the packet socket: while the interface is down, waiting for room would not wait.
        let wants_room = (self.unsent || self.starved) && packet.is_up();
        if wants_room != self.watches_room.get() {
            let flags = interest(wants_room);
            let modified =
                epoll::modify(&self.both, &self.xsk.socket, EventData::new_u64(0), flags);
            if modified.is_ok() {
                self.watches_room.set(wants_room);
            }
        }
        let interest = if wants_room {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        (self.both.as_fd(), interest)
    }

    /// Has frames for these addresses redirected. One that cannot be entered is heard by the packet socket.
    pub(super) fn set_addresses(&mut self, macs: &[NicAddr]) {
        let wanted: BTreeSet<[u8; 6]> = macs
            .iter()
            .filter(|mac| !mac.is_multicast())
            .map(|mac| mac.octets())
            .collect();
        let map = self.addresses.as_fd();
        for stale in self.redirects.difference(&wanted) {
            // That it is not there is all that could go wrong.
            let _ = bpf::remove_key(map, program::key(*stale));
        }
        self.redirects.retain(|mac| wanted.contains(mac));
        for mac in wanted {
            if !self.redirects.contains(&mac) && bpf::insert_key(map, program::key(mac)).is_ok() {
                self.redirects.insert(mac);
            }
        }
    }
}

/// What an AF_XDP socket is to be watched for.
fn interest(room: bool) -> EventFlags {
    if room {
        EventFlags::IN | EventFlags::OUT
    } else {
        EventFlags::IN
    }
}
