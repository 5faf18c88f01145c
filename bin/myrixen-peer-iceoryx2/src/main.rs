//! Measures iceoryx2 between two processes of this host, for `myrixen bench`: latency, bandwidth and message rate of zero-copy
//! publish/subscribe, both ends looking without end. Prints one record a line, as `docs/perf-json.md` has them.
//!
//! The sender writes each message into memory that the receiver then reads in place, so each message is copied once; the
//! receiver touches none of it in a stream, and sends it back in a ping-pong.
#![forbid(unsafe_code)]

mod channel;
mod measure;
mod partner;

use std::time::Duration;

use clap::{Args, Parser};

/// Measures iceoryx2 between two processes of this host
#[derive(Debug, Parser)]
#[command(version)]
enum Command {
    /// Measures, with a partner process that it starts itself
    Measure(Plan),
    /// The partner, told through its standard input what to do
    #[command(hide = true)]
    Partner,
}

/// Which sizes, in bytes, and how long each.
#[derive(Debug, Args)]
struct Plan {
    /// Sizes of messages whose half round trip is measured, with commas between them
    #[arg(long, value_delimiter = ',')]
    pingpong: Vec<usize>,
    /// Sizes of messages of which a stream is measured
    #[arg(long, value_delimiter = ',')]
    stream: Vec<usize>,
    /// Sizes of messages whose rate is measured
    #[arg(long, value_delimiter = ',')]
    rate: Vec<usize>,
    /// Time for each figure, in milliseconds
    #[arg(long, default_value_t = 60)]
    each_ms: u64,
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Partner => partner::serve(),
        Command::Measure(plan) => {
            let each = Duration::from_millis(plan.each_ms);
            let mut client = measure::Client::start()?;
            for size in plan.pingpong {
                println!("{}", client.pingpong(size, each)?);
            }
            for size in plan.stream {
                println!("{}", client.stream(size, each)?);
            }
            for size in plan.rate {
                println!("{}", client.rate(size, each)?);
            }
            Ok(())
        }
    }
}
