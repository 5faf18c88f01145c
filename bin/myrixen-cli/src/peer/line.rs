//! A cache line between two threads that look at it without end: the least that a message between two cores can take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;

use crate::measure::{Flow, Trips, Way};

/// One word on a line of its own (two: processors fetch pairs).
#[repr(align(128))]
#[derive(Default)]
struct Line(AtomicU64);

/// Ends the partner.
const OVER: u64 = u64::MAX;
/// Round trips that are timed together: reading the clock takes as long as a few of them.
const BATCH: u64 = 64;

/// The side that measures, and its partner thread.
pub(super) struct Client {
    lines: Arc<[Line; 2]>,
    partner: Option<JoinHandle<()>>,
    number: u64,
}

impl Client {
    pub(super) fn new() -> Self {
        let lines: Arc<[Line; 2]> = Arc::default();
        let theirs = Arc::clone(&lines);
        let partner = std::thread::spawn(move || {
            let mut seen = 0;
            loop {
                let word = theirs[0].0.load(Ordering::Acquire);
                if word == OVER {
                    return;
                }
                if word != seen {
                    seen = word;
                    theirs[1].0.store(word, Ordering::Release);
                }
                std::hint::spin_loop();
            }
        });
        Self {
            lines,
            partner: Some(partner),
            number: 0,
        }
    }

    fn round_trip(&mut self) {
        self.number += 1;
        self.lines[0].0.store(self.number, Ordering::Release);
        while self.lines[1].0.load(Ordering::Acquire) != self.number {
            std::hint::spin_loop();
        }
    }
}

impl Way for Client {
    fn round_trips(&mut self, size: u64, trips: Trips) -> anyhow::Result<Histogram<u64>> {
        ensure!(size == 8, "a word has 8 bytes");
        let mut times = Histogram::new(3)?;
        let mut left = trips.count;
        while left > 0 {
            let batch = left.min(BATCH);
            let begun = Instant::now();
            for _ in 0..batch {
                self.round_trip();
            }
            let each = begun.elapsed().as_nanos() / u128::from(batch);
            times.record_n(u64::try_from(each)?.max(1), batch)?;
            left -= batch;
        }
        Ok(times)
    }

    fn one_way(&mut self, _: u64, _: u64) -> anyhow::Result<Flow> {
        bail!("a line holds one word: there is no stream to measure")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.lines[0].0.store(OVER, Ordering::Release);
        if let Some(partner) = self.partner.take() {
            let _ = partner.join();
        }
    }
}
