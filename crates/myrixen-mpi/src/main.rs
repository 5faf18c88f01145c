//! `myrixen-mpi`: MPI programs of ours and of others on the libfabric provider `myrixen`, within a host and between two. What each case found
//! is one line; the exit code says whether all is well. `docs/testing.md` has what is tested, `cargo xtask check --only mpi` runs it.

#![forbid(unsafe_code)]

mod check;

use std::process::ExitCode;

use clap::Parser as _;
use myrixen_netlab::Lab;

use crate::check::{Args, cases, judge};

fn main() -> ExitCode {
    let args = Args::parse();
    let well = run(&args).unwrap_or_else(|error| {
        eprintln!("myrixen-mpi: {error:#}");
        false
    });
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let cases = cases::all(args);
    if args.list {
        for case in &cases {
            println!("{}", case.name);
        }
        return Ok(true);
    }
    // What others wrote is fetched while there is a network, which a lab has not.
    let packages = check::packages::Packages::fetch(args, &cases);
    // While this process has one thread: that is when it can change namespaces.
    let lab = Lab::enter()?;
    judge::all(args, &lab, packages, &cases)
}
