//! The steps of `cargo xtask check`: what each runs, and what it needs.

use std::process::Command;

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    /// Short, for the command line and the summary.
    pub(crate) name: &'static str,
    /// What it finds out.
    pub(crate) what: &'static str,
    /// How to find out whether the tool it needs is there, if not part of Rust.
    pub(crate) needs: Option<Tool>,
    /// What it runs.
    pub(crate) work: Work,
    /// Seconds after which it is taken to hang. Several times what it needs on two slow cores, compiling included.
    pub(crate) limit: u64,
}

/// A tool that does not come with Rust.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// A command that succeeds where the tool is.
    pub(crate) probe: &'static [&'static str],
    /// How to get it.
    pub(crate) install: &'static str,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Work {
    /// Commands one after the other.
    Commands(&'static [Run]),
    /// This program again, with these arguments.
    Own(&'static [&'static str]),
    /// Every fuzz target for a while.
    Fuzz,
}

/// One command.
#[derive(Debug)]
pub(crate) struct Run {
    /// Program and arguments.
    pub(crate) words: &'static [&'static str],
    /// Environment.
    pub(crate) env: &'static [(&'static str, &'static str)],
}

/// Builds the provider of libfabric.
const PROVIDER: Run = Run {
    words: &["cargo", "ffi", "--package", "myrixen-fabric"],
    env: &[],
};

