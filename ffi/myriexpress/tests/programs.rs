//! C programs on the library: in one guest, between two guests of a host, across two hosts.

mod common;

use common::{Check, Site, compile};
use myrixen_netlab::test;

#[test]
fn two_guests_say_hello() {
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
