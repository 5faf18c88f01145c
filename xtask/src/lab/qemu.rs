//! An emulated machine that runs Xen.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::console::Line;
use super::host::FAST;
use super::prepare::Images;
use super::recipe::DOM0;
use super::spec::Spec;

/// The emulated CPU. Not `max`: QEMU's IRET trips over SMAP in PV guests, and dom0 dies at once.
const CPU: &str = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand";

/// Whether boot messages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boot {
    /// Only what goes wrong.
    Quiet,
    /// Everything that the hypervisor and the kernels say.
    Verbose,
}

/// What happens at a machine.
#[derive(Debug)]
pub(crate) enum Event {
    /// A line came out of its serial port.
    Line(Line),
    /// Nothing more will come.
    Closed,
}

/// An event, where and when it happened.
pub(crate) type Happening = (usize, Duration, Event);

/// A running machine. It ends with this.
#[derive(Debug)]
pub(crate) struct Machine {
    child: Child,
    input: ChildStdin,
}

impl Machine {
    /// Starts the machine number `index` of the test; it reports to `events`.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started.
    pub(crate) fn start(
        setup: &Setup<'_>,
        index: usize,
        events: Sender<Happening>,
    ) -> anyhow::Result<Self> {
        // Whatever becomes of this program, QEMU does not outlive it.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(setup.arguments(index))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start QEMU")?;
        let input = child.stdin.take().context("QEMU without an input")?;
        let output = child.stdout.take().context("QEMU without an output")?;
        let began = Instant::now();
        std::thread::spawn(move || {
            for raw in BufReader::new(output).split(b'\n') {
                // The receiver may have gone: it has seen enough.
                let Ok(raw) = raw else { break };
                let event = Event::Line(Line::parse(&raw));
                if events.send((index, began.elapsed(), event)).is_err() {
                    return;
                }
            }
            let _ = events.send((index, began.elapsed(), Event::Closed));
        });
        Ok(Self { child, input })
    }

    /// Types a line at dom0's console. A machine that is gone does not hear it.
    pub(crate) fn tell(&mut self, line: &str) {
        let _ = self
            .input
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| self.input.flush());
    }

    /// Pulls the plug. Returns how QEMU ended, if it had ended by itself.
    pub(crate) fn stop(&mut self) -> Option<ExitStatus> {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        ended
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How to start the machines of a test.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// The test's description.
    pub(crate) spec: &'a Spec,
    /// The images.
    pub(crate) images: &'a Images,
    /// dom0's initramfs, by host.
    pub(crate) initramfs: &'a [std::path::PathBuf],
    /// A folder with a short path, for the sockets of the wire between two hosts.
    pub(crate) sockets: &'a Path,
    /// Whether boot messages are wanted.
    pub(crate) boot: Boot,
}

impl Setup<'_> {
    fn arguments(&self, index: usize) -> Vec<String> {
        let spec = self.spec;
        let kernel = self.images.kernel(&DOM0);
        // QEMU's multiboot loader: "kernel arguments,initramfs". Commas in either must be doubled.
        let modules = format!(
            "{} {},{}",
            doubled(&kernel),
            self.linux().replace(',', ",,"),
            doubled(&self.initramfs[index]),
        );
        let mut arguments: Vec<String> = [
            "-accel",
            "tcg,thread=multi",
            "-machine",
            "pc",
            "-cpu",
            CPU,
            "-smp",
            &spec.cpus.to_string(),
            "-m",
            &spec.machine_memory_mib().to_string(),
            "-kernel",
            &self.images.xen().display().to_string(),
            "-append",
            &self.xen(),
            "-initrd",
            &modules,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
            "-monitor",
            "none",
        ]
        .map(str::to_owned)
        .to_vec();
        if spec.hosts == 2 {
            arguments.extend(self.wire(index));
        }
        arguments
    }

    /// The hypervisor's arguments.
    fn xen(&self) -> String {
        let level = match self.boot {
            Boot::Quiet => "none",
            Boot::Verbose => "info",
        };
        let memory = self.spec.dom0_memory_mib;
        format!(
            "console=com1 loglvl={level} guest_loglvl={level} spec-ctrl=no xpti=no dom0_max_vcpus=1 \
             dom0_mem={memory}M,max:{memory}M {}",
            self.spec.xen_args
        )
    }

    /// The arguments of dom0's kernel.
    fn linux(&self) -> String {
        let talk = match self.boot {
            Boot::Quiet => "quiet loglevel=3",
            Boot::Verbose => "earlyprintk=xen",
        };
        format!("console=hvc0 panic=1 {FAST} {talk}")
    }

    /// A network card, and the cable to that of the other host. A frame that is sent while the other does not run yet is
    /// lost, as on a wire.
    fn wire(&self, index: usize) -> [String; 4] {
        let socket = |index: usize| doubled(&self.sockets.join(format!("wire{index}")));
        [
            "-netdev".to_owned(),
            format!(
                "dgram,id=wire,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                socket(index),
                socket(1 - index),
            ),
            "-device".to_owned(),
            format!("e1000,netdev=wire,mac=52:54:00:00:00:{:02x}", index + 1),
        ]
    }
}

/// A path as QEMU's options have it.
fn doubled(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
