//! The `myrixen` command: see the fabric work, measure it, look into it.
#![forbid(unsafe_code)]

mod bench;
mod cli;
mod counters;
mod decode;
mod demo;
mod docs;
mod held;
mod info;
mod measure;
mod output;
mod pattern;
mod peer;
mod perf;
mod progress;
mod record;
mod report;
mod scale;
mod shares;
mod system;
mod units;
mod xen;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("myrixen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Perf(command) => perf::run(&command),
        Command::Counters(args) => counters::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Verify(args) => demo::verify::run(&args),
        Command::Attach(args) => xen::attach(&args),
        Command::Detach(args) => xen::detach(&args),
        Command::Suspend(args) => xen::suspend(&args),
        Command::Resume(args) => xen::resume(&args),
        Command::List(args) => xen::list(&args),
        Command::Man { directory } => docs::write_man_pages(&directory),
        Command::Completions { shell } => docs::print_completions(shell),
        Command::DemoPart(part) => demo::parts::run(part),
        Command::ScalePart(part) => scale::run_part(&part),
    }
}
