//! Frames between workers: a queue pair in private memory for each two of them.
//!
//! A record is a frame after eight bytes that say in which partition it travels; its source has been written
//! and checked by the worker that sends it.

use std::io;

use mxoe::frame::{HEAD_BYTES, route};
use myrixen_control::DropReason;
use myrixen_link::Body;
use myrixen_platform::bell::bell;
use myrixen_platform::{Ringer, Waiter};
use myrixen_ring::{Capacity, Kind, Layout, QueuePair, Record, Side, Support, Terms};
use myrixen_shm::Pages;

use super::forward::{Passing, Step};
use super::table::Destination;
use super::{Switch, Uplinks, VISIT};
use crate::ids::{PartitionId, WorkerId};

/// Bytes before the frame: the partition, and zeros that keep the frame aligned.
const PREFIX: usize = 8;

/// Bytes of a ring between two workers: several thousand small frames, a hundred jumbo ones.
const CAPACITY: u32 = 1 << 21;

/// One worker's end of the way to another.
#[derive(Debug)]
pub(crate) struct MeshEnd {
    pair: QueuePair,
    ringer: Ringer,
    pub(crate) waiter: Waiter,
    touched: bool,
    asleep: bool,
}

/// The ends for `workers` workers: row by row, `None` for a worker's way to itself.
///
/// # Errors
/// No memory or no descriptors.
pub(crate) fn mesh(workers: usize) -> io::Result<Vec<Vec<Option<MeshEnd>>>> {
    let mut rows: Vec<Vec<Option<MeshEnd>>> = Vec::new();
    for high in 0..workers {
        // Each row is as long as there are workers; what the lower ones need is made with the higher.
        let mut row: Vec<Option<MeshEnd>> = Vec::new();
        for lower in &mut rows {
            let (front, back) = way()?;
            lower.push(Some(front));
            row.push(Some(back));
        }
        debug_assert_eq!(row.len(), high, "one way to each lower worker");
        row.push(None);
        rows.push(row);
    }
    Ok(rows)
}

/// The two ends of one way.
fn way() -> io::Result<(MeshEnd, MeshEnd)> {
    let capacity = Capacity::new(CAPACITY).map_err(io::Error::other)?;
    let terms = Terms {
        layout: Layout::new(capacity, capacity),
        support: Support::OURS,
    };
    let pages = Pages::private(terms.layout.total())?;
    let front = QueuePair::create(pages.clone(), &terms, Side::Front).map_err(io::Error::other)?;
    let back = QueuePair::join(pages, &terms, Side::Back).map_err(io::Error::other)?;
    let (to_back, at_back) = bell()?;
    let (to_front, at_front) = bell()?;
    Ok((
        MeshEnd::new(front, to_back, at_front),
        MeshEnd::new(back, to_front, at_back),
    ))
}

impl MeshEnd {
    fn new(pair: QueuePair, ringer: Ringer, waiter: Waiter) -> Self {
        Self {
            pair,
            ringer,
            waiter,
            touched: false,
            asleep: false,
        }
    }

    /// Rings the other worker if it sleeps and was given something; says whether it did.
    pub(super) fn ring_if_asleep(&mut self) -> bool {
        let due = std::mem::take(&mut self.touched) && self.pair.producer.needs_bell();
        if due {
            self.ringer.ring();
        }
        due
    }

    /// True when nothing waits and the other worker will ring.
    pub(super) fn prepare_sleep(&mut self) -> bool {
        if !self.asleep {
            // The other worker never waits for room: it drops.
            self.asleep = self.pair.consumer.prepare_sleep().may_sleep;
        }
        self.asleep
    }

    /// Queues a frame; false when there is no room.
    fn push(&mut self, partition: PartitionId, frame: Passing<'_>) -> bool {
        // The ring is private, so a fault is a mistake of ours, and dropping is all there is to do.
        let Ok(Some(mut slot)) = self.pair.producer.reserve(PREFIX + frame.len(), 0) else {
            return false;
        };
        let mut prefix = [0; PREFIX];
        prefix[..2].copy_from_slice(&partition.get().to_le_bytes());
        slot.write(0, &prefix);
        slot.write(PREFIX, frame.head);
        let at = PREFIX + frame.head.len();
        match frame.rest {
            Body::Empty => {}
            Body::Bytes(bytes) => slot.write(at, bytes),
            Body::Pages { pages, offset, len } => slot.copy_from(at, pages, offset, len),
        }
        slot.publish(Kind::Frame);
        self.touched = true;
        true
    }

    /// The oldest frame waiting.
    fn peek(&mut self) -> Option<Record> {
        let record = self.pair.consumer.peek().ok().flatten();
        if record.is_some() {
            self.wake_up();
        }
        record
    }

    /// Its bell is ready: the other worker will not ring a second time for this sleep, whatever it rang for.
    pub(super) fn rung(&mut self) {
        self.waiter.drain();
        self.wake_up();
    }

