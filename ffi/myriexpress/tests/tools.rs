//! The programs that MX users know.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use myrixen_netlab::test;

use common::{Check, Site, compile_in, folder, have, library};

const TOOLS: [&str; 7] = [
    "mx_counters",
    "mx_endpoint_info",
    "mx_hostname",
    "mx_info",
    "mx_msg_loop",
    "mx_pingpong",
    "mx_stream",
];

/// Runs a tool where no back end is.
fn without_back_end(program: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", library()).args(args);
    command.env("MYRIXEN_SOCKET", "/nonexistent/guests");
    command.output().expect("it was compiled")
}

/// The numbers of a table's rows, below its title.
fn table(text: &str, title: &str) -> Vec<Vec<f64>> {
    let mut lines = text.lines();
    let first = lines.next().map(str::trim_start);
    assert!(first.is_some_and(|line| line.starts_with(title)), "{text}");
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{word}: {text}"));
    let row = |line: &str| line.split_whitespace().map(number).collect();
    lines.map(row).collect()
}

/// The value after `label:` in what a tool has printed.
fn value<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == label).then(|| value.trim())
    })
}

#[test]
fn a_tool_whose_partner_dies_ends_with_an_error() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let site = Site::alone();
    // Who asks dies, or who answers; while the other waits, or looks again and again.
    let left = [
        ("mx_pingpong", &["-w"][..], &[][..], true),
        ("mx_pingpong", &[], &[], false),
        ("mx_stream", &[], &[], true),
        ("mx_msg_loop", &["-w"], &["-L"], true),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, (name, wait, answering, asker_dies))| {
        let program = compile_in("tools", name, Check::Sanitizers, work.path());
        let [answerer, asker] = ["a", "b"].map(|end| format!("{end}{number}"));
        let guest = |board: &str, args: &[&str]| {
            let guest = site.guest(board, &program, Check::None);
            site.run(guest.args(wait).args(args))
        };
        let answers = guest(&answerer, answering);
        let lengths = ["-d", &answerer, "-S", "1", "-E", "1000000", "-I", "1"];
        let asks = guest(&asker, &lengths);
        // They are in the middle of it.
        asks.wait_for_lines(4);
        (name, if asker_dies { answers } else { asks })
    });
    for (name, left) in left.collect::<Vec<_>>() {
        let text = left.end_with(1);
        assert!(text.contains(&format!("{name}: ")), "{text}");
    }
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

    // Without a wish all that the guest has, which is one where there are no devices.
    let unasked = site
        .guest("a1", &info, Check::None)
        .env("MYRIXEN_BOARDS", "");
    let text = site.run(unasked).succeed();
    assert_eq!(text.matches("Board #").count(), 1, "{text}");

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
fn mx_counters_shows_what_its_own_endpoint_and_the_board_have_counted() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_counters", Check::Sanitizers, work.path());
    let site = Site::alone();
    let guest = || site.guest("a1", &program, Check::None);
    // What crosses in frames is counted by bytes, and what is read where it lies by messages. The back end sees neither.
    for (length, bytes, in_place) in [("10000", "50000", "0"), ("100000", "0", "5")] {
        let sent = guest().args(&["-N", "5", "-l", length]);
        let text = site.run(sent).succeed();
        assert!(text.starts_with("Board #0, a1:0: "), "{text}");
        for (label, expected) in [
            ("Messages sent", "5"),
            ("Messages received", "5"),
            ("Bytes sent", bytes),
            ("Bytes received", bytes),
            ("Messages read in place", in_place),
            ("Partners lost", "0"),
            ("Board frames sent", "0"),
            ("Board frames received", "0"),
        ] {
            assert_eq!(value(&text, label), Some(expected), "{label}: {text}");
        }
    }
    let quiet = guest().args(&["-N", "5", "-q"]);
    let quiet = site.run(quiet).succeed();
    assert_eq!(value(&quiet, "Messages sent"), Some("5"), "{quiet}");
    assert_eq!(value(&quiet, "Partners lost"), None, "{quiet}");
    let text = site.run(guest()).succeed();
    assert_eq!(value(&text, "Messages sent"), Some("0"), "{text}");
    assert_eq!(value(&text, "Board endpoints open"), Some("1"), "{text}");
    // What another program of the same board sends by way of the back end is the board's, and not this program's.
    let pingpong = compile_in("tools", "mx_pingpong", Check::Sanitizers, work.path());
    let end = |board| {
        let guest = site.guest(board, &pingpong, Check::None).args(&["-w"]);
        guest.env("MX_DISABLE_SHMEM", "1")
    };
    let answers = site.run(end("a1").args(&["-e", "3"]));
    let asks = end("b1").args(&["-d", "a1", "-r", "3", "-S", "8", "-E", "8"]);
    let asks = site.run(asks.args(&["-N", "1000000"]));
    let board = loop {
        let text = site.run(guest()).succeed();
        let of = |label: &str| -> u64 { value(&text, label).unwrap().parse().unwrap() };
        if of("Board frames sent") > 100 && of("Board frames received") > 100 {
            break text;
        }
    };
    assert_eq!(value(&board, "Board endpoints open"), Some("2"), "{board}");
    assert_eq!(value(&board, "Messages sent"), Some("0"), "{board}");
    drop((asks, answers));
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
    let rows = open(&text);
    // The kernel keeps fifteen bytes of a name.
    let own = rows.iter().filter(|row| row.1 == "mx_endpoint_inf");
    assert_eq!((rows.len(), own.count()), (2, 1), "{text}");
    let named = ("3".to_owned(), "mx_pingpong".to_owned());
    assert!(rows.contains(&named), "{text}");
    let other = ("3".to_owned(), "-".to_owned());
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

