//! The side that orders tests and keeps the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use myrixen::{Endpoint, Match, Peer};

use super::{Answer, CONTROL_BYTES, Kind, Order, PATIENCE, Test, window};
use crate::record::{Percentiles, Wait};

/// The longest payload that `Endpoint::send` takes along at once, so that it needs no window of requests.
const SHORT: usize = 128;

/// Messages of the first, short test of each size: it warms up and tells how many the real one takes.
const WARM_UP: u64 = 20;

/// However slow a path is, this many messages are measured...
const LEAST: u64 = 10;
/// ... and however fast it is, not more than this many in one go.
const MOST: u64 = 1 << 24;

/// A connection to a server.
pub(crate) struct Client<'a> {
    endpoint: &'a Endpoint,
    server: Peer,
    wait: Wait,
    next_run: u32,
}

/// Messages one way, and the time from the first to the receipt for the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) messages: u64,
    pub(crate) size: u64,
    pub(crate) took: Duration,
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
}

impl<'a> Client<'a> {
    /// Measures between `endpoint` and `server`, both of which wait as `wait` says.
    pub(crate) fn new(endpoint: &'a Endpoint, server: Peer, wait: Wait) -> Self {
        endpoint.set_wait(wait.of_library());
        Self {
            endpoint,
            server,
            wait,
            next_run: 0,
        }
    }

    /// Keeps talking to the server until `settled` says that the way to it is the one to be measured, for at most
    /// a second: a direct channel opens a little after the first contact.
    pub(crate) fn settle(&mut self, settled: impl Fn() -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(1);
        while !settled() && Instant::now() < until {
            self.pingpong_run(8, WARM_UP)
                .context("the first messages failed")?;
        }
        Ok(())
    }

