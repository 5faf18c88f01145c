//! Return codes and status codes that take more than a wrong call.

mod common;

use std::os::unix::fs::MetadataExt;

use common::{Check, Site, compile, have};

#[test]
fn requests_end_as_what_has_become_of_their_partner() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("codes", Check::Sanitizers, work.path());
    let site = Site::alone();
    for shared in ["0", "1"] {
        let guest = site.guest("a1", &program, Check::None).args(&["ends"]);
        site.run(guest.env("MX_DISABLE_SHMEM", shared)).succeed();
    }
}

#[test]
fn an_endpoint_that_is_opened_when_the_back_end_is_gone_has_a_dead_board() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("codes", Check::Sanitizers, work.path());
    let mut site = Site::alone();
    let guest = site.guest("a1", &program, Check::None).args(&["orphaned"]);
    let guest = site.run(guest);
    guest.wait_for_lines(1);
    site.stop();
    guest.succeed();
}

#[test]
fn mx_init_says_why_the_back_end_does_not_let_it_in() {
    if !have(&["cc"]) {
        return;
    }
    const NO_DRIVER: &str = "6";
    const NO_PERM: &str = "7";
    const BOARD_UNKNOWN: &str = "8";
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("codes", Check::Sanitizers, work.path());
    // It is run by whoever owns what it makes.
    let user = std::fs::metadata(work.path()).expect("it is there").uid();
    let site = Site::with(&format!("[[policy]]\nusers = [{user}]\nboards = ['a1']\n"));
    let init = |board: &str, code: &str| {
        let guest = site.guest(board, &program, Check::None);
        guest.args(&["init", code])
    };
    let nobody = init("a1", NO_DRIVER).env("MYRIXEN_SOCKET", "/nonexistent/guests");
    site.run(nobody).succeed();
    site.run(init("b1", NO_PERM)).succeed();
    site.run(init("a1@nowhere", BOARD_UNKNOWN)).succeed();
}
