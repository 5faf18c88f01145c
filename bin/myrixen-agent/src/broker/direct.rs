//! Direct channels: between two programs of this domain joined here, to other domains by way of the back end.

use std::time::Instant;

use myrixen_platform::message::{
    ChannelId, FailReason, Failure, Notice, PortAddress, Reply, Request,
};
use myrixen_platform::{DirectEnds, Handover};
use myrixen_ring::Layout;

use super::pending::{Asker, Pending};
use super::requests::{Answer, done, fail, setup_failure};
use super::{Broker, Program, ProgramId, Seat};

impl Broker {
    pub(super) fn open_direct(
        &mut self,
        now: Instant,
        asker: Asker,
        (endpoint, to): (u8, PortAddress),
        rings: [u32; 2],
    ) -> Answer {
        let (_, seat) = self.place_of(asker)?;
        check_room(seat, endpoint)?;
        if seat.directs.contains_key(&(endpoint, to)) {
            let text = format_args!("the channel to {to} exists or is on its way");
            return fail(FailReason::InUse, text);
        }
        let layout = self.layout(asker, rings)?;
        let ours = self.ours(asker, endpoint)?;
        if to.mac == ours.mac {
            return self.join(now, asker, ours, to, layout);
        }
        let pending = Pending::Grantee {
            asker,
            endpoint,
            to,
            layout,
        };
        let answer = self.pass_on(asker, &Request::AskGrantee { to }, pending)?;
        if let Some(seat) = self.seat_mut(asker.0) {
            seat.directs.insert((endpoint, to), None);
        }
        Ok(answer)
    }

    /// The address of an endpoint of the program.
    fn ours(&self, asker: Asker, endpoint: u8) -> Result<PortAddress, Failure> {
        let (place, _) = self.place_of(asker)?;
        let mac = self.connected(place)?.welcome.mac;
        Ok(PortAddress { mac, endpoint })
    }

    /// Joins two programs of this domain, as a host does.
    fn join(
        &mut self,
        now: Instant,
        asker: Asker,
        ours: PortAddress,
        to: PortAddress,
        layout: Layout,
    ) -> Answer {
        let (id, serial) = asker;
        let (place, _) = self.place_of(asker)?;
        let none = || {
            Failure::new(
                FailReason::NotFound,
                format_args!("no endpoint {to} is open"),
            )
        };
        let other = self.owner(place, to.endpoint).ok_or_else(none)?;
        if other == id {
            return fail(
                FailReason::NoDirectPath,
                "both endpoints are the program's own",
            );
        }
        check_room(self.seat(other).ok_or_else(none)?, to.endpoint)?;
        let channel = self.last_channel.next();
        self.last_channel = channel;
        // Out of the map for a moment, so that both can be reached.
        let mut front = self.programs.remove(&id).ok_or_else(none)?;
        let made = match self.programs.get_mut(&other) {
            None => Err(none()),
            Some(back) => match front.link.make_direct(serial, back.link.as_mut(), layout) {
                Ok(ends) => Ok(introduce(&mut front, back, (ours, to), (ends, channel))),
                Err(error) => Err(setup_failure(error)),
            },
        };
        self.programs.insert(id, front);
        let (reply, front, offered, back) = made?;
        self.notify(now, other, &offered, back);
        Ok(Some((reply, front)))
    }

    pub(super) fn close_direct(
        &mut self,
        now: Instant,
        asker: Asker,
        (endpoint, to): (u8, PortAddress),
        channel: ChannelId,
    ) -> Answer {
        let ours = self.ours(asker, endpoint)?;
        let had = self
            .seat_mut(asker.0)
            .and_then(|seat| seat.take(endpoint, to, channel));
        let Some(channel) = had else {
            return fail(FailReason::NotFound, format_args!("no channel to {to}"));
        };
        if to.mac != ours.mac {
            let request = Request::CloseDirect {
                endpoint,
                to,
                channel,
            };
            return self.pass_on(asker, &request, Pending::Forward(asker));
        }
        let (place, _) = self.place_of(asker)?;
        if let Some(other) = self.owner(place, to.endpoint)
            && let Some(channel) = self
                .seat_mut(other)
                .and_then(|seat| seat.take(to.endpoint, ours, channel))
        {
            let gone = Notice::DirectGone {
                endpoint: to.endpoint,
                peer: ours,
                channel,
            };
            self.notify(now, other, &gone, Handover::none());
        }
        done()
    }

