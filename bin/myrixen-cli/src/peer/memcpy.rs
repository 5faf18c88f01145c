//! One copy of each message out of memory that another core has just written: what no transport of one copy can beat.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::bail;
use hdrhistogram::Histogram;

use crate::measure::{Flow, Trips, Way, window};

/// How far a side is, on a line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn wait_for(&self, enough: u64) {
        while self.0.load(Ordering::Acquire) < enough {
            std::hint::spin_loop();
        }
    }

    fn advance(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// The side that measures: it copies, and a thread of its own writes.
pub(super) struct Client;

impl Way for Client {
    fn round_trips(&mut self, _: u64, _: Trips) -> anyhow::Result<Histogram<u64>> {
        bail!("a copy has no answer to wait for")
    }

    fn one_way(&mut self, size: u64, count: u64) -> anyhow::Result<Flow> {
        let bytes = usize::try_from(size)?;
        // As many as a stream of ours has under way. The locks are never contended: the counts say whose turn it is.
        let buffers: Vec<Mutex<Vec<u8>>> = (0..window(bytes))
            .map(|_| Mutex::new(vec![0x5a; bytes]))
            .collect();
        let mut copies = vec![vec![1; bytes]; buffers.len()];
        let (written, copied) = (Count::default(), Count::default());
        let under_way = buffers.len() as u64;
        let took = std::thread::scope(|scope| {
            scope.spawn(|| {
                for (number, buffer) in (0..count).zip(buffers.iter().cycle()) {
                    copied.wait_for((number + 1).saturating_sub(under_way));
                    let byte = number.to_le_bytes()[0];
                    buffer
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .fill(byte);
                    written.advance();
                }
            });
            let begun = Instant::now();
            let mut at = 0;
            for (number, buffer) in (0..count).zip(buffers.iter().cycle()) {
                written.wait_for(number + 1);
                let from = buffer.lock().unwrap_or_else(PoisonError::into_inner);
                copies[at].copy_from_slice(&from);
                drop(from);
                std::hint::black_box(&copies[at]);
                copied.advance();
                at = (at + 1) % copies.len();
            }
            begun.elapsed()
        });
        Ok(Flow {
            messages: count,
            size,
            took,
            cpu: None,
        })
    }
}
