//! `XenbusState`: how the two ends of a device tell each other where they stand.

use std::fmt;

/// A value of a `state` key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BusState {
    /// No state, or none that we know.
    Unknown,
    /// 1
    Initialising,
    /// 2
    InitWait,
    /// 3
    Initialised,
    /// 4
    Connected,
    /// 5
    Closing,
    /// 6
    Closed,
}

impl BusState {
    /// The state that a key's text says.
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "1" => Self::Initialising,
            "2" => Self::InitWait,
            "3" => Self::Initialised,
            "4" => Self::Connected,
            "5" => Self::Closing,
            "6" => Self::Closed,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for BusState {
    /// As the key has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "0",
            Self::Initialising => "1",
            Self::InitWait => "2",
            Self::Initialised => "3",
            Self::Connected => "4",
            Self::Closing => "5",
            Self::Closed => "6",
        })
    }
}
