//! What the demo's coordinator and its guests say to each other: one JSON value a line.

use anyhow::Context as _;
use mxoe::addr::{Address, EndpointId, NicAddr};
use serde::{Deserialize, Serialize};

use crate::pattern::Tally;
use crate::record::{Path, Record, Wait};

/// An endpoint's address as text and number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    nic: String,
    endpoint: u8,
}

impl From<Address> for Place {
    fn from(address: Address) -> Self {
        Self {
            nic: address.nic.to_string(),
            endpoint: address.endpoint.get(),
        }
    }
}

impl Place {
    pub(crate) fn address(&self) -> anyhow::Result<Address> {
        let nic: NicAddr = self
            .nic
            .parse()
            .with_context(|| format!("{:?} is no MAC address", self.nic))?;
        Ok(Address::new(nic, EndpointId::new(self.endpoint)))
    }
}

/// Which of a guest's two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Which {
    /// The usual one, with direct channels to the guests of its host.
    Main,
    /// One without direct channels, to measure the path through the back end.
    Switched,
}

/// A guest, as the others need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuestPlace {
    pub(crate) number: u16,
    pub(crate) main: Place,
    pub(crate) switched: Place,
}

/// How long and with which sizes to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) pingpong_sizes: Vec<u64>,
    pub(crate) stream_sizes: Vec<u64>,
    pub(crate) rate_sizes: Vec<u64>,
    /// Time for each size of each test.
    pub(crate) each_ms: u64,
    /// Processes whose processor time counts besides the client's; of nobody's, if there are none.
    pub(crate) parties: Option<Vec<u32>>,
    /// Counts the system calls of all of them, rather than to measure.
    pub(crate) calls: bool,
}

/// What the coordinator tells a guest to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// Connect to all of these: answered with [`Report::Connected`].
    Connect { guests: Vec<GuestPlace> },
    /// Exchange messages of all sizes with all guests: [`Report::Exchanged`].
    Exchange,
    /// Answer measurements until [`Command::Halt`]: then [`Report::Halted`].
    Serve { on: Which },
    /// Measure with a guest that serves: [`Report::Measured`] for each result, then [`Report::Halted`].
    Measure {
        on: Which,
        with: u16,
        path: Path,
        link: Option<String>,
        wait: Wait,
        plan: Plan,
    },
    /// Stream to all guests until [`Command::Halt`], counting from `epoch_ns` of the monotonic clock:
    /// [`Report::Streaming`] now and then, at the end [`Report::Streamed`].
    Stream { epoch_ns: u64 },
    /// Say how it stands with you, in the middle of a stream: [`Report::Account`].
    Account,
    /// End what goes on.
    Halt,
}

/// What a guest says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(crate) enum Report {
    /// It is attached and its endpoints are open.
    Ready { guest: GuestPlace },
    /// It is connected to all.
    Connected,
    /// It has sent and verified messages up to this size.
    Exchanging { size: u64 },
    /// It has received all that was meant for it, and every byte was right. To so many guests it has a direct channel; so many messages it
    /// has read where the sender had them.
    Exchanged {
        messages: u64,
        bytes: u64,
        direct: usize,
        in_place: u64,
    },
    /// One result.
    Measured { record: Record },
    /// Messages delivered so far.
    Streaming { direct: u64, wire: u64 },
    /// What became of the messages that were meant for it.
    Streamed { streamed: Streamed },
    /// How it stands with this guest's endpoints, for people.
    Account { text: String },
    /// What went on has ended.
    Halted,
    /// It cannot go on, and why.
    Failed { why: String },
}

/// A guest's books of a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Streamed {
    pub(crate) tally: Tally,
    /// Messages that came over direct channels, by time.
    pub(crate) direct_bins: Vec<u64>,
    /// Messages that came through a back end, by time.
    pub(crate) wire_bins: Vec<u64>,
    /// The longest time without a message from one of the direct partners.
    pub(crate) direct_gap_ns: u64,
    /// The longest time without a message from one of the others.
    pub(crate) wire_gap_ns: u64,
}

/// Length of a bin of [`Streamed`], in milliseconds.
pub(crate) const BIN_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_trip() {
        let nic = NicAddr::new([2, 0, 0, 0xab, 0, 9]);
        let address = Address::new(nic, EndpointId::new(7));
        assert_eq!(Place::from(address).address().unwrap(), address);
        let wrong = Place {
            nic: "nowhere".to_owned(),
            endpoint: 0,
        };
        assert!(format!("{:#}", wrong.address().unwrap_err()).contains("nowhere"));
    }

    #[test]
    fn commands_and_reports_are_one_line_each() {
        let plan = Plan {
            pingpong_sizes: vec![8],
            stream_sizes: vec![],
            rate_sizes: vec![8],
            each_ms: 5,
            parties: Some(vec![17]),
            calls: false,
        };
        let command = Command::Measure {
            on: Which::Switched,
            with: 2,
            path: Path::Wire,
            link: Some("vxlan".to_owned()),
            wait: Wait::Sleep,
            plan,
        };
        let line = serde_json::to_string(&command).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), command);
        let report = Report::Failed {
            why: "two\nlines".to_owned(),
        };
        let line = serde_json::to_string(&report).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
    }
}
