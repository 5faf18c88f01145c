//! One seed, from scenario to verdict.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::scenario::Scenario;
use crate::violation::Violation;
use crate::world::{Outcome, Trace, World};

/// So many frames are allowed in any case: a handful of messages whose last frame is lost is nobody's timer storm.
const ALLOWANCE: u64 = 50;

/// Which run of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// As the seed says.
    Faults,
    /// The loss-free one that it is held against.
    NoFaults,
}

/// What a seed gave.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// How it went.
    pub outcome: Outcome,
    /// Frames of the loss-free run, and so many times as many are allowed, where the two can be compared.
    pub calm: Option<(u64, u64)>,
}

/// Runs the scenario of a seed, and where the two can be compared also the same without faults.
///
/// # Errors
///
/// With the first promise that was broken.
pub fn simulate(seed: u64) -> Result<Report, Violation> {
    let scenario = Scenario::new(seed);
    let outcome = run(&scenario, None)?;
    let Some(times) = scenario.most_times else {
        return Ok(Report {
            outcome,
            calm: None,
        });
    };
    let calm =
        run(&scenario.calm(), None).map_err(|violation| Violation::Calm(Box::new(violation)))?;
    // Which receive a message meets depends on when it comes, and how much of it is transferred on the receive.
    let (bytes, calm_bytes) = (outcome.tally.bytes, calm.tally.bytes.max(1));
    let calm = calm.frames().max(calm.frames() * bytes / calm_bytes);
    let most = calm * times + ALLOWANCE;
    if outcome.frames() > most {
        return Err(Violation::TooManyFrames {
            frames: outcome.frames(),
            calm,
            most,
        });
    }
    Ok(Report {
        outcome,
        calm: Some((calm, times)),
    })
}

/// [`simulate`] twice: both runs must be the same to the last frame.
///
/// # Errors
///
/// With the first promise that was broken, or when the runs differ.
pub fn simulate_repeatably(seed: u64) -> Result<Report, Violation> {
    let (first, second) = (simulate(seed)?, simulate(seed)?);
    if first.outcome == second.outcome {
        Ok(first)
    } else {
        Err(Violation::NotRepeatable)
    }
}

/// Runs the scenario of a seed once, or the same without faults, and tells every step.
///
/// # Errors
///
/// With the first promise that was broken.
pub fn trace(
    seed: u64,
    faults: With,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<Outcome, Violation> {
    let scenario = Scenario::new(seed);
    let scenario = match faults {
        With::Faults => scenario,
        With::NoFaults => scenario.calm(),
    };
    tell(format_args!("{scenario:#?}"));
    run(&scenario, Some(tell))
}

/// A panic of an engine is a finding like others, with a seed.
fn run<'a>(scenario: &'a Scenario, trace: Option<Trace<'a>>) -> Result<Outcome, Violation> {
    catch_unwind(AssertUnwindSafe(|| World::new(scenario, trace).run())).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        });
        Err(Violation::Panicked {
            text: text.unwrap_or_default(),
        })
    })
}
