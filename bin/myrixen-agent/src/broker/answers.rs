//! What the back end answers.

use std::time::Instant;

use myrixen_platform::Handover;
use myrixen_platform::message::{
    DirectPeer, FailReason, Failure, PortAddress, Reply, Request, Serial,
};
use myrixen_ring::{Layout, Terms};

use super::Broker;
use super::lending::{Attempt, Loan};
use super::pending::{Asker, Pending};
use super::requests::away;

/// An answer that does not go with its question.
fn nonsense() -> Failure {
    Failure::new(
        FailReason::Internal,
        "the back end has answered another question",
    )
}

pub(super) fn failure(reply: Reply) -> Failure {
    match reply {
        Reply::Failed(failure) => failure,
        _ => nonsense(),
    }
}

impl Broker {
    pub(super) fn on_reply(&mut self, now: Instant, place: usize, serial: Serial, reply: Reply) {
        let board = self.boards.get_mut(place);
        let Some(pending) = board.and_then(|b| b.pending.remove(&serial.get())) else {
            return;
        };
        match pending {
            Pending::Nobody => {}
            Pending::Forward(asker) => match reply {
                Reply::Done | Reply::Failed(_) | Reply::Board(_) | Reply::Boards { .. } => {
                    self.answer(now, asker, &reply, Handover::none());
                }
                Reply::Ports { mut ports, next } => {
                    // To the back end the domain is one guest.
                    for port in &mut ports {
                        port.pid = self.pid_of_owner(place, port.endpoint);
                    }
                    let reply = Reply::Ports { ports, next };
                    self.answer(now, asker, &reply, Handover::none());
                }
                _ => self.fail(now, asker, nonsense()),
            },
            Pending::Port {
                asker,
                wanted,
                terms,
                with,
            } => {
                self.on_port(now, (place, asker), wanted, (terms, with), reply);
            }
            Pending::Close { asker, endpoint } => self.on_closed(now, asker, endpoint, &reply),
            Pending::AdoptPort { asker, endpoint } => {
                self.on_adopted(now, (place, asker), endpoint, reply);
            }
            Pending::Grantee {
                asker,
                endpoint,
                to,
                layout,
            } => {
                self.on_grantee(now, asker, (endpoint, to), layout, reply);
            }
            Pending::Direct {
                asker,
                endpoint,
                to,
                terms,
                with,
            } => {
                self.on_direct(now, (place, asker), (endpoint, to), (terms, with), reply);
            }
            Pending::PoolGrantee(asked) => self.on_pool_grantee(now, place, asked, reply),
            Pending::Pool { asked, with } => self.on_pool(now, asked, with, reply),
            Pending::AdoptDirect {
                asker,
                endpoint,
                to,
            } => {
                if reply != Reply::Done
                    && let Some(seat) = self.seat_mut(asker.0)
                {
                    seat.forget(endpoint, to);
                }
                self.answer(now, asker, &reply, Handover::none());
            }
        }
    }

    /// The process id of the program that has an endpoint; 0 where it has not come back to this agent yet.
    fn pid_of_owner(&self, place: usize, endpoint: u8) -> u32 {
        let board = self.boards.get(place);
        let owner = board.and_then(|b| self.programs.get(b.owners.get(&endpoint)?));
        owner.map_or(0, |program| program.link.identity().pid())
    }

    fn on_port(
        &mut self,
        now: Instant,
        (place, asker): (usize, Asker),
        wanted: Option<u8>,
        (made, with): (Terms, Handover),
        reply: Reply,
    ) {
        if let Some(seat) = self.seat_mut(asker.0) {
            seat.opened(wanted);
        }
        let (endpoint, terms) = match reply {
            Reply::Port { endpoint, terms } => (endpoint, terms),
            other => {
                self.drop_channels(asker, wanted);
                return self.fail(now, asker, failure(other));
            }
        };
        if self.seat(asker.0).is_none() {
            return self.tell(place, &Request::ClosePort { endpoint });
        }
        if terms != made || wanted.is_some_and(|wanted| wanted != endpoint) {
            self.tell(place, &Request::ClosePort { endpoint });
            self.drop_channels(asker, wanted);
            let text = "the back end has agreed on another port than was offered";
            return self.fail(now, asker, Failure::new(FailReason::Internal, text));
        }
        self.own(place, asker, endpoint);
        self.answer(now, asker, &Reply::Port { endpoint, terms }, with);
    }

    /// From now on the endpoint is that program's.
    fn own(&mut self, place: usize, (id, _): Asker, endpoint: u8) {
        let Some(program) = self.programs.get_mut(&id) else {
            return;
        };
        let uid = program.uid();
        let mut mac = None;
        if let Some(seat) = program.seat_mut() {
            seat.ports.insert(endpoint);
        }
        if let Some(board) = self.boards.get_mut(place) {
            board.kept.insert(endpoint, uid);
            mac = board.connected.as_ref().map(|c| c.welcome.mac);
            let before = board
                .owners
                .insert(endpoint, id)
                .filter(|before| *before != id);
            // The back end has closed it meanwhile, or it would not have been free.
            if let Some(seat) = before.and_then(|before| self.seat_mut(before)) {
                seat.close(endpoint);
            }
        }
        if let Some(mac) = mac {
            self.endpoint_came(place, PortAddress { mac, endpoint });
        }
    }

