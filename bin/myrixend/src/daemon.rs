//! Opening everything a configuration names, and running a back end on it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use mxoe::frame::{Dialect, Mtu};
use myrixen_backend::boards::FixedBoard;
use myrixen_backend::ids::{PartitionId, UplinkId};
use myrixen_backend::secret::Secret;
use myrixen_backend::{Backend, BackendConfig, HostConfig, Limits, PartitionConfig, UplinkConfig};
use myrixen_link::Link;
use myrixen_link::ethernet::{EthernetConfig, EthernetLink};
use myrixen_link::fault::FaultLink;
use myrixen_link::vxlan::{VxlanConfig, VxlanLink};
use myrixen_platform::Meeting;
use myrixen_platform::process::Listener;
use myrixen_platform::xen::{XenError, XenMeeting};

use crate::config::{Config, Partition, Uplink, UplinkKind, Xen};
use crate::remotes::{Reloadable, Remotes};

/// How long guests of the daemon before this one have to come back until frames to endpoints that are not open are
/// answered. A guest looks for the daemon at least every half second.
const RETURN: Duration = Duration::from_secs(5);

/// A running daemon: a back end with its sockets. Dropping it stops it.
#[derive(Debug)]
pub struct Daemon {
    backend: Backend,
    config: Config,
    /// Of each uplink; unused where it is no tunnel.
    remotes: Vec<Remotes>,
    operator_socket: PathBuf,
}

impl Daemon {
    /// Opens the uplinks and the sockets that `config` names, and starts the back end. When it returns,
    /// guests can attach.
    ///
    /// # Errors
    /// What could not be opened, and what helps.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        let remotes: Vec<Remotes> = config.uplinks.iter().map(|_| Remotes::default()).collect();
        let mut uplinks = Vec::new();
        for (uplink, remotes) in config.uplinks.iter().zip(&remotes) {
            let link =
                open(uplink, remotes).with_context(|| format!("uplink {:?}", uplink.name))?;
            uplinks.push(UplinkConfig {
                name: uplink.name.clone(),
                link,
            });
        }
        let partitions = config
            .partitions
            .iter()
            .map(|partition| partition_config(partition, &uplinks))
            .collect::<anyhow::Result<_>>()?;
        let await_return = match Secret::is_kept(&config.host.state_dir) {
            true => RETURN,
            false => Duration::ZERO,
        };
        let secret = Secret::load_or_create(&config.host.state_dir)?;
        let listener = guests_socket(&config)?;
        let operator = operators_socket(&config.host.control, config.host.control_mode)?;
        let backend_config = BackendConfig {
            host: HostConfig {
                name: config.host.name.clone(),
                id: config.host.id.clone().into_bytes(),
                secret,
                await_return,
            },
            partitions,
            uplinks,
            boards: config.boards.iter().map(fixed_board).collect(),
            policy: config.policy.clone(),
            limits: Limits {
                ports: config.limits.ports,
                peers: config.limits.peers,
                quota: config.limits.quota,
            },
            workers: config.workers.count,
            poll: config.workers.poll,
            operator: Some(operator),
        };
        let mut meetings: Vec<Box<dyn Meeting>> = vec![Box::new(listener)];
        if let Some(domains) = domains(config.host.xen)? {
            meetings.push(Box::new(domains));
        }
        let backend = Backend::start(backend_config, meetings)?;
        let operator_socket = config.host.control.clone();
        Ok(Self {
            backend,
            config,
            remotes,
            operator_socket,
        })
    }

    /// The back end.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Takes over what can be changed while guests are attached: the policy, the remote ends of tunnels. Gives the
    /// settings that differ and need a restart; the log is the caller's.
    pub fn reload(&mut self, new: Config) -> Vec<&'static str> {
        if new.policy != self.config.policy {
            self.backend.set_policy(new.policy.clone());
            self.config.policy = new.policy.clone();
            tracing::info!("policy changed: it holds for guests that attach from now on");
        }
        for ((old, new), remotes) in self
            .config
            .uplinks
            .iter_mut()
            .zip(&new.uplinks)
            .zip(&self.remotes)
        {
            if let (
                UplinkKind::Vxlan { remotes: now, .. },
                UplinkKind::Vxlan {
                    remotes: wanted, ..
                },
            ) = (&mut old.kind, &new.kind)
                && now != wanted
            {
                remotes.set(wanted.clone());
                now.clone_from(wanted);
            }
        }
        self.config.log.clone_from(&new.log);
        let old = &self.config;
        let differs = [
            ("host", old.host != new.host),
            ("limits", old.limits != new.limits),
            ("workers", old.workers != new.workers),
            ("uplink", old.uplinks != new.uplinks),
            ("partition", old.partitions != new.partitions),
            ("board", old.boards != new.boards),
        ];
        differs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }

    /// Waits until the back end has stopped, which [`Handle::drain`](myrixen_backend::Handle::drain) or an operator brings about.
    pub fn join(self) {
        self.backend.join();
        let _ = fs::remove_file(&self.operator_socket);
    }
}

