//! Running one test: its machines, their consoles, and what is to be made of them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::console::{Line, Meaning};
use super::host::Host;
use super::payload;
use super::prepare::Images;
use super::pressure::Pressure;
use super::qemu::{Boot, Event, Happening, Machine, Setup};
use super::record::{self, Record, console_name};
use super::report;
use super::spec::Test;

/// How long the consoles are still read after a failure, so that they show what the other domains did.
const AFTERMATH: Duration = Duration::from_secs(3);

/// What all tests of a run have in common.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The workspace.
    pub(crate) root: PathBuf,
    /// The images.
    pub(crate) images: Images,
    /// Whether boot messages are wanted.
    pub(crate) boot: Boot,
    /// Whether the folder of what the machines boot is left where it is.
    pub(crate) keep: bool,
    /// Whether tests that measure do so less often than figures take that are to be compared.
    pub(crate) quick: bool,
}

/// How a test ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What went wrong; nothing, if it passed.
    pub(crate) failures: Vec<String>,
    /// The first of it is that a kernel has found itself broken.
    pub(crate) by_kernel: bool,
    /// What a kernel said in a run before, which this one repeats.
    pub(crate) before: Option<String>,
    /// Results that were collected.
    pub(crate) results: usize,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Lab {
    /// Runs a test, prints how it goes, and if it fails the consoles.
    ///
    /// # Errors
    ///
    /// When it cannot be run; a test that fails is no error.
    pub(crate) fn run(&self, test: &Test) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let folder = self.folder(&test.name);
        let record = Record::create(&folder)?;
        let work = folder.join("work");
        std::fs::create_dir(&work).with_context(|| format!("cannot create {}", work.display()))?;
        // The path of a socket takes 108 bytes: they cannot be where the rest is.
        let sockets = tempfile::Builder::new()
            .prefix("myrixen-lab-")
            .tempdir()
            .context("cannot create a folder for the wire")?;
        let names: Vec<char> = ['a', 'b']
            .into_iter()
            .take(test.spec.hosts as usize)
            .collect();
        let initramfs = self.archives(test, &names, &work)?;
        let setup = Setup {
            spec: &test.spec,
            images: &self.images,
            initramfs: &initramfs,
            sockets: sockets.path(),
            boot: self.boot,
        };
        let (sender, events) = channel();
        let mut hosts = Vec::new();
        for (index, name) in names.iter().enumerate() {
            hosts.push(Running {
                name: *name,
                machine: Machine::start(&setup, index, sender.clone())?,
                over: false,
            });
        }
        drop(sender);
        let mut watch = Watch {
            test,
            hosts,
            record,
            pressure: Pressure::begin(),
            verbose: self.boot == Boot::Verbose,
            failures: Vec::new(),
            by_kernel: false,
            deadline: Instant::now() + Duration::from_secs(test.spec.timeout_s),
        };
        watch.until_the_end(&events)?;
        let results = watch.record.finish()?;
        if watch.failures.is_empty() {
            report::write(&self.root, test, &folder)?;
        } else {
            watch.record.print();
        }
        if self.keep {
            println!("lab: what the machines booted is in {}", work.display());
        } else {
            std::fs::remove_dir_all(&work)
                .with_context(|| format!("cannot remove {}", work.display()))?;
        }
        Ok(Outcome {
            failures: watch.failures,
            by_kernel: watch.by_kernel,
            before: None,
            results,
            took: began.elapsed(),
        })
    }

    /// Where what is left of a test is.
    fn folder(&self, name: &str) -> PathBuf {
        self.root.join("target/lab/xen").join(name)
    }

    /// Keeps what is left of a test from the next run of it.
    ///
    /// # Errors
    ///
    /// When that cannot be done.
    pub(crate) fn put_by(&self, test: &Test) -> anyhow::Result<PathBuf> {
        let kept = self.folder(&format!("{}-first", test.name));
        record::clear(&kept)?;
        std::fs::rename(self.folder(&test.name), &kept)
            .with_context(|| format!("cannot make {}", kept.display()))?;
        Ok(kept)
    }

    fn archives(&self, test: &Test, names: &[char], work: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let scripts = self.root.join("lab/xen");
        let programs = payload::paths(&self.root, &test.spec.programs)?;
        let libraries = payload::libraries(&self.root, &test.spec.programs)?;
        names
            .iter()
            .map(|name| {
                let host = Host {
                    test,
                    name: *name,
                    scripts: &scripts,
                    quick: self.quick,
                    programs: &programs,
                    libraries: &libraries,
                };
                host.write(&self.images, work)
            })
            .collect()
    }
}

