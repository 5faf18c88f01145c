//! What attached guests ask, but for direct channels.

use std::sync::Arc;

use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::time::Time;
use myrixen_platform::message::{
    Board, FailReason, Failure, Mac, Name, Notice, OpenPort, Place, Query, Reply, Request, Serial,
};
use myrixen_platform::{Handover, SetupError};
use myrixen_ring::{Capacity, Layout, Terms};

use super::guest::{Port, Seat};
use super::{Control, port_address};
use crate::ids::{GuestId, PartitionId, PortId};
use crate::meter::PortMeter;
use crate::switch::NewPort;
use crate::worker::Command;

/// An answer, and what goes with it.
pub(super) type Answer = Result<(Reply, Handover), Failure>;

pub(super) fn done() -> Answer {
    Ok((Reply::Done, Handover::none()))
}

pub(super) fn fail<T>(reason: FailReason, text: impl std::fmt::Display) -> Result<T, Failure> {
    Err(Failure::new(reason, text))
}

impl Control {
    /// Answers one request of a guest.
    pub(super) fn answer_guest(
        &mut self,
        now: Time,
        id: GuestId,
        serial: Serial,
        request: Request,
    ) {
        tracing::trace!(guest = id.get(), serial = serial.get(), ?request, "asked");
        let answer = if self.guests.get(&id).is_some_and(|g| g.seat.is_some()) {
            self.decide(now, id, serial, request)
        } else {
            fail(FailReason::Invalid, "not attached")
        };
        let refused = answer.is_err();
        let (reply, with) =
            answer.unwrap_or_else(|failure| (Reply::Failed(failure), Handover::none()));
        let Some(guest) = self.guests.get_mut(&id) else {
            return;
        };
        guest.asked(refused);
        if let Err(fault) = guest.link.reply(serial, &reply, with) {
            self.expel(now, id, &fault);
        }
    }

    fn decide(&mut self, now: Time, id: GuestId, serial: Serial, request: Request) -> Answer {
        match request {
            Request::OpenPort {
                endpoint,
                forward,
                backward,
                ..
            } => self.open_port(id, serial, endpoint, forward, backward),
            Request::ClosePort { endpoint } => self.close_port(id, endpoint),
            Request::Resolve(query) => self.resolve(id, &query),
            Request::ListBoards { from } => self.list_boards(id, from),
            Request::ListPorts { from } => self.list_ports(id, from),
            Request::ListOwnBoards { from } => self.list_own_boards(id, from),
            Request::OpenDirect {
                endpoint,
                to,
                forward,
                backward,
                ..
            } => {
                let layout = self.layout(id, forward, backward)?;
                self.open_direct((id, serial), endpoint, super::address(to), layout)
            }
            Request::CloseDirect {
                endpoint,
                to,
                channel,
            } => self.close_direct(id, (endpoint, super::address(to)), channel),
            Request::AdoptDirect {
                endpoint,
                to,
                channel,
            } => self.adopt_direct(now, id, (endpoint, super::address(to)), channel),
            Request::AdoptPort { endpoint } => self.adopt_port(id, endpoint),
            Request::AskGrantee { to } => self.grantee(id, super::address(to)),
            Request::LendPool {
                endpoint,
                to,
                channel,
                bytes,
                brought,
            } => self.lend_pool(id, (endpoint, super::address(to)), channel, bytes, brought),
            Request::Unknown { kind } => fail(
                FailReason::Unsupported,
                format_args!("request of unknown kind {kind:#06x}"),
            ),
        }
    }

    pub(super) fn seat(&self, id: GuestId) -> Result<&Seat, Failure> {
        match self.guests.get(&id).and_then(|g| g.seat.as_ref()) {
            Some(seat) => Ok(seat),
            None => fail(FailReason::Invalid, "not attached"),
        }
    }

