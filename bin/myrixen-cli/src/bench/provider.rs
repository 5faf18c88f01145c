//! Our provider of libfabric: where it is, and what matching costs through it, measured by a C program on libfabric, `matching.c`, compiled on the
//! spot.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use super::Extent;
use super::matching::BAR;
use super::programs::PATIENCE;
use super::stage::Stage;
use crate::held::Held;
use crate::record::Record;

/// Files that are our provider, as it is installed and as cargo makes it.
const PROVIDERS: [&str; 2] = ["libmyrixen-fi.so", "libmyrixen_fi.so"];
/// The program.
const SOURCE: &str = include_str!("../../c/matching.c");
/// The boards that its two ends attach as: endpoints of one board have no direct channel to each other.
const BOARDS: &str = "fi-asks,fi-answers";

/// What a message takes its receiver where many others stand before it, for each length.
pub(super) fn matching(stage: &mut Stage, extent: &Extent) -> anyhow::Result<Vec<Record>> {
    let provider = folder(stage)?;
    let program = match &stage.matching_program {
        Some(program) => program.clone(),
        None => {
            let program = compile(stage)?;
            stage.matching_program.insert(program).clone()
        }
    };
    let socket = stage.socket(0).context("there is no back end")?;
    let mut command = Command::new(program);
    command.arg(extent.each.as_millis().to_string());
    command.args(extent.queues.iter().map(u64::to_string));
    command.env("MYRIXEN_SOCKET", socket);
    command.env("FI_PROVIDER_PATH", provider);
    command.env("FI_MYRIXEN_BOARDS", BOARDS);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ended = stage.spawn(0, 0, &mut command)?;
    let (well, said) = ended.hear(Instant::now() + PATIENCE)?;
    ensure!(well, "matching.c: {}", said.trim());
    let records: Vec<Record> = said.lines().filter_map(read).collect();
    let (wanted, got) = (2 * extent.queues.len(), records.len());
    ensure!(
        wanted == got,
        "{wanted} figures were expected of matching.c, {got} came:\n{said}"
    );
    Ok(records)
}

fn compile(stage: &Stage) -> anyhow::Result<PathBuf> {
    let folder = stage.folder();
    let (source, program) = (folder.join("matching.c"), folder.join("matching"));
    std::fs::write(&source, SOURCE)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-D_DEFAULT_SOURCE", "-O2"]);
    command.args(["-Wall", "-Wextra", "-Werror"]);
    command.arg(source).arg("-o").arg(&program).arg("-lfabric");
    let output = command.output().context("cannot run cc")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("cannot compile matching.c, which takes the package libfabric-dev: {said}");
    }
    Ok(program)
}

/// A line of the program's.
fn read(line: &str) -> Option<Record> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [queue @ ("posted" | "unexpected"), entries, took, empty] = words[..] else {
        return None;
    };
    let [length, took, empty] = [entries, took, empty].map(|word| word.parse::<f64>().ok());
    let (length, took, empty) = (length?, took?, empty.filter(|empty| *empty > 0.0)?);
    let of = format!("{entries} {queue}");
    let held = Held::new("match_provider", of, took / empty, "", BAR);
    let held = held.with("entries", length).with("match_ns", took);
    Some(Record::Held(held.with("empty_ns", empty)))
}

/// The folder with our provider.
pub(super) fn folder(stage: &Stage) -> anyhow::Result<PathBuf> {
    let holds = |folder: &PathBuf| PROVIDERS.iter().any(|file| folder.join(file).exists());
    if let Some(said) = &stage.provider {
        if !holds(said) {
            bail!("there is no {} in {}", PROVIDERS[0], said.display());
        }
        return Ok(said.clone());
    }
    let own = std::env::current_exe().context("where is this program?")?;
    let places = [own.with_file_name(""), own.with_file_name("../ffi")];
    places.into_iter().find(holds).with_context(|| {
        format!(
            "no {}: `cargo ffi -p myrixen-fabric` makes it, --provider names its folder",
            PROVIDERS[0]
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_program_become_records() {
        let Some(Record::Held(held)) = read("unexpected 10000 461 400") else {
            panic!("no record");
        };
        assert_eq!(held.subject(), ["match_provider", "10000 unexpected"]);
        assert_eq!(held.detail("match_ns"), Some(461.0));
        assert!(held.is_met());
        let Some(Record::Held(held)) = read("posted 10000 900 400") else {
            panic!("no record");
        };
        assert!(!held.is_met(), "2.25 times as long is too long");
        for nothing in ["", "posted 10 20", "posted 10 20 0", "sorted 10 20 30"] {
            assert!(read(nothing).is_none(), "{nothing}");
        }
    }
}