    /// An endpoint was closed, with its channels. Partners learn it from its frames that come back, in step with them; a notice might
    /// overtake the endpoint's next opening.
    pub(super) fn endpoint_closed(&mut self, id: ProgramId, endpoint: u8) {
        let Some(seat) = self.seat_mut(id) else {
            return;
        };
        let place = seat.board;
        let partners = seat.close(endpoint);
        let Some(board) = self.boards.get_mut(place) else {
            return;
        };
        if board.owners.get(&endpoint) == Some(&id) {
            board.owners.remove(&endpoint);
            board.kept.remove(endpoint);
        }
        if let Some(mac) = board.connected.as_ref().map(|c| c.welcome.mac) {
            self.forget_ends(place, PortAddress { mac, endpoint }, &partners);
        }
    }

    /// What a program that has gone had.
    pub(super) fn vacate(&mut self, now: Instant, id: ProgramId, mut seat: Seat) {
        let place = seat.board;
        let Some(board) = self.boards.get_mut(place) else {
            return;
        };
        let mac = board.connected.as_ref().map(|c| c.welcome.mac);
        let mut gone = Vec::new();
        for &endpoint in &seat.ports {
            if board.owners.get(&endpoint) != Some(&id) {
                continue;
            }
            board.owners.remove(&endpoint);
            board.kept.remove(endpoint);
            gone.extend(mac.map(|mac| PortAddress { mac, endpoint }));
        }
        for at in gone {
            self.tell(
                place,
                &Request::ClosePort {
                    endpoint: at.endpoint,
                },
            );
            let partners = seat.close(at.endpoint);
            self.forget_ends(place, at, &partners);
            self.notify_all(now, place, &Notice::EndpointGone(at));
        }
    }

    /// The other ends, in this domain, of channels of an endpoint that is no more.
    fn forget_ends(&mut self, place: usize, ours: PortAddress, partners: &[PortAddress]) {
        for to in partners.iter().filter(|to| to.mac == ours.mac) {
            if let Some(seat) = self
                .owner(place, to.endpoint)
                .and_then(|id| self.seat_mut(id))
            {
                seat.forget(to.endpoint, ours);
            }
        }
    }
}

/// Whether a program may have one more channel, at this endpoint.
pub(super) fn check_room(seat: &Seat, endpoint: u8) -> Result<(), Failure> {
    if !seat.has_or_opens(endpoint) {
        return fail(
            FailReason::NotFound,
            format_args!("endpoint {endpoint} is not open"),
        );
    }
    let most = seat.limits.directs;
    if seat.directs.len() >= usize::from(most) {
        let text = format!(
            "{most} direct channels, the policy's `directs` (here or at the back end) allows no more"
        );
        return fail(FailReason::Limit, text);
    }
    Ok(())
}

/// Tells the two ends of a channel of each other.
fn introduce(
    front: &mut Program,
    back: &mut Program,
    (ours, to): (PortAddress, PortAddress),
    (ends, channel): (DirectEnds, ChannelId),
) -> (Reply, Handover, Notice, Handover) {
    let peer = back.link.as_peer(to, ends.terms, channel);
    let offered = Notice::DirectOffered {
        endpoint: to.endpoint,
        peer: front.link.as_peer(ours, ends.terms, channel),
        lent: None,
    };
    if let Some(seat) = front.seat_mut() {
        seat.directs.insert((ours.endpoint, to), Some(channel));
    }
    if let Some(seat) = back.seat_mut() {
        seat.directs.insert((to.endpoint, ours), Some(channel));
    }
    (Reply::Direct(peer), ends.front, offered, ends.back)
}
