//! Taking guests in, and letting them go.

use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::time::Time;
use myrixen_platform::message::{
    Dialect as WireDialect, GuestLimits, Hello, Mac, Name, Notice, PORTS_STAY, Profile, Refusal,
    RefusalReason, Ticket as SealedTicket, VERSION, Version, Welcome,
};
use myrixen_platform::{DomainDevice, GuestLink, Identity, Owner, PeerFault, Usage, Wanted};

use super::guest::{Guest, Seat};
use super::{Control, GUEST, MAX_UNGREETED, port_address};
use crate::boards::{BoardError, BoardKey};
use crate::ids::{GuestId, PartitionId, WorkerId};
use crate::ticket::Ticket;
use crate::worker::Command;

impl Control {
    /// Somebody has connected.
    pub(super) fn arrive(&mut self, now: Time, mut link: Box<dyn GuestLink>) {
        let owner = link.identity().owner();
        let quiet = |g: &&Guest| g.seat.is_none() && g.link.identity().owner() == owner;
        if self.guests.values().filter(quiet).count() >= MAX_UNGREETED {
            return self.turn_away(link.as_mut(), "ungreeted", &too_many_at_once());
        }
        let id = self.new_guest_id();
        if let Err(error) = link.watch(&self.wait, GUEST | id.get()) {
            let refusal = Refusal::new(RefusalReason::Internal, error);
            return self.turn_away(link.as_mut(), "internal", &refusal);
        }
        self.guests.insert(id, Guest::new(id, link, now));
        // It may have spoken before it was watched.
        self.talking.push_back(id);
    }

    fn turn_away(&mut self, link: &mut dyn GuestLink, why: &'static str, refusal: &Refusal) {
        *self.refused.entry(why).or_default() += 1;
        link.refuse(refusal);
    }

    /// A guest has said who it wants to be.
    pub(super) fn greet(&mut self, now: Time, id: GuestId, hello: &Hello) {
        let Some(mut guest) = self.guests.remove(&id) else {
            return;
        };
        if let Some(seat) = &guest.seat {
            // The platform lets it say Hello again where its front end came back.
            let again = hello.version.common(VERSION);
            let welcome =
                again.and_then(|version| self.welcome(seat, version, guest.link.as_ref()));
            let welcomed = welcome.map(|welcome| guest.link.welcome(&welcome));
            self.guests.insert(id, guest);
            match welcomed {
                Some(welcomed) => self.welcomed(now, id, welcomed),
                None => self.detach(now, id),
            }
            return;
        }
        let (seat, welcome) = match self.find_seat(&guest, hello) {
            Ok(taken) => taken,
            Err(refusal) => {
                let owner = guest.link.identity().owner();
                if self.may_log(now, Some(owner)) {
                    tracing::info!(guest = %guest.link.identity(), "refused: {refusal}");
                }
                return self.turn_away(guest.link.as_mut(), reason(&refusal), &refusal);
            }
        };
        let (partition, nic, name) = (seat.partition, seat.nic, seat.board.clone());
        let is_new = self.boards.get(nic).is_some_and(|b| b.guests.len() == 1);
        tracing::info!(guest = %guest.link.identity(), board = name, %nic, "attached");
        guest.seat = Some(seat);
        let is_domain = matches!(guest.link.identity(), Identity::Domain(_));
        let welcomed = guest.link.welcome(&welcome);
        self.guests.insert(id, guest);
        if is_new {
            self.board_came(now, partition, nic, &name);
            if is_domain {
                self.hold_arrived(now, partition, nic);
            } else {
                self.return_held(now, nic);
            }
        }
        self.welcomed(now, id, welcomed);
    }

    /// A guest has its Welcome, or broke the rules before.
    fn welcomed(&mut self, now: Time, id: GuestId, welcomed: Result<(), PeerFault>) {
        match welcomed {
            // Its front end was away when it was to be told, or is the first one of a device that is held already.
            Ok(()) if self.guests.get(&id).is_some_and(|g| g.link.is_held()) => {
                self.hold(now, id, true);
            }
            Ok(()) => {}
            Err(fault) => self.expel(now, id, &fault),
        }
    }

