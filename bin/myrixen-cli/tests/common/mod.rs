//! What the tests of the command share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::process::{Command, Output};

/// The command under test, with an environment of its own.
pub(crate) fn myrixen() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myrixen"));
    command
        .env_remove("MYRIXEN_SOCKET")
        .env_remove("MYRIXEN_CONTROL");
    command
}

/// Runs the command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    myrixen().args(args).output().unwrap()
}

/// What it wrote on standard output; panics with what it wrote on standard error unless it succeeded.
pub(crate) fn stdout(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it wrote on standard error; panics unless it failed.
pub(crate) fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "it should have failed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The records in a file.
pub(crate) fn records(file: &Path) -> Vec<serde_json::Value> {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}
