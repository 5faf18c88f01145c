//! Two hosts with a back end each, and the cables between them: one for the back ends, one for IP, by which MPI starts its processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use myrixen_control::{Client, Reply, Request, Status};
use myrixen_mpi::{Job, Outcome, Over, Place, Places, Running};
use myrixen_netlab::{Host, Lab};
use tempfile::TempDir;

use super::Args;

/// How long a back end may take to begin, and to notice that a program has gone: many times what it needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the ranks of a job are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Two on one host.
    One,
    /// One on each of two hosts.
    Two,
    /// Two on each of two hosts.
    Four,
}

impl Layout {
    /// As cases name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "one-host",
            Self::Two => "two-hosts",
            Self::Four => "four-ranks",
        }
    }

    /// How many there are on each host.
    fn ranks_each(self) -> usize {
        match self {
            Self::One | Self::Four => 2,
            Self::Two => 1,
        }
    }
}

/// The hosts, as tests are given them.
pub(crate) struct Stage<'a> {
    hosts: &'a [Host; 2],
    daemons: [Option<Child>; 2],
    daemon: PathBuf,
    /// The first host alone, and both.
    one: Places<'a>,
    two: Places<'a>,
    control: String,
    over: Over,
    folder: TempDir,
}

/// The hosts' addresses on the cable for IP.
const IP: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

/// The hosts, joined by cables; and the interfaces of the second cable.
pub(crate) fn hosts(lab: &Lab) -> anyhow::Result<([Host; 2], [[String; 2]; 2])> {
    let hosts = [lab.host("a")?, lab.host("b")?];
    let ends = [&hosts[0], &hosts[1]];
    let (fabric, ip) = (lab.cable(ends, 9000)?, lab.cable(ends, 9000)?);
    for ((host, interface), address) in hosts.iter().zip(&ip).zip(IP) {
        host.add_address(interface, address.parse()?, 24)?;
    }
    Ok((hosts, [fabric, ip]))
}

impl<'a> Stage<'a> {
    /// Writes the configurations and starts both back ends.
    pub(crate) fn start(
        args: &Args,
        hosts: &'a [Host; 2],
        cables: &[[String; 2]; 2],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("mpi").tempdir()?;
        let place = |at: usize| {
            let socket = folder.path().join(format!("{}.guests", hosts[at].name()));
            let socket = socket.display().to_string();
            Place::new(&hosts[at], &[("MYRIXEN_SOCKET", &socket)])
        };
        let (one, two) = (vec![place(0)?], vec![place(0)?, place(1)?]);
        let mut stage = Self {
            hosts,
            daemons: [None, None],
            daemon: args.daemon(),
            one: Places::new(one)?,
            two: Places::new(two)?,
            control: cables[1][0].clone(),
            over: Over::Provider(args.provider.clone(), args.provider_dir()),
            folder,
        };
        for (at, interface) in cables[0].iter().enumerate() {
            stage.configure(at, interface)?;
            stage.start_daemon(at)?;
        }
        Ok(stage)
    }

    fn file(&self, at: usize, kind: &str) -> PathBuf {
        let name = format!("{}.{kind}", self.hosts[at].name());
        self.folder.path().join(name)
    }

