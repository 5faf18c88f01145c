//! Runs many seeds of the simulation, on all cores.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use myrixen_sim::violation::Violation;
use myrixen_sim::{Report, With, simulate, simulate_repeatably, trace};

/// Simulates MXoE engines on a network that loses, copies, delays and reorders frames, with nodes and back
/// ends that die, and checks that no promise is broken. The same seed gives the same run.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Just this one.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Tell every step of the run; only with --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Tell of the loss-free run that it is held against.
    #[arg(long, requires = "trace")]
    calm: bool,
    /// Run everything twice and compare.
    #[arg(long)]
    twice: bool,
    /// Threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Go on after so many failures.
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// Print a line for every seed.
    #[arg(long)]
    verbose: bool,
}

/// The bound of runs that are lossy and nothing worse: theirs is the ratio that is printed.
const LOSSY_TIMES: u64 = 3;

/// What all seeds have given so far.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    sent: u64,
    received: u64,
    failed: u64,
    frames: u64,
    lost: u64,
    /// Frames of the runs that can be compared, and of their loss-free counterparts.
    lossy: u64,
    calm: u64,
    /// The worst of them: hundredths, and its seed.
    worst: (u64, u64),
    failures: Vec<(u64, Violation)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(seed), true) = (arguments.seed, arguments.trace) {
        let faults = if arguments.calm {
            With::NoFaults
        } else {
            With::Faults
        };
        return trace_one(seed, faults);
    }
    let (first, count) = arguments
        .seed
        .map_or((arguments.first, arguments.seeds), |seed| (seed, 1));
    // A panic is reported with its seed; the usual message would come without.
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let sum = run_all(&arguments, first, count);
    let took = start.elapsed().as_secs_f64();
    println!(
        "{} seeds in {took:.1} s: {} messages sent, {} received, {} failed and their senders told; \
         {} frames, {} lost on the way",
        sum.seeds, sum.sent, sum.received, sum.failed, sum.frames, sum.lost
    );
    if sum.calm > 0 {
        println!(
            "lossy runs sent {:.2} times the frames of their loss-free counterparts, at worst {}.{:02} times (seed {})",
            sum.lossy as f64 / sum.calm as f64,
            sum.worst.0 / 100,
            sum.worst.0 % 100,
            sum.worst.1
        );
    }
    if sum.failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} failures", sum.failures.len());
    ExitCode::FAILURE
}

/// Runs the seeds on all threads, with a line of progress now and then.
fn run_all(arguments: &Arguments, first: u64, count: u64) -> Sum {
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let step = (count / 20).max(1);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let seed = first + number;
                    let result = if arguments.twice {
                        simulate_repeatably(seed)
                    } else {
                        simulate(seed)
                    };
                    let mut sum = sum
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    sum.add(seed, result, arguments.verbose);
                    if sum.seeds.is_multiple_of(step) {
                        println!(
                            "{} of {count} seeds, {} failures",
                            sum.seeds,
                            sum.failures.len()
                        );
                    }
                    if sum.failures.len() >= arguments.failures {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    sum.into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Sum {
    fn add(&mut self, seed: u64, result: Result<Report, Violation>, verbose: bool) {
        self.seeds += 1;
        match result {
            Ok(report) => {
                let outcome = &report.outcome;
                if verbose {
                    println!("seed {seed}: {outcome:?}, calm {:?}", report.calm);
                }
                self.sent += outcome.tally.sent;
                self.received += outcome.tally.received;
                self.failed += outcome.tally.failed;
                self.frames += outcome.frames();
                self.lost +=
                    outcome.traffic.lost + outcome.traffic.cut + outcome.traffic.overflowed;
                if let Some((calm, LOSSY_TIMES)) = report.calm {
                    self.lossy += outcome.frames();
                    self.calm += calm;
                    let ratio = outcome.frames() * 100 / calm.max(1);
                    self.worst = self.worst.max((ratio, seed));
                }
            }
            Err(violation) => {
                println!("seed {seed}: {violation}");
                let calm = if matches!(violation, Violation::Calm(_)) {
                    " --calm"
                } else {
                    ""
                };
                println!(
                    "  again: cargo run --release -p myrixen-sim -- --seed {seed} --trace{calm}"
                );
                self.failures.push((seed, violation));
            }
        }
    }
}

/// Tells every step of one run.
fn trace_one(seed: u64, faults: With) -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    // A reader that has seen enough, as `head`, is no reason to stop.
    let result = trace(seed, faults, &mut |line| drop(writeln!(out, "{line}")));
    let verdict = match &result {
        Ok(outcome) => writeln!(out, "{outcome:#?}"),
        Err(violation) => writeln!(out, "seed {seed}: {violation}"),
    };
    drop(verdict);
    drop(out.flush());
    if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
