//! What is printed is what `docs/perf-json.md` says. How fast anything is, is nobody's business here.

use std::process::Command;

use serde_json::Value;

#[test]
fn each_figure_is_a_record_on_a_line_and_nothing_else_is_printed() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myrixen-peer-iceoryx2"));
    command.args(["measure", "--each-ms", "1", "--pingpong", "0,8"]);
    command.args(["--stream", "16384,1048576", "--rate", "8"]);
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let said = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let figures = [
        ("pingpong", 0, "/half_rtt_ns/p50"),
        ("pingpong", 8, "/half_rtt_ns/p99"),
        ("stream", 16_384, "/mb_per_s"),
        ("stream", 1 << 20, "/cpu_s_per_gib"),
        ("rate", 8, "/msgs_per_s"),
    ];
    assert_eq!(records.len(), figures.len(), "{said}");
    for (record, (test, size, figure)) in records.iter().zip(figures) {
        assert_eq!(
            (&record["test"], &record["size"]),
            (&test.into(), &size.into())
        );
        assert_eq!(record["path"], "peer:iceoryx2");
        assert_eq!(record["wait"], "spin");
        assert!(record.pointer(figure).unwrap().as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_partner_that_is_told_nonsense_says_so_and_ends() {
    let mut command = Command::new("sh");
    let partner = env!("CARGO_BIN_EXE_myrixen-peer-iceoryx2");
    let output = command
        .args(["-c", &format!("echo dance 3 | {partner} partner")])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("dance"), "{words}");
}