fn open(uplink: &Uplink, remotes: &Remotes) -> anyhow::Result<Box<dyn Link>> {
    let link: Box<dyn Link> = match &uplink.kind {
        UplinkKind::Ethernet {
            interface,
            driver,
            busy_poll,
        } => {
            let mut config = EthernetConfig::new(interface);
            config.mtu = uplink.mtu;
            config.driver = *driver;
            config.busy_poll = *busy_poll;
            Box::new(EthernetLink::open(&config)?)
        }
        UplinkKind::Vxlan {
            listen,
            remotes: ends,
            learn_remotes,
        } => {
            let mut config = VxlanConfig::new(*listen, ends.clone());
            config.mtu = uplink.mtu;
            config.learned_remotes = *learn_remotes;
            Box::new(Reloadable::new(VxlanLink::open(&config)?, remotes.clone()))
        }
    };
    Ok(match &uplink.fault {
        None => link,
        Some(fault) => Box::new(FaultLink::new(link, fault)?),
    })
}

/// A partition with the dialect it will speak: where only `native` is configured, the largest of the three
/// usual sizes that the uplink carries, else what it carries (a tunnel over standard Ethernet), so that hosts
/// with equal networks agree without saying so.
fn partition_config(
    partition: &Partition,
    uplinks: &[UplinkConfig],
) -> anyhow::Result<PartitionConfig> {
    let uplink = partition
        .uplink
        .map(|(place, tag)| (UplinkId::new(place), tag));
    let mtu = uplink
        .and_then(|(id, _)| uplinks.get(usize::from(id.get())))
        .map_or(usize::MAX, |uplink| uplink.link.describe().mtu);
    let dialect = match partition.dialect {
        Some(dialect) => dialect,
        None => native(mtu).with_context(|| {
            format!(
                "partition {:?}: its uplink carries frames of {mtu} bytes, too few for any dialect",
                partition.name
            )
        })?,
    };
    Ok(PartitionConfig {
        name: partition.name.clone(),
        dialect,
        uplink,
    })
}

/// The native dialect for an uplink that carries frames of `mtu` bytes: one of the usual sizes, or what fits.
fn native(mtu: usize) -> Option<Dialect> {
    let usual = [Mtu::DEFAULT, Mtu::TUNNELLED, Mtu::STANDARD];
    let fits = usual
        .into_iter()
        .find(|size| usize::from(size.get()) <= mtu);
    let mtu = fits.or_else(|| Mtu::new(u16::try_from(mtu).ok()?))?;
    Some(Dialect::Native { mtu })
}

fn fixed_board(board: &crate::config::Board) -> FixedBoard {
    FixedBoard {
        name: board.name.clone(),
        partition: PartitionId::new(board.partition),
        nic: board.nic,
    }
}

fn make_parent(path: &Path) -> anyhow::Result<()> {
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        None => Ok(()),
        Some(parent) => fs::create_dir_all(parent)
            .with_context(|| format!("cannot make the directory {}", parent.display())),
    }
}

/// Where the domains of a Xen host arrive, if this is one.
fn domains(wanted: Xen) -> anyhow::Result<Option<XenMeeting>> {
    if wanted == Xen::Off {
        return Ok(None);
    }
    match XenMeeting::open() {
        Ok(meeting) => {
            tracing::info!("serving domains of Xen");
            Ok(Some(meeting))
        }
        Err(XenError::NoDevice { .. }) if wanted == Xen::Auto => Ok(None),
        Err(error) if wanted == Xen::Auto => {
            tracing::warn!(%error, "domains of Xen are not served (host.xen)");
            Ok(None)
        }
        Err(error) => Err(error).context("host.xen is \"on\""),
    }
}

fn guests_socket(config: &Config) -> anyhow::Result<Listener> {
    let path = &config.host.socket;
    make_parent(path)?;
    Listener::bind(path, config.host.socket_mode).with_context(|| {
        format!(
            "cannot listen for guests at {} (`host.socket`)",
            path.display()
        )
    })
}

/// Listens for operators. A socket that a dead daemon left behind is replaced.
fn operators_socket(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    make_parent(path)?;
    let bind = || -> io::Result<UnixListener> {
        if fs::symlink_metadata(path).is_ok() {
            match UnixStream::connect(path) {
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                _ => return Err(io::ErrorKind::AddrInUse.into()),
            }
        }
        // Until its permissions are set nobody else may connect: the directory of a draft keeps them out.
        let draft = path.with_extension(format!("{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(mode))?;
        fs::rename(&draft, path)?;
        Ok(listener)
    };
    bind().with_context(|| {
        format!(
            "cannot listen for operators at {} (`host.control`)",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_whose_uplinks_carry_about_as_much_speak_the_same_dialect() {
        let frame = |mtu: usize| native(mtu).map(Dialect::max_frame);
        for (carried, used) in [
            // An Ethernet of 9000 bytes, VXLAN over it by IPv4 and IPv6, and over a cloud's of 8896.
            (9014, 9000),
            (9000 - 36, 8800),
            (9000 - 56, 8800),
            (8896 - 36, 8800),
            (8799, 1500),
            (1514, 1500),
            (1500 - 36, 1464),
        ] {
            assert_eq!(frame(carried), Some(used), "{carried}");
        }
        assert_eq!(native(200), None);
    }
}
