//! A token goes round a ring of threads. `cargo run --example ring_pass -- 4 1000`

use std::time::{Duration, Instant};

use myrixen::{Address, Endpoint, EndpointOptions, Fabric, Match, Result};

const KEY: u32 = 7;
const TOKEN: u64 = 1;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let members = args.next().and_then(|n| n.ok()).unwrap_or(4).max(2);
    let rounds = args.next().and_then(|n| n.ok()).unwrap_or(1000) as u64;

    let fabric = Fabric::connect_or_embed()?;
    let endpoints = (0..members)
        .map(|_| fabric.open(EndpointOptions::default().key(KEY)))
        .collect::<Result<Vec<_>>>()?;
    let addresses: Vec<Address> = endpoints.iter().map(Endpoint::address).collect();

    let start = Instant::now();
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = endpoints
            .iter()
            .enumerate()
            .map(|(rank, endpoint)| {
                let next = addresses[(rank + 1) % members];
                scope.spawn(move || pass(endpoint, next, rank == 0, rounds))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a member panicked"))
            .collect::<Result<Vec<u64>>>()
    })?;
    let hops = rounds * members as u64;
    println!(
        "the token made {hops} hops in {:?}, {:?} each; every member saw it {} times",
        start.elapsed(),
        start.elapsed() / u32::try_from(hops).unwrap_or(u32::MAX),
        results[0]
    );
    Ok(())
}

/// Hands the token on `rounds` times. Returns how often it came by.
fn pass(endpoint: &Endpoint, next: Address, first: bool, rounds: u64) -> Result<u64> {
    let next = endpoint.connect(next, KEY, Duration::from_secs(5))?;
    let mut token = [0; 8];
    let mut seen = 0;
    for round in 0..rounds {
        if first {
            endpoint.send(&next, TOKEN, &round.to_le_bytes())?;
        }
        endpoint.recv(Match::exact(TOKEN), &mut token)?;
        assert_eq!(
            u64::from_le_bytes(token),
            round,
            "the token came out of order"
        );
        seen += 1;
        if !first {
            endpoint.send(&next, TOKEN, &token)?;
        }
    }
    Ok(seen)
}
