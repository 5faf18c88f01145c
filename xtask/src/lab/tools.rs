//! Programs of the machine: whether they are there, and running them.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// A program and the Debian package that has it.
pub(crate) type Tool = (&'static str, &'static str);

/// For running tests.
pub(crate) const TO_RUN: &[Tool] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("setpriv", "util-linux"),
];

/// For making the images.
pub(crate) const TO_PREPARE: &[Tool] = &[
    ("apt-get", "apt"),
    ("apt-cache", "apt"),
    ("dpkg-deb", "dpkg"),
    ("gzip", "gzip"),
    ("xz", "xz-utils"),
    ("lz4", "lz4"),
];

/// Makes sure that all of them are there.
///
/// # Errors
///
/// Names those that are missing, and how to get them.
pub(crate) fn require(tools: &[Tool]) -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let missing: Vec<_> = tools
        .iter()
        .filter(|(program, _)| !folders.iter().any(|folder| folder.join(program).is_file()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    bail!(
        "missing {}; on Debian: apt-get install --no-install-recommends {}",
        names.join(", "),
        packages.join(" ")
    )
}

/// Runs a command and returns what it printed.
///
/// # Errors
///
/// When it cannot be started or fails, with what it said.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{name} failed ({}): {}",
        output.status,
        said.trim()
    );
    Ok(output.stdout)
}

/// Writes what a command makes of `input` to the file `out`.
///
/// # Errors
///
/// When it fails, or the file cannot be written.
pub(crate) fn filter(words: &[&str], input: &[u8], out: &Path) -> anyhow::Result<()> {
    let (program, arguments) = words.split_first().context("no command")?;
    let file =
        std::fs::File::create(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(file)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    // What fails here shows in the exit status as well, which says more.
    let written = child
        .stdin
        .take()
        .map(|mut stdin| std::io::Write::write_all(&mut stdin, input));
    let status = child.wait().with_context(|| format!("lost {program}"))?;
    ensure!(status.success(), "{} failed: {status}", words.join(" "));
    written
        .transpose()
        .with_context(|| format!("{program} did not take all of its input"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert!(require(&[("sh", "dash")]).is_ok());
        let error = require(&[("sh", "dash"), ("no-such-program", "some-package")])
            .expect_err("nobody has that");
        let text = error.to_string();
        assert!(
            text.contains("no-such-program") && text.ends_with("some-package"),
            "{text}"
        );
    }

    #[test]
    fn a_failing_command_is_quoted() {
        let error =
            output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).expect_err("it failed");
        assert!(error.to_string().contains("why"), "{error}");
    }
}
