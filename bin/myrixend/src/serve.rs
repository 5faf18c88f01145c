//! From the command line to the end: signals, the service manager, and what is said in between.

use std::path::Path;

use anyhow::Context;
use myrixen_settings::Log;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Args;
use crate::config::{Config, Partition, UplinkKind};
use crate::daemon::Daemon;

/// Runs the daemon that `args` describe until a signal or an operator ends it.
///
/// # Errors
/// What could not be read, opened or started, and what helps.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load(args)?;
    if args.check {
        print!("{}", summary(&config));
        return Ok(());
    }
    // Before anything takes time: a signal that arrives meanwhile is obeyed afterwards.
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot listen for signals")?;
    let log = Log::start(&config.log)?;
    let drain = config.workers.drain;
    let name = config.host.name.clone();
    let socket = config.host.socket.display().to_string();
    let mut daemon = Daemon::start(config)?;
    tracing::info!(host = name, socket, "ready for guests");
    notify(&[NotifyState::Ready]);

    // An operator may end the back end as well: then nothing is left to wait for.
    let backend = daemon.backend().handle();
    let stop_waiting = signals.handle();
    let watcher = std::thread::Builder::new()
        .name("myrixen-end".into())
        .spawn(move || {
            backend.wait_finished();
            stop_waiting.close();
        })
        .context("cannot start a thread")?;
    let mut stopping = false;
    for signal in signals.forever() {
        match signal {
            SIGHUP => reload(args, &mut daemon, &log),
            _ if stopping => break,
            _ => {
                stopping = true;
                tracing::info!("stopping: guests are told, and reattach to the next back end");
                notify(&[NotifyState::Stopping]);
                daemon.backend().drain(drain);
            }
        }
    }
    if stopping {
        // A second signal: no more waiting for guests.
        daemon.backend().halt();
    }
    notify(&[NotifyState::Stopping]);
    daemon.join();
    let _ = watcher.join();
    tracing::info!("stopped");
    Ok(())
}

/// Runs the daemon that a configuration file describes.
///
/// # Errors
/// As [`run`].
pub fn run_with_config(path: &Path) -> anyhow::Result<()> {
    run(&Args {
        config: Some(path.to_path_buf()),
        ..Args::default()
    })
}

/// Tells the service manager, where there is one.
fn notify(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, what) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// Reads the configuration again and takes over what can be.
fn reload(args: &Args, daemon: &mut Daemon, log: &Log) {
    let config = match Config::load(args) {
        Ok(config) => config,
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::error!("the configuration is not reloaded: {error:#}");
            return;
        }
    };
    if let Err(error) = log.set(&config.log) {
        tracing::error!("{error:#}");
    }
    let rest = daemon.reload(config);
    tracing::info!("configuration reloaded");
    if !rest.is_empty() {
        tracing::warn!(
            "changed, and used after a restart only: {}",
            rest.join(", ")
        );
    }
}

/// What a configuration comes to, for `--check`.
fn summary(config: &Config) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let host = &config.host;
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "host {}: guests at {}, operators at {}",
        host.name,
        host.socket.display(),
        host.control.display()
    );
    for uplink in &config.uplinks {
        let what = match &uplink.kind {
            UplinkKind::Ethernet {
                interface, driver, ..
            } => format!("Ethernet by {interface}, driver {driver}"),
            UplinkKind::Vxlan {
                listen, remotes, ..
            } => {
                format!("VXLAN at {listen} with {} remote ends", remotes.len())
            }
        };
        let fault = if uplink.fault.is_some() {
            ", losing frames on purpose"
        } else {
            ""
        };
        let _ = writeln!(text, "uplink {}: {what}{fault}", uplink.name);
    }
    for partition in &config.partitions {
        let _ = writeln!(
            text,
            "partition {}: {}",
            partition.name,
            describe(partition, config)
        );
    }
    let _ = writeln!(
        text,
        "policy: {} rules, at most {} guests",
        config.policy.rules.len(),
        config.policy.max_guests
    );
    text
}

fn describe(partition: &Partition, config: &Config) -> String {
    let dialect = partition
        .dialect
        .map_or_else(|| "native".to_owned(), |d| d.to_string());
    let uplink = |place: u16| {
        config
            .uplinks
            .get(usize::from(place))
            .map_or("?", |u| &u.name)
    };
    match partition.uplink {
        Some((place, tag)) => format!("{dialect}, {tag} on {}", uplink(place)),
        None => format!("{dialect}, this host only"),
    }
}
