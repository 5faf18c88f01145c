//! Two engines whose programs, network and peers do anything in any order. They name only memory they were given, end
//! every request once, give back all they were lent, and come to rest when nothing arrives any more.

#![no_main]

mod driver;
mod steps;
mod world;

use libfuzzer_sys::fuzz_target;
use steps::{MOST_STEPS, Run};
use world::World;

fuzz_target!(init: myrixen_fuzz::sow("engine"), |run: Run| {
    let Run { setup, steps } = run;
    World::new(setup).run(&steps[..steps.len().min(MOST_STEPS)]);
});
