//! The checked configuration, and how it is made of the file's text.

pub(crate) mod raw;
#[cfg(test)]
mod tests;
mod uplinks;

use std::path::PathBuf;
use std::time::Duration;

use mxoe::addr::NicAddr;
use mxoe::frame::Dialect;
use myrixen_backend::Quota;
use myrixen_platform::Policy;
use myrixen_platform::process::DEFAULT_SOCKET;

use myrixen_settings::mode;

pub use myrixen_settings::ConfigError;
pub use uplinks::{Partition, Uplink, UplinkKind};

use crate::args::Args;
use raw::{Raw, RawHost, RawLimits, RawWorkers};

/// What the daemon is to be. Made of a file by [`Config::load`] or of text by [`Config::parse`]; everything that
/// can be checked without touching the system has been.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who this host is, and where its sockets are.
    pub host: Host,
    /// What everybody together may have.
    pub limits: Limits,
    /// The threads that move frames.
    pub workers: Workers,
    /// What is logged: a level, or a filter such as `info,myrixen_backend=debug`.
    pub log: String,
    /// The ways to other hosts.
    pub uplinks: Vec<Uplink>,
    /// The partitions; never empty.
    pub partitions: Vec<Partition>,
    /// Who may attach as what.
    pub policy: Policy,
    /// Boards with addresses of the operator's choice.
    pub boards: Vec<Board>,
}

/// Whether this is the driver domain of a Xen host, and serves its domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xen {
    /// If Xen's devices are there.
    Auto,
    /// Yes; it is an error when they are not.
    On,
    /// No.
    Off,
}

/// Who this host is, and where its sockets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// What tells it from every other host: the machine id unless configured.
    pub id: String,
    /// Where its secret is kept.
    pub state_dir: PathBuf,
    /// Where guests attach.
    pub socket: PathBuf,
    /// That socket's file permissions: who can write may attach.
    pub socket_mode: u32,
    /// Whether domains of Xen are served.
    pub xen: Xen,
    /// Where operators ask.
    pub control: PathBuf,
    /// That socket's file permissions.
    pub control_mode: u32,
}

/// What everybody together may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ports of all guests.
    pub ports: usize,
    /// Boards of other hosts that are remembered.
    pub peers: usize,
    /// What each guest may send.
    pub quota: Option<Quota>,
}

/// The threads that move frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// How many.
    pub count: usize,
    /// How long one looks on after the last frame before it sleeps.
    pub poll: Duration,
    /// How long guests are given to leave when the daemon stops.
    pub drain: Duration,
}

/// A board whose address the operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name, such as `node7:0`.
    pub name: String,
    /// Its partition, by place.
    pub partition: u16,
    /// Its address.
    pub nic: NicAddr,
}

impl Config {
    /// Reads what the command line and its file say. Without `--config`, [`crate::DEFAULT_CONFIG`] is read if it
    /// exists; without either, everything has its default.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        let mut raw: Raw = myrixen_settings::load(args.config.as_deref(), crate::DEFAULT_CONFIG)?;
        args.override_raw(&mut raw);
        Self::try_from(raw)
    }

    /// Reads a configuration from text; `name` is what errors call it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        Self::try_from(myrixen_settings::parse::<Raw>(text, name)?)
    }
}

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        let dialect = raw.host.dialect.as_deref();
        let dialect = dialect
            .map(|text| self::dialect(text, "host.dialect"))
            .transpose()?;
        let uplinks = uplinks::uplinks(&raw.uplink)?;
        let partitions = uplinks::partitions(&raw.partition, &raw.uplink, dialect)?;
        let names: Vec<&str> = partitions.iter().map(|p| p.name.as_str()).collect();
        let policy = myrixen_settings::policy(&raw.policy, raw.limits.max_guests, Some(&names))?;
        let boards = boards(&raw, &partitions)?;
        Ok(Self {
            limits: limits(&raw.limits)?,
            workers: workers(&raw.workers)?,
            host: host(raw.host)?,
            log: raw.log.level.unwrap_or_else(|| "info".into()),
            uplinks,
            partitions,
            policy,
            boards,
        })
    }
}

fn host(raw: RawHost) -> Result<Host, ConfigError> {
    let name = raw.name.unwrap_or_else(|| {
        let name = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        // The domain says where the host is, not which one it is.
        name.split('.').next().unwrap_or_default().to_owned()
    });
    if !myrixen_backend::boards::is_board_name(&format!("{name}:0")) {
        let problem = format!("{name:?} is not 1 to 77 letters, digits, '-', '_' or '.'");
        return Err(ConfigError::setting("host.name", problem));
    }
    let id = raw.id.unwrap_or_else(|| machine_id(&name));
    let file = |given: Option<PathBuf>, default: &str| given.unwrap_or_else(|| default.into());
    Ok(Host {
        id,
        name,
        state_dir: file(raw.state_dir, "/var/lib/myrixen"),
        socket: file(raw.socket, DEFAULT_SOCKET),
        socket_mode: mode(raw.socket_mode, 0o660, "host.socket_mode")?,
        control: file(raw.control, myrixen_control::Client::DEFAULT_PATH),
        control_mode: mode(raw.control_mode, 0o600, "host.control_mode")?,
        xen: xen(raw.xen.as_deref())?,
    })
}

