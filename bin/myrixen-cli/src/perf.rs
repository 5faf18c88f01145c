//! `myrixen perf`: measuring between two endpoints anywhere in the fabric.

use std::time::Duration;

use anyhow::{Context as _, bail};
use mxoe::addr::{Address, EndpointId, NicAddr};
use myrixen::{Board, Endpoint, EndpointOptions, Fabric, PathKind, Peer};

use crate::cli::{AttachArgs, PerfArgs, PerfCommand, ServeArgs};
use crate::measure::{self, Client, Label, Served};
use crate::output;
use crate::peer;
use crate::progress::Progress;
use crate::record::{self, Path, Record, Wait};
use crate::report::{self, table};
use crate::units;

/// How long the far end may take to answer a connect.
const CONNECT: Duration = Duration::from_secs(10);

/// How often a server looks up from waiting; it has nothing else to do.
const PAUSE: Duration = Duration::from_secs(3600);

/// Sizes that are measured unless others are asked for.
const PINGPONG_SIZES: [u64; 13] = [
    0,
    8,
    32,
    128,
    512,
    2 << 10,
    8 << 10,
    32 << 10,
    128 << 10,
    512 << 10,
    1 << 20,
    2 << 20,
    4 << 20,
];
const STREAM_SIZES: [u64; 8] = [
    128,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
];
const RATE_SIZES: [u64; 5] = [0, 8, 32, 128, 1 << 10];

/// Which test, as the command names it.
#[derive(Clone, Copy)]
enum Test {
    /// So many round trips, or for a time.
    PingPong(Option<u64>),
    Stream,
    Rate,
}

/// Runs one of the commands.
pub(crate) fn run(command: &PerfCommand) -> anyhow::Result<()> {
    match command {
        PerfCommand::Serve(args) => serve(args),
        PerfCommand::Pingpong(args) => {
            let test = Test::PingPong(args.rounds);
            measure(test, &PINGPONG_SIZES, &args.perf, false)
        }
        PerfCommand::Stream(args) => measure(Test::Stream, &STREAM_SIZES, &args.perf, args.lent),
        PerfCommand::Rate(args) => measure(Test::Rate, &RATE_SIZES, args, false),
        PerfCommand::Peer(command) => peer::run(command),
        PerfCommand::Report(args) => report::bars::run(args),
        PerfCommand::Scale(args) => crate::scale::run(args),
    }
}

/// Joins the fabric as the arguments say.
pub(crate) fn join(attach: &AttachArgs) -> anyhow::Result<Fabric> {
    let mut builder = Fabric::builder();
    if let Some(socket) = &attach.socket {
        builder = builder.socket(socket);
    }
    if let Some(board) = &attach.board {
        builder = builder.board_name(board_name(board));
    }
    if let Some(partition) = &attach.partition {
        builder = builder.partition(partition);
    }
    Ok(builder.connect()?)
}

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let fabric = join(&args.attach)?;
    let mut options = EndpointOptions::default()
        .key(args.key)
        .direct(!args.no_direct);
    if let Some(id) = args.endpoint {
        options = options.id(id);
    }
    let endpoint = fabric.open(options)?;
    let (name, number) = (fabric.board().name, endpoint.address().endpoint);
    output::print(&format!(
        "serving at {name}:{number}; measure from elsewhere with\n    myrixen perf pingpong {name}:{number}\n"
    ))?;
    measure::serve(
        &endpoint,
        PAUSE,
        || false,
        |served| match served {
            Served::Test {
                client,
                size,
                count,
            } => {
                eprintln!(
                    "{}: {count} messages of {}",
                    client.address(),
                    units::size(size)
                );
            }
            Served::Failed { error } => eprintln!("{error:#}"),
        },
    )
}

