//! The command line.

use std::path::PathBuf;

use clap::Parser;
use myrixen_settings::put;

use crate::config::{Raw, RawDevice};

/// Runs the front end of MyriXen in this Xen domain: programs attach to it as they attach to `myrixend` on a host.
///
/// What is given here overrides the configuration file. It stays in the foreground.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "myrixen-agent", version, about)]
pub struct Args {
    /// The configuration file [default: /etc/myrixen/agent.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration, say what it comes to, and exit
    #[arg(long)]
    pub check: bool,
    /// Stay in the foreground, which it always does
    #[arg(long)]
    pub foreground: bool,
    /// The socket where programs attach
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// That socket's file permissions, such as 0666
    #[arg(long, value_name = "MODE")]
    pub socket_mode: Option<String>,
    /// Where it is kept over a crash whose the open endpoints are
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// A device of this domain, by its number; may be given several times
    #[arg(long, value_name = "NUMBER")]
    pub device: Vec<u32>,
    /// Pages that all programs of this domain may grant
    #[arg(long, value_name = "PAGES")]
    pub grant_limit: Option<u32>,
    /// Entries of the domain's grant table
    #[arg(long, value_name = "ENTRIES")]
    pub grant_table: Option<u32>,
    /// What is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "MYRIXEN_LOG")]
    pub log: Option<String>,
}

impl Args {
    /// Puts what was given over what the file said.
    pub(crate) fn override_raw(&self, raw: &mut Raw) {
        put(&self.socket, &mut raw.agent.socket);
        put(&self.socket_mode, &mut raw.agent.socket_mode);
        put(&self.state_dir, &mut raw.agent.state_dir);
        put(&self.grant_limit, &mut raw.grants.limit);
        put(&self.grant_table, &mut raw.grants.table);
        put(&self.log, &mut raw.log.level);
        if !self.device.is_empty() {
            let device = |number: &u32| RawDevice { number: *number };
            raw.device = self.device.iter().map(device).collect();
        }
    }
}
