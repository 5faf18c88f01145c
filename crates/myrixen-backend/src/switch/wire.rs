//! Frames that arrive on an uplink.

use mxoe::frame::{HEAD_BYTES, Route, route};
use mxoe::time::Time;
use myrixen_control::DropReason;
use myrixen_link::{Body, Incoming};

use super::forward::{Passing, Step};
use super::table::{Cached, Destination, Stranger};
use super::{MAX_REPLIES, Report, Switch, Uplink, VISIT};
use crate::discovery::wire::{MAX_FRAME, is_discovery};
use crate::ids::{PartitionId, UplinkId};

impl Switch {
    /// Takes frames from an uplink; gives how many there were.
    pub(crate) fn receive(&mut self, now: Time, uplink: &mut Uplink) -> usize {
        let id = uplink.id;
        let result = uplink.link.receive(VISIT, &mut |frame| {
            uplink.meter.received_frames.add(1);
            uplink.meter.received_bytes.add(frame.len as u64);
            let Some(partition) = uplink.tags.partition(frame.tag) else {
                return uplink.meter.drops.count(DropReason::UnknownPartition);
            };
            let arrived = self.arrive(id, partition, &mut uplink.between, &frame);
            if let Err(reason) = arrived {
                uplink.meter.drops.count(reason);
            }
        });
        for (tag, nack) in self.replies.drain(..) {
            if uplink.send(tag, &nack, Body::Empty) == Step::Moved {
                uplink.meter.nacks.add(1);
            }
        }
        if let Err(error) = &result {
            uplink.complain(error);
        }
        if let Some(problem) = uplink.problem(now) {
            let _ = self.reports.send(Report::Uplink {
                uplink: id,
                problem,
            });
        }
        result.unwrap_or(0)
    }

    fn arrive(
        &mut self,
        uplink: UplinkId,
        partition: PartitionId,
        between: &mut (Stranger, Cached),
        frame: &Incoming<'_>,
    ) -> Result<(), DropReason> {
        let (stranger, recipient) = between;
        // In private memory it stays where it is. Elsewhere somebody might change it.
        let mut copy = [0; HEAD_BYTES];
        let (head, rest) = match frame.bytes {
            Body::Bytes(bytes) => (bytes, Body::Empty),
            other => {
                let copy = &mut copy[..frame.len.min(HEAD_BYTES)];
                other.read(0, copy);
                (&*copy, skip(other, copy.len()))
            }
        };
        let route = route(head).map_err(|_| DropReason::Malformed)?;
        // Nobody out there has an address of ours, whatever the partition: a frame that comes back on a
        // second uplink would otherwise cross from one partition to another.
        if self.table.is_local(stranger, route.source) {
            // But that it has moved to another host, where its guest was away.
            let may_have_moved =
                is_discovery(route.kind) && self.table.is_held(partition, route.source);
            if !may_have_moved {
                return Err(DropReason::Reflected);
            }
        }
        let destination = self
            .table
            .find_cached(recipient, partition, route.destination);
        if is_discovery(route.kind) {
            if destination == Destination::Away && !route.destination.is_multicast() {
                return Err(DropReason::NotHere);
            }
            return self.heard(uplink, partition, frame);
        }
        if route.destination.is_multicast() {
            return Err(DropReason::BadDestination);
        }
        let Destination::Local(board) = destination else {
            return Err(DropReason::NotHere);
        };
        let passing = Passing { head, rest };
        self.arrive_at(partition, board, &route, passing, frame)
    }

    fn arrive_at(
        &mut self,
        partition: PartitionId,
        board: usize,
        route: &Route,
        passing: Passing<'_>,
        frame: &Incoming<'_>,
    ) -> Result<(), DropReason> {
        match self.forward_to_board(partition, board, route, passing) {
            Step::Moved => Ok(()),
            Step::Dropped(reason) => Err(reason),
            Step::Blocked => Err(DropReason::WorkerRingFull),
            Step::Closed => {
                if self.replies.len() < MAX_REPLIES {
                    let nack = self.nack(partition, passing.head, frame.len);
                    self.replies.extend(nack.map(|nack| (frame.tag, nack)));
                }
                Err(DropReason::EndpointClosed)
            }
        }
    }

    /// Hands a discovery frame to the control side. These are rare, so they may allocate.
    fn heard(
        &mut self,
        uplink: UplinkId,
        partition: PartitionId,
        frame: &Incoming<'_>,
    ) -> Result<(), DropReason> {
        if frame.len > MAX_FRAME {
            return Err(DropReason::TooLong);
        }
        let mut bytes = vec![0; frame.len];
        frame.bytes.read(0, &mut bytes);
        let report = Report::Heard {
            partition,
            uplink,
            frame: bytes,
        };
        self.reports
            .send(report)
            .map_err(|_| DropReason::DiscoveryBusy)
    }
}

/// A frame's bytes from `at` on.
fn skip(body: Body<'_>, at: usize) -> Body<'_> {
    match body {
        Body::Empty => Body::Empty,
        Body::Bytes(bytes) => Body::Bytes(bytes.get(at..).unwrap_or_default()),
        Body::Pages { len, .. } if len <= at => Body::Empty,
        Body::Pages { pages, offset, len } => Body::Pages {
            pages,
            offset: offset + at,
            len: len - at,
        },
    }
}
