//! `cargo xtask check`: runs the steps, prints how long each took and a closing summary.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::step::{STEPS, Step, Work};
use crate::workspace::Workspace;

mod fuzz;

/// Which steps, and how.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    list: bool,
    only: Vec<String>,
    skip: Vec<String>,
    fail_fast: bool,
    fuzz_seconds: Option<u64>,
    /// How long all of it is to take, in seconds. What may be shortened is, as far as that helps.
    within: Option<u64>,
}

/// How a step ended.
#[derive(Debug)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Selection {
    /// Reads the arguments after `check`.
    ///
    /// # Errors
    ///
    /// For an unknown option or step.
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut selection = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                rest.next()
                    .with_context(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--list" => selection.list = true,
                "--fail-fast" => selection.fail_fast = true,
                "--only" => selection.only = steps(value()?)?,
                "--skip" => selection.skip = steps(value()?)?,
                "--fuzz-seconds" => {
                    let seconds = value()?.parse().context("--fuzz-seconds takes a number")?;
                    selection.fuzz_seconds = Some(seconds);
                }
                "--within" => {
                    let seconds = value()?.parse().context("--within takes seconds")?;
                    selection.within = Some(seconds);
                }
                _ => bail!("check knows no `{argument}`"),
            }
        }
        Ok(selection)
    }

    fn wants(&self, step: &Step) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == step.name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}

/// The names in a list separated by commas.
fn steps(list: &str) -> anyhow::Result<Vec<String>> {
    let names: Vec<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
    for name in &names {
        let known = || {
            STEPS
                .iter()
                .map(|step| step.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        ensure!(
            STEPS.iter().any(|step| step.name == name),
            "no step `{name}`; there are {}",
            known()
        );
    }
    Ok(names)
}

/// Runs what was selected.
///
/// # Errors
///
/// When the workspace cannot be read; a failing step is no error but a failing exit code.
pub(crate) fn run(selection: &Selection) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::load()?;
    std::env::set_current_dir(&workspace.root).context("cannot enter the workspace")?;
    let wanted: Vec<&Step> = STEPS.iter().filter(|step| selection.wants(step)).collect();
    if selection.list {
        for step in wanted {
            println!("{:12} {}", step.name, step.what);
            step.work
                .describe()
                .iter()
                .for_each(|line| println!("             {line}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut results = Vec::new();
    let began = Instant::now();
    for step in wanted {
        println!("\n=== {}: {}", step.name, step.what);
        let start = Instant::now();
        let outcome = run_step(step, selection, began);
        let took = start.elapsed();
        match &outcome {
            Outcome::Passed => println!("=== {}: passed in {}", step.name, seconds(took)),
            Outcome::Failed(why) => {
                println!("=== {}: FAILED after {}: {why}", step.name, seconds(took))
            }
            Outcome::Skipped(why) => println!("=== {}: skipped: {why}", step.name),
        }
        let stop = selection.fail_fast && matches!(outcome, Outcome::Failed(_));
        results.push((step.name, took, outcome));
        if stop {
            break;
        }
    }
    Ok(summary(&results, began.elapsed()))
}

/// Whether a missing tool is a failure: in CI nothing may be left out silently.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

fn run_step(step: &Step, selection: &Selection, began: Instant) -> Outcome {
    if let Some(tool) = step.needs.filter(|tool| !tool.present()) {
        let why = format!("`{}` is missing: {}", tool.probe.join(" "), tool.install);
        return if in_ci() {
            Outcome::Failed(why)
        } else {
            Outcome::Skipped(why)
        };
    }
    let result = match &step.work {
        Work::Commands(runs) => runs
            .iter()
            .try_for_each(|run| command(run.words, run.env, step.limit)),
        Work::Own(arguments) => own(arguments, step.limit),
        Work::Fuzz => {
            let within = selection.within.map(Duration::from_secs);
            let time = fuzz::Time {
                most: selection.fuzz_seconds.unwrap_or(fuzz::SECONDS),
                until: within.map(|within| began + within),
            };
            fuzz::run(&time, step.limit)
        }
    };
    match result {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// Runs this program again, so that its findings come in the same manner as those of the other steps.
fn own(arguments: &[&str], limit: u64) -> anyhow::Result<()> {
    let me = std::env::current_exe().context("where is this program?")?;
    let me = me
        .to_str()
        .context("the path of this program is not UTF-8")?;
    command(&[&[me], arguments].concat(), &[], limit)
}

/// Runs one command to its end, or kills it with all it has started after `limit` seconds.
fn command(words: &[&str], env: &[(&str, &str)], limit: u64) -> anyhow::Result<()> {
    let line = words.join(" ");
    println!("$ {line}");
    let status = Command::new("timeout")
        .args(["--kill-after=10", &limit.to_string()])
        .args(words)
        .envs(env.iter().copied())
        .stdin(std::process::Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    // timeout(1): 124 when the time was up, 137 when it had to kill.
    match status.code() {
        Some(0) => Ok(()),
        Some(124 | 137) => bail!("`{line}` did not end within {limit} s"),
        _ => bail!("`{line}` failed: {status}"),
    }
}

/// Prints the table; the exit code tells whether anything failed.
fn summary(results: &[(&str, Duration, Outcome)], whole: Duration) -> ExitCode {
    println!("\nstep         time      result");
    for (name, took, outcome) in results {
        let result = match outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed(why) => format!("FAILED: {why}"),
            Outcome::Skipped(why) => format!("skipped: {why}"),
        };
        println!("{name:12} {:>8}  {result}", seconds(*took));
    }
    println!("all          {:>8}", seconds(whole));
    if results
        .iter()
        .any(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_)))
    {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Selection> {
        Selection::parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    fn chosen(line: &str) -> Vec<&'static str> {
        let selection = parse(line).expect("a good line");
        STEPS
            .iter()
            .filter(|step| selection.wants(step))
            .map(|step| step.name)
            .collect()
    }

    #[test]
    fn steps_are_selected_by_name() {
        assert_eq!(chosen("--only fmt,arrows"), ["fmt", "arrows"]);
        assert_eq!(chosen("").len(), STEPS.len());
        assert!(!chosen("--skip fuzz").contains(&"fuzz"));
    }

    #[test]
    fn unknown_steps_and_options_are_errors() {
        assert!(parse("--only nothing").is_err());
        assert!(parse("--only").is_err());
        assert!(parse("--fast").is_err());
        assert!(parse("--within soon").is_err());
        assert!(parse("--within 3000").is_ok_and(|selection| selection.within == Some(3000)));
    }

    #[test]
    fn a_command_that_fails_or_hangs_is_a_failure() {
        assert!(command(&["true"], &[], 60).is_ok());
        assert!(command(&["false"], &[], 60).is_err());
        let hung = command(&["sleep", "600"], &[], 1).expect_err("killed");
        assert!(hung.to_string().contains("within 1 s"), "{hung}");
        assert!(command(&["sh", "-c", "test \"$A\" = b"], &[("A", "b")], 60).is_ok());
    }

    #[test]
    fn any_failure_fails_the_whole() {
        let passed = || ("a", Duration::ZERO, Outcome::Passed);
        let failed = ("b", Duration::ZERO, Outcome::Failed("why".to_owned()));
        assert_eq!(summary(&[passed()], Duration::ZERO), ExitCode::SUCCESS);
        assert_eq!(
            summary(&[passed(), failed], Duration::ZERO),
            ExitCode::FAILURE
        );
    }
}