    /// A folder for what a case writes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn configure(&self, at: usize, interface: &str) -> anyhow::Result<()> {
        let name = self.hosts[at].name();
        let path = |kind| self.file(at, kind).display().to_string();
        let text = format!(
            "[host]\nname = '{name}'\nid = '{name}'\nxen = 'off'\nstate_dir = '{}'\nsocket = '{}'\ncontrol = '{}'\n\
             [[uplink]]\nname = 'cable'\nkind = 'ethernet'\ninterface = '{interface}'\n",
            path("state"),
            path("guests"),
            path("control"),
        );
        Ok(std::fs::write(self.file(at, "toml"), text)?)
    }

    /// Starts the back end of a host and waits until it answers.
    pub(crate) fn start_daemon(&mut self, at: usize) -> anyhow::Result<()> {
        // Ends with this program, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&self.daemon);
        command.arg("--config").arg(self.file(at, "toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = std::fs::File::options();
        let log = log
            .clone()
            .create(true)
            .append(true)
            .open(self.file(at, "log"))?;
        command.stderr(log);
        let program = self.daemon.display();
        ensure!(
            self.daemon.exists(),
            "`cargo build --release -p myrixend` makes {program}"
        );
        let child = self.hosts[at].spawn(&mut command)?;
        self.daemons[at] = Some(child);
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.status(at) {
            if Instant::now() > until {
                let log = std::fs::read_to_string(self.file(at, "log")).unwrap_or_default();
                return Err(error.context(format!("the back end says:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Kills the back end of a host, as a crash would.
    pub(crate) fn kill_daemon(&mut self, at: usize) -> anyhow::Result<()> {
        if let Some(mut daemon) = self.daemons[at].take() {
            daemon.kill()?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// What the back end of a host says of itself.
    pub(crate) fn status(&self, at: usize) -> anyhow::Result<Status> {
        let mut client = Client::connect(self.file(at, "control"))?;
        match client.ask(&Request::Status)? {
            Reply::Status(status) => Ok(status),
            other => bail!("a back end said {other:?} when asked for its status"),
        }
    }

    /// Bytes that both back ends have sent to each other since they began, but for a little that they say of themselves.
    pub(crate) fn crossed(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for at in 0..2 {
            let mut client = Client::connect(self.file(at, "control"))?;
            match client.ask(&Request::Uplinks)? {
                Reply::Uplinks(uplinks) => {
                    bytes += uplinks
                        .iter()
                        .map(|uplink| uplink.counters.sent_bytes)
                        .sum::<u64>();
                }
                other => bail!("a back end said {other:?} when asked for its uplinks"),
            }
        }
        Ok(bytes)
    }

    /// Waits until both back ends have nothing left of any program, and see that they have not detached one for what it did.
    pub(crate) fn is_clean(&self) -> anyhow::Result<()> {
        for at in 0..2 {
            let until = Instant::now() + PATIENCE;
            loop {
                let status = self.status(at)?;
                let left = (status.guests, status.ports, status.direct);
                ensure!(
                    status.faults.is_empty(),
                    "back end {at} has detached guests: {:?}",
                    status.faults
                );
                if left == (0, 0, 0) {
                    break;
                }
                ensure!(
                    Instant::now() < until,
                    "back end {at} still has {} guests, {} ports, {} direct channels",
                    left.0,
                    left.1,
                    left.2
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// The hosts of a layout.
    pub(crate) fn places(&self, layout: Layout) -> &Places<'a> {
        match layout {
            Layout::One => &self.one,
            Layout::Two | Layout::Four => &self.two,
        }
    }

    /// A job on the hosts of a layout.
    pub(crate) fn job(&self, layout: Layout, program: impl AsRef<Path>) -> Job {
        let job = Job::new(self.over.clone(), program).ranks(layout.ranks_each());
        job.control_by(&self.control)
    }

    /// Runs a job, which has to succeed; what it printed.
    pub(crate) fn run(&self, layout: Layout, job: &Job, limit: u64) -> anyhow::Result<String> {
        let outcome = job.run(self.places(layout), Duration::from_secs(limit))?;
        ensure!(outcome.well, "{}\n{}", outcome.how, outcome.said);
        Ok(outcome.said)
    }

    /// The provider that is tested.
    pub(crate) fn provider(&self) -> String {
        match &self.over {
            Over::Provider(name, _) => name.clone(),
            Over::Ob1(_) | Over::Ucx(_) => String::new(),
        }
    }

    /// Starts a program on the first host that is no job of MPI's.
    pub(crate) fn alone_start(&self, program: &str, words: &[&str]) -> anyhow::Result<Running> {
        let mut command = self.one.command(program)?;
        if let Over::Provider(_, Some(folder)) = &self.over {
            command.env("FI_PROVIDER_PATH", folder);
        }
        command.args(words);
        Running::start(command)
    }

    /// Runs such a program to its end.
    pub(crate) fn alone(&self, program: &str, words: &[&str]) -> anyhow::Result<Outcome> {
        Ok(self.alone_start(program, words)?.end(PATIENCE))
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for at in 0..2 {
            // It may have ended by itself, which is what is wanted.
            let _ = self.kill_daemon(at);
        }
    }
}
