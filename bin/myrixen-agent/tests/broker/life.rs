//! Coming and going: of programs, of the back end, of the agent.

use myrixen::Fabric;
use myrixen_platform::message::{
    Name, Notice, PORTS_STAY, RefusalReason, Reply, Request, Ticket, Wish,
};
use myrixen_platform::process::{AttachError, HelloOptions, News, RequestError};
use myrixen_platform::{Names, Policy, Rule, Who};

use super::bench::{Bench, LIMITS, OURS, THEIRS, at, open_port, port, uid};

fn refused<T>(result: Result<T, AttachError>) -> (RefusalReason, String) {
    match result {
        Err(AttachError::Refused { refusal, .. }) => (refusal.reason, refusal.to_string()),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("let in"),
    }
}

fn wish(board: Option<&str>, partition: Option<&str>) -> HelloOptions {
    let name = |text: Option<&str>| text.map(|text| Name::new(text).unwrap());
    HelloOptions {
        wish: Wish {
            board: name(board),
            partition: name(partition),
        },
        ..HelloOptions::default()
    }
}

#[test]
fn programs_wait_for_the_device_and_are_what_it_is() {
    let mut bench = Bench::with(Policy::open(LIMITS), tempfile::tempdir().unwrap(), 1);
    let mut handshake = bench.knock(HelloOptions::default());
    bench.turn();
    assert!(
        handshake.poll().unwrap().is_none(),
        "not before the device is there"
    );
    bench.back.connect(OURS, "blue");
    bench.turn();
    let (_attachment, welcome) = handshake.poll().unwrap().unwrap();
    assert_eq!(welcome.mac, OURS);
    assert_eq!(welcome.board.as_str(), "domain1:0");
    assert_eq!(welcome.partition.as_str(), "blue");
    assert_eq!(
        welcome.features, PORTS_STAY,
        "of features only what the agent knows"
    );
    assert_eq!(
        (welcome.limits.ports, welcome.limits.directs),
        (LIMITS.ports, LIMITS.directs)
    );
}

#[test]
fn wishes_are_met_or_refused_with_what_there_is() {
    let mut bench = Bench::new();
    assert!(
        bench
            .try_attach(wish(Some("domain1"), Some("blue")))
            .is_ok()
    );
    assert!(bench.try_attach(wish(Some("domain1:0"), None)).is_ok());
    let (reason, text) = refused(bench.try_attach(wish(None, Some("red"))));
    assert_eq!(reason, RefusalReason::NoSuchPartition);
    assert!(
        text.contains("red") && text.contains("domain1:0 in partition blue"),
        "{text}"
    );
    let (reason, text) = refused(bench.try_attach(wish(Some("mine"), None)));
    assert_eq!(reason, RefusalReason::NotPermitted);
    assert!(text.contains("domain1:0"), "{text}");
}

#[test]
fn the_policy_is_asked() {
    let rule = |who, partition: &str, max_guests| Rule {
        who: vec![who],
        partitions: Names::Only(vec![Name::new(partition).unwrap()]),
        boards: Names::Any,
        max_guests,
        limits: LIMITS,
    };
    let policy = Policy {
        rules: vec![
            rule(Who::User(uid() + 1), "blue", 9),
            rule(Who::User(uid()), "red", 9),
        ],
        max_guests: 10,
    };
    let mut bench = Bench::with(policy, tempfile::tempdir().unwrap(), 1);
    bench.back.connect(OURS, "blue");
    let (reason, text) = refused(bench.try_attach(HelloOptions::default()));
    assert_eq!(reason, RefusalReason::NotPermitted);
    assert!(text.contains("`partitions`"), "{text}");
    bench.broker.set_policy(Policy {
        rules: vec![rule(Who::User(uid()), "blue", 1)],
        max_guests: 10,
    });
    let first = bench.attach();
    let (reason, text) = refused(bench.try_attach(HelloOptions::default()));
    assert_eq!(reason, RefusalReason::Limit);
    assert!(text.contains("`max_guests`"), "{text}");
    drop(first);
    bench.turn();
    bench.attach();
}

#[test]
fn two_devices_are_told_apart_by_wish_and_ticket() {
    let mut bench = Bench::with(Policy::open(LIMITS), tempfile::tempdir().unwrap(), 2);
    bench.back.connect(OURS, "blue");
    let mut early = bench.knock(wish(None, Some("red")));
    bench.turn();
    assert!(early.poll().unwrap().is_none(), "its device may still come");
    bench.second.connect(THEIRS, "red");
    bench.turn();
    let (_red, welcome) = early.poll().unwrap().unwrap();
    assert_eq!(welcome.mac, THEIRS);
    let (_first, first) = bench.try_attach(HelloOptions::default()).unwrap();
    assert_eq!(first.mac, OURS, "without a wish the first one listed");
    let again = HelloOptions {
        ticket: welcome.ticket,
        ..HelloOptions::default()
    };
    let (_again, again) = bench.try_attach(again).unwrap();
    assert_eq!(again.mac, THEIRS);
    let stale = HelloOptions {
        ticket: Ticket::new(vec![9; 6]),
        ..HelloOptions::default()
    };
    assert_eq!(bench.try_attach(stale).unwrap().1.mac, OURS);
}

