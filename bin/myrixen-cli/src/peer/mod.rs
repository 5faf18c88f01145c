//! `myrixen perf peer`: the same measurements over TCP and UDP between the same machines, to compare with. Blocking sockets:
//! both sides sleep while there is nothing to do.

mod datagrams;
mod line;
mod memcpy;
mod raw;
mod tcp;
mod udp;
mod xdp;

use std::time::Duration;

use anyhow::bail;

use crate::cli::{PeerArgs, PeerCommand, PeerRole, PeerServeArgs};
use crate::measure::{Label, Way};
use crate::output;
use crate::record::{self, Path, Record, Wait};
use crate::report::table;

/// Runs one of the commands.
pub(crate) fn run(command: &PeerCommand) -> anyhow::Result<()> {
    match command {
        PeerCommand::Tcp(PeerRole::Serve(args)) => {
            tcp::serve(&args.address, false, &|| announce(args, "tcp"))
        }
        PeerCommand::Udp(PeerRole::Serve(args)) => {
            udp::serve(&args.address, false, &|| announce(args, "udp"))
        }
        PeerCommand::Tcp(role) => {
            measure("tcp", role, |to| Ok(Box::new(tcp::Client::new(to, false)?)))
        }
        PeerCommand::Udp(role) => measure("udp", role, |to| Ok(Box::new(udp::client(to, false)?))),
    }
}

/// A peer that `myrixen bench` measures in two processes, or in one that needs no partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    Line,
    Memcpy,
    Raw,
    Xdp,
    Udp,
    Tcp,
    /// None of somebody else's, but our own path through a back end that two threads of one process drive: where there are no cores for a
    /// third to spin on.
    Switched,
}

impl Kind {
    /// As the command line names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Memcpy => "memcpy",
            Self::Raw => "raw",
            Self::Xdp => "xdp",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Switched => "switched",
        }
    }

    /// As records name it.
    pub(crate) fn path(self) -> Path {
        match self {
            Self::Switched => Path::Switched,
            peer => Path::Peer(peer.name().to_owned()),
        }
    }

    /// Whether somebody has to serve.
    pub(crate) fn has_partner(self) -> bool {
        !matches!(self, Self::Line | Self::Memcpy | Self::Switched)
    }

    /// Serves at an address (of `raw` and `xdp`, an interface), for ever; `ready` is called when it does.
    pub(crate) fn serve(self, at: &str, wait: Wait, ready: &dyn Fn()) -> anyhow::Result<()> {
        let spin = wait == Wait::Spin;
        match self {
            Self::Line | Self::Memcpy | Self::Switched => bail!("{} has no partner", self.name()),
            Self::Raw => raw::serve(at, spin, ready),
            Self::Xdp => xdp::serve(at, spin, ready),
            Self::Udp => udp::serve(at, spin, ready),
            Self::Tcp => tcp::serve(at, spin, ready),
        }
    }

    /// The way to who serves there.
    pub(crate) fn way(self, to: &str, wait: Wait) -> anyhow::Result<Box<dyn Way>> {
        let spin = wait == Wait::Spin;
        Ok(match self {
            Self::Line => Box::new(line::Client::new()),
            Self::Memcpy => Box::new(memcpy::Client),
            Self::Raw => Box::new(raw::client(to, spin)?),
            Self::Xdp => Box::new(xdp::client(to, spin)?),
            Self::Udp => Box::new(udp::client(to, spin)?),
            Self::Tcp => Box::new(tcp::Client::new(to, spin)?),
            Self::Switched => bail!("measured in one process"),
        })
    }
}

/// Says where is served.
fn announce(args: &PeerServeArgs, name: &str) {
    let address = &args.address;
    let text = format!(
        "serving {name} at {address}; measure from elsewhere with\n    myrixen perf peer {name} pingpong {address}\n"
    );
    // Whoever does not want to know it is served all the same.
    let _ = output::print(&text);
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
        parties: None,
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
