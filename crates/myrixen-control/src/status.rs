//! What the daemon says about itself. Times are seconds, sizes bytes.

use std::collections::BTreeMap;

use mxoe::addr::NicAddr;
use serde::{Deserialize, Serialize};

use crate::counters::{DropCounts, GuestCounters, PortCounters, UplinkCounters};
use crate::text;

/// The daemon as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The host's name, of which boards take theirs.
    pub host: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime: f64,
    /// It is about to stop and takes no new guests.
    pub draining: bool,
    /// How many boards there are.
    pub boards: usize,
    /// How many guests are attached.
    pub guests: usize,
    /// How many guests may attach.
    pub max_guests: usize,
    /// How many ports are open.
    pub ports: usize,
    /// How many direct channels were brokered and have both ends attached.
    pub direct: usize,
    /// Guests refused since the start, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Guests detached since the start because of what they did, by fault.
    pub faults: BTreeMap<String, u64>,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// The partitions.
    pub partitions: Vec<Partition>,
}

/// One worker of the back end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    /// How many ports it serves.
    pub ports: usize,
    /// How many uplinks it serves.
    pub uplinks: usize,
    /// Rounds over all its ports and uplinks.
    pub turns: u64,
    /// Rounds in which it moved something.
    pub busy_turns: u64,
    /// How often it slept.
    pub sleeps: u64,
    /// How often it rang a doorbell.
    pub bells: u64,
    /// Frames from other workers that it dropped, by reason.
    pub drops: DropCounts,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// The dialect that its members speak: `compat` or `native`.
    pub dialect: String,
    /// The largest frame, Ethernet head included.
    pub mtu: u32,
    /// The uplink that serves it, if any.
    pub uplink: Option<String>,
    /// How many boards it has.
    pub boards: usize,
}

/// A board of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// Its address.
    #[serde(with = "text")]
    pub mac: NicAddr,
    /// Its name, such as `node7:0`.
    pub name: String,
    /// Its partition.
    pub partition: String,
    /// To whom it belongs: `user 1000`, `domain 3`.
    pub owner: String,
    /// The guests that are attached as this board.
    #[serde(default)]
    pub guests: Vec<u64>,
    /// Its open endpoints.
    #[serde(default)]
    pub endpoints: Vec<u8>,
}

/// A guest: one attached process (or virtual machine).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// A number that is never used again while the daemon runs.
    pub id: u64,
    /// Its process, as this host sees it; 0 when unknown.
    #[serde(default)]
    pub pid: i64,
    /// To whom it belongs: `user 1000`, `domain 3`.
    pub owner: String,
    /// Its board's address.
    #[serde(with = "text")]
    pub mac: NicAddr,
    /// Its board's name.
    pub board: String,
    /// Its partition.
    pub partition: String,
    /// Seconds since it attached.
    #[serde(default)]
    pub age: f64,
    /// How many ports it has open.
    #[serde(default)]
    pub ports: usize,
    /// How many direct channels it has.
    #[serde(default)]
    pub direct: usize,
    /// What it did.
    #[serde(default)]
    pub counters: GuestCounters,
}

/// An open endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The guest it belongs to.
    pub guest: u64,
    /// Its board's address.
    #[serde(with = "text")]
    pub mac: NicAddr,
    /// Its board's name.
    pub board: String,
    /// Its endpoint number.
    pub endpoint: u8,
    /// The worker that serves it.
    #[serde(default)]
    pub worker: usize,
    /// What it sent and received.
    #[serde(default)]
    pub counters: PortCounters,
}

/// A direct channel between two endpoints of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direct {
    /// The guest that asked for it.
    pub guest: u64,
    /// Its endpoint.
    pub endpoint: u8,
    /// The other guest.
    pub peer_guest: u64,
    /// Its board's address.
    #[serde(with = "text")]
    pub peer_mac: NicAddr,
    /// Its endpoint.
    pub peer_endpoint: u8,
}

/// A board of another host, heard of on an uplink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address.
    #[serde(with = "text")]
    pub mac: NicAddr,
    /// Its name, once it has answered a query.
    pub name: Option<String>,
    /// Its number in this host's peer table.
    pub index: u16,
    /// The partition it is in.
    pub partition: String,
    /// The uplink it was heard on.
    pub uplink: String,
    /// Seconds since it was last heard of.
    #[serde(default)]
    pub silent: f64,
}

/// How a partition travels on an uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UplinkPartition {
    /// The partition's name.
    pub partition: String,
    /// `untagged`, `vlan 12` or `vni 5000`.
    pub tag: String,
}

/// An uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Uplink {
    /// Its name in the configuration.
    pub name: String,
    /// What it is: `ethernet`, `vxlan`, `memory`.
    pub kind: String,
    /// The largest frame it takes, Ethernet head included.
    pub mtu: u32,
    /// The worker that serves it.
    pub worker: usize,
    /// The partitions it serves.
    pub partitions: Vec<UplinkPartition>,
    /// What passed it, as the switch counts.
    pub counters: UplinkCounters,
    /// What the link itself counts, by name.
    pub link: BTreeMap<String, u64>,
}

/// Everything at once: what metrics are made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// The daemon.
    pub status: Status,
    /// The boards of this host.
    pub boards: Vec<Board>,
    /// The attached guests.
    pub guests: Vec<Guest>,
    /// The open endpoints.
    pub ports: Vec<Port>,
    /// The direct channels.
    pub direct: Vec<Direct>,
    /// The boards of other hosts.
    pub peers: Vec<Peer>,
    /// The uplinks.
    pub uplinks: Vec<Uplink>,
}
