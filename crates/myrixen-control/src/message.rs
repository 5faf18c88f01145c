//! Requests and replies, one JSON value a line.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::status::{Board, Direct, Guest, Peer, Port, Snapshot, Status, Uplink};

/// The longest request line that a daemon reads, in bytes: an operator's socket is no place to
/// make the daemon keep memory.
pub const MAX_REQUEST: usize = 4096;

/// The longest reply line that the client reads, in bytes: 4096 guests with 256 ports each fit.
pub const MAX_REPLY: usize = 1 << 29;

/// What an operator asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// The daemon as a whole: answered with [`Reply::Status`].
    Status,
    /// The boards of this host: [`Reply::Boards`].
    Boards,
    /// The attached guests, with their counters: [`Reply::Guests`].
    Guests,
    /// The open endpoints, with their counters: [`Reply::Ports`].
    Ports,
    /// The direct channels: [`Reply::Direct`].
    Direct,
    /// The boards of other hosts: [`Reply::Peers`].
    Peers,
    /// The uplinks, with their counters: [`Reply::Uplinks`].
    Uplinks,
    /// All of these: [`Reply::Counters`].
    Counters,
    /// The same as Prometheus text: [`Reply::Metrics`].
    Metrics,
    /// Take no more guests, tell those attached, and stop: [`Reply::Done`].
    Drain,
    /// Detach one guest: [`Reply::Done`].
    Detach {
        /// The guest's number.
        guest: u64,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// The daemon as a whole.
    Status(Status),
    /// The boards of this host.
    Boards(Vec<Board>),
    /// The attached guests.
    Guests(Vec<Guest>),
    /// The open endpoints.
    Ports(Vec<Port>),
    /// The direct channels.
    Direct(Vec<Direct>),
    /// The boards of other hosts.
    Peers(Vec<Peer>),
    /// The uplinks.
    Uplinks(Vec<Uplink>),
    /// Everything.
    Counters(Box<Snapshot>),
    /// Prometheus text exposition format, version 0.0.4.
    Metrics(String),
    /// It was done, or begun.
    Done,
    /// It was not done, and why.
    Refused(String),
}

/// One message as a line, newline included.
///
/// # Errors
/// The value has no JSON form; the types of this crate always have.
pub fn encode<T: Serialize>(message: &T) -> Result<String, serde_json::Error> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    Ok(line)
}

/// The message of one line; white space around it is ignored.
///
/// # Errors
/// The line is no JSON, or no such message.
pub fn decode<T: DeserializeOwned>(line: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_comes_back_as_it_was() {
        let replies = [
            Reply::Status(Status {
                host: "n".into(),
                ..Status::default()
            }),
            Reply::Boards(Vec::new()),
            Reply::Counters(Box::default()),
            Reply::Metrics("a 1\n".into()),
            Reply::Done,
            Reply::Refused("no such guest".into()),
        ];
        for reply in replies {
            let line = encode(&reply).unwrap();
            assert_eq!(line.matches('\n').count(), 1, "one message is one line");
            assert_eq!(decode::<Reply>(&line).unwrap(), reply);
        }
    }

    #[test]
    fn fields_that_a_newer_daemon_adds_are_ignored() {
        let line = r#"{"reply":"status","value":{"host":"n","mood":"fine"}}"#;
        let Reply::Status(status) = decode(line).unwrap() else {
            panic!("not a status")
        };
        assert_eq!(status.host, "n");
    }

    #[test]
    fn an_unknown_request_is_an_error_that_names_it() {
        let error = decode::<Request>(r#"{"request":"sing"}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("sing"), "{error}");
    }
}
