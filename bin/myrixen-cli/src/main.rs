//! The `myrixen` command.
#![forbid(unsafe_code)]

mod pattern;
mod record;
mod report;
mod units;

fn main() {}
