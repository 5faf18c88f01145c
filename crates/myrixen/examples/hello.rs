//! Two endpoints, one message. `cargo run --example hello`
//!
//! Uses the back end of this machine if one runs, else one inside this program.

use std::time::Duration;

use myrixen::{EndpointOptions, Fabric, Match, Result};

const KEY: u32 = 0xc0ffee;

fn main() -> Result<()> {
    let fabric = Fabric::connect_or_embed()?;
    let receiver = fabric.open(EndpointOptions::default().key(KEY))?;
    let sender = fabric.open(EndpointOptions::default())?;

    // Match information tells messages apart: 64 bits, free for the program to use.
    let request = receiver.irecv(Match::exact(42), vec![0; 64])?;

    let peer = sender.connect(receiver.address(), KEY, Duration::from_secs(5))?;
    sender.send(&peer, 42, b"hello, fabric")?;

    let (buffer, got) = receiver.wait_recv(request)?;
    let text = String::from_utf8_lossy(&buffer[..got.len]);
    println!(
        "{} received {text:?} from {}",
        receiver.address(),
        got.source
    );
    Ok(())
}
