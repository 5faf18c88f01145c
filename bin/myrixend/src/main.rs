//! The MyriXen daemon.

fn main() {}
