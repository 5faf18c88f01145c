//! The checked configuration, and how it is made of the file's text.

use std::path::PathBuf;

use myrixen_platform::Policy;
use myrixen_platform::process::DEFAULT_SOCKET;
use myrixen_settings::{ConfigError, RawRule};
use serde::Deserialize;

use crate::args::Args;
use crate::budget::Budget;

/// The whole file, as serde reads it: nothing is checked but names and types.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Raw {
    pub(crate) agent: RawAgent,
    pub(crate) grants: RawGrants,
    pub(crate) limits: RawLimits,
    pub(crate) log: RawLog,
    pub(crate) device: Vec<RawDevice>,
    pub(crate) policy: Vec<RawRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAgent {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) socket_mode: Option<String>,
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawGrants {
    pub(crate) table: Option<u32>,
    pub(crate) limit: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLimits {
    pub(crate) max_guests: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLog {
    pub(crate) level: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDevice {
    pub(crate) number: u32,
}

/// What the agent is to be. Made of a file by [`Config::load`] or of text by [`Config::parse`]; everything that can be
/// checked without touching the system has been.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where programs attach.
    pub socket: PathBuf,
    /// That socket's file permissions: who can write may attach.
    pub socket_mode: u32,
    /// Where it is kept over a crash whose the open endpoints are.
    pub state_dir: PathBuf,
    /// What may be lent to other domains.
    pub grants: Grants,
    /// The numbers of the domain's devices; never empty.
    pub devices: Vec<u32>,
    /// What is logged: a level, or a filter.
    pub log: String,
    /// Who may attach.
    pub policy: Policy,
}

/// What may be lent to other domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Of the domain's grant table.
    pub budget: Budget,
    /// Pages that all programs together may grant: the kernel is told so.
    pub limit: u32,
}

/// Entries of a grant table, unless the domain's configuration says otherwise: 64 frames of 512.
const TABLE: u32 = 32768;

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
        let file = |given: Option<PathBuf>, default: &str| given.unwrap_or_else(|| default.into());
        let mode = raw.agent.socket_mode;
        Ok(Self {
            socket: file(raw.agent.socket, DEFAULT_SOCKET),
            socket_mode: myrixen_settings::mode(mode, 0o660, "agent.socket_mode")?,
            state_dir: file(raw.agent.state_dir, "/run/myrixen"),
            grants: grants(&raw.grants)?,
            devices: devices(&raw.device)?,
            log: raw.log.level.unwrap_or_else(|| "info".into()),
            policy: myrixen_settings::policy(&raw.policy, raw.limits.max_guests, None)?,
        })
    }
}

fn grants(raw: &RawGrants) -> Result<Grants, ConfigError> {
    let table = raw.table.unwrap_or(TABLE);
    if !(512..=1 << 24).contains(&table) {
        let problem = format!("{table}: a grant table has 512 entries for each of its frames");
        return Err(ConfigError::setting("grants.table", problem));
    }
    let budget = Budget::of_table(table);
    let limit = raw.limit.unwrap_or(budget.usable());
    if limit > budget.usable() {
        let most = budget.usable();
        let problem = format!(
            "{limit} is more than {most}, seven eighths of `grants.table`: a table that was full once stays so until \
             the next boot"
        );
        return Err(ConfigError::setting("grants.limit", problem));
    }
    Ok(Grants { budget, limit })
}

fn devices(raw: &[RawDevice]) -> Result<Vec<u32>, ConfigError> {
    let mut numbers: Vec<u32> = Vec::new();
    for device in raw {
        if numbers.contains(&device.number) {
            let problem = format!("{} is there twice", device.number);
            return Err(ConfigError::setting("device.number", problem));
        }
        numbers.push(device.number);
    }
    if numbers.is_empty() {
        numbers.push(0);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Config::parse(text, "test").unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_serves_device_0_at_the_usual_socket() {
        let config = Config::parse("", "test").unwrap();
        assert_eq!(config.devices, [0]);
        assert_eq!(
            config.socket,
            std::path::Path::new("/run/myrixen/myrixen.sock")
        );
        assert_eq!(config.socket_mode, 0o660);
        assert_eq!(config.grants.limit, 28672);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (text, named) in [
            ("[agent]\nsocket_mode = '999'", "agent.socket_mode"),
            ("[grants]\ntable = 5", "grants.table"),
            ("[grants]\nlimit = 32768", "grants.limit"),
            ("[grants]\ntable = 1024\nlimit = 1000", "grants.limit"),
            ("[limits]\nmax_guests = 0", "limits.max_guests"),
            (
                "[[device]]\nnumber = 1\n[[device]]\nnumber = 1",
                "device.number",
            ),
            ("[[policy]]\nports = 3", "policy rule 1: users"),
        ] {
            let text = problem(text);
            assert!(text.contains(named), "{text}");
        }
        assert!(problem("[agent]\nsokcet = 'x'").contains("did you mean `socket`?"));
    }

    #[test]
    fn flags_override_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, "[agent]\nsocket = '/a'\n[[device]]\nnumber = 1\n").unwrap();
        let args = Args {
            config: Some(path),
            socket: Some("/b".into()),
            device: vec![2, 3],
            grant_table: Some(1024),
            ..Args::default()
        };
        let config = Config::load(&args).unwrap();
        assert_eq!(config.socket, std::path::Path::new("/b"));
        assert_eq!(config.devices, [2, 3]);
        assert_eq!(config.grants.limit, 896);
    }

    /// Every line of the file we ship is a comment with a default, or a section.
    #[test]
    fn the_packaged_file_says_what_holds_without_it() {
        let text = include_str!("../../../packaging/agent.toml");
        assert_eq!(
            Config::parse(text, "packaged").unwrap(),
            Config::parse("", "test").unwrap()
        );
        let shown: String = text
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|l| l.contains(" = "))
                    .unwrap_or(line)
            })
            .take_while(|line| !line.contains("[[device]]"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(
            Config::parse(&shown, "shown").unwrap(),
            Config::parse("", "test").unwrap()
        );
    }
}