/// As programs of the library do it.
#[test]
fn a_program_can_be_each_of_the_boards_that_it_is_told_of() {
    let mut bench = Bench::with(Policy::open(LIMITS), tempfile::tempdir().unwrap(), 2);
    bench.back.connect(OURS, "blue");
    bench.second.connect(THEIRS, "red");
    let socket = bench.path().join("socket");
    let join = move || Fabric::builder().socket(&socket);
    let program = std::thread::spawn(move || {
        let first = join().connect().unwrap();
        let boards = first.own_boards().unwrap();
        let each = boards
            .iter()
            .map(|board| join().own_board(board.nic).connect().unwrap().board());
        (first.board(), each.collect::<Vec<_>>())
    });
    while !program.is_finished() {
        bench.turn();
    }
    let (first, each) = program.join().unwrap();
    let partitions: Vec<&str> = each.iter().map(|own| own.partition.as_str()).collect();
    assert_eq!(partitions, ["blue", "red"]);
    assert_eq!(each[0], first);
}

#[test]
fn a_program_is_told_of_the_boards_of_all_devices_that_are_there() {
    let mut bench = Bench::with(Policy::open(LIMITS), tempfile::tempdir().unwrap(), 2);
    bench.second.connect(THEIRS, "red");
    let (program, _) = bench.try_attach(wish(None, Some("red"))).unwrap();
    let boards = |bench: &mut Bench, from| {
        let request = Request::ListOwnBoards { from };
        let Reply::Boards { boards, next: None } = bench.ask_here(&program, &request).reply else {
            panic!("no boards, or more than there are")
        };
        boards.iter().map(|board| board.mac).collect::<Vec<_>>()
    };
    assert_eq!(boards(&mut bench, 0), [THEIRS]);
    bench.back.connect(OURS, "blue");
    bench.turn();
    assert_eq!(
        boards(&mut bench, 0),
        [OURS, THEIRS],
        "in the devices' order"
    );
    assert_eq!(boards(&mut bench, 1), [THEIRS]);
    assert_eq!(boards(&mut bench, u32::MAX), []);
}

#[test]
fn a_program_that_dies_takes_its_ports_along_and_the_others_hear_of_it() {
    let mut bench = Bench::new();
    let (one, two) = (bench.attach(), bench.attach());
    bench.open(&one, 1);
    bench.open(&two, 2);
    drop(one);
    bench.turn();
    assert_eq!(
        bench.back.asked().unwrap().1,
        Request::ClosePort { endpoint: 1 }
    );
    assert!(bench.back.asked().is_none());
    let Some(News::Notice(Notice::EndpointGone(gone))) = two.next_news() else {
        panic!("not told")
    };
    assert_eq!(gone, at(OURS, 1));
    assert_eq!(bench.kept(), format!("2 {}\n", uid()));
}

#[test]
fn before_the_domain_is_saved_its_programs_let_go_and_then_the_agent_does() {
    let mut bench = Bench::new();
    let (one, two) = (bench.attach(), bench.attach());
    bench.open(&one, 1);
    bench.open(&two, 2);
    bench.back.say(Notice::LetGo);
    bench.turn();
    for program in [&one, &two] {
        let news = program.next_news();
        assert!(
            matches!(news, Some(News::Notice(Notice::LetGo))),
            "{news:?}"
        );
    }
    drop(one);
    let mut back = bench.knock(HelloOptions::default());
    bench.turn();
    assert!(back.poll().unwrap().is_none(), "it waits for the device");
    assert!(two.next_news().is_none(), "nobody is gone for good");
    assert!(!bench.back.was_left(), "a program has not let go yet");
    drop(two);
    bench.turn();
    assert!(bench.back.was_left());
    assert!(bench.back.asked().is_none());
    assert_eq!(bench.kept(), "");
    bench.back.connect(OURS, "blue");
    bench.turn();
    assert!(back.poll().unwrap().is_some());
}

#[test]
fn what_comes_for_a_dead_program_is_given_back() {
    let mut bench = Bench::new();
    let one = bench.attach();
    let (_, asked) = bench.ask(&one, &open_port(None, 1 << 16));
    let (to, request) = asked.unwrap();
    drop(one);
    bench.turn();
    assert!(bench.back.asked().is_none());
    bench.back.reply(to, port(5, &request));
    bench.turn();
    assert_eq!(
        bench.back.asked().unwrap().1,
        Request::ClosePort { endpoint: 5 }
    );
    assert_eq!(bench.kept(), "");
}

#[test]
fn a_lost_back_end_is_lost_for_the_programs_and_new_ones_wait() {
    let mut bench = Bench::new();
    let program = bench.attach();
    bench.open(&program, 1);
    let (serial, _) = bench.ask(&program, &open_port(None, 1 << 16));
    bench.back.lose();
    bench.turn();
    assert!(matches!(
        program.poll_reply(serial),
        Err(RequestError::Lost)
    ));
    assert!(
        bench.back.asked().is_none(),
        "nobody is there to close anything"
    );
    let mut waiting = bench.knock(HelloOptions::default());
    bench.turn();
    assert!(waiting.poll().unwrap().is_none());

    bench.back.connect(OURS, "blue");
    bench.turn();
    let (back_again, _) = waiting.poll().unwrap().unwrap();
    // The back end may have kept the port.
    let (serial, asked) = bench.ask(&back_again, &Request::AdoptPort { endpoint: 1 });
    bench.back.reply(asked.unwrap().0, Reply::Done);
    assert_eq!(bench.answer(&back_again, serial).reply, Reply::Done);
}

#[test]
fn an_agent_that_ends_closes_nothing_but_its_sockets() {
    let mut bench = Bench::new();
    let program = bench.attach();
    let port = bench.open(&program, 1);
    let kept = bench.kept();
    let Bench {
        broker, back, dir, ..
    } = bench;
    drop(broker);
    assert!(back.asked().is_none());
    assert!(program.next_news().is_none() && program.is_lost());
    assert!(!port.waiter.hung_up() || port.endpoint == 1);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("ports-0")).unwrap(),
        kept
    );
}
