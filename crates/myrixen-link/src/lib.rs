//! Moving MXoE frames between hosts.
//!
//! A [`Link`] sends and receives whole Ethernet frames that carry MXoE, in bursts, without ever
//! blocking, and knows nothing of what is in them beyond addresses and the partition [`Tag`]:
//!
//! - [`ethernet`]: a network interface, by AF_XDP or by AF_PACKET with mapped rings; partitions are VLANs;
//! - [`vxlan`]: VXLAN over UDP, for networks that carry only IP; partitions are VNIs;
//! - [`memory`]: a pair of queues in this process, for tests;
//! - [`pcap`] and [`fault`] wrap a link: they record what passes, and lose some of it.
//!
//! A link never looks into messages, never resends, and keeps no state about connections. Whoever
//! owns it decides which partitions and sources are acceptable: a link reports the tag it saw.
//!
//! ```
//! use myrixen_link::{Link, Outgoing, Tag, memory};
//!
//! let (mut here, mut there) = memory::pair(1514, 64)?;
//! here.transmit(&Outgoing::bytes(&[0xff; 60], Tag::None))?;
//! here.flush()?;
//! assert_eq!(there.receive(16, &mut |frame| assert_eq!(frame.len, 60))?, 1);
//! # Ok::<(), myrixen_link::LinkError>(())
//! ```
#![deny(unsafe_code)]

mod counters;
mod error;
mod link;
mod sys;

pub mod ethernet;
pub mod fault;
pub mod memory;
pub mod pcap;
pub mod vxlan;

pub use counters::{DropReason, Drops, LinkCounters, Traffic};
pub use error::LinkError;
pub use link::{
    Body, ETHERNET_HEADER, Incoming, Interest, Link, LinkInfo, LinkKind, MXOE_ETHERTYPE, Offloads,
    Outgoing, Tag,
};