    /// Finds out what a guest may be, and gives it a board.
    fn find_seat(&mut self, guest: &Guest, hello: &Hello) -> Result<(Seat, Welcome), Refusal> {
        let refuse = |reason, text: &str| Refusal::new(reason, text);
        if self.draining.is_some() {
            return Err(refuse(
                RefusalReason::Draining,
                "the back end is about to stop",
            ));
        }
        let Some(version) = hello.version.common(VERSION) else {
            let text = format!(
                "version {} of the control plane, spoken is {VERSION}",
                hello.version
            );
            return Err(refuse(RefusalReason::Version, &text));
        };
        let identity = guest.link.identity();
        let Place {
            key,
            limits,
            address: old,
        } = match identity {
            Identity::Domain(device) => self.place_of_domain(device)?,
            _ => self.place_of_user(identity, hello)?,
        };
        let claimed = self
            .boards
            .claim(guest.id, &key, old)
            .map_err(board_refusal)?;
        let worker = self.least_loaded();
        let seat = Seat::new(claimed.nic(), key, worker, limits);
        match self.welcome(&seat, version, guest.link.as_ref()) {
            Some(welcome) => Ok((seat, welcome)),
            None => {
                self.boards.release(guest.id, claimed.nic());
                Err(refuse(
                    RefusalReason::Internal,
                    "the board's name cannot be told",
                ))
            }
        }
    }

    /// What a program of this host may be: by policy, its own wishes, and its ticket.
    fn place_of_user(&self, identity: &Identity, hello: &Hello) -> Result<Place, Refusal> {
        let Owner::User(uid) = identity.owner() else {
            return Err(Refusal::new(
                RefusalReason::NotPermitted,
                "an owner of an unknown kind",
            ));
        };
        let ticket = self.ticket(uid, hello);
        let (partition, limits) = self.permit(identity, hello, ticket.as_ref())?;
        let ticket = ticket.filter(|t| self.is_partition(t, partition));
        let key = self.board_key(uid, partition, hello, ticket.as_ref());
        let address = ticket.filter(|t| t.board == key.name).map(|t| t.nic);
        Ok(Place {
            key,
            limits,
            address,
        })
    }

    /// What a domain is: who attached its device has decided.
    fn place_of_domain(&self, device: &DomainDevice) -> Result<Place, Refusal> {
        let mut all = (0..).map(PartitionId::new).zip(&self.partitions);
        let wanted = device.partition.as_ref();
        let found = all.find(|(_, p)| wanted.is_none_or(|w| *w == p.name));
        let Some((partition, _)) = found else {
            let name = wanted.map_or("", String::as_str);
            let text = format!("there is no partition {name:?} on this host (`[[partition]]`)");
            return Err(Refusal::new(RefusalReason::NoSuchPartition, text));
        };
        Ok(Place {
            key: BoardKey {
                owner: Owner::Domain(device.domain),
                partition,
                name: full_name(&device.board),
            },
            limits: DOMAIN_LIMITS,
            address: device.mac.map(|mac| NicAddr::new(mac.bytes())),
        })
    }

    /// Which partition a guest may be in, and what it may have there: the one it asks for, else that of its ticket, else
    /// the first one where the policy lets it in.
    fn permit(
        &self,
        identity: &Identity,
        hello: &Hello,
        ticket: Option<&Ticket>,
    ) -> Result<(PartitionId, GuestLimits), Refusal> {
        let asked = hello.wish.partition.as_ref().map(Name::as_str);
        let wanted = asked.or(ticket.map(|t| t.partition.as_str()));
        let board = hello
            .wish
            .board
            .as_ref()
            .and_then(|b| Name::new(plain_name(b.as_str())).ok());
        let usage = self.usage(identity);
        let mut refusal = None;
        for (id, config) in (0..).map(PartitionId::new).zip(&self.partitions) {
            let Ok(name) = Name::new(config.name.as_str()) else {
                continue;
            };
            if wanted.is_some_and(|w| w != config.name) {
                continue;
            }
            let wanted = Wanted {
                partition: &name,
                board: board.as_ref(),
            };
            match self.policy.check(identity, wanted, usage) {
                Ok(grant) => return Ok((id, grant.limits)),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| {
            let name = wanted.unwrap_or_default();
            let text = format!("there is no partition {name:?} on this host (`[[partition]]`)");
            Refusal::new(RefusalReason::NoSuchPartition, text)
        }))
    }

