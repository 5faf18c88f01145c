//! Rejections of what we have sent (specification, section 8).

use super::Endpoint;
use super::counters::Ignored;
use super::event::Status;
use super::ids::PathId;
use super::transmit::Answer;
use crate::addr::{Address, NicAddr};
use crate::frame::{Frame, NackKind, NackLib};
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
            if path != self.partners[key].path && status != Status::BadSession {
                // It went out before the partner had its present path, and was rejected when it came a second time: what says that it was received may be
                // waiting there. Where it was not, it goes out again, and is not received either.
                return self.counters.ignore(Ignored::Unasked);
            }
            return self.lose(now, key, status);
        }
        // A CONNECT carries number 0, and no session that could be wrong.
        let about_connect = nack.seq.to_wire() == 0 && status != Status::BadSession;
        let probed = self.partners[key].probe.is_out();
        match self.partners[key].connects.first() {
            Some(connect) if about_connect => self.finish_connect(connect, Err(status)),
            None if about_connect && probed => self.lose(now, key, status),
            // Of messages that it has acknowledged: it closes, and will not ask for their data. News may be late, so it is asked.
            _ if status == Status::EndpointClosed && !probed && self.awaits(key) => {
                self.ask_partner(now, key);
                self.arm(key);
            }
            _ => self.counters.ignore(Ignored::Unasked),
        }
    }

    /// We close, and large messages of this partner are not complete. It has been told that they are here, and waits to be asked for their data; nothing
    /// would tell it otherwise for a while. The number is that of a message which is acknowledged, so that others take no notice.
    pub(super) fn tell_closed(&mut self, key: Key) {
        let partner = &self.partners[key];
        if partner.session().is_none() {
            return;
        }
        let eth = partner.eth(self.config.address.nic);
        let nack = NackLib {
            to: partner.address.endpoint,
            from: self.config.address.endpoint,
            nack: NackKind::EndpointClosed,
            seq: partner.receiving.told.retreat(1),
        };
        let answer = Answer {
            to: eth.destination,
            peer_index: eth.peer_index,
            frame: Frame::NackLib(nack),
        };
        self.answer(partner.path, answer);
    }

    fn is_unacked(&self, key: Key, nack: &NackLib) -> bool {
        let sending = &self.partners[key].sending;
        let under_way = sending.next.distance_from(sending.acked);
        nack.seq.same_session(sending.next) && nack.seq.distance_from(sending.acked) < under_way
    }
}
