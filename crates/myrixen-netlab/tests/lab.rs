//! Hosts, cables, switches, and processes on them.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use myrixen_netlab::{Host, Lab, Verdict, test};

fn addressed<const N: usize>(hosts: [&Host; N], interfaces: [&str; N]) -> [IpAddr; N] {
    let mut last = 0;
    let addresses = hosts.map(|_| {
        last += 1;
        IpAddr::from([10, 0, 0, last])
    });
    for i in 0..N {
        hosts[i]
            .add_address(interfaces[i], addresses[i], 24)
            .unwrap();
    }
    addresses
}

/// A connection between two hosts, made within their networks and used from here.
fn connection(from: &Host, to: &Host, to_address: IpAddr) -> (TcpStream, TcpStream) {
    let listener = to
        .run(|| TcpListener::bind((to_address, 0)))
        .unwrap()
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let caller = from
        .run(|| TcpStream::connect((to_address, port)))
        .unwrap()
        .unwrap();
    (caller, listener.accept().unwrap().0)
}

fn talk(lab: &Lab, mtu: u32) {
    let (left, right) = (lab.host("left").unwrap(), lab.host("right").unwrap());
    let [a, b] = lab.cable([&left, &right], mtu).unwrap();
    assert_eq!([a.as_str(), b.as_str()], ["eth0", "eth0"]);
    let [_, to] = addressed([&left, &right], [&a, &b]);
    let (mut caller, mut called) = connection(&left, &right, to);
    caller.write_all(b"over the cable").unwrap();
    drop(caller);
    let mut heard = String::new();
    called.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "over the cable");
}

#[test]
fn hosts_talk_over_a_cable() {
    test(|lab| talk(lab, 1500));
}

#[test]
fn hosts_talk_over_a_cable_for_jumbo_frames() {
    test(|lab| talk(lab, 9000));
}

/// The line of an interface in /proc/net/dev, as the calling thread's network has it.
fn interface_line(name: &str) -> String {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let mut lines = text
        .lines()
        .filter(|line| line.trim_start().starts_with(name));
    lines.next().unwrap_or_default().to_owned()
}

#[test]
fn three_hosts_talk_through_a_switch() {
    test(|lab| {
        let hosts = ["a", "b", "c"].map(|name| lab.host(name).unwrap());
        let [a, b, c] = &hosts;
        let (_switch, names) = lab.switch("switch", &[a, b, c], 9000).unwrap();
        let addresses = addressed([a, b, c], [&names[0], &names[1], &names[2]]);
        for (from, to, address) in [(a, b, addresses[1]), (b, c, addresses[2])] {
            let (mut caller, mut called) = connection(from, to, address);
            caller.write_all(b"x").unwrap();
            let mut byte = [0];
            called.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"x");
        }
    });
}

#[test]
fn a_process_starts_on_its_host() {
    test(|lab| {
        let host = lab.host("host").unwrap();
        let other = lab.host("other").unwrap();
        lab.cable([&host, &other], 1500).unwrap();
        let mut command = Command::new("cat");
        command.arg("/proc/net/dev").stdout(Stdio::piped());
        let output = host
            .spawn(&mut command)
            .unwrap()
            .wait_with_output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("eth0:"), "{text}");
        assert!(
            !std::fs::read_to_string("/proc/net/dev")
                .unwrap()
                .contains("eth0:")
        );
    });
}

#[test]
fn an_interface_that_is_removed_takes_its_peer_along() {
    test(|lab| {
        let (left, right) = (lab.host("left").unwrap(), lab.host("right").unwrap());
        let [a, b] = lab.cable([&left, &right], 1500).unwrap();
        left.remove(&a).unwrap();
        assert_eq!(right.run(|| interface_line(&b)).unwrap(), "");
        let error = left.set_up(&a, true).unwrap_err();
        assert!(error.to_string().contains("eth0"), "{error}");
    });
}

#[test]
fn a_lab_has_nothing_but_loopback_of_its_own() {
    test(|_lab| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let text = std::fs::read_to_string("/proc/net/dev").unwrap();
        assert_eq!(
            text.lines().count(),
            3,
            "two lines of headings and lo: {text}"
        );
    });
}

#[test]
fn a_failure_inside_is_a_failure_outside() {
    let verdict = std::panic::catch_unwind(|| test(|_lab| panic!("as intended")));
    if std::env::var_os("MYRIXEN_NETLAB_INSIDE").is_some() {
        std::panic::resume_unwind(verdict.unwrap_err());
    }
    assert!(!matches!(verdict, Ok(Verdict::Passed)));
}
