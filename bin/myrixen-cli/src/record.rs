//! The records that measuring commands write with `--json`: their shape is an interface that scripts
//! rely on, described field by field in `docs/perf-json.md`.

use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path as FilePath;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::held::Held;

/// Which way the measured messages took.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Path {
    /// A channel between two guests of one host, with nobody between them.
    Direct,
    /// The same, from memory that the receiver can read in place ([`myrixen::Endpoint::alloc_for`]).
    DirectLent,
    /// Through the back end of one host.
    Switched,
    /// Through the back ends of two hosts and the network between them.
    Wire,
    /// The same, over a certain kind of link where more than one was measured; never in a record, which has `link` for it.
    WireOver(String),
    /// The back end embedded in the measuring program, and the network.
    Native,
    /// Somebody else's transport, measured for comparison.
    Peer(String),
    /// An MPI program, both ranks on one host, over what is named.
    Mpi(String),
    /// The same, one rank on each of two hosts.
    MpiWire(String),
}

impl Path {
    /// This path over that link, as figures are kept apart by.
    pub(crate) fn over(&self, link: Option<&str>) -> Self {
        match (self, link) {
            (Self::Wire, Some(link)) => Self::WireOver(link.to_owned()),
            _ => self.clone(),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.pad("direct"),
            Self::DirectLent => f.pad("direct-lent"),
            Self::Switched => f.pad("switched"),
            Self::Wire => f.pad("wire"),
            Self::WireOver(link) => write!(f, "wire:{link}"),
            Self::Native => f.pad("native"),
            Self::Peer(name) => write!(f, "peer:{name}"),
            Self::Mpi(name) => write!(f, "mpi:{name}"),
            Self::MpiWire(name) => write!(f, "mpi-wire:{name}"),
        }
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.to_string()
    }
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "direct" => Ok(Self::Direct),
            "direct-lent" => Ok(Self::DirectLent),
            "switched" => Ok(Self::Switched),
            "wire" => Ok(Self::Wire),
            "native" => Ok(Self::Native),
            other => match other.split_once(':') {
                Some(("peer", name)) if !name.is_empty() => Ok(Self::Peer(name.to_owned())),
                Some(("mpi", name)) if !name.is_empty() => Ok(Self::Mpi(name.to_owned())),
                Some(("mpi-wire", name)) if !name.is_empty() => Ok(Self::MpiWire(name.to_owned())),
                Some(("wire", link)) if !link.is_empty() => Ok(Self::WireOver(link.to_owned())),
                _ => Err(format!(
                    "unknown path {other:?}: expected direct, direct-lent, switched, wire, wire:LINK, native, peer:NAME, mpi:NAME or mpi-wire:NAME"
                )),
            },
        }
    }
}

/// What a program did while it had nothing to do.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wait {
    /// It looked at its rings without end: lowest latency, one core each (where others want that core, ours sleep at times).
    Spin,
    /// It slept on its doorbell: no core, a wake-up for each message.
    Sleep,
}

impl Wait {
    /// In a sentence.
    pub(crate) fn manner(self) -> &'static str {
        match self {
            Self::Spin => "spinning",
            Self::Sleep => "sleeping",
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spin => "spin",
            Self::Sleep => "sleep",
        })
    }
}

/// Points of a distribution, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// Half of the samples are at most this.
    pub(crate) p50: u64,
    /// 99 % of the samples are at most this.
    pub(crate) p99: u64,
    /// 99.9 % of the samples are at most this.
    pub(crate) p999: u64,
}

/// Half of the time from sending a message to receiving the one that answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PingPong {
    pub(crate) path: Path,
    /// Bytes a message, each way.
    pub(crate) size: u64,
    pub(crate) half_rtt_ns: Percentiles,
    pub(crate) wait: Wait,
    /// Round trips measured, those that warmed up not counted.
    pub(crate) iterations: u64,
    /// What joins the hosts, when `path` crosses hosts: `ethernet` or `vxlan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
}

/// Bytes delivered a second, one way, with several messages under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) path: Path,
    /// Bytes a message.
    pub(crate) size: u64,
    /// 10^6 bytes of payload a second, until the receiver said that it had the last one.
    pub(crate) mb_per_s: f64,
    pub(crate) wait: Wait,
    /// Messages sent.
    pub(crate) messages: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    /// Processor seconds of all who took part, for each GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_s_per_gib: Option<f64>,
}