    /// Half round trips of messages of `size` bytes, measured for about `time`: their distribution and number.
    pub(crate) fn pingpong(
        &mut self,
        size: u64,
        time: Duration,
    ) -> anyhow::Result<(Percentiles, u64)> {
        let doing = || format!("the ping-pong of {size} bytes failed");
        let until = Instant::now() + time;
        let warm_up = self.pingpong_run(size, WARM_UP).with_context(doing)?;
        let mut latest = warm_up.mean();
        // On a path so slow that the warm-up took all the time, it has to do.
        let late = Instant::now() >= until;
        let mut times = if late { warm_up } else { Histogram::new(3)? };
        // In parts, because the first ones may be much faster or slower than what comes.
        while times.len() < LEAST || Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            let count = fitting(left / 3, Duration::from_secs_f64(latest.max(1.0) / 1e9));
            let part = self.pingpong_run(size, count).with_context(doing)?;
            latest = part.mean();
            times.add(&part)?;
        }
        let half = |quantile| times.value_at_quantile(quantile) / 2;
        let percentiles = Percentiles {
            p50: half(0.5),
            p99: half(0.99),
            p999: half(0.999),
        };
        Ok((percentiles, times.len()))
    }

    /// Messages of `size` bytes one way for about `time`.
    pub(crate) fn flow(&mut self, size: u64, time: Duration) -> anyhow::Result<Flow> {
        let doing = || format!("the stream of {size} bytes failed");
        let until = Instant::now() + time;
        let warm_up = self.flow_run(size, WARM_UP).with_context(doing)?;
        let mut latest = warm_up;
        let mut whole = Flow {
            messages: 0,
            size,
            took: Duration::ZERO,
        };
        // In parts, so that a path which becomes slow in the middle does not take for ever.
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            let each = latest.took.div_f64(count_as_float(latest.messages));
            latest = self
                .flow_run(size, fitting(left.min(time / 4), each))
                .with_context(doing)?;
            whole.messages += latest.messages;
            whole.took += latest.took;
        }
        // On a path so slow that the warm-up took all the time, it has to do.
        Ok(if whole.messages == 0 { warm_up } else { whole })
    }

    /// Round-trip times in nanoseconds.
    fn pingpong_run(&mut self, size: u64, count: u64) -> anyhow::Result<Histogram<u64>> {
        let run = self.order(Test::PingPong, size, count)?;
        let size = usize::try_from(size)?;
        let (bits, echo) = (Kind::Data.bits(run), Match::exact(Kind::Echo.bits(run)));
        let mut times = Histogram::new(3)?;
        let mut outgoing = vec![0x5a; size];
        let mut incoming = vec![0; size];
        let mut before = Instant::now();
        for number in 0..count {
            let received = if size <= SHORT {
                self.endpoint.send(&self.server, bits, &outgoing)?;
                self.endpoint.recv_timeout(echo, &mut incoming, PATIENCE)?
            } else {
                let sending = self.endpoint.isend(&self.server, bits, outgoing)?;
                let received = self.endpoint.recv_timeout(echo, &mut incoming, PATIENCE)?;
                if received.is_none() {
                    bail!(silence(number, count));
                }
                outgoing = self.endpoint.wait_send(sending)?;
                received
            };
            let Some(received) = received else {
                bail!(silence(number, count))
            };
            if received.message_len != size {
                bail!(
                    "an answer of {} bytes came back for {size}",
                    received.message_len
                );
            }
            let after = Instant::now();
            let nanoseconds = after.duration_since(before).as_nanos();
            times.record(u64::try_from(nanoseconds).unwrap_or(u64::MAX).max(1))?;
            before = after;
        }
        Ok(times)
    }

    fn flow_run(&mut self, size: u64, count: u64) -> anyhow::Result<Flow> {
        let run = self.order(Test::Flow, size, count)?;
        let bytes = usize::try_from(size)?;
        let begun = Instant::now();
        if bytes <= SHORT {
            let payload = vec![0x5a; bytes];
            for _ in 0..count {
                self.endpoint
                    .send(&self.server, Kind::Data.bits(run), &payload)?;
            }
        } else {
            self.send_windowed(Kind::Data.bits(run), bytes, count)?;
        }
        let receipt = Match::exact(Kind::Echo.bits(run));
        if self
            .endpoint
            .recv_timeout(receipt, &mut [], PATIENCE)?
            .is_none()
        {
            bail!("the server did not confirm the last of {count} messages within {PATIENCE:?}");
        }
        Ok(Flow {
            messages: count,
            size,
            took: begun.elapsed(),
        })
    }

    /// Keeps a window of sends under way, each from a buffer of its own.
    fn send_windowed(&self, bits: u64, size: usize, count: u64) -> anyhow::Result<()> {
        let mut under_way = VecDeque::new();
        let window = window(size);
        for _ in 0..count {
            let buffer = if under_way.len() < window {
                vec![0x5a; size]
            } else {
                let oldest = under_way
                    .pop_front()
                    .expect("a full window has an oldest send");
                self.endpoint.wait_send(oldest)?
            };
            under_way.push_back(self.endpoint.isend(&self.server, bits, buffer)?);
        }
        for sending in under_way {
            self.endpoint.wait_send(sending)?;
        }
        Ok(())
    }

    /// Orders a test and returns its number once the server is ready for it.
    fn order(&mut self, test: Test, size: u64, count: u64) -> anyhow::Result<u32> {
        let run = self.next_run;
        self.next_run = run.wrapping_add(1);
        let order = Order {
            test,
            size,
            count,
            wait: self.wait,
            run,
        };
        let text = serde_json::to_vec(&order)?;
        self.endpoint
            .send(&self.server, Kind::Order.bits(run), &text)?;
        let mut answer = [0; CONTROL_BYTES];
        let answers = Match::exact(Kind::Answer.bits(run)).from(&self.server);
        let Some(received) = self.endpoint.recv_timeout(answers, &mut answer, PATIENCE)? else {
            bail!(
                "{} did not answer within {PATIENCE:?}: is `myrixen perf serve` running there, \
                 and is it serving nobody else?",
                self.server.address()
            );
        };
        match serde_json::from_slice(&answer[..received.len])
            .context("the server's answer is not one of this version")?
        {
            Answer::Ready => Ok(run),
            Answer::Refused(why) => bail!("the server refused: {why}"),
        }
    }
}

fn silence(number: u64, count: u64) -> String {
    format!("no answer to message {number} of {count} within {PATIENCE:?}")
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
        };
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
