//! What only AF_XDP has to show.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};

use mxoe::addr::NicAddr;
use myrixen_link::ethernet::{Driver, EthernetConfig, EthernetLink, XdpSocket};
use myrixen_link::{Link, LinkError, Outgoing, Tag};
use myrixen_netlab::{Host, Lab, test, test_as_root};

use super::{Cabled, open, small, to_guest};
use crate::suite::{Bench, GUEST, assert_same, collect, conforms, frame, frame_to};

/// A guest of somebody else.
const OTHER: NicAddr = NicAddr::new([2, 0, 0, 0, 2, 2]);

fn send(link: &mut EthernetLink, frame: &[u8], tag: Tag) {
    link.transmit(&Outgoing::bytes(frame, tag)).unwrap();
    link.flush().unwrap();
}

fn try_open(host: &Host, driver: Driver) -> Result<EthernetLink, LinkError> {
    host.run(|| EthernetLink::open(&small("eth0", driver)))
        .unwrap()
}

/// Frames for everybody are not redirected: others may listen for them too.
#[test]
fn conforms_with_frames_that_are_not_redirected() {
    test_as_root(|lab| {
        let cabled = Cabled::new(lab, Driver::Xdp, 1500);
        conforms(|| Bench {
            to: NicAddr::BROADCAST,
            ..cabled.bench()
        });
    });
}

/// Every empty look at the link takes the kernel's way round the card.
#[test]
fn conforms_when_it_polls_the_card() {
    test_as_root(|lab| {
        let cabled = Cabled::new(lab, Driver::Xdp, 1500);
        let open = |end: usize| {
            let config = EthernetConfig {
                busy_poll: true,
                ..small(&cabled.names[end], Driver::Xdp)
            };
            let host = &cabled.hosts[end];
            let mut link = host.run(|| EthernetLink::open(&config)).unwrap().unwrap();
            link.set_addresses(&[GUEST]).unwrap();
            link
        };
        conforms(|| Bench {
            left: open(0),
            right: open(1),
            window: usize::MAX,
            tags: vec![Tag::None, Tag::Vlan(100)],
            wrong_tags: Vec::new(),
            to: GUEST,
        });
        let mut link = open(0);
        link.receive(1, &mut |_| ()).unwrap();
        assert_eq!(link.counters().system_calls, 1);
    });
}

/// What measurements hold a link against.
#[test]
fn a_socket_alone_carries_frames_for_its_addresses_and_no_others() {
    test_as_root(|lab| {
        let cabled = Cabled::new(lab, Driver::Xdp, 1500);
        let open = |end: usize| {
            let (host, name) = (&cabled.hosts[end], &cabled.names[end]);
            host.run(|| XdpSocket::open(name, &[GUEST]))
                .unwrap()
                .unwrap()
        };
        let (mut left, mut right) = (open(0), open(1));
        let mut heard = Vec::new();
        for (to, len) in [(GUEST, 60), (OTHER, 61), (GUEST, 1514)] {
            assert!(left.send(&frame_to(to, len, 1)).unwrap());
        }
        while heard.len() < 2 {
            right.receive(|bytes| heard.push(bytes.to_vec())).unwrap();
        }
        assert_eq!(heard, [frame_to(GUEST, 60, 1), frame_to(GUEST, 1514, 1)]);
        assert!(!right.receive(|_| ()).unwrap());
        assert!(left.send(&frame_to(GUEST, 3000, 1)).is_err(), "too long");
    });
}

#[test]
fn only_frames_for_guests_are_redirected() {
    test_as_root(|lab| {
        let Bench {
            mut left,
            mut right,
            ..
        } = Cabled::new(lab, Driver::Xdp, 1500).bench();
        for (sent, redirected) in [(frame(100, 1), 0), (to_guest(100, 2), 1)] {
            for tag in [Tag::None, Tag::Vlan(9)] {
                let before = right.counters().redirected;
                send(&mut left, &sent, tag);
                let arrived = collect(&mut right, 1);
                assert_same(&arrived[0].0, &sent);
                assert_eq!(arrived[0].1, tag);
                assert_eq!(right.counters().redirected - before, redirected);
            }
        }
        right.set_addresses(&[OTHER]).unwrap();
        send(&mut left, &to_guest(100, 3), Tag::None);
        collect(&mut right, 1);
        assert_eq!(right.counters().redirected, 2);
        send(&mut left, &frame_to(OTHER, 100, 4), Tag::None);
        collect(&mut right, 1);
        assert_eq!(right.counters().redirected, 3);
    });
}

