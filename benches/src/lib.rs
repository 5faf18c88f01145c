//! Nothing but a place for the benches: `cargo xtask instructions`.

#![forbid(unsafe_code)]
