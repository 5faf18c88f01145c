//! VXLAN links over loopback, and between hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use mxoe::addr::NicAddr;
use myrixen_link::vxlan::{VxlanConfig, VxlanLink};
use myrixen_link::{DropReason, Link, LinkError, LinkKind, Outgoing, Tag};
use myrixen_netlab::test;

use crate::suite::{Bench, collect, conforms, frame, wait};

const VNI: Tag = Tag::Vni(0x00ab_cdef);

fn open(host: IpAddr) -> VxlanLink {
    VxlanLink::open(&VxlanConfig::new((host, 0).into(), Vec::new())).unwrap()
}

/// Links that all have each other as remote ends.
fn mesh<const N: usize>(host: IpAddr) -> [VxlanLink; N] {
    let config = || VxlanConfig {
        mtu: Some(9000),
        ..VxlanConfig::new((host, 0).into(), Vec::new())
    };
    let mut links: [VxlanLink; N] = std::array::from_fn(|_| VxlanLink::open(&config()).unwrap());
    let addresses: [SocketAddr; N] = std::array::from_fn(|i| links[i].local_addr());
    for (place, link) in links.iter_mut().enumerate() {
        let others: Vec<_> = (0..N)
            .filter(|&i| i != place)
            .map(|i| addresses[i])
            .collect();
        link.set_remotes(&others).unwrap();
    }
    links
}

fn bench(host: IpAddr) -> Bench<VxlanLink> {
    let [left, right] = mesh(host);
    Bench {
        left,
        right,
        // What the smallest socket buffer holds.
        window: 32,
        tags: vec![VNI, Tag::Vni(0), Tag::Vni(0x00ff_ffff)],
        wrong_tags: vec![Tag::None, Tag::Vlan(1), Tag::Vni(0x0100_0000)],
        to: NicAddr::BROADCAST,
    }
}

fn send(link: &mut VxlanLink, bytes: &[u8]) {
    link.transmit(&Outgoing::bytes(bytes, VNI)).unwrap();
    link.flush().unwrap();
}

/// A frame from station `from` to station `to`.
fn addressed(from: u8, to: u8) -> Vec<u8> {
    let mut bytes = frame(100, 1);
    bytes[..6].copy_from_slice(&[2, 0, 0, 0, 0, to]);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, from]);
    bytes
}

