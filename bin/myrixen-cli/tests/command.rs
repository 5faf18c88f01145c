//! The command from outside: what it prints, and what it says when something is missing.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

mod common;
use common::{complaint, myrixen, run, stdout};

fn captures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../crates/mxoe/tests/captures")
}

#[test]
fn an_absent_back_end_is_named_with_what_helps() {
    let socket = "/nonexistent/myrixen.sock";
    for args in [
        ["perf", "pingpong", "b:0:1", "--socket", socket].as_slice(),
        &["perf", "serve", "--socket", socket],
        &[
            "info",
            "--socket",
            socket,
            "--control",
            "/nonexistent/control.sock",
        ],
    ] {
        let text = complaint(&run(args));
        assert!(text.contains(socket), "{text}");
        assert!(text.contains("myrixend"), "{text}");
    }
}

#[test]
fn an_absent_operator_socket_is_named() {
    let text = complaint(&run(&[
        "counters",
        "--control",
        "/nonexistent/control.sock",
    ]));
    assert!(text.contains("/nonexistent/control.sock"), "{text}");
}

#[test]
fn manual_pages_and_completions_are_generated() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    assert!(stdout(&run(&["man", target])).contains("manual pages"));
    assert!(directory.path().join("myrixen-decode.1").exists());
    assert!(stdout(&run(&["completions", "bash"])).contains("complete"));
}

#[test]
fn recorded_frames_are_printed_one_a_line_in_the_guessed_dialect() {
    for dialect in ["compat", "native-mtu1500", "native-mtu9000"] {
        for file in std::fs::read_dir(captures().join(dialect)).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "pcap") {
                continue;
            }
            let text = stdout(&run(&["decode", file.to_str().unwrap()]));
            assert!(text.lines().count() > 1, "{}", file.display());
        }
    }
}

#[test]
fn a_capture_is_read_from_standard_input_and_every_field_is_printed_on_demand() {
    let file = std::fs::read_dir(captures().join("compat"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pcap")
        })
        .unwrap();
    let short = stdout(&run(&["decode", file.to_str().unwrap()]));
    let mut child = myrixen()
        .args(["decode", "--verbose", "--dialect", "compat", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = std::fs::read(file).unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let long = stdout(&child.wait_with_output().unwrap());
    writer.join().unwrap().unwrap();
    assert!(long.lines().count() > short.lines().count());
}

#[test]
fn what_is_no_capture_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    std::fs::write(&file, "this is no capture, however long one looks at it").unwrap();
    let text = complaint(&run(&["decode", file.to_str().unwrap()]));
    assert!(text.contains("notes.txt"), "{text}");
    let text = complaint(&run(&["decode", "/nonexistent.pcap"]));
    assert!(text.contains("/nonexistent.pcap"), "{text}");
}

#[test]
fn wrong_arguments_are_explained() {
    let text = complaint(&run(&["perf", "pingpong", "b:0:1", "--sizes", "8,x"]));
    assert!(text.contains("is not a size"), "{text}");
    let text = complaint(&run(&["perf", "pingpong", "nonsense"]));
    assert!(text.contains("BOARD:ENDPOINT"), "{text}");
    let text = complaint(&run(&["decode", "x.pcap", "--dialect", "klingon"]));
    assert!(text.contains("compat"), "{text}");
}
