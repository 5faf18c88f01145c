//! A guest of the demo: a program that uses the fabric like any other, driven through its standard input.

use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mxoe::addr::Address;
use myrixen::link::Tag;
use myrixen::link::ethernet::{EthernetConfig, EthernetLink};
use myrixen::{Embedded, Endpoint, EndpointOptions, Fabric, PathKind, Peer};

use super::protocol::{Command, GuestPlace, Plan, Report, Which};
use super::{account, exchange, stream};
use crate::cli::GuestArgs;
use crate::measure::{self, Calls, Client, Label, Parties, Served, Way};
use crate::pattern::Stamp;
use crate::record::{Path, Wait};

/// What the demo's guests have to show each other to connect.
pub(super) const KEY: u32 = 0x6465_6d6f;

/// How long a connect may take: boards may still be finding each other.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a partner may say nothing before its messages fail. Longer than any restart, shorter than the demo.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(100);

/// How long nothing at all may arrive: much longer than a back end takes to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a serving guest looks for [`Command::Halt`].
const GLANCE: Duration = Duration::from_millis(50);

/// Another guest, over both of our endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partner {
    pub(crate) number: u16,
    pub(crate) main: Peer,
    pub(crate) switched: Peer,
}

/// This guest: its endpoints and its partners.
pub(crate) struct Guest {
    pub(crate) number: u16,
    pub(crate) main: Endpoint,
    pub(super) switched: Endpoint,
    pub(crate) partners: Vec<Partner>,
    /// How long nothing at all may arrive.
    pub(crate) patience: Duration,
    /// What the coordinator says; disconnected when it is gone.
    pub(crate) commands: Receiver<Command>,
    _fabric: Fabric,
}

/// Runs a guest until its standard input ends. Errors are told to the coordinator too.
pub(crate) fn run(args: &GuestArgs) -> anyhow::Result<()> {
    super::die_with_parent()?;
    let done = attach(args).and_then(|mut guest| {
        // The last words of one that fails: when the coordinator asks, it is gone.
        guest
            .obey()
            .inspect_err(|_| eprintln!("{}", account::of(&guest)))
    });
    if let Err(error) = &done {
        say(&Report::Failed {
            why: format!("{error:#}"),
        })?;
    }
    done
}

/// Says something to the coordinator.
pub(crate) fn say(report: &Report) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)
        .and_then(|()| out.flush())
        .context("the coordinator is gone")
}

fn attach(args: &GuestArgs) -> anyhow::Result<Guest> {
    let mut builder = Fabric::builder().board_name(&args.board);
    if let Some(socket) = &args.socket {
        builder = builder.socket(socket);
    }
    let fabric = match &args.native {
        Some(interface) => {
            let link = EthernetLink::open(&EthernetConfig::new(interface))?;
            let back_end = Embedded::default().host(&args.board).inline(true);
            let back_end = back_end.uplink("cable", Box::new(link), Tag::None);
            back_end.start()?.join_as(builder)?
        }
        None => builder.connect()?,
    };
    let options = EndpointOptions::default()
        .key(KEY)
        .wait(Wait::Sleep.of_library())
        .give_up(GIVE_UP);
    let main = fabric.open(options.clone())?;
    let switched = fabric.open(options.direct(false))?;
    say(&Report::Ready {
        guest: GuestPlace {
            number: args.number,
            main: main.address().into(),
            switched: switched.address().into(),
        },
    })?;
    Ok(Guest::new(args.number, [main, switched], hear(), fabric))
}

/// Connects, again and again while the other endpoint is not open.
fn connect(endpoint: &Endpoint, to: Address, patience: Duration) -> anyhow::Result<Peer> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match endpoint.connect(to, KEY, left) {
            Ok(peer) => return Ok(peer),
            Err(error) if Instant::now() >= until => return Err(error.into()),
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

/// Commands as they come on standard input, read by a thread of its own.
fn hear() -> Receiver<Command> {
    let (tell, commands) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(command) = serde_json::from_str(&line) else {
                // Both ends are the same program: this cannot be answered sensibly.
                eprintln!("not a command: {line}");
                return;
            };
            if tell.send(command).is_err() {
                return;
            }
        }
    });
    commands
}

impl Guest {
    /// A guest with its two endpoints, not connected to anybody.
    pub(super) fn new(
        number: u16,
        [main, switched]: [Endpoint; 2],
        commands: Receiver<Command>,
        fabric: Fabric,
    ) -> Self {
        Self {
            number,
            main,
            switched,
            partners: Vec::new(),
            patience: PATIENCE,
            commands,
            _fabric: fabric,
        }
    }

    fn obey(&mut self) -> anyhow::Result<()> {
        while let Ok(command) = self.commands.recv() {
            match command {
                Command::Connect { guests } => self.connect_within(&guests, CONNECT)?,
                Command::Exchange => exchange::run(self)?,
                Command::Serve { on } => self.serve(on)?,
                Command::Measure {
                    on,
                    with,
                    path,
                    link,
                    wait,
                    plan,
                } => {
                    let parties = plan.parties.clone();
                    let label = Label {
                        path,
                        link,
                        wait,
                        parties: parties.map(Parties),
                    };
                    self.measure(on, with, &label, &plan)?;
                    say(&Report::Halted)?;
                }
                Command::Stream { epoch_ns } => stream::run(self, epoch_ns)?,
                Command::Account => self.give_account(),
                // What was to be halted had ended by itself.
                Command::Halt => {}
            }
        }
        Ok(())
    }

