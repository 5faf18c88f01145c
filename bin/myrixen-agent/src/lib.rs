//! The front end of MyriXen in a Xen domain, as a library: what `myrixen-agent` runs.
//!
//! It brings the domain's devices to Connected and is, at the socket where a host has `myrixend`, the meeting place of the domain's
//! programs: it lends pages for their queue pairs to the back end and to other domains, hands the descriptors on, and is not on the data
//! path. Programs outlive it. `docs/xen.md` is the contract, `docs/operations.md` the manual.
//!
//! ```
//! let text = "
//!     [agent]
//!     socket_mode = '0666'
//!     [[device]]
//!     number = 1
//! ";
//! let config = myrixen_agent::Config::parse(text, "an example")?;
//! assert_eq!(config.devices, [1]);
//!
//! let error = myrixen_agent::Config::parse("[grants]\nlimits = 5", "agent.toml").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "agent.toml, line 2: unknown setting `limits`; did you mean `limit`?"
//! );
//! # Ok::<(), myrixen_agent::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

mod agent;
mod args;
mod broker;
mod budget;
mod config;
mod kept;
mod serve;
mod upstream;
mod xen;

pub use args::Args;
pub use broker::{Broker, Rules};
pub use budget::Budget;
pub use config::{Config, Grants};
pub use myrixen_settings::ConfigError;
pub use serve::run;
pub use upstream::{Lender, Upstream};

/// Where the configuration is unless said otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/myrixen/agent.toml";