    /// Who is attached already, for the policy.
    fn usage(&self, identity: &Identity) -> Usage {
        let seated = self.guests.values().filter(|g| g.seat.is_some());
        let owner = identity.owner();
        let theirs = seated
            .clone()
            .filter(|g| g.link.identity().owner() == owner);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Usage {
            guests: count(seated.count()),
            guests_of_owner: count(theirs.count()),
        }
    }

    /// The ticket a guest shows, if this host made it for this user.
    fn ticket(&self, uid: u32, hello: &Hello) -> Option<Ticket> {
        let ticket = Ticket::open(hello.ticket.as_ref()?.as_bytes(), &self.host.secret)?;
        (ticket.uid == uid).then_some(ticket)
    }

    fn is_partition(&self, ticket: &Ticket, partition: PartitionId) -> bool {
        let config = self.partitions.get(usize::from(partition.get()));
        config.is_some_and(|p| p.name == ticket.partition)
    }

    /// The board's key: the name that was asked for, that of the ticket, or one made from the host's.
    fn board_key(
        &self,
        uid: u32,
        partition: PartitionId,
        hello: &Hello,
        ticket: Option<&Ticket>,
    ) -> BoardKey {
        let owner = Owner::User(uid);
        let named = |name: String| BoardKey {
            owner,
            partition,
            name,
        };
        if let Some(name) = &hello.wish.board {
            return named(full_name(name.as_str()));
        }
        if let Some(ticket) = ticket {
            return named(ticket.board.clone());
        }
        let host = full_name(&self.host.name);
        let theirs = self
            .boards
            .find(partition, &host)
            .is_some_and(|b| b.key.owner != owner);
        // Another user was here first: two boards of one name would be one too many for who looks one up.
        named(if theirs {
            full_name(&format!("{}-{uid}", self.host.name))
        } else {
            host
        })
    }

    fn welcome(&self, seat: &Seat, version: Version, link: &dyn GuestLink) -> Option<Welcome> {
        let partition = self.partitions.get(usize::from(seat.partition.get()))?;
        let ticket = match seat.owner {
            Owner::User(uid) => SealedTicket::new(
                Ticket {
                    uid,
                    nic: seat.nic,
                    partition: partition.name.clone(),
                    board: seat.board.clone(),
                }
                .seal(&self.host.secret),
            ),
            // What it is does not depend on what it shows.
            _ => None,
        };
        Some(Welcome {
            version,
            features: if link.keeps_ports() { PORTS_STAY } else { 0 },
            mac: Mac::new(seat.nic.octets()),
            board: Name::new(seat.board.clone()).ok()?,
            partition: Name::new(partition.name.clone()).ok()?,
            profile: Profile {
                dialect: match partition.dialect {
                    mxoe::frame::Dialect::Compat => WireDialect::Compat,
                    mxoe::frame::Dialect::Native { .. } | mxoe::frame::Dialect::Wide { .. } => {
                        WireDialect::Native
                    }
                },
                mtu: partition.dialect.max_frame(),
            },
            limits: seat.limits,
            ticket,
        })
    }

    /// The worker with the fewest ports.
    fn least_loaded(&self) -> WorkerId {
        let mut loads = vec![0_usize; self.workers.len()];
        for seat in self.guests.values().filter_map(|g| g.seat.as_ref()) {
            if let Some(load) = loads.get_mut(usize::from(seat.worker.get())) {
                // A guest counts before it has opened a port.
                *load += 1 + seat.ports.len();
            }
        }
        let ids = self.worker_ids().zip(loads);
        ids.min_by_key(|(_, load)| *load)
            .map_or(WorkerId::new(0), |(id, _)| id)
    }

