//! The sum of many numbers by several workers: scatter, compute, gather. `cargo run --example parallel_sum`

use std::time::Duration;

use myrixen::{Address, Endpoint, EndpointOptions, Fabric, Match, Result};

const KEY: u32 = 99;
const WORK: u64 = 1;
const PARTIAL: u64 = 2;
const WORKERS: usize = 3;

fn main() -> Result<()> {
    let fabric = Fabric::connect_or_embed()?;
    let root = fabric.open(EndpointOptions::default().key(KEY))?;
    let workers = (0..WORKERS)
        .map(|_| fabric.open(EndpointOptions::default().key(KEY)))
        .collect::<Result<Vec<_>>>()?;
    let numbers: Vec<u64> = (1..=3_000_000).collect();

    let sum = std::thread::scope(|scope| -> Result<u64> {
        let running: Vec<_> = workers
            .iter()
            .map(|worker| scope.spawn(|| work(worker, root.address())))
            .collect();
        let sum = lead(&root, &workers, &numbers)?;
        for worker in running {
            worker.join().expect("a worker panicked")?;
        }
        Ok(sum)
    })?;

    assert_eq!(sum, numbers.iter().sum::<u64>());
    println!(
        "{WORKERS} workers: the sum of {} numbers is {sum}",
        numbers.len()
    );
    Ok(())
}

/// Hands each worker its share, in messages of megabytes, and adds up what comes back.
fn lead(root: &Endpoint, workers: &[Endpoint], numbers: &[u64]) -> Result<u64> {
    let share = numbers.len().div_ceil(workers.len());
    for (worker, part) in workers.iter().zip(numbers.chunks(share)) {
        let peer = root.connect(worker.address(), KEY, Duration::from_secs(5))?;
        let bytes: Vec<u8> = part.iter().flat_map(|n| n.to_le_bytes()).collect();
        root.send(&peer, WORK, &bytes)?;
    }
    let mut sum = 0u64;
    for _ in workers {
        let mut partial = [0; 8];
        root.recv(Match::exact(PARTIAL), &mut partial)?;
        sum += u64::from_le_bytes(partial);
    }
    Ok(sum)
}

fn work(worker: &Endpoint, root: Address) -> Result<()> {
    // How long the share is, the message itself tells.
    let waiting = worker
        .probe(Match::exact(WORK), None)
        .expect("a probe without a timeout ends with a message");
    let (bytes, _) = worker.wait_recv(worker.irecv(Match::exact(WORK), vec![0; waiting.len])?)?;
    let sum: u64 = bytes
        .chunks_exact(8)
        .map(|n| u64::from_le_bytes(n.try_into().expect("eight bytes")))
        .sum();
    let root = worker.connect(root, KEY, Duration::from_secs(5))?;
    worker.send(&root, PARTIAL, &sum.to_le_bytes())
}
