//! The other process: opens its end, sends back, or takes in and says how far it is. One order a line, each answered by `ready`.

use std::io::{BufRead as _, Write as _};

use anyhow::{Context as _, bail};

use crate::channel::{Channel, window};

/// What a partner says when it is about to do what it was told.
pub(crate) const READY: &str = "ready";

/// Does what it is told until its standard input ends.
pub(crate) fn serve() -> anyhow::Result<()> {
    // Whoever started it may be killed while this looks for messages.
    let signal = rustix::process::Signal::KILL;
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    let mut open: Option<(Channel, usize)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["open", name, size] => {
                let size = size.parse()?;
                open = Some((Channel::open(name, size, false)?, size));
                say_ready()?;
            }
            [what @ ("echo" | "take"), count] => {
                let (channel, size) = open.as_ref().context("no channel is open")?;
                say_ready()?;
                let count = count.parse()?;
                if what == "echo" {
                    echo(channel, count)?;
                } else {
                    take(channel, *size, count)?;
                }
            }
            _ => bail!("{line:?} is no order"),
        }
    }
    Ok(())
}

fn say_ready() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{READY}")?;
    Ok(out.flush()?)
}

fn echo(channel: &Channel, count: u64) -> anyhow::Result<()> {
    for _ in 0..count {
        let message = channel.receive()?;
        channel.send(message.payload())?;
    }
    Ok(())
}

/// Says how many have come, four times in each window, and after the last.
fn take(channel: &Channel, size: usize, count: u64) -> anyhow::Result<()> {
    let step = window(size) / 4;
    for number in 1..=count {
        drop(channel.receive()?);
        if number % step == 0 || number == count {
            channel.send(&number.to_le_bytes())?;
        }
    }
    Ok(())
}
