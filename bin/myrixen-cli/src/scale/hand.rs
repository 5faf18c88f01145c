//! A process of the measurement, as the coordinator holds it: told one thing at a time, and heard.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context as _, bail};

use super::order::{Answer, Order};
use crate::demo::Place;
use crate::demo::hosts::Site;
use crate::system::{self, Memory};

/// A process. Killed when this is dropped.
pub(super) struct Hand {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Hand {
    /// Starts guests with these boards in one process on a host. They are attached once it has been heard.
    pub(super) fn guests(site: &Site, host: usize, boards: &[String]) -> anyhow::Result<Self> {
        let mut command = site.myself();
        command.args(["scale-part", "guests", "--socket"]);
        command.arg(site.socket(host));
        command.args(["--boards", &boards.join(",")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = format!("the process of guest {}", boards.first().map_or("", |b| b));
        let doing = || format!("cannot start {name}");
        let mut child = site.spawn(Some(host), &mut command).with_context(doing)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = (input.with_context(doing)?, output.with_context(doing)?);
        Ok(Self {
            name,
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// Tells it what to do.
    pub(super) fn tell(&mut self, order: &Order) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.input
            .write_all(&line)
            .with_context(|| format!("{} has ended", self.name))
    }

    /// Waits for what it says.
    pub(super) fn hear(&mut self) -> anyhow::Result<Answer> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line)?;
        if read == 0 {
            bail!("{} has ended", self.name);
        }
        match serde_json::from_str(&line)? {
            Answer::Failed { why } => bail!("{}: {why}", self.name),
            answer => Ok(answer),
        }
    }

    /// Waits until its guests are attached.
    pub(super) fn hear_ready(&mut self) -> anyhow::Result<()> {
        match self.hear()? {
            Answer::Ready => Ok(()),
            other => bail!("{} says {other:?} instead of being ready", self.name),
        }
    }

    /// Waits until it has done what has no other answer.
    pub(super) fn hear_done(&mut self) -> anyhow::Result<()> {
        match self.hear()? {
            Answer::Done => Ok(()),
            other => bail!("{} says {other:?} instead of having done it", self.name),
        }
    }

    /// Opens endpoints: where they are, and how long each took.
    pub(super) fn open(
        &mut self,
        each: usize,
        ring_bytes: u32,
        direct: bool,
    ) -> anyhow::Result<(Vec<Place>, Vec<u64>)> {
        self.tell(&Order::Open {
            each,
            ring_bytes,
            direct,
        })?;
        self.hear_opened()
    }

    /// What came of [`Order::Open`].
    pub(super) fn hear_opened(&mut self) -> anyhow::Result<(Vec<Place>, Vec<u64>)> {
        match self.hear()? {
            Answer::Opened { at, took_ns } => Ok((at, took_ns)),
            other => bail!("{} says {other:?} instead of opening endpoints", self.name),
        }
    }

    /// Connects an endpoint to others: how long each took, and all together.
    pub(super) fn connect(
        &mut self,
        from: usize,
        to: Vec<Place>,
    ) -> anyhow::Result<(Vec<u64>, u64)> {
        self.tell(&Order::Connect { from, to })?;
        self.hear_connected()
    }

    /// What came of [`Order::Connect`].
    pub(super) fn hear_connected(&mut self) -> anyhow::Result<(Vec<u64>, u64)> {
        match self.hear()? {
            Answer::Connected { took_ns, all_ns } => Ok((took_ns, all_ns)),
            other => bail!("{} says {other:?} instead of connecting", self.name),
        }
    }

    /// Exchanges messages with another process, each sent back before the next: half of them took at most so long.
    pub(super) fn pingpong(
        &mut self,
        with: &mut Self,
        size: usize,
        rounds: u64,
    ) -> anyhow::Result<u64> {
        let endpoint = 0;
        with.tell(&Order::Echo { endpoint, rounds })?;
        self.tell(&Order::PingPong {
            endpoint,
            size,
            rounds,
        })?;
        let p50_ns = match self.hear()? {
            Answer::Returned { p50_ns } => p50_ns,
            other => bail!("{} says {other:?} instead of playing", self.name),
        };
        with.hear_done()?;
        Ok(p50_ns)
    }

    /// What memory it has.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.child.id())
    }

    /// Lets it run on these cores only.
    pub(super) fn pin(&self, cores: &[usize]) -> anyhow::Result<()> {
        system::pin(self.child.id(), cores)
    }

    /// Processor time that it has used.
    pub(super) fn cpu_ns(&self) -> anyhow::Result<u64> {
        system::cpu_ns(self.child.id())
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // Errors say that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
