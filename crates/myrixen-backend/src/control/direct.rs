//! Direct channels: brokered once, then out of the back end's hands. What it keeps is who talks to whom, to tell
//! the one when the other goes.

use mxoe::addr::{Address, EndpointId};
use mxoe::time::Time;
use myrixen_platform::Handover;
use myrixen_platform::message::{Brought, ChannelId, FailReason, Lent, Notice, Reply, Serial};
use myrixen_ring::Layout;

use super::guest::{Guest, Seat};
use super::requests::{Answer, done, fail, setup_failure};
use super::{Control, RETURN, port_address};
use crate::ids::GuestId;

impl Control {
    /// A channel from an endpoint of one guest to that of another of the same partition.
    pub(super) fn open_direct(
        &mut self,
        (id, serial): (GuestId, Serial),
        endpoint: u8,
        to: Address,
        layout: Layout,
    ) -> Answer {
        let seat = self.seat(id)?;
        let ours = Address::new(seat.nic, EndpointId::new(endpoint));
        if !seat.ports.contains_key(&endpoint) {
            return fail(
                FailReason::NotFound,
                format_args!("endpoint {endpoint} is not open"),
            );
        }
        if seat.directs.contains_key(&(endpoint, to)) {
            return fail(
                FailReason::InUse,
                format_args!("the channel to {to} exists or is on its way"),
            );
        }
        let partition = seat.partition;
        // Another partition's board is as absent as one that does not exist.
        let other = self
            .owner(to)
            .filter(|o| self.seat(*o).is_ok_and(|s| s.partition == partition));
        let Some(other) = other else {
            return fail(
                FailReason::NotFound,
                format_args!("no endpoint {to} is open on this host"),
            );
        };
        if other == id {
            return fail(
                FailReason::NoDirectPath,
                "both endpoints are the guest's own",
            );
        }
        for guest in [id, other] {
            let seat = self.seat(guest)?;
            let most = seat.limits.directs;
            if seat.directs.len() >= usize::from(most) {
                let text = format!("{most} direct channels, the policy's `directs` allows no more");
                return fail(FailReason::Limit, text);
            }
        }
        self.broker((id, serial, ours), (other, to), layout)
    }

    /// Whom a guest is to grant the pages of a channel to this endpoint.
    pub(super) fn grantee(&self, id: GuestId, to: Address) -> Answer {
        let partition = self.seat(id)?.partition;
        let other = self.owner(to).and_then(|other| self.guests.get(&other));
        let there = |guest: &&Guest| {
            guest
                .seat
                .as_ref()
                .is_some_and(|s| s.partition == partition)
        };
        let Some(other) = other.filter(there) else {
            return fail(
                FailReason::NotFound,
                format_args!("no endpoint {to} is open on this host"),
            );
        };
        match other.link.grantee() {
            Some(domain) if other.id != id => Ok((Reply::Grantee { domain }, Handover::none())),
            _ => fail(
                FailReason::NoDirectPath,
                "nothing can be granted to the other end",
            ),
        }
    }

    fn broker(
        &mut self,
        (front_id, serial, ours): (GuestId, Serial, Address),
        (back_id, to): (GuestId, Address),
        layout: Layout,
    ) -> Answer {
        // Out of the map for a moment, so that both can be reached.
        let Some(mut front) = self.guests.remove(&front_id) else {
            return fail(FailReason::Invalid, "not attached");
        };
        let channel = self.last_channel.next();
        self.last_channel = channel;
        let made = match self.guests.get_mut(&back_id) {
            None => fail(FailReason::NotFound, "the other guest has gone"),
            Some(back) => match front.link.make_direct(serial, back.link.as_mut(), layout) {
                Err(error) => Err(setup_failure(error)),
                Ok(ends) => {
                    let peer = back.link.as_peer(port_address(to), ends.terms, channel);
                    let offered = Notice::DirectOffered {
                        endpoint: to.endpoint.get(),
                        peer: front.link.as_peer(port_address(ours), ends.terms, channel),
                        lent: None,
                    };
                    remember(front.seat.as_mut(), ours, to, channel);
                    remember(back.seat.as_mut(), to, ours, channel);
                    Ok((peer, offered, ends))
                }
            },
        };
        self.guests.insert(front_id, front);
        let (peer, offered, ends) = made?;
        self.notify(back_id, &offered, ends.back);
        Ok((Reply::Direct(peer), ends.front))
    }

    /// One end closes a channel: the other is told. A late request closes none that was made since.
    pub(super) fn close_direct(
        &mut self,
        id: GuestId,
        (endpoint, to): (u8, Address),
        channel: ChannelId,
    ) -> Answer {
        let Some(seat) = self.guests.get_mut(&id).and_then(|g| g.seat.as_mut()) else {
            return fail(FailReason::Invalid, "not attached");
        };
        let ours = Address::new(seat.nic, EndpointId::new(endpoint));
        let Some(channel) = take(seat, (endpoint, to), channel) else {
            return fail(FailReason::NotFound, format_args!("no channel to {to}"));
        };
        if let Some(other) = self.owner(to) {
            let other_seat = self.guests.get_mut(&other).and_then(|g| g.seat.as_mut());
            let had = other_seat.and_then(|seat| take(seat, (to.endpoint.get(), ours), channel));
            if let Some(channel) = had {
                let gone = Notice::DirectGone {
                    endpoint: to.endpoint.get(),
                    peer: port_address(ours),
                    channel,
                };
                self.notify(other, &gone, Handover::none());
            }
        }
        done()
    }

