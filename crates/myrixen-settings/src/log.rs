//! The log: to standard error, with a level that can be changed while the daemon runs.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// Changes what is logged.
#[derive(Debug)]
pub struct Log(Option<reload::Handle<EnvFilter, Registry>>);

impl Log {
    /// Starts logging. A program that has a log of its own keeps it.
    ///
    /// # Errors
    /// When `level` is neither a level nor a filter.
    pub fn start(level: &str) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(filter(level)?);
        // Under systemd each line is given a time of its own.
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        let lines = fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false);
        let registry = tracing_subscriber::registry().with(filter);
        let started = if journal {
            registry.with(lines.without_time()).try_init()
        } else {
            registry.with(lines).try_init()
        };
        Ok(Self(started.ok().map(|()| handle)))
    }

    /// Logs from now on as `level` says.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn set(&self, level: &str) -> anyhow::Result<()> {
        match &self.0 {
            Some(handle) => handle
                .reload(filter(level)?)
                .context("cannot change the log"),
            None => Ok(()),
        }
    }
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(level).with_context(|| {
        format!("log.level: {level:?} is no level (error, warn, info, debug, trace)")
    })
}
