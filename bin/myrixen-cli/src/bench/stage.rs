//! Two hosts, the cables between them, and everybody who takes part for longer than one figure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command as Process;
use std::time::Duration;

use anyhow::{Context as _, bail};
use myrixen_mpi::{Place, Places};
use myrixen_netlab::Lab;

use super::Extent;
use super::iceoryx2;
use super::legs::{Contestant, Cost, GUESTS, Home, Leg, Ours};
use super::mx;
use super::programs::Ended;
use super::provider;
use crate::demo::crew::{Crew, Member};
use crate::demo::dialogue::PATIENCE;
use crate::demo::hosts::{Post, Site};
use crate::demo::measure::describe;
use crate::demo::protocol::{Command, GuestPlace, Plan, Report};
use crate::peer::Kind;
use crate::record::{Path, Record, Wait};
use crate::scale;
use crate::shares::{Shares, Split};
use crate::system;

/// What the page says of it.
pub(super) const SENTENCE: &str = "Two hosts (network namespaces), joined by virtual Ethernet cables (veth, MTU 9000): one for the back ends, \
     one for IP (sockets, iperf3, VXLAN), one for back ends embedded in programs, one each for plain packet and AF_XDP sockets. Programs of somebody else's \
     wait as they do: fi_pingpong and ucx_perftest spin, iperf3 sleeps; what fi_pingpong calls bandwidth is that of its \
     ping-pong; UCX's tcp has found loopback only. Ranks of MPI spin, and give way to others meanwhile where there are fewer cores than ranks and back \
     ends. What is measured between the two hosts has half of the cores at either, as if they were two machines; of what spins on one host each end has a core.";

const MTU: u32 = 9000;

/// The hosts' addresses on the cable for IP.
pub(super) const IP: [&str; 2] = ["10.77.0.1", "10.77.0.2"];
/// Where peers serve.
const PORT: u16 = 7001;

/// What carries frames from host to host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uplink {
    Ethernet,
    Vxlan,
}

impl Uplink {
    /// As records name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "ethernet",
            Self::Vxlan => "vxlan",
        }
    }

    /// The place of a host's back end with such an uplink among the posts.
    fn post(self, host: usize) -> usize {
        match self {
            Self::Ethernet => host,
            Self::Vxlan => host + 2,
        }
    }
}

/// Names of the hosts' interfaces, host by host.
struct Cables {
    native: [String; 2],
    raw: [String; 2],
    xdp: [String; 2],
    ip: [String; 2],
}

/// See the module.
pub(super) struct Stage {
    crew: Crew,
    guests: Vec<(Member, GuestPlace)>,
    /// The back ends' processes, by their posts.
    back_ends: Vec<u32>,
    cables: Cables,
    /// Processor time that programs of others take to start, by their names.
    pub(super) start_ups: BTreeMap<&'static str, Duration>,
    /// Whose cores are whose.
    shares: Shares,
    /// Where libfabric is to find our provider, if that was said.
    pub(super) provider: Option<PathBuf>,
    /// The MPI program, once it has been compiled.
    pub(super) mpi_program: Option<PathBuf>,
    /// The program that measures matching over libfabric, once it has been compiled.
    pub(super) matching_program: Option<PathBuf>,
    // Last, so that nothing runs any more when its directory is removed.
    site: Site,
}

