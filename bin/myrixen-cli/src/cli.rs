//! What can be written on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mxoe::frame::Dialect;

use crate::peer::Kind;
use crate::record::Wait;
use crate::report::bars::Bar;
use crate::scale::{ScaleArgs, ScalePart};
use crate::units::parse_size;

/// MX message passing between virtual machines, containers and hosts: see it work, measure it, look into it.
#[derive(Debug, Parser)]
#[command(
    name = "myrixen",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows everything on this machine: two hosts, four guests, a back end that is killed
    ///
    /// Makes two hosts (network namespaces) joined by an Ethernet link, each with its own back end and two
    /// guests. All guests exchange and verify messages, every path is measured, and a back end is
    /// killed and started again in the middle of a verified stream. Needs no root and no configuration.
    Demo(DemoArgs),
    /// Measures every path beside what the machine allows and beside other transports, in one run
    ///
    /// Makes hosts (network namespaces) joined by virtual cables, and gives everybody a turn in each round: our paths, plain sockets, memory
    /// copies, and what is installed of iperf3, fi_pingpong (libfabric), ucx_perftest (UCX) and myrixen-peer-iceoryx2. Prints medians and ratios, and writes records and a page
    /// with plots. Needs no root and no configuration. Let the machine do nothing else meanwhile.
    Bench(BenchArgs),
    /// Lists boards, peers, endpoints and attached guests
    Info(InfoArgs),
    /// Measures round trips, bandwidth and message rate between two endpoints anywhere in the fabric
    #[command(subcommand)]
    Perf(PerfCommand),
    /// Shows what the daemon has counted: frames, bytes and every reason for a drop
    Counters(CountersArgs),
    /// Prints the MXoE frames of a packet capture as text
    ///
    /// Payload is never printed, only its length.
    Decode(DecodeArgs),
    /// Exchanges messages with programs on other boards, all to all, and compares every byte
    ///
    /// Start it once for each who takes part, anywhere in the fabric, with the same list; they find each other. It prints what
    /// it does as JSON, one value a line, and ends well when every message has arrived once, in order and unchanged.
    Verify(VerifyArgs),
    /// Gives a domain of Xen a device: a board of the fabric, served by the back end of this driver domain
    Attach(DeviceOptionArgs),
    /// Takes a device away from a domain of Xen
    Detach(DeviceArgs),
    /// Lists the devices of Xen domains
    List(DeviceListArgs),
    /// Has a domain of Xen let go of its devices, so that it can be saved or migrated
    ///
    /// Its programs wait from then on, until the restored domain has been given the devices again: this prints the `attach` that does
    /// it. Conversations go on where they were, if partners have the patience.
    Suspend(SuspendArgs),
    /// Has a domain of Xen go on that was suspended and is not saved after all
    Resume(DeviceArgs),
    /// Writes the manual pages of this command and its subcommands
    Man {
        /// Where to write them; made if absent.
        directory: PathBuf,
    },
    /// Prints a completion script
    Completions {
        /// The shell to complete in.
        shell: clap_complete::Shell,
    },
    /// The processes that the demo consists of
    #[command(subcommand, hide = true)]
    DemoPart(DemoPart),
    /// The processes that `perf scale` consists of
    #[command(subcommand, hide = true)]
    ScalePart(ScalePart),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where report.html and results.json are written; made if absent
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    pub(crate) out: PathBuf,
    /// Writes the records to FILE instead of results.json in the output directory
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// How often a back end is killed and started again, one host's after the other's
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) restarts: u32,
    /// Joins the hosts by VXLAN over loopback UDP even where namespaces are allowed
    #[arg(long)]
    pub(crate) vxlan: bool,
    /// Leaves the measurements out: exchange and restart only
    #[arg(long)]
    pub(crate) no_perf: bool,
}

/// Which back end, and as whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct AttachArgs {
    /// The back end's socket [default: /run/myrixen/myrixen.sock]
    #[arg(long, value_name = "PATH", env = "MYRIXEN_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// The board to attach as: NAME or NAME:NUMBER [default: given by the back end]
    #[arg(long, value_name = "NAME")]
    pub(crate) board: Option<String>,
    /// The partition to attach to [default: the back end's]
    #[arg(long, value_name = "NAME")]
    pub(crate) partition: Option<String>,
}

