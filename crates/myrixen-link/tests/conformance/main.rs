//! One suite for every kind of link, and what only one kind has to show.

mod ethernet;
mod suite;
mod vxlan;

use myrixen_link::{Tag, memory};

use suite::{Bench, conforms};

#[test]
fn memory_conforms() {
    conforms(|| {
        let (left, right) = memory::pair(9014, 256).unwrap();
        let tags = vec![Tag::None, Tag::Vlan(7), Tag::Vni(7)];
        Bench {
            left,
            right,
            window: usize::MAX,
            tags,
            wrong_tags: Vec::new(),
        }
    });
}