    fn on_closed(&mut self, now: Instant, asker: Asker, endpoint: u8, reply: &Reply) {
        let gone = match reply {
            Reply::Done => true,
            Reply::Failed(failure) => failure.reason == FailReason::NotFound,
            _ => false,
        };
        if gone {
            self.endpoint_closed(asker.0, endpoint);
        }
        self.answer(now, asker, reply, Handover::none());
    }

    fn on_adopted(
        &mut self,
        now: Instant,
        (place, asker): (usize, Asker),
        endpoint: u8,
        reply: Reply,
    ) {
        if let Some(seat) = self.seat_mut(asker.0) {
            seat.opened(Some(endpoint));
        }
        match reply {
            Reply::Done if self.seat(asker.0).is_none() => {
                self.tell(place, &Request::ClosePort { endpoint });
            }
            Reply::Done => {
                self.own(place, asker, endpoint);
                self.answer(now, asker, &Reply::Done, Handover::none());
            }
            other => {
                let failure = failure(other);
                let board = self.boards.get_mut(place);
                if let Some(board) = board.filter(|_| failure.reason == FailReason::NotFound) {
                    board.kept.remove(endpoint);
                }
                self.drop_channels(asker, Some(endpoint));
                self.fail(now, asker, failure);
            }
        }
    }

    /// An endpoint did not come to be: nor do channels that were asked for meanwhile.
    fn drop_channels(&mut self, (id, _): Asker, endpoint: Option<u8>) {
        let seat = self.seat_mut(id);
        if let (Some(seat), Some(endpoint)) = (seat, endpoint)
            && !seat.has_or_opens(endpoint)
        {
            seat.close(endpoint);
        }
    }

    /// Whom to lend to is known: lends, and asks for the channel.
    fn on_grantee(
        &mut self,
        now: Instant,
        asker: Asker,
        (endpoint, to): (u8, PortAddress),
        layout: Layout,
        reply: Reply,
    ) {
        let lent = match reply {
            Reply::Grantee { domain } => {
                let loan = Loan::Direct {
                    asker,
                    endpoint,
                    to,
                    layout,
                    domain,
                };
                self.lend_channel(Attempt::first(now), loan)
            }
            other => Err(failure(other)),
        };
        self.channel_lent(now, asker, (endpoint, to), lent);
    }

    /// What became of lending a channel's pages: without them there is no channel.
    pub(super) fn channel_lent(
        &mut self,
        now: Instant,
        asker: Asker,
        (endpoint, to): (u8, PortAddress),
        lent: Result<(), Failure>,
    ) {
        if let Err(failure) = lent {
            if let Some(seat) = self.seat_mut(asker.0) {
                seat.forget(endpoint, to);
            }
            self.fail(now, asker, failure);
        }
    }

    /// Lends a channel's pages and asks for the channel, now or later.
    pub(super) fn lend_channel(&mut self, attempt: Attempt, loan: Loan) -> Result<(), Failure> {
        let Loan::Direct {
            asker,
            endpoint,
            to,
            layout,
            domain,
        } = loan
        else {
            return Err(nonsense());
        };
        let (place, seat) = self.place_of(asker)?;
        if !seat.directs.contains_key(&(endpoint, to)) {
            return Err(Failure::new(
                FailReason::NotFound,
                "the channel was closed meanwhile",
            ));
        }
        let terms = Terms {
            layout,
            support: self.connected(place)?.support,
        };
        let Some((brought, with)) = self.lend(attempt, loan, domain, &terms)? else {
            return Ok(());
        };
        let [forward, backward] = layout.capacities().map(|c| c.bytes());
        let request = Request::OpenDirect {
            endpoint,
            to,
            forward,
            backward,
            brought: Some(brought),
        };
        let pending = Pending::Direct {
            asker,
            endpoint,
            to,
            terms,
            with,
        };
        self.ask(place, &request, pending).map_err(|_| away())
    }

    fn on_direct(
        &mut self,
        now: Instant,
        (place, asker): (usize, Asker),
        (endpoint, to): (u8, PortAddress),
        (made, with): (Terms, Handover),
        reply: Reply,
    ) {
        let wanted = self
            .seat(asker.0)
            .is_some_and(|s| s.directs.contains_key(&(endpoint, to)));
        match reply {
            Reply::Direct(peer) if wanted && peer.terms == made && peer.address == to => {
                if let Some(seat) = self.seat_mut(asker.0) {
                    seat.directs.insert((endpoint, to), Some(peer.channel));
                }
                let reply = Reply::Direct(stranger(peer));
                self.answer(now, asker, &reply, with);
            }
            // Nobody is there to take it, or the other side would not understand the pages.
            Reply::Direct(peer) => {
                let channel = peer.channel;
                let close = Request::CloseDirect {
                    endpoint,
                    to,
                    channel,
                };
                self.tell(place, &close);
                if let Some(seat) = self.seat_mut(asker.0) {
                    seat.forget(endpoint, to);
                }
                let text = "the other domain speaks another version of the ring ABI, or the channel was closed meanwhile";
                self.fail(now, asker, Failure::new(FailReason::NoDirectPath, text));
            }
            other => {
                if let Some(seat) = self.seat_mut(asker.0) {
                    seat.forget(endpoint, to);
                }
                self.fail(now, asker, failure(other));
            }
        }
    }
}

/// A peer in another domain: its process and user ids mean nothing here, and its memory cannot be read.
pub(super) fn stranger(peer: DirectPeer) -> DirectPeer {
    DirectPeer {
        pid: 0,
        uid: u32::MAX,
        memory: None,
        ..peer
    }
}
