//! Back ends to run C programs beside, and the programs.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use myrixen_netlab::{Host, Lab};
use myrixend::{Config, Daemon};
use tempfile::TempDir;

/// How long a program may take: many times what it needs.
const PATIENCE: Duration = Duration::from_secs(240);

/// The crate's folder.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder that holds the library that was built with this test.
pub(crate) fn library() -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    let deps = test.parent().expect("it is in a folder").to_owned();
    assert!(deps.join("libmyriexpress.so").exists(), "{deps:?}");
    deps
}

/// Whether these tools are there. Where they are not the test is skipped, and says so; in CI it fails.
pub(crate) fn have(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| {
        let mut version = Command::new(tool);
        let version = version.arg("--version").output();
        !version.is_ok_and(|output| output.status.success())
    });
    if let Some(tool) = missing {
        let in_ci = std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false");
        assert!(!in_ci, "`{tool}` is missing");
        eprintln!("skipped: `{tool}` is missing");
    }
    missing.is_none()
}

/// How a C program is compiled and run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    None,
    /// With the address and undefined-behaviour sanitizers.
    Sanitizers,
    /// Under valgrind, which fails it for a leak or an invalid access.
    Valgrind,
}

/// Compiles `tests/c/NAME.c`. Panics with what the compiler says.
pub(crate) fn compile(name: &str, check: Check, into: &Path) -> PathBuf {
    compile_in("tests/c", name, check, into)
}

/// Compiles a program of one of the crate's folders.
pub(crate) fn compile_in(from: &str, name: &str, check: Check, into: &Path) -> PathBuf {
    let program = into.join(name);
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-D_DEFAULT_SOURCE", "-g", "-O1", "-pthread"]);
    compiler.args(["-Wall", "-Wextra", "-Werror", "-pedantic"]);
    if check == Check::Sanitizers {
        compiler.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    }
    compiler.arg("-I").arg(folder().join("include"));
    compiler.arg(folder().join(from).join(format!("{name}.c")));
    compiler.arg("-o").arg(&program);
    compiler.arg("-L").arg(library()).arg("-lmyriexpress");
    let output = compiler
        .output()
        .expect("a C compiler: apt-get install gcc");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    program
}

/// A back end, and the socket where it listens.
pub(crate) struct Site<'a> {
    host: Option<&'a Host>,
    daemon: Option<Daemon>,
    pub(crate) folder: TempDir,
}

