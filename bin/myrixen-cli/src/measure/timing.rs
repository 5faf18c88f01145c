//! How long is measured, and what comes of it: the same for every way that messages take.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::record::Percentiles;
use crate::system;

/// Messages of the first, short test of each size: it warms up and tells how many the real one takes.
pub(super) const WARM_UP: u64 = 20;

/// However slow a path is, this many messages are measured...
const LEAST: u64 = 10;
/// ... and however fast it is, not more than this many in one go.
const MOST: u64 = 1 << 24;

/// Round trips shorter than this are timed [`TOGETHER`] at a time where their median is looked for: to read the clock once for each would be a tenth of what is
/// measured, and the programs that ours are compared with do not.
const SHORT: f64 = 4_000.0;
/// See there.
const TOGETHER: u64 = 16;

/// How many round trips, and how many of them are timed together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trips {
    pub(crate) count: u64,
    /// Each of so many counts as their mean.
    pub(crate) together: u64,
}

impl Trips {
    /// Each timed by itself.
    pub(crate) fn single(count: u64) -> Self {
        Self { count, together: 1 }
    }
}

/// A way to somebody who takes part in measurements.
pub(crate) trait Way {
    /// Sends messages, each after the answer to the one before: round-trip times in nanoseconds.
    fn round_trips(&mut self, size: u64, trips: Trips) -> anyhow::Result<Histogram<u64>>;

    /// Sends `count` messages, and waits for the receipt for the last.
    fn one_way(&mut self, size: u64, count: u64) -> anyhow::Result<Flow>;
}

/// Messages one way, and the time from the first to the receipt for the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) messages: u64,
    pub(crate) size: u64,
    pub(crate) took: Duration,
    /// Processor time of all who took part; none where they cannot be asked.
    pub(crate) cpu: Option<Duration>,
}

/// Processes that take part in a measurement, besides this one.
#[derive(Clone, Debug)]
pub(crate) struct Parties(pub(crate) Vec<u32>);

impl Parties {
    /// Processor time of all of them and of this process since they began.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut sum = system::cpu_ns(std::process::id())?;
        for &pid in &self.0 {
            sum += system::cpu_ns(pid)?;
        }
        Ok(Duration::from_nanos(sum))
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "rates are shown with three figures"
)]
impl Flow {
    /// 10^6 bytes a second.
    pub(crate) fn mb_per_s(&self) -> f64 {
        self.messages as f64 * self.size as f64 / self.took.as_secs_f64() / 1e6
    }

    /// Messages a second.
    pub(crate) fn msgs_per_s(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64()
    }

    /// Processor seconds for each GiB.
    pub(crate) fn cpu_s_per_gib(&self) -> Option<f64> {
        let gib = self.messages as f64 * self.size as f64 / f64::from(1 << 30);
        Some(self.cpu?.as_secs_f64() / gib)
    }

    /// Processor seconds for each million of messages.
    pub(crate) fn cpu_s_per_million(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() / self.messages as f64 * 1e6)
    }
}

/// Takes the time of one round trip after another.
pub(crate) struct Laps {
    times: Histogram<u64>,
    before: Instant,
    together: u64,
    /// How many are over since.
    over: u64,
}

impl Laps {
    /// The first one begins now. So many are timed together.
    pub(crate) fn begin(together: u64) -> anyhow::Result<Self> {
        Ok(Self {
            times: Histogram::new(3)?,
            before: Instant::now(),
            together,
            over: 0,
        })
    }

    /// One is over, and the next begins.
    #[inline]
    pub(crate) fn lap(&mut self) -> anyhow::Result<()> {
        self.over += 1;
        if self.over == self.together {
            self.note()?;
        }
        Ok(())
    }

    /// Notes the time of those that are over.
    fn note(&mut self) -> anyhow::Result<()> {
        let after = Instant::now();
        let each = after.duration_since(self.before).as_nanos() / u128::from(self.over);
        self.times
            .record_n(u64::try_from(each).unwrap_or(u64::MAX).max(1), self.over)?;
        (self.before, self.over) = (after, 0);
        Ok(())
    }

    /// All of them, in nanoseconds.
    pub(crate) fn into_times(mut self) -> anyhow::Result<Histogram<u64>> {
        if self.over > 0 {
            self.note()?;
        }
        Ok(self.times)
    }
}