#[test]
fn mx_stream_prints_a_bandwidth_for_each_size_and_verifies_what_arrives() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_stream", Check::Sanitizers, work.path());
    let site = Site::alone();
    for (wait, shmem) in [(&[][..], "0"), (&["-w"], "0"), (&["-w"], "1")] {
        let guest = |board| {
            let guest = site.guest(board, &program, Check::None).args(wait);
            guest.env("MX_DISABLE_SHMEM", shmem)
        };
        let receives = site.run(guest("a1"));
        let sends = guest("b1").args(&["-d", "a1", "-S", "0", "-E", "100000", "-M", "10"]);
        let sends = sends.args(&["-N", "50", "-W", "3", "-P", "7", "-V"]);
        let text = site.run(sends).succeed();
        let rows = table(&text, "Length");
        let lengths: Vec<f64> = rows.iter().map(|row| row[0]).collect();
        assert_eq!(lengths, [0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5], "{text}");
        assert_eq!(rows[0][1], 0.0, "{text}");
        // On a busy machine a few bytes round to no megabyte a second.
        assert!(rows[4..].iter().all(|row| row[1] > 0.0), "{text}");
        assert!(rows.iter().all(|row| row[2] > 0.0), "{text}");
        assert_eq!(receives.succeed(), "");
    }
    // One length, more at once than messages; another endpoint and key.
    let ends = ["-f", "7", "-w", "-e", "5"];
    let receives = site.run(site.guest("a1", &program, Check::None).args(&ends));
    let sends = site.guest("b1", &program, Check::None).args(&ends);
    let sends = sends.args(&[
        "-d", "a1", "-r", "5", "-l", "300", "-N", "3", "-W", "0", "-V",
    ]);
    let text = site.run(sends).succeed();
    assert_eq!(table(&text, "Length").len(), 1, "{text}");
    receives.succeed();
}