/// The operator's socket of a daemon.
#[derive(Clone, Debug, Args)]
pub(crate) struct ControlArgs {
    /// The daemon's operator socket
    #[arg(long, value_name = "PATH", env = "MYRIXEN_CONTROL", default_value = myrixen_control::Client::DEFAULT_PATH)]
    pub(crate) control: PathBuf,
}

/// One who takes part in `verify`: BOARD or BOARD/SLOT; several of a board have different slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taker {
    pub(crate) board: String,
    /// It has the endpoints 2 * slot and 2 * slot + 1 of its board.
    pub(crate) slot: u8,
}

impl std::fmt::Display for Taker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.board, self.slot)
    }
}

fn parse_taker(text: &str) -> Result<Taker, String> {
    let (board, slot) = text.split_once('/').unwrap_or((text, "0"));
    match slot.parse() {
        Ok(slot @ 0..=127) if !board.is_empty() => Ok(Taker {
            board: board.to_owned(),
            slot,
        }),
        _ => Err(format!(
            "{text:?} is not BOARD or BOARD/SLOT with a slot from 0 to 127"
        )),
    }
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) attach: AttachArgs,
    /// Which of them this one is
    #[arg(long = "as", value_name = "BOARD[/SLOT]", value_parser = parse_taker)]
    pub(crate) me: Taker,
    /// All who take part, this one included, in the same order everywhere
    #[arg(long, value_name = "BOARD[/SLOT],...", value_delimiter = ',', required = true, value_parser = parse_taker)]
    pub(crate) with: Vec<Taker>,
    /// Goes on for so long with a verified stream of messages of mixed sizes
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stream: Option<u64>,
    /// Leaves out the exchange of messages of all sizes
    #[arg(long)]
    pub(crate) no_exchange: bool,
    /// Uses no direct channels
    #[arg(long)]
    pub(crate) switched: bool,
    /// How long the others may take to come, and a partner may be silent, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub(crate) patience: Duration,
}