impl Stage {
    /// Makes the hosts. To be called while the process has one thread.
    pub(super) fn make(provider: Option<PathBuf>) -> anyhow::Result<Self> {
        // A root keeps its rights: AF_XDP takes them.
        let lab = Lab::enter_as_root().or_else(|_| Lab::enter()).context(
            "paths are measured between hosts made of network namespaces, which cannot be made",
        )?;
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        for host in [&a, &b] {
            // Its neighbours' frames disturb what is counted; a kernel without it has none.
            let off = || std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
            let _ = host.run(off)?;
        }
        let cable = || lab.cable([&a, &b], MTU);
        let (fabric, ip, native) = (cable()?, cable()?, cable()?);
        let cables = Cables {
            native,
            raw: cable()?,
            xdp: cable()?,
            ip: ip.clone(),
        };
        for ((host, interface), address) in [&a, &b].into_iter().zip(&ip).zip(IP) {
            host.add_address(interface, address.parse()?, 24)?;
        }
        let ethernet = |host: usize, name: &str| Post {
            name: name.to_owned(),
            host: Some(host),
            uplink: format!(
                "[[uplink]]\nname = \"cable\"\nkind = \"ethernet\"\ninterface = \"{}\"\n",
                fabric[host]
            ),
        };
        let vxlan = |host: usize, name: &str| Post {
            name: name.to_owned(),
            host: Some(host),
            uplink: format!(
                "[[uplink]]\nname = \"tunnel\"\nkind = \"vxlan\"\nlisten = \"{}:4789\"\n\
                 remotes = [\"{}:4789\"]\nvni = 1\n",
                IP[host],
                IP[1 - host]
            ),
        };
        let posts = vec![
            ethernet(0, "a"),
            ethernet(1, "b"),
            vxlan(0, "c"),
            vxlan(1, "d"),
        ];
        Ok(Self {
            crew: Crew::new(),
            guests: Vec::new(),
            back_ends: Vec::new(),
            cables,
            start_ups: BTreeMap::new(),
            shares: Shares::of(&system::cores()),
            provider,
            mpi_program: None,
            matching_program: None,
            site: Site::make(vec![a, b], posts)?,
        })
    }

