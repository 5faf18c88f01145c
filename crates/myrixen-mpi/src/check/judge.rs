//! Runs the cases one after the other and says what became of each.

use std::time::{Duration, Instant};

use anyhow::ensure;
use myrixen_netlab::Lab;

use super::Args;
use super::cases::{Bench, Case, Need};
use super::packages::Packages;
use super::stage::{self, Stage};

/// Lines of a failing program's output that are shown.
const SHOWN: usize = 40;

/// Whether a missing program is a failure: in CI nothing may be left out silently.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// How a case ended.
enum Verdict {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// Runs all of them; whether all went well.
pub(crate) fn all(
    args: &Args,
    lab: &Lab,
    packages: Packages,
    cases: &[Case],
) -> anyhow::Result<bool> {
    let (hosts, cables) = stage::hosts(lab)?;
    let mut stage = Stage::start(args, &hosts, &cables)?;
    let begun = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    for case in cases {
        let start = Instant::now();
        let mut bench = Bench {
            stage: &mut stage,
            packages: &packages,
            full: args.full,
        };
        let verdict = run(case, &mut bench);
        let took = seconds(start.elapsed());
        match verdict {
            Verdict::Passed(note) => {
                println!("mpi: passed   {:34} {took:>8}  {note}", case.name);
                passed += 1;
            }
            Verdict::Failed(why) => {
                println!(
                    "mpi: FAILED   {:34} {took:>8}\n{}",
                    case.name,
                    ended(&why, args.verbose)
                );
                failed.push(case.name.as_str());
            }
            Verdict::Skipped(why) => {
                println!("mpi: skipped  {:34} {why}", case.name);
                skipped += 1;
            }
        }
    }
    println!(
        "mpi: {passed} passed, {} failed, {skipped} skipped, over {}, in {}",
        failed.len(),
        args.provider,
        seconds(begun.elapsed())
    );
    if !failed.is_empty() {
        println!("mpi: failed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

fn run(case: &Case, bench: &mut Bench<'_, '_>) -> Verdict {
    let missing = case
        .needs
        .iter()
        .find_map(|need| lacks(need, bench.packages));
    if let Some(why) = missing {
        return if in_ci() {
            Verdict::Failed(why)
        } else {
            Verdict::Skipped(why)
        };
    }
    let done = carry_out(case, bench).and_then(|note| {
        // Whatever the case was, nothing of it may be left.
        bench.stage.is_clean()?;
        Ok(note)
    });
    match done {
        Ok(note) => Verdict::Passed(note),
        Err(error) => Verdict::Failed(format!("{error:#}")),
    }
}

/// Bytes that two hosts say to each other at least when their ranks do, however little: endpoints that meet and part.
const LEAST: u64 = 2000;

/// Runs a case. What was to go between hosts has to have gone through the back ends, or something else was tested.
fn carry_out(case: &Case, bench: &mut Bench<'_, '_>) -> anyhow::Result<String> {
    let between = ["two-hosts", "four-ranks"]
        .iter()
        .any(|word| case.name.contains(word));
    let ours = bench.stage.provider() == "myrixen";
    let before = bench.stage.crossed()?;
    let note = (case.work)(bench)?;
    let after = bench.stage.crossed()?;
    // A back end that was started again counts anew.
    if between && ours && after >= before {
        let bytes = after - before;
        ensure!(
            bytes >= LEAST,
            "only {bytes} bytes went from one back end to the other"
        );
    }
    Ok(note)
}

/// Why a case cannot run here.
fn lacks(need: &Need, packages: &Packages) -> Option<String> {
    match need {
        Need::Program(program, package) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let there = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
            (!there).then(|| {
                format!("no `{program}`: apt-get install --no-install-recommends {package}")
            })
        }
        Need::File(file, package) => {
            let there = std::path::Path::new(file).exists();
            (!there)
                .then(|| format!("no {file}: apt-get install --no-install-recommends {package}"))
        }
        Need::Mpi4py => packages.mpi4py().err().map(|error| format!("{error:#}")),
        Need::MpichMpi4py => packages
            .mpich_mpi4py()
            .err()
            .map(|error| format!("{error:#}")),
        Need::Mpich => packages.mpich().err().map(|error| format!("{error:#}")),
    }
}

/// The last lines of a long text.
fn ended(text: &str, whole: bool) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = if whole {
        0
    } else {
        lines.len().saturating_sub(SHOWN)
    };
    let shown = lines[from..].iter().map(|line| format!("     | {line}\n"));
    // The first line says what is wrong.
    let first = lines.first().filter(|_| from > 0);
    let first = first.map(|line| format!("     | {line}\n     | ...\n"));
    first.into_iter().chain(shown).collect()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
