//! One frame, from one of this worker's ports to where it goes.

use mxoe::addr::NicAddr;
use mxoe::frame::{Dialect, HEAD_BYTES, Head, NackKind, Route, nack_for, rewrite_source, route};
use myrixen_control::DropReason;
use myrixen_link::Body;
use myrixen_ring::{Kind, Record, ReserveError};
use myrixen_shm::Pages;

use super::table::{Destination, Place};
use super::{Switch, Uplinks};
use crate::discovery::wire::is_discovery;
use crate::ids::PartitionId;
use crate::mailbox::Flag;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is on its way.
    Moved,
    /// It is lost, and counted by the caller.
    Dropped(DropReason),
    /// Its endpoint is not open: the sender is to be told.
    Closed,
    /// It waits for room on an uplink and stays where it is.
    Blocked,
}

/// A frame that passes: its first bytes in private memory, checked, the rest where it came from.
#[derive(Clone, Copy)]
pub(super) struct Passing<'a> {
    pub(super) head: &'a [u8],
    pub(super) rest: Body<'a>,
}

impl Passing<'_> {
    pub(super) fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }
}

impl Switch {
    /// Moves the frame of a record from a port, whose ring is in these pages; they are needed where it is longer than a head.
    pub(super) fn forward(
        &mut self,
        key: usize,
        record: &Record,
        pages: Option<&Pages>,
        uplinks: &mut Uplinks,
    ) -> Step {
        let mut head = [0; HEAD_BYTES];
        let (head, route) = match self.admit(key, record, &mut head) {
            Ok(admitted) => admitted,
            Err(reason) => return self.drop_sent(key, reason),
        };
        let Some(port) = self.inbound.get_mut(key) else {
            return Step::Moved;
        };
        let partition = port.partition;
        let destination = self
            .table
            .find_cached(&mut port.cache, partition, route.destination);
        let rest = match (record.len() - head.len(), pages) {
            (1.., Some(pages)) => {
                let len = record.len() - head.len();
                let offset = port.consumer.place(record, head.len(), len);
                Body::Pages { pages, offset, len }
            }
            _ => Body::Empty,
        };
        let frame = Passing { head, rest };
        let step = match destination {
            Destination::Local(board) => self.forward_to_board(partition, board, &route, frame),
            Destination::Away => self.forward_to_wire(partition, frame, uplinks),
        };
        match step {
            Step::Dropped(reason) => self.drop_sent(key, reason),
            Step::Closed => {
                self.nack_port(key, partition, head, record.len());
                self.drop_sent(key, DropReason::EndpointClosed)
            }
            step => step,
        }
    }