/// A device of a domain.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeviceArgs {
    /// The domain, by id (`xl domid NAME`)
    #[arg(value_name = "DOMID")]
    pub(crate) domain: u16,
    /// The device's number [default: for attach the lowest that is free, for detach 0, else all of the domain]
    #[arg(long = "device", value_name = "N")]
    pub(crate) number: Option<u32>,
    /// The driver domain, by id [default: for attach the domain this runs in, for detach the device's]
    #[arg(long, value_name = "DOMID")]
    pub(crate) back_end: Option<u16>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DeviceOptionArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// The partition [default: the back end's first]
    #[arg(long, value_name = "NAME")]
    pub(crate) partition: Option<String>,
    /// The name of the domain's board [default: the domain's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) board: Option<String>,
    /// The address of the domain's board [default: one made from the domain's UUID]
    #[arg(long, value_name = "MAC", value_parser = crate::xen::parse_mac)]
    pub(crate) mac: Option<myrixen_platform::message::Mac>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SuspendArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// How long its programs may take to let go, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DeviceListArgs {
    /// The driver domain, by id [default: the domain this runs in]
    #[arg(long, value_name = "DOMID")]
    pub(crate) back_end: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) attach: AttachArgs,
    #[command(flatten)]
    pub(crate) control: ControlArgs,
    /// Prints what the daemon said as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CountersArgs {
    #[command(flatten)]
    pub(crate) control: ControlArgs,
    /// Prints the Prometheus text format
    #[arg(long, conflicts_with = "watch")]
    pub(crate) prometheus: bool,
    /// Prints again every SECONDS, with the change since the last time
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = parse_seconds)]
    pub(crate) watch: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// A capture in pcap format; - is standard input
    pub(crate) file: PathBuf,
    /// The dialect of the recorded hosts: compat, native or native:MTU [default: guessed from the frames]
    #[arg(long)]
    pub(crate) dialect: Option<Dialect>,
    /// Prints every field, one a line
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PerfCommand {
    /// Answers the other perf commands: run it at the far end
    Serve(ServeArgs),
    /// Half of the time from a message to its answer, by size
    Pingpong(PingpongArgs),
    /// Bandwidth one way, by size
    Stream(StreamArgs),
    /// Messages a second one way, by size
    Rate(PerfArgs),
    /// Measures TCP or UDP instead, between the same machines, to compare with
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Puts records side by side, holds ratios against bars, and writes a page with plots
    Report(ReportArgs),
    /// Measures what many guests, endpoints and connections cost, and guests that sleep; starts all it needs
    Scale(ScaleArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// Over TCP, without Nagle's delay
    #[command(subcommand)]
    Tcp(PeerRole),
    /// Over UDP, one datagram a message
    #[command(subcommand)]
    Udp(PeerRole),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeerRole {
    /// Answers the others: run it at the far end
    Serve(PeerServeArgs),
    /// Half of the time from a message to its answer, by size
    Pingpong(PeerArgs),
    /// Bandwidth one way, by size; over TCP only
    Stream(PeerArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PeerServeArgs {
    /// Where to listen, as ADDRESS:PORT
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Who answers, as ADDRESS:PORT
    pub(crate) address: String,
    /// Message sizes, with commas between them; k and m are binary
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = parse_message_size, default_value = "8,1k,32k")]
    pub(crate) sizes: Vec<u64>,
    /// How long each size is measured, in seconds
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// Writes the records to FILE as a JSON array
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Records, as other commands write them with --json; of several of one kind the median counts
    #[arg(required = true)]
    pub(crate) records: Vec<PathBuf>,
    /// A ratio and its bar: \"direct/peer:tcp half_rtt 8 <=0.35\"; other figures are mb_per_s, msgs_per_s, cpu_s_per_gib and cpu_s_per_million; held against each way of waiting, or with `spin` or `sleep` behind it against one; with `paired` the median is that of the ratios round by round, where both have as many
    #[arg(long = "bar", value_name = "RATIO")]
    pub(crate) bars: Vec<Bar>,
    /// Leaves records out that say they were disturbed by more than so many thousandths, where three of their kind remain
    #[arg(long, value_name = "THOUSANDTHS")]
    pub(crate) calm: Option<u64>,
    /// Writes a page with plots to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Writes the records and then the ratios to FILE as a JSON array
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// The page's title
    #[arg(long, default_value = "MyriXen measured")]
    pub(crate) title: String,
    /// A sentence that stands above all figures
    #[arg(long = "note", value_name = "TEXT")]
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) attach: AttachArgs,
    /// The endpoint number to open [default: any free one]
    #[arg(long, value_name = "N")]
    pub(crate) endpoint: Option<u8>,
    /// The key that clients have to give
    #[arg(long, default_value_t = DEFAULT_KEY)]
    pub(crate) key: u32,
    /// Opens no direct channels: guests of this host are reached through the back end
    #[arg(long)]
    pub(crate) no_direct: bool,
}

/// What `perf` endpoints are opened with unless told otherwise, so that nothing else connects by mistake.
pub(crate) const DEFAULT_KEY: u32 = 0x7065_7266;

#[derive(Debug, Args)]
pub(crate) struct PerfArgs {
    /// Who answers, as `myrixen perf serve` printed it: BOARD:ENDPOINT, BOARD a name or a MAC address
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) attach: AttachArgs,
    /// Message sizes, with commas between them; k and m are binary [default: a range up to 4m]
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = parse_message_size)]
    pub(crate) sizes: Vec<u64>,
    /// What both ends do while there is nothing to do
    #[arg(long, value_enum, default_value_t = Wait::Sleep)]
    pub(crate) wait: Wait,
    /// How long each size is measured, in seconds
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// The key that the server was started with
    #[arg(long, default_value_t = DEFAULT_KEY)]
    pub(crate) key: u32,
    /// Opens no direct channel: a guest of this host is reached through the back end
    #[arg(long)]
    pub(crate) no_direct: bool,
    /// Writes the records to FILE as a JSON array
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PingpongArgs {
    #[command(flatten)]
    pub(crate) perf: PerfArgs,
    /// Measures so many round trips of each size, in one go after 2000 that do not count, rather than for a time
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) rounds: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    pub(crate) perf: PerfArgs,
    /// Sends large messages from memory that the other end can read in place: one copy. The path is then named direct-lent
    #[arg(long, conflicts_with = "no_direct")]
    pub(crate) lent: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Fewer sizes and less time for each: done in two minutes in place of six
    #[arg(long)]
    pub(crate) quick: bool,
    /// Counts system calls for each message instead, of our paths and of plain sockets; as root
    #[arg(long, conflicts_with_all = ["quick", "rounds"])]
    pub(crate) calls: bool,
    /// Rounds, in each of which everything is measured once [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: Option<u32>,
    /// Measures only what begins with one of these names, with commas between them: direct, wire:vxlan, peer:ucx ...
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// The folder with the libfabric provider, for MPI over it [default: where this program is, or `ffi` beside that, where cargo puts it]
    #[arg(long, value_name = "DIR", env = "MYRIXEN_PROVIDER")]
    pub(crate) provider: Option<PathBuf>,
    /// Where results.json and report.html go
    #[arg(long, value_name = "DIR", default_value = "myrixen-bench")]
    pub(crate) out: PathBuf,
}

