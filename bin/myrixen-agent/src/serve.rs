//! From the command line to the end: signals, the service manager where there is one, and what is said in between.

use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use anyhow::Context;
use myrixen_platform::Waker;
use myrixen_settings::Log;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::agent;
use crate::args::Args;
use crate::broker::Broker;
use crate::config::Config;

/// Runs the agent that `args` describe until a signal ends it. Programs go on with what they have.
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
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot listen for signals")?;
    let log = Log::start(&config.log)?;
    let mut broker = agent::start(&config)?;
    let signals = listen(signals, broker.waker())?;
    let socket = config.socket.display().to_string();
    tracing::info!(socket, "ready for programs");
    notify(&[NotifyState::Ready]);
    loop {
        for signal in signals.try_iter() {
            if signal != SIGHUP {
                notify(&[NotifyState::Stopping]);
                // The device's state stays: a state that says good-bye would take the programs' ports.
                tracing::info!("stopped: programs go on, and attach to the next agent");
                return Ok(());
            }
            reload(args, &config, &mut broker, &log);
        }
        broker.wait(Instant::now(), None).context("cannot wait")?;
        broker.work(Instant::now());
    }
}

/// Signals, each of which wakes the broker.
fn listen(mut signals: Signals, waker: Waker) -> anyhow::Result<Receiver<i32>> {
    let (send, receive) = channel();
    std::thread::Builder::new()
        .name("myrixen-signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if send.send(signal).is_err() {
                    return;
                }
                waker.wake();
            }
        })
        .context("cannot start a thread")?;
    Ok(receive)
}

/// Tells the service manager, where there is one.
fn notify(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, what) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}

/// Reads the configuration again and takes over what can be.
fn reload(args: &Args, old: &Config, broker: &mut Broker, log: &Log) {
    let new = match Config::load(args) {
        Ok(new) => new,
        Err(error) => {
            let error = anyhow::Error::from(error);
            return tracing::error!("the configuration is not reloaded: {error:#}");
        }
    };
    if let Err(error) = log.set(&new.log) {
        tracing::error!("{error:#}");
    }
    broker.set_policy(new.policy.clone());
    tracing::info!("configuration reloaded: the policy holds for programs that attach from now on");
    let kept = Config {
        policy: new.policy.clone(),
        log: new.log.clone(),
        ..old.clone()
    };
    if kept != new {
        tracing::warn!("`agent`, `grants` and `device` are used after a restart only");
    }
}

/// What a configuration comes to, for `--check`.
fn summary(config: &Config) -> String {
    let devices: Vec<String> = config.devices.iter().map(u32::to_string).collect();
    format!(
        "devices {}: programs at {}\n\
         grants: {} pages for all programs, rings of at most {} bytes\n\
         policy: {} rules, at most {} programs\n",
        devices.join(", "),
        config.socket.display(),
        config.grants.limit,
        config.grants.budget.largest_ring(9000),
        config.policy.rules.len(),
        config.policy.max_guests
    )
}