#[test]
fn a_partner_is_named_by_its_nic_id_too_and_streams_go_both_ways() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let compile = |tool| compile_in("tools", tool, Check::Sanitizers, work.path());
    let (pingpong, stream) = (compile("mx_pingpong"), compile("mx_stream"));
    let site = Site::alone();
    let run = |board: &str, program: &Path, args: &[&str]| {
        site.run(site.guest(board, program, Check::None).args(args))
    };
    let answers = run("a1", &pingpong, &["-w"]);
    site.wait_for_board("a1");
    let named = run("b1", &compile("mx_hostname"), &["a1"]).succeed();
    let (nic, _) = named.split_once(' ').expect("an address and a name");
    let asks = ["-d", nic, "-w", "-S", "1", "-E", "10000", "-M", "10"];
    let text = run("b1", &pingpong, &[&asks[..], &["-N", "20", "-V"]].concat()).succeed();
    assert_eq!(table(&text, "Length").len(), 5, "{text}");
    answers.succeed();

    for (shared, wait) in [("0", &["-w"][..]), ("1", &["-w"]), ("0", &[])] {
        let guest = |args: &[&str], board| {
            let guest = site.guest(board, &stream, Check::None).args(wait);
            site.run(guest.args(args).env("MX_DISABLE_SHMEM", shared))
        };
        // More messages than are under way at once, and fewer.
        for at_once in ["7", "100"] {
            let receives = guest(&[], "a1");
            let lengths = ["-d", nic, "-S", "0", "-E", "100000", "-M", "10"];
            let how = ["-N", "50", "-W", "3", "-P", at_once, "-x", "-V"];
            let text = guest(&[&lengths[..], &how].concat(), "b1").succeed();
            assert_eq!(table(&text, "Length").len(), 7, "{text}");
            assert_eq!(receives.succeed(), "");
        }
    }
}

#[test]
fn mx_pingpong_takes_its_lengths_from_a_file_and_answers_one_after_the_other() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_pingpong", Check::Sanitizers, work.path());
    let site = Site::alone();
    let run = |board: &str, args: &[&str]| {
        let guest = site.guest(board, &program, Check::None).args(&["-w"]);
        site.run(guest.args(args))
    };
    let file = |name: &str, text: &str| {
        let file = work.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    };
    let _answers = run("a1", &["-s"]);
    let lengths = |asks: &[&str]| -> Vec<f64> {
        let asks = [&["-d", "a1", "-N", "5"][..], asks].concat();
        let rows = table(&run("b1", &asks).succeed(), "Length");
        rows.iter().map(|row| row[0]).collect()
    };
    let some = file("some", "8\n\n 100000 \r\n3");
    assert_eq!(lengths(&["-L", &some, "-E", "10"]), [8.0, 1e5, 3.0]);
    assert_eq!(lengths(&["-L", &file("none", "\n")]), [0.0; 0]);
    let factor = ["-M", "10", "-S", "1", "-E", "100", "-I", "1"];
    assert_eq!(lengths(&factor), [1.0, 10.0, 100.0]);
    for (text, complaint) in [("8\n-1\n", ": not a length: -1\n"), ("8k", ": 8k\n")] {
        let wrong = file("wrong", text);
        let text = run("b1", &["-d", "a1", "-N", "5", "-L", &wrong]).end_with(1);
        assert!(text.contains(complaint), "{text}");
    }
    let absent = run("b1", &["-d", "a1", "-L", "/nonexistent/lengths"]).end_with(1);
    assert!(absent.contains("/nonexistent/lengths: No such"), "{absent}");
}

#[test]
fn the_own_board_can_be_named_by_its_nic_id() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let compile = |tool| compile_in("tools", tool, Check::Sanitizers, work.path());
    let (stream, hostname) = (compile("mx_stream"), compile("mx_hostname"));
    let site = Site::alone();
    let run = |boards: &str, program: &Path, args: &[&str]| {
        site.run(site.guest(boards, program, Check::None).args(args))
    };
    // Whoever asks for a board has it, as long as some program has.
    let first = run("a1,a2", &stream, &["-w", "-v"]);
    first.wait_for_lines(1);
    let named = run("b1", &hostname, &["a2"]).succeed();
    let (nic, _) = named.split_once(' ').expect("an address and a name");
    let second = run("a2,a1", &stream, &["-w", "-v", "-n", nic, "-b", "1"]);
    second.wait_for_lines(1);
    for (to, receives) in [("a1", first), ("a2", second)] {
        let sends = ["-w", "-d", to, "-l", "8", "-N", "5", "-v"];
        let text = run("b1", &stream, &sends).succeed();
        assert!(text.contains(&format!(": sends to {to}\n")), "{text}");
        let text = receives.succeed();
        assert_eq!(text, format!("{to}:0, endpoint 1: receives\n"));
    }
    let text = run("a1", &stream, &["-n", "02:00:00:00:00:01"]).end_with(1);
    assert!(text.contains("mx_nic_id_to_board_number"), "{text}");
}

