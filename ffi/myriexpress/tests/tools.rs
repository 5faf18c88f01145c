//! The programs that MX users know.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{Check, Site, compile_in, folder, have, library};

const TOOLS: [&str; 5] = [
    "mx_counters",
    "mx_endpoint_info",
    "mx_hostname",
    "mx_info",
    "mx_pingpong",
];

/// Runs a tool where no back end is.
fn without_back_end(program: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", library()).args(args);
    command.env("MYRIXEN_SOCKET", "/nonexistent/guests");
    command.output().expect("it was compiled")
}

/// The value after `label:` in what a tool has printed.
fn value<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == label).then(|| value.trim())
    })
}

#[test]
fn mx_pingpong_prints_a_line_for_each_size_and_verifies_what_comes_back() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_pingpong", Check::Sanitizers, work.path());
    let site = Site::alone();
    for wait in [&[][..], &["-w"]] {
        let answers = site.guest("a1", &program, Check::None).args(wait);
        let answers = site.run(answers);
        let asks = site.guest("b1", &program, Check::None).args(wait);
        let sizes = ["-d", "a1", "-S", "0", "-E", "100000", "-M", "10"];
        let asks = asks.args(&sizes).args(&["-N", "20", "-W", "2", "-V"]);
        let text = site.run(asks).succeed();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("Latency(us)"), "{text}");
        let measured: Vec<(u32, f64)> = lines[1..]
            .iter()
            .map(|line| {
                let mut words = line.split_whitespace();
                let length = words.next().and_then(|word| word.parse().ok());
                let latency = words.next().and_then(|word| word.parse().ok());
                (length.expect("a length"), latency.expect("a latency"))
            })
            .collect();
        let lengths: Vec<u32> = measured.iter().map(|(length, _)| *length).collect();
        assert_eq!(lengths, [0, 1, 10, 100, 1000, 10_000, 100_000]);
        assert!(measured.iter().all(|(_, latency)| *latency > 0.0), "{text}");
        answers.succeed();
    }
}

#[test]
fn every_tool_says_what_is_wrong_with_its_command_line() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    for tool in TOOLS {
        let program = compile_in("tools", tool, Check::Sanitizers, work.path());
        let usage = format!("usage: {tool}");
        for (args, complaint) in [
            (&["-Z"][..], "invalid option"),
            (&["-b"], "requires an argument"),
            (&["-b", "x"], "-b: 'x' is not a number"),
            (&["-b", "-1"], "-b: '-1' is not a number"),
            (&["-b", "4294967296"], "-b: '4294967296' is not a number"),
        ] {
            let ended = without_back_end(&program, args);
            let text = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(2), "{tool} {args:?}: {text}");
            assert!(text.contains(complaint), "{tool} {args:?}: {text}");
            assert!(text.contains(&usage), "{tool} {args:?}: {text}");
        }
        let help = without_back_end(&program, &["-h"]);
        assert!(help.status.success(), "{tool}");
        assert!(help.stdout.starts_with(usage.as_bytes()), "{tool}");
        let alone = without_back_end(&program, &[]);
        let text = String::from_utf8_lossy(&alone.stderr);
        assert_eq!(alone.status.code(), Some(1), "{tool}: {text}");
        assert!(text.starts_with("MX: mx_init: "), "{tool}: {text}");
    }
}

