//! What can be written on the command line of `myrixen perf scale`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::parse_seconds;

#[derive(Clone, Debug, Args)]
pub(crate) struct ScaleArgs {
    /// Guests on one back end, each a process with two endpoints
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub(crate) guests: u16,
    /// How long guests talk, and how long they are watched while they are idle, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// Connections of one endpoint; fewer where the limit on open files does not allow as many endpoints
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) connections: u32,
    /// Round trips that processor time is measured of
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub(crate) round_trips: u64,
    /// Measures only these, with commas between them
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Part>,
    /// Writes the records to FILE as a JSON array
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Many guests on one back end: their memory, their idleness, their shares
    Crowd,
    /// How long it takes to open an endpoint, and to connect
    Setup,
    /// Connections of one endpoint by the thousand
    Connections,
    /// The processor time of guests that sleep between messages
    Sleep,
}

impl ScaleArgs {
    /// Whether this is to be measured.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// The processes that the measurement consists of.
#[derive(Debug, Subcommand)]
pub(crate) enum ScalePart {
    /// Guests in one process, driven through its standard input
    Guests(GuestsArgs),
    /// Sends back what it reads, in messages of so many bytes
    Echo { size: usize },
}

#[derive(Debug, Args)]
pub(crate) struct GuestsArgs {
    /// The back end's socket.
    #[arg(long)]
    pub(crate) socket: PathBuf,
    /// The names of the guests' boards.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) boards: Vec<String>,
}
