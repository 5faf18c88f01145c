//! Ethernet links on virtual cables, by each of their drivers.

mod xdp;

use mxoe::addr::NicAddr;
use myrixen_link::ethernet::{Driver, EthernetConfig, EthernetLink};
use myrixen_link::{DropReason, Link, LinkError, LinkKind, Outgoing, Tag};
use myrixen_netlab::{Host, Lab};

use crate::suite::{self, Bench, GUEST, collect, conforms, frame_to, wait};

/// Each test with each driver. AF_XDP takes a program to be loaded, which no user namespace's root may.
macro_rules! on_each_driver {
    ($($test:ident,)+) => {
        mod by_packet {
            $(#[test]
            fn $test() {
                myrixen_netlab::test(|lab| super::$test(lab, super::Driver::Packet));
            })+
        }

        mod by_xdp {
            $(#[test]
            fn $test() {
                myrixen_netlab::test_as_root(|lab| super::$test(lab, super::Driver::Xdp));
            })+
        }
    };
}

on_each_driver! {
    conforms_on_a_cable,
    conforms_on_a_cable_for_jumbo_frames,
    describes_the_interface,
    other_protocols_do_not_arrive,
    an_outage_is_reported_once_and_the_link_works_again,
    an_outage_during_a_send_is_reported_by_flush,
    an_interface_that_is_removed_is_gone,
    frames_that_find_no_room_are_counted,
    what_cannot_be_opened_says_why,
    the_cards_filter_follows_the_guests,
}

/// Small rings, so that they are full before long.
fn small(interface: &str, driver: Driver) -> EthernetConfig {
    EthernetConfig {
        driver,
        receive_ring: 1 << 20,
        transmit_ring: 1 << 20,
        ..EthernetConfig::new(interface)
    }
}

fn open(host: &Host, interface: &str, driver: Driver) -> EthernetLink {
    let config = small(interface, driver);
    let mut link = host.run(|| EthernetLink::open(&config)).unwrap().unwrap();
    assert_eq!(link.uses_xdp(), driver == Driver::Xdp);
    link.set_addresses(&[GUEST]).unwrap();
    link
}

/// A frame that AF_XDP redirects.
fn to_guest(len: usize, number: usize) -> Vec<u8> {
    frame_to(GUEST, len, number)
}

struct Cabled {
    driver: Driver,
    hosts: [Host; 2],
    names: [String; 2],
}

impl Cabled {
    fn new(lab: &Lab, driver: Driver, mtu: u32) -> Self {
        let hosts = [lab.host("left").unwrap(), lab.host("right").unwrap()];
        let names = lab.cable([&hosts[0], &hosts[1]], mtu).unwrap();
        Self {
            driver,
            hosts,
            names,
        }
    }

    fn link(&self, end: usize) -> EthernetLink {
        open(&self.hosts[end], &self.names[end], self.driver)
    }

    fn bench(&self) -> Bench<EthernetLink> {
        Bench {
            left: self.link(0),
            right: self.link(1),
            window: usize::MAX,
            tags: vec![Tag::None, Tag::Vlan(1), Tag::Vlan(100), Tag::Vlan(4094)],
            wrong_tags: vec![Tag::Vlan(0), Tag::Vlan(4095), Tag::Vni(1)],
            to: GUEST,
        }
    }
}

fn conforms_on_a_cable(lab: &Lab, driver: Driver) {
    let cabled = Cabled::new(lab, driver, 1500);
    conforms(|| cabled.bench());
}

fn conforms_on_a_cable_for_jumbo_frames(lab: &Lab, driver: Driver) {
    let cabled = Cabled::new(lab, driver, 9000);
    assert_eq!(cabled.link(0).describe().mtu, 9014);
    conforms(|| cabled.bench());
}

fn describes_the_interface(lab: &Lab, driver: Driver) {
    let cabled = Cabled::new(lab, driver, 4200);
    let info = cabled.link(0).describe();
    assert_eq!(info.kind, LinkKind::Ethernet);
    assert_eq!(info.name, "eth0");
    assert_eq!(info.mtu, 4214);
    assert!(info.mac.is_some_and(|mac| !mac.is_multicast()));
}

fn other_protocols_do_not_arrive(lab: &Lab, driver: Driver) {
    let Bench {
        mut left,
        mut right,
        ..
    } = Cabled::new(lab, driver, 1500).bench();
    let mut other = to_guest(100, 1);
    other[12..14].copy_from_slice(&[0x08, 0x00]);
    for tag in [Tag::None, Tag::Vlan(5)] {
        left.transmit(&Outgoing::bytes(&other, tag)).unwrap();
    }
    left.transmit(&Outgoing::bytes(&to_guest(100, 2), Tag::None))
        .unwrap();
    left.flush().unwrap();
    assert_eq!(collect(&mut right, 1)[0].0, to_guest(100, 2));
    assert_eq!(right.counters().drops.total(), 0);
}

