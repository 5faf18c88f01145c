//! What losses cost: one large message at a time over a real Ethernet link that loses frames, against the same
//! link without losses. `cargo run --release -p myrixen --example lossy_link -- --json loss.json`
//!
//! Makes two hosts (network namespaces, without root) joined by a virtual cable for packets of 9000 bytes, and runs a
//! back end for each in this process. Each measurement has its own back ends and endpoints on that cable; the
//! kinds of links take turns, and the medians of all rounds are compared.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use myrixen::link::ethernet::{EthernetConfig, EthernetLink};
use myrixen::link::fault::{FaultConfig, FaultLink, Faults};
use myrixen::link::{Link, Tag};
use myrixen::{Counters, Embedded, Endpoint, EndpointOptions, Fabric, Match};
use myrixen_netlab::{Host, Lab};
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str =
    "usage: lossy_link [--json FILE] [--rounds N (7)] [--mib N (64)] [--seed N (1)]";
const KEY: u32 = 1;
/// A message that is not measured: windows and round trips settle.
const WARM_UP: usize = 4 << 20;

/// What the frames go through.
#[derive(Clone, Copy)]
enum Through {
    /// The link itself.
    Plain,
    /// A link that loses frames at this rate, and lets as many be overtaken.
    Faults(f64),
}

const KINDS: [Through; 4] = [
    Through::Plain,
    Through::Faults(0.0),
    Through::Faults(0.01),
    Through::Faults(0.05),
];
/// The one that others are compared with: its frames take the same way as those that are lost.
const LOSS_FREE: usize = 1;

impl Through {
    fn name(self) -> String {
        match self {
            Self::Plain => "no fault link".into(),
            Self::Faults(rate) => format!("{:.0} % lost", rate * 100.0),
        }
    }

    fn wrap(self, link: EthernetLink, seed: u64) -> Result<Box<dyn Link>> {
        let Self::Faults(rate) = self else {
            return Ok(Box::new(link));
        };
        let transmit = Faults {
            drop: rate,
            reorder: rate,
            ..Faults::default()
        };
        let config = FaultConfig {
            seed,
            transmit,
            receive: Faults::default(),
        };
        Ok(Box::new(FaultLink::new(link, &config)?))
    }
}

struct Options {
    json: Option<String>,
    rounds: u64,
    bytes: usize,
    seed: u64,
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let mut options = Self {
            json: None,
            rounds: 7,
            bytes: 64 << 20,
            seed: 1,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            match name.as_str() {
                "--json" => options.json = Some(value),
                "--rounds" => options.rounds = value.parse::<u64>()?.max(1),
                "--mib" => options.bytes = value.parse::<usize>()?.clamp(1, 2048) << 20,
                "--seed" => options.seed = value.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

/// One end: an endpoint and what it needs.
struct Side {
    endpoint: Endpoint,
    _fabric: Fabric,
}

fn open(host: &Host, interface: &str, through: Through, seed: u64) -> Result<Side> {
    let link = host.run(|| EthernetLink::open(&EthernetConfig::new(interface)))??;
    let fabric = Embedded::default()
        .host(host.name())
        .uplink(interface, through.wrap(link, seed)?, Tag::None)
        .start()?
        .join()?;
    Ok(Side {
        endpoint: fabric.open(EndpointOptions::default().key(KEY))?,
        _fabric: fabric,
    })
}

/// Sends one message and gives the time until both programs know that it is there.
fn transfer(sides: &[Side; 2], message: &[u8], room: &mut [u8]) -> Result<Duration> {
    let [from, to] = [&sides[0].endpoint, &sides[1].endpoint];
    let peer = from.connect(to.address(), KEY, Duration::from_secs(60))?;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| to.recv(Match::exact(1), room));
        let start = Instant::now();
        from.send(&peer, 1, message)?;
        receiver.join().map_err(|_| "the receiver panicked")??;
        Ok(start.elapsed())
    })
}

struct Measured {
    mb_per_s: f64,
    sender: Counters,
    receiver: Counters,
}

struct Cable<'a> {
    hosts: [&'a Host; 2],
    names: [String; 2],
}

