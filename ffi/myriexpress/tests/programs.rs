//! C programs on the library: in one guest, between two guests of a host, across two hosts.

mod common;

use common::{Check, Site, compile, have};
use myrixen_netlab::test;

#[test]
fn two_guests_say_hello() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("hello", Check::Sanitizers, work.path());
    let site = Site::alone();
    let serve = site.run(site.guest("a1", &program, Check::None).args(&["serve"]));
    let call = site
        .guest("a2", &program, Check::None)
        .args(&["call", "a1"]);
    assert_eq!(site.run(call).succeed(), "hello to you\n");
    serve.succeed();
}

#[test]
fn two_hosts_say_hello() {
    if !have(&["cc"]) {
        return;
    }
    test(|lab| {
        let work = tempfile::tempdir().expect("a folder");
        let program = compile("hello", Check::Sanitizers, work.path());
        let hosts = [
            lab.host("a").expect("a host"),
            lab.host("b").expect("a host"),
        ];
        let [a, b] = Site::cabled(lab, &hosts);
        let serve = a.run(a.guest("a1", &program, Check::None).args(&["serve"]));
        let call = b.guest("b1", &program, Check::None).args(&["call", "a1"]);
        assert_eq!(b.run(call).succeed(), "hello to you\n");
        serve.succeed();
    });
}

/// Everything that one process can provoke, over a direct channel of its endpoints and through the back end.
#[test]
fn every_call_answers_as_it_should() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("calls", Check::Sanitizers, work.path());
    let site = Site::alone();
    for (name, value) in [("MX_VERBOSE", "1"), ("MX_DISABLE_SHMEM", "1")] {
        let guest = site.guest("a1", &program, Check::None).args(&["a1"]);
        let text = site.run(guest.env(name, value)).succeed();
        assert!(text.contains("all as they should be"), "{name}: {text}");
    }
}

/// Where the library's own thread-local data are gone.
#[test]
fn an_endpoint_can_be_closed_while_the_program_ends() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("leaving", Check::None, work.path());
    let site = Site::alone();
    for (role, code) in [("close", 0), ("fatal", 1)] {
        for monothread in ["0", "1"] {
            let guest = site.guest("a1", &program, Check::None).args(&[role]);
            let guest = guest.env("MX_MONOTHREAD", monothread);
            let text = site.run(guest).end_with(code);
            assert!(text.contains("leaving: closed"), "{role}: {text}");
        }
    }
}

#[test]
fn calls_answer_where_nobody_hears_of_errors() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("unheard", Check::Sanitizers, work.path());
    let site = Site::alone();
    for how in ["broken", "closed"] {
        let guest = site.guest("a1", &program, Check::None).args(&[how]);
        let guest = guest.env("MX_ERRORS_ARE_FATAL", "0").env("MX_VERBOSE", "1");
        let text = site.run(guest).succeed();
        assert!(text.contains("all codes are right"), "{how}: {text}");
    }
}

