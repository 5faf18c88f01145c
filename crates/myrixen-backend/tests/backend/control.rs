//! What guests ask, and what they are refused.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use mxoe::addr::NicAddr;
use myrixen_backend::boards::FixedBoard;
use myrixen_backend::ids::PartitionId;
use myrixen_backend::{Backend, BackendConfig, Limits};
use myrixen_control::{Client, DropReason, Reply as OperatorReply, Request as OperatorRequest};
use myrixen_platform::message::{
    Brought, ChannelId, FailReason, Mac, Name, Notice, PortAddress, Query, RefusalReason, Reply,
    Request,
};
use myrixen_platform::process::{AttachError, News, RequestError, embedded};
use myrixen_ring::{Capacity, Kind};

use crate::host::{Guest, Host, PATIENCE, config, partition, tiny};

fn ask(guest: &Guest, request: Request) -> Result<Reply, FailReason> {
    match guest.attachment.request(&request, PATIENCE) {
        Ok(answer) => Ok(answer.reply),
        Err(RequestError::Failed(failure)) => Err(failure.reason),
        Err(other) => panic!("{other}"),
    }
}

fn rings() -> [Capacity; 2] {
    [Capacity::new(1 << 16).unwrap(); 2]
}

fn two_partitions() -> BackendConfig {
    BackendConfig {
        partitions: vec![partition("p", None), partition("q", None)],
        ..config()
    }
}

fn at(guest: &Guest, endpoint: u8) -> PortAddress {
    PortAddress {
        mac: Mac::new(guest.nic().octets()),
        endpoint,
    }
}

#[test]
fn partitions_cannot_see_reach_or_join_each_other() {
    let mut host = Host::new(two_partitions());
    let (p, q) = (
        host.attach_as("a", "p", None).unwrap(),
        host.attach_as("a", "q", None).unwrap(),
    );
    assert_ne!(p.nic(), q.nic());
    let (mut from, mut to) = (p.open(1), q.open(1));
    from.send(&tiny(from.address(), to.address(), b"psst"));
    host.settle();
    assert_eq!(to.receive(), None);
    assert_eq!(host.counters(&from).drops.get(DropReason::NoRoute), 1);
    let mac = Mac::new(q.nic().octets());
    assert_eq!(
        ask(&p, Request::Resolve(Query::Mac(mac))),
        Err(FailReason::NotFound)
    );
    let Ok(Reply::Boards { boards, next: None }) = ask(&p, Request::ListBoards { from: 0 }) else {
        panic!("no boards")
    };
    assert_eq!(boards.len(), 1);
    let direct = p.attachment.open_direct(1, at(&q, 1), rings(), PATIENCE);
    assert!(matches!(direct, Err(RequestError::Failed(f)) if f.reason == FailReason::NotFound));
    // Nor does one hear of the other's death: the next news is of its own partition.
    drop(q);
    let other = host.attach_as("b", "p", None).unwrap();
    let nic = other.nic();
    drop(other);
    let News::Notice(Notice::BoardGone(gone)) = p.news() else {
        panic!("no news")
    };
    assert_eq!(gone.bytes(), nic.octets());
}

