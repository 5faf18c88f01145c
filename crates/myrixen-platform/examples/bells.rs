//! What a ring costs, by pipe (our bells), eventfd and socket pair: one ring and one drain, in one thread.
//!
//! `cargo run --release -p myrixen-platform --example bells`

use std::time::Instant;

use myrixen_platform::bell::bell;
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const ROUNDS: u32 = 300_000;

fn measure(what: &str, mut round: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        round();
    }
    println!("{what}: {} ns", (start.elapsed() / ROUNDS).as_nanos());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ringer, waiter) = bell()?;
    let event = eventfd(0, EventfdFlags::NONBLOCK)?;
    let (unix, seqpacket) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (near, far) = rustix::net::socketpair(unix, seqpacket, SocketFlags::empty(), None)?;
    for _ in 0..3 {
        measure("pipe, drained by splice", || {
            ringer.ring();
            waiter.drain();
        });
        measure("eventfd", || {
            rustix::io::write(&event, &1u64.to_ne_bytes()).expect("room");
            rustix::io::read(&event, &mut [0; 8]).expect("a count");
        });
        measure("socket pair", || {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            rustix::net::send(&near, &[1], flags).expect("room");
            rustix::net::recv(&far, &mut [0; 8], RecvFlags::DONTWAIT).expect("a packet");
        });
    }
    Ok(())
}
