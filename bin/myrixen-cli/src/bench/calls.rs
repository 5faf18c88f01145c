//! `myrixen bench --calls`: how many system calls a message takes, of whom. Counts depend on how fast the machine is only where somebody
//! looks for messages by a call, or finds more at once the later he looks. Who looks on calls `sched_yield`, which is told apart.

use std::time::Duration;

use anyhow::Context as _;

use super::Extent;
use super::legs::{Contestant, Leg};
use super::stage::Stage;
use crate::cli::BenchArgs;
use crate::output;
use crate::progress::Progress;
use crate::record::{self, Calls, Record};
use crate::report::table::{align_figures, plain_table};
use crate::units;

/// What is counted.
fn extent() -> Extent {
    Extent {
        pingpong: vec![8],
        stream: vec![1 << 20],
        rate: vec![8],
        calls: true,
        each: Duration::ZERO,
        ..Extent::quick()
    }
}

/// Counts for each path of ours and each peer that this program measures itself, prints a table, and writes the records.
pub(super) fn run(
    args: &BenchArgs,
    mut stage: Stage,
    legs: Vec<Leg>,
    mut progress: Progress,
) -> anyhow::Result<()> {
    let (extent, mut found, mut missing) = (extent(), Vec::new(), Vec::new());
    progress.step("Counting system calls");
    let counted = |leg: &Leg| matches!(leg.contestant, Contestant::Ours(_) | Contestant::Peer(_));
    for leg in legs.into_iter().filter(counted) {
        progress.detail(&leg.name());
        match stage.measure(&leg, &extent) {
            Ok(mut records) => found.append(&mut records),
            Err(error) => missing.push(format!("not counted: {}: {error:#}\n", leg.name())),
        }
    }
    progress.finish("");
    drop(progress);
    stage.close();
    let out = &args.out;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let json = out.join("results.json");
    record::write(&json, &found)?;
    output::print(&format!("\n{}\n", table(&found)))?;
    output::print(&missing.concat())?;
    output::print(&format!("\nRecords: {}\n", output::place(&json)))
}

/// A line for each test of each path.
fn table(records: &[Record]) -> String {
    let mut table = plain_table();
    table.set_header([
        "path",
        "waiting by",
        "test",
        "size",
        "client",
        "server",
        "back ends",
        "together",
        "yields",
    ]);
    let calls = records.iter().filter_map(|record| match record {
        Record::Calls(calls) => Some(calls),
        _ => None,
    });
    for Calls {
        path,
        of,
        size,
        wait,
        per_message: by,
        link,
    } in calls
    {
        let sum = by.client + by.server + by.back_ends;
        let figures = [by.client, by.server, by.back_ends, sum, by.yields]
            .map(|figure| format!("{figure:.3}"));
        let mut row = vec![
            path.over(link.as_deref()).to_string(),
            wait.to_string(),
            of.clone(),
            units::size(*size),
        ];
        row.extend(figures);
        table.add_row(row);
    }
    align_figures(&mut table, 3);
    table.to_string()
}
