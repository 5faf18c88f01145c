//! How long it takes to open an endpoint, and to connect: on one host, and across the wire.

use super::hand::Hand;
use super::{HOST, OTHER_HOST, Stage};
use crate::demo::Place;
use crate::demo::hosts::Site;
use crate::held::{Held, Limit, float, quantile};
use crate::shares::{Shares, Split};
use crate::system;

/// How often each is done; the median counts.
const TIMES: usize = 200;
/// Bytes of each ring.
const RING: u32 = 1 << 20;
/// Bytes of a message whose round trip is what a connect across the wire is held against.
const SIZE: usize = 8;
/// Round trips that warm up, and that are measured.
const ROUNDS: [u64; 2] = [200, 2000];

/// Measures with both hosts' back ends running.
pub(super) fn run(stage: &mut Stage) -> anyhow::Result<Vec<Held>> {
    let back_ends = [stage.start_daemon(HOST)?, stage.start_daemon(OTHER_HOST)?];
    stage.progress.step("Opening endpoints, and connecting");
    let records = measure(&stage.site, back_ends)?;
    let words: Vec<String> = records.iter().map(Held::summary).collect();
    stage.progress.finish(&words.join(", "));
    stage.stop_daemons()?;
    Ok(records)
}

/// Measures between the first two posts of a site, whose back ends run in these processes: each is at the host of the same number.
pub(crate) fn measure(site: &Site, back_ends: [u32; 2]) -> anyhow::Result<Vec<Held>> {
    let start = |host, name: &str| {
        let mut hand = Hand::guests(site, host, &[name.to_owned()])?;
        hand.hear_ready()?;
        anyhow::Ok(hand)
    };
    let (mut here, mut there) = (start(HOST, "here")?, start(OTHER_HOST, "there")?);
    let mut client = start(HOST, "client")?;
    let (near, took) = here.open(TIMES, RING, false)?;
    let open = timed("open", "an endpoint", took, Limit::Below(1e6));
    let (far, _) = there.open(TIMES, RING, false)?;
    // One endpoint for each host, so that neither has to do with what was said on the other.
    client.open(2, RING, false)?;
    let (local, _) = client.connect(1, near)?;
    let local = timed("connect", "one host", local, Limit::Below(300_000.0));
    let cores = system::cores();
    let mut shares = Shares::of(&cores);
    shares.change(Split::Hosts);
    client.pin(shares.on(HOST))?;
    there.pin(shares.on(OTHER_HOST))?;
    for (host, back_end) in [HOST, OTHER_HOST].into_iter().zip(back_ends) {
        system::pin(back_end, shares.on(host))?;
    }
    let wire = across(&mut client, &mut there, &far);
    // Whatever came of it.
    for back_end in back_ends {
        system::pin(back_end, &cores)?;
    }
    Ok(vec![open, local, wire?])
}

/// Connects to endpoints on the other host.
fn across(client: &mut Hand, there: &mut Hand, far: &[Place]) -> anyhow::Result<Held> {
    // Somebody else's frame is what wakes the first endpoint there: the round trip is that of programs that both sleep.
    let [warm_up, rounds] = ROUNDS;
    client.connect(0, vec![far[0].clone()])?;
    client.pingpong(there, SIZE, warm_up)?;
    let round_trip = float(client.pingpong(there, SIZE, rounds)?);
    let (wire, _) = client.connect(0, far[1..].to_vec())?;
    let bar = Limit::AtMost(2.0 * round_trip);
    Ok(timed("connect", "wire", wire, bar).with("round_trip_ns", round_trip))
}

/// The median of what each took, held against the bar.
fn timed(test: &'static str, of: &'static str, mut took_ns: Vec<u64>, bar: Limit) -> Held {
    took_ns.sort_unstable();
    Held::new(test, of, float(quantile(&took_ns, 0.5)), "ns", bar)
        .with("p99_ns", float(quantile(&took_ns, 0.99)))
        .with("times", float(took_ns.len() as u64))
}
