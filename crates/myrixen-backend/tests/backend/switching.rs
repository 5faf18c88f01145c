//! Frames between guests of one host.

use std::os::fd::AsFd;
use std::time::Duration;

use mxoe::addr::{Address, EndpointId, NicAddr, SessionId};
use mxoe::frame::{Frame, NackKind, Pull, PullHandle, PullMagic, PullReply, Rdma};
use mxoe::time::Time;
use myrixen_backend::{Backend, BackendConfig, Quota, Rest};
use myrixen_control::DropReason;
use myrixen_platform::process::embedded;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::host::{Host, Port, config, frame, sized, tiny};

/// Two guests on boards of their own, each with endpoint 1 open.
fn pair(host: &Host) -> (Port, Port) {
    let (a, b) = (host.attach("a"), host.attach("b"));
    let ports = (a.open(1), b.open(1));
    // Attached for as long as the test runs.
    std::mem::forget((a, b));
    ports
}

#[test]
fn frames_of_all_sizes_arrive_whole_and_in_order() {
    let mut host = Host::new(config());
    let (mut a, mut b) = pair(&host);
    let sizes = [40, 48, 56, 79, 80, 81, 1500, 8240, 9000];
    for len in sizes {
        a.send(&sized(a.address(), b.address(), len));
    }
    host.settle();
    for len in sizes {
        assert_eq!(b.receive().unwrap(), sized(a.address(), b.address(), len));
    }
    assert_eq!(b.receive(), None);
    let (sent, received) = (host.counters(&a), host.counters(&b));
    assert_eq!((sent.sent_frames, received.received_frames), (9, 9));
    assert_eq!(sent.sent_bytes, received.received_bytes);
    assert_eq!(sent.drops.total(), 0);
}

#[test]
fn the_back_end_writes_who_sent_it() {
    let mut host = Host::new(config());
    let (mut a, mut b) = pair(&host);
    let forged = Address::new(b.address().nic, a.address().endpoint);
    a.send(&tiny(forged, b.address(), b"hello"));
    host.settle();
    let got = b.receive_parsed().unwrap();
    assert_eq!(got.eth.source, a.address().nic);
}

#[test]
fn a_forged_endpoint_is_dropped_and_counted() {
    let mut host = Host::new(config());
    let (mut a, mut b) = pair(&host);
    let forged = Address::new(a.address().nic, EndpointId::new(9));
    a.send(&tiny(forged, b.address(), b"hello"));
    host.settle();
    assert_eq!(b.receive(), None);
    assert_eq!(host.counters(&a).drops.get(DropReason::ForgedEndpoint), 1);
}

#[test]
fn frames_to_the_own_board_and_to_oneself_are_delivered_here() {
    let mut host = Host::new(config());
    let guest = host.attach("a");
    let (mut one, mut two) = (guest.open(1), guest.open(2));
    one.send(&tiny(one.address(), two.address(), b"other"));
    one.send(&tiny(one.address(), one.address(), b"self"));
    host.settle();
    assert_eq!(&two.receive().unwrap()[40..], b"other");
    assert_eq!(&one.receive().unwrap()[40..], b"self");
}

#[test]
fn programs_of_one_user_share_a_board_and_keep_their_ports_apart() {
    let mut host = Host::new(config());
    let (first, second) = (host.attach("a"), host.attach("a"));
    assert_eq!(first.nic(), second.nic());
    let (mut one, mut two) = (first.open(1), second.open(2));
    one.send(&tiny(one.address(), two.address(), b"hello"));
    host.settle();
    assert!(two.receive().is_some());
    assert_eq!(host.snapshot().boards.len(), 1);
}

#[test]
fn discovery_broadcasts_and_nonsense_are_not_for_guests_to_send() {
    let mut host = Host::new(config());
    let (mut a, mut b) = pair(&host);
    let (nic, to) = (a.address().nic, b.address());
    a.send(&frame(nic, NicAddr::BROADCAST, Frame::Raw, &[0; 47]));
    let everybody = Address::new(NicAddr::BROADCAST, to.endpoint);
    a.send(&tiny(a.address(), everybody, b"all"));
    a.send(&[0; 60]);
    a.send(&sized(a.address(), to, 9001));
    host.settle();
    assert_eq!(b.receive(), None);
    let drops = host.counters(&a).drops;
    for reason in [
        DropReason::NotForGuests,
        DropReason::BadDestination,
        DropReason::Malformed,
        DropReason::TooLong,
    ] {
        assert_eq!(drops.get(reason), 1, "{reason}");
    }
}

