//! An MPI program, how many ranks of it, and over what.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::place::Places;
use crate::run::{Outcome, Running};

/// Whose MPI it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Open MPI 4, with its `mpirun`.
    OpenMpi,
    /// MPICH or what is made of it, with `mpiexec` of Hydra in this folder.
    Hydra(PathBuf),
}

/// What carries the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// A provider of libfabric, by name; and the folder that libfabric is to look for providers in, if not its own.
    Provider(String, Option<PathBuf>),
    /// Open MPI's own, `pml ob1`: by shared memory within a host, by TCP between hosts, over the interface of this name.
    Ob1(String),
    /// UCX, with this for `UCX_TLS`.
    Ucx(String),
}

impl Over {
    /// A provider that comes with libfabric.
    #[must_use]
    pub fn provider(name: &str) -> Self {
        Self::Provider(name.to_owned(), None)
    }
}

/// One run of one program.
#[derive(Clone, Debug)]
pub struct Job {
    kind: Kind,
    over: Over,
    words: Vec<String>,
    ranks_each: usize,
    control: Option<String>,
    parameters: Vec<(String, String)>,
    env: Vec<(String, String)>,
    folder: Option<PathBuf>,
    recovers: bool,
}

impl Job {
    /// `program` by Open MPI, one rank on each host. Ranks give way to others while they wait, since tests have fewer cores than ranks.
    #[must_use]
    pub fn new(over: Over, program: impl AsRef<Path>) -> Self {
        let job = Self {
            kind: Kind::OpenMpi,
            over,
            words: vec![program.as_ref().display().to_string()],
            ranks_each: 1,
            control: None,
            parameters: Vec::new(),
            env: Vec::new(),
            folder: None,
            recovers: false,
        };
        job.parameter("mpi_yield_when_idle", "1")
    }

    /// By another MPI.
    #[must_use]
    pub fn by(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// So many ranks on each host.
    #[must_use]
    pub fn ranks(self, each: usize) -> Self {
        Self {
            ranks_each: each,
            ..self
        }
    }

    /// What the program is told.
    #[must_use]
    pub fn args<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// The interface by which the hosts start and control the job; its messages are another thing.
    #[must_use]
    pub fn control_by(self, interface: &str) -> Self {
        Self {
            control: Some(interface.to_owned()),
            ..self
        }
    }

    /// Sets a parameter of Open MPI's components.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.retain(|(other, _)| other != name);
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of all ranks' environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where the ranks find themselves.
    #[must_use]
    pub fn within(self, folder: &Path) -> Self {
        Self {
            folder: Some(folder.to_owned()),
            ..self
        }
    }

    /// The death of a rank does not end the others.
    #[must_use]
    pub fn recovers(self) -> Self {
        Self {
            recovers: true,
            ..self
        }
    }

    /// Runs it to its end, or for as long as `limit`: then nothing of it is left.
    ///
    /// # Errors
    /// When it cannot be started. A failure of the program is an [`Outcome`].
    pub fn run(&self, places: &Places<'_>, limit: Duration) -> anyhow::Result<Outcome> {
        Ok(self.start(places)?.end(limit))
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, places: &Places<'_>) -> anyhow::Result<Running> {
        let mut command = match &self.kind {
            Kind::OpenMpi => self.mpirun(places)?,
            Kind::Hydra(folder) => self.mpiexec(folder, places)?,
        };
        command.args(&self.words);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        Running::start(command)
    }

    /// Variables that say which provider is to be used, for every MPI and libfabric alike.
    fn variables(&self, places: &Places<'_>) -> Vec<(String, String)> {
        let mut all = self.env.clone();
        // For the programs of this crate, which see whether it is so.
        all.push(("MPI_CHECK_HOSTS".to_owned(), places.len().to_string()));
        match &self.over {
            Over::Provider(name, folder) => {
                if let Some(folder) = folder {
                    all.push(("FI_PROVIDER_PATH".to_owned(), folder.display().to_string()));
                }
                if self.kind != Kind::OpenMpi {
                    all.push(("FI_PROVIDER".to_owned(), name.clone()));
                }
            }
            Over::Ob1(_) => {}
            Over::Ucx(tls) => all.push(("UCX_TLS".to_owned(), tls.clone())),
        }
        all
    }

    fn mpirun(&self, places: &Places<'_>) -> anyhow::Result<Command> {
        let mut command = places.command("mpirun")?;
        // Whoever is root in a namespace is so for Open MPI too.
        command.envs([
            ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
            ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ]);
        let hosts: Vec<String> = places
            .names()
            .map(|name| format!("{name}:{}", self.ranks_each))
            .collect();
        let ranks = (self.ranks_each * places.len()).to_string();
        command.args(["--oversubscribe", "-n", &ranks, "--host", &hosts.join(",")]);
        let mut set = |name: &str, value: &str| {
            command.args(["--mca", name, value]);
        };
        set("plm_rsh_agent", &places.launcher().display().to_string());
        // Not in a folder of a name that root of another namespace, who is another user, has taken.
        set("orte_tmpdir_base", &places.folder().display().to_string());
        if let Some(interface) = &self.control {
            set("oob_tcp_if_include", interface);
        }
        if places.len() > 1 {
            // Each host's first rank would be bound to the first core of the one machine that they are all on.
            set("hwloc_base_binding_policy", "none");
        }
        match &self.over {
            Over::Provider(name, _) => {
                set("pml", "cm");
                set("mtl", "ofi");
                set("mtl_ofi_provider_include", name);
                // One-sided operations over the same, also where ranks share a host.
                set("osc", "pt2pt");
            }
            Over::Ob1(interface) => {
                set("pml", "ob1");
                set(
                    "btl",
                    if places.len() > 1 {
                        "tcp,self"
                    } else {
                        "vader,self"
                    },
                );
                set("btl_tcp_if_include", interface);
            }
            Over::Ucx(_) => {
                set("pml", "ucx");
                // Without it Open MPI takes UCX for InfiniBand only.
                set("pml_ucx_tls", "any");
                set("pml_ucx_devices", "any");
            }
        }
        for (name, value) in &self.parameters {
            set(name, value);
        }
        if self.recovers {
            command.arg("--enable-recovery");
        }
        for (name, value) in self.variables(places) {
            command.args(["-x", &format!("{name}={value}")]);
        }
        Ok(command)
    }

    fn mpiexec(&self, folder: &Path, places: &Places<'_>) -> anyhow::Result<Command> {
        let mut command = places.command(&folder.join("mpiexec").display().to_string())?;
        let ranks = (self.ranks_each * places.len()).to_string();
        let each = self.ranks_each.to_string();
        if places.len() > 1 {
            let hosts: Vec<&str> = places.names().collect();
            command.args(["-hosts", &hosts.join(","), "-ppn", &each]);
            command
                .args(["-launcher", "rsh", "-launcher-exec"])
                .arg(places.launcher());
            if let Some(interface) = &self.control {
                command.args(["-iface", interface]);
            }
        }
        // Each host's ranks are to have the variables of their own host, not those of the first one.
        command.arg("-genvnone");
        command.args(["-n", &ranks]);
        for (name, value) in self.variables(places) {
            command.args(["-genv", &name, &value]);
        }
        Ok(command)
    }
}