fn measure(test: Test, sizes: &[u64], args: &PerfArgs, lent: bool) -> anyhow::Result<()> {
    let target: Target = args.target.parse()?;
    let fabric = join(&args.attach)?;
    let options = EndpointOptions::default()
        .wait(args.wait.of_library())
        .direct(!args.no_direct);
    let endpoint = fabric.open(options)?;
    let address = target.find(&fabric)?;
    let server = endpoint
        .connect(address, args.key, CONNECT)
        .with_context(|| {
            format!(
                "cannot connect to {}: `myrixen perf serve` has to run there",
                args.target
            )
        })?;
    let here = is_here(&fabric, &endpoint, &server)?;
    let is_direct = || matches!(endpoint.path(&server), PathKind::Direct { .. });
    let mut client = Client::new(&endpoint, server, args.wait);
    if here && !args.no_direct {
        client.settle(is_direct)?;
    }
    let is_direct = is_direct();
    if lent {
        if !is_direct {
            bail!(
                "there is no direct channel to {}: memory is lent to guests of the same host and partition",
                args.target
            );
        }
        client.lend();
    }
    let path = match (is_direct, here) {
        (true, _) if lent => Path::DirectLent,
        (true, _) => Path::Direct,
        (false, true) => Path::Switched,
        (false, false) => Path::Wire,
    };
    warn_of_cores(&path, args.wait);
    let label = Label {
        path,
        link: None,
        wait: args.wait,
        // The server may be on another machine.
        parties: None,
    };
    let sizes = if args.sizes.is_empty() {
        sizes
    } else {
        &args.sizes
    };
    let mut progress = Progress::new();
    progress.step(&format!(
        "Measuring the {} path to {}",
        label.path, args.target
    ));
    let mut records: Vec<Record> = Vec::new();
    for &size in sizes {
        progress.detail(&format!("messages of {}", units::size(size)));
        records.push(match test {
            Test::PingPong(None) => label.pingpong(&mut client, size, args.seconds)?,
            Test::PingPong(Some(rounds)) => label.in_one_go(&mut client, size, rounds)?,
            Test::Stream => label.stream(&mut client, size, args.seconds)?,
            Test::Rate => label.rate(&mut client, size, args.seconds)?,
        });
    }
    progress.finish("");
    output::print(&format!("{}\n", table::details(&records)))?;
    match &args.json {
        Some(file) => record::write(file, &records),
        None => Ok(()),
    }
}

/// Whether `server` is on this host.
fn is_here(fabric: &Fabric, endpoint: &Endpoint, server: &Peer) -> anyhow::Result<bool> {
    let nic = server.address().nic;
    let local = |board: &Board| board.local && board.nic == nic;
    Ok(nic == endpoint.address().nic || fabric.boards()?.iter().any(local))
}

fn warn_of_cores(path: &Path, wait: Wait) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = if *path == Path::Switched { 3 } else { 2 };
    if wait == Wait::Spin && cores < busy {
        eprintln!(
            "note: {busy} processes want a core each and there are {cores}: they will wait for each other; \
             --wait sleep shows what the path can do here"
        );
    }
}

/// Who answers: a board and an endpoint on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    board: String,
    endpoint: EndpointId,
}

impl std::str::FromStr for Target {
    type Err = anyhow::Error;

    /// Reads `BOARD:ENDPOINT`; board names and MAC addresses have colons of their own, so the last one counts.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts = text.rsplit_once(':').and_then(|(board, endpoint)| {
            let endpoint = EndpointId::new(endpoint.parse().ok()?);
            (!board.is_empty()).then(|| Self {
                board: board.to_owned(),
                endpoint,
            })
        });
        parts.with_context(|| {
            format!("{text:?} is no target: expected BOARD:ENDPOINT, such as b:0:3 for endpoint 3 of board b:0")
        })
    }
}

impl Target {
    fn find(&self, fabric: &Fabric) -> anyhow::Result<Address> {
        if let Ok(nic) = self.board.parse::<NicAddr>() {
            return Ok(Address::new(nic, self.endpoint));
        }
        match fabric.lookup(&board_name(&self.board)) {
            Ok(nic) => Ok(Address::new(nic, self.endpoint)),
            Err(error) => {
                let known = fabric.boards().unwrap_or_default();
                let names: Vec<String> = known.iter().map(name).collect();
                bail!("{error} (boards that are known: {})", names.join(", "))
            }
        }
    }
}

/// The full name of a board: the first one of a host is meant by the host's name.
fn board_name(name: &str) -> String {
    if name.contains(':') {
        name.to_owned()
    } else {
        format!("{name}:0")
    }
}

/// A board's name, or its MAC address while it has none.
pub(crate) fn name(board: &Board) -> String {
    board.name.clone().unwrap_or_else(|| board.nic.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_from_its_last_colon() {
        let target = |text: &str| text.parse::<Target>().unwrap();
        let expected = |board: &str, number| Target {
            board: board.to_owned(),
            endpoint: EndpointId::new(number),
        };
        assert_eq!(target("b:0:3"), expected("b:0", 3));
        assert_eq!(target("b:7"), expected("b", 7));
        assert_eq!(board_name(&target("b:7").board), "b:0");
        assert_eq!(board_name(&target("b:1:7").board), "b:1");
        assert_eq!(
            target("02:00:00:00:00:0a:255"),
            expected("02:00:00:00:00:0a", 255)
        );
    }

    #[test]
    fn a_target_that_is_none_is_explained() {
        for text in ["b", ":3", "b:0:256", "b:0:x", ""] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("BOARD:ENDPOINT"), "{error}");
        }
    }
}
