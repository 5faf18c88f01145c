//! `myrixen verify`: programs on any boards of the fabric exchange messages all to all, and compare every byte. The demo's guests without
//! its coordinator: each is told who takes part, and they find each other.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mxoe::addr::{Address, EndpointId};
use myrixen::{EndpointOptions, Fabric};

use super::guest::{Guest, KEY};
use super::protocol::{Command, GuestPlace};
use crate::cli::{Taker, VerifyArgs};
use crate::record::Wait;

/// Between two looks for a board that is not there yet.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes part.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let Some(number) = args.with.iter().position(|taker| *taker == args.me) else {
        bail!(
            "--with does not name {}: it lists all who take part",
            args.me
        );
    };
    let number = u16::try_from(number)?;
    let fabric = crate::perf::join(&args.attach)?;
    let options = |id| {
        EndpointOptions::default()
            .key(KEY)
            .id(id)
            .wait(Wait::Sleep.of_library())
            .give_up(args.patience)
    };
    let main = fabric.open(options(args.me.main()).direct(!args.switched))?;
    let switched = fabric.open(options(args.me.switched()).direct(false))?;
    let places = find_all(&fabric, args)?;
    let (tell, commands) = channel();
    let mut guest = Guest::new(number, [main, switched], commands, fabric);
    guest.patience = args.patience;
    guest.connect_within(&places, args.patience)?;
    if !args.no_exchange {
        super::exchange::run(&guest)?;
    }
    if let Some(seconds) = args.stream {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(seconds));
            // The stream may have failed meanwhile: nobody listens then.
            let _ = tell.send(Command::Halt);
        });
        super::stream::run(&guest, super::monotonic_ns())?;
    }
    Ok(())
}

/// Everybody's endpoints, once their boards are known here.
fn find_all(fabric: &Fabric, args: &VerifyArgs) -> anyhow::Result<Vec<GuestPlace>> {
    let until = Instant::now() + args.patience;
    let mut places = Vec::new();
    for (number, taker) in args.with.iter().enumerate() {
        let nic = loop {
            match fabric.lookup(&taker.board) {
                Ok(nic) => break nic,
                Err(error) if Instant::now() > until => {
                    return Err(error).context(format!("board {} was not found", taker.board));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        };
        let at = |endpoint| Address::new(nic, EndpointId::new(endpoint)).into();
        places.push(GuestPlace {
            number: u16::try_from(number)?,
            main: at(taker.main()),
            switched: at(taker.switched()),
        });
    }
    Ok(places)
}

impl Taker {
    /// Its endpoint that may have direct channels.
    fn main(&self) -> u8 {
        self.slot.saturating_mul(2)
    }

    /// The other one.
    fn switched(&self) -> u8 {
        self.slot.saturating_mul(2).saturating_add(1)
    }
}
