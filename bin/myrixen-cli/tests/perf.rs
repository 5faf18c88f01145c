//! The perf, info and counters commands against a back end of their own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

mod common;
use common::{complaint, myrixen, records, run, stdout};

/// A process that is killed at the end of the test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A back end without uplinks, and where it is.
struct BackEnd {
    directory: tempfile::TempDir,
    _daemon: Background,
}

impl BackEnd {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (socket, control, state) = (at("m.sock"), at("c.sock"), directory.path());
        let text = format!(
            "[host]\nname = \"node\"\nstate_dir = {state:?}\nsocket = {socket:?}\ncontrol = {control:?}\n"
        );
        std::fs::write(at("myrixend.toml"), text).unwrap();
        let ready = UnixDatagram::bind(at("notify")).unwrap();
        let daemon = myrixen()
            .args(["demo-part", "daemon", "--config"])
            .arg(at("myrixend.toml"))
            .env("NOTIFY_SOCKET", at("notify"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let daemon = Background(daemon);
        let mut message = [0; 1024];
        let len = ready.recv(&mut message).unwrap();
        assert!(String::from_utf8_lossy(&message[..len]).contains("READY=1"));
        Self {
            directory,
            _daemon: daemon,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a server and gives what a client has to name.
    fn serve(&self) -> (Background, String) {
        let mut server = myrixen()
            .args(["perf", "serve", "--board", "far", "--socket"])
            .arg(self.path("m.sock"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = server.stdout.take().unwrap();
        let server = Background(server);
        let command = BufReader::new(stdout).lines().nth(1).unwrap().unwrap();
        let target = command.split_whitespace().last().unwrap().to_owned();
        (server, target)
    }

    fn measure(&self, args: &[&str], json: &Path) -> Vec<serde_json::Value> {
        let mut command = myrixen();
        command.arg("perf").args(args).arg("--json").arg(json);
        command
            .args(["--seconds", "0.01", "--socket"])
            .arg(self.path("m.sock"));
        stdout(&command.output().unwrap());
        records(json)
    }
}

#[test]
fn every_test_runs_on_both_paths_of_a_host_and_writes_its_records() {
    let back_end = BackEnd::start();
    let (_server, target) = back_end.serve();
    let json = back_end.path("records.json");
    let sizes = ["--sizes", "0,8,1000,40k,1m"];
    for (flags, path) in [
        ([].as_slice(), "direct"),
        (["--no-direct"].as_slice(), "switched"),
    ] {
        for (test, figure) in [
            ("pingpong", "half_rtt_ns"),
            ("stream", "mb_per_s"),
            ("rate", "msgs_per_s"),
        ] {
            let args = [&[test, &target], sizes.as_slice(), flags].concat();
            let records = back_end.measure(&args, &json);
            assert_eq!(records.len(), 5);
            for (record, size) in records.iter().zip([0, 8, 1000, 40 << 10, 1 << 20]) {
                assert_eq!(record["test"], test);
                assert_eq!(record["path"], path);
                assert_eq!(record["wait"], "sleep");
                assert_eq!(record["size"], size);
                let value = if test == "pingpong" {
                    &record[figure]["p50"]
                } else {
                    &record[figure]
                };
                assert!(
                    value.as_f64().is_some_and(|v| v > 0.0 || size == 0),
                    "{record}"
                );
            }
        }
    }
}

#[test]
fn scale_starts_what_it_needs_and_holds_each_figure_against_its_bar() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("records.json");
    let small = [
        ["--guests", "3"],
        ["--seconds", "0.05"],
        ["--connections", "40"],
        ["--round-trips", "100"],
    ];
    let mut command = myrixen();
    command.args(["perf", "scale"]).args(small.concat());
    let text = stdout(&command.arg("--json").arg(&json).output().unwrap());
    let records = records(&json);
    for test in [
        "footprint",
        "idle",
        "fairness",
        "open",
        "connect",
        "connections",
        "sleep_cpu",
    ] {
        assert!(text.contains(test), "{text}");
        let record = records.iter().find(|record| record["test"] == test);
        let record = record.unwrap_or_else(|| panic!("no {test} in {records:?}"));
        assert!(record["figure"].is_number() && record["met"].is_boolean());
        let bar = record["bar"].as_str().unwrap();
        assert!(bar.starts_with(['<', '>']), "{bar}");
    }
}

#[test]
fn a_wrong_key_and_an_unknown_board_are_explained() {
    let back_end = BackEnd::start();
    let (_server, target) = back_end.serve();
    let socket = back_end.path("m.sock");
    let socket = socket.to_str().unwrap();
    let text = complaint(&run(&[
        "perf", "rate", &target, "--key", "1", "--socket", socket,
    ]));
    assert!(
        text.contains("perf serve") && text.contains("key"),
        "{text}"
    );
    let text = complaint(&run(&["perf", "rate", "nobody:0:1", "--socket", socket]));
    assert!(
        text.contains("nobody:0") && text.contains("far:0"),
        "{text}"
    );
}

#[test]
fn operators_see_guests_endpoints_and_counters() {
    let back_end = BackEnd::start();
    let (_server, target) = back_end.serve();
    let json = back_end.path("records.json");
    back_end.measure(&["rate", &target, "--sizes", "8", "--no-direct"], &json);
    let control = back_end.path("c.sock");
    let control = control.to_str().unwrap();
    let info = stdout(&run(&["info", "--control", control]));
    assert!(
        info.contains("Host node") && info.contains("far:0"),
        "{info}"
    );
    let parsed: serde_json::Value =
        serde_json::from_str(&stdout(&run(&["info", "--json", "--control", control]))).unwrap();
    assert_eq!(parsed["boards"][0]["name"], "far:0");
    let counters = stdout(&run(&["counters", "--control", control]));
    assert!(counters.contains("frames received"), "{counters}");
    let metrics = stdout(&run(&["counters", "--prometheus", "--control", control]));
    assert!(
        metrics.lines().any(|line| line.starts_with("# TYPE ")),
        "{metrics}"
    );
    let socket = back_end.path("m.sock");
    let socket = socket.to_str().unwrap();
    let as_guest = stdout(&run(&[
        "info",
        "--control",
        "/nonexistent",
        "--socket",
        socket,
    ]));
    assert!(
        as_guest.contains("as a guest sees it") && as_guest.contains("far:0"),
        "{as_guest}"
    );
}

/// Starts one who takes part in `verify`.
fn verifier(back_end: &BackEnd, me: &str, all: &str, more: &[&str]) -> Child {
    myrixen()
        .args(["verify", "--as", me, "--with", all, "--board"])
        .arg(me.split('/').next().unwrap())
        .arg("--socket")
        .arg(back_end.path("m.sock"))
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn programs_of_several_boards_verify_each_other() {
    let back_end = BackEnd::start();
    let all = ["x/0", "x/1", "y/0"];
    for more in [["--stream", "1"].as_slice(), ["--switched"].as_slice()] {
        let list = all.join(",");
        let started: Vec<Child> = all
            .iter()
            .map(|me| verifier(&back_end, me, &list, more))
            .collect();
        for child in started {
            let text = stdout(&child.wait_with_output().unwrap());
            let said: Vec<serde_json::Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let exchanged = said.iter().find(|s| s["say"] == "exchanged").unwrap();
            assert_eq!(exchanged["messages"], 2 * 226, "{text}");
            let streamed = said.iter().find(|s| s["say"] == "streamed");
            if let Some(streamed) = streamed {
                let tally = &streamed["streamed"]["tally"];
                assert!(tally["delivered"].as_u64().unwrap() > 0, "{text}");
                for fault in ["lost", "duplicated", "reordered"] {
                    assert_eq!(tally[fault], 0, "{text}");
                }
            }
        }
    }
}

#[test]
fn who_is_not_on_the_list_is_told_so() {
    let back_end = BackEnd::start();
    let output = verifier(&back_end, "x/1", "x/0,y/0", &[])
        .wait_with_output()
        .unwrap();
    assert!(complaint(&output).contains("--with does not name x/1"));
}