    /// Counts and logs what a guest did.
    pub(super) fn blame(&mut self, now: Time, id: GuestId, kind: &'static str, fault: &str) {
        *self.faults.entry(kind).or_default() += 1;
        let Some(identity) = self.guests.get(&id).map(|g| g.link.identity().clone()) else {
            return;
        };
        if self.may_log(now, Some(identity.owner())) {
            tracing::warn!(guest = %identity, "detached: {fault}");
        }
    }

    /// Detaches a guest for what it did on its control channel.
    pub(super) fn expel(&mut self, now: Time, id: GuestId, fault: &PeerFault) {
        let kind = match fault {
            PeerFault::Message(_) | PeerFault::Record { .. } => "control_message",
            PeerFault::Ring(_) => "control_ring",
            PeerFault::Handover(_) => "handover",
            PeerFault::NotReading { .. } => "not_reading",
            PeerFault::TooManyRequests { .. } => "too_many_requests",
            PeerFault::SerialInUse(_) => "serial_in_use",
            PeerFault::System(_) => "system",
            _ => "other",
        };
        let mut text = fault.to_string();
        if let Some(cause) = std::error::Error::source(fault) {
            text = format!("{text}: {cause}");
        }
        self.blame(now, id, kind, &text);
        self.detach(now, id);
    }

    /// A guest is gone, or is to go: all of it is taken back, and its partition is told.
    pub(super) fn detach(&mut self, now: Time, id: GuestId) {
        let Some(mut guest) = self.guests.remove(&id) else {
            return;
        };
        let Some(seat) = guest.seat.take() else {
            return;
        };
        let (partition, nic) = (seat.partition, seat.nic);
        let mut gone = Vec::new();
        for (&endpoint, port) in &seat.ports {
            let at = Address::new(nic, EndpointId::new(endpoint));
            self.tell_all(|| Command::RemovePort(port.id, partition, at));
            gone.push(Notice::EndpointGone(port_address(at)));
        }
        let was_last = self.boards.release(id, nic).is_some();
        if self.keep_held(now, nic, was_last) {
            gone.clear();
        } else if was_last {
            self.board_went(partition, nic);
            gone = vec![Notice::BoardGone(Mac::new(nic.octets()))];
        }
        tracing::info!(guest = %guest.link.identity(), board = seat.board, "detached");
        drop(guest);
        self.forget_directs(id, &seat);
        for notice in &gone {
            self.notify_all(partition, Some(id), notice);
        }
    }
}

/// What a guest is to be given.
struct Place {
    key: BoardKey,
    limits: GuestLimits,
    /// The address it had, or is to have.
    address: Option<NicAddr>,
}

/// What a domain may have: all endpoints of its board, a channel to every endpoint of many partners, rings as
/// large as their list of references allows (`docs/xen.md`).
const DOMAIN_LIMITS: GuestLimits = GuestLimits {
    ports: 256,
    directs: 1024,
    ring_bytes: 1 << 20,
};

/// A board's name with its number: `name:0`.
fn full_name(name: &str) -> String {
    if name.contains(':') {
        name.to_owned()
    } else {
        format!("{name}:0")
    }
}

/// A board's name as policies have it, without `:0`.
fn plain_name(name: &str) -> &str {
    name.strip_suffix(":0").unwrap_or(name)
}

fn too_many_at_once() -> Refusal {
    let text = format!("{MAX_UNGREETED} programs of this user are attaching at this moment");
    Refusal::new(RefusalReason::Limit, text)
}

fn board_refusal(error: BoardError) -> Refusal {
    let reason = match error {
        BoardError::NameTaken { .. } => RefusalReason::NameTaken,
        BoardError::BadName(_) => RefusalReason::NotPermitted,
        BoardError::NoAddress(_) => RefusalReason::Internal,
    };
    Refusal::new(reason, error)
}

/// The counter of a refusal.
fn reason(refusal: &Refusal) -> &'static str {
    match refusal.reason {
        RefusalReason::Version => "version",
        RefusalReason::NotPermitted => "not_permitted",
        RefusalReason::NoSuchPartition => "no_such_partition",
        RefusalReason::NameTaken => "name_taken",
        RefusalReason::Limit => "limit",
        RefusalReason::Draining => "draining",
        RefusalReason::Internal => "internal",
        RefusalReason::Other(_) => "other",
    }
}
