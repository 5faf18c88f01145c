//! Many guests on one back end: what they take of it while they are idle, and whether each gets its share while all talk.

use std::time::Duration;

use anyhow::bail;

use super::hand::Hand;
use super::order::{Answer, Order};
use super::{HOST, Stage};
use crate::demo::{Place, monotonic_ns};
use crate::held::{Held, Limit, float};
use crate::system::{self, Memory};
use crate::units;

/// Bytes of each ring.
const RING: u32 = 1 << 20;
/// Endpoints of each guest.
const ENDPOINTS: usize = 2;
/// Bytes of a message.
const SIZE: usize = 4096;
/// How far round the circle of guests the partners of an endpoint sit.
const STRIDES: [usize; 4] = [1, 5, 13, 29];
/// Until guests have done what they do at the beginning.
const SETTLE: Duration = Duration::from_secs(1);

struct Crowd {
    guests: Vec<Hand>,
    places: Vec<Place>,
    back_end: u32,
    /// What the back end had before the first guest came.
    before: Memory,
}

/// Starts the guests, and measures.
pub(super) fn run(stage: &mut Stage, guests: u16, time: Duration) -> anyhow::Result<Vec<Held>> {
    let back_end = stage.start_daemon(HOST)?;
    let mut crowd = Crowd::gather(stage, guests, back_end)?;
    let resting = Memory::of(back_end)?;
    let idle = crowd.idle(stage, time)?;
    let fairness = crowd.talk(stage, time)?;
    let talking = Memory::of(back_end)?;
    let footprint = crowd.footprint(resting, talking);
    stage.progress.finish(&footprint.summary());
    drop(crowd);
    stage.stop_daemons()?;
    Ok(vec![footprint, idle, fairness])
}

impl Crowd {
    fn gather(stage: &mut Stage, count: u16, back_end: u32) -> anyhow::Result<Self> {
        stage.progress.step(&format!(
            "Attaching {count} guests with {ENDPOINTS} endpoints each"
        ));
        let before = Memory::of(back_end)?;
        let names = (0..count).map(|number| format!("g{number}"));
        let start = |name| Hand::guests(&stage.site, HOST, &[name]);
        let mut guests = names.map(start).collect::<anyhow::Result<Vec<_>>>()?;
        let mut places = Vec::new();
        for guest in &mut guests {
            guest.hear_ready()?;
            places.extend(guest.open(ENDPOINTS, RING, false)?.0);
        }
        std::thread::sleep(SETTLE);
        Ok(Self {
            guests,
            places,
            back_end,
            before,
        })
    }

    /// What each guest takes of the back end's memory, its rings aside.
    fn footprint(&self, resting: Memory, talking: Memory) -> Held {
        let guests = float(self.guests.len() as u64);
        let each = |now: Memory| {
            let more = now.private().saturating_sub(self.before.private());
            float(more) / guests
        };
        let (at_rest, after) = (each(resting), each(talking));
        let bar = Limit::Below(float(64 << 10));
        Held::new("footprint", "each guest", at_rest.max(after), "bytes", bar)
            .with("guests", guests)
            .with("resting_bytes", at_rest)
            .with("talking_bytes", after)
            .with("before_bytes", float(self.before.private()))
            .with("shared_bytes", float(talking.shared))
    }

    /// The processor time of a back end whose guests do nothing.
    fn idle(&mut self, stage: &mut Stage, time: Duration) -> anyhow::Result<Held> {
        stage.progress.step("Watching all of them do nothing");
        let all = |hands: &[Hand]| {
            let each = hands.iter().map(Hand::cpu_ns);
            each.sum::<anyhow::Result<u64>>()
        };
        let (ours, theirs) = (system::cpu_ns(self.back_end)?, all(&self.guests)?);
        let begun = monotonic_ns();
        std::thread::sleep(time);
        let took = float(monotonic_ns() - begun);
        let share = |used: u64| float(used) / took * 100.0;
        let ours = share(system::cpu_ns(self.back_end)? - ours);
        let theirs = share(all(&self.guests)? - theirs);
        let record = Held::new("idle", "back end", ours, "% of a core", Limit::Below(0.5))
            .with("guests", float(self.guests.len() as u64))
            .with("guests_percent", theirs)
            .with("seconds", took / 1e9);
        stage.progress.finish(&record.summary());
        Ok(record)
    }

