//! The demo as a newcomer runs it, without the measurements: two hosts, four guests, and back ends that die.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Output;

mod common;
use common::{myrixen, records, stdout};

/// Runs a demo in a directory of its own, which it may use for temporary files, too.
fn demo(directory: &Path, args: &[&str]) -> Output {
    let out = directory.join("out");
    let temporary = directory.join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    myrixen()
        .args(["demo", "--no-perf", "--out"])
        .arg(out)
        .args(args)
        .env("TMPDIR", &temporary)
        .process_group(0)
        .output()
        .unwrap()
}

fn assert_exactly_once(directory: &Path, output: &Output, kills: u64) {
    let text = stdout(output);
    let out = directory.join("out");
    let records = records(&out.join("results.json"));
    let exchange = records
        .iter()
        .find(|record| record["test"] == "exchange")
        .unwrap();
    assert_eq!(exchange["guests"], 4);
    assert_eq!(exchange["largest"], 16 << 20);
    let restart = records
        .iter()
        .find(|record| record["test"] == "restart")
        .unwrap();
    assert_eq!(restart["kills"], kills);
    assert_eq!(restart["sent"], restart["delivered"], "{text}");
    for nothing in ["lost", "duplicated", "reordered"] {
        assert_eq!(restart[nothing], 0, "{nothing}: {text}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("SIGKILL"));
    let left = std::fs::read_dir(directory.join("tmp")).unwrap().count();
    assert_eq!(left, 0, "temporary files are removed");
}

#[test]
fn nothing_is_lost_when_both_back_ends_die_by_turns() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(directory.path(), &["--restarts", "4"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_exactly_once(directory.path(), &output, 4);
    if let Some(reason) = said.lines().find(|line| line.contains("because")) {
        println!("not over Ethernet: {reason}");
    }
}

#[test]
fn hosts_that_are_joined_by_vxlan_do_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(directory.path(), &["--vxlan"]);
    assert_exactly_once(directory.path(), &output, 1);
}
