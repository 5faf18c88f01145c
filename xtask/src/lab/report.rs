//! The report of a test that measures: `myrixen perf report`, run here on what was collected.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::payload;
use super::spec::Test;
use super::tools::output;

/// The program that makes it; a test with bars has it among its programs.
pub(crate) const PROGRAM: &str = "myrixen";

/// Records count that were measured while somebody waited for a core in at most so many thousandths of the time, if there are enough of them.
const CALM: &str = "250";

/// Prints the table, adds the ratios to `results.json` in `folder`, and writes `report.html` beside it. Does nothing for
/// a test without bars.
///
/// # Errors
///
/// When the program fails: a bar or a record makes no sense. A bar that is missed is no error.
pub(crate) fn write(root: &Path, test: &Test, folder: &Path) -> anyhow::Result<()> {
    if test.spec.bars.is_empty() {
        return Ok(());
    }
    let paths = payload::paths(root, &[PROGRAM.to_owned()])?;
    let (_, program) = paths.first().context("one was asked for")?;
    let results = folder.join("results.json");
    let mut command = Command::new(program);
    command.args(["perf", "report"]).arg(&results);
    command.args(test.spec.bars.iter().flat_map(|bar| ["--bar", bar]));
    command.args(["--calm", CALM]);
    command.arg("--json").arg(&results);
    command.arg("--html").arg(folder.join("report.html"));
    command.args([
        "--title",
        "MyriXen on emulated Xen",
        "--note",
        &test.spec.what,
    ]);
    let text = output(&mut command).context("cannot report on the results")?;
    println!("{}", String::from_utf8_lossy(&text).trim_end());
    println!("lab: {}", folder.join("report.html").display());
    Ok(())
}
