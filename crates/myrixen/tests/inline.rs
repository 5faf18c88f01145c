//! A back end that the program's own threads drive.

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use myrixen::link::{Tag, memory};
use myrixen::{Embedded, Endpoint, EndpointOptions, Fabric, Inside, Match, Peer, Wait};

const KEY: u32 = 7;
const PATIENCE: Duration = Duration::from_secs(30);
const LENGTHS: [usize; 6] = [0, 8, 129, 20_000, 100_000, 3 << 20];

fn options(wait: Wait) -> EndpointOptions {
    EndpointOptions::default().key(KEY).wait(wait).direct(false)
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len).to_le_bytes()[0]).collect()
}

/// Echoes messages of all lengths, in order.
fn echo(end: &Endpoint, to: &Peer) {
    for len in LENGTHS {
        let mut buffer = vec![0; len];
        let got = end.recv_timeout(Match::exact(1), &mut buffer, PATIENCE);
        assert_eq!(got.unwrap().expect("in time").message_len, len);
        end.send(to, 2, &buffer).unwrap();
    }
}

fn ask(end: &Endpoint, to: &Peer) {
    for len in LENGTHS {
        end.send(to, 1, &payload(len)).unwrap();
        let mut buffer = vec![0; len];
        let got = end.recv_timeout(Match::exact(2), &mut buffer, PATIENCE);
        assert_eq!(got.unwrap().expect("in time").message_len, len);
        assert!(buffer == payload(len));
    }
}

fn connect(from: &Endpoint, to: &Endpoint) -> Peer {
    from.connect(to.address(), KEY, PATIENCE)
        .expect("connected")
}

fn converse(a: &Endpoint, b: &Endpoint) {
    let (to_b, to_a) = (connect(a, b), connect(b, a));
    thread::scope(|scope| {
        scope.spawn(|| echo(b, &to_a));
        ask(a, &to_b);
    });
}

fn inline() -> Embedded {
    Embedded::default().inline(true)
}

#[test]
fn two_threads_drive_one_back_end() {
    for wait in [Wait::Sleep, Wait::Spin, Wait::default()] {
        let inside = inline().start().unwrap();
        let fabrics = [(); 2].map(|()| inside.join().unwrap());
        let [a, b] = fabrics
            .each_ref()
            .map(|fabric| fabric.open(options(wait)).unwrap());
        converse(&a, &b);
    }
}

/// Two hosts in one program, each with its back end, joined by a link.
fn hosts(wait: Wait) -> [(Inside, Fabric, Endpoint); 2] {
    let (one, other) = memory::pair(9014, 256).unwrap();
    let mut links = [Some(one), Some(other)];
    [0, 1].map(|at: usize| {
        let link = Box::new(links[at].take().expect("once"));
        let host = inline()
            .host(["a", "b"][at])
            .uplink("cable", link, Tag::None);
        let inside = host.start().unwrap();
        let fabric = inside.join().unwrap();
        let end = fabric.open(options(wait)).unwrap();
        (inside, fabric, end)
    })
}

#[test]
fn each_host_of_two_drives_its_own() {
    for wait in [Wait::Sleep, Wait::default()] {
        let [(_a, _on_a, a), (_b, _on_b, b)] = hosts(wait);
        converse(&a, &b);
    }
}

/// While a program computes, the library takes in what comes for it and answers, so that its partner's send ends.
#[test]
fn somebody_drives_while_the_program_computes() {
    let [(_a, _on_a, a), (_b, _on_b, b)] = hosts(Wait::Sleep);
    let to_b = connect(&a, &b);
    let receive = b.irecv(Match::any(), vec![0; 1 << 20]).unwrap();
    // From here on nobody of b's host comes in.
    a.send(&to_b, 5, &payload(1 << 20)).unwrap();
    let (buffer, got) = b.wait_recv(receive).unwrap();
    assert_eq!(got.message_len, 1 << 20);
    assert!(buffer == payload(1 << 20));
}

/// One thread sleeps in a wait while another one sends: it must be told of the answer by whoever drives.
#[test]
fn a_sleeper_is_woken_whoever_drives() {
    let inside = inline().start().unwrap();
    let fabrics = [(); 2].map(|()| inside.join().unwrap());
    let [a, b] = fabrics
        .each_ref()
        .map(|fabric| fabric.open(options(Wait::Sleep)).unwrap());
    let (to_b, to_a) = (connect(&a, &b), connect(&b, &a));
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (a, b) = (&a, &b);
        scope.spawn(move || {
            for number in 0..500_u64 {
                let mut none = [0; 8];
                let got = b.recv_timeout(Match::exact(number), &mut none, PATIENCE);
                assert!(got.unwrap().is_some(), "message {number}");
                tell.send(()).unwrap();
            }
        });
        for number in 0..500 {
            a.send(&to_b, number, &[1; 8]).unwrap();
            told.recv().unwrap();
        }
    });
    b.send(&to_a, 1, &[]).unwrap();
}

/// One thread looks on and drives, another one sends meanwhile and leaves it to that one, which goes then, as the sender does.
#[test]
fn what_is_left_to_a_thread_that_goes_away_gets_on() {
    let [(_a, on_a, drives), (_b, _on_b, b)] = hosts(Wait::Spin);
    let sends = on_a.open(options(Wait::Spin)).unwrap();
    let to_b = connect(&sends, &b);
    let received = || {
        let mut none = [0; 8];
        let got = b.recv_timeout(Match::any(), &mut none, PATIENCE).unwrap();
        got.map(|got| got.bits)
    };
    for number in 0..200 {
        let (look, away) = (Barrier::new(2), Barrier::new(3));
        thread::scope(|scope| {
            scope.spawn(|| {
                look.wait();
                let time = Duration::from_micros(number % 20);
                let none = drives.recv_timeout(Match::any(), &mut [], time);
                assert!(none.unwrap().is_none());
                away.wait();
            });
            scope.spawn(|| {
                look.wait();
                sends.send(&to_b, number, &[1; 8]).unwrap();
                away.wait();
            });
            assert_eq!(received(), Some(number));
            away.wait();
        });
    }
}

#[test]
fn it_ends_with_its_last_handle_while_endpoints_sleep_elsewhere() {
    for _ in 0..20 {
        let inside = inline().start().unwrap();
        let fabric = inside.join().unwrap();
        let end = fabric.open(options(Wait::Sleep)).unwrap();
        drop((inside, fabric));
        assert!(
            end.recv_timeout(Match::any(), &mut [], Duration::from_millis(1))
                .unwrap()
                .is_none()
        );
    }
}