/// Messages delivered a second, one way, with many under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub(crate) path: Path,
    /// Bytes a message.
    pub(crate) size: u64,
    pub(crate) msgs_per_s: f64,
    pub(crate) wait: Wait,
    /// Messages sent.
    pub(crate) messages: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    /// Processor seconds of all who took part, for each million of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_s_per_million: Option<f64>,
}

/// Every guest sent messages of every size to every other, and each byte that arrived was compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exchange {
    /// Guests that took part.
    pub(crate) guests: u64,
    /// Messages delivered with the right bytes.
    pub(crate) messages: u64,
    /// Bytes of payload delivered.
    pub(crate) bytes: u64,
    /// The largest message, in bytes.
    pub(crate) largest: u64,
}

/// What became of a stream of messages while back ends were killed and started again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Restart {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    /// The longest time in which nothing arrived over a path that uses the killed back end.
    pub(crate) outage_ms: f64,
    /// The longest time in which nothing arrived over a direct channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) direct_gap_ms: Option<f64>,
    /// How often a back end was killed.
    pub(crate) kills: u64,
    /// What arrived when, for the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeline: Option<Timeline>,
}

impl Restart {
    /// Whether each message arrived once, in order.
    pub(crate) fn is_clean(&self) -> bool {
        self.sent == self.delivered && self.lost + self.duplicated + self.reordered == 0
    }
}

/// Deliveries counted in bins of equal length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timeline {
    /// Length of a bin.
    pub(crate) bin_ms: u64,
    /// When back ends were killed, from the beginning.
    pub(crate) killed_ms: Vec<u64>,
    /// Messages that arrived over direct channels, bin by bin.
    pub(crate) direct: Vec<u64>,
    /// Messages that arrived over the network, bin by bin.
    pub(crate) wire: Vec<u64>,
}

/// How two paths compare in one figure, and what was demanded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// `PATH/PATH FIGURE SIZE`.
    pub(crate) of: String,
    /// What the programs of each path did while there was nothing to do.
    pub(crate) waits: [Wait; 2],
    /// The first path's figure, divided by the second's.
    pub(crate) value: f64,
    /// `value` is the median of what that is in each turn, in which both were measured one after the other; not of medians.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) paired: bool,
    /// `<=NUMBER` or `>=NUMBER`.
    pub(crate) bar: String,
    pub(crate) met: bool,
}

impl Ratio {
    /// How was waited, as tables show it.
    pub(crate) fn waiting(&self) -> String {
        match self.waits {
            [one, other] if one == other => one.to_string(),
            [one, other] => format!("{one}/{other}"),
        }
    }
}

/// System calls for each message, by who makes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallsPerMessage {
    /// The process that measures: it sends, and hears answers.
    pub(crate) client: f64,
    /// The process at the other end.
    pub(crate) server: f64,
    /// All back ends between them.
    pub(crate) back_ends: f64,
    /// Of all of them, and in none of the above: `sched_yield`, by those who look on for a while before they sleep.
    pub(crate) yields: f64,
}

/// System calls that were counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls {
    pub(crate) path: Path,
    /// `pingpong`, `stream` or `rate`.
    pub(crate) of: String,
    /// Bytes a message.
    pub(crate) size: u64,
    pub(crate) wait: Wait,
    pub(crate) per_message: CallsPerMessage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
}

/// One result of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "test", rename_all = "lowercase")]
pub(crate) enum Record {
    PingPong(PingPong),
    Stream(Stream),
    Rate(Rate),
    Exchange(Exchange),
    Restart(Restart),
    Ratio(Ratio),
    Calls(Calls),
    /// Its test is any other.
    #[serde(untagged)]
    Held(Held),
}

/// Writes `records` to `file` as a JSON array, one record a line.
///
/// The file is written beside its final name and then renamed, so that a reader never sees half of it.
pub(crate) fn write(file: &FilePath, records: &[impl Serialize]) -> anyhow::Result<()> {
    let doing = || format!("cannot write the records to {}", file.display());
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let mut out = BufWriter::new(File::create(&partial).with_context(doing)?);
    write_array(&mut out, records).with_context(doing)?;
    out.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .with_context(doing)?;
    std::fs::rename(&partial, file).with_context(doing)
}

