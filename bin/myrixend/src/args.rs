//! The command line.

use std::path::PathBuf;

use clap::Parser;

use myrixen_settings::put;

use crate::config::raw::{Raw, RawUplink};

/// Runs the MyriXen back end of this host: a switch between its guests and its uplinks.
///
/// What is given here overrides the configuration file.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "myrixend", version, about)]
pub struct Args {
    /// The configuration file [default: /etc/myrixen/myrixend.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration, say what it comes to, and exit
    #[arg(long)]
    pub check: bool,
    /// The host's name, of which boards without a name take theirs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The socket where guests attach
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The socket where operators ask
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Where the host's secret is kept
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// Add an uplink: the network interface
    #[arg(long, value_name = "INTERFACE")]
    pub ethernet: Option<String>,
    /// Add an uplink: VXLAN over UDP, received at this address
    #[arg(long, value_name = "ADDRESS")]
    pub vxlan: Option<String>,
    /// A remote end of the VXLAN uplink; may be given several times
    #[arg(long, value_name = "ADDRESS", requires = "vxlan")]
    pub remote: Vec<String>,
    /// The network identifier of the VXLAN uplink's partition
    #[arg(long, value_name = "NUMBER", requires = "vxlan")]
    pub vni: Option<u32>,
    /// What partitions speak that do not say so: compat, native or native:MTU
    #[arg(long, value_name = "DIALECT")]
    pub dialect: Option<String>,
    /// How many workers move frames
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<usize>,
    /// How long a worker looks on before it sleeps, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub poll_us: Option<u64>,
    /// What is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "MYRIXEN_LOG")]
    pub log: Option<String>,
}

impl Args {
    /// Puts what was given over what the file said.
    pub(crate) fn override_raw(&self, raw: &mut Raw) {
        put(&self.name, &mut raw.host.name);
        put(&self.socket, &mut raw.host.socket);
        put(&self.control, &mut raw.host.control);
        put(&self.state_dir, &mut raw.host.state_dir);
        put(&self.dialect, &mut raw.host.dialect);
        put(&self.workers, &mut raw.workers.count);
        put(&self.poll_us, &mut raw.workers.poll_us);
        put(&self.log, &mut raw.log.level);
        if let Some(interface) = &self.ethernet {
            raw.uplink.push(RawUplink {
                name: "ethernet".into(),
                kind: "ethernet".into(),
                interface: Some(interface.clone()),
                ..RawUplink::default()
            });
        }
        if let Some(listen) = &self.vxlan {
            raw.uplink.push(RawUplink {
                name: "vxlan".into(),
                kind: "vxlan".into(),
                listen: Some(listen.clone()),
                remotes: Some(self.remote.clone()),
                vni: self.vni,
                ..RawUplink::default()
            });
        }
    }
}
