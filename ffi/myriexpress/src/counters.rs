//! The counters of a board: sums over the endpoints that this process has open on it.

use myrixen::Counters;

use crate::table;

/// A counter's label, and where it is.
type Counter = (&'static str, fn(&Counters) -> u64);

/// All of them, in the order in which programs see them.
pub(crate) const COUNTERS: [Counter; 17] = [
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

/// The values for a board. They wrap, as MX's do.
pub(crate) fn values(board: u32) -> [u32; COUNTERS.len()] {
    let mut sums = [0_u64; COUNTERS.len()];
    for ep in table::all().filter(|ep| ep.board == board) {
        let counters = ep.endpoint.counters();
        for (sum, (_, value)) in sums.iter_mut().zip(COUNTERS) {
            *sum = sum.wrapping_add(value(&counters));
        }
    }
    sums.map(|sum| {
        let [.., a, b, c, d] = sum.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    })
}