    /// Copies a frame's head out of the ring, checks that the guest may send it, and writes where
    /// it comes from.
    fn admit<'h>(
        &self,
        key: usize,
        record: &Record,
        head: &'h mut [u8; HEAD_BYTES],
    ) -> Result<(&'h [u8], Route), DropReason> {
        let port = self.inbound.get(key).ok_or(DropReason::Malformed)?;
        if record.kind() != Kind::Frame {
            return Err(DropReason::Malformed);
        }
        if record.len() > self.max_frame(port.partition) {
            return Err(DropReason::TooLong);
        }
        let head = head
            .get_mut(..record.len().min(HEAD_BYTES))
            .ok_or(DropReason::Malformed)?;
        port.consumer.read(record, 0, head);
        let route = route(head).map_err(|_| DropReason::Malformed)?;
        if is_discovery(route.kind) {
            return Err(DropReason::NotForGuests);
        }
        if route.from.is_some_and(|from| from != port.address.endpoint) {
            return Err(DropReason::ForgedEndpoint);
        }
        if route.destination.is_multicast() || route.destination == NicAddr::ZERO {
            return Err(DropReason::BadDestination);
        }
        rewrite_source(head, port.address.nic);
        Ok((head, route))
    }

    fn drop_sent(&self, key: usize, reason: DropReason) -> Step {
        if let Some(port) = self.inbound.get(key) {
            port.meter.drops.count(reason);
        }
        Step::Dropped(reason)
    }

    /// To an endpoint of a board of this host.
    pub(super) fn forward_to_board(
        &mut self,
        partition: PartitionId,
        board: usize,
        route: &Route,
        frame: Passing<'_>,
    ) -> Step {
        // A pull magic that no endpoint of ours made.
        let Some(endpoint) = route.to else {
            return Step::Dropped(DropReason::Malformed);
        };
        match self.table.place(board, endpoint) {
            Place::Here(key) => self.deliver(key, frame),
            Place::At(worker) => self.forward_to_worker(partition, worker, frame),
            Place::Closed => Step::Closed,
            Place::Held => Step::Dropped(DropReason::BoardHeld),
        }
    }

    /// Into the ring of a port of this worker.
    pub(super) fn deliver(&mut self, key: usize, frame: Passing<'_>) -> Step {
        let Some(port) = self.outbound.get_mut(key).filter(|p| !p.dead) else {
            return Step::Dropped(DropReason::EndpointClosed);
        };
        let len = frame.len();
        match port.producer.reserve(len, 0) {
            Ok(Some(mut slot)) => {
                slot.write(0, frame.head);
                let at = frame.head.len();
                match frame.rest {
                    Body::Empty => {}
                    Body::Bytes(bytes) => slot.write(at, bytes),
                    Body::Pages { pages, offset, len } => slot.copy_from(at, pages, offset, len),
                }
                slot.publish(Kind::Frame);
            }
            Ok(None) => return Step::Dropped(DropReason::RingFull),
            Err(ReserveError::Peer(fault)) => {
                self.fault(key, &fault.to_string());
                return Step::Dropped(DropReason::EndpointClosed);
            }
            Err(_) => return Step::Dropped(DropReason::TooLong),
        }
        port.meter.received_frames.add(1);
        port.meter.received_bytes.add(len as u64);
        if !port.touched {
            port.touched = true;
            self.touched.push(key);
        }
        Step::Moved
    }

    /// To the network, if the partition has a way there.
    pub(super) fn forward_to_wire(
        &mut self,
        partition: PartitionId,
        frame: Passing<'_>,
        uplinks: &mut Uplinks,
    ) -> Step {
        let way = self
            .partitions
            .get(usize::from(partition.get()))
            .and_then(|p| p.way_out);
        let Some(way) = way else {
            return Step::Dropped(DropReason::NoRoute);
        };
        if way.worker != self.worker {
            return self.forward_to_worker(partition, way.worker, frame);
        }
        match uplinks
            .get_mut(usize::from(way.uplink.get()))
            .and_then(Option::as_mut)
        {
            Some(uplink) => uplink.send(way.tag, frame.head, frame.rest),
            None => Step::Dropped(DropReason::NoRoute),
        }
    }

    /// Tells a port of ours that what it addressed is not open (specification, section 8).
    fn nack_port(&mut self, key: usize, partition: PartitionId, head: &[u8], len: usize) {
        let Some(nack) = self.nack(partition, head, len) else {
            return;
        };
        let frame = Passing {
            head: &nack,
            rest: Body::Empty,
        };
        if self.deliver(key, frame) == Step::Moved
            && let Some(port) = self.outbound.get(key)
        {
            port.meter.nacks.add(1);
        }
    }

    /// The nack for a frame whose endpoint is not open; `None` for kinds that are not nacked, while guests are coming back, and
    /// while the endpoint may be about to open: a guest may have been told that it is open, and its partner may have
    /// heard of it, since the worker has looked at its commands. The frame is lost then, and comes again.
    pub(super) fn nack(&self, partition: PartitionId, head: &[u8], len: usize) -> Option<Head> {
        let about_to_open = self.commands.as_ref().is_some_and(Flag::is_up);
        if !self.nacking || about_to_open {
            return None;
        }
        let dialect = self.dialect(partition);
        let nack = nack_for(dialect, head, len, NackKind::EndpointClosed)?;
        let mut out = Head::new();
        nack.frame.emit(dialect, &nack.eth, &mut out);
        Some(out)
    }

    pub(super) fn dialect(&self, partition: PartitionId) -> Dialect {
        let partition = self.partitions.get(usize::from(partition.get()));
        partition.map_or(Dialect::DEFAULT, |p| p.dialect)
    }

    /// The longest frame of a partition, Ethernet head included.
    fn max_frame(&self, partition: PartitionId) -> usize {
        self.dialect(partition).max_frame() as usize
    }
}
