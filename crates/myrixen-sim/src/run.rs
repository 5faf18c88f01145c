//! One seed, from scenario to verdict.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::scenario::Scenario;
use crate::violation::Violation;
use crate::world::{Outcome, Trace, World};

/// Frames of a lossy run are held against so many times those of the loss-free one.
const MOST_TIMES: u64 = 3;
/// And so many more: a handful of messages whose last frame is lost is nobody's timer storm.
const ALLOWANCE: u64 = 50;

/// What a seed gave.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// How it went.
    pub outcome: Outcome,
    /// Frames of the loss-free run, where the two can be compared.
    pub calm_frames: Option<u64>,
}

/// Runs the scenario of a seed, and where it is only lossy also the same without losses.
///
/// # Errors
///
/// With the first promise that was broken.
pub fn simulate(seed: u64) -> Result<Report, Violation> {
    let scenario = Scenario::new(seed);
    let outcome = run(&scenario, None)?;
    if !scenario.comparable() {
        return Ok(Report {
            outcome,
            calm_frames: None,
        });
    }
    let calm = run(&scenario.calm(), None)?.frames();
    let most = calm * MOST_TIMES + ALLOWANCE;
    if outcome.frames() > most {
        return Err(Violation::TooManyFrames {
            frames: outcome.frames(),
            calm,
            most,
        });
    }
    Ok(Report {
        outcome,
        calm_frames: Some(calm),
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

/// Runs the scenario of a seed once and tells every step.
///
/// # Errors
///
/// With the first promise that was broken.
pub fn trace(seed: u64, tell: &mut dyn FnMut(fmt::Arguments<'_>)) -> Result<Outcome, Violation> {
    let scenario = Scenario::new(seed);
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
