//! `myrixen perf scale`: what many guests, endpoints and connections cost, and what guests cost that sleep.
//!
//! This process only coordinates, and starts what it needs: back ends on two hosts, as the demo does, and guests in processes of their own
//! (this program again, with a hidden subcommand).

mod args;
mod connections;
mod crowd;
mod guests;
mod hand;
mod order;

pub(crate) mod setup;
pub(crate) mod sleep;
mod talk;

use anyhow::Context as _;

pub(crate) use args::{ScaleArgs, ScalePart};

use self::args::Part;

use crate::demo::crew::{Crew, Member};
use crate::demo::hosts::Site;
use crate::held::{self, Held};
use crate::output;
use crate::progress::Progress;
use crate::system;

/// Where most of it happens, and the host at the other end of the wire.
const HOST: usize = 0;
const OTHER_HOST: usize = 1;

/// What all parts of the measurement use.
struct Stage {
    progress: Progress,
    crew: Crew,
    daemons: Vec<Member>,
    /// How many files a process may have open.
    open_files: u64,
    // Last, so that nothing runs any more when its directory is removed.
    site: Site,
}

/// Runs the measurement, prints what came of it, and writes the records.
pub(crate) fn run(args: &ScaleArgs) -> anyhow::Result<()> {
    // First of all, while this process has one thread: that is when it can change namespaces.
    let (site, joint) = Site::for_demo(false)?;
    let mut stage = Stage {
        progress: Progress::new(),
        crew: Crew::new(),
        daemons: Vec::new(),
        open_files: system::raise_open_files(),
        site,
    };
    stage.progress.note(&joint.sentence());
    let mut records: Vec<Held> = Vec::new();
    if args.wants(Part::Crowd) {
        records.extend(crowd::run(&mut stage, args.guests, args.seconds)?);
    }
    if args.wants(Part::Setup) {
        records.extend(setup::run(&mut stage)?);
    }
    if args.wants(Part::Connections) {
        records.extend(connections::run(&mut stage, args.connections)?);
    }
    if args.wants(Part::Sleep) {
        records.extend(sleep::run(&mut stage, args.round_trips)?);
    }
    drop(stage);
    output::print(&format!("\n{}\n", held::summary(&records)))?;
    match &args.json {
        Some(file) => crate::record::write(file, &records),
        None => Ok(()),
    }
}

/// Runs one of the processes that the measurement consists of.
pub(crate) fn run_part(part: &ScalePart) -> anyhow::Result<()> {
    match part {
        ScalePart::Guests(args) => guests::run(args),
        ScalePart::Echo { size } => sleep::echo(*size),
    }
}

impl Stage {
    /// Starts a host's back end; gives its process.
    fn start_daemon(&mut self, host: usize) -> anyhow::Result<u32> {
        let daemon = self.site.start_daemon(&mut self.crew, host)?;
        self.daemons.push(daemon);
        Ok(self.crew.pid(daemon))
    }

    /// Stops the back ends, so that the next part begins with fresh ones.
    fn stop_daemons(&mut self) -> anyhow::Result<()> {
        for daemon in self.daemons.drain(..) {
            self.crew.kill(daemon).context("a back end has died")?;
        }
        Ok(())
    }
}
