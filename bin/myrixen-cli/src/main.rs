//! The myrixen command.

fn main() {}
