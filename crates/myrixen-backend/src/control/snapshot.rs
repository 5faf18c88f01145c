//! What the back end says about itself to operators.

use std::collections::BTreeMap;

use mxoe::addr::{Address, EndpointId};
use mxoe::frame::Dialect;
use mxoe::time::Time;
use myrixen_control::{
    Board, Direct, Guest as GuestStatus, Partition, Peer, Port as PortStatus, Reply, Request,
    Snapshot, Status, Uplink, UplinkPartition, WorkerStatus, prometheus,
};
use myrixen_link::LinkCounters;

use super::Control;
use super::guest::{Guest, Seat};
use crate::ids::{GuestId, PartitionId, UplinkId};

/// How long a drain that an operator asked for may take.
const OPERATORS_DRAIN: std::time::Duration = std::time::Duration::from_secs(5);

impl Control {
    /// Answers an operator.
    pub(super) fn answer_operator(&mut self, now: Time, request: Request) -> Reply {
        match request {
            Request::Status => Reply::Status(self.status(now)),
            Request::Boards => Reply::Boards(self.board_list()),
            Request::Guests => Reply::Guests(self.guest_list(now)),
            Request::Ports => Reply::Ports(self.port_list()),
            Request::Direct => Reply::Direct(self.direct_list()),
            Request::Peers => Reply::Peers(self.peer_list(now)),
            Request::Uplinks => Reply::Uplinks(self.uplink_list()),
            Request::Counters => Reply::Counters(Box::new(self.snapshot(now))),
            Request::Metrics => Reply::Metrics(prometheus(&self.snapshot(now))),
            Request::Drain => {
                self.drain(now, OPERATORS_DRAIN);
                Reply::Done
            }
            Request::Detach { guest } => {
                let id = GuestId::new(guest);
                if !self.guests.contains_key(&id) {
                    return Reply::Refused(format!("no guest {guest} is attached"));
                }
                self.detach(now, id);
                Reply::Done
            }
            _ => Reply::Refused("this daemon does not know the request".into()),
        }
    }

    fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            status: self.status(now),
            boards: self.board_list(),
            guests: self.guest_list(now),
            ports: self.port_list(),
            direct: self.direct_list(),
            peers: self.peer_list(now),
            uplinks: self.uplink_list(),
        }
    }

    fn status(&self, now: Time) -> Status {
        let owned =
            |counts: &BTreeMap<&str, u64>| counts.iter().map(|(k, n)| ((*k).into(), *n)).collect();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            host: self.host.name.clone(),
            pid: std::process::id(),
            uptime: now.since(Time::ZERO).as_secs_f64(),
            draining: self.draining.is_some(),
            boards: self.boards.len(),
            guests: self.seats().count(),
            max_guests: usize::try_from(self.policy.max_guests).unwrap_or(usize::MAX),
            ports: self.open_ports(),
            direct: self.direct_list().len(),
            refused: owned(&self.refused),
            faults: owned(&self.faults),
            workers: self.worker_list(),
            partitions: self.partition_list(),
        }
    }

    fn seats(&self) -> impl Iterator<Item = (&Guest, &Seat)> {
        self.guests
            .values()
            .filter_map(|guest| Some((guest, guest.seat.as_ref()?)))
    }

    fn worker_list(&self) -> Vec<WorkerStatus> {
        let uplinks = |worker: usize| {
            self.uplinks
                .iter()
                .filter(|u| usize::from(u.worker.get()) == worker)
                .count()
        };
        let each = self
            .workers
            .iter()
            .enumerate()
            .map(|(number, worker)| WorkerStatus {
                ports: usize::try_from(worker.meter.ports.get()).unwrap_or(0),
                uplinks: uplinks(number),
                turns: worker.meter.turns.get(),
                busy_turns: worker.meter.busy_turns.get(),
                sleeps: worker.meter.sleeps.get(),
                bells: worker.meter.bells.get(),
                drops: worker.meter.drops.read(),
            });
        each.collect()
    }

    fn partition_list(&self) -> Vec<Partition> {
        let boards = |id: PartitionId| self.boards.iter().filter(|b| b.key.partition == id).count();
        let each = (0..)
            .map(PartitionId::new)
            .zip(&self.partitions)
            .map(|(id, partition)| {
                let uplink = partition.uplink.and_then(|(u, _)| self.uplink_name(u));
                let dialect = match partition.dialect {
                    Dialect::Compat => "compat",
                    Dialect::Native { .. } | Dialect::Wide { .. } => "native",
                };
                Partition {
                    name: partition.name.clone(),
                    dialect: dialect.into(),
                    mtu: partition.dialect.max_frame(),
                    uplink,
                    boards: boards(id),
                }
            });
        each.collect()
    }

    fn uplink_name(&self, id: UplinkId) -> Option<String> {
        self.uplinks
            .get(usize::from(id.get()))
            .map(|u| u.name.clone())
    }

    fn partition_name(&self, id: PartitionId) -> String {
        self.partitions
            .get(usize::from(id.get()))
            .map_or_else(String::new, |p| p.name.clone())
    }

    fn board_list(&self) -> Vec<Board> {
        let each = self.boards.iter().map(|board| {
            let seats = board
                .guests
                .iter()
                .filter_map(|id| self.guests.get(id)?.seat.as_ref());
            let mut endpoints: Vec<u8> = seats.flat_map(|s| s.ports.keys().copied()).collect();
            endpoints.sort_unstable();
            Board {
                mac: board.nic,
                name: board.key.name.clone(),
                partition: self.partition_name(board.key.partition),
                owner: board.key.owner.to_string(),
                guests: board.guests.iter().map(|g| g.get()).collect(),
                endpoints,
            }
        });
        each.collect()
    }

    fn guest_list(&self, now: Time) -> Vec<GuestStatus> {
        let each = self.seats().map(|(guest, seat)| GuestStatus {
            id: guest.id.get(),
            pid: guest.link.identity().pid().into(),
            owner: seat.owner.to_string(),
            mac: seat.nic,
            board: seat.board.clone(),
            partition: self.partition_name(seat.partition),
            age: now.since(guest.since).as_secs_f64(),
            ports: seat.ports.len(),
            direct: seat.directs.len(),
            counters: guest.counters(),
        });
        each.collect()
    }

    fn port_list(&self) -> Vec<PortStatus> {
        let each = self.seats().flat_map(|(guest, seat)| {
            seat.ports.iter().map(|(&endpoint, port)| PortStatus {
                guest: guest.id.get(),
                mac: seat.nic,
                board: seat.board.clone(),
                endpoint,
                worker: seat.worker.get().into(),
                counters: port.meter.read(),
            })
        });
        each.collect()
    }

    /// Each channel once: as the end with the lower address sees it, or the only end that knows of it.
    fn direct_list(&self) -> Vec<Direct> {
        let mut list = Vec::new();
        for (guest, seat) in self.seats() {
            for &(endpoint, to) in seat.directs.keys() {
                let Some(other) = self.owner(to) else {
                    continue;
                };
                let ours = Address::new(seat.nic, EndpointId::new(endpoint));
                let theirs = self.guests.get(&other).and_then(|g| g.seat.as_ref());
                let known =
                    theirs.is_some_and(|s| s.directs.contains_key(&(to.endpoint.get(), ours)));
                if ours <= to || !known {
                    list.push(Direct {
                        guest: guest.id.get(),
                        endpoint,
                        peer_guest: other.get(),
                        peer_mac: to.nic,
                        peer_endpoint: to.endpoint.get(),
                    });
                }
            }
        }
        list
    }

    fn peer_list(&self, now: Time) -> Vec<Peer> {
        let each = self.discovery.peers().iter().map(|peer| Peer {
            mac: peer.nic,
            name: peer.name.clone(),
            index: peer.index,
            partition: self.partition_name(peer.segment.partition),
            uplink: self.uplink_name(peer.segment.uplink).unwrap_or_default(),
            silent: now.since(peer.last_heard).as_secs_f64(),
        });
        each.collect()
    }

    fn uplink_list(&self) -> Vec<Uplink> {
        let each = (0..)
            .map(UplinkId::new)
            .zip(&self.uplinks)
            .map(|(id, uplink)| {
                let partitions = self.partitions.iter().filter_map(|p| {
                    let (_, tag) = p.uplink.filter(|(u, _)| *u == id)?;
                    Some(UplinkPartition {
                        partition: p.name.clone(),
                        tag: tag.to_string(),
                    })
                });
                let link = *uplink.counters.lock().unwrap_or_else(|e| e.into_inner());
                Uplink {
                    name: uplink.name.clone(),
                    kind: uplink.info.kind.to_string(),
                    mtu: u32::try_from(uplink.info.mtu).unwrap_or(u32::MAX),
                    worker: uplink.worker.get().into(),
                    partitions: partitions.collect(),
                    counters: uplink.meter.read(),
                    link: link_counters(&link),
                }
            });
        each.collect()
    }
}

/// What a link counts, by name; what never happened is left out.
fn link_counters(link: &LinkCounters) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (reason, n) in link.drops.iter().filter(|(_, n)| *n > 0) {
        counts.insert(format!("drop_{}", reason.name()), n);
    }
    let named = [
        ("transmitted_frames", link.transmitted.frames),
        ("received_frames", link.received.frames),
        ("full", link.full),
        ("system_calls", link.system_calls),
        ("flooded", link.flooded),
        ("learned", link.learned),
        ("table_full", link.table_full),
        ("outages", link.outages),
        ("redirected", link.redirected),
        ("promiscuous", u64::from(link.promiscuous)),
    ];
    counts.extend(
        named
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(k, n)| (k.to_owned(), n)),
    );
    counts
}
