//! The fuzz step: builds all targets once, then runs each for a while, as many at a time as there are cores.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::command;

/// How long each target runs.
pub(super) const SECONDS: u64 = 60;
/// How long each target runs at least, however little time is left.
const LEAST: u64 = 10;
/// Seconds for compiling all targets with the sanitizer.
const BUILD_LIMIT: u64 = 900;
/// Where the output of each target goes.
const LOGS: &str = "target/check";
/// Lines of a failed target's log that are shown.
const SHOWN: usize = 60;

/// How long the targets run.
#[derive(Debug)]
pub(super) struct Time {
    /// Each, at most, in seconds.
    pub(super) most: u64,
    /// By when all are to have run, as far as that can be had.
    pub(super) until: Option<Instant>,
}

impl Time {
    /// What each of the targets has, in seconds, if so many run side by side from now on.
    fn each(&self, targets: usize, side_by_side: usize) -> u64 {
        let Some(until) = self.until else {
            return self.most;
        };
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        let rounds = targets.div_ceil(side_by_side.max(1)).max(1);
        let share = left / u64::try_from(rounds).unwrap_or(u64::MAX);
        share.clamp(LEAST.min(self.most), self.most)
    }
}

/// Runs all targets; one that needs `slack` seconds more than its time is taken to hang.
///
/// # Errors
///
/// When a target cannot be built, finds something, or hangs; or when there is no target at all.
pub(super) fn run(time: &Time, slack: u64) -> anyhow::Result<()> {
    // cargo-fuzz asks for unstable flags (coverage, sanitizers); this lets a stable compiler take them.
    let env = [("RUSTC_BOOTSTRAP", "1")];
    let targets = list()?;
    ensure!(!targets.is_empty(), "there are no fuzz targets");
    command(&["cargo", "fuzz", "build"], &env, BUILD_LIMIT)?;
    std::fs::create_dir_all(LOGS).with_context(|| format!("cannot make {LOGS}"))?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let seconds = time.each(targets.len(), cores);
    println!(
        "{} targets, {seconds} s each: {}",
        targets.len(),
        targets.join(", ")
    );

    let queue = Mutex::new(targets.into_iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).next();
                    let Some(target) = next else { break };
                    match one(&target, seconds, slack) {
                        Ok(line) => println!("{target}: nothing found; {line}"),
                        Err(error) => {
                            println!("{target}: {error:#}");
                            lock(&failed).push(target);
                        }
                    }
                }
            });
        }
    });
    let failed = lock(&failed);
    ensure!(failed.is_empty(), "found something: {}", failed.join(", "));
    Ok(())
}

/// A panicking neighbour leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn list() -> anyhow::Result<Vec<String>> {
    let output = Command::new("cargo")
        .args(["fuzz", "list"])
        .output()
        .context("cannot run cargo fuzz list")?;
    ensure!(
        output.status.success(),
        "cargo fuzz list: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .map(str::to_owned)
        .collect())
}

/// Runs one target; gives the last line of its statistics.
fn one(target: &str, seconds: u64, slack: u64) -> anyhow::Result<String> {
    let path = PathBuf::from(format!("{LOGS}/fuzz-{target}.log"));
    let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let status = Command::new("timeout")
        .args(["--kill-after=10", &(seconds + slack).to_string()])
        .args(["cargo", "fuzz", "run", target])
        .args(corpora(target)?)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=20", "-print_final_stats=1"])
        .env("RUSTC_BOOTSTRAP", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the log")?)
        .stderr(log)
        .status()
        .context("cannot run cargo fuzz")?;
    if status.success() {
        return statistics(&path);
    }
    bail!("{status}; the end of {}:\n{}", path.display(), tail(&path)?);
}

/// Where a target begins: what earlier runs on this machine have found, and the seeds of the repository. New inputs go
/// to the first.
fn corpora(target: &str) -> anyhow::Result<Vec<String>> {
    let corpus = format!("fuzz/corpus/{target}");
    std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {corpus}"))?;
    let seeds = format!("fuzz/seeds/{target}");
    let mut corpora = vec![corpus];
    corpora.extend(Path::new(&seeds).is_dir().then_some(seeds));
    Ok(corpora)
}

fn statistics(log: &Path) -> anyhow::Result<String> {
    let text = read(log)?;
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains("number_of_executed_units"));
    Ok(line.unwrap_or("no statistics").trim().to_owned())
}

fn tail(log: &Path) -> anyhow::Result<String> {
    let text = read(log)?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(SHOWN)..].join("\n"))
}

/// What a fuzzed program prints need not be UTF-8.
fn read(log: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn targets_share_what_time_is_left() {
        let after = |seconds| Time {
            most: 60,
            until: Some(Instant::now() + Duration::from_secs(seconds)),
        };
        let always = Time {
            most: 60,
            until: None,
        };
        assert_eq!(always.each(6, 2), 60);
        assert_eq!(after(1000).each(6, 2), 60);
        assert!((29..=30).contains(&after(90).each(6, 2)));
        assert_eq!(after(0).each(6, 2), LEAST);
        assert_eq!(after(0).each(0, 0), LEAST);
    }
}