/// Tools of two guests; what each of them is given beside.
fn round(program: &Path, sites: [&Site<'_>; 2], args: &[&str]) -> String {
    let listens = sites[0]
        .guest("a1", program, Check::None)
        .args(&["-L", "-w"]);
    let listens = sites[0].run(listens);
    let sends = sites[1].guest("b1", program, Check::None);
    let text = sites[1].run(sends.args(&["-d", "a1"]).args(args)).succeed();
    assert_eq!(listens.succeed(), "");
    text
}

#[test]
fn mx_msg_loop_checks_what_comes_back() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_msg_loop", Check::Sanitizers, work.path());
    let site = Site::alone();
    let sizes = ["-S", "1", "-E", "100000", "-M", "10"];
    let each = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5].map(|length| vec![length, 20.0, 0.0]);
    for more in [
        &["-A", "9"][..],
        &["-w", "-P", "6"],
        &["-w", "-P", "6", "-s", "-A", "9"],
        &["-w", "-P", "6", "-n"],
        &["-u", "-m", "-a", "4090", "-A", "4096"],
        &["-w", "-P", "6", "-u", "-s", "-t", "60000"],
    ] {
        let args = [&sizes[..], &["-N", "20"], more].concat();
        let alone = site.guest("a1", &program, Check::None).args(&args);
        let alone = site.run(alone).succeed();
        assert_eq!(table(&alone, "Length"), each, "{more:?}: {alone}");
        let two = round(&program, [&site, &site], &args);
        assert_eq!(table(&two, "Length"), each, "{more:?}: {two}");
    }
    let random = ["-R", "-N", "40", "-P", "8", "-w", "-v", "-E", "70000"];
    let text = round(&program, [&site, &site], &random);
    let good = text.lines().filter(|line| line.ends_with(": good"));
    let lengths = good.map(|line| line.split_whitespace().nth(3).unwrap_or_default());
    let lengths: std::collections::HashSet<&str> = lengths.collect();
    assert!(lengths.len() > 30, "{text}");
    assert!(
        text.ends_with("     70000         40          0\n"),
        "{text}"
    );
}

#[test]
fn mx_msg_loop_puts_messages_where_it_is_told_and_says_how_far_it_is() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_msg_loop", Check::Sanitizers, work.path());
    let site = Site::alone();
    let guest = site.guest("a1", &program, Check::None);
    let length = ["-S", "8", "-E", "8", "-N", "40", "-v"];
    let places = ["-a", "3", "-A", "6", "-i", "0"];
    let text = site.run(guest.args(&length).args(&places)).succeed();
    let good = text
        .lines()
        .filter(|line| line.ends_with(" of a page: good"));
    let words = good.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let pairs: Vec<[&str; 2]> = words.map(|words| [words[6], words[8]]).collect();
    assert_eq!(pairs.len(), 40, "{text}");
    for at in [0, 1] {
        let mut found: Vec<&str> = pairs.iter().map(|pair| pair[at]).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, ["3", "4", "5"], "{text}");
    }
    let said = |number| format!("mx_msg_loop: at 8 bytes, {number} messages, 0 bad\n");
    assert!(
        (1..=40).all(|number| text.contains(&said(number))),
        "{text}"
    );
}

#[test]
fn mx_msg_loop_ends_when_something_takes_longer_than_it_may() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_msg_loop", Check::Sanitizers, work.path());
    let site = Site::alone();
    for (number, (how, what)) in [
        (&["-w"][..], "the receive"),
        (&["-w", "-u"], "the message"),
        (&[], "the receive"),
    ]
    .into_iter()
    .enumerate()
    {
        let there = format!("a{number}");
        let listens = site.guest(&there, &program, Check::None);
        let listens = site.run(listens.args(&["-L", "-w"]));
        let sends = site.guest("b1", &program, Check::None).args(how);
        let lengths = ["-S", "1", "-E", "100000", "-I", "1"];
        let sends = sends.args(&["-d", &there, "-t", "2000", "-N", "1"]);
        let sends = site.run(sends.args(&lengths));
        sends.wait_for_lines(4);
        listens.freeze();
        let text = sends.end_with(1);
        let complaint = format!(" bytes: {what} took more than 2000 ms\n");
        assert!(text.ends_with(&complaint), "{text}");
    }
}

