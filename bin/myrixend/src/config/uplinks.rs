//! Uplinks and partitions.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use mxoe::frame::Dialect;
use myrixen_link::Tag;
use myrixen_link::ethernet::Driver;
use myrixen_link::fault::{FaultConfig, Faults};
use myrixen_link::vxlan::DEFAULT_PORT;
use myrixen_platform::message::Name;

use super::raw::{RawFault, RawFaults, RawPartition, RawUplink};
use super::{ConfigError, dialect};

/// A way to other hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: UplinkKind,
    /// The largest packet in bytes, without the Ethernet header; `None` is what the interface carries.
    pub mtu: Option<usize>,
    /// Frames to be lost on purpose, for tests.
    pub fault: Option<FaultConfig>,
}

/// What an uplink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UplinkKind {
    /// A network interface.
    Ethernet {
        /// Its name.
        interface: String,
        /// How frames get to it and from it.
        driver: Driver,
        /// With AF_XDP, the worker polls the card.
        busy_poll: bool,
    },
    /// VXLAN over UDP.
    Vxlan {
        /// Where to receive, and to send from.
        listen: SocketAddr,
        /// The other ends.
        remotes: Vec<SocketAddr>,
        /// Other ends that may be added because they sent something.
        learn_remotes: usize,
    },
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// The uplink that serves it, by place, and how it is marked there.
    pub uplink: Option<(u16, Tag)>,
    /// What its members speak; `None` is native, of the size that the uplink carries.
    pub dialect: Option<Dialect>,
}

pub(super) fn uplinks(raw: &[RawUplink]) -> Result<Vec<Uplink>, ConfigError> {
    let mut uplinks: Vec<Uplink> = Vec::new();
    for uplink in raw {
        if uplinks.iter().any(|u| u.name == uplink.name) {
            let setting = format!("uplink {:?}", uplink.name);
            return Err(ConfigError::setting(setting, "the name is there twice"));
        }
        uplinks.push(self::uplink(uplink)?);
    }
    Ok(uplinks)
}

fn uplink(raw: &RawUplink) -> Result<Uplink, ConfigError> {
    let at = |setting: &str| format!("uplink {:?}: {setting}", raw.name);
    let missing = |setting: &str| ConfigError::setting(at(setting), "is missing");
    let kind = match raw.kind.as_str() {
        "ethernet" => UplinkKind::Ethernet {
            interface: raw.interface.clone().ok_or_else(|| missing("interface"))?,
            driver: driver(raw.driver.as_deref())
                .map_err(|p| ConfigError::setting(at("driver"), p))?,
            busy_poll: raw.busy_poll.unwrap_or(false),
        },
        "vxlan" => {
            let listen = raw.listen.as_deref().ok_or_else(|| missing("listen"))?;
            let remotes = raw.remotes.iter().flatten();
            UplinkKind::Vxlan {
                listen: address(listen).map_err(|p| ConfigError::setting(at("listen"), p))?,
                remotes: remotes
                    .map(|r| address(r).map_err(|p| ConfigError::setting(at("remotes"), p)))
                    .collect::<Result<_, _>>()?,
                learn_remotes: raw.learn_remotes.unwrap_or(0),
            }
        }
        other => {
            let problem = format!("{other:?} is neither \"ethernet\" nor \"vxlan\"");
            return Err(ConfigError::setting(at("kind"), problem));
        }
    };
    let foreign = match kind {
        UplinkKind::Ethernet { .. } => [
            ("listen", raw.listen.is_some()),
            ("remotes", raw.remotes.is_some()),
            ("learn_remotes", raw.learn_remotes.is_some()),
            ("vni", raw.vni.is_some()),
        ],
        UplinkKind::Vxlan { .. } => [
            ("interface", raw.interface.is_some()),
            ("vlan", raw.vlan.is_some()),
            ("driver", raw.driver.is_some()),
            ("busy_poll", raw.busy_poll.is_some()),
        ],
    };
    if let Some((setting, _)) = foreign.iter().find(|(_, given)| *given) {
        let problem = format!("is not for an uplink of kind {:?}", raw.kind);
        return Err(ConfigError::setting(at(setting), problem));
    }
    let fault = raw.fault.as_ref().map(fault);
    if let Some(Err(error)) = fault.as_ref().map(FaultConfig::check) {
        return Err(ConfigError::setting(at("fault"), error.to_string()));
    }
    Ok(Uplink {
        name: raw.name.clone(),
        kind,
        mtu: raw.mtu,
        fault,
    })
}

fn driver(text: Option<&str>) -> Result<Driver, String> {
    match text {
        None | Some("auto") => Ok(Driver::Auto),
        Some("packet") => Ok(Driver::Packet),
        Some("xdp") => Ok(Driver::Xdp),
        Some(other) => Err(format!(
            "{other:?} is none of \"auto\", \"packet\", \"xdp\""
        )),
    }
}