#[test]
fn nothing_leaks_and_nothing_wild_is_read() {
    if !have(&["cc", "valgrind"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("calls", Check::Valgrind, work.path());
    let site = Site::alone();
    let guest = site.guest("a1", &program, Check::Valgrind).args(&["a1"]);
    site.run(guest).succeed();
}

/// Runs the two ends of `pair.c`, one of which dies in the end.
fn pair(sites: [&Site<'_>; 2], program: &std::path::Path, settings: &[(&str, &str)], check: Check) {
    let start = |at: usize, board: &str, role: &str, other: &str| {
        let mut guest = sites[at].guest(board, program, check);
        // Its partner's death is to be noticed soon where nobody tells of it.
        guest = guest.env("MX_MAX_RETRIES", "10").args(&[role, other]);
        for (name, value) in settings {
            guest = guest.env(name, value);
        }
        sites[at].run(guest)
    };
    let a = start(0, "a1", "a", "b1");
    let b = start(1, "b1", "b", "a1");
    let text = a.succeed();
    assert!(text.contains("all as it should be"), "{settings:?}: {text}");
    b.succeed();
}

/// By a direct channel, where what was offered is read in place.
#[test]
fn memory_that_was_given_back_is_not_read_any_more() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("given", Check::Sanitizers, work.path());
    let site = Site::alone();
    let receives = site.run(site.guest("a1", &program, Check::None).args(&["receive"]));
    let sends = site.guest("b1", &program, Check::None);
    let sends = site.run(sends.args(&["send", "a1"]));
    // The receiver sees it, and the sender would wait for it.
    receives.succeed();
    sends.succeed();
}

#[test]
fn two_guests_of_a_host_exchange_messages_of_every_kind() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("pair", Check::Sanitizers, work.path());
    let site = Site::alone();
    for settings in [
        &[][..],
        &[("MX_DISABLE_SHMEM", "1")],
        &[("MX_ZOMBIE_SEND", "0")],
        &[("MX_MONOTHREAD", "1")],
    ] {
        pair([&site, &site], &program, settings, Check::None);
    }
}

#[test]
fn two_hosts_exchange_messages_of_every_kind() {
    if !have(&["cc"]) {
        return;
    }
    test(|lab| {
        let work = tempfile::tempdir().expect("a folder");
        let program = compile("pair", Check::Sanitizers, work.path());
        let hosts = [
            lab.host("a").expect("a host"),
            lab.host("b").expect("a host"),
        ];
        let [a, b] = Site::cabled(lab, &hosts);
        pair([&a, &b], &program, &[], Check::None);
    });
}

#[test]
fn an_exchange_between_guests_leaks_nothing() {
    if !have(&["cc", "valgrind"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("pair", Check::Valgrind, work.path());
    let site = Site::alone();
    pair([&site, &site], &program, &[], Check::Valgrind);
}

#[test]
fn a_guest_has_a_board_in_each_of_two_partitions() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("boards", Check::Sanitizers, work.path());
    let site = Site::parted();
    let guest = |boards: &str, args: &[&str]| {
        site.run(site.guest(boards, &program, Check::None).args(args))
    };
    // Whichever comes first, both of its boards are of this process.
    let both = guest("x1@red,x2@blue", &["x1", "x2", "y", "z"]);
    let (red, blue) = (guest("y@red", &["y", "x1"]), guest("z@blue", &["z", "x2"]));
    for guest in [both, red, blue] {
        let text = guest.succeed();
        assert!(text.contains("all as it should be"), "{text}");
    }
}

/// One byte less than 4 GiB, over a direct channel and through the back end.
#[test]
#[ignore = "takes 9 GiB of memory and some seconds: `cargo test -p myriexpress --test programs longest -- --ignored --nocapture`"]
fn the_longest_message_arrives_whole() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("huge", Check::None, work.path());
    let site = Site::alone();
    for shared in ["0", "1"] {
        let guest = site.guest("a1", &program, Check::None);
        let guest = guest.env("MX_DISABLE_SHMEM", shared).args(&["0xffffffff"]);
        print!("MX_DISABLE_SHMEM={shared}: {}", site.run(guest).succeed());
    }
}

/// `MYRIXEN_CHURN` is how many requests there are to be: 10,000,000 takes minutes.
#[test]
fn two_endpoints_that_come_and_go_leave_memory_as_it_was() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("churn", Check::None, work.path());
    let site = Site::alone();
    let requests = std::env::var("MYRIXEN_CHURN").unwrap_or("200000".to_owned());
    let many: u64 = requests.parse().expect("a number");
    let churn = site.guest("a1", &program, Check::None);
    let churn = churn.patience(std::time::Duration::from_secs(240 + many / 5000));
    print!(
        "{}",
        site.run(churn.args(&["1000", "100000", &requests]))
            .succeed()
    );
}
