//! System calls of those who take part in a measurement, counted by the kernel while they run as ever: its tracepoint
//! `raw_syscalls:sys_enter`.

use std::fs;

use anyhow::{Context as _, ensure};
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

use super::timing::Way;
use crate::held::float;
use crate::record::CallsPerMessage;

/// Where the kernel says which number the tracepoint has.
const NUMBER: [&str; 2] = [
    "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
    "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id",
];
/// Messages that warm up.
const WARM_UP: u64 = 500;

/// One process: a counter for each thread that it has.
struct Process(Vec<Counter>);

impl Process {
    fn open(pid: u32, tracepoint: Tracepoint) -> anyhow::Result<Self> {
        let folder = format!("/proc/{pid}/task");
        let threads = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
        let mut counters = Vec::new();
        for thread in threads {
            let name = thread?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            let mut builder = Builder::new(tracepoint);
            builder.observe_pid(number.context("a thread without a number")?);
            builder.any_cpu().include_kernel();
            let mut counter = builder
                .build()
                .context("cannot count system calls: it takes CAP_PERFMON, or root")?;
            counter.enable()?;
            counters.push(counter);
        }
        Ok(Self(counters))
    }

    fn count(&mut self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for counter in &mut self.0 {
            sum += counter.read()?;
        }
        Ok(sum)
    }
}

/// This process, and others that take part.
pub(crate) struct Calls(Vec<Process>);

impl Calls {
    /// Counts those of this process, and of `others`, from now on.
    pub(crate) fn of(others: &[u32]) -> anyhow::Result<Self> {
        let number = NUMBER.iter().find_map(|file| fs::read_to_string(file).ok());
        let number = number.and_then(|text| text.trim().parse().ok());
        let number = number.context(
            "cannot count system calls: the kernel shows no tracepoint raw_syscalls/sys_enter (tracefs, as root)",
        )?;
        let all = std::iter::once(std::process::id()).chain(others.iter().copied());
        let processes = all.map(|pid| Process::open(pid, Tracepoint::with_id(number)));
        Ok(Self(processes.collect::<anyhow::Result<_>>()?))
    }

    fn counts(&mut self) -> anyhow::Result<Vec<u64>> {
        self.0.iter_mut().map(Process::count).collect()
    }

    /// Of a ping-pong. Each round trip is two messages. The few calls that agreeing on the test takes are in it.
    pub(crate) fn round_trips(
        &mut self,
        way: &mut dyn Way,
        size: u64,
        count: u64,
    ) -> anyhow::Result<CallsPerMessage> {
        self.per_message(count, 2, &mut |count| {
            way.round_trips(size, count).map(drop)
        })
    }

    /// Of messages one way, as above.
    pub(crate) fn one_way(
        &mut self,
        way: &mut dyn Way,
        size: u64,
        count: u64,
    ) -> anyhow::Result<CallsPerMessage> {
        self.per_message(count, 1, &mut |count| way.one_way(size, count).map(drop))
    }

    fn per_message(
        &mut self,
        count: u64,
        each: u64,
        test: &mut dyn FnMut(u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<CallsPerMessage> {
        ensure!(count > 0, "of no messages nothing can be counted");
        test(WARM_UP.min(count))?;
        let before = self.counts()?;
        test(count)?;
        let after = self.counts()?;
        let by: Vec<f64> = (after.iter().zip(before))
            .map(|(after, before)| float(after - before) / float(count * each))
            .collect();
        Ok(CallsPerMessage {
            client: by[0],
            server: by.get(1).copied().unwrap_or(0.0),
            back_ends: by.iter().skip(2).sum(),
        })
    }
}
