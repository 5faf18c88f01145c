//! Chores of the MyriXen workspace.

fn main() {}
