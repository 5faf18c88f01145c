//! Ports: lent, opened, handed on, closed, adopted.

use myrixen_platform::Policy;
use myrixen_platform::message::{
    Board, FailReason, Failure, GuestLimits, Mac, Notice, OpenPort, Place, Query, Reply, Request,
};
use myrixen_platform::process::{HelloOptions, News};
use myrixen_ring::Capacity;

use super::bench::{BACK, Bench, LIMITS, OURS, THEIRS, at, open_port, port, terms, uid};

#[test]
fn a_port_is_lent_to_the_back_end_and_handed_to_the_program() {
    let mut bench = Bench::new();
    let program = bench.attach();
    let (serial, asked) = bench.ask(&program, &open_port(None, 1 << 16));
    let (to, request) = asked.unwrap();
    bench.back.reply(to, port(9, &request));
    let handles = bench.answer(&program, serial).into_port().unwrap();
    assert_eq!((handles.endpoint, handles.terms), (9, terms(&request)));
    assert_eq!(bench.memory.lock().unwrap().lent, [(BACK, terms(&request))]);
    assert_eq!(bench.kept(), format!("9 {}\n", uid()));

    let (serial, asked) = bench.ask(&program, &Request::ClosePort { endpoint: 9 });
    let (to, request) = asked.unwrap();
    assert_eq!(request, Request::ClosePort { endpoint: 9 });
    bench.back.reply(to, Reply::Done);
    assert_eq!(bench.answer(&program, serial).reply, Reply::Done);
    assert_eq!(bench.kept(), "");
    let (reason, _) = bench.fails(&program, &Request::ClosePort { endpoint: 9 });
    assert_eq!(reason, FailReason::NotFound);
}

#[test]
fn open_endpoints_are_listed_with_the_programs_that_have_them() {
    let mut bench = Bench::new();
    let (program, other) = (bench.attach(), bench.attach());
    bench.open(&program, 4);
    let (serial, asked) = bench.ask(&other, &Request::ListPorts { from: 0 });
    let (to, request) = asked.unwrap();
    assert_eq!(request, Request::ListPorts { from: 0 });
    let open = |endpoint, pid| OpenPort {
        endpoint,
        pid,
        sent_frames: 5,
        ..OpenPort::default()
    };
    let reply = |ours| Reply::Ports {
        ports: vec![open(4, ours), open(7, 0)],
        next: Some(2),
    };
    // The back end knows the domain, and an endpoint of a program that was there before the agent.
    bench.back.reply(to, reply(0));
    let ours = reply(std::process::id());
    assert_eq!(bench.answer(&other, serial).reply, ours);
}

#[test]
fn rings_are_cut_to_what_granted_memory_allows_and_the_back_end_is_told_the_same() {
    let mut bench = Bench::new();
    let (program, welcome) = bench.try_attach(HelloOptions::default()).unwrap();
    assert_eq!(welcome.limits.ring_bytes, 1 << 20);
    let (_, asked) = bench.ask(&program, &open_port(None, 1 << 20));
    let asked = terms(&asked.unwrap().1)
        .layout
        .capacities()
        .map(Capacity::bytes);
    assert_eq!(asked, [1 << 19, 1 << 20]);
    let (reason, text) = bench.fails(&program, &open_port(None, 1 << 21));
    assert_eq!(reason, FailReason::Limit);
    assert!(
        text.contains("`ring_bytes`") && text.contains("1048576"),
        "{text}"
    );
    let (reason, _) = bench.fails(&program, &open_port(None, 5000));
    assert_eq!(reason, FailReason::Invalid);
}

#[test]
fn what_the_back_end_refuses_is_passed_on() {
    let mut bench = Bench::new();
    let program = bench.attach();
    let (serial, asked) = bench.ask(&program, &open_port(None, 1 << 16));
    let failure = Failure::new(FailReason::Limit, "`limits.ports` allows no more");
    bench
        .back
        .reply(asked.unwrap().0, Reply::Failed(failure.clone()));
    assert_eq!(bench.answer(&program, serial).reply, Reply::Failed(failure));
    assert_eq!(bench.kept(), "");
}

#[test]
fn a_port_other_than_was_offered_is_given_back() {
    let mut bench = Bench::new();
    let program = bench.attach();
    let (serial, asked) = bench.ask(&program, &open_port(Some(3), 1 << 16));
    let (to, request) = asked.unwrap();
    let mut other = terms(&request);
    other.support.features = myrixen_ring::Features::empty();
    bench.back.reply(
        to,
        Reply::Port {
            endpoint: 3,
            terms: other,
        },
    );
    let Reply::Failed(failure) = bench.answer(&program, serial).reply else {
        panic!("handed on")
    };
    assert_eq!(failure.reason, FailReason::Internal);
    assert_eq!(
        bench.back.asked().unwrap().1,
        Request::ClosePort { endpoint: 3 }
    );
}

#[test]
fn limits_name_their_settings() {
    let mut bench = Bench::new();
    let program = bench.attach();
    for endpoint in 0..3 {
        bench.open(&program, endpoint);
    }
    let (reason, text) = bench.fails(&program, &open_port(None, 1 << 16));
    assert_eq!(reason, FailReason::Limit);
    assert!(text.contains("`ports`"), "{text}");

    let other = bench.attach();
    bench.memory.lock().unwrap().full = true;
    let (reason, text) = bench.fails(&other, &open_port(None, 1 << 16));
    assert_eq!(reason, FailReason::Limit);
    assert!(text.contains("xen_gntalloc/parameters/limit"), "{text}");
    bench.memory.lock().unwrap().full = false;
    bench.open(&other, 7);
}

