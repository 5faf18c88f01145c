//! Channels that are older than the agent: nothing is handed over, but their ends are told of each other's death again.

use std::time::{Duration, Instant};

use myrixen_platform::Handover;
use myrixen_platform::message::{ChannelId, Notice, PortAddress, Request};

use super::Broker;
use super::direct::check_room;
use super::pending::{Asker, Pending};
use super::requests::{Answer, done};

/// How long the other end of an adopted channel has to come back. Programs look for the agent at least every half second.
const RETURN: Duration = Duration::from_secs(5);

impl Broker {
    pub(super) fn adopt_direct(
        &mut self,
        now: Instant,
        asker: Asker,
        (endpoint, to): (u8, PortAddress),
        channel: ChannelId,
    ) -> Answer {
        let (place, seat) = self.place_of(asker)?;
        if seat.directs.contains_key(&(endpoint, to)) {
            return done();
        }
        check_room(seat, endpoint)?;
        let local = self.connected(place)?.welcome.mac == to.mac;
        let answer = if local {
            done()
        } else {
            let pending = Pending::AdoptDirect {
                asker,
                endpoint,
                to,
            };
            let request = Request::AdoptDirect {
                endpoint,
                to,
                channel,
            };
            self.pass_on(asker, &request, pending)
        }?;
        let waits = local && self.owner(place, to.endpoint).is_none();
        if let Some(seat) = self.seat_mut(asker.0) {
            seat.directs.insert((endpoint, to), Some(channel));
            if waits {
                seat.awaited.insert((endpoint, to), now + RETURN);
            }
        }
        Ok(answer)
    }

    /// An endpoint has an owner: whoever waited for it to come back need not any more.
    pub(super) fn endpoint_came(&mut self, place: usize, at: PortAddress) {
        for id in self.seated(place) {
            if let Some(seat) = self.seat_mut(id) {
                seat.awaited.retain(|(_, to), _| *to != at);
            }
        }
    }

    /// The other ends of adopted channels that have not come back in time are gone.
    pub(super) fn give_up_adopted(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (id, program) in &mut self.programs {
            let Some(seat) = program.seat_mut() else {
                continue;
            };
            let late = seat.awaited.iter().filter(|(_, until)| **until <= now);
            for (endpoint, to) in late.map(|(key, _)| *key).collect::<Vec<_>>() {
                seat.forget(endpoint, to);
                gone.push((*id, to));
            }
        }
        for (id, to) in gone {
            self.notify(now, id, &Notice::EndpointGone(to), Handover::none());
        }
    }
}
