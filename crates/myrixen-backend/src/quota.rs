//! A token bucket: how many bytes a guest may send.

use mxoe::time::Time;

/// A guest's share: bytes a second, and how many it may send at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes a second, at least 1.
    pub bytes_per_second: u64,
    /// Bytes of the bucket, at least the largest frame.
    pub burst: u64,
}

/// The bucket of one guest. A frame that does not fit waits in the guest's ring; nothing is dropped.
///
/// Tokens are bytes times a billion, so that a nanosecond's share is a whole number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    quota: Quota,
    tokens: i128,
    filled: Time,
}

const SCALE: i128 = 1_000_000_000;

impl Bucket {
    pub(crate) fn new(now: Time, quota: Quota) -> Self {
        Self {
            quota,
            tokens: i128::from(quota.burst) * SCALE,
            filled: now,
        }
    }

    /// Whether a frame may be sent now. Frames are let through while there is anything left and paid for
    /// afterwards, so a frame longer than the bucket does not wait for ever.
    pub(crate) fn may_send(&mut self, now: Time) -> bool {
        let gap = i128::from(now.as_nanos().saturating_sub(self.filled.as_nanos()));
        let full = i128::from(self.quota.burst) * SCALE;
        self.tokens = (self.tokens + gap * i128::from(self.quota.bytes_per_second)).min(full);
        self.filled = self.filled.max(now);
        self.tokens > 0
    }

    /// Whether nothing is left, as of the last refill.
    pub(crate) fn is_dry(&self) -> bool {
        self.tokens <= 0
    }

    /// Pays for a frame.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.tokens -= i128::try_from(bytes)
            .unwrap_or(i128::MAX)
            .saturating_mul(SCALE);
    }

    /// When [`Self::may_send`] is true again.
    pub(crate) fn ready_at(&self) -> Time {
        if self.tokens > 0 {
            return self.filled;
        }
        let rate = i128::from(self.quota.bytes_per_second.max(1));
        let wait = u64::try_from((1 - self.tokens).div_euclid(rate) + 1).unwrap_or(u64::MAX);
        Time::from_nanos(self.filled.as_nanos().saturating_add(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_guest_sends_its_share_and_a_burst() {
        let quota = Quota {
            bytes_per_second: 1_000_000,
            burst: 10_000,
        };
        let mut bucket = Bucket::new(Time::ZERO, quota);
        let (mut now, mut sent) = (Time::ZERO, 0_u64);
        while now < Time::ZERO + Duration::from_secs(2) {
            if bucket.may_send(now) {
                bucket.take(1000);
                sent += 1000;
            } else {
                let ready = bucket.ready_at();
                assert!(ready > now, "a wait that ends");
                now = ready;
                assert!(bucket.may_send(now), "ready when it said so");
            }
        }
        assert!((2_010_000..=2_012_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_frame_longer_than_the_bucket_is_paid_for_afterwards() {
        let quota = Quota {
            bytes_per_second: 1000,
            burst: 10,
        };
        let mut bucket = Bucket::new(Time::ZERO, quota);
        assert!(bucket.may_send(Time::ZERO));
        bucket.take(1010);
        assert!(!bucket.may_send(Time::ZERO + Duration::from_millis(900)));
        assert!(bucket.may_send(Time::ZERO + Duration::from_millis(1001)));
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing() {
        let mut bucket = Bucket::new(
            Time::ZERO,
            Quota {
                bytes_per_second: 1 << 40,
                burst: 1,
            },
        );
        assert!(bucket.may_send(Time::ZERO));
        bucket.take(2);
        for _ in 0..1000 {
            assert!(!bucket.may_send(Time::ZERO));
        }
    }
}
