//! The process that keeps the time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::channel::{CREDIT, Channel, window};
use crate::partner::READY;

/// Messages that warm up, and tell how many fit into the time.
const WARM_UP: u64 = 200;
/// Messages that are measured at least, and at most.
const RANGE: [u64; 2] = [10, 1 << 24];

/// With its partner, which ends when this is dropped.
pub(crate) struct Client {
    partner: Child,
    /// Until the partner is to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    channels: u32,
}

/// Messages one way.
struct Flow {
    messages: u64,
    took: Duration,
    cpu: Duration,
}

impl Client {
    /// Starts the partner.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.arg("partner");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut partner = command.spawn().context("cannot start the partner")?;
        let ends = partner.stdin.take().zip(partner.stdout.take());
        let (orders, answers) = ends.context("the partner has no pipes")?;
        Ok(Self {
            partner,
            orders: Some(orders),
            answers: BufReader::new(answers),
            channels: 0,
        })
    }

    /// Half round trips.
    pub(crate) fn pingpong(&mut self, size: usize, time: Duration) -> anyhow::Result<Value> {
        let channel = self.open(size)?;
        let warm_up = self.round_trips(&channel, size, WARM_UP)?;
        let count = fitting(time, Duration::from_nanos(warm_up.value_at_quantile(0.5)));
        let times = self.round_trips(&channel, size, count)?;
        let half = |quantile| times.value_at_quantile(quantile) / 2;
        Ok(json!({
            "test": "pingpong", "path": "peer:iceoryx2", "wait": "spin", "size": size, "iterations": count,
            "half_rtt_ns": { "p50": half(0.5), "p99": half(0.99), "p999": half(0.999) },
        }))
    }

    /// Bandwidth.
    pub(crate) fn stream(&mut self, size: usize, time: Duration) -> anyhow::Result<Value> {
        let flow = self.flow(size, time)?;
        let bytes = float(flow.messages) * float(size as u64);
        Ok(json!({
            "test": "stream", "path": "peer:iceoryx2", "wait": "spin", "size": size, "messages": flow.messages,
            "mb_per_s": bytes / flow.took.as_secs_f64() / 1e6,
            "cpu_s_per_gib": flow.cpu.as_secs_f64() / (bytes / f64::from(1 << 30)),
        }))
    }

    /// Message rate.
    pub(crate) fn rate(&mut self, size: usize, time: Duration) -> anyhow::Result<Value> {
        let flow = self.flow(size, time)?;
        let messages = float(flow.messages);
        Ok(json!({
            "test": "rate", "path": "peer:iceoryx2", "wait": "spin", "size": size, "messages": flow.messages,
            "msgs_per_s": messages / flow.took.as_secs_f64(),
            "cpu_s_per_million": flow.cpu.as_secs_f64() / messages * 1e6,
        }))
    }

    /// Opens both ends of a channel for messages of `size` bytes.
    fn open(&mut self, size: usize) -> anyhow::Result<Channel> {
        self.channels += 1;
        let name = format!("myrixen-bench/{}/{}", std::process::id(), self.channels);
        self.order(&format!("open {name} {size}"))?;
        Channel::open(&name, size, true)
    }

    /// Tells the partner what to do; it does so when this returns.
    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let gone = "the partner has ended";
        let orders = self.orders.as_mut().context(gone)?;
        writeln!(orders, "{order}").context(gone)?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == READY, "{gone}");
        Ok(())
    }

    fn round_trips(
        &mut self,
        channel: &Channel,
        size: usize,
        count: u64,
    ) -> anyhow::Result<Histogram<u64>> {
        let outgoing = vec![0x5a; size];
        let mut times = Histogram::new(3)?;
        self.order(&format!("echo {count}"))?;
        let mut before = Instant::now();
        for _ in 0..count {
            channel.send(&outgoing)?;
            let answer = channel.receive()?;
            ensure!(answer.payload().len() == size, "another answer came back");
            drop(answer);
            let now = Instant::now();
            let took = u64::try_from(now.duration_since(before).as_nanos())?;
            times.record(took.max(1))?;
            before = now;
        }
        Ok(times)
    }

    /// Messages one way for about `time`, until the partner has said that it has the last one.
    fn flow(&mut self, size: usize, time: Duration) -> anyhow::Result<Flow> {
        let channel = self.open(size)?;
        let warm_up = self.one_way(&channel, size, WARM_UP)?;
        let each = warm_up.took.div_f64(float(warm_up.messages));
        self.one_way(&channel, size, fitting(time, each))
    }

    fn one_way(&mut self, channel: &Channel, size: usize, count: u64) -> anyhow::Result<Flow> {
        let outgoing = vec![0x5a; size];
        self.order(&format!("take {count}"))?;
        let (cpu, begun) = (self.cpu()?, Instant::now());
        let (mut sent, mut taken) = (0, 0);
        while taken < count {
            if sent < count && sent - taken < window(size) {
                channel.send(&outgoing)?;
                sent += 1;
            } else if let Some(credit) = channel.look()? {
                let number: [u8; CREDIT] = credit.payload().try_into()?;
                taken = u64::from_le_bytes(number);
            } else {
                std::hint::spin_loop();
            }
        }
        Ok(Flow {
            messages: count,
            took: begun.elapsed(),
            cpu: self.cpu()?.saturating_sub(cpu),
        })
    }

    /// Processor time of both processes.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let partner = clock_getcpuclockid(Pid::from_raw(i32::try_from(self.partner.id())?))?;
        let both = [ClockId::CLOCK_PROCESS_CPUTIME_ID, partner];
        let mut sum = Duration::ZERO;
        for clock in both {
            sum += Duration::from(clock.now()?);
        }
        Ok(sum)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        /// How long it may take to put its shared memory away, which nobody does for it if it is killed.
        const PATIENCE: Duration = Duration::from_secs(2);
        self.orders = None;
        let until = Instant::now() + PATIENCE;
        while matches!(self.partner.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Errors say that it has ended already.
        let _ = self.partner.kill();
        let _ = self.partner.wait();
    }
}

/// How often something that takes `each` fits into `time`.
fn fitting(time: Duration, each: Duration) -> u64 {
    let fits = time.as_nanos() / each.as_nanos().max(1);
    u64::try_from(fits)
        .unwrap_or(u64::MAX)
        .clamp(RANGE[0], RANGE[1])
}

#[allow(
    clippy::cast_precision_loss,
    reason = "what is counted is far below 2^52"
)]
fn float(number: u64) -> f64 {
    number as f64
}
