//! What the kernel says of a process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Its own: heap, stacks, data.
    pub(crate) anonymous: u64,
    /// Of files: its code.
    pub(crate) file: u64,
    /// Shared with others: the rings.
    pub(crate) shared: u64,
    /// Page tables.
    pub(crate) tables: u64,
}

impl Memory {
    /// What a process has.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let file = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let field = |name: &str| {
            let bytes = text.lines().find_map(|line| kibibytes(line, name));
            bytes.with_context(|| format!("{file} has no {name}"))
        };
        Ok(Self {
            anonymous: field("RssAnon")?,
            file: field("RssFile")?,
            shared: field("RssShmem")?,
            tables: field("VmPTE")?,
        })
    }

    /// All but what is shared.
    pub(crate) fn private(self) -> u64 {
        self.anonymous + self.file + self.tables
    }
}

/// The bytes in a line such as `RssAnon:   1234 kB`, if it is about `name`.
fn kibibytes(line: &str, name: &str) -> Option<u64> {
    let (key, value) = line.split_once(':')?;
    let number = value.trim().strip_suffix("kB")?.trim();
    (key == name)
        .then(|| number.parse::<u64>().ok())?
        .map(|n| n * 1024)
}

/// Processor time that a process has used, with all its threads, in nanoseconds.
pub(crate) fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let number = i32::try_from(pid).context("not the number of a process")?;
    let clock = clock_getcpuclockid(Pid::from_raw(number));
    let time = clock.and_then(nix::time::ClockId::now);
    let time = time.with_context(|| format!("cannot read the processor time of process {pid}"))?;
    Ok(u64::try_from(Duration::from(time).as_nanos())?)
}

/// Processor time that all children of this process have used that have ended and were waited for.
pub(crate) fn cpu_of_children() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot read what children used")?;
    let microseconds = [usage.user_time(), usage.system_time()]
        .map(|time| u64::try_from(time.num_microseconds()).unwrap_or(0));
    Ok(Duration::from_micros(microseconds.iter().sum()))
}

/// The cores that this process may use, in their order.
pub(crate) fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    let all = 0..rustix::thread::CpuSet::MAX_CPU;
    all.filter(|&core| allowed.is_set(core)).collect()
}

/// Lets a process, with all threads that it has, run on these cores only.
pub(crate) fn pin(pid: u32, cores: &[usize]) -> anyhow::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    for thread in threads {
        let name = thread?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        let thread = number.and_then(rustix::thread::Pid::from_raw);
        let thread = thread.context("a thread without a number")?;
        rustix::thread::sched_setaffinity(Some(thread), &set)
            .context("cannot choose a process's core")?;
    }
    Ok(())
}

/// Lets this process, and those that it starts, have as many files open as the system allows; gives how many.
pub(crate) fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    granted.unwrap_or(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_by_its_whole_name() {
        assert_eq!(kibibytes("RssAnon:\t    12 kB", "RssAnon"), Some(12 << 10));
        assert_eq!(kibibytes("RssAnonymous: 12 kB", "RssAnon"), None);
        assert_eq!(kibibytes("Threads: 3", "Threads"), None);
    }

    #[test]
    fn this_process_has_memory_and_uses_processor_time() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.anonymous > 0 && memory.tables > 0 && memory.private() > memory.file);
        assert!(cpu_ns(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn a_child_that_has_ended_has_used_processor_time_and_cannot_be_asked() {
        let before = cpu_of_children().unwrap();
        let mut child = std::process::Command::new("sh");
        let child = child.args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]);
        let mut child = child.spawn().unwrap();
        child.wait().unwrap();
        assert!(cpu_of_children().unwrap() > before);
        assert!(cpu_ns(child.id()).is_err());
    }
}