#[test]
fn a_closed_endpoint_is_nacked_in_its_name() {
    let mut host = Host::new(config());
    let (mut a, b) = pair(&host);
    let closed = Address::new(b.address().nic, EndpointId::new(5));
    a.send(&tiny(a.address(), closed, b"hello"));
    host.settle();
    let got = a.receive_parsed().unwrap();
    assert_eq!(got.eth.source, closed.nic);
    let Frame::NackLib(nack) = got.frame else {
        panic!("{:?}", got.frame)
    };
    assert_eq!(
        (nack.nack, nack.from, nack.to),
        (
            NackKind::EndpointClosed,
            closed.endpoint,
            a.address().endpoint
        )
    );
    let counters = host.counters(&a);
    assert_eq!(
        (
            counters.nacks,
            counters.drops.get(DropReason::EndpointClosed)
        ),
        (1, 1)
    );
}

#[test]
fn pulls_are_nacked_and_their_replies_delivered_by_their_magic() {
    let mut host = Host::new(config());
    let (mut a, mut b) = pair(&host);
    let magic = PullMagic::for_endpoint(a.address().endpoint);
    let pull = |to: EndpointId| Pull {
        to,
        from: EndpointId::new(1),
        session: SessionId::new(1),
        total_length: 100,
        rdma: Rdma { id: 0, seq: 0 },
        rdma_offset: 0,
        handle: PullHandle::new(7),
        magic,
        first_frame_offset: 0,
        block_length: 100,
        frame_index: 0,
    };
    let (from, to) = (a.address().nic, b.address().nic);
    a.send(&frame(from, to, Frame::Pull(pull(EndpointId::new(8))), &[]));
    host.settle();
    let Frame::NackMcp(nack) = a.receive_parsed().unwrap().frame else {
        panic!("no nack")
    };
    assert_eq!((nack.nack, nack.magic), (NackKind::EndpointClosed, magic));
    let reply = PullReply {
        frame_seqnum: 0,
        length: 4,
        offset: 0,
        handle: PullHandle::new(7),
        magic,
    };
    b.send(&frame(to, from, Frame::PullReply(reply), b"data"));
    host.settle();
    assert!(matches!(
        a.receive_parsed().unwrap().frame,
        Frame::PullReply(_)
    ));
}

#[test]
fn a_full_ring_loses_frames_and_says_so() {
    let mut host = Host::new(config());
    let (mut a, mut b) = pair(&host);
    let mut sent = 0_u64;
    for _ in 0..20 {
        while a.try_send(&sized(a.address(), b.address(), 1000)) {
            sent += 1;
        }
        host.settle();
    }
    let mut got = 0;
    while b.receive().is_some() {
        got += 1;
    }
    let lost = host.counters(&a).drops.get(DropReason::RingFull);
    assert!(lost > 0 && got > 0);
    assert_eq!(got + lost, sent);
}

/// Jain's index: 1 when all have the same, 1/n when one has everything.
pub(crate) fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|s| s * s).sum();
    sum * sum / (f64::from(u32::try_from(shares.len()).unwrap()) * squares)
}

#[test]
fn guests_get_the_same_bytes_whatever_their_frames_and_however_many_ports_they_have() {
    let mut host = Host::new(config());
    let sink_guest = host.attach("sink");
    let mut sink = sink_guest.open_sized(1, 1 << 20);
    // Frame length and number of ports.
    let kinds = [
        (64, 1),
        (9000, 1),
        (1500, 8),
        (200, 3),
        (9000, 4),
        (64, 16),
        (4144, 1),
        (700, 2),
    ];
    let guests: Vec<_> = (0..kinds.len())
        .map(|n| host.attach(&format!("g{n}")))
        .collect();
    let mut ports: Vec<Vec<Port>> = Vec::new();
    for (guest, (_, count)) in guests.iter().zip(kinds) {
        ports.push((0..count).map(|n| guest.open_sized(n, 1 << 17)).collect());
    }
    let mut bytes = vec![0.0; kinds.len()];
    for _ in 0..100 {
        for (ports, (len, _)) in ports.iter_mut().zip(kinds) {
            for port in ports {
                let frame = sized(port.address(), sink.address(), len);
                while port.try_send(&frame) {}
            }
        }
        host.turn();
        while let Some(frame) = sink.receive() {
            let from = NicAddr::new(frame[6..12].try_into().unwrap());
            let who = guests.iter().position(|g| g.nic() == from).unwrap();
            bytes[who] += f64::from(u32::try_from(frame.len()).unwrap());
        }
    }
    assert!(jain(&bytes) > 0.95, "{bytes:?}");
}

#[test]
fn a_quota_bounds_what_a_guest_sends() {
    let quota = Quota {
        bytes_per_second: 1000,
        burst: 10_000,
    };
    let mut config = config();
    config.limits.quota = Some(quota);
    let mut host = Host::new(config);
    let (mut a, mut b) = pair(&host);
    for _ in 0..30 {
        a.send(&sized(a.address(), b.address(), 1000));
    }
    // All at one moment: the burst, and the frame that overdraws it.
    let now = Time::ZERO + Duration::from_secs(1000);
    for _ in 0..50 {
        host.workers[0].turn(now);
    }
    let mut count = || std::iter::from_fn(|| b.receive()).count();
    assert_eq!(count(), 10);
    let Rest::Until(ready) = host.workers[0].prepare_sleep(now) else {
        panic!("no time to wait for")
    };
    assert!(ready > now && ready < now + Duration::from_secs(1));
    for _ in 0..50 {
        host.workers[0].turn(now + Duration::from_secs(5));
    }
    assert_eq!(count(), 5);
}

