//! Connections of one endpoint by the thousand, to as many real endpoints.

use super::hand::Hand;
use super::order::Order;
use super::{HOST, OTHER_HOST, Stage};
use crate::demo::Place;
use crate::held::{Held, Limit, float};

/// Endpoints of a guest: a board has 256.
const EACH: u32 = 250;
/// Guests of a process, so that it stays below common limits on open files.
const GUESTS: u32 = 10;
/// Bytes of each ring of those who are connected to: as small as can be, there are thousands.
const RING: u32 = 1 << 16;
/// Open files of a back end for each endpoint, and of a guest.
const FILES: (u64, u64) = (3, 5);
/// Open files of a back end for other things: 6 for each guest, the uplink.
const OTHER_FILES: u64 = 1000;

/// Connects one endpoint to `wanted` others, half of them on this host and half across the wire.
pub(super) fn run(stage: &mut Stage, wanted: u32) -> anyhow::Result<Vec<Held>> {
    stage.start_daemon(HOST)?;
    stage.start_daemon(OTHER_HOST)?;
    let records = measure(stage, wanted)?;
    stage.stop_daemons()?;
    Ok(records)
}

fn measure(stage: &mut Stage, wanted: u32) -> anyhow::Result<Vec<Held>> {
    let (count, guests) = fitting(wanted, stage.open_files);
    stage.progress.step(&format!("Opening {count} endpoints"));
    if count < wanted {
        stage.progress.note(&format!(
            "no more than {count} connections are possible with {} open files a process",
            stage.open_files
        ));
    }
    let mut hands = gather(stage, guests)?;
    let (places, _) = open(&mut hands, count)?;
    stage
        .progress
        .step(&format!("Connecting to {count} endpoints"));
    let mut client = Hand::guests(&stage.site, HOST, &["client".to_owned()])?;
    client.hear_ready()?;
    client.open(1, 1 << 20, false)?;
    let before = client.memory()?.anonymous;
    let (_, all_ns) = client.connect(0, places)?;
    let after = client.memory()?.anonymous;
    let connections = float(count.into());
    let each = float(after.saturating_sub(before)) / connections;
    // The bar is for ten thousand, and those who cannot have as many are held against their part of it.
    let limit = 3.0 * connections / 10_000.0;
    let seconds = float(all_ns) / 1e9;
    let time = Held::new("connections", "all", seconds, "s", Limit::Below(limit))
        .with("connections", connections);
    let memory = Held::new("connections", "each", each, "bytes", Limit::Below(2048.0))
        .with("connections", connections);
    stage
        .progress
        .finish(&format!("{}, {}", time.summary(), memory.summary()));
    Ok(vec![time, memory])
}

/// How many connections there can be, and to how many guests on each of the two hosts.
fn fitting(wanted: u32, open_files: u64) -> (u32, u32) {
    let of_back_end = open_files.saturating_sub(OTHER_FILES) / FILES.0;
    let each_host = u32::try_from(of_back_end).unwrap_or(u32::MAX);
    // A guest's process has so many endpoints as its guests have together.
    let count = wanted.min(each_host.saturating_mul(2));
    (count, count.div_ceil(2).div_ceil(EACH))
}

/// Guests on both hosts, some in each process.
fn gather(stage: &Stage, guests: u32) -> anyhow::Result<Vec<(Hand, u32)>> {
    let together = u64::from(EACH * GUESTS) * FILES.1 + OTHER_FILES;
    // Where not even that is allowed, each has a process.
    let together = if stage.open_files > together {
        GUESTS
    } else {
        1
    };
    let mut hands = Vec::new();
    for host in [HOST, OTHER_HOST] {
        for first in (0..guests).step_by(together as usize) {
            let many = together.min(guests - first);
            let names = (first..first + many).map(|number| format!("h{host}g{number}"));
            let names: Vec<String> = names.collect();
            hands.push((Hand::guests(&stage.site, host, &names)?, many));
        }
    }
    for (hand, _) in &mut hands {
        hand.hear_ready()?;
    }
    Ok(hands)
}

/// Opens the endpoints that are connected to; gives `count` of them, those of both hosts in turn, and how many there are.
fn open(hands: &mut [(Hand, u32)], count: u32) -> anyhow::Result<(Vec<Place>, usize)> {
    for (hand, _) in hands.iter_mut() {
        hand.tell(&Order::Open {
            each: EACH as usize,
            ring_bytes: RING,
            direct: false,
        })?;
    }
    let mut all = Vec::new();
    for (hand, _) in hands.iter_mut() {
        all.push(hand.hear_opened()?.0);
    }
    let there = all.split_off(all.len() / 2).concat();
    let here = all.concat();
    let opened = here.len() + there.len();
    let turns = here
        .into_iter()
        .zip(there)
        .flat_map(|(here, there)| [here, there]);
    Ok((turns.take(count as usize).collect(), opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_as_files_allow() {
        assert_eq!(fitting(10_000, 20_000), (10_000, 20));
        assert_eq!(fitting(10_000, 4_000), (2_000, 4));
        assert_eq!(fitting(1, 20_000), (1, 1));
    }
}