    /// The layout of a queue pair as a guest wants it, within the limit.
    fn layout(&self, id: GuestId, forward: u32, backward: u32) -> Result<Layout, Failure> {
        let limit = self.seat(id)?.limits.ring_bytes;
        if forward > limit || backward > limit {
            let most = forward.max(backward);
            let text = format!("a ring of {most} bytes, the policy's `ring_bytes` allows {limit}");
            return fail(FailReason::Limit, text);
        }
        let capacity =
            |bytes| Capacity::new(bytes).or_else(|error| fail(FailReason::Invalid, error));
        Ok(Layout::new(capacity(forward)?, capacity(backward)?))
    }

    fn open_port(
        &mut self,
        id: GuestId,
        serial: Serial,
        wanted: Option<u8>,
        forward: u32,
        backward: u32,
    ) -> Answer {
        let layout = self.layout(id, forward, backward)?;
        let seat = self.seat(id)?;
        let (partition, nic, worker) = (seat.partition, seat.nic, seat.worker);
        self.check_port_limits(id)?;
        self.check_frames_fit(partition, &layout)?;
        let endpoint = self.free_endpoint(nic, wanted)?;
        let (port_id, quota) = (self.new_port_id(), self.limits.quota);
        let Some(guest) = self.guests.get_mut(&id) else {
            return fail(FailReason::Invalid, "not attached");
        };
        let terms = Terms {
            layout,
            support: guest.link.support(),
        };
        let (end, with) = guest
            .link
            .make_port(serial, &terms)
            .map_err(setup_failure)?;
        let meter = Arc::new(PortMeter::default());
        if let Some(seat) = &mut guest.seat {
            seat.ports.insert(
                endpoint,
                Port {
                    id: port_id,
                    meter: Arc::clone(&meter),
                },
            );
        }
        let address = Address::new(nic, EndpointId::new(endpoint));
        let port = NewPort {
            id: port_id,
            guest: id,
            partition,
            address,
            pair: end.pair,
            ringer: end.ringer,
            waiter: end.waiter,
            meter,
            quota,
        };
        // Before the answer: whoever hears of the port afterwards finds it open.
        self.tell(worker, Command::AddPort(Box::new(port)));
        for other in self.worker_ids().filter(|&w| w != worker) {
            self.tell(other, Command::PortElsewhere(partition, address, worker));
        }
        self.endpoint_came(address);
        Ok((Reply::Port { endpoint, terms }, with))
    }

    /// A guest whose front end came back still has this port.
    fn adopt_port(&self, id: GuestId, endpoint: u8) -> Answer {
        if self.seat(id)?.ports.contains_key(&endpoint) {
            return done();
        }
        fail(
            FailReason::NotFound,
            format_args!("endpoint {endpoint} is not open"),
        )
    }

    fn check_port_limits(&self, id: GuestId) -> Result<(), Failure> {
        let seat = self.seat(id)?;
        let most = seat.limits.ports;
        if seat.ports.len() >= usize::from(most) {
            let text = format!("{most} ports are open, the policy's `ports` allows no more");
            return fail(FailReason::Limit, text);
        }
        let (open, limit) = (self.open_ports(), self.limits.ports);
        if open >= limit {
            let text = format!("{open} ports are open on this host, `limits.ports` allows {limit}");
            return fail(FailReason::Limit, text);
        }
        if self.draining.is_some() {
            return fail(FailReason::Draining, "the back end is about to stop");
        }
        Ok(())
    }

    /// Both rings must hold the partition's largest frame, or such frames could never pass.
    fn check_frames_fit(&self, partition: PartitionId, layout: &Layout) -> Result<(), Failure> {
        let config = self.partitions.get(usize::from(partition.get()));
        let frame = config.map_or(0, |p| p.dialect.max_frame()) as usize;
        match layout
            .capacities()
            .iter()
            .find(|c| c.largest_frame() < frame)
        {
            None => Ok(()),
            Some(small) => {
                let bytes = small.bytes();
                let text = format!("a ring of {bytes} bytes is too small for frames of {frame}");
                fail(FailReason::Invalid, text)
            }
        }
    }