    /// True once the coordinator has said [`Command::Halt`] or is gone.
    pub(crate) fn halted(&self) -> bool {
        match self.commands.try_recv() {
            Ok(Command::Account) => {
                self.give_account();
                false
            }
            said => matches!(said, Ok(Command::Halt) | Err(TryRecvError::Disconnected)),
        }
    }

    fn give_account(&self) {
        let text = account::of(self);
        // A coordinator that is gone wants none.
        let _ = say(&Report::Account { text });
    }

    /// Connects to all others, each within `patience`: they may be about to open their endpoints.
    pub(super) fn connect_within(
        &mut self,
        guests: &[GuestPlace],
        patience: Duration,
    ) -> anyhow::Result<()> {
        for guest in guests.iter().filter(|guest| guest.number != self.number) {
            let main = connect(&self.main, guest.main.address()?, patience)?;
            let switched = connect(&self.switched, guest.switched.address()?, patience)?;
            self.partners.push(Partner {
                number: guest.number,
                main,
                switched,
            });
        }
        say(&Report::Connected)
    }

    /// Begins to send a message of `size` bytes with its stamp, of `kind`; it ends with `context`. Every other one is sent from memory that the
    /// partner can read in place, if it can read any.
    pub(crate) fn send(
        &self,
        partner: &Partner,
        stamp: Stamp,
        kind: u16,
        size: usize,
        context: u64,
    ) -> anyhow::Result<()> {
        let (main, to, bits) = (&self.main, &partner.main, stamp.bits(kind));
        let lent = (stamp.number % 2 == 1).then(|| main.alloc_for(to, size));
        if let Some(mut payload) = lent.flatten() {
            stamp.fill(&mut payload);
            main.isend(to, bits, payload)?.queue(context);
        } else {
            let mut payload = vec![0; size];
            stamp.fill(&mut payload);
            main.isend(to, bits, payload)?.queue(context);
        }
        Ok(())
    }

    /// Whether messages to a partner take a direct channel now. It opens soon after the first contact.
    pub(crate) fn is_direct(&self, partner: &Partner) -> bool {
        matches!(self.main.path(&partner.main), PathKind::Direct { .. })
    }

    fn serve(&self, on: Which) -> anyhow::Result<()> {
        let mut failure = None;
        measure::serve(
            self.endpoint(on),
            GLANCE,
            || self.halted(),
            |served| {
                if let Served::Failed { error } = served {
                    failure = Some(error);
                }
            },
        )?;
        match failure {
            Some(error) => Err(error),
            None => say(&Report::Halted),
        }
    }

    fn endpoint(&self, which: Which) -> &Endpoint {
        match which {
            Which::Main => &self.main,
            Which::Switched => &self.switched,
        }
    }

    fn measure(&self, on: Which, with: u16, label: &Label, plan: &Plan) -> anyhow::Result<()> {
        let Some(partner) = self.partners.iter().find(|partner| partner.number == with) else {
            bail!("guest {with} is not connected");
        };
        let (endpoint, peer) = match on {
            Which::Main => (&self.main, partner.main),
            Which::Switched => (&self.switched, partner.switched),
        };
        let lent = label.path == Path::DirectLent;
        let wanted = lent || label.path == Path::Direct;
        let is_wanted = || matches!(endpoint.path(&peer), PathKind::Direct { .. }) == wanted;
        let mut client = Client::new(endpoint, peer, label.wait);
        client.settle(is_wanted)?;
        if lent {
            client.lend();
        }
        if !is_wanted() {
            bail!(
                "messages to guest {with} do not take the {} path that was to be measured",
                label.path
            );
        }
        carry_out(label, &mut client, plan)?;
        endpoint.set_wait(Wait::Sleep.of_library());
        Ok(())
    }
}

/// Measures what a plan says, and says what came of it, one figure after the other.
pub(crate) fn carry_out(label: &Label, way: &mut dyn Way, plan: &Plan) -> anyhow::Result<()> {
    if plan.calls {
        return count_calls(label, way, plan);
    }
    let each = Duration::from_millis(plan.each_ms);
    for &size in &plan.pingpong_sizes {
        let record = label.pingpong(way, size, each)?;
        say(&Report::Measured { record })?;
    }
    for &size in &plan.stream_sizes {
        let record = label.stream(way, size, each)?;
        say(&Report::Measured { record })?;
    }
    for &size in &plan.rate_sizes {
        let record = label.rate(way, size, each)?;
        say(&Report::Measured { record })?;
    }
    Ok(())
}

/// Counts system calls as a plan says, and says what came of it.
fn count_calls(label: &Label, way: &mut dyn Way, plan: &Plan) -> anyhow::Result<()> {
    // Enough that a timer in between, and agreeing on the test, count for little.
    let (trips, streamed, messages) = (5000, 500, 50_000);
    let parties = plan.parties.as_deref().unwrap_or_default();
    let mut calls = Calls::of(parties)?;
    let tell = |of, size, per_message| {
        let record = label.calls(of, size, per_message);
        say(&Report::Measured { record })
    };
    for &size in &plan.pingpong_sizes {
        tell("pingpong", size, calls.round_trips(way, size, trips)?)?;
    }
    for &size in &plan.stream_sizes {
        tell("stream", size, calls.one_way(way, size, streamed)?)?;
    }
    for &size in &plan.rate_sizes {
        tell("rate", size, calls.one_way(way, size, messages)?)?;
    }
    Ok(())
}