struct Running {
    name: char,
    machine: Machine,
    over: bool,
}

struct Watch<'a> {
    test: &'a Test,
    hosts: Vec<Running>,
    record: Record,
    pressure: Pressure,
    verbose: bool,
    failures: Vec<String>,
    by_kernel: bool,
    deadline: Instant,
}

impl Watch<'_> {
    fn until_the_end(&mut self, events: &Receiver<Happening>) -> anyhow::Result<()> {
        while self.hosts.iter().any(|host| !host.over) {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match events.recv_timeout(left) {
                Ok((index, at, Event::Line(line))) => self.line(index, at, &line)?,
                Ok((index, _, Event::Closed)) => self.closed(index),
                Err(RecvTimeoutError::Timeout) => {
                    if self.failures.is_empty() {
                        self.failures.push(format!(
                            "it did not end within {} s (timeout_s)",
                            self.test.spec.timeout_s
                        ));
                    }
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        for host in &mut self.hosts {
            host.machine.stop();
        }
        Ok(())
    }

    fn line(&mut self, index: usize, at: Duration, line: &Line) -> anyhow::Result<()> {
        // Scripts make sure that they begin a line, and so leave empty ones.
        if line.text.is_empty() {
            return Ok(());
        }
        let host = self.hosts[index].name;
        let name = console_name(self.test.spec.hosts, host, &line.domain);
        self.record.line(&name, at, line)?;
        let meaning = line.meaning();
        if self.verbose || meaning != Meaning::Text {
            println!("{:8.2} {name:8} {}", at.as_secs_f64(), line.text);
        }
        match meaning {
            Meaning::Text | Meaning::Progress => {}
            Meaning::Result(mut result) => {
                if let Some(share) = self.pressure.since() {
                    result.insert("disturbed".to_owned(), share.into());
                }
                self.record.result(&name, result);
            }
            Meaning::Signal(signal) => {
                for host in &mut self.hosts {
                    host.machine.tell(&format!("signal {signal}"));
                }
            }
            Meaning::Failed(what) => self.fail(format!("{name}: {what}")),
            Meaning::Broken(what) => self.fail(format!("{name}: {what}: {}", line.text)),
            Meaning::Trouble(what) => {
                self.by_kernel |= self.failures.is_empty();
                self.fail(format!("{name}: {what}: {}", line.text));
            }
            Meaning::Ended(status) => {
                self.hosts[index].over = true;
                self.hosts[index].machine.stop();
                // A script that has said why needs no number.
                if status != 0 && self.failures.is_empty() {
                    self.fail(format!(
                        "{name}: exit status {status}{}",
                        meaning_of(status)
                    ));
                }
            }
        }
        Ok(())
    }

    fn closed(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if !host.over {
            host.over = true;
            let how = host
                .machine
                .stop()
                .map_or_else(String::new, |status| format!(" (QEMU: {status})"));
            let name = host.name;
            self.fail(format!("host {name} stopped without an exit status{how}"));
        }
    }

    /// Notes what went wrong. What the other domains do now does not matter any more.
    fn fail(&mut self, what: String) {
        self.failures.push(what);
        self.deadline = self.deadline.min(Instant::now() + AFTERMATH);
    }
}

/// Exit statuses of the scripts of the lab itself.
fn meaning_of(status: u8) -> &'static str {
    match status {
        120 => ": Xen's services did not start in dom0",
        121 => ": a guest could not be created",
        122 => ": a guest is gone and has not said how it ended",
        _ => "",
    }
}
