//! Programs that break the rules harm nobody but themselves.

use std::os::fd::OwnedFd;

use myrixen_platform::message::{Brought, ChannelId, FailReason, Request};
use myrixen_platform::process::HelloOptions;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

use super::bench::{Bench, OURS, THEIRS, at, open_port};

fn raw(bench: &Bench) -> OwnedFd {
    let (unix, seqpacket) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let socket = socket_with(unix, seqpacket, SocketFlags::NONBLOCK, None).unwrap();
    let path = bench.path().join("socket");
    connect(&socket, &SocketAddrUnix::new(path.as_path()).unwrap()).unwrap();
    socket
}

#[test]
fn garbage_is_hung_up_on_and_the_others_go_on() {
    let mut bench = Bench::new();
    let program = bench.attach();
    let mut garbage = 1u32;
    for len in [1usize, 16, 17, 450, 1024, 4000] {
        let socket = raw(&bench);
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                garbage = garbage.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                garbage.to_le_bytes()[3]
            })
            .collect();
        send(&socket, &bytes, SendFlags::empty()).unwrap();
        bench.turn();
        let closed = send(&socket, &bytes, SendFlags::NOSIGNAL);
        assert!(
            closed.is_err(),
            "{len} bytes of garbage are no reason to stay"
        );
    }
    bench.open(&program, 1);
}

#[test]
fn programs_that_say_nothing_are_limited_and_do_not_keep_others_out() {
    let mut bench = Bench::new();
    let silent: Vec<OwnedFd> = (0..64)
        .map(|_| {
            let socket = raw(&bench);
            bench.turn();
            socket
        })
        .collect();
    let refused = bench.try_attach(HelloOptions::default());
    let text = refused.map(drop).expect_err("64 are silent").to_string();
    assert!(text.contains("64 programs of this user"), "{text}");
    let program = {
        // They are given some seconds.
        bench.now += std::time::Duration::from_secs(5);
        bench.turn();
        bench.attach()
    };
    assert!(send(&silent[0], b"too late", SendFlags::NOSIGNAL).is_err());
    bench.open(&program, 1);
}

#[test]
fn requests_that_are_not_a_programs_are_refused_and_not_passed_on() {
    let mut bench = Bench::new();
    let (one, two) = (bench.attach(), bench.attach());
    bench.open(&one, 1);
    let (reason, _) = bench.fails(&two, &Request::AskGrantee { to: at(THEIRS, 1) });
    assert_eq!(reason, FailReason::NotPermitted);
    let (reason, _) = bench.fails(&two, &Request::Unknown { kind: 0x1fff });
    assert_eq!(reason, FailReason::Unsupported);
    // Another program's endpoint.
    for request in [
        Request::ClosePort { endpoint: 1 },
        Request::CloseDirect {
            endpoint: 1,
            to: at(THEIRS, 1),
            channel: ChannelId::ANY,
        },
        Request::AdoptDirect {
            endpoint: 1,
            to: at(THEIRS, 1),
            channel: ChannelId::ANY,
        },
        super::bench::open_direct(1, at(THEIRS, 1)),
        super::bench::open_direct(1, at(OURS, 1)),
    ] {
        let (reason, text) = bench.fails(&two, &request);
        assert_eq!(reason, FailReason::NotFound, "{text}");
    }
}

#[test]
fn what_a_program_claims_to_bring_is_not_passed_on() {
    let mut bench = Bench::new();
    let one = bench.attach();
    let forged = Brought {
        page: 4711,
        event: 4711,
    };
    let Request::OpenPort {
        endpoint,
        forward,
        backward,
        ..
    } = open_port(None, 1 << 16)
    else {
        panic!()
    };
    let request = Request::OpenPort {
        endpoint,
        forward,
        backward,
        brought: Some(forged),
    };
    let (_, asked) = bench.ask(&one, &request);
    let Some((
        _,
        Request::OpenPort {
            brought: Some(brought),
            ..
        },
    )) = asked
    else {
        panic!("{asked:?}")
    };
    assert_ne!(brought, forged);
}