impl Cable<'_> {
    fn measure(&self, through: Through, seed: u64, message: &[u8]) -> Result<Measured> {
        // The directions must not suffer alike.
        let seeds = [seed.wrapping_mul(2), seed.wrapping_mul(2).wrapping_add(1)];
        let sides = [
            open(self.hosts[0], &self.names[0], through, seeds[0])?,
            open(self.hosts[1], &self.names[1], through, seeds[1])?,
        ];
        let mut room = vec![0; message.len()];
        let warm_up = WARM_UP.min(message.len());
        transfer(&sides, &message[..warm_up], &mut room[..warm_up])?;
        let time = transfer(&sides, message, &mut room)?;
        if room != message {
            return Err("the message has changed on its way".into());
        }
        Ok(Measured {
            mb_per_s: message.len() as f64 / 1e6 / time.as_secs_f64(),
            sender: sides[0].endpoint.counters(),
            receiver: sides[1].endpoint.counters(),
        })
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What all rounds with one kind of link gave.
fn report(rounds: &[Vec<Measured>], options: &Options) -> (String, serde_json::Value) {
    let of = |kind: usize| rounds.iter().map(move |round| &round[kind]);
    let rate = |kind: usize| median(of(kind).map(|one| one.mb_per_s));
    let loss_free = rate(LOSS_FREE);
    let mut table = format!(
        "{:<14} {:>8} {:>8} {:>8} {:>6} {:>9} {:>9} {:>9}\n",
        "link", "MB/s", "least", "most", "ratio", "pulls", "repeated", "timeouts"
    );
    let mut records = Vec::new();
    for (kind, through) in KINDS.into_iter().enumerate() {
        let rates = || of(kind).map(|one| one.mb_per_s);
        let (least, most) = (
            rates().fold(f64::MAX, f64::min),
            rates().fold(0.0, f64::max),
        );
        let count =
            |what: fn(&Counters) -> u64| median(of(kind).map(|one| what(&one.receiver) as f64));
        let (pulls, repeated) = (count(|c| c.pulls_out), count(|c| c.pull_repeats));
        let timeouts = count(|c| c.timeouts);
        let resends = median(of(kind).map(|one| one.sender.resends as f64));
        let ratio = rate(kind) / loss_free;
        let _ = writeln!(
            table,
            "{:<14} {:>8.0} {least:>8.0} {most:>8.0} {ratio:>6.2} {pulls:>9} {repeated:>9} {timeouts:>9}",
            through.name(),
            rate(kind),
        );
        records.push(json!({
            "test": "stream", "path": "native", "link": "ethernet", "wait": "adaptive",
            "size": options.bytes, "messages": 1, "rounds": options.rounds,
            "through": through.name(),
            "loss": match through { Through::Plain => 0.0, Through::Faults(rate) => rate },
            "mb_per_s": rate(kind), "least": least, "most": most, "of_loss_free": ratio,
            "pulls": pulls, "pull_repeats": repeated, "pull_timeouts": timeouts,
            "resends": resends,
        }));
    }
    (table, records.into())
}

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    // First of all, while there is one thread.
    let lab = Lab::enter()?;
    let hosts = [lab.host("left")?, lab.host("right")?];
    let cable = Cable {
        names: lab.cable([&hosts[0], &hosts[1]], 9000)?,
        hosts: [&hosts[0], &hosts[1]],
    };
    let message: Vec<u8> = (0..options.bytes / 8)
        .flat_map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let seed = options.seed.wrapping_add(round);
        let mut measured = Vec::new();
        for through in KINDS {
            let one = cable.measure(through, seed, &message)?;
            eprintln!(
                "round {} of {}, {}: {:.0} MB/s",
                round + 1,
                options.rounds,
                through.name(),
                one.mb_per_s
            );
            measured.push(one);
        }
        rounds.push(measured);
    }
    let (table, records) = report(&rounds, &options);
    println!(
        "One message of {} MiB, medians of {} rounds; the ratio is to 0 % lost.\n{table}",
        options.bytes >> 20,
        options.rounds
    );
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string_pretty(&records)?)?;
    }
    Ok(())
}