#[test]
fn the_tools_work_between_hosts() {
    if !have(&["cc"]) {
        return;
    }
    test(|lab| {
        let work = tempfile::tempdir().expect("a folder");
        let compile = |tool| compile_in("tools", tool, Check::Sanitizers, work.path());
        let hosts = [
            lab.host("a").expect("a host"),
            lab.host("b").expect("a host"),
        ];
        let [a, b] = Site::cabled(lab, &hosts);
        let args = ["-w", "-R", "-N", "30", "-P", "5", "-E", "70000"];
        let text = round(&compile("mx_msg_loop"), [&a, &b], &args);
        let rows = table(&text, "Length");
        assert_eq!(rows, [[70_000.0, 30.0, 0.0]], "{text}");
        let stream = compile("mx_stream");
        let receives = a.run(a.guest("a1", &stream, Check::None).args(&["-w"]));
        // It is asked for its endpoints before anybody sends.
        let info = compile("mx_endpoint_info");
        loop {
            let guest = b.guest("b2", &info, Check::None).args(&["-d", "a1"]);
            let text = b.run(guest).succeed();
            if text.contains("currently 1 regular") {
                break;
            }
            assert!(text.contains("currently 0 regular"), "{text}");
        }
        let sends = b
            .guest("b1", &stream, Check::None)
            .args(&["-d", "a1", "-w"]);
        let text = b.run(sends.args(&["-N", "20", "-M", "32", "-V"])).succeed();
        assert_eq!(table(&text, "Length").len(), 5, "{text}");
        receives.succeed();
    });
}

#[test]
fn options_that_make_no_sense_are_told_so() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let long = "x".repeat(100);
    for (tool, args, complaint) in [
        ("mx_stream", &["-N", "0"][..], "-N: at least one message"),
        ("mx_stream", &["-P", "5000"], "-P: from 1 to 4096"),
        ("mx_stream", &["-M", "nan"], "-M: the factor"),
        ("mx_pingpong", &["-M", "1"], "-M: the factor"),
        ("mx_pingpong", &["surplus"], "options only"),
        ("mx_pingpong", &["-n", "a1"], "-n: a NIC id"),
        ("mx_pingpong", &["-s", "-d", "a"], "-s answers"),
        ("mx_pingpong", &["-L", "/dev/null"], "-L: it is for"),
        ("mx_stream", &["-x"], "-x: it is for"),
        ("mx_msg_loop", &["-L", "-d", "a"], "-L sends back"),
        ("mx_msg_loop", &["-S", "2", "-E", "1"], "-E: less than -S"),
        ("mx_msg_loop", &["-A", "0"], "-A: from 1 to 4096"),
        ("mx_msg_loop", &["-a", "4096"], "-a: from 0 to 4095"),
        ("mx_msg_loop", &["-a", "9", "-A", "9"], "-A: not more than"),
        ("mx_msg_loop", &["-t", "0"], "-t: at least"),
        ("mx_endpoint_info", &["-t", "0"], "-t: at least"),
        ("mx_hostname", &["-b", "0", "a"], "own boards"),
    ] {
        let program = compile_in("tools", tool, Check::Sanitizers, work.path());
        let ended = without_back_end(&program, args);
        let text = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{tool} {args:?}: {text}");
        assert!(text.contains(complaint), "{tool} {args:?}: {text}");
    }
    let program = compile_in("tools", "mx_stream", Check::Sanitizers, work.path());
    let site = Site::alone();
    let guest = site.guest("a1", &program, Check::None).args(&["-d", &long]);
    let text = site.run(guest).end_with(2);
    assert!(text.contains("at most 79 bytes"), "{text}");
}
