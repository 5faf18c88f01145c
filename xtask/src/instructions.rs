//! `cargo xtask instructions`: how many instructions the hot paths take, beside the committed figures.
//!
//! What is counted are the benches of `benches/`, by gungraun and valgrind. Counts do not depend on how
//! fast or how busy the machine is, but they do on the compiler.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::workspace::Workspace;
use figures::{Compiler, Figures};

mod counting;
mod figures;

/// Where the committed figures are.
const FILE: &str = "benches/instructions.toml";

/// Where the benches are.
const PACKAGE: &str = "myrixen-instructions";

/// Operations that each bench does: `OPERATIONS` of the benches.
const OPERATIONS: f64 = 100.0;

/// A change beyond this many percent calls for something: growth fails, shrinking is to be accepted.
const BAR: f64 = 5.0;

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    accept: bool,
}

impl Request {
    /// Reads the arguments after `instructions`.
    ///
    /// # Errors
    ///
    /// For anything but `--accept`.
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut request = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--accept" => request.accept = true,
                _ => bail!("instructions knows no `{argument}`"),
            }
        }
        Ok(request)
    }
}

/// Counts, and compares or accepts.
///
/// # Errors
///
/// When nothing can be counted, or the committed figures cannot be read or written; growth is no error but a failing exit
/// code.
pub(crate) fn run(request: &Request) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::load()?;
    let path = workspace.root.join(FILE);
    let committed = match path.is_file() {
        true => Figures::parse(&workspace.read(FILE)?).with_context(|| format!("in {FILE}"))?,
        false => Figures::default(),
    };
    let now = Figures {
        compiler: Compiler::here()?,
        benches: counting::count(&workspace)?,
    };
    let rows = rows(&committed, &now);
    print_table(&rows);
    if request.accept {
        std::fs::write(&path, now.render()).with_context(|| format!("cannot write {FILE}"))?;
        println!("{FILE} has the new figures");
        return Ok(ExitCode::SUCCESS);
    }
    if committed.compiler.host != now.compiler.host && !committed.benches.is_empty() {
        println!(
            "nothing is compared: the committed figures are of {}, these are of {}",
            committed.compiler.host, now.compiler.host
        );
        return Ok(ExitCode::SUCCESS);
    }
    Ok(judge(&rows, &committed.compiler, &now.compiler))
}

/// One bench.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    committed: Option<f64>,
    now: Option<f64>,
}

/// What a row calls for.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Nothing.
    Fine,
    /// It grew too much, or is in one of the two lists only.
    Broken(String),
    /// It shrank so much that later growth might be overlooked.
    Better(String),
}

impl Row {
    /// How much more instructions there are now, in percent.
    fn change(&self) -> Option<f64> {
        Some((self.now? / self.committed? - 1.0) * 100.0)
    }

    fn verdict(&self) -> Verdict {
        let name = &self.name;
        match (self.committed, self.now, self.change()) {
            (None, ..) => Verdict::Broken(format!("{name} has no committed figure")),
            (_, None, _) => Verdict::Broken(format!("{name} is not among the benches any more")),
            (_, _, Some(change)) if change > BAR => Verdict::Broken(format!(
                "{name} takes {change:.1} % more instructions; {BAR} % are let pass"
            )),
            (_, _, Some(change)) if change < -BAR => {
                Verdict::Better(format!("{name} takes {:.1} % less instructions", -change))
            }
            _ => Verdict::Fine,
        }
    }
}

/// All benches there are or were, in the order they ran.
fn rows(committed: &Figures, now: &Figures) -> Vec<Row> {
    let known: BTreeSet<&str> = now.benches.iter().map(|(name, _)| name.as_str()).collect();
    let gone = committed
        .benches
        .iter()
        .filter(|(name, _)| !known.contains(name.as_str()));
    now.benches
        .iter()
        .chain(gone)
        .map(|(name, _)| Row {
            name: name.clone(),
            committed: committed.of(name),
            now: now.of(name),
        })
        .collect()
}

fn print_table(rows: &[Row]) {
    let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    println!(
        "{:<28}{:>12}{:>12}{:>10}",
        "instructions per operation", "committed", "now", "change"
    );
    for row in rows {
        let change = row.change();
        let change = change.map_or("-".to_owned(), |change| format!("{change:+.1} %"));
        println!(
            "{:<28}{:>12}{:>12}{:>10}",
            row.name,
            figure(row.committed),
            figure(row.now),
            change
        );
    }
}

/// Says what the rows call for; the exit code tells whether that is a failure.
fn judge(rows: &[Row], committed: &Compiler, now: &Compiler) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut accept = false;
    for row in rows {
        match row.verdict() {
            Verdict::Fine => {}
            Verdict::Broken(why) => {
                eprintln!("error: {why}");
                code = ExitCode::FAILURE;
            }
            Verdict::Better(what) => {
                println!("{what}");
                accept = true;
            }
        }
    }
    if accept {
        println!("accept the new figures, so that they do not grow back unseen: {ACCEPT}");
    }
    if code == ExitCode::FAILURE {
        eprintln!("where it has a reason that is worth it, accept the new figures: {ACCEPT}");
    }
    if committed.rustc != now.rustc {
        println!(
            "the committed figures are of {}, these are of {}: changes may be the compiler's",
            committed.rustc, now.rustc
        );
    }
    code
}

/// The command that accepts.
const ACCEPT: &str = "cargo xtask instructions --accept";

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(benches: &[(&str, f64)]) -> Figures {
        Figures {
            compiler: Compiler::default(),
            benches: benches
                .iter()
                .map(|(name, figure)| ((*name).to_owned(), *figure))
                .collect(),
        }
    }

    fn verdicts(committed: &[(&str, f64)], now: &[(&str, f64)]) -> Vec<Verdict> {
        let rows = rows(&figures(committed), &figures(now));
        rows.iter().map(Row::verdict).collect()
    }

    #[test]
    fn growth_beyond_the_bar_names_the_bench() {
        let verdicts = verdicts(&[("a", 100.0), ("b", 100.0)], &[("a", 104.9), ("b", 105.1)]);
        assert_eq!(verdicts[0], Verdict::Fine);
        let Verdict::Broken(why) = &verdicts[1] else {
            panic!("{verdicts:?}");
        };
        assert!(why.starts_with("b takes 5.1 % more"), "{why}");
    }

    #[test]
    fn shrinking_passes_and_asks_to_be_accepted() {
        let verdicts = verdicts(&[("a", 100.0)], &[("a", 94.0)]);
        assert!(
            matches!(&verdicts[..], [Verdict::Better(what)] if what.starts_with("a takes 6.0 %"))
        );
    }

    #[test]
    fn a_bench_that_is_only_in_one_place_is_noticed() {
        let verdicts = verdicts(&[("old", 1.0)], &[("new", 1.0)]);
        assert!(
            matches!(&verdicts[..], [Verdict::Broken(new), Verdict::Broken(old)]
                if new.starts_with("new has no") && old.starts_with("old is not"))
        );
    }

    #[test]
    fn the_committed_figures_can_be_read_and_name_each_bench_once() {
        let workspace = Workspace::load().expect("cargo");
        let text = workspace.read(FILE).expect("it is committed");
        let figures = Figures::parse(&text).expect("it is well formed");
        let names: BTreeSet<_> = figures.benches.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), figures.benches.len());
        assert!(!names.is_empty());
    }

    #[test]
    fn unknown_options_are_errors() {
        assert!(Request::parse(&["--accept".to_owned()]).is_ok_and(|request| request.accept));
        assert!(Request::parse(&["--all".to_owned()]).is_err());
    }
}
