//! `cargo xtask lab xen`: the real Xen hypervisor, its dom0 and its guests, on emulated machines, and our programs in
//! them. `lab/xen/README.md` says how to use it and how to write a test.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};

use self::qemu::Boot;
use self::run::{Lab, Outcome};
use self::spec::Test;
use crate::workspace::Workspace;

mod apt;
mod console;
mod cpio;
mod host;
mod image;
mod kernel;
mod openmpi;
mod payload;
mod prepare;
mod pressure;
mod qemu;
mod recipe;
mod record;
mod report;
mod run;
mod spec;
mod tools;

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    list: bool,
    prepare: bool,
    keep: bool,
    quick: bool,
    verbose: bool,
    only: Vec<String>,
}

impl Request {
    /// Reads the arguments after `lab`.
    ///
    /// # Errors
    ///
    /// For what is not known.
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut request = Self::default();
        let mut rest = arguments.iter();
        ensure!(
            rest.next().is_some_and(|kind| kind == "xen"),
            "which lab? There is `cargo xtask lab xen`"
        );
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--list" => request.list = true,
                "--prepare" => request.prepare = true,
                "--keep" => request.keep = true,
                "--quick" => request.quick = true,
                "--verbose" => request.verbose = true,
                "--only" => {
                    let names = rest.next().context("--only needs names of tests")?;
                    request.only = names.split(',').map(str::to_owned).collect();
                }
                _ => bail!("lab xen knows no `{argument}`"),
            }
        }
        Ok(request)
    }

    /// The tests among `all` that are wanted.
    fn choose(&self, all: Vec<Test>) -> anyhow::Result<Vec<Test>> {
        for name in &self.only {
            let known = || {
                all.iter()
                    .map(|test| test.name.as_str())
                    .collect::<Vec<_>>()
            };
            ensure!(
                all.iter().any(|test| test.name == *name),
                "no test `{name}`; there are {}",
                known().join(", ")
            );
        }
        let wanted = |test: &Test| self.only.is_empty() || self.only.contains(&test.name);
        Ok(all.into_iter().filter(wanted).collect())
    }
}

/// Does what is asked.
///
/// # Errors
///
/// When it cannot; a failing test is no error but a failing exit code.
pub(crate) fn run(request: &Request) -> anyhow::Result<ExitCode> {
    let root = Workspace::load()?.root;
    let tests = request.choose(spec::all(&root.join("lab/xen/tests"))?)?;
    if request.list {
        for test in &tests {
            println!("{:16} {}", test.name, test.spec.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !request.prepare {
        tools::require(tools::TO_RUN)?;
    }
    let images = prepare::images()?;
    if request.prepare {
        println!("lab: the images are ready");
        return Ok(ExitCode::SUCCESS);
    }
    let programs: BTreeSet<String> = tests
        .iter()
        .flat_map(|test| test.spec.programs.iter().cloned())
        .collect();
    payload::build(&root, &programs, &images.sdk())?;
    let lab = Lab {
        root,
        images,
        boot: if request.verbose {
            Boot::Verbose
        } else {
            Boot::Quiet
        },
        keep: request.keep,
        quick: request.quick,
    };
    let mut outcomes = Vec::new();
    for test in &tests {
        println!("\n=== {}: {}", test.name, test.spec.what);
        let outcome =
            try_out(&lab, test).with_context(|| format!("cannot run the test {}", test.name))?;
        println!("=== {}: {}", test.name, verdict(&outcome));
        outcomes.push((test.name.as_str(), outcome));
    }
    Ok(summary(&outcomes))
}

/// Runs a test, and once more where the first thing to go wrong was a kernel: kernels have faults of their own, and nothing of ours runs in them. What comes again is taken
/// to be brought about by what the test does.
fn try_out(lab: &Lab, test: &Test) -> anyhow::Result<Outcome> {
    let first = lab.run(test)?;
    if !first.by_kernel {
        return Ok(first);
    }
    let kept = lab.put_by(test)?;
    println!("=== {}: {}", test.name, verdict(&first));
    println!(
        "=== {}: what is left of that is in {}; once more, to see whether it comes again",
        test.name,
        kept.display()
    );
    Ok(Outcome {
        before: Some(first.failures.join("; ")),
        ..lab.run(test)?
    })
}

fn verdict(outcome: &Outcome) -> String {
    let time = format!("{:.1} s", outcome.took.as_secs_f64());
    let mut verdict = if outcome.failures.is_empty() {
        format!("passed in {time}, {} results", outcome.results)
    } else {
        format!("FAILED after {time}: {}", outcome.failures.join("; "))
    };
    if let Some(first) = &outcome.before {
        verdict += &format!("; at the second run, after the first: {first}");
    }
    verdict
}

/// Prints the table; the exit code tells whether anything failed.
fn summary(outcomes: &[(&str, Outcome)]) -> ExitCode {
    println!();
    for (name, outcome) in outcomes {
        println!("{name:16} {}", verdict(outcome));
    }
    if outcomes
        .iter()
        .all(|(_, outcome)| outcome.failures.is_empty())
    {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Request> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Request::parse(&words)
    }

    fn named(name: &str) -> Test {
        Test {
            name: name.to_owned(),
            folder: name.into(),
            spec: spec::Spec::parse("what = \"x\"").expect("good"),
        }
    }

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let request = parse("xen --only a,b --verbose --quick").expect("known");
        assert_eq!(request.only, ["a", "b"]);
        assert!(request.verbose && request.quick && !request.keep);
        for line in ["", "kvm", "xen --fast", "xen --only"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn tests_are_chosen_by_name() {
        let all = || vec![named("a"), named("b")];
        let chosen = |line: &str| {
            parse(line)
                .expect("known")
                .choose(all())
                .map(|tests| tests.len())
        };
        assert_eq!(chosen("xen").expect("all"), 2);
        assert_eq!(chosen("xen --only b").expect("one"), 1);
        let error = chosen("xen --only c").expect_err("there is none");
        assert!(error.to_string().contains("a, b"), "{error}");
    }
}