    /// Starts the back ends and the guests, and connects those that talk.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        for post in 0..4 {
            let daemon = self.site.start_daemon(&mut self.crew, post)?;
            self.back_ends.push(self.crew.pid(daemon));
        }
        let mut waiting = BTreeSet::new();
        for (number, (name, home)) in (0..).zip(GUESTS) {
            waiting.insert(self.start_guest(name, home, number)?);
        }
        self.guests = self.crew.ready(waiting)?;
        // Those that can reach each other.
        for fabric in [0..3, 3..5, 5..7] {
            self.crew.connect(&self.guests[fabric])?;
        }
        Ok(())
    }

    fn start_guest(&mut self, name: &str, home: Home, number: u16) -> anyhow::Result<Member> {
        let host = match home {
            Home::Post(post) => {
                let crew = &mut self.crew;
                return self.site.start_guest(crew, post, name, number);
            }
            Home::Native(host) => host,
        };
        let mut command = self.site.myself();
        command.args(["demo-part", "guest", "--native", &self.cables.native[host]]);
        let board = format!("{name}:0");
        command.args(["--board", &board, "--number", &number.to_string()]);
        let what = format!("guest {name}");
        self.site
            .hire(&mut self.crew, Some(host), &what, &mut command)
    }

    /// Gives one contestant its turn.
    pub(super) fn measure(&mut self, leg: &Leg, extent: &Extent) -> anyhow::Result<Vec<Record>> {
        let plan = Plan {
            pingpong_sizes: extent.pingpong.clone(),
            stream_sizes: extent.stream.clone(),
            rate_sizes: extent.rate.clone(),
            each_ms: u64::try_from(extent.each.as_millis())?,
            parties: Some(Vec::new()),
            calls: extent.calls,
        };
        self.share_cores(leg.split())?;
        match &leg.contestant {
            Contestant::Ours(ours) => self.ours(ours, leg.wait, plan),
            Contestant::Cost(cost) => self.cost(*cost, extent),
            Contestant::Peer(kind) => self.peer(*kind, leg.wait, plan),
            Contestant::Program(program) => program.measure(self, extent),
            Contestant::Iceoryx2 => iceoryx2::measure(self, extent),
            Contestant::Mx(ours) => mx::measure(self, ours, leg.wait, extent),
            Contestant::Mpi(mpi) => mpi.measure(self, &extent.mpi),
        }
    }

    /// Gives guests and back ends the cores that are theirs from now on.
    fn share_cores(&mut self, split: Split) -> anyhow::Result<()> {
        if !self.shares.change(split) {
            return Ok(());
        }
        for (post, &back_end) in self.back_ends.iter().enumerate() {
            system::pin(back_end, self.shares.on(Home::Post(post).host()))?;
        }
        for (number, ((member, _), (_, home))) in self.guests.iter().zip(GUESTS).enumerate() {
            let cores = self.shares.of_end(number, home.host());
            system::pin(self.crew.pid(*member), cores)?;
        }
        Ok(())
    }

    fn ours(&mut self, ours: &Ours, wait: Wait, plan: Plan) -> anyhow::Result<Vec<Record>> {
        let Ours {
            path,
            link,
            on,
            guests: (client, server),
        } = ours;
        let (on, with) = (*on, self.guests[*server].1.number);
        let mut plan = Plan {
            parties: Some(self.parties(*client, *server)),
            ..plan
        };
        if *path == Path::DirectLent {
            // What is eager is sent as from any other memory.
            (plan.pingpong_sizes, plan.rate_sizes) = (Vec::new(), Vec::new());
            plan.stream_sizes.retain(|size| *size > EAGER_MAX);
        }
        let (client, server) = (self.guests[*client].0, self.guests[*server].0);
        let order = Command::Measure {
            on,
            with,
            path: path.clone(),
            link: link.map(str::to_owned),
            wait,
            plan,
        };
        let mut records = Vec::new();
        self.crew
            .measure((client, server), on, &order, keep(&mut records))?;
        Ok(records)
    }

    fn cost(&mut self, cost: Cost, extent: &Extent) -> anyhow::Result<Vec<Record>> {
        let figures = match cost {
            Cost::Matching => return self.matching(extent),
            Cost::ProviderMatching => return provider::matching(self, extent),
            Cost::Setup => {
                scale::setup::measure(&self.site, [self.back_ends[0], self.back_ends[1]])?
            }
            Cost::Asleep => scale::sleep::measure(&self.site, extent.asleep, 1, &mut |_| ())?,
        };
        Ok(figures.into_iter().map(Record::Held).collect())
    }

    fn matching(&mut self, extent: &Extent) -> anyhow::Result<Vec<Record>> {
        let mut command = self.site.myself();
        let lengths: Vec<String> = extent.queues.iter().map(u64::to_string).collect();
        command.args(["demo-part", "matching", "--lengths", &lengths.join(",")]);
        command.args(["--each-ms", &extent.each.as_millis().to_string()]);
        let crew = &mut self.crew;
        let member = self.site.hire(crew, Some(0), "matching", &mut command)?;
        let mut records = Vec::new();
        let collected = self.crew.collect(member, keep(&mut records));
        self.crew.kill(member)?;
        collected.map(|()| records)
    }

    /// Who works for two guests besides the one that measures: the other, and the back ends between them.
    fn parties(&self, client: usize, server: usize) -> Vec<u32> {
        let mut parties = vec![self.crew.pid(self.guests[server].0)];
        parties.extend(self.between([client, server]));
        parties
    }

    /// The back ends' processes that two guests are at.
    pub(super) fn between(&self, guests: [usize; 2]) -> BTreeSet<u32> {
        let homes = guests.map(|guest| GUESTS[guest].1);
        let posts = homes.into_iter().filter_map(|home| match home {
            Home::Post(post) => Some(self.back_ends[post]),
            Home::Native(_) => None,
        });
        posts.collect()
    }

    fn peer(&mut self, kind: Kind, wait: Wait, plan: Plan) -> anyhow::Result<Vec<Record>> {
        let at = |host: usize| match kind {
            Kind::Raw => self.cables.raw[host].clone(),
            Kind::Xdp => self.cables.xdp[host].clone(),
            _ => format!("{}:{PORT}", IP[1]),
        };
        let (here, there) = (at(0), at(1));
        let (mut plan, mut server) = (fitting(kind, plan), None);
        if kind.has_partner() {
            let member = self.hire(kind, wait, 1, &["--at", &there])?;
            plan.parties = Some(vec![self.crew.pid(member)]);
            server = Some(member);
            match self.crew.next(PATIENCE, "a peer began to serve")?.1 {
                Report::Connected => {}
                other => bail!("a peer said {other:?} instead of serving"),
            }
        }
        let plan = serde_json::to_string(&plan)?;
        let client = self.hire(kind, wait, 0, &["--at", &here, "--plan", &plan])?;
        let mut records = Vec::new();
        let collected = self.crew.collect(client, keep(&mut records));
        for member in server.into_iter().chain([client]) {
            self.crew.kill(member)?;
        }
        collected.map(|()| records)
    }

    fn hire(
        &mut self,
        kind: Kind,
        wait: Wait,
        host: usize,
        args: &[&str],
    ) -> anyhow::Result<Member> {
        let mut command = self.site.myself();
        let wait = wait.to_string();
        command.args(["demo-part", "way", "--kind", kind.name(), "--wait", &wait]);
        command.args(args);
        let name = format!("peer {}", kind.name());
        let member = self
            .site
            .hire(&mut self.crew, Some(host), &name, &mut command)?;
        self.place(self.crew.pid(member), host, host)?;
        Ok(member)
    }

    /// Starts a process in a host: which of the two ends, of a program that has an end that asks and one that answers, or the only one.
    pub(super) fn spawn(
        &self,
        host: usize,
        end: usize,
        command: &mut Process,
    ) -> anyhow::Result<Ended> {
        let started = Ended(self.site.spawn(Some(host), command)?);
        self.place(started.0.id(), host, end)?;
        Ok(started)
    }

    /// Has an end that has just been started on a host run on the cores that are its own.
    fn place(&self, process: u32, host: usize, end: usize) -> anyhow::Result<()> {
        if !self.shares.is_split() {
            return Ok(());
        }
        system::pin(process, self.shares.of_end(end, host))
    }

    /// This program, to be started again.
    pub(super) fn myself(&self) -> Process {
        self.site.myself()
    }

    /// The socket of the back end that a guest is at; none for one with a back end of its own.
    pub(super) fn socket(&self, guest: usize) -> Option<PathBuf> {
        match GUESTS[guest].1 {
            Home::Post(post) => Some(self.site.socket(post)),
            Home::Native(_) => None,
        }
    }

    /// The hosts as MPI is to see them: the first one, or both, whose programs attach to the back ends with such an uplink.
    pub(super) fn places(&self, hosts: usize, uplink: Uplink) -> anyhow::Result<Places<'_>> {
        let mut places = Vec::new();
        for at in 0..hosts {
            let host = self.site.host(at).context("there is no such host")?;
            let socket = self.site.socket(uplink.post(at)).display().to_string();
            let place = Place::new(host, &[("MYRIXEN_SOCKET", &socket)])?;
            places.push(if self.shares.is_split() {
                place.on(self.shares.on(at))
            } else {
                place
            });
        }
        Places::new(places)
    }

    /// The name that the interface for IP has on both hosts.
    pub(super) fn ip_interface(&self) -> &str {
        &self.cables.ip[0]
    }

    /// A folder for what is compiled.
    pub(super) fn folder(&self) -> PathBuf {
        let socket = self.site.socket(0);
        socket.parent().map_or_else(PathBuf::new, PathBuf::from)
    }

    /// Lets everybody go.
    pub(super) fn close(&mut self) {
        self.crew.dismiss(Duration::from_secs(5));
    }
}