    /// The endpoint number wanted, or the lowest that is free on the board.
    fn free_endpoint(&self, nic: NicAddr, wanted: Option<u8>) -> Result<u8, Failure> {
        let taken = |endpoint: u8| {
            self.owner(Address::new(nic, EndpointId::new(endpoint)))
                .is_some()
        };
        match wanted {
            Some(number) if taken(number) => fail(
                FailReason::InUse,
                format_args!("endpoint {number} of the board is in use"),
            ),
            Some(number) => Ok(number),
            None => (0..=u8::MAX).find(|&number| !taken(number)).map_or_else(
                || {
                    fail(
                        FailReason::Limit,
                        "all 256 endpoints of the board are in use",
                    )
                },
                Ok,
            ),
        }
    }

    /// The guest that has an endpoint open.
    pub(super) fn owner(&self, at: Address) -> Option<GuestId> {
        let board = self.boards.get(at.nic)?;
        let has = |id: &&GuestId| {
            let seat = self.guests.get(id).and_then(|g| g.seat.as_ref());
            seat.is_some_and(|s| s.ports.contains_key(&at.endpoint.get()))
        };
        board.guests.iter().find(has).copied()
    }

    fn close_port(&mut self, id: GuestId, endpoint: u8) -> Answer {
        let Some(seat) = self.guests.get_mut(&id).and_then(|g| g.seat.as_mut()) else {
            return fail(FailReason::Invalid, "not attached");
        };
        let (partition, nic) = (seat.partition, seat.nic);
        let Some(port) = seat.close(endpoint) else {
            return fail(
                FailReason::NotFound,
                format_args!("endpoint {endpoint} is not open"),
            );
        };
        let at = Address::new(nic, EndpointId::new(endpoint));
        self.tell_all(|| Command::RemovePort(port.id, partition, at));
        // Partners learn it from the nacks that the switch gives from now on, in step with their frames; a notice
        // might overtake the endpoint's next opening.
        self.forget_endpoint(id, endpoint);
        done()
    }

    /// Whoever had a port is gone. Where ports belong to their guest's connection, its end will be noticed; where they outlive it,
    /// this is all there is to notice.
    pub(super) fn port_hung_up(&mut self, id: GuestId, port: PortId) {
        let Some(guest) = self.guests.get(&id).filter(|g| g.link.keeps_ports()) else {
            return;
        };
        let Some(seat) = &guest.seat else { return };
        let found = seat.ports.iter().find(|(_, p)| p.id == port);
        let Some((&endpoint, _)) = found else { return };
        let (partition, nic) = (seat.partition, seat.nic);
        tracing::debug!(guest = %guest.link.identity(), endpoint, "its program is gone");
        let closed = self.close_port(id, endpoint);
        debug_assert!(closed.is_ok(), "the port was there");
        if self.is_leaving(nic) {
            return;
        }
        let gone = Notice::EndpointGone(port_address(Address::new(nic, EndpointId::new(endpoint))));
        self.notify_all(partition, Some(id), &gone);
    }

    fn resolve(&self, id: GuestId, query: &Query) -> Answer {
        let partition = self.seat(id)?.partition;
        let found = match query {
            Query::Mac(mac) => self.board_by_mac(partition, NicAddr::new(mac.bytes())),
            Query::Name(name) => {
                let plain = name.as_str();
                let full = if plain.contains(':') {
                    plain.into()
                } else {
                    format!("{plain}:0")
                };
                self.board_by_name(partition, &full)
            }
        };
        match found {
            Some(board) => Ok((Reply::Board(board), Handover::none())),
            None => fail(
                FailReason::NotFound,
                "no such board has been heard of in this partition",
            ),
        }
    }