    /// A guest has granted memory to the other end of a channel, which is told where it lies.
    pub(super) fn lend_pool(
        &mut self,
        id: GuestId,
        (endpoint, to): (u8, Address),
        channel: ChannelId,
        bytes: u32,
        brought: Option<Brought>,
    ) -> Answer {
        let seat = self.seat(id)?;
        let ours = Address::new(seat.nic, EndpointId::new(endpoint));
        let held = seat.directs.get(&(endpoint, to));
        let Some(channel) = held.copied().filter(|held| held.may_be(channel)) else {
            return fail(FailReason::NotFound, format_args!("no channel to {to}"));
        };
        let grantee = |id: GuestId| self.guests.get(&id).and_then(|g| g.link.grantee());
        let other = self.owner(to).filter(|other| grantee(*other).is_some());
        let (Some(domain), Some(brought), Some(other)) = (grantee(id), brought, other) else {
            return fail(
                FailReason::NoDirectPath,
                "nothing is granted between these two guests",
            );
        };
        let notice = Notice::PoolLent {
            endpoint: to.endpoint.get(),
            peer: port_address(ours),
            channel,
            bytes,
            lent: Some(Lent { domain, brought }),
        };
        self.notify(other, &notice, Handover::none());
        done()
    }

    /// A channel that an earlier back end brokered: nothing is handed over, but its ends are told of each other's
    /// death again.
    pub(super) fn adopt_direct(
        &mut self,
        now: Time,
        id: GuestId,
        (endpoint, to): (u8, Address),
        channel: ChannelId,
    ) -> Answer {
        let waits = self.owner(to).is_none();
        let Some(seat) = self.guests.get_mut(&id).and_then(|g| g.seat.as_mut()) else {
            return fail(FailReason::Invalid, "not attached");
        };
        if !seat.ports.contains_key(&endpoint) {
            return fail(
                FailReason::NotFound,
                format_args!("endpoint {endpoint} is not open"),
            );
        }
        if seat.directs.len() >= usize::from(seat.limits.directs) {
            return fail(
                FailReason::Limit,
                "the policy's `directs` allows no more channels",
            );
        }
        seat.directs.insert((endpoint, to), channel);
        if waits {
            // It may be about to reattach as well.
            seat.adopted.insert((endpoint, to), now + RETURN);
        }
        done()
    }

    /// An endpoint was opened: whoever waited for it to come back need not any more.
    pub(super) fn endpoint_came(&mut self, at: Address) {
        for seat in self.guests.values_mut().filter_map(|g| g.seat.as_mut()) {
            seat.adopted.retain(|(_, to), _| *to != at);
        }
    }

    /// The other ends of adopted channels that have not come back in time are gone.
    pub(super) fn give_up_adopted(&mut self, now: Time) {
        let mut gone = Vec::new();
        for guest in self.guests.values_mut() {
            let Some(seat) = guest.seat.as_mut() else {
                continue;
            };
            seat.adopted.retain(|&(endpoint, to), until| {
                let late = *until <= now;
                if late {
                    gone.push((guest.id, endpoint, to));
                }
                !late
            });
        }
        for (id, endpoint, to) in gone {
            if let Some(seat) = self.guests.get_mut(&id).and_then(|g| g.seat.as_mut()) {
                seat.directs.remove(&(endpoint, to));
            }
            self.notify(
                id,
                &Notice::EndpointGone(port_address(to)),
                Handover::none(),
            );
        }
    }

    /// An endpoint was closed: its channels are no more.
    pub(super) fn forget_endpoint(&mut self, id: GuestId, endpoint: u8) {
        let Some(seat) = self.guests.get_mut(&id).and_then(|g| g.seat.as_mut()) else {
            return;
        };
        let ours = Address::new(seat.nic, EndpointId::new(endpoint));
        let theirs: Vec<Address> = seat
            .directs
            .keys()
            .filter(|(e, _)| *e == endpoint)
            .map(|(_, to)| *to)
            .collect();
        seat.directs.retain(|(e, _), _| *e != endpoint);
        seat.adopted.retain(|(e, _), _| *e != endpoint);
        self.forget_ends(ours, &theirs);
    }

    /// A guest is gone: its channels are no more. The others hear that its endpoints are gone.
    pub(super) fn forget_directs(&mut self, _id: GuestId, seat: &Seat) {
        for &(endpoint, to) in seat.directs.keys() {
            self.forget_ends(Address::new(seat.nic, EndpointId::new(endpoint)), &[to]);
        }
    }

    fn forget_ends(&mut self, ours: Address, theirs: &[Address]) {
        for to in theirs {
            let Some(other) = self.owner(*to) else {
                continue;
            };
            if let Some(seat) = self.guests.get_mut(&other).and_then(|g| g.seat.as_mut()) {
                seat.directs.remove(&(to.endpoint.get(), ours));
                seat.adopted.remove(&(to.endpoint.get(), ours));
            }
        }
    }
}

fn remember(seat: Option<&mut Seat>, ours: Address, to: Address, channel: ChannelId) {
    if let Some(seat) = seat {
        seat.directs.insert((ours.endpoint.get(), to), channel);
    }
}

/// Forgets a channel, if it is the one that is meant.
fn take(seat: &mut Seat, ends: (u8, Address), channel: ChannelId) -> Option<ChannelId> {
    let held = *seat.directs.get(&ends)?;
    if !held.may_be(channel) {
        return None;
    }
    seat.adopted.remove(&ends);
    seat.directs.remove(&ends)
}
