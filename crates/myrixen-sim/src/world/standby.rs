//! Receives that are not posted: a program that waits with a short buffer for the next message looks at the frame first.

use mxoe::engine::{Filter, Placement, Space, Target};
use mxoe::frame::HEAD_BYTES;

use super::World;
use super::wires::Flight;
use crate::node::{Request, Standby};
use crate::violation::Violation;

/// The longest buffer with which a program waits so.
const SHORT: u32 = 128;

impl World<'_> {
    /// Has a program wait in a receive without posting it, as every other one does that may; false where it is to be posted.
    pub(super) fn stand_by(&mut self, index: usize, standby: Standby, request: Request) -> bool {
        let Some(node) = &mut self.nodes[index] else {
            return false;
        };
        let Standby { post, receive } = standby;
        let suits = receive.len <= SHORT
            && receive.source.is_none()
            && receive.space != Space::Service
            && post.0.is_multiple_of(2);
        if !(suits && node.endpoint.has_none(receive.space)) {
            return false;
        }
        node.requests.insert(receive.token, request);
        node.standby = Some(standby);
        true
    }

    /// Whatever comes next, a receive that a program waits in comes before it.
    pub(super) fn post_standby(&mut self, index: usize) -> Result<(), Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let Some(Standby { receive, .. }) = node.standby.take() else {
            return Ok(());
        };
        let posted = node.endpoint.receive(|| self.now, receive);
        let posted = posted.map_err(Violation::refused(index))?;
        if let Some(request) = node.requests.get_mut(&receive.token) {
            request.id = Some(posted);
        }
        Ok(())
    }

    /// A frame has arrived, without an offer: completes the receive that a program waits in, if it is what that is for.
    pub(super) fn take_unposted(
        &mut self,
        index: usize,
        path: mxoe::engine::PathId,
        flight: &Flight,
    ) -> Result<bool, Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(false);
        };
        let Some(Standby { receive, .. }) = node.standby else {
            return Ok(false);
        };
        let len = flight.bytes.len();
        let head = &flight.bytes[..len.min(HEAD_BYTES)];
        let wanted = Filter {
            space: receive.space,
            match_info: receive.match_info,
            mask: receive.mask,
            source: None,
        };
        let frame = (head, len);
        let wanted = (&wanted, receive.len);
        let brought = node
            .endpoint
            .take_unposted(self.now, path, flight.from, frame, wanted);
        let Some(brought) = brought else {
            return Ok(false);
        };
        node.standby = None;
        if brought.length > 0 {
            let placement = Placement {
                payload: brought.payload(),
                target: Target::Region {
                    region: receive.region,
                    offset: 0,
                },
            };
            node.memory.place(&flight.bytes, &placement)?;
        }
        let (status, length) = (brought.status, brought.length);
        self.received(
            index,
            (receive.token, None),
            &brought.envelope,
            (status, length),
        )?;
        Ok(true)
    }
}
