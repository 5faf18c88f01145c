//! Other people's transports, measured by the programs that come with them: iperf3, fi_pingpong of libfabric, ucx_perftest of UCX. Each
//! is started anew for each figure, at both ends.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::Extent;
use super::stage::{IP, Stage};
use crate::held::float;
use crate::record::{Path, Percentiles, PingPong, Rate, Record, Stream, Wait};
use crate::system;

/// How long one of them may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// A client that finds nobody listening tries again.
pub(super) const AGAIN: Duration = Duration::from_millis(30);

/// A transport of somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Iperf3,
    /// libfabric, by its provider.
    Fabric(&'static str, &'static str),
    /// UCX, by what `UCX_TLS` is set to.
    Ucx(&'static str, &'static str),
}

/// One test of one of them.
enum Test {
    /// As little as can be: what starting takes.
    Start,
    Latency(u64),
    Bandwidth(u64),
    Rate(u64),
}

/// What came of a test.
struct Outcome {
    figures: Figures,
    /// Processor time of both ends for what was transferred; none where it is lost beside that of starting.
    cpu: Option<Duration>,
}

impl Program {
    pub(super) const ALL: [Self; 8] = [
        Self::Iperf3,
        Self::Fabric("fi-shm", "shm"),
        Self::Fabric("fi-tcp", "tcp;ofi_rxm"),
        Self::Fabric("fi-net", "net"),
        Self::Ucx("ucx-posix", "posix"),
        Self::Ucx("ucx-sysv", "sysv"),
        Self::Ucx("ucx-cma", "posix,cma"),
        Self::Ucx("ucx-tcp", "tcp"),
    ];