impl<'a> Site<'a> {
    /// A back end without an uplink.
    pub(crate) fn alone() -> Site<'static> {
        Site::start("a", None, "")
    }

    /// A back end with two partitions, `red` and `blue`.
    pub(crate) fn parted() -> Site<'static> {
        let part = |name| format!("[[partition]]\nname = '{name}'\n");
        Site::start("a", None, &(part("red") + &part("blue")))
    }

    /// A back end with more in its configuration.
    pub(crate) fn with(more: &str) -> Site<'static> {
        Site::start("a", None, more)
    }

    /// Two back ends, joined by an Ethernet cable.
    pub(crate) fn cabled(lab: &Lab, hosts: &'a [Host; 2]) -> [Site<'a>; 2] {
        let interfaces = lab.cable([&hosts[0], &hosts[1]], 9000).expect("a cable");
        let site = |at: usize, name| {
            let uplink = format!(
                "[[uplink]]\nname = 'cable'\nkind = 'ethernet'\ninterface = '{}'\n",
                interfaces[at]
            );
            Site::start(name, Some(&hosts[at]), &uplink)
        };
        [site(0, "a"), site(1, "b")]
    }

    fn start(name: &str, host: Option<&'a Host>, uplink: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "[host]\nname = '{name}'\nid = '{name}'\nstate_dir = '{}'\nsocket = '{}'\ncontrol = '{}'\n{uplink}",
            file("state"),
            file("guests"),
            file("control"),
        );
        let start = || {
            let config = Config::parse(&text, "test").expect("a configuration");
            Daemon::start(config).expect("a back end")
        };
        let daemon = match host {
            Some(host) => host.run(start).expect("on the host"),
            None => start(),
        };
        let daemon = Some(daemon);
        Self {
            host,
            daemon,
            folder,
        }
    }

    /// A program as a guest of the board `board`.
    pub(crate) fn guest(&self, board: &str, program: &Path, check: Check) -> Guest {
        let mut command = match check {
            Check::Valgrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args(["-q", "--error-exitcode=99", "--leak-check=full"]);
                valgrind.args(["--errors-for-leak-kinds=definite,indirect"]);
                valgrind.arg(program);
                valgrind
            }
            _ => Command::new(program),
        };
        // Cargo's own value would have a library found that was built before.
        command.env("LD_LIBRARY_PATH", library());
        command.env("MYRIXEN_SOCKET", self.folder.path().join("guests"));
        command.env("MYRIXEN_BOARDS", board);
        Guest {
            command,
            name: board.to_owned(),
            patience: PATIENCE,
        }
    }

    /// Waits until the back end has heard of a board.
    pub(crate) fn wait_for_board(&self, name: &str) {
        let socket = self.folder.path().join("guests");
        let fabric = myrixen::Fabric::builder()
            .socket(socket)
            .board_name("watch");
        let fabric = fabric.connect().expect("attached");
        let until = Instant::now() + PATIENCE;
        while fabric.lookup(name).is_err() {
            assert!(Instant::now() < until, "{name} is not heard of");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts a guest where the back end is.
    pub(crate) fn run(&self, mut guest: Guest) -> Running {
        let log = self.folder.path().join(format!("{}.log", guest.name));
        let file = std::fs::File::create(&log).expect("a file");
        let both = file.try_clone().expect("a descriptor");
        guest.command.stdin(Stdio::null()).stdout(file).stderr(both);
        let child = match self.host {
            Some(host) => host.spawn(&mut guest.command).expect("started"),
            None => guest.command.spawn().expect("started"),
        };
        let (name, patience) = (guest.name, guest.patience);
        Running {
            child,
            log,
            name,
            patience,
        }
    }
}

impl Site<'_> {
    /// Ends the back end. What guests have printed stays.
    pub(crate) fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.backend().drain(Duration::ZERO);
            daemon.join();
        }
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program that is to be started.
pub(crate) struct Guest {
    command: Command,
    name: String,
    patience: Duration,
}

impl Guest {
    /// It may take longer than others.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }
}

/// A program that runs. Killed if it is dropped before it has ended.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    name: String,
    patience: Duration,
}

impl Running {
    /// Waits for its end; gives what it has printed. Panics with that unless it succeeded.
    pub(crate) fn succeed(self) -> String {
        self.end_with(0)
    }

    /// Waits until it has printed so many lines.
    pub(crate) fn wait_for_lines(&self, lines: usize) {
        let until = Instant::now() + self.patience;
        loop {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            if text.lines().count() >= lines {
                return;
            }
            assert!(Instant::now() < until, "{} said only:\n{text}", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has it do nothing any more: it neither ends nor answers.
    pub(crate) fn freeze(&self) {
        output(Command::new("kill").args(["-STOP", &self.child.id().to_string()]));
    }

    /// As [`succeed`](Self::succeed), for another exit code.
    pub(crate) fn end_with(mut self, code: i32) -> String {
        let until = Instant::now() + self.patience;
        let ended = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break Some(status);
            }
            if until <= Instant::now() {
                break None;
            }
            // Only how soon the end is seen depends on it.
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let Some(status) = ended else {
            panic!("{} did not end; it has said:\n{text}", self.name);
        };
        assert_eq!(status.code(), Some(code), "{}: {status}\n{text}", self.name);
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a tool prints. Panics unless it succeeds.
pub(crate) fn output(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the tool is installed");
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&stdout).into_owned()
}
