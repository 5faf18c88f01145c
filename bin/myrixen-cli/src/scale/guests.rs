//! A process with guests: does what the coordinator orders.

use std::io::{BufRead as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use myrixen::{Endpoint, EndpointOptions, Fabric, Match, PathKind, Peer};

use super::args::GuestsArgs;
use super::order::{Answer, Order};
use super::talk;
use crate::demo::{Place, die_with_parent};
use crate::measure::Laps;

/// What endpoints have to show each other to connect.
const KEY: u32 = 0x7363_616c;

/// How long a connect, a message or a direct channel may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks whether there is a direct channel.
const GLANCE: Duration = Duration::from_millis(1);

/// An endpoint, and whom it has connected to.
pub(super) struct Seat {
    pub(super) endpoint: Endpoint,
    pub(super) peers: Vec<Peer>,
}

struct Guests {
    seats: Vec<Seat>,
    fabrics: Vec<Fabric>,
}

/// Runs until its standard input ends.
pub(super) fn run(args: &GuestsArgs) -> anyhow::Result<()> {
    die_with_parent()?;
    let done = attach(args).and_then(|mut guests| guests.obey());
    if let Err(error) = &done {
        say(&Answer::Failed {
            why: format!("{error:#}"),
        })?;
    }
    // At once: nobody waits for the last acknowledgements of messages that were only measured.
    std::process::exit(i32::from(done.is_err()))
}

fn say(answer: &Answer) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)
        .and_then(|()| out.flush())
        .context("the coordinator is gone")
}

fn attach(args: &GuestsArgs) -> anyhow::Result<Guests> {
    let join = |board: &String| {
        let builder = Fabric::builder().socket(&args.socket);
        Ok(builder.board_name(format!("{board}:0")).connect()?)
    };
    let fabrics = args
        .boards
        .iter()
        .map(join)
        .collect::<anyhow::Result<_>>()?;
    say(&Answer::Ready)?;
    Ok(Guests {
        seats: Vec::new(),
        fabrics,
    })
}

impl Guests {
    fn obey(&mut self) -> anyhow::Result<()> {
        for line in std::io::stdin().lock().lines() {
            let answer = match serde_json::from_str(&line?)? {
                Order::Open {
                    each,
                    ring_bytes,
                    direct,
                } => self.open(each, ring_bytes, direct)?,
                Order::Connect { from, to } => self.connect(from, &to)?,
                Order::Talk {
                    size,
                    from_ns,
                    until_ns,
                } => talk::run(&self.seats, size, from_ns, until_ns)?,
                Order::Echo { endpoint, rounds } => echo(self.seat(endpoint)?, rounds)?,
                Order::PingPong {
                    endpoint,
                    size,
                    rounds,
                } => pingpong(self.seat(endpoint)?, size, rounds)?,
                Order::AwaitDirect { endpoint } => await_direct(self.seat(endpoint)?)?,
            };
            say(&answer)?;
        }
        Ok(())
    }

    fn seat(&self, number: usize) -> anyhow::Result<&Seat> {
        let seat = self.seats.get(number);
        seat.with_context(|| format!("endpoint {number} is not open"))
    }

    fn open(&mut self, each: usize, ring_bytes: u32, direct: bool) -> anyhow::Result<Answer> {
        let options = EndpointOptions::default()
            .key(KEY)
            .wait(myrixen::Wait::Sleep)
            .ring_bytes(ring_bytes)
            .direct(direct);
        let (mut at, mut took_ns) = (Vec::new(), Vec::new());
        for fabric in &self.fabrics {
            for _ in 0..each {
                let options = options.clone();
                let before = Instant::now();
                let endpoint = fabric.open(options)?;
                took_ns.push(nanoseconds(before.elapsed()));
                at.push(endpoint.address().into());
                self.seats.push(Seat {
                    endpoint,
                    peers: Vec::new(),
                });
            }
        }
        Ok(Answer::Opened { at, took_ns })
    }

    fn connect(&mut self, from: usize, to: &[Place]) -> anyhow::Result<Answer> {
        let addresses = to.iter().map(Place::address);
        let addresses = addresses.collect::<anyhow::Result<Vec<_>>>()?;
        let seat = self.seats.get_mut(from).context("it is not open")?;
        seat.peers.reserve(addresses.len());
        let mut took_ns = Vec::with_capacity(addresses.len());
        let begun = Instant::now();
        for address in addresses {
            let before = Instant::now();
            let peer = seat.endpoint.connect(address, KEY, PATIENCE)?;
            took_ns.push(nanoseconds(before.elapsed()));
            seat.peers.push(peer);
        }
        let all_ns = nanoseconds(begun.elapsed());
        Ok(Answer::Connected { took_ns, all_ns })
    }
}

fn first_peer(seat: &Seat) -> anyhow::Result<&Peer> {
    seat.peers.first().context("it is not connected")
}

fn receive(endpoint: &Endpoint, buffer: &mut [u8]) -> anyhow::Result<myrixen::Received> {
    match endpoint.recv_timeout(Match::any(), buffer, PATIENCE)? {
        Some(received) => Ok(received),
        None => bail!("no message came within {PATIENCE:?}"),
    }
}

fn echo(seat: &Seat, rounds: u64) -> anyhow::Result<Answer> {
    let mut buffer = [0; 256];
    let mut partner: Option<Peer> = None;
    for _ in 0..rounds {
        let received = receive(&seat.endpoint, &mut buffer)?;
        let known = partner.filter(|peer| peer.address() == received.source);
        let peer = known.or_else(|| seat.endpoint.peer(received.source));
        let peer = peer.context("the sender is not connected any more")?;
        partner = Some(peer);
        seat.endpoint
            .send(&peer, received.bits, &buffer[..received.len])?;
    }
    Ok(Answer::Done)
}

fn pingpong(seat: &Seat, size: usize, rounds: u64) -> anyhow::Result<Answer> {
    let peer = first_peer(seat)?;
    let mut buffer = vec![0x5a; size];
    let mut laps = Laps::begin(1)?;
    for round in 0..rounds {
        seat.endpoint.send(peer, round, &buffer)?;
        receive(&seat.endpoint, &mut buffer)?;
        laps.lap()?;
    }
    let p50_ns = laps.into_times()?.value_at_quantile(0.5);
    Ok(Answer::Returned { p50_ns })
}

fn await_direct(seat: &Seat) -> anyhow::Result<Answer> {
    let peer = first_peer(seat)?;
    let until = Instant::now() + PATIENCE;
    while !matches!(seat.endpoint.path(peer), PathKind::Direct { .. }) {
        if Instant::now() > until {
            bail!("there is no direct channel after {PATIENCE:?}");
        }
        std::thread::sleep(GLANCE);
    }
    Ok(Answer::Done)
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
