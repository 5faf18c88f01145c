//! The demo's measurements: every path, spinning where there are cores for all who would spin.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Demo;
use super::protocol::{Command, Plan, Which};
use crate::record::{Path, Record, Wait};
use crate::units;

/// Half round trips are measured at these sizes, in bytes.
const PINGPONG: [u64; 9] = [0, 8, 64, 512, 4096, 32 << 10, 256 << 10, 1 << 20, 4 << 20];
/// Bandwidth at these.
const STREAM: [u64; 6] = [512, 4096, 32 << 10, 256 << 10, 1 << 20, 4 << 20];
/// Message rate at these.
const RATE: [u64; 4] = [0, 8, 64, 512];

/// All measurements together take about this long.
const TOTAL: Duration = Duration::from_secs(24);

/// One path with one way to wait.
struct Leg {
    path: Path,
    wait: Wait,
    on: Which,
    /// The measuring and the serving guest, as places in the list: a1, a2, b1, b2.
    guests: (usize, usize),
    link: Option<String>,
}

/// The legs that make sense with so many cores: those who spin need one each (the guests, and the back ends that
/// have work between them), or they would only measure the scheduler.
fn legs(cores: usize, link: &str) -> Vec<Leg> {
    let paths = [
        (Path::Direct, Which::Main, (0, 1), 2),
        (Path::Switched, Which::Switched, (0, 1), 3),
        (Path::Wire, Which::Main, (0, 2), 4),
    ];
    let mut legs = Vec::new();
    for (path, on, guests, busy) in paths {
        for wait in [Wait::Spin, Wait::Sleep] {
            if wait == Wait::Sleep || cores >= busy {
                let link = (path == Path::Wire).then(|| link.to_owned());
                legs.push(Leg {
                    path: path.clone(),
                    wait,
                    on,
                    guests,
                    link,
                });
            }
        }
    }
    legs
}

/// What is measured on the next leg, when so many legs share the time that is left: those that took longer than
/// they should (a busy machine) make the others shorter.
fn plan(time: Duration, legs: usize) -> Plan {
    let points = legs * (PINGPONG.len() + STREAM.len() + RATE.len());
    let each = time.as_millis() / (points.max(1) as u128);
    Plan {
        pingpong_sizes: PINGPONG.to_vec(),
        stream_sizes: STREAM.to_vec(),
        rate_sizes: RATE.to_vec(),
        each_ms: u64::try_from(each).unwrap_or(u64::MAX).max(20),
        parties: None,
        calls: false,
    }
}

impl Demo {
    /// Measures every path.
    pub(super) fn measure(&mut self) -> anyhow::Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let legs = legs(cores, self.joint.name());
        let until = Instant::now() + TOTAL;
        for (left, leg) in (1..=legs.len()).rev().zip(legs) {
            let Leg {
                path,
                wait,
                on,
                guests: (client, server),
                link,
            } = leg;
            let name = format!("Measuring the {path} path, {}", wait.manner());
            self.progress.step(&name);
            let (client, server) = (&self.guests[client], &self.guests[server]);
            let with = server.place.number;
            let plan = plan(until.saturating_duration_since(Instant::now()), left);
            let order = Command::Measure {
                on,
                with,
                path,
                link,
                wait,
                plan,
            };
            let ends = (client.member, server.member);
            let (progress, records) = (&mut self.progress, &mut self.records);
            // The first is the one for the smallest messages.
            let mut outcome = None;
            self.crew
                .measure(ends, on, &order, |record| {
                    let text = describe(&record);
                    progress.detail(&text);
                    outcome.get_or_insert_with(|| text.clone());
                    records.push(record);
                    text
                })
                .context(name)?;
            self.progress.finish(&outcome.unwrap_or_default());
        }
        Ok(())
    }
}

/// A figure in words.
pub(crate) fn describe(record: &Record) -> String {
    match record {
        Record::PingPong(r) => format!(
            "{} in {} (half round trip)",
            units::size(r.size),
            units::nanoseconds(r.half_rtt_ns.p50)
        ),
        Record::Stream(r) => {
            format!(
                "{} at {} MB/s",
                units::size(r.size),
                units::three_figures(r.mb_per_s)
            )
        }
        Record::Rate(r) => {
            format!(
                "{}, {} messages/s",
                units::size(r.size),
                units::count(r.msgs_per_s)
            )
        }
        Record::Held(held) => held.summary(),
        Record::Calls(r) => format!("system calls of {} {}", r.of, units::size(r.size)),
        Record::Exchange(_) | Record::Restart(_) | Record::Ratio(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_measured_sleeping_and_spinning_only_with_a_core_each() {
        let kinds = |cores| -> Vec<(Path, Wait)> {
            legs(cores, "ethernet")
                .into_iter()
                .map(|leg| (leg.path, leg.wait))
                .collect()
        };
        for cores in [1, 2, 3, 4] {
            let legs = kinds(cores);
            for path in [Path::Direct, Path::Switched, Path::Wire] {
                assert!(legs.contains(&(path, Wait::Sleep)), "{cores} cores");
            }
            assert_eq!(legs.len(), 3 + cores.saturating_sub(1).min(3));
        }
        assert!(kinds(2).contains(&(Path::Direct, Wait::Spin)));
        assert!(!kinds(2).contains(&(Path::Wire, Wait::Spin)));
    }

    #[test]
    fn time_is_shared_by_the_legs_that_are_left() {
        assert!(plan(TOTAL, 6).each_ms >= 200);
        assert_eq!(plan(TOTAL / 2, 2).each_ms, plan(TOTAL, 4).each_ms);
        assert_eq!(
            plan(Duration::ZERO, 1).each_ms,
            20,
            "a late leg is measured all the same"
        );
    }

    #[test]
    fn only_the_wire_has_a_link() {
        for leg in legs(4, "vxlan") {
            assert_eq!(
                leg.link.as_deref(),
                (leg.path == Path::Wire).then_some("vxlan")
            );
        }
    }
}
