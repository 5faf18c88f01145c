//! The MyriXen daemon, as a library: what `myrixend` runs, and what the demo of `myrixen` runs in its hosts.
//!
//! It reads one TOML file, opens the uplinks and the sockets, starts a back end, and obeys signals: SIGTERM and
//! SIGINT drain it, SIGHUP has it read its file again. `docs/operations.md` is the manual.
//!
//! ```
//! let text = "
//!     [host]
//!     name = 'node7'
//!     [[partition]]
//!     name = 'blue'
//! ";
//! let config = myrixend::Config::parse(text, "an example")?;
//! assert_eq!(config.host.name, "node7");
//!
//! let error = myrixend::Config::parse("[host]\nnam = 'node7'", "myrixend.toml").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "myrixend.toml, line 2: unknown setting `nam`; did you mean `name`?"
//! );
//! # Ok::<(), myrixend::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

mod args;
pub mod config;
mod daemon;
mod remotes;
mod serve;

pub use args::Args;
pub use config::{Config, ConfigError};
pub use daemon::Daemon;
pub use serve::{run, run_with_config};

/// Where the configuration is unless said otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/myrixen/myrixend.toml";
