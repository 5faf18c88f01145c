//! The counters of a board: sums over the endpoints that this process has open on it, and over those that all processes have, as far as
//! the back end sees what they do.

use myrixen::{Counters, Fabric, OpenPort};

use crate::table;

/// A counter's label, and where it is.
type Counter = (&'static str, fn(&Counters) -> u64);

/// Those of this process.
const COUNTERS: [Counter; 17] = [
    ("Messages sent", |c| c.messages_out),
    ("Messages received", |c| c.messages_in),
    ("Bytes sent", |c| c.bytes_out),
    ("Bytes received", |c| c.bytes_in),
    ("Frames sent", |c| c.frames_out),
    ("Frames received", |c| c.frames_in),
    ("Unexpected messages", |c| c.unexpected),
    ("Acks sent", |c| c.acks_out),
    ("Nacks sent", |c| c.nacks_out),
    ("Resends", |c| c.resends),
    ("Fast resends", |c| c.fast_resends),
    ("Timeouts", |c| c.timeouts),
    ("Messages read in place", |c| c.fetches),
    ("Reads in place that failed", |c| c.fetches_failed),
    ("Pulls sent", |c| c.pulls_out),
    ("Pulls repeated", |c| c.pull_repeats),
    ("Partners lost", |c| c.partners_lost),
];

/// A counter of the board's, and where it is.
type BoardCounter = (&'static str, fn(&OpenPort) -> u64);

/// Those of the board as a whole, which follow. Direct channels bypass the back end.
const OF_BOARD: [BoardCounter; 7] = [
    ("Board endpoints open", |_| 1),
    ("Board frames sent", |p| p.sent_frames),
    ("Board bytes sent", |p| p.sent_bytes),
    ("Board frames received", |p| p.received_frames),
    ("Board bytes received", |p| p.received_bytes),
    ("Board nacks received", |p| p.nacks),
    ("Board frames dropped", |p| p.dropped),
];

/// All labels, in the order in which programs see them.
pub(crate) fn labels() -> impl Iterator<Item = &'static str> {
    let own = COUNTERS.iter().map(|(label, _)| *label);
    own.chain(OF_BOARD.iter().map(|(label, _)| *label))
}

/// The values for a board. They wrap, as MX's do. A back end that is away, or older than the question, leaves those of the board at 0.
pub(crate) fn values(board: u32, fabric: &Fabric) -> Vec<u32> {
    let mut own = [0_u64; COUNTERS.len()];
    for ep in table::all().filter(|ep| ep.board == board) {
        let counters = ep.endpoint.counters();
        for (sum, (_, value)) in own.iter_mut().zip(COUNTERS) {
            *sum = sum.wrapping_add(value(&counters));
        }
    }
    let ports = fabric.ports().unwrap_or_default();
    let of_board = OF_BOARD.map(|(_, value)| {
        let values = ports.iter().map(value);
        values.fold(0, u64::wrapping_add)
    });
    let wrapped = |sum: u64| {
        let [.., a, b, c, d] = sum.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    };
    own.into_iter().chain(of_board).map(wrapped).collect()
}