/// Half round trips of messages of `size` bytes, measured for about `time`: their distribution and number.
pub(crate) fn pingpong(
    way: &mut dyn Way,
    size: u64,
    time: Duration,
) -> anyhow::Result<(Percentiles, u64)> {
    let doing = || format!("the ping-pong of {size} bytes failed");
    let until = Instant::now() + time;
    let warm_up = Trips::single(WARM_UP);
    let warm_up = way.round_trips(size, warm_up).with_context(doing)?;
    let mut latest = warm_up.mean();
    // On a path so slow that the warm-up took all the time, it has to do.
    let late = Instant::now() >= until;
    let mut times = if late { warm_up } else { Histogram::new(3)? };
    let mut together = Histogram::new(3)?;
    // In parts, because the first ones may be much faster or slower than what comes.
    while times.len() < LEAST || Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now());
        let each = Duration::from_secs_f64(latest.max(1.0) / 1e9);
        if latest < SHORT {
            let trips = Trips {
                count: fitting(left / 4, each),
                together: TOGETHER,
            };
            together.add(way.round_trips(size, trips).with_context(doing)?)?;
        }
        let trips = Trips::single(fitting(left / 4, each));
        let part = way.round_trips(size, trips).with_context(doing)?;
        latest = part.mean();
        times.add(&part)?;
    }
    let mut half = halves(&times);
    if !together.is_empty() {
        half.p50 = halves(&together).p50;
    }
    Ok((half, times.len() + together.len()))
}

/// Half of round trips.
pub(super) fn halves(times: &Histogram<u64>) -> Percentiles {
    let half = |quantile| times.value_at_quantile(quantile) / 2;
    Percentiles {
        p50: half(0.5),
        p99: half(0.99),
        p999: half(0.999),
    }
}

/// Messages of `size` bytes one way for about `time`, and the processor time of `parties` from the first to the last of those that count.
pub(crate) fn flow(
    way: &mut dyn Way,
    size: u64,
    time: Duration,
    parties: Option<&Parties>,
) -> anyhow::Result<Flow> {
    let doing = || format!("the stream of {size} bytes failed");
    let until = Instant::now() + time;
    let cpu = || parties.map(Parties::cpu).transpose();
    let since = |before: Option<Duration>| {
        anyhow::Ok(
            cpu()?
                .zip(before)
                .map(|(now, then)| now.saturating_sub(then)),
        )
    };
    let before = cpu()?;
    let mut warm_up = way.one_way(size, WARM_UP).with_context(doing)?;
    warm_up.cpu = since(before)?;
    let mut latest = warm_up;
    let mut whole = Flow {
        messages: 0,
        size,
        took: Duration::ZERO,
        cpu: None,
    };
    let before = cpu()?;
    // In parts, so that a path which becomes slow in the middle does not take for ever.
    while Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now());
        let each = latest.took.div_f64(count_as_float(latest.messages));
        latest = way
            .one_way(size, fitting(left.min(time / 4), each))
            .with_context(doing)?;
        whole.messages += latest.messages;
        whole.took += latest.took;
    }
    // On a path so slow that the warm-up took all the time, it has to do.
    if whole.messages == 0 {
        return Ok(warm_up);
    }
    whole.cpu = since(before)?;
    Ok(whole)
}

/// How often something that takes `each` fits into `time`: at least [`LEAST`] times, at most [`MOST`].
fn fitting(time: Duration, each: Duration) -> u64 {
    let fits = time.as_nanos() / each.as_nanos().max(1);
    u64::try_from(fits).unwrap_or(MOST).clamp(LEAST, MOST)
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count_as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_payload_over_time() {
        let flow = Flow {
            messages: 1000,
            size: 2000,
            took: Duration::from_millis(500),
            cpu: Some(Duration::from_millis(100)),
        };
        assert!((flow.cpu_s_per_million().unwrap() - 100.0).abs() < 1e-9);
        assert!((flow.cpu_s_per_gib().unwrap() - 53.687).abs() < 1e-3);
        assert!((flow.mb_per_s() - 4.0).abs() < 1e-9);
        assert!((flow.msgs_per_s() - 2000.0).abs() < 1e-9);
    }

    #[test]
    fn a_slow_path_is_still_measured_a_few_times_and_a_fast_one_not_for_ever() {
        let second = Duration::from_secs(1);
        assert_eq!(fitting(second, Duration::from_millis(1)), 1000);
        assert_eq!(fitting(second, Duration::from_secs(2)), LEAST);
        assert_eq!(fitting(second, Duration::ZERO), MOST);
    }
}
