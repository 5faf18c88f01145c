//! The fuzz step: builds all targets once, then runs each for a while, as many at a time as there are cores.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, bail, ensure};

use super::command;

/// How long each target runs.
pub(super) const SECONDS: u64 = 60;
/// Seconds for compiling all targets with the sanitizer.
const BUILD_LIMIT: u64 = 900;
/// Where the output of each target goes.
const LOGS: &str = "target/check";
/// Lines of a failed target's log that are shown.
const SHOWN: usize = 60;

/// Runs all targets for `seconds` each; one that needs `slack` seconds more is taken to hang.
///
/// # Errors
///
/// When a target cannot be built, finds something, or hangs; or when there is no target at all.
pub(super) fn run(seconds: u64, slack: u64) -> anyhow::Result<()> {
    // cargo-fuzz asks for unstable flags (coverage, sanitizers); this lets a stable compiler take them.
    let env = [("RUSTC_BOOTSTRAP", "1")];
    let targets = list()?;
    ensure!(!targets.is_empty(), "there are no fuzz targets");
    command(&["cargo", "fuzz", "build"], &env, BUILD_LIMIT)?;
    std::fs::create_dir_all(LOGS).with_context(|| format!("cannot make {LOGS}"))?;
    println!(
        "{} targets, {seconds} s each: {}",
        targets.len(),
        targets.join(", ")
    );

    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
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
