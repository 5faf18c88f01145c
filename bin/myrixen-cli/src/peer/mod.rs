//! `myrixen perf peer`: the same measurements over TCP and UDP between the same machines, to compare with. Blocking sockets:
//! both sides sleep while there is nothing to do.

mod tcp;
mod udp;

use std::time::Duration;

use crate::cli::{PeerArgs, PeerCommand, PeerRole, PeerServeArgs};
use crate::measure::{Label, Way};
use crate::output;
use crate::record::{self, Path, Record, Wait};
use crate::report::table;

/// Runs one of the commands.
pub(crate) fn run(command: &PeerCommand) -> anyhow::Result<()> {
    match command {
        PeerCommand::Tcp(PeerRole::Serve(args)) => tcp::serve(&announced(args, "tcp")?),
        PeerCommand::Udp(PeerRole::Serve(args)) => udp::serve(&announced(args, "udp")?),
        PeerCommand::Tcp(role) => measure("tcp", role, |to| Ok(Box::new(tcp::Client::new(to)?))),
        PeerCommand::Udp(role) => measure("udp", role, |to| Ok(Box::new(udp::Client::new(to)?))),
    }
}

/// Where to serve; says so first.
fn announced(args: &PeerServeArgs, name: &str) -> anyhow::Result<String> {
    let address = &args.address;
    output::print(&format!(
        "serving {name} at {address}; measure from elsewhere with\n    myrixen perf peer {name} pingpong {address}\n"
    ))?;
    Ok(address.clone())
}

fn measure(
    name: &str,
    role: &PeerRole,
    connect: impl Fn(&str) -> anyhow::Result<Box<dyn Way>>,
) -> anyhow::Result<()> {
    type Measured = fn(&Label, &mut dyn Way, u64, Duration) -> anyhow::Result<Record>;
    let (args, measured): (&PeerArgs, Measured) = match role {
        PeerRole::Serve(_) => unreachable!("served elsewhere"),
        PeerRole::Pingpong(args) => (args, Label::pingpong),
        PeerRole::Stream(args) => (args, Label::stream),
    };
    let label = Label {
        path: Path::Peer(name.to_owned()),
        link: None,
        wait: Wait::Sleep,
    };
    let mut way = connect(&args.address)?;
    let mut records = Vec::new();
    for &size in &args.sizes {
        records.push(measured(&label, &mut *way, size, args.seconds)?);
    }
    output::print(&format!("{}\n", table::details(&records)))?;
    match &args.json {
        Some(file) => record::write(file, &records),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