/// Keeps what is measured.
fn keep(records: &mut Vec<Record>) -> impl FnMut(Record) -> String {
    |record| {
        let text = describe(&record);
        records.push(record);
        text
    }
}

/// The longest message that is sent eagerly, in bytes.
const EAGER_MAX: u64 = 32 << 10;

/// Of a plan what a peer can do.
fn fitting(kind: Kind, plan: Plan) -> Plan {
    let largest = match kind {
        Kind::Line => 8,
        Kind::Memcpy => 0,
        Kind::Raw | Kind::Xdp => 8192,
        Kind::Udp => 32 << 10,
        Kind::Tcp | Kind::Switched => u64::MAX,
    };
    let anything = matches!(kind, Kind::Tcp | Kind::Switched);
    let smallest = if anything { 0 } else { 8 };
    let fits = |size: &u64| (smallest..=largest).contains(size);
    let streams = anything || kind == Kind::Memcpy;
    Plan {
        pingpong_sizes: plan.pingpong_sizes.into_iter().filter(fits).collect(),
        stream_sizes: if streams {
            plan.stream_sizes
        } else {
            Vec::new()
        },
        rate_sizes: if anything {
            plan.rate_sizes
        } else {
            Vec::new()
        },
        each_ms: plan.each_ms,
        parties: plan.parties,
        calls: plan.calls,
    }
}