    fn board_by_mac(&self, partition: PartitionId, nic: NicAddr) -> Option<Board> {
        if let Some(board) = self.boards.get(nic) {
            let here = board.key.partition == partition;
            return here.then(|| local(nic, &board.key.name));
        }
        let peer = self.discovery.peers().find(self.segment(partition)?, nic)?;
        Some(remote(nic, peer.name.as_deref()))
    }

    fn board_by_name(&self, partition: PartitionId, name: &str) -> Option<Board> {
        if let Some(board) = self.boards.find(partition, name) {
            return Some(local(board.nic, name));
        }
        let segment = self.segment(partition)?;
        let mut peers = self.discovery.peers().iter();
        let peer = peers.find(|p| p.segment == segment && p.name.as_deref() == Some(name))?;
        Some(remote(peer.nic, Some(name)))
    }

    /// The boards of the guest's partition: first those of this host, then those of others, from a place on.
    fn list_boards(&self, id: GuestId, from: u32) -> Answer {
        let partition = self.seat(id)?.partition;
        let segment = self.segment(partition);
        let here = self.boards.iter().filter(|b| b.key.partition == partition);
        let here = here.map(|b| local(b.nic, &b.key.name));
        let peers = self
            .discovery
            .peers()
            .iter()
            .filter(|p| Some(p.segment) == segment);
        let all = here.chain(peers.map(|p| remote(p.nic, p.name.as_deref())));
        Ok((Reply::boards(all, from), Handover::none()))
    }

    /// The guest's own board: there are as many as guests want, and each has asked for one.
    fn list_own_boards(&self, id: GuestId, from: u32) -> Answer {
        let own = self.boards.get(self.seat(id)?.nic);
        let own = own.into_iter().map(|b| local(b.nic, &b.key.name));
        Ok((Reply::boards(own, from), Handover::none()))
    }

    /// The open endpoints of the guest's own board, of all guests that share it, by their numbers.
    fn list_ports(&self, id: GuestId, from: u32) -> Answer {
        let board = self.boards.get(self.seat(id)?.nic);
        let guests = board.into_iter().flat_map(|board| &board.guests);
        let guests = guests.filter_map(|guest| self.guests.get(guest));
        let ports = guests.flat_map(|guest| {
            let pid = guest.link.identity().pid();
            let seat = guest.seat.iter();
            seat.flat_map(move |seat| seat.ports.iter().map(move |port| open_port(pid, port)))
        });
        let mut ports: Vec<OpenPort> = ports.collect();
        ports.sort_by_key(|port| port.endpoint);
        Ok((Reply::ports(ports.into_iter(), from), Handover::none()))
    }
}

fn open_port(pid: u32, (&endpoint, port): (&u8, &Port)) -> OpenPort {
    let counters = port.meter.read();
    OpenPort {
        endpoint,
        pid,
        sent_frames: counters.sent_frames,
        sent_bytes: counters.sent_bytes,
        received_frames: counters.received_frames,
        received_bytes: counters.received_bytes,
        nacks: counters.nacks,
        dropped: counters.drops.total(),
    }
}

fn local(nic: NicAddr, name: &str) -> Board {
    Board {
        mac: Mac::new(nic.octets()),
        place: Place::Local,
        name: Name::new(name).ok(),
    }
}

/// A name from the wire may hold what a control message cannot, such as blanks.
fn remote(nic: NicAddr, name: Option<&str>) -> Board {
    let name = name.and_then(|n| Name::new(n).ok());
    Board {
        mac: Mac::new(nic.octets()),
        place: Place::Remote,
        name,
    }
}

pub(super) fn setup_failure(error: SetupError) -> Failure {
    let reason = match error {
        SetupError::Ring(_) => FailReason::Invalid,
        SetupError::NoDirectPath => FailReason::NoDirectPath,
        SetupError::System { .. } => FailReason::Limit,
        _ => FailReason::Internal,
    };
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(&error) {
        text = format!("{text}: {cause}");
    }
    Failure::new(reason, text)
}