#[test]
fn conforms_over_ipv4() {
    conforms(|| bench(Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn conforms_over_ipv6() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    conforms(|| bench(Ipv6Addr::LOCALHOST.into()));
}

#[test]
fn describes_the_tunnel() {
    let link = open(Ipv4Addr::LOCALHOST.into());
    let info = link.describe();
    assert_eq!((info.kind, info.mac), (LinkKind::Vxlan, None));
    assert_eq!(info.name, link.local_addr().to_string());
    assert_eq!(info.mtu, 1464, "what an Ethernet of 1500 leaves");
}

#[test]
fn a_burst_takes_few_system_calls() {
    let [mut left, mut right] = mesh(Ipv4Addr::LOCALHOST.into());
    let offloads = left.describe().offloads;
    for number in 0..20 {
        left.transmit(&Outgoing::bytes(&frame(1000, number), VNI))
            .unwrap();
    }
    left.flush().unwrap();
    assert_eq!(collect(&mut right, 20).len(), 20);
    if offloads.transmit_segments > 1 {
        assert_eq!(left.counters().system_calls, 1);
    }
    if offloads.transmit_segments > 1 && offloads.receive_segments > 1 {
        assert!(
            right.counters().system_calls <= 4,
            "{}",
            right.counters().system_calls
        );
    }
}

#[test]
fn frames_to_a_station_that_was_heard_go_to_its_end_alone() {
    let [mut a, mut b, mut c] = mesh(Ipv4Addr::LOCALHOST.into());
    // Station 1 is at a; nobody knows where 2 is.
    send(&mut a, &addressed(1, 2));
    for link in [&mut b, &mut c] {
        assert_eq!(collect(link, 1)[0].0, addressed(1, 2));
    }
    assert_eq!(a.counters().flooded, 1);
    // The answer goes to a alone, and after it so does what a sends to 2.
    send(&mut b, &addressed(2, 1));
    collect(&mut a, 1);
    assert_eq!(b.counters().flooded, 0);
    send(&mut a, &addressed(1, 2));
    assert_eq!(collect(&mut b, 1)[0].0, addressed(1, 2));
    assert_eq!((a.counters().flooded, a.counters().learned), (1, 1));
    assert_eq!(c.receive(8, &mut |_| ()).unwrap(), 0);
    // The same station in another network is unknown.
    a.transmit(&Outgoing::bytes(&addressed(1, 2), Tag::Vni(5)))
        .unwrap();
    a.flush().unwrap();
    assert_eq!(collect(&mut c, 1)[0].1, Tag::Vni(5));
    // Station 2 moves to c.
    send(&mut c, &addressed(2, 1));
    collect(&mut a, 1);
    send(&mut a, &addressed(1, 2));
    assert_eq!(collect(&mut c, 1)[0].0, addressed(1, 2));
}

#[test]
fn strangers_are_not_heard_unless_allowed() {
    let host = IpAddr::from(Ipv4Addr::LOCALHOST);
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut datagram = vec![8, 0, 0, 0, 0, 0, 1, 0];
    datagram.extend(addressed(7, 8));
    let mut closed = open(host);
    stranger.send_to(&datagram, closed.local_addr()).unwrap();
    wait(&closed);
    assert_eq!(closed.receive(8, &mut |_| ()).unwrap(), 0);
    assert_eq!(closed.counters().drops[DropReason::UnknownRemote], 1);
    let config = VxlanConfig {
        learned_remotes: 1,
        ..VxlanConfig::new((host, 0).into(), Vec::new())
    };
    let mut open = VxlanLink::open(&config).unwrap();
    stranger.send_to(&datagram, open.local_addr()).unwrap();
    assert_eq!(collect(&mut open, 1)[0], (addressed(7, 8), Tag::Vni(1)));
}

#[test]
fn each_fault_of_a_datagram_is_counted() {
    let host = IpAddr::from(Ipv4Addr::LOCALHOST);
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let config = VxlanConfig {
        mtu: Some(200),
        ..VxlanConfig::new((host, 0).into(), vec![peer.local_addr().unwrap()])
    };
    let mut link = VxlanLink::open(&config).unwrap();
    let good = {
        let mut bytes = vec![8, 0, 0, 0, 0, 0, 1, 0];
        bytes.extend(frame(100, 1));
        bytes
    };
    let change = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let long = [&good[..8], &frame(215, 1)].concat();
    for datagram in [
        vec![],
        good[..9].to_vec(),
        change(0, 0),
        change(20, 0x08),
        long,
        good.clone(),
    ] {
        peer.send_to(&datagram, link.local_addr()).unwrap();
    }
    assert_eq!(collect(&mut link, 1)[0].0, frame(100, 1));
    let drops = link.counters().drops;
    assert_eq!(drops[DropReason::NoVni], 1);
    assert_eq!(drops[DropReason::ForeignEtherType], 1);
    assert_eq!(drops[DropReason::ReceiveTooLong], 1);
    assert!(drops[DropReason::ReceiveTooShort] >= 1);
}

#[test]
fn without_remote_ends_frames_are_dropped_and_counted() {
    let mut link = open(Ipv4Addr::LOCALHOST.into());
    send(&mut link, &frame(100, 1));
    assert_eq!(link.counters().drops[DropReason::NoRemote], 1);
}

#[test]
fn a_port_in_use_is_named() {
    let first = open(Ipv4Addr::LOCALHOST.into());
    let error = VxlanLink::open(&VxlanConfig::new(first.local_addr(), Vec::new())).unwrap_err();
    assert!(
        matches!(
            error,
            LinkError::Setting {
                setting: "listen",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains(&first.local_addr().to_string()));
}

#[test]
fn hosts_meet_at_the_usual_port_and_frames_fit_the_cable() {
    test(|lab| {
        let (left, right) = (lab.host("left").unwrap(), lab.host("right").unwrap());
        let [a, b] = lab.cable([&left, &right], 1500).unwrap();
        let [at, bt] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        left.add_address(&a, at, 24).unwrap();
        right.add_address(&b, bt, 24).unwrap();
        let port = myrixen_link::vxlan::DEFAULT_PORT;
        let config = |here: IpAddr, there: IpAddr| {
            VxlanConfig::new((here, port).into(), vec![(there, port).into()])
        };
        let mut left = left
            .run(|| VxlanLink::open(&config(at, bt)))
            .unwrap()
            .unwrap();
        let mut right = right
            .run(|| VxlanLink::open(&config(bt, at)))
            .unwrap()
            .unwrap();
        assert_eq!(left.describe().mtu, 1464);
        for number in 0..5 {
            left.transmit(&Outgoing::bytes(&frame(1464, number), VNI))
                .unwrap();
        }
        left.flush().unwrap();
        for (number, (bytes, tag)) in collect(&mut right, 5).into_iter().enumerate() {
            assert_eq!((bytes, tag), (frame(1464, number), VNI));
        }
        assert_eq!(left.counters().drops.total(), 0);
    });
}

#[test]
fn a_path_that_carries_less_than_configured_is_counted() {
    test(|lab| {
        let (left, right) = (lab.host("left").unwrap(), lab.host("right").unwrap());
        let [a, _] = lab.cable([&left, &right], 1500).unwrap();
        left.add_address(&a, [10, 0, 0, 1].into(), 24).unwrap();
        let config = VxlanConfig {
            mtu: Some(2000),
            ..VxlanConfig::new(
                ([10, 0, 0, 1], 0).into(),
                vec![([10, 0, 0, 2], 4789).into()],
            )
        };
        let mut link = left.run(|| VxlanLink::open(&config)).unwrap().unwrap();
        send(&mut link, &frame(2000, 1));
        assert_eq!(link.counters().drops[DropReason::TransmitTooLong], 1);
    });
}