    /// As records name it, after `peer:`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Iperf3 => "iperf3",
            Self::Fabric(name, _) | Self::Ucx(name, _) => name,
        }
    }

    /// How it waits: that is not for us to say.
    pub(super) fn waits(self) -> &'static [Wait] {
        match self {
            Self::Iperf3 => &[Wait::Sleep],
            Self::Fabric(..) | Self::Ucx(..) => &[Wait::Spin],
        }
    }

    /// The program and the Debian package it is in.
    fn source(self) -> [&'static str; 2] {
        match self {
            Self::Iperf3 => ["iperf3", "iperf3"],
            Self::Fabric(..) => ["fi_pingpong", "libfabric-bin"],
            Self::Ucx(..) => ["ucx_perftest", "ucx-utils"],
        }
    }

    /// Whether its two ends are on two hosts.
    pub(super) fn crosses(self) -> bool {
        match self {
            Self::Iperf3 => true,
            Self::Fabric(_, provider) => provider != "shm",
            // It looks for interfaces where those of the machine are listed, and finds only its loopback here.
            Self::Ucx(..) => false,
        }
    }

    /// Measures all that it can of what is wanted.
    pub(super) fn measure(self, stage: &mut Stage, extent: &Extent) -> anyhow::Result<Vec<Record>> {
        let start = match stage.start_ups.get(self.name()) {
            Some(&known) => known,
            None => {
                let (_, cpu) = self.run(stage, &Test::Start)?;
                stage.start_ups.insert(self.name(), cpu);
                cpu
            }
        };
        let mut records = Vec::new();
        for test in self.tests(extent) {
            let (said, cpu) = self.run(stage, &test)?;
            let read = match self {
                Self::Iperf3 => iperf3(&said),
                Self::Fabric(..) => pingpong(&said),
                Self::Ucx(..) => perftest(&said),
            };
            let figures = read.with_context(|| format!("{} said:\n{said}", self.source()[0]))?;
            let cpu = cpu.saturating_sub(start);
            let cpu = (cpu > start / 4).then_some(cpu);
            records.extend(self.records(&test, &Outcome { figures, cpu }));
        }
        Ok(records)
    }

    /// All sizes that are wanted, or some where no bar speaks of them or the time is short: each figure takes a start of the program.
    fn tests(self, extent: &Extent) -> Vec<Test> {
        let some = |sizes: &[u64], few: Option<&[u64]>| -> Vec<u64> {
            let wanted = |size: &u64| few.is_none_or(|few| few.contains(size));
            sizes.iter().copied().filter(wanted).collect()
        };
        let (latencies, bandwidths): (Option<&[u64]>, Option<&[u64]>) =
            match (extent.sparing, self.has_bar()) {
                (false, true) => (None, None),
                (false, false) => (
                    Some(&[0, 8, 4096, 1 << 20, 4 << 20]),
                    Some(&[4096, 64 << 10, 1 << 20, 4 << 20]),
                ),
                (true, true) => (Some(&[8]), Some(&[16 << 10, 64 << 10, 1 << 20])),
                (true, false) => (Some(&[8]), Some(&[1 << 20])),
            };
        let latency = some(&extent.pingpong, latencies);
        let bandwidth = some(&extent.stream, bandwidths);
        match self {
            Self::Iperf3 => vec![Test::Bandwidth(4 << 20)],
            // What it calls bandwidth comes from its ping-pong: see `records`.
            Self::Fabric(..) => {
                let both: BTreeSet<u64> = latency.into_iter().chain(bandwidth).collect();
                both.into_iter().map(Test::Latency).collect()
            }
            Self::Ucx(..) => {
                let rate = extent.rate.iter().copied().map(Test::Rate);
                let latency = latency.into_iter().map(Test::Latency);
                let bandwidth = bandwidth.into_iter().map(Test::Bandwidth);
                latency.chain(bandwidth).chain(rate).collect()
            }
        }
    }

    /// Whether some path of ours is held against it.
    pub(super) fn has_bar(self) -> bool {
        matches!(self.name(), "iperf3" | "fi-shm" | "ucx-posix" | "ucx-cma")
    }

    /// Size and number of the messages of a test: enough to tell them from starting, not so many that one waits for them.
    fn amount(self, test: &Test) -> (u64, u64) {
        let in_memory = matches!(self, Self::Ucx(_, tls) if tls != "tcp");
        let (bytes, messages): (u64, u64) = if in_memory {
            (2 << 30, 2_000_000)
        } else {
            (400 << 20, 100_000)
        };
        match *test {
            Test::Start => (8, 1),
            Test::Latency(size) => (size, (100 << 20) / (size + 16 * 1024)),
            Test::Bandwidth(size) => (size, bytes / (size + 1024)),
            Test::Rate(size) => (size, messages),
        }
    }

    fn command(self, test: &Test, to: Option<&str>) -> Command {
        let [program, _] = self.source();
        let mut command = Command::new(program);
        let (size, count) = self.amount(test);
        let [size, count, warm_up] = [size, count, count / 10].map(|number| number.to_string());
        match self {
            Self::Iperf3 => {
                let least = matches!(test, Test::Start);
                let extent = if least {
                    ["--bytes", "1"]
                } else {
                    ["--time", "1"]
                };
                let client = [&["--json"], &extent[..], &["--client"]].concat();
                let server = ["--server", "--one-off"].as_slice();
                command.args(if to.is_some() { &client } else { server });
            }
            Self::Fabric(_, provider) => {
                command.args(["-p", provider, "-e", "rdm", "-S", &size, "-I", &count]);
            }
            Self::Ucx(_, tls) => {
                let name = match test {
                    Test::Start | Test::Latency(_) => "tag_lat",
                    Test::Bandwidth(_) | Test::Rate(_) => "tag_bw",
                };
                command
                    .env("UCX_TLS", tls)
                    .env("UCX_WARN_UNUSED_ENV_VARS", "n");
                command.args(["-f", "-t", name, "-s", &size, "-n", &count, "-w", &warm_up]);
            }
        }
        command.args(to);
        command
    }

    /// Runs both ends; what the client said, and the processor time that both have used.
    fn run(self, stage: &Stage, test: &Test) -> anyhow::Result<(String, Duration)> {
        let [program, package] = self.source();
        let (there, to) = if self.crosses() {
            (1, IP[1])
        } else {
            (0, "127.0.0.1")
        };
        let missing = || format!("cannot start {program}: it comes with the package {package}");
        let mut server = self.command(test, None);
        server.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = stage.spawn(there, 1, &mut server).with_context(missing)?;
        let until = Instant::now() + PATIENCE;
        loop {
            let before = system::cpu_of_children()?;
            let mut client = self.command(test, Some(to));
            client.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut client = stage.spawn(0, 0, &mut client).with_context(missing)?;
            let (well, said) = client.hear(until)?;
            // iperf3 fails with a success.
            if well && !said.contains("\"error\":") {
                server.end(until)?;
                return Ok((said, system::cpu_of_children()? - before));
            }
            // The server may not listen yet; when it has gone, it never will.
            if server.0.try_wait()?.is_some() || Instant::now() > until {
                bail!("{program} did not succeed; its words: {}", said.trim());
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn records(self, test: &Test, outcome: &Outcome) -> Vec<Record> {
        let path = Path::Peer(self.name().to_owned());
        let (wait, figures) = (self.waits()[0], &outcome.figures);
        let (_, count) = self.amount(test);
        let stream = |size: u64| {
            let bytes = match self {
                Self::Iperf3 => figures.bytes,
                // Both ways.
                Self::Fabric(..) => 2 * count * size,
                Self::Ucx(..) => (count + count / 10) * size,
            };
            let gib = float(bytes) / f64::from(1 << 30);
            Record::Stream(Stream {
                path: path.clone(),
                size,
                mb_per_s: figures.mb_per_s,
                wait,
                messages: 0,
                link: None,
                cpu_s_per_gib: outcome.cpu.map(|cpu| cpu.as_secs_f64() / gib),
            })
        };
        match *test {
            Test::Start => Vec::new(),
            Test::Latency(size) => {
                let nanoseconds = Duration::from_secs_f64(figures.half_rtt_us / 1e6).as_nanos();
                let p50 = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
                let mut records = vec![Record::PingPong(PingPong {
                    path: path.clone(),
                    size,
                    half_rtt_ns: Percentiles {
                        p50,
                        p99: p50,
                        p999: p50,
                    },
                    wait,
                    iterations: figures.count,
                    link: None,
                })];
                if matches!(self, Self::Fabric(..)) && size >= 4096 {
                    records.push(stream(size));
                }
                records
            }
            Test::Bandwidth(size) => vec![stream(size)],
            Test::Rate(size) => {
                let millions = float(count + count / 10) / 1e6;
                vec![Record::Rate(Rate {
                    path: path.clone(),
                    size,
                    msgs_per_s: figures.msgs_per_s,
                    wait,
                    messages: figures.count,
                    link: None,
                    cpu_s_per_million: outcome.cpu.map(|cpu| cpu.as_secs_f64() / millions),
                })]
            }
        }
    }
}

/// What was read from a program's output.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    half_rtt_us: f64,
    mb_per_s: f64,
    msgs_per_s: f64,
    count: u64,
    bytes: u64,
}

/// `end.sum_received` of `--json`.
fn iperf3(said: &str) -> anyhow::Result<Figures> {
    let value: Value = serde_json::from_str(said)?;
    let sum = &value["end"]["sum_received"];
    let bits = sum["bits_per_second"].as_f64();
    Ok(Figures {
        mb_per_s: bits.context("no bits_per_second in it")? / 8e6,
        bytes: sum["bytes"].as_u64().context("no bytes in it")?,
        ..Figures::default()
    })
}

/// The last line: bytes, sent, acknowledged, total, time, MB/s, microseconds a transfer, millions of transfers a second.
fn pingpong(said: &str) -> anyhow::Result<Figures> {
    let line = said.lines().rfind(|line| !line.trim().is_empty());
    let words: Vec<&str> = line.unwrap_or("").split_whitespace().collect();
    let [_, _, _, _, _, mb_per_s, microseconds, _] = words[..] else {
        bail!("eight columns were expected in the last line");
    };
    Ok(Figures {
        half_rtt_us: microseconds.parse()?,
        mb_per_s: mb_per_s.parse()?,
        ..Figures::default()
    })
}

/// The last line of eight numbers: iterations, latency (median, average, overall), MB/s (average, overall), messages a second
/// (average, overall). Its MB are 2^20 bytes.
fn perftest(said: &str) -> anyhow::Result<Figures> {
    let numbers = |line: &str| -> Option<Vec<f64>> {
        let words = line.split_whitespace().skip_while(|word| *word == "Final:");
        let numbers: Option<Vec<f64>> = words.map(|word| word.parse().ok()).collect();
        numbers.filter(|numbers| numbers.len() == 8)
    };
    let line = said.lines().rev().find_map(numbers);
    let line = line.context("eight numbers were expected in a line")?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count that was printed"
    )]
    let count = line[0] as u64;
    Ok(Figures {
        half_rtt_us: line[1],
        mb_per_s: line[5] * 1.048_576,
        msgs_per_s: line[7],
        count,
        ..Figures::default()
    })
}

