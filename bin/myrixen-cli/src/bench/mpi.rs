//! One program on Open MPI, over our provider of libfabric and over others, over what Open MPI has of its own, and over UCX. The program is
//! ours, `pingpong.c`, compiled on the spot by the machine's `mpicc`: one binary for all, whose figures are taken as those of the other paths
//! are (NetPIPE's are averages of few messages, without percentiles).

use std::time::Duration;

use anyhow::ensure;
use myrixen_mpi::{Job, Over, compile};

use super::MpiExtent;
use super::provider;
use super::stage::{Stage, Uplink};
use crate::record::{Path, Percentiles, PingPong, Record, Stream, Wait};

/// What an MPI program's messages go over, and on how many hosts its two ranks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mpi {
    transport: Transport,
    hosts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// Ours, between hosts by Ethernet.
    Myrixen,
    /// Ours, between hosts by VXLAN.
    Tunnel,
    /// A provider of libfabric, by the name in records and its own.
    Fabric(&'static str, &'static str),
    Ob1,
    Ucx,
}

/// How long one run may take: starting, and what it measures, which is a second or two.
const PATIENCE: Duration = Duration::from_secs(30);
impl Transport {
    const ALL: [Self; 6] = [
        Self::Myrixen,
        Self::Tunnel,
        Self::Fabric("tcp", "tcp;ofi_rxm"),
        Self::Fabric("net", "net"),
        Self::Ob1,
        Self::Ucx,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Myrixen => "myrixen",
            Self::Tunnel => "myrixen-vxlan",
            Self::Fabric(name, _) => name,
            Self::Ob1 => "ob1",
            Self::Ucx => "ucx",
        }
    }

    /// Whether there is such a thing on so many hosts.
    fn is_for(self, hosts: usize) -> bool {
        self != Self::Tunnel || hosts > 1
    }

    /// What carries it from host to host.
    fn uplink(self) -> Uplink {
        match self {
            Self::Tunnel => Uplink::Vxlan,
            _ => Uplink::Ethernet,
        }
    }
}

impl Mpi {
    /// All of them, within a host and between two.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [1, 2].into_iter().flat_map(|hosts| {
            let those = Transport::ALL.into_iter().filter(move |t| t.is_for(hosts));
            those.map(move |transport| Self { transport, hosts })
        })
    }

    /// As records name it.
    pub(super) fn path(self) -> Path {
        let name = self.transport.name().to_owned();
        if self.crosses() {
            Path::MpiWire(name)
        } else {
            Path::Mpi(name)
        }
    }

    /// Whether its ranks are on two hosts.
    pub(super) fn crosses(self) -> bool {
        self.hosts > 1
    }

    /// Whether a bar speaks of it.
    pub(super) fn has_bar(self) -> bool {
        match self.transport {
            Transport::Myrixen | Transport::Tunnel => true,
            Transport::Fabric(name, _) => name == "tcp",
            Transport::Ob1 => self.hosts == 1,
            Transport::Ucx => false,
        }
    }

    /// Measures all that is wanted, in one run of the program.
    pub(super) fn measure(
        self,
        stage: &mut Stage,
        extent: &MpiExtent,
    ) -> anyhow::Result<Vec<Record>> {
        let over = match self.transport {
            Transport::Myrixen | Transport::Tunnel => {
                Over::Provider("myrixen".to_owned(), Some(provider::folder(stage)?))
            }
            Transport::Fabric(_, provider) => Over::provider(provider),
            Transport::Ob1 => Over::Ob1(stage.ip_interface().to_owned()),
            Transport::Ucx => Over::Ucx("all".to_owned()),
        };
        let program = match &stage.mpi_program {
            Some(program) => program.clone(),
            None => {
                let program = compile("pingpong", &["mpicc"], &stage.folder())?;
                stage.mpi_program.insert(program).clone()
            }
        };
        let MpiExtent {
            pingpong,
            stream,
            each,
        } = *extent;
        let wanted = pingpong.len() + stream.len();
        let mut words = vec![each.as_millis().to_string()];
        words.extend(pingpong.iter().map(|size| format!("latency:{size}")));
        words.extend(stream.iter().map(|size| format!("bandwidth:{size}")));
        let ranks_each = 2 / self.hosts;
        let mut job = Job::new(over, program).ranks(ranks_each).args(words);
        job = job.control_by(stage.ip_interface());
        if self.spins() {
            job = job.parameter("mpi_yield_when_idle", "0");
        }
        let outcome = job.run(
            &stage.places(self.hosts, self.transport.uplink())?,
            PATIENCE,
        )?;
        ensure!(
            outcome.well,
            "{}; its last words: {}",
            outcome.how,
            last_words(&outcome.said)
        );
        let records: Vec<Record> = outcome
            .said
            .lines()
            .filter_map(|line| self.read(line))
            .collect();
        let got = records.len();
        ensure!(
            wanted == got,
            "{wanted} figures were expected of it, {got} came:\n{}",
            outcome.said
        );
        Ok(records)
    }

    /// Whether its ranks may wait without giving way: between hosts back ends, and the kernel for sockets, work for them.
    fn spins(self) -> bool {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        cores >= 2 * self.hosts
    }

    /// A line of the program's.
    fn read(self, line: &str) -> Option<Record> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (path, wait) = (self.path(), Wait::Spin);
        let link = self
            .crosses()
            .then(|| self.transport.uplink().name().to_owned());
        match words[..] {
            ["half_rtt", size, p50, p99, p999, count] => Some(Record::PingPong(PingPong {
                path,
                size: size.parse().ok()?,
                half_rtt_ns: Percentiles {
                    p50: p50.parse().ok()?,
                    p99: p99.parse().ok()?,
                    p999: p999.parse().ok()?,
                },
                wait,
                iterations: count.parse().ok()?,
                link,
            })),
            ["stream", size, mb_per_s, count] => Some(Record::Stream(Stream {
                path,
                size: size.parse().ok()?,
                mb_per_s: mb_per_s.parse().ok()?,
                wait,
                messages: count.parse().ok()?,
                link,
                cpu_s_per_gib: None,
            })),
            _ => None,
        }
    }
}

/// The last of what a failing job said that is not decoration.
fn last_words(said: &str) -> String {
    let lines = said.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("---"))
        .collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_program_become_records() {
        let mpi = Mpi::all().last().expect("there are some");
        let Some(Record::PingPong(record)) = mpi.read("half_rtt 8 700 800 9000 300") else {
            panic!("no record");
        };
        assert_eq!((record.half_rtt_ns.p99, record.iterations), (800, 300));
        assert_eq!(record.path.to_string(), "mpi-wire:ucx");
        assert!(mpi.read("PASSED: pingpong, 2 ranks").is_none());
    }
}