/// The process in which `myrixen bench` measures matching.
#[derive(Debug, Args)]
pub(crate) struct MatchingArgs {
    /// Entries before the measured ones.
    #[arg(long, value_delimiter = ',')]
    pub(crate) lengths: Vec<u64>,
    /// Time for each length.
    #[arg(long)]
    pub(crate) each_ms: u64,
}

/// One process of a peer that `myrixen bench` measures.
#[derive(Debug, Args)]
pub(crate) struct WayArgs {
    #[arg(long, value_enum)]
    pub(crate) kind: Kind,
    #[arg(long, value_enum)]
    pub(crate) wait: Wait,
    /// An address, or an interface.
    #[arg(long, default_value = "")]
    pub(crate) at: String,
    /// What to measure, as JSON; without it, serves.
    #[arg(long)]
    pub(crate) plan: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DemoPart {
    /// One host's back end
    Daemon {
        /// Its configuration.
        #[arg(long)]
        config: PathBuf,
    },
    /// One guest, driven through its standard input
    Guest(GuestArgs),
    /// One process of a peer that is measured
    Way(WayArgs),
    /// The process in which matching is measured
    Matching(MatchingArgs),
    /// Removes DIR when its standard input ends, however the demo ends
    Janitor { directory: PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct GuestArgs {
    /// The back end's socket.
    #[arg(long, required_unless_present = "native")]
    pub(crate) socket: Option<PathBuf>,
    /// The interface of a back end embedded in the guest.
    #[arg(long)]
    pub(crate) native: Option<String>,
    /// The name of the guest's board.
    #[arg(long)]
    pub(crate) board: String,
    /// The guest's number in the demo.
    #[arg(long)]
    pub(crate) number: u16,
}

/// The longest message that `perf` measures, in bytes: more would only measure the same again.
const LARGEST: u64 = 1 << 30;

fn parse_message_size(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if size > LARGEST {
        return Err(format!(
            "{text:?} is more than 1g, the largest message measured"
        ));
    }
    Ok(size)
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number of seconds"))?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err(format!("{text:?} is not between 0.001 and 86400 seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_says_what_it_is_for() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                assert!(sub.get_about().is_some(), "{}", sub.get_name());
                for arg in sub.get_arguments() {
                    let told = arg.get_help().is_some() || arg.is_hide_set();
                    assert!(told, "{} {}", sub.get_name(), arg.get_id());
                }
                check(sub);
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn sizes_and_seconds_are_checked() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["myrixen"], args].concat());
        let cli = parse(&["perf", "pingpong", "b:0:3", "--sizes", "0,8,4k,1m"]).unwrap();
        let Command::Perf(PerfCommand::Pingpong(args)) = cli.command else {
            panic!("not a ping-pong");
        };
        assert_eq!(args.perf.sizes, [0, 8, 4096, 1 << 20]);
        assert_eq!(args.rounds, None);
        let both = ["perf", "pingpong", "b:0:3", "--rounds", "9"];
        assert!(parse(&both).is_ok());
        assert!(parse(&[&both[..], &["--seconds", "1"]].concat()).is_err());
        assert!(parse(&["perf", "pingpong", "b:0:3", "--sizes", "2g"]).is_err());
        assert!(parse(&["perf", "rate", "b:0:3", "--seconds", "0"]).is_err());
        assert!(parse(&["counters", "--watch"]).is_ok());
        assert!(parse(&["counters", "--watch", "--prometheus"]).is_err());
    }
}
