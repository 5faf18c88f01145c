//! System calls of those who take part in a measurement, counted by the kernel's tracepoints while they run as ever.

use std::fs;

use anyhow::{Context as _, ensure};
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

use super::timing::{Trips, Way};
use crate::held::float;
use crate::record::CallsPerMessage;

/// Where the kernel shows its tracepoints.
const TRACEFS: [&str; 2] = [
    "/sys/kernel/tracing/events",
    "/sys/kernel/debug/tracing/events",
];
/// Any system call, and the one of those who look on and let others have the core meanwhile.
const TRACEPOINTS: [&str; 2] = ["raw_syscalls/sys_enter", "syscalls/sys_enter_sched_yield"];
/// Messages that warm up.
const WARM_UP: u64 = 500;

/// One process: counters of all its threads, for each of [`TRACEPOINTS`].
struct Process([Vec<Counter>; 2]);

impl Process {
    fn open(pid: u32, tracepoints: [Tracepoint; 2]) -> anyhow::Result<Self> {
        let folder = format!("/proc/{pid}/task");
        let threads = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
        let mut counters = [Vec::new(), Vec::new()];
        for thread in threads {
            let name = thread?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            let thread = number.context("a thread without a number")?;
            for (counters, tracepoint) in counters.iter_mut().zip(tracepoints) {
                let mut builder = Builder::new(tracepoint);
                builder.observe_pid(thread).any_cpu().include_kernel();
                let mut counter = builder
                    .build()
                    .context("cannot count system calls: it takes CAP_PERFMON, or root")?;
                counter.enable()?;
                counters.push(counter);
            }
        }
        Ok(Self(counters))
    }

    fn count(&mut self) -> anyhow::Result<[u64; 2]> {
        let mut sums = [0; 2];
        for (sum, counters) in sums.iter_mut().zip(&mut self.0) {
            for counter in counters {
                *sum += counter.read()?;
            }
        }
        Ok(sums)
    }
}

fn tracepoint(name: &str) -> anyhow::Result<Tracepoint> {
    let number = TRACEFS
        .iter()
        .find_map(|folder| fs::read_to_string(format!("{folder}/{name}/id")).ok());
    let number = number.and_then(|text| text.trim().parse().ok());
    let number = number.with_context(|| {
        format!(
            "cannot count system calls: the kernel shows no tracepoint {name} (tracefs, as root)"
        )
    })?;
    Ok(Tracepoint::with_id(number))
}

/// This process, and others that take part.
pub(crate) struct Calls(Vec<Process>);

impl Calls {
    /// Counts those of this process, and of `others`, from now on.
    pub(crate) fn of(others: &[u32]) -> anyhow::Result<Self> {
        let [any, yields] = TRACEPOINTS;
        let tracepoints = [tracepoint(any)?, tracepoint(yields)?];
        let all = std::iter::once(std::process::id()).chain(others.iter().copied());
        let processes = all.map(|pid| Process::open(pid, tracepoints));
        Ok(Self(processes.collect::<anyhow::Result<_>>()?))
    }

    fn counts(&mut self) -> anyhow::Result<Vec<[u64; 2]>> {
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
            way.round_trips(size, Trips::single(count)).map(drop)
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
        let messages = float(count * each);
        let mut by = CallsPerMessage::default();
        for (who, (after, before)) in after.iter().zip(before).enumerate() {
            let yields = float(after[1] - before[1]) / messages;
            let others = float(after[0] - before[0]) / messages - yields;
            by.yields += yields;
            match who {
                0 => by.client += others,
                1 => by.server += others,
                _ => by.back_ends += others,
            }
        }
        Ok(by)
    }
}