/// Frames received; none while the link says that it is down.
fn receive_or_down(link: &mut EthernetLink) -> usize {
    match link.receive(1, &mut |got| assert_eq!(got.len, 100)) {
        Ok(count) => count,
        Err(LinkError::Down { .. }) => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Sends frames of 100 bytes until one gets through: a cable that has just been
/// switched on may take a moment.
fn send_until_heard(from: &mut EthernetLink, to: &mut EthernetLink) {
    while receive_or_down(to) == 0 {
        match from.transmit(&Outgoing::bytes(&to_guest(100, 1), Tag::None)) {
            Ok(()) | Err(LinkError::Full | LinkError::Down { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        match from.flush() {
            Ok(()) | Err(LinkError::Down { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn an_outage_is_reported_once_and_the_link_works_again(lab: &Lab, driver: Driver) {
    let cabled = Cabled::new(lab, driver, 1500);
    let Bench {
        mut left,
        mut right,
        ..
    } = cabled.bench();
    let sent = to_guest(100, 1);
    cabled.hosts[0].set_up("eth0", false).unwrap();
    wait(&left);
    let first = left.receive(8, &mut |_| ()).unwrap_err();
    assert!(matches!(first, LinkError::Down { .. }), "{first}");
    assert_eq!(left.receive(8, &mut |_| ()).unwrap(), 0);
    // A sleeper is not woken again and again.
    assert!(!suite::is_ready(&left));
    let refused = left
        .transmit(&Outgoing::bytes(&sent, Tag::None))
        .unwrap_err();
    assert!(matches!(refused, LinkError::Down { .. }), "{refused}");
    left.flush().unwrap();
    assert_eq!(left.counters().outages, 1);
    assert_eq!(left.counters().drops[DropReason::InterfaceDown], 1);
    cabled.hosts[0].set_up("eth0", true).unwrap();
    send_until_heard(&mut left, &mut right);
    assert_eq!(left.counters().outages, 1);
}

fn an_outage_during_a_send_is_reported_by_flush(lab: &Lab, driver: Driver) {
    let cabled = Cabled::new(lab, driver, 1500);
    let mut left = cabled.link(0);
    left.transmit(&Outgoing::bytes(&to_guest(100, 1), Tag::None))
        .unwrap();
    cabled.hosts[0].set_up("eth0", false).unwrap();
    assert!(matches!(left.flush(), Err(LinkError::Down { .. })));
    left.flush().unwrap();
    let mut right = cabled.link(1);
    cabled.hosts[0].set_up("eth0", true).unwrap();
    // What was queued when the interface went down was not lost.
    while receive_or_down(&mut right) == 0 {
        left.flush().unwrap();
    }
}

fn an_interface_that_is_removed_is_gone(lab: &Lab, driver: Driver) {
    let cabled = Cabled::new(lab, driver, 1500);
    let mut left = cabled.link(0);
    cabled.hosts[0].remove("eth0").unwrap();
    wait(&left);
    assert!(matches!(
        left.receive(8, &mut |_| ()),
        Err(LinkError::Gone { .. })
    ));
    let sent = to_guest(100, 1);
    let error = left
        .transmit(&Outgoing::bytes(&sent, Tag::None))
        .unwrap_err();
    assert!(matches!(error, LinkError::Gone { .. }), "{error}");
}

fn frames_that_find_no_room_are_counted(lab: &Lab, driver: Driver) {
    let cabled = Cabled::new(lab, driver, 9000);
    let Bench {
        mut left,
        mut right,
        ..
    } = cabled.bench();
    let sent = to_guest(9014, 1);
    let mut count: u64 = 0;
    while count < 300 {
        match left.transmit(&Outgoing::bytes(&sent, Tag::None)) {
            Ok(()) => count += 1,
            Err(LinkError::Full) => left.flush().unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
    left.flush().unwrap();
    let mut got: u64 = 0;
    loop {
        got += right.receive(1000, &mut |_| ()).unwrap() as u64;
        // The kernel tells of losses with the next frame that finds room.
        if got + right.counters().drops[DropReason::ReceiveOverrun] >= count {
            break;
        }
        left.transmit(&Outgoing::bytes(&sent, Tag::None)).unwrap();
        left.flush().unwrap();
        count += 1;
    }
    assert!(right.counters().drops[DropReason::ReceiveOverrun] > 0);
}

fn what_cannot_be_opened_says_why(lab: &Lab, driver: Driver) {
    let host = lab.host("host").unwrap();
    let fails = |config: &EthernetConfig| {
        host.run(|| EthernetLink::open(config))
            .unwrap()
            .unwrap_err()
    };
    let missing = fails(&EthernetConfig::new("nowhere0"));
    assert!(matches!(missing, LinkError::Interface { .. }), "{missing}");
    assert!(missing.to_string().contains("nowhere0"));
    let loopback = fails(&EthernetConfig::new("lo"));
    assert!(
        loopback.to_string().contains("not an Ethernet interface"),
        "{loopback}"
    );
    let cabled = Cabled::new(lab, driver, 1500);
    let config = EthernetConfig {
        mtu: Some(9000),
        ..EthernetConfig::new("eth0")
    };
    let small = cabled.hosts[0]
        .run(|| EthernetLink::open(&config))
        .unwrap()
        .unwrap_err();
    assert!(small.to_string().contains("1500"), "{small}");
}

fn the_cards_filter_follows_the_guests(lab: &Lab, driver: Driver) {
    let cabled = Cabled::new(lab, driver, 1500);
    let mut link = cabled.link(0);
    let guest = NicAddr::new([2, 0, 0, 0, 0, 9]);
    // Group addresses and the card's own never reach the filter.
    let own = link.describe().mac.unwrap();
    link.set_addresses(&[guest, own, NicAddr::BROADCAST])
        .unwrap();
    link.set_addresses(&[]).unwrap();
    assert!(!link.counters().promiscuous);
    // Neither filter nor promiscuous mode is to be had of a card that is gone.
    cabled.hosts[0].remove("eth0").unwrap();
    assert!(link.set_addresses(&[guest]).is_err());
}
