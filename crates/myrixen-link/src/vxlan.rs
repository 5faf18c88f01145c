//! VXLAN (RFC 7348) over UDP, for networks that carry only IP. Partitions are VNIs.
//!
//! Needs no privilege. Datagrams of one size to one remote end leave in one system call that the kernel
//! cuts (UDP_SEGMENT), and arrive the same way (UDP_GRO). A remote end is configured, or (where
//! that is allowed) learnt. Which of them a guest is behind is learnt from what it sends; until then, and for
//! broadcast, frames go to all of them.

mod config;
mod header;
mod remote;
mod table;

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use mxoe::addr::NicAddr;
use quinn_udp::{RecvMeta, UdpSocketState};

pub use config::{DEFAULT_PORT, VxlanConfig};

use crate::sys::udp;
use crate::{
    DropReason, ETHERNET_HEADER, Incoming, Interest, Link, LinkCounters, LinkError, LinkInfo,
    LinkKind, Offloads, Outgoing, Tag,
};
use header::{HEADER, LARGEST_VNI};
use remote::{Remote, RemoteId, Sent, Socket};
use table::{Learnt, Mac, Station, Table};

/// Bytes of a receive buffer: as much as the kernel joins together.
const BUFFER: usize = 65_536;
/// Where the source address is in a frame.
const SOURCE: usize = 6;
/// Buffers that one system call may fill.
const BUFFERS: usize = 8;

/// A VXLAN tunnel end.
#[derive(Debug)]
pub struct VxlanLink {
    socket: Socket,
    local: SocketAddr,
    info: LinkInfo,
    remotes: Vec<Remote>,
    learned_remotes: usize,
    learned_remotes_limit: usize,
    /// Remote ends with something to send.
    busy: Vec<RemoteId>,
    /// The socket had no room when we sent last.
    blocked: bool,
    table: Table,
    inbox: Inbox,
    /// The sender of the datagram before: most come in trains.
    sender: Option<(SocketAddr, RemoteId)>,
    /// The station and place learnt last, for the same reason.
    last: Option<(Station, RemoteId)>,
    /// The station and place that was sent to last since the last flush: a burst has one destination, as a rule.
    towards: Option<(Station, RemoteId)>,
    counters: LinkCounters,
}

/// Datagrams received and not yet handed over.
#[derive(Debug)]
struct Inbox {
    buffers: Vec<u8>,
    metas: [RecvMeta; BUFFERS],
    filled: usize,
    at: usize,
    offset: usize,
}

/// A datagram of the inbox.
#[derive(Debug, Clone)]
struct Datagram {
    from: SocketAddr,
    bytes: std::ops::Range<usize>,
}

impl Inbox {
    fn new() -> Self {
        let metas = [RecvMeta::default(); BUFFERS];
        Self {
            buffers: vec![0; BUFFER * BUFFERS],
            metas,
            filled: 0,
            at: 0,
            offset: 0,
        }
    }

