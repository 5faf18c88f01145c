//! One copy of each message out of memory that another process may have written: what no transport of one copy can beat.

use std::time::Instant;

use anyhow::bail;
use hdrhistogram::Histogram;
use myrixen::{Fabric, PoolBuf};

use crate::measure::{Flow, Way, window};

/// Copies between as many buffers as a stream of ours has under way.
pub(super) struct Client {
    fabric: Fabric,
    size: usize,
    from: Vec<PoolBuf>,
    into: Vec<Vec<u8>>,
}

impl Client {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            fabric: Fabric::embedded()?,
            size: usize::MAX,
            from: Vec::new(),
            into: Vec::new(),
        })
    }

    /// Buffers of that size, every page of which has been touched.
    fn prepare(&mut self, size: usize) -> anyhow::Result<()> {
        if self.size == size {
            return Ok(());
        }
        self.from.clear();
        for _ in 0..window(size) {
            let Some(mut buffer) = self.fabric.alloc(size) else {
                bail!("no memory for buffers of {size} bytes");
            };
            buffer.fill(0x5a);
            self.from.push(buffer);
        }
        self.into = vec![vec![1; size]; self.from.len()];
        self.size = size;
        Ok(())
    }
}

impl Way for Client {
    fn round_trips(&mut self, _: u64, _: u64) -> anyhow::Result<Histogram<u64>> {
        bail!("a copy has no answer to wait for")
    }

    fn one_way(&mut self, size: u64, count: u64) -> anyhow::Result<Flow> {
        self.prepare(usize::try_from(size)?)?;
        let begun = Instant::now();
        let pairs = self.from.iter().zip(&mut self.into);
        let mut pairs: Vec<_> = pairs.collect();
        let buffers = pairs.len();
        for at in 0..usize::try_from(count)? {
            let (from, into) = &mut pairs[at % buffers];
            into.copy_from_slice(from);
            std::hint::black_box(&into[..]);
        }
        Ok(Flow {
            messages: count,
            size,
            took: begun.elapsed(),
        })
    }
}
