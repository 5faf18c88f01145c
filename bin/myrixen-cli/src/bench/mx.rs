//! Our own paths once more, through the C interface of MX and through the Rust one: what the first costs over the second. The one is measured by
//! MX's tool `mx_pingpong`, a C program on `libmyriexpress`, which is built apart, the other by `myrixen perf`. Both ends of both are started anew
//! for each figure, in turns, sleepers on one core with their back ends, and who spins on a core of his own: the scheduler places programs that have just been started otherwise
//! than those that have run for a while, and these not always alike.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::Extent;
use super::legs::Ours;
use super::programs::{AGAIN, PATIENCE};
use super::stage::Stage;
use crate::record::{Path, Percentiles, PingPong, Record, Wait};
use crate::system;

const PROGRAM: &str = "mx_pingpong";
/// The boards that the two ends of a program attach as: those that ask, and those that answer.
const MX_BOARDS: [&str; 2] = ["mx-asks", "mx-answers"];
const RUST_BOARDS: [&str; 2] = ["rust-asks", "rust-answers"];
/// As records name it.
pub(super) fn path(ours: &Ours) -> Path {
    named("mx", ours)
}

fn named(interface: &str, ours: &Ours) -> Path {
    let way = ours
        .link
        .map_or_else(|| ours.path.to_string(), str::to_owned);
    Path::Peer(format!("{interface}-{way}"))
}

/// Measures half round trips of the sizes that are wanted, each by either interface, one after the other.
pub(super) fn measure(
    stage: &Stage,
    ours: &Ours,
    wait: Wait,
    extent: &Extent,
) -> anyhow::Result<Vec<Record>> {
    let cores = system::cores();
    // Whom this process starts runs where it does.
    let mut all = stage.between(ours.guests.into());
    all.insert(std::process::id());
    let pin = |cores: &[usize]| all.iter().try_for_each(|&pid| system::pin(pid, cores));
    if wait == Wait::Sleep {
        // Left alone, sleepers are put on one core here and on two there, and that makes more of a difference than all else.
        pin(cores.get(..1).context("no core to run on")?)?;
    }
    let measured = by_turns(stage, ours, wait, extent);
    // Whatever came of it.
    pin(&cores)?;
    measured
}

fn by_turns(
    stage: &Stage,
    ours: &Ours,
    wait: Wait,
    extent: &Extent,
) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for &size in extent.mx {
        // Of either as many, which take about that time.
        let one = match wait {
            Wait::Spin => Duration::from_micros(1),
            Wait::Sleep => Duration::from_micros(20),
        };
        let rounds = u64::try_from(extent.each.as_nanos() / one.as_nanos())?;
        let rust = by_rust(stage, ours, wait, (size, rounds))?;
        let half = by_mx(stage, ours, wait, (size, rounds))?;
        let p50 = u64::try_from(half.as_nanos())?;
        let mx = PingPong {
            path: path(ours),
            half_rtt_ns: Percentiles {
                p50,
                p99: p50,
                p999: p50,
            },
            ..rust.clone()
        };
        records.extend([rust, mx].map(Record::PingPong));
    }
    Ok(records)
}

/// Runs both ends by the Rust interface.
fn by_rust(
    stage: &Stage,
    ours: &Ours,
    wait: Wait,
    (size, rounds): (u64, u64),
) -> anyhow::Result<PingPong> {
    let (client, server) = ours.guests;
    let until = Instant::now() + PATIENCE;
    let perf = |test, board: &str, guest| -> anyhow::Result<Command> {
        let mut command = stage.myself();
        command.args(["perf", test, "--board", board, "--socket"]);
        command.arg(socket(stage, guest)?);
        if ours.path == Path::Switched {
            command.arg("--no-direct");
        }
        command.stdin(Stdio::null());
        Ok(command)
    };
    let mut answers = perf("serve", RUST_BOARDS[1], server)?;
    answers.args(["--endpoint", "0"]);
    answers.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut answers = stage.spawn(0, 1, &mut answers)?;
    // It says so when it serves.
    let said = answers.0.stdout.take().context("it has no output")?;
    BufReader::new(said).read_line(&mut String::new())?;
    let file = stage.folder().join("by-rust.json");
    loop {
        let mut asks = perf("pingpong", RUST_BOARDS[0], client)?;
        asks.arg(format!("{}:0", RUST_BOARDS[1]));
        asks.args(["--sizes", &size.to_string()]);
        asks.args(["--wait", &wait.to_string()]);
        // As `mx_pingpong` does.
        asks.args(["--rounds", &rounds.to_string(), "--json"]);
        asks.arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut asks = stage.spawn(0, 0, &mut asks)?;
        let (well, said) = asks.hear(until)?;
        if well {
            break;
        }
        // A board on another host is heard of a little later.
        if Instant::now() > until {
            bail!("myrixen perf did not succeed; its words: {}", said.trim());
        }
        std::thread::sleep(AGAIN);
    }
    let records: Vec<Record> = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    match records.into_iter().next_back() {
        Some(Record::PingPong(record)) if record.path == ours.path => Ok(PingPong {
            path: named("rust", ours),
            ..record
        }),
        other => bail!(
            "a ping-pong by the {} path was expected, not {other:?}",
            ours.path
        ),
    }
}

