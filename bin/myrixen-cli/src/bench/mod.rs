//! `myrixen bench`: our paths, what the machine allows, and other people's transports, in one run on one machine. Everybody has a turn in
//! each round, so that what else the machine does hits all of them alike; what counts is the median over the rounds.

mod bars;
mod calls;
mod iceoryx2;
mod legs;
pub(crate) mod matching;
mod mpi;
mod mx;
pub(crate) mod part;
mod programs;
mod provider;
mod stage;

use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::stage::Stage;
use crate::cli::BenchArgs;
use crate::demo::parts;
use crate::held::{self, Held};
use crate::output;
use crate::progress::Progress;
use crate::record::{self, Ratio, Record};
use crate::report::{bars as ratios, html};

/// Rounds unless others are asked for: a median of fewer says little.
const ROUNDS: u32 = 7;

/// What of everything is measured, and how long each figure takes.
#[derive(Clone, Debug)]
struct Extent {
    pingpong: Vec<u64>,
    stream: Vec<u64>,
    rate: Vec<u64>,
    each: Duration,
    /// Entries before a message that is matched.
    queues: &'static [u64],
    /// Ping-pongs between programs that sleep.
    asleep: u64,
    /// System calls are counted, and nothing is timed.
    calls: bool,
    /// Sizes of ping-pongs by MX's tool, which takes a second for each.
    mx: &'static [u64],
    mpi: MpiExtent,
    /// Of programs of others only what bars speak of, or a figure or two: starting them takes most of the time.
    sparing: bool,
}

/// What is measured of MPI. Between hosts a large message waits for time slices where there are fewer cores than ranks and back ends.
#[derive(Clone, Debug)]
struct MpiExtent {
    pingpong: &'static [u64],
    stream: &'static [u64],
    each: Duration,
}

/// Rounds in which those have a turn that take a second or more of each, most of it to start, or that are the same each time: enough for a median.
const FEW_ROUNDS: u32 = 3;

impl Extent {
    fn whole() -> Self {
        Self {
            pingpong: vec![0, 8, 64, 512, 4096, 32 << 10, 256 << 10, 1 << 20, 4 << 20],
            stream: vec![4096, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20],
            rate: vec![8],
            each: Duration::from_millis(60),
            queues: &[10, 100, 1000, 10_000],
            asleep: 10_000,
            calls: false,
            mx: &[8, 4096],
            mpi: MpiExtent {
                pingpong: &[0, 8, 512, 4096, 32 << 10, 1 << 20, 4 << 20],
                stream: &[8, 512, 4096, 64 << 10, 1 << 20, 4 << 20],
                each: Duration::from_millis(30),
            },
            sparing: false,
        }
    }

    /// What the bars need, and little more.
    fn quick() -> Self {
        Self {
            pingpong: vec![8, 4096],
            stream: vec![16 << 10, 64 << 10, 1 << 20, 4 << 20],
            rate: vec![8],
            each: Duration::from_millis(20),
            queues: &[1000, 10_000],
            asleep: 1000,
            calls: false,
            mx: &[8],
            mpi: MpiExtent {
                pingpong: &[8],
                stream: &[1 << 20],
                each: Duration::from_millis(20),
            },
            sparing: true,
        }
    }
}

/// A contestant that did not get through, and why.
struct Missing {
    name: String,
    why: String,
}

/// Runs everything and writes the report.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let begun = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut legs = legs::all(cores, &args.only)?;
    // While this process has one thread: that is when it can change namespaces.
    let mut stage = Stage::make(args.provider.clone())?;
    let extent = if args.quick {
        Extent::quick()
    } else {
        Extent::whole()
    };
    let mut progress = Progress::new();
    progress.step("Starting back ends and guests");
    stage.start()?;
    if args.calls {
        return calls::run(args, stage, legs, progress);
    }
    let (mut records, mut missing) = (Vec::new(), Vec::new());
    let rounds = args.rounds.unwrap_or(ROUNDS);
    for round in 1..=rounds {
        progress.step(&format!("Round {round} of {rounds}"));
        legs.retain(|leg| {
            if leg.rests(round, extent.sparing) {
                return true;
            }
            progress.detail(&leg.name());
            match stage.measure(leg, &extent) {
                Ok(mut measured) => {
                    records.append(&mut measured);
                    true
                }
                Err(error) => {
                    let (name, why) = (leg.name(), format!("{error:#}"));
                    progress.note(&format!("{name} is left out from here on: {why}"));
                    missing.push(Missing { name, why });
                    false
                }
            }
        });
    }
    progress.finish("");
    drop(progress);
    stage.close();
    publish(args, begun, rounds, &records, &missing)
}

/// Prints the table and the ratios; writes records, ratios and the page.
fn publish(
    args: &BenchArgs,
    begun: Instant,
    rounds: u32,
    records: &[Record],
    missing: &[Missing],
) -> anyhow::Result<()> {
    let sides = ratios::Sides::of(records);
    let compared: Vec<Ratio> = bars::all()
        .iter()
        .flat_map(|bar| bar.hold(&sides))
        .collect();
    let costs = held::medians(&costs_of(records));
    let out = &args.out;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let (json, page) = (out.join("results.json"), out.join("report.html"));
    let mut all = records.to_vec();
    all.retain(|record| !matches!(record, Record::Held(_)));
    all.extend(compared.iter().cloned().map(Record::Ratio));
    all.extend(costs.iter().cloned().map(Record::Held));
    record::write(&json, &all)?;
    let mut shown = sides.records(records);
    shown.extend(compared.iter().cloned().map(Record::Ratio));
    shown.extend(costs.iter().cloned().map(Record::Held));
    let html = html::page(&about(begun, rounds, missing), &shown);
    std::fs::write(&page, html).with_context(|| format!("cannot write {}", page.display()))?;
    if !sides.is_empty() {
        output::print(&format!(
            "\n{}\n{}",
            ratios::table(&sides),
            ratios::verdicts(&compared)
        ))?;
    }
    if !costs.is_empty() {
        output::print(&format!("{}\n", held::summary(&costs)))?;
    }
    for Missing { name, why } in missing {
        output::print(&format!("not measured: {name}: {why}\n"))?;
    }
    let (page, json) = (output::place(&page), output::place(&json));
    output::print(&format!("\nPlots: {page}\nRecords: {json}\n"))
}

/// All rounds of what has a bar of its own.
fn costs_of(records: &[Record]) -> Vec<Held> {
    let costs = records.iter().filter_map(|record| match record {
        Record::Held(held) => Some(held.clone()),
        _ => None,
    });
    costs.collect()
}

fn about(begun: Instant, rounds: u32, missing: &[Missing]) -> html::About {
    let mut facts = vec![("myrixen".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    facts.extend(parts::machine());
    let few = rounds.min(FEW_ROUNDS);
    let text = format!(
        "{rounds}; of MPI, of MX asleep, and of matching over libfabric, {few}; with --quick, of what no bar speaks of, {few}, \
         or 1 of MPI"
    );
    facts.push(("rounds".to_owned(), text));
    let took = format!("{:.0} s", begun.elapsed().as_secs_f64());
    facts.push(("the run took".to_owned(), took));
    let mut notes = vec![stage::SENTENCE.to_owned()];
    notes.extend(
        missing
            .iter()
            .map(|one| format!("Not measured: {}: {}", one.name, one.why)),
    );
    html::About {
        title: "MyriXen beside its peers".to_owned(),
        facts,
        notes,
        charts: Vec::new(),
    }
}
