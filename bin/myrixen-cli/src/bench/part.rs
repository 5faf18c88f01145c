//! The processes of a peer that this program measures itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use myrixen::{Embedded, EndpointOptions};

use crate::cli::WayArgs;
use crate::demo::die_with_parent;
use crate::demo::guest::{carry_out, say};
use crate::demo::protocol::{Plan, Report};
use crate::measure::{self, Client, Label, Parties};
use crate::peer::Kind;

/// Serves, or measures as the plan says and says what came of it.
pub(crate) fn run(args: &WayArgs) -> anyhow::Result<()> {
    die_with_parent()?;
    let done = match &args.plan {
        None => args.kind.serve(&args.at, args.wait, &|| {
            // Who does not hear it gives up waiting.
            let _ = say(&Report::Connected);
        }),
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
        path: args.kind.path(),
        link: None,
        wait: args.wait,
        parties: plan.parties.clone().map(Parties),
    };
    if args.kind == Kind::Switched {
        through_back_end(&label, plan)?;
    } else {
        let mut way = args.kind.way(&args.at, args.wait)?;
        carry_out(&label, &mut *way, plan)?;
    }
    say(&Report::Halted)
}

/// Between two guests in this process, through a back end that their threads drive.
fn through_back_end(label: &Label, plan: &Plan) -> anyhow::Result<()> {
    const KEY: u32 = 0x6265_6e63;
    const GLANCE: Duration = Duration::from_millis(20);
    let inside = Embedded::default().inline(true).start()?;
    let fabrics = [inside.join()?, inside.join()?];
    let options = EndpointOptions::default().key(KEY).direct(false);
    let [a, b] = [fabrics[0].open(options.clone())?, fabrics[1].open(options)?];
    let server = a.connect(b.address(), KEY, Duration::from_secs(10))?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let halted = || over.load(Ordering::Relaxed);
        scope.spawn(move || measure::serve(&b, GLANCE, halted, |_| ()));
        let measured = carry_out(label, &mut Client::new(&a, server, label.wait), plan);
        over.store(true, Ordering::Relaxed);
        measured
    })
}
