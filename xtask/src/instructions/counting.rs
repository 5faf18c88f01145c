//! Counting: gungraun's runner, valgrind, the benches.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{OPERATIONS, PACKAGE};
use crate::workspace::Workspace;

/// Runs the benches; gives the instructions per operation of each.
///
/// # Errors
///
/// When a tool is missing and cannot be installed, when a bench does not compile or run, or counted nothing.
pub(super) fn count(workspace: &Workspace) -> anyhow::Result<Vec<(String, f64)>> {
    let version = gungraun_version(&workspace.read("Cargo.toml")?)?;
    let folder = runner(&version)?;
    ensure!(
        succeeds(Command::new("valgrind").arg("--version")),
        "valgrind is missing; on Debian: apt-get install --no-install-recommends valgrind"
    );
    let output = Command::new(cargo())
        .args(["bench", "--locked", "--package", PACKAGE])
        // What caches would do is of no interest, and takes its time.
        .args([
            "--",
            "--output-format=json",
            "--callgrind-args=--cache-sim=no",
        ])
        .current_dir(&workspace.root)
        .env("PATH", path_with(&folder)?)
        // Either would choose another runner or other instructions than everybody else's.
        .env_remove("GUNGRAUN_RUNNER")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo bench")?;
    ensure!(output.status.success(), "cargo bench: {}", output.status);
    let text = String::from_utf8(output.stdout).context("the runner's output is not UTF-8")?;
    text.lines().map(figure).collect()
}

/// What one line of the runner's says: a bench, and its instructions per operation.
fn figure(line: &str) -> anyhow::Result<(String, f64)> {
    let summary: Value = serde_json::from_str(line).context("the runner's output is not JSON")?;
    let name = summary["function_name"].as_str();
    let name = name.context("a bench without a name")?;
    let metrics = &summary["profiles"][0]["data"]["total"]["metrics"];
    let instructions = metrics["Ir"]["values"]["new"].as_f64();
    let instructions = instructions.with_context(|| format!("{name} has no instructions"))?;
    Ok((name.to_owned(), instructions / OPERATIONS))
}

/// The version of gungraun that the root manifest names: the runner must be of the same one.
fn gungraun_version(manifest: &str) -> anyhow::Result<String> {
    let manifest: toml::Table = manifest.parse().context("Cargo.toml")?;
    let version = manifest["workspace"]["dependencies"]["gungraun"].as_str();
    let version = version.and_then(|version| version.strip_prefix('='));
    Ok(version
        .context("Cargo.toml names no exact version of gungraun")?
        .to_owned())
}

/// The folder of gungraun's runner, which is compiled now if it is not there: where `.ci/run` keeps its tools.
fn runner(version: &str) -> anyhow::Result<PathBuf> {
    let tools = cache()?.join("myrixen-ci");
    let folder = tools.join("bin");
    let there = Command::new(folder.join("gungraun-runner"))
        .arg("--version")
        .output()
        .is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .ends_with(version)
        });
    if there {
        return Ok(folder);
    }
    eprintln!("compiling gungraun-runner {version}");
    let mut install = Command::new(cargo());
    install
        .args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "gungraun-runner",
        ])
        .args(["--version", version])
        .arg("--root")
        .arg(&tools)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_TARGET_DIR", tools.join("build"))
        .stdin(Stdio::null());
    let status = install.status().context("cannot run cargo install")?;
    ensure!(status.success(), "cargo install gungraun-runner: {status}");
    Ok(folder)
}

/// Where this user's caches are.
fn cache() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|folder| !folder.is_empty());
    match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(caches), _) => Ok(caches.into()),
        (None, Some(home)) => Ok(Path::new(&home).join(".cache")),
        (None, None) => bail!("neither XDG_CACHE_HOME nor HOME says where a cache may be"),
    }
}

/// The search path for programs, this folder first.
fn path_with(folder: &Path) -> anyhow::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("the cache's folder cannot be searched for programs")
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_runner_is_a_figure() {
        let line = r#"{"function_name": "send", "profiles": [{"tool": "Callgrind", "data": {"total":
            {"metrics": {"Ir": {"values": {"new": 95030, "old": 95508}}}}}}]}"#;
        assert_eq!(figure(line).expect("complete"), ("send".to_owned(), 950.3));
        assert!(figure(r#"{"function_name": "send"}"#).is_err());
        assert!(figure("Gungraun result: Ok").is_err());
    }

    #[test]
    fn the_runner_is_of_the_library_s_version() {
        let workspace = Workspace::load().expect("cargo");
        let manifest = workspace.read("Cargo.toml").expect("it is there");
        assert!(gungraun_version(&manifest).is_ok());
        assert!(gungraun_version("[workspace.dependencies]\ngungraun = \"1\"\n").is_err());
    }
}
