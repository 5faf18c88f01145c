//! A job that runs, and its end: good, bad, or because it took too long.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// In the environment of all processes of a job, wherever they run and whoever started them.
const MARK: &str = "MYRIXEN_MPI_JOB";

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether it succeeded, in time.
    pub well: bool,
    /// What it printed, both outputs together as they came.
    pub said: String,
    /// How it ended, for people.
    pub how: String,
    /// How long it ran.
    pub took: Duration,
}

/// A job that runs. Dropped, it is killed, with all it has started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    mark: String,
    begun: Instant,
    said: Arc<Mutex<Vec<u8>>>,
    listeners: Vec<JoinHandle<()>>,
}

/// How long the last words of a job that has ended may take to be read: somebody who is not of the job may hold its output open.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Running {
    /// Starts a command, of whatever kind, as a job.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{number}", std::process::id());
        command.env(MARK, &mark).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let mut child = command.spawn().with_context(|| {
            let words: Vec<_> = std::iter::once(command.get_program())
                .chain(command.get_args())
                .collect();
            format!("cannot start {words:?}")
        })?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut listeners = Vec::new();
        if let Some(from) = child.stdout.take() {
            listeners.push(listen(from, Arc::clone(&said)));
        }
        if let Some(from) = child.stderr.take() {
            listeners.push(listen(from, Arc::clone(&said)));
        }
        Ok(Self {
            child,
            mark,
            begun: Instant::now(),
            said,
            listeners,
        })
    }

    /// What it has printed so far.
    #[must_use]
    pub fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits until it has printed `text`; `false` when it has ended, or `limit` has passed, without that.
    pub fn says(&mut self, text: &str, limit: Duration) -> bool {
        self.says_all(|said| said.contains(text), limit)
    }

    /// Waits until what it has printed is what is waited for; `false` when it has ended, or `limit` has passed, without that.
    pub fn says_all(&mut self, enough: impl Fn(&str) -> bool, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            // In this order: what it says before it ends counts.
            let over = !matches!(self.child.try_wait(), Ok(None)) || Instant::now() > until;
            if enough(&self.said()) {
                return true;
            }
            if over {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills one process of the job, as a crash would.
    ///
    /// # Errors
    /// When there is no such process in it.
    pub fn kill_one(&self, pid: u32) -> std::io::Result<()> {
        let no_such = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let of_job = marked(&self.mark).contains(&pid);
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.filter(|_| of_job).ok_or_else(no_such)?;
        Ok(kill_process(pid, Signal::KILL)?)
    }

    /// Processes of the job whose program has this name.
    #[must_use]
    pub fn processes(&self, program: &str) -> BTreeSet<u32> {
        let named = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            // The kernel keeps fifteen bytes of a name.
            name.trim_end() == program.get(..15).unwrap_or(program)
        };
        marked(&self.mark).into_iter().filter(named).collect()
    }

    /// Waits for its end, for so long at most; whatever is left then is killed.
    #[must_use]
    pub fn end(mut self, limit: Duration) -> Outcome {
        let until = self.begun + limit;
        let status = loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                Ok(status) => break status,
                Err(_) => break None,
            }
        };
        let took = self.begun.elapsed();
        let (well, how) = match status {
            Some(status) => match status.signal() {
                Some(signal) => (false, format!("ended by signal {signal}")),
                None => (
                    status.success(),
                    format!("exit code {}", status.code().unwrap_or(-1)),
                ),
            },
            None => (
                false,
                format!("it did not end within {} s", limit.as_secs()),
            ),
        };
        self.kill();
        let until = Instant::now() + LAST_WORDS;
        while self.listeners.iter().any(|one| !one.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        Outcome {
            well,
            said: self.said(),
            how,
            took,
        }
    }

    /// Kills what is left of it on all hosts, which are namespaces of this machine.
    fn kill(&mut self) {
        // Twice: a process may have been about to start another.
        for _ in 0..2 {
            for pid in marked(&self.mark) {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    // It may have ended by itself.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All processes that have this mark in their environment.
fn marked(mark: &str) -> BTreeSet<u32> {
    let wanted = format!("{MARK}={mark}");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Those of others cannot be read, and are not of the job.
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let mut variables = environment.split(|&byte| byte == 0);
        if variables.any(|variable| variable == wanted.as_bytes()) {
            found.insert(pid);
        }
    }
    found
}

/// Collects what comes, by a thread, which ends with the last process that has the other end open.
fn listen(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
            into.extend_from_slice(&chunk[..length]);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        Running::start(command).expect("a shell")
    }

    #[test]
    fn what_a_job_prints_and_how_it_ends_is_told() {
        let outcome = shell("echo out; echo err >&2; exit 3").end(Duration::from_secs(60));
        assert!(!outcome.well && outcome.how == "exit code 3", "{outcome:?}");
        let mut running = shell("echo now; cat /dev/zero >/dev/null");
        assert!(running.says("now", Duration::from_secs(60)));
    }

    #[test]
    fn nothing_is_left_of_a_job_that_takes_too_long() {
        // One that has left its process group and its parent.
        let mut running = shell("setsid sleep 1000 & echo begun; wait");
        assert!(running.says("begun", Duration::from_secs(60)));
        let mark = running.mark.clone();
        let outcome = running.end(Duration::ZERO);
        assert!(!outcome.well, "{outcome:?}");
        let alive = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !status.contains(") Z ") && !status.is_empty()
        };
        assert!(!marked(&mark).iter().any(alive));
    }
}