    /// What each guest gets through while all talk.
    fn talk(&mut self, stage: &mut Stage, time: Duration) -> anyhow::Result<Held> {
        stage.progress.step("Connecting them");
        for endpoint in 0..ENDPOINTS {
            for number in 0..self.guests.len() {
                let to = self.partners(number, endpoint);
                self.guests[number].connect(endpoint, to)?;
            }
        }
        stage.progress.step("All talking");
        let from_ns = monotonic_ns() + 500_000_000;
        let until_ns = from_ns + u64::try_from(time.as_nanos())?;
        for guest in &mut self.guests {
            guest.tell(&Order::Talk {
                size: SIZE,
                from_ns,
                until_ns,
            })?;
        }
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for guest in &mut self.guests {
            match guest.hear()? {
                Answer::Talked {
                    sent: to,
                    received: from,
                } => {
                    sent.push(to.iter().sum::<u64>());
                    received.push(from.iter().sum::<u64>());
                }
                other => bail!("a guest says {other:?} instead of what it has sent"),
            }
        }
        let record = shares(&sent, &received, time);
        let rate = units::three_figures(float(received.iter().sum()) / time.as_secs_f64() / 1e6);
        stage
            .progress
            .finish(&format!("{}, {rate} MB/s", record.summary()));
        Ok(record)
    }

    /// Where the partners of a guest's endpoint are: the first endpoint talks to first ones, the second to second ones.
    fn partners(&self, guest: usize, endpoint: usize) -> Vec<Place> {
        let guests = self.guests.len();
        let mut others: Vec<usize> = STRIDES.map(|stride| (guest + stride) % guests).to_vec();
        others.retain(|&other| other != guest);
        others.sort_unstable();
        others.dedup();
        let place = |other: usize| self.places[other * ENDPOINTS + endpoint].clone();
        others.into_iter().map(place).collect()
    }
}

/// How evenly bytes are shared among guests, as senders and as receivers: the worse of the two.
fn shares(sent: &[u64], received: &[u64], time: Duration) -> Held {
    let least = |bytes: &[u64]| {
        let mean = float(bytes.iter().sum()) / float(bytes.len() as u64);
        float(bytes.iter().copied().min().unwrap_or(0)) / mean.max(1.0)
    };
    let (out, into) = (jain(sent), jain(received));
    let bar = Limit::AtLeast(0.95);
    Held::new("fairness", "Jain index", out.min(into), "", bar)
        .with("guests", float(sent.len() as u64))
        .with("sent_jain", out)
        .with("received_jain", into)
        .with("least_of_mean", least(sent).min(least(received)))
        .with(
            "mb_per_s",
            float(received.iter().sum()) / time.as_secs_f64() / 1e6,
        )
        .with("size", float(SIZE as u64))
        .with("seconds", time.as_secs_f64())
}

/// 1 when all have the same, 1/n when one has everything (R. Jain, D. Chiu and W. Hawe, 1984).
fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|&share| float(share)).sum();
    let squares: f64 = shares.iter().map(|&share| float(share).powi(2)).sum();
    if squares == 0.0 {
        return 0.0;
    }
    sum * sum / squares / float(shares.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_one_for_equal_shares_and_less_for_others() {
        assert!((jain(&[5, 5, 5]) - 1.0).abs() < 1e-12);
        assert!((jain(&[9, 0, 0]) - 1.0 / 3.0).abs() < 1e-12);
        assert!(jain(&[0, 0]).abs() < 1e-12);
        assert!((jain(&[1, 3]) - 0.8).abs() < 1e-12);
    }
}
