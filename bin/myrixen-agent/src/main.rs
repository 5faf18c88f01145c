//! The front end of MyriXen in a Xen domain: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match myrixen_agent::run(&myrixen_agent::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("myrixen-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