/// Behind a bridge a tag travels beside the frame, where the program does not see it unless it asks the driver: such a frame
/// must not be taken for one without a tag.
#[test]
fn a_tag_that_travels_beside_the_frame_is_not_lost() {
    test_as_root(|lab| {
        let hosts = ["left", "right"].map(|name| lab.host(name).unwrap());
        let (_switch, names) = lab.switch("switch", &[&hosts[0], &hosts[1]], 1500).unwrap();
        let mut left = open(&hosts[0], &names[0], Driver::Packet);
        let mut right = open(&hosts[1], &names[1], Driver::Xdp);
        for (tag, redirected) in [(Tag::Vlan(100), 0), (Tag::None, 1)] {
            let sent = to_guest(100, 1);
            send(&mut left, &sent, tag);
            let arrived = collect(&mut right, 1);
            assert_same(&arrived[0].0, &sent);
            assert_eq!(arrived[0].1, tag);
            assert_eq!(right.counters().redirected, redirected);
        }
    });
}

#[test]
fn what_is_not_ours_goes_on_to_the_kernel() {
    test_as_root(|lab| {
        let cabled = Cabled::new(lab, Driver::Xdp, 1500);
        let (mut left, mut right) = (cabled.link(0), cabled.link(1));
        let addresses = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let sockets = [0, 1].map(|end: usize| {
            let host = &cabled.hosts[end];
            let address = addresses[end];
            host.add_address("eth0", IpAddr::V4(address), 24).unwrap();
            host.run(|| UdpSocket::bind((address, 4000)).unwrap())
                .unwrap()
        });
        sockets[0].send_to(&[7; 8], (addresses[1], 4000)).unwrap();
        assert_eq!(sockets[1].recv(&mut [0; 64]).unwrap(), 8);
        // Another back end on the same card.
        let mut other = open(&cabled.hosts[1], "eth0", Driver::Packet);
        send(&mut left, &frame_to(OTHER, 100, 1), Tag::None);
        assert_eq!(collect(&mut other, 1)[0].0, frame_to(OTHER, 100, 1));
        send(&mut left, &to_guest(100, 2), Tag::None);
        let arrived = collect(&mut right, 2);
        assert!(arrived.contains(&(to_guest(100, 2), Tag::None)));
    });
}

#[test]
fn a_card_with_a_program_is_refused() {
    test_as_root(|lab| {
        let cabled = Cabled::new(lab, Driver::Xdp, 1500);
        let _first = cabled.link(0);
        let error = try_open(&cabled.hosts[0], Driver::Xdp).unwrap_err();
        assert!(matches!(error, LinkError::Interface { .. }), "{error}");
        assert!(error.to_string().contains("another"), "{error}");
    });
}

#[test]
fn auto_is_af_packet_on_a_virtual_cable() {
    test_as_root(|lab| {
        let cabled = Cabled::new(lab, Driver::Packet, 1500);
        let link = try_open(&cabled.hosts[0], Driver::Auto).unwrap();
        assert!(!link.uses_xdp());
    });
}

#[test]
fn without_the_right_to_load_programs_it_is_refused_and_says_what_helps() {
    test(|lab: &Lab| {
        let cabled = Cabled::new(lab, Driver::Packet, 1500);
        let error = try_open(&cabled.hosts[0], Driver::Xdp).unwrap_err();
        assert!(matches!(error, LinkError::Denied { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("CAP_NET_ADMIN and CAP_BPF") && text.contains("setcap"),
            "{text}"
        );
    });
}

const HOLD: &str = "MYRIXEN_TEST_HOLD_A_LINK";

#[test]
#[ignore = "what the next test starts and kills"]
fn holds_a_link() {
    assert!(std::env::var_os(HOLD).is_some(), "not to be run by itself");
    let link = EthernetLink::open(&small("eth0", Driver::Xdp)).unwrap();
    println!("\n{HOLD}");
    // Until it is killed, or the test is.
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(link);
}

#[test]
fn the_program_goes_with_a_process_that_is_killed() {
    test_as_root(|lab| {
        let cabled = Cabled::new(lab, Driver::Xdp, 1500);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["ethernet::xdp::holds_a_link", "--exact", "--ignored"])
            .args(["--nocapture", "--test-threads=1"])
            .env(HOLD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = cabled.hosts[0].spawn(&mut command).unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let held = output.lines().any(|line| line.unwrap() == HOLD);
        assert!(held, "the process did not open its link");
        try_open(&cabled.hosts[0], Driver::Xdp).unwrap_err();
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let mut left = try_open(&cabled.hosts[0], Driver::Xdp).unwrap();
        left.set_addresses(&[GUEST]).unwrap();
        let mut right = cabled.link(1);
        send(&mut right, &to_guest(100, 1), Tag::None);
        assert_eq!(collect(&mut left, 1)[0].0, to_guest(100, 1));
        assert_eq!(left.counters().redirected, 1);
    });
}