    /// Receives what is there. `false` when nothing is.
    fn fill(&mut self, socket: &Socket) -> io::Result<bool> {
        (self.filled, self.at, self.offset) = (0, 0, 0);
        let mut chunks = self.buffers.chunks_exact_mut(BUFFER);
        let mut slices: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        match socket
            .state
            .recv((&socket.udp).into(), &mut slices, &mut self.metas)
        {
            Ok(filled) => {
                self.filled = filled;
                Ok(filled > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next datagram: the kernel may have joined several of one size.
    fn next(&mut self) -> Option<Datagram> {
        let meta = self.metas[..self.filled].get(self.at)?;
        let stride = meta.stride.max(1);
        let end = (self.offset + stride).min(meta.len);
        let base = self.at * BUFFER;
        let datagram = Datagram {
            from: meta.addr,
            bytes: base + self.offset..base + end,
        };
        self.offset = end;
        if end >= meta.len {
            self.at += 1;
            self.offset = 0;
        }
        Some(datagram)
    }

    /// The last call filled every buffer: there may be more.
    fn was_full(&self) -> bool {
        self.filled == BUFFERS
    }
}

impl VxlanLink {
    /// Opens a tunnel end.
    ///
    /// # Errors
    /// [`LinkError::Setting`] when an address or the MTU cannot be used; [`LinkError::Io`] when the socket
    /// cannot be made.
    pub fn open(config: &VxlanConfig) -> Result<Self, LinkError> {
        let udp = config.bind()?;
        let local = udp
            .local_addr()
            .map_err(LinkError::io("ask for the local address"))?;
        config.check_remotes(local)?;
        let mtu = config.largest_frame()?;
        if mtu <= ETHERNET_HEADER || mtu + HEADER > BUFFER {
            let problem = format!("frames of {mtu} bytes cannot be sent over UDP");
            return Err(LinkError::Setting {
                setting: "mtu",
                problem,
            });
        }
        let state =
            UdpSocketState::new((&udp).into()).map_err(LinkError::io("prepare a UDP socket"))?;
        let offloads = Offloads {
            transmit_segments: state.max_gso_segments(),
            receive_segments: state.gro_segments(),
            mapped: false,
        };
        let info = LinkInfo {
            name: local.to_string(),
            kind: LinkKind::Vxlan,
            mac: None,
            mtu,
            offloads,
        };
        let mut link = Self {
            socket: Socket { udp, state },
            local,
            info,
            remotes: Vec::new(),
            learned_remotes: 0,
            learned_remotes_limit: config.learned_remotes,
            busy: Vec::new(),
            blocked: false,
            table: Table::new(config.table, config.age),
            inbox: Inbox::new(),
            sender: None,
            last: None,
            towards: None,
            counters: LinkCounters::default(),
        };
        link.replace_remotes(&config.remotes);
        Ok(link)
    }

    /// The address at which the link listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Replaces the remote ends, configured and learnt, and forgets what was behind them.
    ///
    /// # Errors
    /// [`LinkError::Setting`] when one of them cannot be used: then all stays as it was.
    pub fn set_remotes(&mut self, remotes: &[SocketAddr]) -> Result<(), LinkError> {
        VxlanConfig::new(self.local, remotes.to_vec()).check_remotes(self.local)?;
        self.flush()?;
        self.replace_remotes(remotes);
        Ok(())
    }

    fn replace_remotes(&mut self, remotes: &[SocketAddr]) {
        let v6 = self.local.is_ipv6();
        self.remotes = remotes
            .iter()
            .map(|&address| Remote::new(address, v6))
            .collect();
        self.learned_remotes = 0;
        self.busy.clear();
        self.blocked = false;
        self.table.clear();
        self.sender = None;
        self.last = None;
        self.towards = None;
    }

    /// The remote end that sends from `from`. Its port need not be the one it listens at: RFC 7348 lets the sender
    /// choose, so that routers spread the load.
    fn remote_at(&mut self, from: SocketAddr) -> Option<RemoteId> {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let address = |remote: &Remote| {
            SocketAddr::new(
                remote.address().ip().to_canonical(),
                remote.address().port(),
            )
        };
        if let Some(place) = self
            .remotes
            .iter()
            .position(|remote| address(remote) == from)
        {
            return Some(RemoteId::new(place));
        }
        let same_host = |remote: &Remote| address(remote).ip() == from.ip();
        let mut candidates =
            (0..self.remotes.len()).filter(|&place| same_host(&self.remotes[place]));
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => Some(RemoteId::new(only)),
            // Several ends of one host, and none of them at that port.
            (Some(_), Some(_)) => None,
            (None, _) => self.learn_remote(from),
        }
    }

    fn learn_remote(&mut self, from: SocketAddr) -> Option<RemoteId> {
        if self.learned_remotes == self.learned_remotes_limit {
            return None;
        }
        let address = SocketAddr::new(from.ip(), self.local.port());
        self.learned_remotes += 1;
        self.remotes
            .push(Remote::new(address, self.local.is_ipv6()));
        Some(RemoteId::new(self.remotes.len() - 1))
    }

    /// Notes that `station` is behind `remote`.
    fn learn(&mut self, station: Station, remote: RemoteId, now: Instant) {
        let group = station.mac.is_group();
        if group || self.last == Some((station, remote)) {
            return;
        }
        match self.table.learn(station, remote, now) {
            Learnt::Known => {}
            Learnt::New => {
                self.counters.learned += 1;
                self.towards = None;
            }
            Learnt::NoRoom => {
                self.counters.table_full += 1;
                return;
            }
        }
        self.last = Some((station, remote));
    }

    /// Where a station is, if it has been heard of.
    fn find(&mut self, station: Station) -> Option<RemoteId> {
        if let Some((_, remote)) = self.towards.filter(|(known, _)| *known == station) {
            return Some(remote);
        }
        let remote = self.table.find(station, Instant::now())?;
        self.towards = Some((station, remote));
        Some(remote)
    }

    /// Makes room for a datagram of `len` bytes to one remote end.
    fn make_room(&mut self, remote: RemoteId, len: usize) -> Result<(), LinkError> {
        let most = self.socket.state.max_gso_segments();
        let end = &mut self.remotes[remote.place()];
        if end.takes(len, most) {
            return Ok(());
        }
        match end.send(&self.socket, &mut self.counters)? {
            Sent::Done => Ok(()),
            Sent::Blocked => {
                self.blocked = true;
                self.counters.full += 1;
                Err(LinkError::Full)
            }
        }
    }

    fn add(&mut self, remote: RemoteId, vni: u32, frame: &Outgoing<'_>) {
        let end = &mut self.remotes[remote.place()];
        if !std::mem::replace(&mut end.busy, true) {
            self.busy.push(remote);
        }
        end.add(vni, frame);
    }

    /// Takes the datagram apart: who sent it, and what is in it.
    fn accept(&mut self, datagram: &Datagram, now: Instant) -> Result<Tag, DropReason> {
        let remote = match self.sender {
            Some((from, remote)) if from == datagram.from => remote,
            _ => self
                .remote_at(datagram.from)
                .ok_or(DropReason::UnknownRemote)?,
        };
        self.sender = Some((datagram.from, remote));
        let (vni, frame) = header::parse(&self.inbox.buffers[datagram.bytes.clone()])?;
        if frame.len() > self.info.mtu {
            return Err(DropReason::ReceiveTooLong);
        }
        let Some(source) = frame[SOURCE..].first_chunk() else {
            return Err(DropReason::ReceiveTooShort);
        };
        self.learn(
            Station {
                vni,
                mac: Mac::leading(*source),
            },
            remote,
            now,
        );
        Ok(Tag::Vni(vni))
    }
}

/// Checks a frame and gives its VNI and destination.
fn check(frame: &Outgoing<'_>, mtu: usize) -> Result<Station, LinkError> {
    let too_short = LinkError::TooShort {
        len: frame.head.len(),
    };
    let mac = match frame.head.first_chunk() {
        Some(destination) if frame.head.len() >= ETHERNET_HEADER => Mac::leading(*destination),
        _ => return Err(too_short),
    };
    if frame.len() > mtu {
        return Err(LinkError::TooLong {
            len: frame.len(),
            mtu,
        });
    }
    match frame.tag {
        Tag::Vni(vni) if vni <= LARGEST_VNI => Ok(Station { vni, mac }),
        tag => Err(LinkError::WrongTag {
            tag,
            kind: LinkKind::Vxlan,
        }),
    }
}

impl Link for VxlanLink {
    fn describe(&self) -> LinkInfo {
        self.info.clone()
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        let station = check(frame, self.info.mtu)?;
        let len = HEADER + frame.len();
        let group = station.mac.is_group();
        let known = if group { None } else { self.find(station) };
        match known {
            Some(remote) => {
                self.make_room(remote, len)?;
                self.add(remote, station.vni, frame);
            }
            None if self.remotes.is_empty() => self.counters.drop_one(DropReason::NoRemote),
            None => {
                // To all or to none, so that a frame offered again is not sent twice.
                for place in 0..self.remotes.len() {
                    self.make_room(RemoteId::new(place), len)?;
                }
                for place in 0..self.remotes.len() {
                    self.add(RemoteId::new(place), station.vni, frame);
                }
                self.counters.flooded += 1;
            }
        }
        self.counters.transmitted.count(frame.len());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.blocked = false;
        self.towards = None;
        while let Some(&remote) = self.busy.last() {
            let end = &mut self.remotes[remote.place()];
            if end.send(&self.socket, &mut self.counters)? == Sent::Blocked {
                self.blocked = true;
                break;
            }
            end.busy = false;
            self.busy.pop();
        }
        Ok(())
    }

    fn is_gathering(&self) -> bool {
        let most = self.socket.state.max_gso_segments();
        let end = |remote: &RemoteId| &self.remotes[remote.place()];
        !self.blocked
            && self
                .busy
                .iter()
                .all(|remote| end(remote).is_gathering(most))
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        let (mut seen, mut count) = (0, 0);
        let now = Instant::now();
        // Learn anew once a call, so that a busy station does not grow old.
        self.last = None;
        // What is dropped counts too, so that a flood of it is bounded work; but nothing is left in the
        // inbox of which the descriptor does not tell, unless frames were handed over.
        while count < budget {
            let Some(datagram) = self.inbox.next() else {
                if seen >= budget || (seen > 0 && !self.inbox.was_full()) {
                    break;
                }
                self.counters.system_calls += 1;
                match self.inbox.fill(&self.socket) {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(error) => return Err(LinkError::io("receive datagrams")(error)),
                }
            };
            seen += 1;
            match self.accept(&datagram, now) {
                Ok(tag) => {
                    let frame = &self.inbox.buffers[datagram.bytes][HEADER..];
                    self.counters.received.count(frame.len());
                    count += 1;
                    sink(Incoming::bytes(frame, tag));
                }
                Err(reason) => self.counters.drop_one(reason),
            }
        }
        Ok(count)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        let interest = if self.blocked {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        (self.socket.udp.as_fd(), interest)
    }

    /// Nothing to be done: datagrams come to the host's address, whoever they are for.
    fn set_addresses(&mut self, _macs: &[NicAddr]) -> Result<(), LinkError> {
        Ok(())
    }

    fn counters(&self) -> LinkCounters {
        let mut counters = self.counters;
        if let Ok(lost) = udp::dropped_at(self.socket.udp.as_fd()) {
            counters.drops[DropReason::ReceiveOverrun] = u64::from(lost);
        }
        counters
    }
}