/// What is asked of every step: cheap and telling ones first. Each profile compiles everything anew, so
/// there are four, one after the other: dev (clippy, tests, documents), release (simulation, demo, bench), static
/// programs (lab), and the fuzz targets' own. Loom's and that of the benches are small.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        what: "layout of the code",
        needs: None,
        work: Work::Commands(&[
            Run {
                words: &["cargo", "fmt", "--all", "--check"],
                env: &[],
            },
            Run {
                words: &[
                    "cargo",
                    "fmt",
                    "--manifest-path",
                    "fuzz/Cargo.toml",
                    "--check",
                ],
                env: &[],
            },
        ]),
        limit: 60,
    },
    Step {
        name: "arrows",
        what: "arrows of docs/architecture.md, unsafe, lengths",
        needs: None,
        work: Work::Own(&["arrows"]),
        limit: 60,
    },
    Step {
        name: "deny",
        what: "licences, duplicates and sources of dependencies",
        needs: Some(Tool {
            probe: &["cargo", "deny", "--version"],
            install: "cargo install --locked cargo-deny",
        }),
        work: Work::Commands(&[Run {
            words: &[
                "cargo",
                "deny",
                "--all-features",
                "check",
                "--hide-inclusion-graph",
                "licenses",
                "bans",
                "sources",
            ],
            env: &[],
        }]),
        limit: 300,
    },
    Step {
        name: "clippy",
        what: "lints, warnings are errors",
        needs: None,
        work: Work::Commands(&[Run {
            words: &[
                "cargo",
                "clippy",
                "--locked",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-Dwarnings",
            ],
            env: &[],
        }]),
        limit: 1800,
    },
    Step {
        name: "instructions",
        what: "instructions of the hot paths against the committed figures",
        needs: Some(Tool {
            probe: &["valgrind", "--version"],
            install: "apt-get install --no-install-recommends valgrind",
        }),
        work: Work::Own(&["instructions"]),
        limit: 1200,
    },
    Step {
        name: "test",
        what: "all tests, as the README says",
        needs: None,
        work: Work::Commands(&[Run {
            words: &["cargo", "test", "--workspace"],
            env: &[],
        }]),
        limit: 1800,
    },
    Step {
        name: "netpipe",
        what: "NetPIPE's module for MX, unmodified, on libmyriexpress: every byte checked",
        needs: Some(Tool {
            probe: &["apt-get", "--version"],
            install: "it is of Debian; MYRIXEN_NETPIPE names a folder with NetPIPE's source for `cargo test -p myriexpress --test netpipe`",
        }),
        work: Work::Commands(&[Run {
            words: &["ffi/myriexpress/tests/netpipe.sh"],
            env: &[],
        }]),
        limit: 900,
    },
    Step {
        name: "docs",
        what: "documentation, warnings are errors",
        needs: None,
        work: Work::Commands(&[Run {
            words: &[
                "cargo",
                "doc",
                "--locked",
                "--workspace",
                "--no-deps",
                "--all-features",
            ],
            env: &[("RUSTDOCFLAGS", "-Dwarnings")],
        }]),
        limit: 1800,
    },
    Step {
        name: "loom",
        what: "models of the rings' handshakes and of the lock, all interleavings",
        needs: None,
        work: Work::Commands(&[Run {
            words: &[
                "cargo",
                "test",
                "--locked",
                "--release",
                "-p",
                "myrixen-ring",
                "-p",
                "myrixen-bias",
                "--lib",
            ],
            // A folder of its own, or the flag would have everything else compiled again.
            env: &[
                ("RUSTFLAGS", "--cfg loom"),
                ("CARGO_TARGET_DIR", "target/loom"),
                ("CARGO_PROFILE_RELEASE_LTO", "off"),
            ],
        }]),
        limit: 1800,
    },
    Step {
        name: "sim",
        what: "10,000 simulated networks",
        needs: None,
        work: Work::Commands(&[Run {
            words: &[
                "cargo",
                "run",
                "--locked",
                "--release",
                "-p",
                "myrixen-sim",
                "--",
                "--seeds",
                "10000",
            ],
            env: &[],
        }]),
        limit: 1800,
    },
    Step {
        name: "requests",
        what: "ten million requests of an MX program leave its memory as it was",
        needs: None,
        work: Work::Commands(&[Run {
            // As part of the workspace, as the step `test` has compiled it.
            words: &[
                "cargo",
                "test",
                "--workspace",
                "--test",
                "programs",
                "two_endpoints_that_come_and_go",
                "--",
                "--nocapture",
            ],
            env: &[("MYRIXEN_CHURN", "10000000")],
        }]),
        limit: 900,
    },
    Step {
        name: "demo",
        what: "two hosts, four guests, one killed back end; then twenty",
        needs: None,
        work: Work::Commands(&[
            Run {
                words: &["cargo", "run", "--release", "--", "demo"],
                env: &[],
            },
            // The bar for restarts: either back end in turn, in the middle of verified streams. Nice, because the kernel
            // lets a killed packet socket go after some RCU grace periods, and a machine that is kept busy by tasks that
            // wake each other 100,000 times a second may not let the thread behind those run for seconds.
            Run {
                words: &[
                    "nice",
                    "-n",
                    "10",
                    "cargo",
                    "run",
                    "--release",
                    "--",
                    "demo",
                    "--no-perf",
                    "--restarts",
                    "20",
                    "--out",
                    "target/demo-restarts",
                ],
                env: &[],
            },
        ]),
        limit: 1800,
    },
    Step {
        name: "bench",
        what: "every path beside its peers, in one quick run; nothing passes or fails by time",
        needs: None,
        work: Work::Commands(&[
            Run {
                words: &[
                    "cargo",
                    "build",
                    "--release",
                    "--package",
                    "myrixen-peer-iceoryx2",
                ],
                env: &[],
            },
            // Not among the tests of everything: see its manifest.
            Run {
                words: &[
                    "cargo",
                    "test",
                    "--release",
                    "--package",
                    "myrixen-peer-iceoryx2",
                    "--test",
                    "records",
                ],
                env: &[],
            },
            // MPI over ours as well.
            PROVIDER,
            // With MX's tool beside ours, which measures what MX's interface costs.
            Run {
                words: &["packaging/install-mx.sh", "--prefix", "target/mx"],
                env: &[],
            },
            Run {
                words: &[
                    "ln",
                    "-sf",
                    "../mx/bin/mx_pingpong",
                    "target/release/mx_pingpong",
                ],
                env: &[],
            },
            Run {
                words: &[
                    "cargo",
                    "run",
                    "--release",
                    "--",
                    "bench",
                    "--quick",
                    "--out",
                    "target/bench",
                ],
                env: &[],
            },
        ]),
        limit: 900,
    },
    Step {
        name: "mpi",
        what: "MPI on the libfabric provider, within a host and between two: programs of ours and of others",
        needs: Some(Tool {
            probe: &["mpirun", "--version"],
            install: "apt-get install --no-install-recommends openmpi-bin libopenmpi-dev libfabric-bin netpipe-openmpi hpcc lammps lammps-examples python3-mpi4py python3-venv",
        }),
        work: Work::Commands(&[
            PROVIDER,
            Run {
                words: &[
                    "cargo",
                    "build",
                    "--release",
                    "--package",
                    "myrixend",
                    "--package",
                    "myrixen-mpi",
                ],
                env: &[],
            },
            Run {
                words: &["cargo", "run", "--release", "--package", "myrixen-mpi"],
                env: &[],
            },
        ]),
        limit: 1800,
    },
    Step {
        name: "lab",
        what: "tests on real Xen, on emulated machines",
        needs: Some(Tool {
            probe: &["qemu-system-x86_64", "--version"],
            install: "apt-get install --no-install-recommends qemu-system-x86 xz-utils lz4",
        }),
        work: Work::Own(&["lab", "xen", "--quick"]),
        limit: 3600,
    },
    Step {
        name: "fuzz",
        what: "every fuzz target for a while",
        needs: Some(Tool {
            probe: &["cargo", "fuzz", "--version"],
            install: "cargo install --locked cargo-fuzz",
        }),
        work: Work::Fuzz,
        limit: 300,
    },
];

impl Tool {
    /// Whether it is there.
    pub(crate) fn present(&self) -> bool {
        let Some((program, arguments)) = self.probe.split_first() else {
            return true;
        };
        Command::new(program)
            .args(arguments)
            .output()
            .is_ok_and(|output| output.status.success())
    }
}

impl Work {
    /// What it runs, for people.
    pub(crate) fn describe(&self) -> Vec<String> {
        match self {
            Self::Commands(runs) => runs.iter().map(Run::describe).collect(),
            Self::Own(arguments) => vec![format!("cargo xtask {}", arguments.join(" "))],
            Self::Fuzz => vec!["cargo fuzz run TARGET, for each of `cargo fuzz list`".to_owned()],
        }
    }
}

impl Run {
    fn describe(&self) -> String {
        let env = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}='{value}'"));
        env.chain(self.words.iter().map(|word| (*word).to_owned()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}
