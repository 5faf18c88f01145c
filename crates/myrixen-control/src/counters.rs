//! What is counted: frames and bytes each way, and every reason a frame can be dropped for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Declares the reasons once: the variant, its name in counters, and what it means.
macro_rules! reasons {
    ($($variant:ident $name:literal $meaning:literal),+ $(,)?) => {
        /// Why the back end dropped a frame. Every reason has a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $(#[doc = $meaning] $variant),+
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name the counter has in replies and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it means, in a sentence for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }

            /// Its place among the counters: below `DropReason::ALL.len()`.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    Malformed "malformed" "the frame's head could not be understood",
    ForgedEndpoint "forged_endpoint" "the source endpoint is not the one that belongs to the port",
    NotForGuests "not_for_guests" "a kind of frame that guests do not send: discovery is the back end's",
    BadDestination "bad_destination" "a broadcast or multicast destination where one endpoint is needed",
    NoRoute "no_route" "no board of this partition has the address, and the partition has no uplink",
    EndpointClosed "endpoint_closed" "the board is here, the endpoint is not open",
    BoardHeld "board_held" "the board's guest is being saved, restored or moved",
    RingFull "ring_full" "the receiving guest's ring had no room",
    TooLong "too_long" "longer than the receiver or the uplink takes",
    WorkerRingFull "worker_ring_full" "the ring to the worker that owns the receiver had no room",
    UplinkFault "uplink_fault" "the uplink could not send it",
    UnknownPartition "unknown_partition" "it came from the wire with a VLAN or VNI that no partition uses",
    NotHere "not_here" "it came from the wire for an address that no board here has",
    Reflected "reflected" "it came from the wire with the source address of a board of this host",
    DiscoveryBusy "discovery_busy" "a discovery frame came while too many others were waiting",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many frames were dropped for each reason. Travels as an object that names only the reasons
/// that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl DropCounts {
    /// Counts one frame.
    pub fn count(&mut self, reason: DropReason) {
        let cell = &mut self.0[reason.index()];
        *cell = cell.wrapping_add(1);
    }

    /// Says how many were dropped for `reason`.
    pub fn set(&mut self, reason: DropReason, count: u64) {
        self.0[reason.index()] = count;
    }

    /// How many were dropped for `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason.index()]
    }

    /// How many were dropped at all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that happened, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|&r| (r, self.get(r)))
            .filter(|&(_, n)| n > 0)
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.wrapping_add(theirs);
        }
    }
}

impl Serialize for DropCounts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(reason, n)| (reason.name(), n)))
    }
}

impl<'de> Deserialize<'de> for DropCounts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let by_name = BTreeMap::<String, u64>::deserialize(from)?;
        // A newer daemon may have reasons that this build does not know: they are left out.
        if by_name.len() > 4096 {
            return Err(D::Error::custom("more than 4096 reasons"));
        }
        let mut counts = Self::default();
        for &reason in DropReason::ALL {
            counts.0[reason.index()] = by_name.get(reason.name()).copied().unwrap_or(0);
        }
        Ok(counts)
    }
}

/// What one port (one open endpoint) sent and received since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortCounters {
    /// Frames taken from the guest's ring, dropped ones included.
    pub sent_frames: u64,
    /// Their bytes, Ethernet heads included.
    pub sent_bytes: u64,
    /// Frames put into the guest's ring.
    pub received_frames: u64,
    /// Their bytes, Ethernet heads included.
    pub received_bytes: u64,
    /// Nacks sent to this port because what it addressed is not open.
    pub nacks: u64,
    /// Frames of this port that were dropped; the reasons that speak of a receiver are counted
    /// here, at the sender.
    pub drops: DropCounts,
}

impl PortCounters {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.sent_frames = self.sent_frames.wrapping_add(other.sent_frames);
        self.sent_bytes = self.sent_bytes.wrapping_add(other.sent_bytes);
        self.received_frames = self.received_frames.wrapping_add(other.received_frames);
        self.received_bytes = self.received_bytes.wrapping_add(other.received_bytes);
        self.nacks = self.nacks.wrapping_add(other.nacks);
        self.drops.add(&other.drops);
    }
}

/// What one guest did since it attached: all its ports, those it closed included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestCounters {
    /// The sum over its ports.
    pub ports: PortCounters,
    /// Requests it made on the control channel.
    pub requests: u64,
    /// Requests that were refused.
    pub refusals: u64,
}

/// What passed one uplink since the back end started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UplinkCounters {
    /// Frames handed to the link.
    pub sent_frames: u64,
    /// Their bytes, without VLAN tag or tunnel heads.
    pub sent_bytes: u64,
    /// Frames that came from the link, dropped ones included.
    pub received_frames: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Nacks sent to the wire because an endpoint here is not open.
    pub nacks: u64,
    /// How often a guest had to wait because the link had no room.
    pub waits: u64,
    /// Frames from the wire that were dropped, by reason.
    pub drops: DropCounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_counts_travel_by_name_and_leave_out_zeros() {
        let mut counts = DropCounts::default();
        counts.count(DropReason::RingFull);
        counts.count(DropReason::RingFull);
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(json, r#"{"ring_full":2}"#);
        assert_eq!(serde_json::from_str::<DropCounts>(&json).unwrap(), counts);
    }

    #[test]
    fn reasons_of_a_newer_daemon_are_ignored() {
        let counts: DropCounts =
            serde_json::from_str(r#"{"ring_full":2,"solar_flare":9}"#).unwrap();
        assert_eq!(counts.get(DropReason::RingFull), 2);
        assert_eq!(counts.total(), 2);
    }

    #[test]
    fn each_reason_has_its_own_place_and_name() {
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
            let same = DropReason::ALL
                .iter()
                .filter(|r| r.name() == reason.name())
                .count();
            assert_eq!(same, 1, "{reason}");
        }
    }
}
