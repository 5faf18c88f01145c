//! The demo's processes: started, told what to do, listened to, and never left behind.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::protocol::{Command, Report};

/// How many of a process's lines on standard error are kept for the day it dies: the first ones, which tend to
/// name the cause, and the last.
const FIRST_WORDS: usize = 8;
const WORDS: usize = 30;

/// Names a process of a crew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member(usize);

struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    words: Arc<Mutex<VecDeque<String>>>,
    /// Disconnected when the last of the words has been read.
    silent: Receiver<()>,
    /// Its end is no news: it was killed or told to go.
    dismissed: bool,
}

enum News {
    Line(String),
    Ended,
}

/// All processes of a demo. Dropping it kills those that are left.
pub(crate) struct Crew {
    processes: Vec<Process>,
    news: Receiver<(Member, News)>,
    teller: Sender<(Member, News)>,
}

impl Crew {
    pub(crate) fn new() -> Self {
        let (teller, news) = channel();
        Self {
            processes: Vec::new(),
            news,
            teller,
        }
    }

    /// Takes a process in that `start` starts. Its standard streams are pipes: what it says on the first
    /// comes out of [`Crew::next`], the last words on the other are kept.
    pub(crate) fn hire(
        &mut self,
        name: &str,
        command: &mut std::process::Command,
        start: impl FnOnce(&mut std::process::Command) -> anyhow::Result<Child>,
    ) -> anyhow::Result<Member> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = start(command).with_context(|| format!("cannot start {name}"))?;
        let member = Member(self.processes.len());
        let words = Arc::new(Mutex::new(VecDeque::new()));
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (speaking, silent) = channel();
        if let Some(stderr) = stderr {
            let words = Arc::clone(&words);
            std::thread::spawn(move || {
                keep_words(stderr, &words);
                drop(speaking);
            });
        }
        if let Some(stdout) = stdout {
            let teller = self.teller.clone();
            std::thread::spawn(move || listen(stdout, member, &teller));
        }
        let name = name.to_owned();
        self.processes.push(Process {
            name,
            child,
            stdin,
            words,
            silent,
            dismissed: false,
        });
        Ok(member)
    }

    /// Tells a guest what to do.
    pub(crate) fn tell(&mut self, member: Member, command: &Command) -> anyhow::Result<()> {
        let process = &mut self.processes[member.0];
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        let sent = match &mut process.stdin {
            Some(stdin) => stdin.write_all(&line).and_then(|()| stdin.flush()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        if let Err(error) = sent {
            // Its end says more than the broken pipe.
            return Err(self.obituary(member)).context(error);
        }
        Ok(())
    }

    /// The next thing that a guest says. An error when a process ends that should not, when a guest says that it
    /// has failed, or when nothing is heard for `patience`; `doing` says what was going on.
    pub(crate) fn next(
        &mut self,
        patience: Duration,
        doing: &str,
    ) -> anyhow::Result<(Member, Report)> {
        match self.next_before(Instant::now() + patience)? {
            Some(said) => Ok(said),
            None => bail!("nothing was heard for {patience:?} while {doing}"),
        }
    }

    /// As [`Crew::next`]; `None` when nothing has been said by `deadline`.
    pub(crate) fn next_before(
        &mut self,
        deadline: Instant,
    ) -> anyhow::Result<Option<(Member, Report)>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (member, news) = match self.news.recv_timeout(left) {
                Ok(news) => news,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => bail!("all processes have ended"),
            };
            let name = &self.processes[member.0].name;
            match news {
                News::Ended if self.processes[member.0].dismissed => {}
                News::Ended => return Err(self.obituary(member)),
                News::Line(line) => match serde_json::from_str(&line) {
                    Ok(Report::Failed { why }) => bail!("{name} failed: {why}"),
                    Ok(report) => return Ok(Some((member, report))),
                    // Libraries may print; it is not lost, should the process die.
                    Err(_) => remember(&self.processes[member.0].words, line),
                },
            }
        }
    }

    /// Keeps something among a process's words.
    pub(crate) fn remember(&self, member: Member, text: String) {
        remember(&self.processes[member.0].words, text);
    }

    /// What a process has said on standard error, as far as it is kept.
    pub(crate) fn words(&self, member: Member) -> String {
        let words = &self.processes[member.0].words;
        let words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Kills a process as nothing else would: SIGKILL, no chance to clean up.
    pub(crate) fn kill(&mut self, member: Member) -> anyhow::Result<()> {
        let process = &mut self.processes[member.0];
        process.dismissed = true;
        let doing = || format!("cannot kill {}", process.name);
        process.child.kill().with_context(doing)?;
        process.child.wait().with_context(doing)?;
        Ok(())
    }

    /// A process's number.
    pub(crate) fn pid(&self, member: Member) -> u32 {
        self.processes[member.0].child.id()
    }

    /// Whether a process runs; an error that tells its end if it does not.
    pub(crate) fn check(&mut self, member: Member) -> anyhow::Result<()> {
        let process = &mut self.processes[member.0];
        match process.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.obituary(member)),
        }
    }

    /// Lets all processes end: their standard input is closed, and who has not ended `patience` later is killed.
    pub(crate) fn dismiss(&mut self, patience: Duration) {
        for process in &mut self.processes {
            process.dismissed = true;
            process.stdin = None;
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline
            && self
                .processes
                .iter_mut()
                .any(|p| matches!(p.child.try_wait(), Ok(None)))
        {
            // What they say while they go is of no interest; the pause keeps this from spinning.
            let _ = self.news.recv_timeout(Duration::from_millis(10));
        }
        self.kill_all();
    }

    fn kill_all(&mut self) {
        for process in &mut self.processes {
            // Errors say that it has ended already, which is what is wanted.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }

    /// What is to be said about a process that has ended.
    fn obituary(&mut self, member: Member) -> anyhow::Error {
        let process = &mut self.processes[member.0];
        let status = process.child.wait();
        // Its last words may still be on their way; a descriptor that it left to others is not waited for.
        let _ = process.silent.recv_timeout(Duration::from_secs(1));
        let words = process.words.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = format!("{} {}", process.name, manner(status.ok()));
        if words.is_empty() {
            text.push_str(" without a word");
        } else {
            text.push_str("; its words:");
        }
        for line in words.iter() {
            text.push_str("\n    ");
            text.push_str(line);
        }
        anyhow::anyhow!(text)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn manner(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("ended with code {code}"),
        Some((_, Some(signal))) => format!("was ended by signal {signal}"),
        _ => "has ended".to_owned(),
    }
}

fn listen(stdout: impl Read, member: Member, teller: &Sender<(Member, News)>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if teller.send((member, News::Line(line))).is_err() {
            return;
        }
    }
    let _ = teller.send((member, News::Ended));
}

fn keep_words(stderr: impl Read, words: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        remember(words, line);
    }
}

fn remember(words: &Mutex<VecDeque<String>>, line: String) {
    let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
    if words.len() == WORDS {
        words.remove(FIRST_WORDS);
    }
    words.push_back(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn hire(crew: &mut Crew, script: &str) -> Member {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]);
        crew.hire("the script", &mut command, |command| Ok(command.spawn()?))
            .unwrap()
    }

    #[test]
    fn what_a_guest_says_is_heard_and_other_output_is_not_taken_for_it() {
        let mut crew = Crew::new();
        let member = hire(
            &mut crew,
            r#"echo noise; read line; echo '{"say":"halted"}'; cat"#,
        );
        crew.tell(member, &Command::Halt).unwrap();
        assert_eq!(
            crew.next(PATIENCE, "testing").unwrap(),
            (member, Report::Halted)
        );
        crew.check(member).unwrap();
        crew.dismiss(PATIENCE);
        assert!(crew.check(member).is_err());
    }

    #[test]
    fn a_crash_is_told_with_its_manner_and_last_words() {
        let mut crew = Crew::new();
        hire(&mut crew, "echo this is why >&2; exec 2>&-; kill -SEGV $$");
        let error = crew.next(PATIENCE, "testing").unwrap_err().to_string();
        assert!(
            error.contains("the script was ended by signal 11"),
            "{error}"
        );
        let error = {
            hire(&mut crew, "exit 3");
            crew.next(PATIENCE, "testing").unwrap_err().to_string()
        };
        assert!(
            error.contains("ended with code 3 without a word"),
            "{error}"
        );
    }

    #[test]
    fn a_failure_that_a_guest_reports_is_an_error() {
        let mut crew = Crew::new();
        hire(&mut crew, r#"echo '{"say":"failed","why":"no luck"}'; cat"#);
        let error = crew.next(PATIENCE, "testing").unwrap_err().to_string();
        assert_eq!(error, "the script failed: no luck");
    }

    #[test]
    fn a_kill_is_no_news_and_leaves_nothing_behind() {
        let mut crew = Crew::new();
        let victim = hire(&mut crew, "exec cat");
        let pid = crew.processes[0].child.id();
        crew.kill(victim).unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        hire(&mut crew, r#"echo '{"say":"halted"}'; cat"#);
        assert_eq!(crew.next(PATIENCE, "testing").unwrap().1, Report::Halted);
        let pid = crew.processes[1].child.id();
        drop(crew);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn silence_is_told_with_what_was_going_on() {
        let mut crew = Crew::new();
        hire(&mut crew, "exec cat");
        let error = crew.next(Duration::ZERO, "hoping").unwrap_err().to_string();
        assert!(error.contains("while hoping"), "{error}");
    }
}
