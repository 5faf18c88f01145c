//! iceoryx2, measured by a program of ours that is built apart, since whoever uses MyriXen needs nothing of it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::Extent;
use super::programs::PATIENCE;
use super::stage::Stage;
use crate::record::Record;

/// The program, a member of the workspace.
const PROGRAM: &str = "myrixen-peer-iceoryx2";

/// Measures all that is wanted, between two processes of one host.
pub(super) fn measure(stage: &Stage, extent: &Extent) -> anyhow::Result<Vec<Record>> {
    let mut command = Command::new(program());
    command.arg("measure");
    let kinds = [
        ("--pingpong", &extent.pingpong),
        ("--stream", &extent.stream),
        ("--rate", &extent.rate),
    ];
    for (option, sizes) in kinds {
        let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
        command.args([option, &sizes.join(",")]);
    }
    command.args(["--each-ms", &extent.each.as_millis().to_string()]);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let missing = || {
        format!(
            "cannot start {PROGRAM}: `cargo build --release -p {PROGRAM}` makes it, to be put beside myrixen or into PATH"
        )
    };
    let mut ended = stage.spawn(0, 0, &mut command).with_context(missing)?;
    let (well, said) = ended.hear(Instant::now() + PATIENCE)?;
    if !well {
        bail!("{PROGRAM} did not succeed; its words: {}", said.trim());
    }
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("{PROGRAM} said {line:?}")))
        .collect()
}

/// The one beside this program, or whichever is in PATH.
fn program() -> PathBuf {
    let beside = std::env::current_exe().map(|own| own.with_file_name(PROGRAM));
    beside
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| PROGRAM.into())
}
