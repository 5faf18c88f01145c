//! What only AF_XDP has to show.

use mxoe::addr::NicAddr;
use myrixen_link::ethernet::{Driver, EthernetConfig, EthernetLink};
use myrixen_link::{Link, LinkError, Outgoing, Tag};
use myrixen_netlab::{test, test_as_root};

use super::{Cabled, to_guest};
use crate::suite::{Bench, assert_same, collect, conforms, frame};

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
                left.transmit(&Outgoing::bytes(&sent, tag)).unwrap();
                left.flush().unwrap();
                let arrived = collect(&mut right, 1);
                assert_same(&arrived[0].0, &sent);
                assert_eq!(arrived[0].1, tag);
                assert_eq!(right.counters().redirected - before, redirected);
            }
        }
    });
}
