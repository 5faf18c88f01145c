//! What the back end says unasked, and what becomes of a board.

use std::time::Instant;

use myrixen_platform::Handover;
use myrixen_platform::message::{DirectPeer, Lent, Notice, PortAddress, Request};
use myrixen_platform::xen::front::FrontEvent;

use super::answers::stranger;
use super::{Broker, ProgramId};

impl Broker {
    pub(super) fn on_event(&mut self, now: Instant, place: usize, event: FrontEvent) {
        let Some(board) = self.boards.get_mut(place) else {
            return;
        };
        let device = board.number;
        match event {
            FrontEvent::Connected(connected) => {
                let welcome = &connected.welcome;
                tracing::info!(device, board = %welcome.board, mac = %welcome.mac, partition = %welcome.partition, "connected");
                board.connected = Some(*connected);
                self.seat_waiting();
            }
            FrontEvent::Refused(refusal) => {
                tracing::warn!(device, "the back end refuses us: {refusal}");
            }
            FrontEvent::Lost(loss) => {
                let mut text = loss.to_string();
                let mut cause = std::error::Error::source(&loss);
                while let Some(next) = cause {
                    text = format!("{text}: {next}");
                    cause = next.source();
                }
                tracing::info!(device, "disconnected: {text}");
                self.send_away(place);
            }
            FrontEvent::Reply(serial, reply) => self.on_reply(now, place, serial, reply),
            FrontEvent::Notice(notice) => self.on_notice(now, place, notice),
            // The platform grew a thing that we do not know.
            _ => {}
        }
    }

    fn on_notice(&mut self, now: Instant, place: usize, notice: Notice) {
        match notice {
            Notice::DirectOffered {
                endpoint,
                peer,
                lent,
            } => {
                self.on_offer(now, place, endpoint, peer, lent);
            }
            Notice::DirectGone {
                endpoint,
                peer,
                channel,
            } => {
                let owner = self.owner(place, endpoint);
                if let Some(id) = owner.filter(|id| {
                    self.seat_mut(*id)
                        .is_some_and(|seat| seat.take(endpoint, peer, channel).is_some())
                }) {
                    self.notify(now, id, &notice, Handover::none());
                }
            }
            Notice::PoolLent {
                endpoint,
                peer,
                channel,
                bytes,
                lent: Some(lent),
            } => self.on_pool_lent(now, (place, endpoint), (peer, channel), bytes, lent),
            // What is not said to be somewhere cannot be mapped.
            Notice::PoolLent { lent: None, .. } => {}
            Notice::EndpointGone(who) => {
                self.endpoint_gone(place, who);
                self.notify_all(now, place, &notice);
            }
            Notice::BoardGone(mac) => {
                for id in self.seated(place) {
                    if let Some(seat) = self.seat_mut(id) {
                        seat.directs.retain(|(_, to), _| to.mac != mac);
                        seat.awaited.retain(|(_, to), _| to.mac != mac);
                    }
                }
                self.notify_all(now, place, &notice);
            }
            Notice::Draining { .. } => self.notify_all(now, place, &notice),
            Notice::LetGo => self.let_go(now, place),
        }
    }

    /// An endpoint is gone, perhaps one of ours whose port the back end has closed.
    fn endpoint_gone(&mut self, place: usize, who: PortAddress) {
        for id in self.seated(place) {
            if let Some(seat) = self.seat_mut(id) {
                seat.directs.retain(|(_, to), _| *to != who);
                seat.awaited.retain(|(_, to), _| *to != who);
            }
        }
        let ours = self.boards.get(place).and_then(|b| b.connected.as_ref());
        if ours.is_some_and(|c| c.welcome.mac == who.mac)
            && let Some(id) = self.owner(place, who.endpoint)
        {
            self.endpoint_closed(id, who.endpoint);
        }
    }

    /// Another domain offers a channel: taken for the program that has the endpoint, or closed.
    fn on_offer(
        &mut self,
        now: Instant,
        place: usize,
        endpoint: u8,
        peer: DirectPeer,
        lent: Option<Lent>,
    ) {
        let (to, channel) = (peer.address, peer.channel);
        let taken = self.take_offer(place, endpoint, &peer, lent);
        match taken {
            Some((id, with)) => {
                if let Some(seat) = self.seat_mut(id) {
                    seat.directs.insert((endpoint, to), Some(channel));
                }
                let offered = Notice::DirectOffered {
                    endpoint,
                    peer: stranger(peer),
                    lent: None,
                };
                self.notify(now, id, &offered, with);
            }
            None => {
                let close = Request::CloseDirect {
                    endpoint,
                    to,
                    channel,
                };
                self.tell(place, &close);
            }
        }
    }

    fn take_offer(
        &mut self,
        place: usize,
        endpoint: u8,
        peer: &DirectPeer,
        lent: Option<Lent>,
    ) -> Option<(ProgramId, Handover)> {
        let id = self.owner(place, endpoint)?;
        let seat = self.seat(id)?;
        if seat.directs.len() >= usize::from(seat.limits.directs) {
            return None;
        }
        let lent = lent?;
        match self.lender.borrow(lent.domain, lent.brought, &peer.terms) {
            Ok(with) => Some((id, with)),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|e| format!(": {e}"));
                let text = cause.unwrap_or_default();
                tracing::debug!(peer = %peer.address, "a direct channel cannot be used: {error}{text}");
                None
            }
        }
    }

    pub(super) fn owner(&self, place: usize, endpoint: u8) -> Option<ProgramId> {
        self.boards.get(place)?.owners.get(&endpoint).copied()
    }
}