#[test]
fn boards_are_found_by_name_and_address() {
    let host = Host::new(config());
    let guests: Vec<_> = (0..20).map(|n| host.attach(&format!("g{n:02}"))).collect();
    for name in ["g07", "g07:0"] {
        let query = Query::Name(Name::new(name).unwrap());
        let Ok(Reply::Board(board)) = ask(&guests[0], Request::Resolve(query)) else {
            panic!()
        };
        assert_eq!(board.mac.bytes(), guests[7].nic().octets());
    }
    let (mut from, mut names) = (0, Vec::new());
    loop {
        let Ok(Reply::Boards { boards, next }) = ask(&guests[0], Request::ListBoards { from })
        else {
            panic!("no boards")
        };
        names.extend(boards.into_iter().map(|b| b.name.unwrap().to_string()));
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    let expected: Vec<String> = (0..20).map(|n| format!("g{n:02}:0")).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_guest_sees_the_endpoints_of_its_board_and_no_others() {
    let host = Host::new(config());
    let [mine, same, other] = ["a", "a", "b"].map(|board| host.attach(board));
    let ports = |guest: &Guest| {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let Ok(Reply::Ports { ports, next }) = ask(guest, Request::ListPorts { from }) else {
                panic!("no ports")
            };
            all.extend(ports);
            match next {
                Some(next) => from = next,
                None => return all,
            }
        }
    };
    assert_eq!(ports(&mine), []);
    let Ok(Reply::Boards { boards, next: None }) = ask(&same, Request::ListOwnBoards { from: 0 })
    else {
        panic!("no boards")
    };
    let own: Vec<_> = boards.iter().map(|board| board.mac.bytes()).collect();
    assert_eq!(own, [mine.nic().octets()]);
    for endpoint in (0..32).rev() {
        let guest = if endpoint % 2 == 0 { &mine } else { &same };
        let rings = rings();
        guest
            .attachment
            .open_port(Some(endpoint), rings, PATIENCE)
            .unwrap();
    }
    other
        .attachment
        .open_port(Some(1), rings(), PATIENCE)
        .unwrap();
    let numbers = |guest| -> Vec<u8> { ports(guest).iter().map(|port| port.endpoint).collect() };
    let expected: Vec<u8> = (0..32).collect();
    assert_eq!(numbers(&mine), expected);
    assert_eq!(numbers(&same), expected);
    assert_eq!(numbers(&other), [1]);
}

#[test]
fn endpoint_numbers_are_given_once_and_again_after_a_close() {
    let host = Host::new(config());
    let (one, two) = (host.attach("a"), host.attach("a"));
    let port = one.open(3);
    let open = |g: &Guest, e| g.attachment.open_port(e, rings(), PATIENCE);
    assert!(
        matches!(open(&two, Some(3)), Err(RequestError::Failed(f)) if f.reason == FailReason::InUse)
    );
    let lowest = open(&two, None).unwrap();
    assert_eq!(lowest.endpoint, 0);
    assert_eq!(
        ask(&two, Request::ClosePort { endpoint: 3 }),
        Err(FailReason::NotFound)
    );
    assert_eq!(
        ask(&one, Request::ClosePort { endpoint: 3 }),
        Ok(Reply::Done)
    );
    assert!(open(&two, Some(3)).is_ok());
    drop(port);
}

#[test]
fn limits_are_kept_and_named() {
    let limits = Limits {
        ports: 20,
        ..Limits::default()
    };
    let mut config = BackendConfig { limits, ..config() };
    config.policy.max_guests = 2;
    let host = Host::new(config);
    let (a, b) = (host.attach("a"), host.attach("b"));
    let Err(AttachError::Refused { refusal, .. }) = host.attach_as("c", "", None) else {
        panic!("not refused")
    };
    assert_eq!(refusal.reason, RefusalReason::Limit);
    assert!(
        refusal.to_string().contains("limits.max_guests"),
        "{refusal}"
    );
    let failure = |g: &Guest, bytes: u32| {
        let rings = [Capacity::new(bytes).unwrap(); 2];
        match g.attachment.open_port(None, rings, PATIENCE) {
            Err(RequestError::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    };
    assert!(failure(&a, 1 << 21).to_string().contains("ring_bytes"));
    assert_eq!(
        failure(&a, 1 << 12).reason,
        FailReason::Invalid,
        "no room for a frame"
    );
    let ports: Vec<_> = (0..16).map(|e| a.open(e)).collect();
    assert!(failure(&a, 1 << 16).to_string().contains("`ports`"));
    let more: Vec<_> = (0..4).map(|e| b.open(e)).collect();
    assert!(failure(&b, 1 << 16).to_string().contains("limits.ports"));
    assert_eq!(host.snapshot().ports.len(), ports.len() + more.len());
}

#[test]
fn a_partition_that_does_not_exist_is_refused() {
    let host = Host::new(config());
    let Err(AttachError::Refused { refusal, .. }) = host.attach_as("a", "nirvana", None) else {
        panic!("not refused")
    };
    assert_eq!(refusal.reason, RefusalReason::NoSuchPartition);
    assert_eq!(
        host.snapshot().status.refused.get("no_such_partition"),
        Some(&1)
    );
}

#[test]
fn a_ticket_gives_the_same_board_back_after_a_restart() {
    let host = Host::new(two_partitions());
    let guest = host.attach_as("", "q", None).unwrap();
    let (nic, ticket) = (guest.nic(), guest.welcome.ticket.clone().unwrap());
    let mut next = two_partitions();
    // Another host id would derive another address, so that it can only be the ticket's.
    next.host.id = b"other".to_vec();
    next.host.name = "renamed".into();
    host.backend.stop();
    guest.wait_lost();
    let host = Host::new(next);
    let again = host.attach_as("", "", Some(ticket.clone())).unwrap();
    assert_eq!(again.nic(), nic);
    assert_eq!(
        (
            again.welcome.board.as_str(),
            again.welcome.partition.as_str()
        ),
        ("host:0", "q")
    );
    // A host with another secret has never seen it.
    let mut stranger = two_partitions();
    stranger.host.id = b"other".to_vec();
    stranger.host.secret = myrixen_backend::secret::Secret::from_bytes([4; 32]);
    let elsewhere = Host::new(stranger);
    let guest = elsewhere.attach_as("", "", Some(ticket)).unwrap();
    assert_ne!(guest.nic(), nic);
    assert_eq!(guest.welcome.partition.as_str(), "p");
}

#[test]
fn the_operators_address_is_the_boards() {
    let nic = NicAddr::new([2, 0, 0, 0, 0, 0x0a]);
    let board = FixedBoard {
        name: "a:0".into(),
        partition: PartitionId::new(0),
        nic,
    };
    let host = Host::new(BackendConfig {
        boards: vec![board],
        ..config()
    });
    assert_eq!(host.attach("a").nic(), nic);
}

#[test]
fn a_direct_channel_joins_two_guests_without_the_back_end() {
    let host = Host::new(config());
    let (a, b) = (host.attach("a"), host.attach("b"));
    let (_one, _two) = (a.open(1), b.open(2));
    let mut front = a
        .attachment
        .open_direct(1, at(&b, 2), rings(), PATIENCE)
        .unwrap();
    let News::Direct(mut back) = b.news() else {
        panic!("no offer")
    };
    assert_eq!(
        (front.peer.address, back.peer.address),
        (at(&b, 2), at(&a, 1))
    );
    assert_eq!(host.snapshot().direct.len(), 1);
    // Twice is once too often, from either end.
    let again = b.attachment.open_direct(2, at(&a, 1), rings(), PATIENCE);
    assert!(matches!(again, Err(RequestError::Failed(f)) if f.reason == FailReason::InUse));
    // No worker takes a turn here.
    let mut slot = front.pair.producer.reserve(5, 0).unwrap().unwrap();
    slot.write(0, b"hello");
    slot.publish(Kind::Frame);
    assert_eq!(back.pair.consumer.peek().unwrap().unwrap().len(), 5);
    assert_eq!(front.channel, back.channel);
    let close = |channel| Request::CloseDirect {
        endpoint: 1,
        to: at(&b, 2),
        channel,
    };
    // Late news of an earlier one.
    let earlier = ChannelId::new(front.channel.get() - 1);
    assert_eq!(ask(&a, close(earlier)), Err(FailReason::NotFound));
    assert_eq!(host.snapshot().direct.len(), 1);
    assert_eq!(ask(&a, close(front.channel)), Ok(Reply::Done));
    let News::Notice(Notice::DirectGone {
        endpoint,
        peer,
        channel,
    }) = b.news()
    else {
        panic!("no news")
    };
    assert_eq!((endpoint, peer, channel), (2, at(&a, 1), back.channel));
    assert!(host.snapshot().direct.is_empty());
}

#[test]
fn direct_channels_have_limits_and_need_open_endpoints() {
    let host = Host::new(config());
    let (a, b) = (host.attach("a"), host.attach("b"));
    let _port = a.open(1);
    let open = |to| match a.attachment.open_direct(1, to, rings(), PATIENCE) {
        Ok(direct) => Ok(direct),
        Err(RequestError::Failed(failure)) => Err(failure.reason),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(open(at(&b, 0)).unwrap_err(), FailReason::NotFound);
    let ports: Vec<_> = (0..5).map(|e| b.open(e)).collect();
    let directs: Vec<_> = (0..4).map(|e| open(at(&b, e)).unwrap()).collect();
    assert_eq!(open(at(&b, 4)).unwrap_err(), FailReason::Limit);
    assert_eq!(open(at(&a, 1)).unwrap_err(), FailReason::NoDirectPath);
    drop((ports, directs));
}

/// Processes have each other's pools with the channel.
#[test]
fn a_process_cannot_lend_what_only_domains_can_grant() {
    let host = Host::new(config());
    let (a, b) = (host.attach("a"), host.attach("b"));
    let (_one, _two) = (a.open(1), b.open(2));
    let lend = |channel| {
        let lend = Request::LendPool {
            endpoint: 1,
            to: at(&b, 2),
            channel,
            bytes: 4096,
            brought: Some(Brought { page: 8, event: 0 }),
        };
        ask(&a, lend).unwrap_err()
    };
    assert_eq!(lend(ChannelId::ANY), FailReason::NotFound);
    let opened = a
        .attachment
        .open_direct(1, at(&b, 2), rings(), PATIENCE)
        .unwrap();
    assert!(matches!(b.news(), News::Direct(_)));
    assert_eq!(lend(opened.channel), FailReason::NoDirectPath);
    assert!(b.attachment.next_news().is_none());
}

#[test]
fn an_adopted_channel_is_watched_over_again() {
    let host = Host::new(config());
    let (a, b) = (host.attach("a"), host.attach("b"));
    let (_one, two) = (a.open(1), b.open(2));
    let adopt = Request::AdoptDirect {
        endpoint: 1,
        to: at(&b, 2),
        channel: ChannelId::new(7),
    };
    assert_eq!(ask(&a, adopt), Ok(Reply::Done));
    assert_eq!(host.snapshot().direct.len(), 1);
    let gone = at(&b, 2);
    drop((b, two));
    let News::Notice(Notice::BoardGone(mac)) = a.news() else {
        panic!("no news")
    };
    assert_eq!(mac, gone.mac);
    assert!(host.snapshot().direct.is_empty());
}

#[test]
fn draining_is_told_and_lets_nobody_in() {
    let host = Host::new(config());
    let a = host.attach("a");
    host.backend.drain(Duration::from_secs(3600));
    let News::Notice(Notice::Draining { grace_ms }) = a.news() else {
        panic!("no news")
    };
    assert_eq!(grace_ms, 3_600_000);
    let Err(AttachError::Refused { refusal, .. }) = host.attach_as("b", "", None) else {
        panic!("not refused")
    };
    assert_eq!(refusal.reason, RefusalReason::Draining);
    // When the last has left there is nothing to wait for.
    drop(a);
    host.backend.join();
}

#[test]
fn operators_ask_over_their_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let operator = Some(UnixListener::bind(&path).unwrap());
    let (meeting, connector) = embedded().unwrap();
    let config = BackendConfig {
        operator,
        ..config()
    };
    let backend = Backend::start(config, vec![Box::new(meeting)]).unwrap();
    let (attachment, welcome) = connector
        .connect(Default::default())
        .unwrap()
        .wait()
        .unwrap();
    let guest = Guest {
        attachment,
        welcome,
    };
    let _port = guest.open(4);
    let mut client = Client::connect(&path).unwrap();
    let OperatorReply::Boards(boards) = client.ask(&OperatorRequest::Boards).unwrap() else {
        panic!("no boards")
    };
    assert_eq!(
        (boards[0].name.as_str(), boards[0].endpoints.as_slice()),
        ("host:0", &[4][..])
    );
    let OperatorReply::Metrics(text) = client.ask(&OperatorRequest::Metrics).unwrap() else {
        panic!("no metrics")
    };
    assert!(text.contains("myrixen_guests 1\n"), "{text}");
    let OperatorReply::Guests(guests) = client.ask(&OperatorRequest::Guests).unwrap() else {
        panic!("no guests")
    };
    let detach = OperatorRequest::Detach {
        guest: guests[0].id,
    };
    assert_eq!(client.ask(&detach).unwrap(), OperatorReply::Done);
    guest.wait_lost();
    assert!(matches!(
        client.ask(&detach).unwrap(),
        OperatorReply::Refused(_)
    ));
    assert_eq!(
        client.ask(&OperatorRequest::Drain).unwrap(),
        OperatorReply::Done
    );
    backend.join();
}
