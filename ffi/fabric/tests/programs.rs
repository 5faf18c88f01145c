//! C programs on libfabric, with the provider: in one process, between two of a host, across two hosts.

mod common;

use std::path::Path;
use std::time::Instant;

use common::{PATIENCE, Site, compile, have_libfabric};
use myrixen_netlab::test;

#[test]
fn every_object_answers_as_it_should() {
    if !have_libfabric() {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("objects", work.path());
    let site = Site::alone();
    for direct in ["1", "0"] {
        let mut guest = site.guest(&program);
        guest.env("FI_MYRIXEN_DIRECT", direct);
        let text = site.run(guest, "objects").succeed();
        assert!(text.contains("all as it should be"), "{direct}: {text}");
    }
}

/// Runs the two ends of `pair.c`.
fn pair(sites: [&Site<'_>; 2], program: &Path, role: &str, direct: &str) {
    let meeting = tempfile::tempdir().expect("a folder");
    let start = |at: usize| {
        let mut guest = sites[at].guest(program);
        guest.arg(meeting.path()).arg(at.to_string()).arg(role);
        guest.env("FI_MYRIXEN_DIRECT", direct);
        if role == "die" {
            // To be noticed soon also where nobody tells of it.
            guest.env("FI_MYRIXEN_TIMEOUT", "5000");
        }
        sites[at].run(guest, &format!("{role}{at}"))
    };
    let (first, second) = (start(0), start(1));
    let ends = [first.end(), second.end()];
    let well = ends[0].0 && (ends[1].0 || role == "die");
    assert!(
        well && ends[0].1.contains("all as it should be"),
        "{role}, FI_MYRIXEN_DIRECT={direct}: {ends:#?}"
    );
}

const ROLES: [&str; 4] = ["basic", "scalable", "counts", "die"];

#[test]
fn two_processes_of_a_host_exchange_everything() {
    if !have_libfabric() {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("pair", work.path());
    let site = Site::alone();
    for direct in ["1", "0"] {
        for role in ROLES {
            pair([&site, &site], &program, role, direct);
        }
    }
}

#[test]
fn two_hosts_exchange_everything() {
    if !have_libfabric() {
        return;
    }
    test(|lab| {
        let work = tempfile::tempdir().expect("a folder");
        let program = compile("pair", work.path());
        let hosts = [
            lab.host("a").expect("a host"),
            lab.host("b").expect("a host"),
        ];
        let [a, b] = Site::cabled(lab, &hosts, 9000);
        for role in ROLES {
            pair([&a, &b], &program, role, "1");
        }
    });
}

#[test]
#[ignore = "takes 9 GiB of memory and two minutes: `cargo test -p myrixen-fabric --test programs longest -- --ignored --nocapture`"]
fn the_longest_message_arrives_whole() {
    if !have_libfabric() {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("huge", work.path());
    let site = Site::alone();
    for direct in ["1", "0"] {
        let mut guest = site.guest(&program);
        guest.env("FI_MYRIXEN_DIRECT", direct);
        let text = site.run(guest, "huge").succeed();
        println!("FI_MYRIXEN_DIRECT={direct}:\n{text}");
    }
}

/// libfabric's own programs find the provider, and say what it is.
#[test]
fn the_tools_of_libfabric_work() {
    let site = Site::alone();
    let mut info = site.guest(Path::new("fi_info"));
    info.args(["-p", "myrixen", "-v"]);
    if info.output().is_err() {
        eprintln!("skipped: `fi_info` is missing (libfabric-bin)");
        return;
    }
    let text = site.run(info, "info").succeed();
    for said in [
        "prov_name: myrixen",
        "name: default",
        "name: a:0",
        "FI_ATOMIC",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    pingpong(&site);
}

/// Runs `fi_pingpong` with every byte checked.
fn pingpong(site: &Site<'_>) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("it is bound").port().to_string();
    drop(free);
    let command = |place: &[&str]| {
        let mut command = site.guest(Path::new("fi_pingpong"));
        command.args(["-p", "myrixen", "-e", "rdm", "-I", "100", "-c"]);
        command.args(place);
        command
    };
    let serving = site.run(command(&["-B", &port]), "serve");
    // Refused until the other end listens.
    let until = Instant::now() + PATIENCE;
    loop {
        let calling = site.run(command(&["-P", &port, "127.0.0.1"]), "call");
        match calling.end() {
            (true, text) => break assert!(text.contains("1m"), "{text}"),
            (false, text) => assert!(Instant::now() < until, "{text}"),
        }
    }
    serving.succeed();
}
