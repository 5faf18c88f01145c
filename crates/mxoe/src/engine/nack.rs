//! Rejections of what we have sent (specification, section 8).

use super::Endpoint;
use super::counters::Ignored;
use super::event::Status;
use super::ids::PathId;
use crate::addr::{Address, NicAddr};
use crate::frame::{NackKind, NackLib};
use crate::matching::arena::Key;
use crate::time::Time;

impl Endpoint {
    /// A message or a connect request was rejected.
    ///
    /// A message that will never be received leaves a hole that no later one can pass, so the connection is lost with it.
    pub(super) fn on_nack_lib(&mut self, now: Time, path: PathId, from: NicAddr, nack: &NackLib) {
        if nack.to != self.config.address.endpoint {
            return self.counters.ignore(Ignored::OtherEndpoint);
        }
        let Some(key) = self.partner_at(path, Address::new(from, nack.from)) else {
            return self.counters.ignore(Ignored::UnknownPartner);
        };
        let status = match nack.nack {
            NackKind::BadEndpoint => Status::BadEndpoint,
            NackKind::EndpointClosed => Status::EndpointClosed,
            NackKind::BadSession | NackKind::BadRdmaWindow => Status::BadSession,
        };
        if self.is_unacked(key, nack) {
            return self.lose(now, key, status);
        }
        // A CONNECT carries number 0, and no session that could be wrong.
        let about_connect = nack.seq.to_wire() == 0 && status != Status::BadSession;
        let probed = self.partners[key].probe.is_out();
        match self.partners[key].connects.first() {
            Some(connect) if about_connect => self.finish_connect(connect, Err(status)),
            None if about_connect && probed => self.lose(now, key, status),
            _ => self.counters.ignore(Ignored::Unasked),
        }
    }

    fn is_unacked(&self, key: Key, nack: &NackLib) -> bool {
        let sending = &self.partners[key].sending;
        let under_way = sending.next.distance_from(sending.acked);
        nack.seq.same_session(sending.next) && nack.seq.distance_from(sending.acked) < under_way
    }
}
