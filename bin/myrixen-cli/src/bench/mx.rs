//! Our own paths once more, through the C interface of MX: what that costs over the Rust one. Measured by MX's tool `mx_pingpong`, a C program on
//! `libmyriexpress`, which is built apart.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::Extent;
use super::legs::Ours;
use super::programs::{Ended, PATIENCE};
use super::stage::Stage;
use crate::record::{Path, Percentiles, PingPong, Record, Wait};

const PROGRAM: &str = "mx_pingpong";
/// The boards that its two ends attach as.
const BOARDS: [&str; 2] = ["mx-asks", "mx-answers"];
/// Most rounds of one figure: it keeps the time of each.
const MOST_ROUNDS: u128 = 1_000_000;

/// As records name it.
pub(super) fn path(ours: &Ours) -> Path {
    let way = ours
        .link
        .map_or_else(|| ours.path.to_string(), str::to_owned);
    Path::Peer(format!("mx-{way}"))
}

/// Measures half round trips of the sizes that are wanted.
pub(super) fn measure(
    stage: &Stage,
    ours: &Ours,
    wait: Wait,
    extent: &Extent,
) -> anyhow::Result<Vec<Record>> {
    // The first figure tells how many rounds fit into the time of one.
    let mut rounds = 200;
    let mut records = Vec::new();
    for &size in extent.mx {
        let half = run(stage, ours, wait, (size, rounds))?;
        let fit = extent.each.as_nanos() / (2 * half.as_nanos()).max(1);
        rounds = u32::try_from(fit.clamp(100, MOST_ROUNDS))?;
        let half = run(stage, ours, wait, (size, rounds))?;
        let p50 = u64::try_from(half.as_nanos())?;
        records.push(Record::PingPong(PingPong {
            path: path(ours),
            size,
            half_rtt_ns: Percentiles {
                p50,
                p99: p50,
                p999: p50,
            },
            wait,
            iterations: rounds.into(),
            link: None,
        }));
    }
    Ok(records)
}

/// Runs both ends; half of the median round trip.
fn run(
    stage: &Stage,
    ours: &Ours,
    wait: Wait,
    (size, rounds): (u64, u32),
) -> anyhow::Result<Duration> {
    let (client, server) = ours.guests;
    let until = Instant::now() + PATIENCE;
    let mut answers = command(stage, ours, wait, (server, BOARDS[1]))?;
    answers.stdout(Stdio::null()).stderr(Stdio::null());
    let mut answers = Ended(stage.spawn(0, &mut answers).with_context(missing)?);
    let mut asks = command(stage, ours, wait, (client, BOARDS[0]))?;
    let [size_text, rounds] = [size.to_string(), rounds.to_string()];
    asks.args(["-d", BOARDS[1], "-m", "-S", &size_text, "-E", &size_text]);
    // A direct channel opens a little after the first contact.
    asks.args(["-N", &rounds, "-W", "2000"]);
    asks.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut asks = Ended(stage.spawn(0, &mut asks).with_context(missing)?);
    let (well, said) = asks.hear(until)?;
    if !well {
        bail!("{PROGRAM} did not succeed; its words: {}", said.trim());
    }
    answers.end(until)?;
    read(&said).with_context(|| format!("{PROGRAM} said:\n{said}"))
}

/// One end, at the back end of a guest.
fn command(
    stage: &Stage,
    ours: &Ours,
    wait: Wait,
    (guest, board): (usize, &str),
) -> anyhow::Result<Command> {
    let socket = stage.socket(guest);
    let mut command = Command::new(program());
    command.env(
        "MYRIXEN_SOCKET",
        socket.context("it has no back end to attach to")?,
    );
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
