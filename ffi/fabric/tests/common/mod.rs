//! Back ends to run C programs on libfabric beside, and the programs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use myrixen_netlab::{Host, Lab};
use myrixend::{Config, Daemon};
use tempfile::TempDir;

/// How long a program may take: many times what it needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// The folder that holds the provider that was built with this test.
fn provider() -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    let deps = test.parent().expect("it is in a folder").to_owned();
    assert!(deps.join("libmyrixen_fi.so").exists(), "{deps:?}");
    deps
}

/// Whether C programs on libfabric can be compiled here. Where they cannot the test is skipped, and says so; in CI it fails.
pub(crate) fn have_libfabric() -> bool {
    let probe = tempfile::tempdir().expect("a folder");
    let source = probe.path().join("probe.c");
    let text = "#include <rdma/fabric.h>\nint main(void) { return !fi_version(); }\n";
    std::fs::write(&source, text).expect("a file");
    let mut compiler = Command::new("cc");
    compiler
        .arg(&source)
        .arg("-o")
        .arg(probe.path().join("probe"));
    let output = compiler.arg("-lfabric").output();
    let have = output.is_ok_and(|output| output.status.success());
    if !have {
        let in_ci = std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false");
        assert!(!in_ci, "`cc` or libfabric's headers are missing");
        eprintln!("skipped: `cc` or libfabric's headers are missing (libfabric-dev)");
    }
    have
}

/// Compiles `tests/c/NAME.c`. Panics with what the compiler says.
pub(crate) fn compile(name: &str, into: &Path) -> PathBuf {
    let program = into.join(name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-D_GNU_SOURCE", "-g", "-O1"]);
    compiler.args(["-Wall", "-Wextra", "-Werror"]);
    compiler.arg(folder.join(format!("{name}.c")));
    compiler.arg("-o").arg(&program).arg("-lfabric");
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

    /// Two back ends, joined by an Ethernet cable with frames of this length.
    pub(crate) fn cabled(lab: &Lab, hosts: &'a [Host; 2], mtu: u32) -> [Site<'a>; 2] {
        let interfaces = lab.cable([&hosts[0], &hosts[1]], mtu).expect("a cable");
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
        Self {
            host,
            daemon: Some(daemon),
            folder,
        }
    }

    /// A command whose libfabric finds the provider and this back end.
    pub(crate) fn guest(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("FI_PROVIDER_PATH", provider());
        command.env("FI_PROVIDER", "myrixen");
        command.env("FI_MYRIXEN_SOCKET", self.folder.path().join("guests"));
        command
    }

    /// Starts a command where the back end is; what it prints goes into a file of that name.
    pub(crate) fn run(&self, mut command: Command, name: &str) -> Running {
        let log = self.folder.path().join(format!("{name}.log"));
        let file = std::fs::File::create(&log).expect("a file");
        let both = file.try_clone().expect("a descriptor");
        command.stdin(Stdio::null()).stdout(file).stderr(both);
        let child = match self.host {
            Some(host) => host.spawn(&mut command).expect("started"),
            None => command.spawn().expect("started"),
        };
        Running { child, log }
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.backend().drain(Duration::ZERO);
            daemon.join();
        }
    }
}

/// A program that runs. Killed if it is dropped before it has ended.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Waits for its end; gives what it has printed. Panics with that unless it succeeded.
    pub(crate) fn succeed(self) -> String {
        let (well, text) = self.end();
        assert!(well, "{text}");
        text
    }

    /// Waits for its end: whether it succeeded, and what it has printed.
    pub(crate) fn end(mut self) -> (bool, String) {
        let status = self.wait();
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let status = status.unwrap_or_else(|| panic!("it did not end; it has said:\n{text}"));
        (status.success(), format!("{text}{status}"))
    }

    fn wait(&mut self) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return Some(status);
            }
            // Only how soon the end is seen depends on it.
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