#[test]
fn every_tool_has_a_man_page_that_has_its_options() {
    if !have(&["cc", "groff"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    for tool in TOOLS {
        let page = folder().join("man").join(format!("{tool}.1"));
        let checked = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .arg(&page)
            .output();
        let complaints = checked.expect("it is there").stderr;
        assert!(
            complaints.is_empty(),
            "{}",
            String::from_utf8_lossy(&complaints)
        );
        let page = std::fs::read_to_string(page).expect("it was formatted");
        let program = compile_in("tools", tool, Check::Sanitizers, work.path());
        let help = without_back_end(&program, &["-h"]).stdout;
        let help = String::from_utf8_lossy(&help).into_owned();
        let mut options: Vec<char> = help
            .match_indices('-')
            .filter(|(at, _)| help[..*at].ends_with([' ', '[']))
            .filter_map(|(at, _)| help[at + 1..].chars().next())
            .collect();
        options.push('h');
        for option in options {
            let entry = |line: &str| line.contains(&format!(r"\-{option}"));
            let described = page.split(".SH OPTIONS").nth(1).expect("a section");
            assert!(described.lines().any(entry), "{tool} -{option}");
        }
    }
}

#[test]
fn mx_info_shows_each_board_and_mx_hostname_its_name() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let compile = |tool| compile_in("tools", tool, Check::Sanitizers, work.path());
    let (info, hostname) = (compile("mx_info"), compile("mx_hostname"));
    let site = Site::alone();
    let run = |board: &str, program: &Path, args: &[&str]| {
        site.run(site.guest(board, program, Check::None).args(args))
    };
    let text = run("a1,a2", &info, &[]).succeed();
    let version = format!("{} (MyriXen)", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&text, "MX Version"), Some(version.as_str()), "{text}");
    assert_eq!(value(&text, "MX API"), Some("0x301"), "{text}");
    assert!(text.contains("\n2 boards\n"), "{text}");
    let (first, second) = text.split_once("Board #1:").expect("two boards");
    assert_eq!(value(first, "Hostname"), Some("a1:0"), "{text}");
    assert_eq!(value(second, "Hostname"), Some("a2:0"), "{text}");
    let mapper = |text| value(text, "Mapper").map(str::to_owned);
    assert_eq!(mapper(first), mapper(second), "{text}");
    // Both, as each of them knows.
    assert_eq!(value(second, "Mapped hosts"), Some("2"), "{text}");

    let only = run("a1,a2", &info, &["-b", "1"]).succeed();
    assert!(only.contains("a2:0") && !only.contains("a1:0"), "{only}");
    let text = run("a1", &info, &["-b", "1"]).end_with(1);
    assert!(text.contains("there is no such board"), "{text}");

    assert_eq!(run("a1", &hostname, &[]).succeed(), "a1:0\n");
    let second = run("a1,a2", &hostname, &["-b", "1"]).succeed();
    assert_eq!(second, "a2:0\n");
    // Another guest's, by its name and by its address.
    let pingpong = compile("mx_pingpong");
    let _there = run("b1", &pingpong, &[]);
    site.wait_for_board("b1");
    let by_name = run("a1", &hostname, &["b1"]).succeed();
    let (nic, name) = by_name.trim().split_once(' ').expect("two words");
    assert_eq!((nic.len(), name), (17, "b1:0"));
    assert_eq!(run("a1", &hostname, &[nic]).succeed(), by_name);
    let text = run("a1", &hostname, &["nobody", "b1"]).end_with(1);
    assert!(
        text.contains("mx_hostname: nobody: ") && text.contains(nic),
        "{text}"
    );
}

#[test]
fn mx_counters_shows_what_its_own_endpoint_has_counted() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_counters", Check::Sanitizers, work.path());
    let site = Site::alone();
    let guest = || site.guest("a1", &program, Check::None);
    let sent = guest().args(&["-N", "5", "-l", "100000"]);
    let text = site.run(sent).succeed();
    assert!(text.starts_with("Board #0, a1:0: "), "{text}");
    for (label, expected) in [
        ("Messages sent", "5"),
        ("Messages received", "5"),
        ("Bytes sent", "500000"),
        ("Bytes received", "500000"),
        ("Partners lost", "0"),
    ] {
        assert_eq!(value(&text, label), Some(expected), "{label}: {text}");
    }
    let quiet = guest().args(&["-N", "5", "-q"]);
    let quiet = site.run(quiet).succeed();
    assert_eq!(value(&quiet, "Messages sent"), Some("5"), "{quiet}");
    assert_eq!(value(&quiet, "Partners lost"), None, "{quiet}");
    let text = site.run(guest()).succeed();
    assert_eq!(value(&text, "Messages sent"), Some("0"), "{text}");
}

#[test]
fn mx_endpoint_info_shows_which_endpoints_are_open() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let compile = |tool| compile_in("tools", tool, Check::Sanitizers, work.path());
    let (info, pingpong) = (compile("mx_endpoint_info"), compile("mx_pingpong"));
    let site = Site::alone();
    let answers = site.guest("a1", &pingpong, Check::None);
    let answers = site.run(answers.args(&["-e", "3", "-w"]));
    let open = |text: &str| -> Vec<(String, String)> {
        let rows = text.lines().filter(|line| line.contains(" open"));
        let words = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
        let rows = words.filter(|words| words[0].parse::<u8>().is_ok());
        rows.map(|words| (words[0].to_owned(), words[2].to_owned()))
            .collect()
    };
    // Programs of one name share a board: the endpoint is opened some time after the board is there.
    let text = loop {
        let text = site.run(site.guest("a1", &info, Check::None)).succeed();
        if text.contains("currently 1 regular") {
            break text;
        }
        assert!(text.contains("currently 0 regular"), "{text}");
    };
    let other = ("3".to_owned(), "-".to_owned());
    let rows = open(&text);
    let own = rows.iter().filter(|row| row.1 == "mx_endpoint_info");
    assert_eq!((rows.len(), own.count()), (2, 1), "{text}");
    assert!(rows.contains(&other), "{text}");
    // Another guest sees the same, but for the one that asked.
    let from_afar = site.guest("b1", &info, Check::None).args(&["-d", "a1"]);
    let text = site.run(from_afar).succeed();
    assert_eq!(open(&text), [other], "{text}");
    assert!(text.starts_with("Board a1:0:"), "{text}");
    // The one that was asked is none the worse for it.
    let asks = site.guest("b1", &pingpong, Check::None);
    let asks = asks.args(&["-d", "a1", "-r", "3", "-E", "1000", "-N", "5", "-w"]);
    site.run(asks).succeed();
    answers.succeed();
}
