//! Opens endpoints until the board has no more, and sends a message around all of them: how many a guest can have, and what the
//! limit is that it meets.
//!
//! `cargo run --example endpoints [-- RING_BYTES]`, where a back end runs.

use std::time::Duration;

use myrixen::{EndpointOptions, Fabric, Match};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ring_bytes = std::env::args()
        .nth(1)
        .map_or(Ok(1 << 15), |text| text.parse())?;
    let fabric = Fabric::connect()?;
    let options = || {
        EndpointOptions::default()
            .ring_bytes(ring_bytes)
            .direct(false)
    };
    let mut endpoints = Vec::new();
    let refusal = loop {
        match fabric.open(options()) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(refusal) => break refusal,
        }
    };
    println!(
        "{} endpoints are open; the next one: {refusal}",
        endpoints.len()
    );

    // Around once: each to the next, the last to the first.
    let patience = Duration::from_secs(60);
    for at in 0..endpoints.len() {
        let (from, to) = (&endpoints[at], &endpoints[(at + 1) % endpoints.len()]);
        let peer = from.connect(to.address(), 0, patience)?;
        let text = format!("hello from {}", from.address());
        from.send(&peer, 1, text.as_bytes())?;
        let mut buffer = [0; 100];
        let received = to
            .recv_timeout(Match::exact(1), &mut buffer, patience)?
            .ok_or("nothing came")?;
        assert_eq!(&buffer[..received.len], text.as_bytes());
    }
    println!("a message went around all of them");
    Ok(())
}
