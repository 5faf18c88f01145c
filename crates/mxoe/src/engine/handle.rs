//! Where frames come in.

use super::Endpoint;
use super::arrive::{Piece, Via};
use super::counters::Ignored;
use super::event::{Arrival, Placement};
use crate::addr::Address;
use crate::frame::{self, Frame, Parsed, WireError};
use crate::time::Time;

impl Endpoint {
    /// A frame has arrived. Its payload goes where the placement says, before the engine is called again; `None` when it has
    /// none, or none of use. Frames of no use are counted, see [`Counters`](super::Counters).
    ///
    /// # Errors
    /// A [`WireError`] for a frame that cannot be read. It is counted already; there is nothing to be done about it.
    pub fn handle_frame(
        &mut self,
        now: Time,
        arrival: Arrival<'_>,
    ) -> Result<Option<Placement>, WireError> {
        self.date(now);
        self.counters.frames_in = self.counters.frames_in.wrapping_add(1);
        let via = Via {
            path: arrival.path,
            from: arrival.from,
            offer: arrival.offer,
        };
        let Some(path) = self.path(via.path) else {
            self.drop_frame(via, Ignored::WrongPath);
            return Ok(None);
        };
        let (dialect, owner) = (path.dialect, path.peer);
        if !self.open {
            self.drop_frame(via, Ignored::Closed);
            return Ok(None);
        }
        let parsed = frame::parse(dialect, arrival.head, arrival.len);
        // By reference: moving so much out of the result would cost as much as parsing.
        let parsed = match &parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                self.counters.wire_error(error);
                self.free_offer(via.offer);
                return Err(*error);
            }
        };
        if let Some(owner) = owner
            && !is_from(&parsed.frame, via, owner)
        {
            self.drop_frame(via, Ignored::WrongPath);
            return Ok(None);
        }
        Ok(self.dispatch(now, via, dialect, parsed, &arrival))
    }

    fn drop_frame(&mut self, via: Via, reason: Ignored) {
        self.counters.ignore(reason);
        self.free_offer(via.offer);
    }

    fn dispatch(
        &mut self,
        now: Time,
        via: Via,
        dialect: frame::Dialect,
        parsed: &Parsed,
        arrival: &Arrival<'_>,
    ) -> Option<Placement> {
        let payload = parsed.payload.clone();
        if let Frame::Rndv(rndv) = &parsed.frame {
            self.on_rndv(now, via, rndv);
            return None;
        }
        // Only a RNDV announces anything.
        self.free_offer(via.offer);
        match &parsed.frame {
            Frame::Tiny(tiny) => {
                let piece = Piece::whole(tiny.length.into(), payload);
                return self.on_eager(now, via, &tiny.head, piece, arrival);
            }
            Frame::Small(small) => {
                let piece = Piece::whole(small.length.into(), payload);
                return self.on_eager(now, via, &small.head, piece, arrival);
            }
            Frame::Medium(medium) => {
                let piece = Piece {
                    length: medium.length,
                    number: medium.fragment,
                    // At most 32, or the frame would not have parsed.
                    total: u8::try_from(medium.fragments(dialect)).unwrap_or(u8::MAX),
                    offset: medium.range(dialect).start,
                    payload,
                };
                return self.on_eager(now, via, &medium.head, piece, arrival);
            }
            Frame::PullReply(reply) => return self.on_pull_reply(now, via, reply, payload),
            Frame::Pull(pull) => self.on_pull(now, via, pull),
            Frame::Notify(notify) => self.on_notify(now, via, notify),
            Frame::Truc(liback) => self.on_liback(now, via.path, via.from, liback),
            Frame::Connect(connect) => self.on_connect(now, via.path, via.from, connect),
            Frame::NackLib(nack) => self.on_nack_lib(now, via.path, via.from, nack),
            Frame::NackMcp(nack) => self.on_nack_mcp(now, via.from, nack),
            Frame::Rndv(_) | Frame::Raw | Frame::HostQuery(_) | Frame::HostReply(_) => {
                self.counters.ignore(Ignored::ForeignKind);
            }
        }
        None
    }
}

/// Whether a frame is from the endpoint whose path it came by. Those that name no sender are told by their handle.
fn is_from(frame: &Frame, via: Via, owner: Address) -> bool {
    let endpoint = match frame {
        Frame::Tiny(tiny) => tiny.head.from,
        Frame::Small(small) => small.head.from,
        Frame::Medium(medium) => medium.head.from,
        Frame::Rndv(rndv) => rndv.head.from,
        Frame::Pull(pull) => pull.from,
        Frame::Notify(notify) => notify.from,
        Frame::Truc(liback) => liback.from,
        Frame::Connect(connect) => connect.from,
        Frame::NackLib(nack) => nack.from,
        Frame::PullReply(_)
        | Frame::NackMcp(_)
        | Frame::Raw
        | Frame::HostQuery(_)
        | Frame::HostReply(_) => owner.endpoint,
    };
    via.from == owner.nic && endpoint == owner.endpoint
}
