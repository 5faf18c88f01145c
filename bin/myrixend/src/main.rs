//! The MyriXen daemon: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match myrixend::run(&myrixend::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("myrixend: {error:#}");
            ExitCode::FAILURE
        }
    }
}