fn xen(given: Option<&str>) -> Result<Xen, ConfigError> {
    match given {
        None | Some("auto") => Ok(Xen::Auto),
        Some("on") => Ok(Xen::On),
        Some("off") => Ok(Xen::Off),
        Some(other) => {
            let problem = format!("{other:?} is not \"auto\", \"on\" or \"off\"");
            Err(ConfigError::setting("host.xen", problem))
        }
    }
}

/// The machine's id, with the name so that two hosts made of one image differ as long as their names do.
fn machine_id(name: &str) -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    format!("{}/{name}", id.trim())
}

fn limits(raw: &RawLimits) -> Result<Limits, ConfigError> {
    let defaults = myrixen_backend::Limits::default();
    let wrong =
        |name: &str, problem: &str| Err(ConfigError::setting(format!("limits.{name}"), problem));
    let quota = match (raw.bytes_per_second, raw.burst_bytes) {
        (None, None) => None,
        (None, Some(_)) => return wrong("burst_bytes", "needs bytes_per_second"),
        (Some(0), _) => return wrong("bytes_per_second", "is 0: nobody could send anything"),
        (Some(bytes_per_second), burst) => {
            // A hundredth of a second, but several of the largest frames.
            let burst = burst.unwrap_or((bytes_per_second / 100).max(1 << 18));
            if burst < 1 << 16 {
                return wrong("burst_bytes", "is less than 65536, the largest frame");
            }
            Some(Quota {
                bytes_per_second,
                burst,
            })
        }
    };
    let peers = raw.peers.unwrap_or(defaults.peers);
    if peers > 65_535 {
        return wrong(
            "peers",
            "is more than 65535, the most that the protocol can number",
        );
    }
    Ok(Limits {
        ports: raw.ports.unwrap_or(defaults.ports),
        peers,
        quota,
    })
}

fn workers(raw: &RawWorkers) -> Result<Workers, ConfigError> {
    let count = raw.count.unwrap_or(1);
    if !(1..=256).contains(&count) {
        let problem = format!("{count}: 1 to 256 are possible");
        return Err(ConfigError::setting("workers.count", problem));
    }
    let poll = Duration::from_micros(raw.poll_us.unwrap_or(200));
    if poll > Duration::from_secs(1) {
        return Err(ConfigError::setting(
            "workers.poll_us",
            "is more than a second",
        ));
    }
    let drain = Duration::from_millis(raw.drain_ms.unwrap_or(500));
    if drain > Duration::from_secs(60) {
        return Err(ConfigError::setting(
            "workers.drain_ms",
            "is more than a minute",
        ));
    }
    Ok(Workers { count, poll, drain })
}

fn boards(raw: &Raw, partitions: &[Partition]) -> Result<Vec<Board>, ConfigError> {
    let mut boards: Vec<Board> = Vec::new();
    for board in &raw.board {
        let at = |setting: &str| format!("board {:?}: {setting}", board.name);
        let name = if board.name.contains(':') {
            board.name.clone()
        } else {
            format!("{}:0", board.name)
        };
        if !myrixen_backend::boards::is_board_name(&name) {
            return Err(ConfigError::setting(
                at("name"),
                "is not of the form name or name:0",
            ));
        }
        let partition = match &board.partition {
            None => 0,
            Some(wanted) => place(partitions, wanted).ok_or_else(|| {
                ConfigError::setting(at("partition"), format!("there is no partition {wanted:?}"))
            })?,
        };
        let nic: NicAddr = board
            .mac
            .parse()
            .map_err(|e| ConfigError::setting(at("mac"), format!("{e}")))?;
        if nic.is_multicast() || nic == NicAddr::ZERO {
            return Err(ConfigError::setting(
                at("mac"),
                "is no address that a board can have",
            ));
        }
        if boards.iter().any(|b| b.nic == nic) {
            return Err(ConfigError::setting(at("mac"), "is that of another board"));
        }
        boards.push(Board {
            name,
            partition,
            nic,
        });
    }
    Ok(boards)
}

/// A partition's place by its name.
fn place(partitions: &[Partition], name: &str) -> Option<u16> {
    u16::try_from(partitions.iter().position(|p| p.name == name)?).ok()
}

/// What a dialect setting says; `None` is `native`, of the size that the uplink carries.
fn dialect(text: &str, setting: &str) -> Result<Option<Dialect>, ConfigError> {
    if text == "native" {
        return Ok(None);
    }
    let dialect = text
        .parse()
        .map_err(|e| ConfigError::setting(setting, format!("{text:?}: {e}")))?;
    Ok(Some(dialect))
}
