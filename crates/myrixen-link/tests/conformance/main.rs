//! One suite for every kind of link, and what only one kind has to show.

mod ethernet;
mod suite;
mod vxlan;

use mxoe::addr::NicAddr;
use myrixen_link::fault::{FaultConfig, FaultLink};
use myrixen_link::pcap::RecordingLink;
use myrixen_link::{Link, Tag, memory};

use suite::{Bench, conforms};

/// A pair in memory, each end wrapped.
fn wrapped<L: Link>(mut wrap: impl FnMut(memory::MemoryLink) -> L) -> Bench<L> {
    let (left, right) = memory::pair(9014, 256).unwrap();
    Bench {
        left: wrap(left),
        right: wrap(right),
        window: usize::MAX,
        tags: vec![Tag::None, Tag::Vlan(7), Tag::Vni(7)],
        wrong_tags: Vec::new(),
        to: NicAddr::BROADCAST,
    }
}

#[test]
fn memory_conforms() {
    conforms(|| wrapped(|link| link));
}

#[test]
fn a_recording_link_conforms() {
    conforms(|| wrapped(|link| RecordingLink::new(link, std::io::sink()).unwrap()));
}

#[test]
fn a_fault_link_without_faults_conforms() {
    conforms(|| wrapped(|link| FaultLink::new(link, &FaultConfig::default()).unwrap()));
}

#[test]
fn a_boxed_link_conforms() {
    conforms(|| wrapped(|link| -> Box<dyn Link> { Box::new(link) }));
}