/// A process that is killed when nobody wants it any more.
pub(super) struct Ended(pub(super) Child);

impl Ended {
    /// Waits for its end, until then at most.
    pub(super) fn end(&mut self, until: Instant) -> anyhow::Result<ExitStatus> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!("it took more than {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end, until then at most: whether it ended well, and what it said.
    pub(super) fn hear(&mut self, until: Instant) -> anyhow::Result<(bool, String)> {
        let said = listen(self.0.stdout.take());
        let words = listen(self.0.stderr.take());
        let status = self.end(until)?;
        let (said, words) = (
            said.join().unwrap_or_default(),
            words.join().unwrap_or_default(),
        );
        Ok(if status.success() {
            (true, said)
        } else {
            (false, said + &words)
        })
    }
}

/// Reads all that comes, by a thread, so that whoever says much is not held up.
fn listen(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut from) = from {
            let _ = from.read_to_string(&mut text);
        }
        text
    })
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Errors say that it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_print_is_read() {
        let said = "bytes   #sent   #ack     total       time     MB/sec    usec/xfer   Mxfers/sec\n\
                    8       100k    =100k    1.5m       12.32s      0.13      61.62       0.02\n";
        let read = pingpong(said).unwrap();
        assert_eq!((read.half_rtt_us, read.mb_per_s), (61.62, 0.13));
        let said = "|     Test     | # iterations | 50.0%ile | average |\n\
                    +--------------+\n\
                    \x20                     100000      0.105     1.346     6.343        5.67       1.00      743156      157652\n";
        let read = perftest(said).unwrap();
        assert_eq!(
            (read.half_rtt_us, read.msgs_per_s, read.count),
            (0.105, 157_652.0, 100_000)
        );
        assert_eq!(read.mb_per_s, 1.048_576);
        let said = r#"{"end":{"sum_received":{"bits_per_second":8e9,"bytes":12}}}"#;
        let read = iperf3(said).unwrap();
        assert_eq!((read.mb_per_s, read.bytes), (1000.0, 12));
        for nothing in ["", "{}", "error: no such device"] {
            assert!(pingpong(nothing).is_err() && perftest(nothing).is_err());
            assert!(iperf3(nothing).is_err());
        }
    }
}