#[test]
fn guests_of_different_workers_reach_each_other() {
    let mut host = Host::new(BackendConfig {
        workers: 3,
        ..config()
    });
    let guests: Vec<_> = (0..6).map(|n| host.attach(&format!("g{n}"))).collect();
    let mut ports: Vec<Port> = guests.iter().map(|g| g.open(1)).collect();
    let on: std::collections::BTreeSet<usize> =
        host.snapshot().ports.iter().map(|p| p.worker).collect();
    assert_eq!(on.len(), 3, "guests are spread over the workers");
    let addresses: Vec<Address> = ports.iter().map(Port::address).collect();
    for from in 0..6 {
        for to in &addresses {
            ports[from].send(&sized(addresses[from], *to, 500));
        }
        let closed = Address::new(addresses[(from + 1) % 6].nic, EndpointId::new(9));
        ports[from].send(&tiny(addresses[from], closed, b""));
    }
    host.settle();
    for port in &mut ports {
        let frames: Vec<_> = std::iter::from_fn(|| port.receive_parsed()).collect();
        let nacks = frames
            .iter()
            .filter(|f| matches!(f.frame, Frame::NackLib(_)))
            .count();
        assert_eq!((frames.len(), nacks), (7, 1));
    }
}

#[test]
fn an_idle_worker_sleeps_and_a_bell_wakes_it() {
    let mut host = Host::new(config());
    let (mut a, mut b) = pair(&host);
    host.settle();
    let now = host.backend.clock().now();
    assert_eq!(host.workers[0].prepare_sleep(now), Rest::Asleep);
    // Nobody rings while the worker is awake; now the first frame does, and only it.
    let frame = tiny(a.address(), b.address(), b"wake");
    assert!(a.try_send(&frame) && a.handles.pair.producer.needs_bell());
    a.handles.ringer.ring();
    assert!(a.try_send(&frame) && !a.handles.pair.producer.needs_bell());
    {
        let mut fds = [PollFd::from_borrowed_fd(
            host.workers[0].as_fd(),
            PollFlags::IN,
        )];
        assert_eq!(
            poll(
                &mut fds,
                Some(&Timespec {
                    tv_sec: 60,
                    tv_nsec: 0
                })
            ),
            Ok(1)
        );
    }
    host.workers[0].wake_up();
    host.settle();
    assert!(b.receive().is_some() && b.receive().is_some());
    assert_eq!(host.workers[0].prepare_sleep(now), Rest::Asleep);
}

/// A guest may be slow between publishing and ringing: what it rings for has been taken then, and the worker sleeps anew. It is not rung
/// twice for that sleep, so it must not go on with it.
#[test]
fn a_late_bell_does_not_cost_the_next_one() {
    let mut host = Host::new(config());
    let (mut a, mut b) = pair(&host);
    let frame = tiny(a.address(), b.address(), b"late");
    assert!(a.try_send(&frame));
    host.settle();
    assert!(b.receive().is_some());
    let now = host.backend.clock().now();
    assert_eq!(host.workers[0].prepare_sleep(now), Rest::Asleep);
    assert!(a.handles.pair.producer.needs_bell(), "the worker sleeps");
    a.handles.ringer.ring();
    host.workers[0].wake_up();
    host.settle();
    assert_eq!(host.workers[0].prepare_sleep(now), Rest::Asleep);
    assert!(a.try_send(&frame) && a.handles.pair.producer.needs_bell());
}

#[test]
fn with_threads_of_its_own_a_back_end_wakes_and_is_woken() {
    let (meeting, connector) = embedded().unwrap();
    let config = BackendConfig {
        workers: 2,
        ..config()
    };
    let backend = Backend::start(config, vec![Box::new(meeting)]).unwrap();
    let attach = |name: &str| {
        let wish = myrixen_platform::message::Wish {
            board: Some(myrixen_platform::message::Name::new(name).unwrap()),
            partition: None,
        };
        let options = myrixen_platform::process::HelloOptions {
            wish,
            ..Default::default()
        };
        let (attachment, welcome) = connector.connect(options).unwrap().wait().unwrap();
        crate::host::Guest {
            attachment,
            welcome,
        }
    };
    let (one, two) = (attach("a"), attach("b"));
    let (mut a, mut b) = (one.open(1), two.open(1));
    for n in 0..50_u8 {
        a.send(&tiny(a.address(), b.address(), &[n]));
        assert_eq!(b.wait_receive()[40..], [n]);
        b.send(&tiny(b.address(), a.address(), &[n]));
        assert_eq!(a.wait_receive()[40..], [n]);
    }
    backend.stop();
}
