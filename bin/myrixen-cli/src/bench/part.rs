//! The processes of a peer that this program measures itself.

use std::time::Duration;

use crate::cli::WayArgs;
use crate::demo::die_with_parent;
use crate::demo::guest::{carry_out, say};
use crate::demo::protocol::{Plan, Report};
use crate::measure::Label;
use crate::record::Path;

/// Serves, or measures as the plan says and says what came of it.
pub(crate) fn run(args: &WayArgs) -> anyhow::Result<()> {
    die_with_parent()?;
    let done = match &args.plan {
        None => args.kind.serve(&args.at, args.wait),
        Some(plan) => measure(args, &serde_json::from_str(plan)?),
    };
    if let Err(error) = &done {
        say(&Report::Failed {
            why: format!("{error:#}"),
        })?;
    }
    done
}

fn measure(args: &WayArgs, plan: &Plan) -> anyhow::Result<()> {
    let label = Label {
        path: Path::Peer(args.kind.name().to_owned()),
        link: None,
        wait: args.wait,
    };
    let mut way = connect(args)?;
    carry_out(&label, &mut *way, plan)?;
    say(&Report::Halted)
}

/// Connects, again and again while the server is about to listen.
fn connect(args: &WayArgs) -> anyhow::Result<Box<dyn crate::measure::Way>> {
    const ATTEMPTS: u32 = 100;
    let mut attempt = 1;
    loop {
        match args.kind.way(&args.at, args.wait) {
            Ok(way) => return Ok(way),
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        attempt += 1;
    }
}