/// An address with or without a port, or a host's name.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text.parse() {
        return Ok(SocketAddr::new(ip, DEFAULT_PORT));
    }
    let port = text
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let found = if port {
        text.to_socket_addrs()
    } else {
        (text, DEFAULT_PORT).to_socket_addrs()
    };
    match found.map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(format!("{text:?} has no address")),
        Err(error) => Err(format!("{text:?} is no address and no known host: {error}")),
    }
}

fn fault(raw: &RawFault) -> FaultConfig {
    FaultConfig {
        seed: raw.seed,
        transmit: faults(&raw.transmit),
        receive: faults(&raw.receive),
    }
}

fn faults(raw: &RawFaults) -> Faults {
    let defaults = Faults::default();
    Faults {
        drop: raw.drop,
        duplicate: raw.duplicate,
        reorder: raw.reorder,
        reorder_by: raw.reorder_by.unwrap_or(defaults.reorder_by),
        delay: raw.delay,
        delay_by: raw
            .delay_ms
            .map_or(defaults.delay_by, Duration::from_millis),
        corrupt: raw.corrupt,
    }
}

/// The partitions as configured, or one called `default` on the first uplink.
pub(super) fn partitions(
    raw: &[RawPartition],
    uplinks: &[RawUplink],
    default: Option<Option<Dialect>>,
) -> Result<Vec<Partition>, ConfigError> {
    let implied = RawPartition {
        name: "default".into(),
        uplink: uplinks.first().map(|u| u.name.clone()),
        ..RawPartition::default()
    };
    let raw = if raw.is_empty() {
        std::slice::from_ref(&implied)
    } else {
        raw
    };
    let mut partitions: Vec<Partition> = Vec::new();
    for one in raw {
        let partition = partition(one, uplinks, default)?;
        let at = |what: &str| format!("partition {:?}: {what}", one.name);
        if partitions.iter().any(|p| p.name == partition.name) {
            return Err(ConfigError::setting(at("name"), "is there twice"));
        }
        let same = |p: &&Partition| p.uplink.is_some() && p.uplink == partition.uplink;
        if let Some(other) = partitions.iter().find(same) {
            let problem = format!(
                "partition {:?} is on this uplink as well and not marked differently: give each \
                 a vlan or vni of its own",
                other.name
            );
            return Err(ConfigError::setting(at("uplink"), problem));
        }
        partitions.push(partition);
    }
    Ok(partitions)
}

fn partition(
    raw: &RawPartition,
    uplinks: &[RawUplink],
    default: Option<Option<Dialect>>,
) -> Result<Partition, ConfigError> {
    let at = |what: &str| format!("partition {:?}: {what}", raw.name);
    Name::new(raw.name.as_str()).map_err(|e| ConfigError::setting(at("name"), e.to_string()))?;
    let own = raw
        .dialect
        .as_deref()
        .map(|text| dialect(text, &at("dialect")))
        .transpose()?;
    let Some(wanted) = &raw.uplink else {
        if raw.vlan.is_some() || raw.vni.is_some() {
            return Err(ConfigError::setting(
                at("uplink"),
                "is missing: a vlan or vni is of one",
            ));
        }
        let dialect = own.or(default).flatten();
        return Ok(Partition {
            name: raw.name.clone(),
            uplink: None,
            dialect,
        });
    };
    let found = (0..).zip(uplinks).find(|(_, u)| u.name == *wanted);
    let Some((place, uplink)) = found else {
        let problem = format!("there is no uplink {wanted:?}");
        return Err(ConfigError::setting(at("uplink"), problem));
    };
    let theirs = uplink.dialect.as_deref();
    let theirs = theirs
        .map(|text| dialect(text, &format!("uplink {wanted:?}: dialect")))
        .transpose()?;
    let dialect = own.or(theirs).or(default).flatten();
    Ok(Partition {
        name: raw.name.clone(),
        uplink: Some((place, tag(raw, uplink)?)),
        dialect,
    })
}

/// How a partition is marked on its uplink.
fn tag(raw: &RawPartition, uplink: &RawUplink) -> Result<Tag, ConfigError> {
    let at = |what: &str| format!("partition {:?}: {what}", raw.name);
    if uplink.kind == "vxlan" {
        if raw.vlan.is_some() {
            return Err(ConfigError::setting(
                at("vlan"),
                "its uplink is VXLAN: give a vni",
            ));
        }
        return match raw.vni.or(uplink.vni) {
            None => Err(ConfigError::setting(
                at("vni"),
                "is missing, here and in its uplink",
            )),
            Some(vni) if vni < 1 << 24 => Ok(Tag::Vni(vni)),
            Some(vni) => Err(ConfigError::setting(
                at("vni"),
                format!("{vni} is more than 16777215"),
            )),
        };
    }
    if raw.vni.is_some() {
        return Err(ConfigError::setting(
            at("vni"),
            "its uplink is Ethernet: give a vlan",
        ));
    }
    match raw.vlan.or(uplink.vlan) {
        None => Ok(Tag::None),
        Some(vlan @ 1..=4094) => Ok(Tag::Vlan(vlan)),
        Some(vlan) => Err(ConfigError::setting(
            at("vlan"),
            format!("{vlan} is not 1 to 4094"),
        )),
    }
}