/// Runs both ends by MX's interface; half of the median round trip.
fn by_mx(
    stage: &Stage,
    ours: &Ours,
    wait: Wait,
    (size, rounds): (u64, u64),
) -> anyhow::Result<Duration> {
    let (client, server) = ours.guests;
    let until = Instant::now() + PATIENCE;
    let mut answers = command(stage, ours, wait, (server, MX_BOARDS[1]))?;
    answers.stdout(Stdio::null()).stderr(Stdio::null());
    let mut answers = stage.spawn(0, 1, &mut answers).with_context(missing)?;
    let mut asks = command(stage, ours, wait, (client, MX_BOARDS[0]))?;
    let [size_text, rounds] = [size.to_string(), rounds.to_string()];
    asks.args(["-d", MX_BOARDS[1], "-m", "-S", &size_text, "-E", &size_text]);
    // A direct channel opens a little after the first contact; and as `myrixen perf` does.
    asks.args(["-N", &rounds, "-W", "2000"]);
    asks.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut asks = stage.spawn(0, 0, &mut asks).with_context(missing)?;
    let (well, said) = asks.hear(until)?;
    if !well {
        bail!("{PROGRAM} did not succeed; its words: {}", said.trim());
    }
    answers.end(until)?;
    read(&said).with_context(|| format!("{PROGRAM} said:\n{said}"))
}

/// The back end that a guest is at.
fn socket(stage: &Stage, guest: usize) -> anyhow::Result<PathBuf> {
    let socket = stage.socket(guest);
    socket.context("it has no back end to attach to")
}

/// One end, at the back end of a guest.
fn command(
    stage: &Stage,
    ours: &Ours,
    wait: Wait,
    (guest, board): (usize, &str),
) -> anyhow::Result<Command> {
    let mut command = Command::new(program());
    command.env("MYRIXEN_SOCKET", socket(stage, guest)?);
    command.env("MYRIXEN_BOARDS", board);
    command.env("MYRIXEN_WAIT", wait.to_string());
    if ours.path == Path::Switched {
        command.env("MX_DISABLE_SHMEM", "1");
    }
    command.arg("-w").stdin(Stdio::null());
    Ok(command)
}

fn missing() -> String {
    format!(
        "cannot start {PROGRAM}, a tool of libmyriexpress, to be put beside myrixen or into PATH: docs/mx.md says how it is built"
    )
}

/// The one beside this program, or whichever is in PATH.
fn program() -> PathBuf {
    let beside = std::env::current_exe().map(|own| own.with_file_name(PROGRAM));
    beside
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| PROGRAM.into())
}

/// The last line: length, microseconds, MB/s.
fn read(said: &str) -> anyhow::Result<Duration> {
    let line = said.lines().rfind(|line| !line.trim().is_empty());
    let words: Vec<&str> = line.unwrap_or("").split_whitespace().collect();
    let [_, microseconds, _] = words[..] else {
        bail!("three columns were expected in the last line");
    };
    let microseconds: f64 = microseconds.parse()?;
    Ok(Duration::try_from_secs_f64(microseconds / 1e6)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tool_prints_is_read() {
        let said =
            "    Length  Latency(us) Bandwidth(MB/s)\n         8        0.651         12.290\n";
        assert_eq!(read(said).unwrap(), Duration::from_nanos(651));
        for nothing in ["", "no back end", "a b c", "8 -1 2"] {
            assert!(read(nothing).is_err(), "{nothing}");
        }
    }
}
