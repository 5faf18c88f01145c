//! `myrixen bench` as its user meets it. What it measures is nobody's business here.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn bench(out: &Path, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myrixen"));
    command.args(["bench", "--out"]).arg(out).args(args);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.success(),
        text + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn everybody_has_a_turn_and_is_in_the_records() {
    let directory = tempfile::tempdir().unwrap();
    let mut ways = vec![
        "direct", "switched", "wire", "native", "peer:raw", "peer:udp", "peer:tcp",
    ];
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        // They only spin.
        ways.extend(["peer:line", "peer:memcpy"]);
    }
    let spins = ways.contains(&"peer:line");
    let perhaps = if spins { ",peer:iceoryx2" } else { "" };
    let only = ways.join(",") + perhaps + ",peer:xdp,matching,setup,asleep";
    let (well, said) = bench(
        directory.path(),
        &["--quick", "--rounds", "1", "--only", &only],
    );
    if said.contains("namespaces are forbidden") {
        eprintln!("skipped: {said}");
        return;
    }
    assert!(well, "{said}");
    let text = std::fs::read_to_string(directory.path().join("results.json")).unwrap();
    let records: Vec<Value> = serde_json::from_str(&text).unwrap();
    for path in ways {
        assert!(
            records.iter().any(|record| record["path"] == path),
            "{path} is missing:\n{said}"
        );
    }
    let xdp = |record: &Value| record["path"] == "peer:xdp";
    assert!(
        records.iter().any(xdp) || said.contains("not measured: peer:xdp"),
        "neither measured nor said to be missing:\n{said}"
    );
    let iceoryx2 = |record: &Value| record["path"] == "peer:iceoryx2";
    let how = "cargo build --release -p myrixen-peer-iceoryx2";
    assert!(
        records.iter().any(iceoryx2) || said.contains(how) || !spins,
        "neither measured nor said how to get it:\n{said}"
    );
    for link in ["ethernet", "vxlan"] {
        assert!(
            records.iter().any(|record| record["link"] == link),
            "{said}"
        );
    }
    // Somebody sleeps however few cores there are.
    let ratio =
        |record: &&Value| record["test"] == "ratio" && record["of"] == "native/peer:udp half_rtt 8";
    assert!(records.iter().any(|record| ratio(&record)), "{said}");
    let matched = |record: &&Value| record["test"] == "match";
    let matched: Vec<&Value> = records.iter().filter(matched).collect();
    assert_eq!(matched.len(), 4, "{said}");
    for one in matched {
        assert!(one["match_ns"].as_f64().unwrap() > 0.0, "{one}");
        assert!(one["entries"].as_f64().unwrap() >= 1000.0, "{one}");
    }
    for [test, of] in [
        ["open", "an endpoint"],
        ["connect", "one host"],
        ["connect", "wire"],
    ] {
        let found = |record: &&Value| record["test"] == test && record["of"] == of;
        assert_eq!(
            records.iter().filter(found).count(),
            1,
            "{test} {of}:\n{said}"
        );
    }
    let asleep = |record: &&Value| record["test"] == "sleep_cpu";
    assert!(records.iter().any(|record| asleep(&record)), "{said}");
    // Nobody gets a message through for nothing.
    for (test, figure) in [("stream", "cpu_s_per_gib"), ("rate", "cpu_s_per_million")] {
        for record in records.iter().filter(|record| record["test"] == test) {
            assert!(record[figure].as_f64().unwrap() > 0.0, "{record}");
        }
    }
    let page = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(page.matches("<svg").count() >= 2);
    assert!(
        !page.contains("http://") || !page.contains("<script"),
        "self-contained"
    );
}

/// A blocking socket takes one call to send and one to receive, whatever the machine does.
#[test]
fn system_calls_are_counted_where_the_kernel_allows() {
    let directory = tempfile::tempdir().unwrap();
    let (well, said) = bench(directory.path(), &["--calls", "--only", "direct,peer:udp"]);
    if said.contains("namespaces are forbidden") || said.contains("cannot count system calls") {
        eprintln!("skipped: {said}");
        return;
    }
    assert!(well, "{said}");
    let text = std::fs::read_to_string(directory.path().join("results.json")).unwrap();
    let records: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(records.iter().all(|record| record["test"] == "calls"));
    assert!(records.iter().any(|record| record["path"] == "direct"));
    let socket = |record: &&Value| record["path"] == "peer:udp" && record["wait"] == "sleep";
    let by = &records.iter().find(socket).unwrap()["per_message"];
    for who in ["client", "server"] {
        let calls = by[who].as_f64().unwrap();
        assert!((0.99..1.05).contains(&calls), "{by}");
    }
}

#[test]
fn a_name_that_nobody_has_is_refused_with_all_names() {
    let directory = tempfile::tempdir().unwrap();
    let (well, said) = bench(directory.path(), &["--only", "teleport"]);
    if said.contains("namespaces are forbidden") {
        return;
    }
    assert!(!well);
    assert!(
        said.contains("teleport") && said.contains("peer:udp"),
        "{said}"
    );
}