    fn wake_up(&mut self) {
        if self.asleep {
            self.pair.consumer.end_sleep();
            self.asleep = false;
        }
    }

    fn advance(&mut self, record: Record) {
        self.pair.consumer.advance(record);
        self.release();
    }

    fn release(&mut self) {
        if self.pair.consumer.release() {
            self.ringer.ring();
        }
    }
}

impl Switch {
    /// To a port or an uplink of another worker.
    pub(super) fn forward_to_worker(
        &mut self,
        partition: PartitionId,
        worker: WorkerId,
        frame: Passing<'_>,
    ) -> Step {
        let end = self
            .mesh
            .get_mut(usize::from(worker.get()))
            .and_then(Option::as_mut);
        if end.is_some_and(|end| end.push(partition, frame)) {
            Step::Moved
        } else {
            Step::Dropped(DropReason::WorkerRingFull)
        }
    }

    /// Takes the frames that other workers have for ours; gives how many there were.
    #[inline]
    pub(crate) fn take_from_workers(&mut self, uplinks: &mut Uplinks) -> usize {
        match self.mesh.len() {
            // There is no way but to itself.
            0 | 1 => 0,
            _ => self.take_from_others(uplinks),
        }
    }

    fn take_from_others(&mut self, uplinks: &mut Uplinks) -> usize {
        let mut frames = 0;
        for peer in 0..self.mesh.len() {
            for _ in 0..VISIT {
                let record = self.mesh[peer].as_mut().and_then(MeshEnd::peek);
                let Some(record) = record else { break };
                match self.take_from_worker(peer, &record, uplinks) {
                    Step::Blocked => break,
                    Step::Dropped(reason) => self.meter.drops.count(reason),
                    Step::Closed => self.meter.drops.count(DropReason::EndpointClosed),
                    Step::Moved => {}
                }
                frames += 1;
                if let Some(end) = self.mesh[peer].as_mut() {
                    end.advance(record);
                }
            }
            if let Some(end) = self.mesh[peer].as_mut() {
                end.release();
            }
        }
        frames
    }

    fn take_from_worker(&mut self, peer: usize, record: &Record, uplinks: &mut Uplinks) -> Step {
        let Some(end) = self.mesh[peer].as_ref() else {
            return Step::Moved;
        };
        let consumer = &end.pair.consumer;
        let mut first = [0; PREFIX + HEAD_BYTES];
        let first = &mut first[..record.len().min(PREFIX + HEAD_BYTES)];
        consumer.read(record, 0, first);
        let Some((&[low, high, ..], head)) = first.split_first_chunk::<PREFIX>() else {
            return Step::Dropped(DropReason::Malformed);
        };
        let partition = PartitionId::new(u16::from_le_bytes([low, high]));
        let Ok(route) = route(head) else {
            return Step::Dropped(DropReason::Malformed);
        };
        let pages;
        let rest = match record.len() - first.len() {
            0 => Body::Empty,
            len => {
                let offset = consumer.place(record, first.len(), len);
                pages = consumer.memory().clone();
                Body::Pages {
                    pages: &pages,
                    offset,
                    len,
                }
            }
        };
        let frame = Passing { head, rest };
        let step = match self.table.find(partition, route.destination) {
            Destination::Local(board) => self.forward_to_board(partition, board, &route, frame),
            Destination::Away => self.forward_to_wire(partition, frame, uplinks),
        };
        if step == Step::Closed {
            self.nack_sender(partition, head, record.len() - PREFIX, uplinks);
        }
        step
    }

    /// Sends a nack back to where a frame from another worker came from: a port of that worker, or the wire.
    fn nack_sender(
        &mut self,
        partition: PartitionId,
        head: &[u8],
        len: usize,
        uplinks: &mut Uplinks,
    ) {
        let Some(nack) = self.nack(partition, head, len) else {
            return;
        };
        let Ok(route) = route(&nack) else { return };
        let frame = Passing {
            head: &nack,
            rest: Body::Empty,
        };
        let _ = match self.table.find(partition, route.destination) {
            Destination::Local(board) => self.forward_to_board(partition, board, &route, frame),
            Destination::Away => self.forward_to_wire(partition, frame, uplinks),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_bell_does_not_cost_the_next_one() {
        let (mut front, mut back) = way().unwrap();
        let frame = || Passing {
            head: b"frame",
            rest: Body::Empty,
        };
        assert!(front.push(PartitionId::new(0), frame()));
        let record = back.peek().unwrap();
        back.advance(record);
        assert!(back.prepare_sleep());
        assert!(front.ring_if_asleep(), "late: the frame has been taken");
        back.rung();
        assert!(back.peek().is_none() && back.prepare_sleep());
        assert!(front.push(PartitionId::new(0), frame()) && front.ring_if_asleep());
    }
}