fn write_array(out: &mut impl std::io::Write, records: &[impl Serialize]) -> anyhow::Result<()> {
    let mut separator = "[\n";
    for record in records {
        out.write_all(separator.as_bytes())?;
        serde_json::to_writer(&mut *out, record)?;
        separator = ",\n";
    }
    out.write_all(if records.is_empty() {
        b"[]\n"
    } else {
        b"\n]\n"
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::Limit;

    fn one_of_each() -> Vec<Record> {
        let (wait, link) = (Wait::Sleep, Some("ethernet".to_owned()));
        vec![
            Record::PingPong(PingPong {
                path: Path::Direct,
                size: 8,
                half_rtt_ns: Percentiles {
                    p50: 400,
                    p99: 700,
                    p999: 9000,
                },
                wait: Wait::Spin,
                iterations: 1000,
                link: None,
            }),
            Record::Stream(Stream {
                path: Path::Wire,
                size: 1 << 20,
                mb_per_s: 2345.5,
                wait,
                messages: 64,
                link: link.clone(),
                cpu_s_per_gib: Some(0.5),
            }),
            Record::Rate(Rate {
                path: Path::Peer("udp".to_owned()),
                size: 8,
                msgs_per_s: 1e6,
                wait,
                messages: 500,
                link,
                cpu_s_per_million: Some(1.25),
            }),
            Record::Exchange(Exchange {
                guests: 4,
                messages: 300,
                bytes: 1 << 30,
                largest: 1 << 24,
            }),
            Record::Restart(Restart {
                sent: 10,
                delivered: 10,
                lost: 0,
                duplicated: 0,
                reordered: 0,
                outage_ms: 38.5,
                direct_gap_ms: Some(1.5),
                kills: 1,
                timeline: Some(Timeline {
                    bin_ms: 20,
                    killed_ms: vec![40],
                    direct: vec![1, 2],
                    wire: vec![3, 0],
                }),
            }),
            Record::Ratio(Ratio {
                of: "direct/peer:tcp half_rtt 8".to_owned(),
                waits: [Wait::Spin, Wait::Sleep],
                value: 0.25,
                paired: true,
                bar: "<=0.35".to_owned(),
                met: true,
            }),
            Record::Calls(Calls {
                path: Path::Native,
                of: "rate".to_owned(),
                size: 8,
                wait: Wait::Sleep,
                per_message: CallsPerMessage {
                    client: 0.5,
                    server: 1.0,
                    back_ends: 0.0,
                    yields: 3.5,
                },
                link: None,
            }),
            Record::Held(Held::new("open", "it", 2.0, "ns", Limit::Below(1.0))),
        ]
    }

    #[test]
    fn written_records_parse_back_to_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("results.json");
        for records in [one_of_each(), Vec::new()] {
            write(&file, &records).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(serde_json::from_str::<Vec<Record>>(&text).unwrap(), records);
        }
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn the_fields_that_scripts_rely_on_are_there() {
        let values: Vec<serde_json::Value> = one_of_each()
            .iter()
            .map(|record| serde_json::to_value(record).unwrap())
            .collect();
        assert_eq!(values[0]["test"], "pingpong");
        assert_eq!(values[0]["path"], "direct");
        assert_eq!(values[0]["wait"], "spin");
        assert_eq!(values[0]["half_rtt_ns"]["p50"], 400);
        assert_eq!(values[0]["half_rtt_ns"]["p99"], 700);
        assert_eq!(values[0]["half_rtt_ns"]["p999"], 9000);
        assert_eq!(values[1]["test"], "stream");
        assert_eq!(values[1]["mb_per_s"], 2345.5);
        assert_eq!(values[2]["test"], "rate");
        assert_eq!(values[2]["path"], "peer:udp");
        assert_eq!(values[2]["msgs_per_s"], 1e6);
        assert_eq!(values[4]["test"], "restart");
        assert_eq!(values[5]["test"], "ratio");
        assert_eq!(values[5]["met"], true);
        assert_eq!(values[6]["test"], "calls");
        assert_eq!(values[6]["per_message"]["server"], 1.0);
        assert_eq!(values[7]["test"], "open");
        assert_eq!(values[7]["met"], false);
        for field in [
            "sent",
            "delivered",
            "lost",
            "duplicated",
            "reordered",
            "outage_ms",
        ] {
            assert!(values[4][field].is_number(), "{field}");
        }
    }

    #[test]
    fn a_path_nobody_knows_is_refused_with_the_choices() {
        for text in ["teleport", "peer:", ""] {
            let error = Path::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("peer:NAME"), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = write(FilePath::new("/nonexistent/results.json"), &[0; 0]).unwrap_err();
        assert!(
            format!("{error:#}").contains("/nonexistent/results.json"),
            "{error:#}"
        );
    }
}
