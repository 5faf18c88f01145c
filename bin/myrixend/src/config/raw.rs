//! The configuration file's text, as serde reads it: nothing is checked but names and types.

use std::path::PathBuf;

use myrixen_settings::RawRule;
use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Raw {
    pub(crate) host: RawHost,
    pub(crate) limits: RawLimits,
    pub(crate) workers: RawWorkers,
    pub(crate) log: RawLog,
    pub(crate) uplink: Vec<RawUplink>,
    pub(crate) partition: Vec<RawPartition>,
    pub(crate) policy: Vec<RawRule>,
    pub(crate) board: Vec<RawBoard>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawHost {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) socket_mode: Option<String>,
    pub(crate) control: Option<PathBuf>,
    pub(crate) control_mode: Option<String>,
    pub(crate) dialect: Option<String>,
    pub(crate) xen: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLimits {
    pub(crate) max_guests: Option<u32>,
    pub(crate) ports: Option<usize>,
    pub(crate) peers: Option<usize>,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) burst_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawWorkers {
    pub(crate) count: Option<usize>,
    pub(crate) poll_us: Option<u64>,
    pub(crate) drain_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLog {
    pub(crate) level: Option<String>,
}

/// An uplink of either kind: that a setting belongs to the kind is checked later, so that an error
/// can still name the line of one that is misspelt.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUplink {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) interface: Option<String>,
    pub(crate) driver: Option<String>,
    pub(crate) busy_poll: Option<bool>,
    pub(crate) vlan: Option<u16>,
    pub(crate) listen: Option<String>,
    pub(crate) remotes: Option<Vec<String>>,
    pub(crate) learn_remotes: Option<usize>,
    pub(crate) vni: Option<u32>,
    pub(crate) mtu: Option<usize>,
    pub(crate) dialect: Option<String>,
    pub(crate) fault: Option<RawFault>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawFault {
    pub(crate) seed: u64,
    pub(crate) transmit: RawFaults,
    pub(crate) receive: RawFaults,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawFaults {
    pub(crate) drop: f64,
    pub(crate) duplicate: f64,
    pub(crate) reorder: f64,
    pub(crate) reorder_by: Option<usize>,
    pub(crate) delay: f64,
    pub(crate) delay_ms: Option<u64>,
    pub(crate) corrupt: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPartition {
    pub(crate) name: String,
    pub(crate) uplink: Option<String>,
    pub(crate) vlan: Option<u16>,
    pub(crate) vni: Option<u32>,
    pub(crate) dialect: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBoard {
    pub(crate) name: String,
    pub(crate) partition: Option<String>,
    pub(crate) mac: String,
}
