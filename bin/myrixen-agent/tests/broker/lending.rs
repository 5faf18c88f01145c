//! What happens while pages are used up.

use std::time::Duration;

use myrixen_platform::message::{FailReason, Reply, Request};

use super::bench::{BACK, Bench, THEIRS, at, open_direct, open_port, port, terms};

/// How long the broker tries.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

fn set_used_up(bench: &Bench, used_up: bool) {
    bench.memory.lock().unwrap().used_up = used_up;
}

#[test]
fn a_port_waits_for_pages_that_come_back() {
    let mut bench = Bench::new();
    let program = bench.attach();
    set_used_up(&bench, true);
    let (serial, asked) = bench.ask(&program, &open_port(Some(3), 1 << 16));
    assert!(asked.is_none(), "{asked:?}");
    bench.now += PAUSE;
    bench.turn();
    assert!(program.poll_reply(serial).unwrap().is_none());
    set_used_up(&bench, false);
    bench.turn();
    assert!(bench.back.asked().is_none(), "it is not due");
    bench.now += PAUSE;
    bench.turn();
    let (to, request) = bench.back.asked().expect("tried again");
    bench.back.reply(to, port(3, &request));
    let handles = bench.answer(&program, serial).into_port().unwrap();
    assert_eq!((handles.endpoint, handles.terms), (3, terms(&request)));
}

#[test]
fn a_channel_waits_for_pages_that_come_back() {
    let mut bench = Bench::new();
    let program = bench.attach();
    bench.open(&program, 1);
    let (_, asked) = bench.ask(&program, &open_direct(1, at(THEIRS, 7)));
    set_used_up(&bench, true);
    bench
        .back
        .reply(asked.unwrap().0, Reply::Grantee { domain: 9 });
    bench.turn();
    assert!(bench.back.asked().is_none());
    set_used_up(&bench, false);
    bench.now += PAUSE;
    bench.turn();
    let (_, request) = bench.back.asked().expect("tried again");
    assert!(matches!(request, Request::OpenDirect { .. }), "{request:?}");
    let lent = bench.memory.lock().unwrap().lent.clone();
    let to: Vec<u16> = lent.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [BACK, 9]);
}

#[test]
fn who_has_waited_long_enough_is_told_the_limit() {
    let mut bench = Bench::new();
    let program = bench.attach();
    set_used_up(&bench, true);
    let (serial, asked) = bench.ask(&program, &open_port(None, 1 << 16));
    assert!(asked.is_none(), "{asked:?}");
    bench.now += PATIENCE - PAUSE;
    bench.turn();
    assert!(program.poll_reply(serial).unwrap().is_none());
    bench.now += PAUSE;
    let Reply::Failed(failure) = bench.answer(&program, serial).reply else {
        panic!("it was opened")
    };
    assert_eq!(failure.reason, FailReason::Limit);
    let text = failure.to_string();
    assert!(text.contains("within 5s"), "{text}");
    assert!(text.contains("xen_gntalloc/parameters/limit"), "{text}");
}

#[test]
fn nothing_waits_for_a_program_that_has_gone() {
    let mut bench = Bench::new();
    let program = bench.attach();
    set_used_up(&bench, true);
    bench.ask(&program, &open_port(None, 1 << 16));
    drop(program);
    bench.turn();
    set_used_up(&bench, false);
    bench.now += PAUSE;
    bench.turn();
    assert!(bench.back.asked().is_none());
    assert!(bench.memory.lock().unwrap().lent.is_empty());
}
