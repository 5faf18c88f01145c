//! Counters that one worker writes and the control side reads at any time, without asking the worker.

use std::sync::atomic::{AtomicU64, Ordering};

use myrixen_control::{DropCounts, DropReason, PortCounters, UplinkCounters};

/// A counter with a single writer: a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        // Relaxed: a reader wants a recent number, nothing that was written before it.
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter for each reason a frame is dropped for.
#[derive(Debug, Default)]
pub(crate) struct Drops([Count; DropReason::ALL.len()]);

impl Drops {
    pub(crate) fn count(&self, reason: DropReason) {
        self.0[reason.index()].add(1);
    }

    pub(crate) fn read(&self) -> DropCounts {
        let mut counts = DropCounts::default();
        for &reason in DropReason::ALL {
            counts.set(reason, self.0[reason.index()].get());
        }
        counts
    }
}

/// What one port sent and received.
#[derive(Debug, Default)]
pub(crate) struct PortMeter {
    pub(crate) sent_frames: Count,
    pub(crate) sent_bytes: Count,
    pub(crate) received_frames: Count,
    pub(crate) received_bytes: Count,
    pub(crate) nacks: Count,
    pub(crate) drops: Drops,
}

impl PortMeter {
    pub(crate) fn read(&self) -> PortCounters {
        PortCounters {
            sent_frames: self.sent_frames.get(),
            sent_bytes: self.sent_bytes.get(),
            received_frames: self.received_frames.get(),
            received_bytes: self.received_bytes.get(),
            nacks: self.nacks.get(),
            drops: self.drops.read(),
        }
    }
}

/// What passed one uplink.
#[derive(Debug, Default)]
pub(crate) struct UplinkMeter {
    pub(crate) sent_frames: Count,
    pub(crate) sent_bytes: Count,
    pub(crate) received_frames: Count,
    pub(crate) received_bytes: Count,
    pub(crate) nacks: Count,
    pub(crate) waits: Count,
    pub(crate) drops: Drops,
}

impl UplinkMeter {
    pub(crate) fn read(&self) -> UplinkCounters {
        UplinkCounters {
            sent_frames: self.sent_frames.get(),
            sent_bytes: self.sent_bytes.get(),
            received_frames: self.received_frames.get(),
            received_bytes: self.received_bytes.get(),
            nacks: self.nacks.get(),
            waits: self.waits.get(),
            drops: self.drops.read(),
        }
    }
}

/// What one worker did.
#[derive(Debug, Default)]
pub(crate) struct WorkerMeter {
    pub(crate) ports: Count,
    pub(crate) turns: Count,
    pub(crate) busy_turns: Count,
    pub(crate) sleeps: Count,
    pub(crate) bells: Count,
    /// Frames from other workers that were dropped here: their senders' ports are elsewhere.
    pub(crate) drops: Drops,
}
