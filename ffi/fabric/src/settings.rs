//! Parameters: `FI_MYRIXEN_*` in the environment, listed by `fi_info -e`.

use std::ffi::CStr;
use std::str::FromStr;
use std::time::Duration;

use myrixen::Wait;

use crate::host::{self, Level};

const SOCKET: &CStr = c"socket";
const BOARDS: &CStr = c"boards";
const TIMEOUT: &CStr = c"timeout";
const DIRECT: &CStr = c"direct";
const READ_IN_PLACE: &CStr = c"read_in_place";
const RING: &CStr = c"ring_bytes";
const UNEXPECTED: &CStr = c"unexpected_bytes";
const POLL: &CStr = c"poll";

/// Names and what they are for.
const ALL: [(&CStr, &CStr); 8] = [
    (
        SOCKET,
        c"Socket of the back end (default: what MYRIXEN_SOCKET says, else /run/myrixen/myrixen.sock)",
    ),
    (
        BOARDS,
        c"Boards to attach as, separated by commas: NAME, NAME@PARTITION or @PARTITION (default: the one that the back end gives)",
    ),
    (
        TIMEOUT,
        c"Milliseconds after which a silent peer counts as unreachable (default: 60000)",
    ),
    (
        DIRECT,
        c"Whether guests of one host meet in shared memory: 1 or 0 (default: 1)",
    ),
    (
        READ_IN_PLACE,
        c"Whether guests of this host may read large messages in place, in one copy: 1 or 0 (default: 1)",
    ),
    (
        RING,
        c"Bytes of each ring, a power of two from 65536 on (default: 1048576)",
    ),
    (
        UNEXPECTED,
        c"Bytes of messages that are kept while no receive is posted for them (default: 67108864)",
    ),
    (
        POLL,
        c"Microseconds that a blocking call polls at most before it sleeps; -1: for ever (default: found out while running)",
    ),
];

/// Tells libfabric of all of them.
pub(crate) fn define() {
    for (name, help) in ALL {
        host::define(name, help);
    }
}

/// A board to attach as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) name: Option<String>,
    pub(crate) partition: Option<String>,
}

/// What the parameters say.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) socket: Option<String>,
    /// At least one.
    pub(crate) boards: Vec<Wish>,
    pub(crate) give_up: Option<Duration>,
    pub(crate) direct: bool,
    pub(crate) read_in_place: bool,
    pub(crate) ring_bytes: Option<u32>,
    pub(crate) unexpected_bytes: Option<u64>,
    pub(crate) wait: Option<Wait>,
}

impl Settings {
    pub(crate) fn read() -> Self {
        Self::from(host::param)
    }

    fn from(param: impl Fn(&CStr) -> Option<String>) -> Self {
        let number = |name| -> Option<i64> { parsed(name, param(name)?.trim()) };
        let flag = |name, default| number(name).map_or(default, |value| value != 0);
        let wishes = param(BOARDS).unwrap_or_default();
        let wishes = wishes.split(',').map(str::trim).filter(|w| !w.is_empty());
        let mut boards: Vec<Wish> = wishes.map(Wish::parse).collect();
        if boards.is_empty() {
            boards.push(Wish::default());
        }
        let millis = |value: i64| u64::try_from(value).ok().map(Duration::from_millis);
        Self {
            socket: param(SOCKET).filter(|text| !text.is_empty()),
            boards,
            give_up: number(TIMEOUT).and_then(millis).filter(|t| !t.is_zero()),
            direct: flag(DIRECT, true),
            read_in_place: flag(READ_IN_PLACE, true),
            ring_bytes: number(RING).and_then(|value| u32::try_from(value).ok()),
            unexpected_bytes: number(UNEXPECTED).and_then(|value| u64::try_from(value).ok()),
            wait: number(POLL).map(|micros| match u64::try_from(micros) {
                Ok(micros) => Wait::Adaptive(Duration::from_micros(micros)),
                Err(_) => Wait::Spin,
            }),
        }
    }
}

fn parsed<T: FromStr>(name: &CStr, text: &str) -> Option<T> {
    let value = text.parse().ok();
    if value.is_none() {
        let name = name.to_string_lossy().to_uppercase();
        let line =
            format!("FI_MYRIXEN_{name} is {text:?}, which is no number: the default is used");
        host::log(Level::Warn, &line);
    }
    value
}

impl Wish {
    fn parse(text: &str) -> Self {
        let (name, partition) = text.split_once('@').unwrap_or((text, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            name: some(name),
            partition: some(partition),
        }
    }
}