#[test]
fn there_are_256_endpoints_and_no_more() {
    let many = GuestLimits {
        ports: 300,
        ..LIMITS
    };
    let mut bench = Bench::with(Policy::open(many), tempfile::tempdir().unwrap(), 1);
    bench.back.connect(OURS, "blue");
    let (program, welcome) = bench.try_attach(HelloOptions::default()).unwrap();
    assert_eq!(
        welcome.limits.ports, 256,
        "what the back end allows the domain"
    );
    let second = bench.attach();
    for endpoint in 0..=255 {
        let who = if endpoint < 200 { &program } else { &second };
        bench.open(who, endpoint);
    }
    let (reason, text) = bench.fails(&second, &open_port(None, 1 << 16));
    assert_eq!(reason, FailReason::Limit);
    assert!(text.contains("all 256 endpoints"), "{text}");
}

#[test]
fn boards_are_asked_for_at_the_back_end() {
    let mut bench = Bench::new();
    let program = bench.attach();
    let resolve = Request::Resolve(Query::Mac(THEIRS));
    let (serial, asked) = bench.ask(&program, &resolve);
    let (to, request) = asked.unwrap();
    assert_eq!(request, resolve);
    let board = Reply::Board(Board {
        mac: THEIRS,
        place: Place::Local,
        name: None,
    });
    bench.back.reply(to, board.clone());
    assert_eq!(bench.answer(&program, serial).reply, board);

    let (serial, asked) = bench.ask(&program, &Request::ListBoards { from: 8 });
    // An answer to another question is none.
    bench
        .back
        .reply(asked.unwrap().0, Reply::Grantee { domain: 3 });
    assert!(matches!(
        bench.answer(&program, serial).reply,
        Reply::Failed(_)
    ));
}

#[test]
fn a_program_of_the_agent_before_this_one_adopts_its_port() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("ports-0"),
        format!("3 {}\n4 {}\n", uid(), uid() + 1),
    )
    .unwrap();
    let mut bench = Bench::with(Policy::open(LIMITS), dir, 1);
    bench.back.connect(OURS, "blue");
    let (program, other) = (bench.attach(), bench.attach());
    let (reason, _) = bench.fails(&program, &Request::AdoptPort { endpoint: 4 });
    assert_eq!(reason, FailReason::NotFound, "another user's");
    let (reason, _) = bench.fails(&program, &Request::AdoptPort { endpoint: 5 });
    assert_eq!(reason, FailReason::NotFound, "nobody's");

    let (serial, asked) = bench.ask(&program, &Request::AdoptPort { endpoint: 3 });
    let (to, request) = asked.unwrap();
    assert_eq!(request, Request::AdoptPort { endpoint: 3 });
    let (reason, _) = bench.fails(&other, &Request::AdoptPort { endpoint: 3 });
    assert_eq!(reason, FailReason::InUse);
    bench.back.reply(to, Reply::Done);
    assert_eq!(bench.answer(&program, serial).reply, Reply::Done);
    let (reason, _) = bench.fails(&other, &Request::AdoptPort { endpoint: 3 });
    assert_eq!(reason, FailReason::InUse);
    let again = bench.ask_here(&program, &Request::AdoptPort { endpoint: 3 });
    assert_eq!(again.reply, Reply::Done);

    // It is the program's like any other: it ends with it.
    drop(program);
    bench.turn();
    assert_eq!(
        bench.back.asked().unwrap().1,
        Request::ClosePort { endpoint: 3 }
    );
}

#[test]
fn a_port_that_the_back_end_does_not_have_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ports-0"), format!("3 {}\n", uid())).unwrap();
    let mut bench = Bench::with(Policy::open(LIMITS), dir, 1);
    bench.back.connect(OURS, "blue");
    let program = bench.attach();
    let (serial, asked) = bench.ask(&program, &Request::AdoptPort { endpoint: 3 });
    let none = Failure::new(FailReason::NotFound, "not open");
    bench
        .back
        .reply(asked.unwrap().0, Reply::Failed(none.clone()));
    assert_eq!(bench.answer(&program, serial).reply, Reply::Failed(none));
    assert_eq!(bench.kept(), "");
    bench.open(&program, 3);
}

#[test]
fn what_the_back_end_says_unasked_reaches_whom_it_concerns() {
    let mut bench = Bench::new();
    let (one, two) = (bench.attach(), bench.attach());
    bench.open(&one, 1);
    let all = [
        Notice::EndpointGone(at(THEIRS, 3)),
        Notice::BoardGone(Mac::new([2, 0, 0, 0, 0, 9])),
        Notice::Draining { grace_ms: 500 },
    ];
    for notice in &all {
        bench.back.say(notice.clone());
    }
    bench.turn();
    for program in [&one, &two] {
        for notice in &all {
            let Some(News::Notice(heard)) = program.next_news() else {
                panic!("{notice:?} is not heard")
            };
            assert_eq!(&heard, notice);
        }
        assert!(program.next_news().is_none());
    }
    // A port of ours that the back end has closed.
    bench.back.say(Notice::EndpointGone(at(OURS, 1)));
    bench.turn();
    assert_eq!(bench.kept(), "");
    bench.open(&two, 1);
}
