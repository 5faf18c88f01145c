//! Our programs for the domains: linked statically, so that they run whatever libraries are there, and stripped, since
//! a domain keeps its whole file system in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::tools::output;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A program that tests can ask for.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    package: &'static str,
    kind: Kind,
    /// Features of the package that it needs.
    features: &'static [&'static str],
}

/// What it is to cargo, or what it is compiled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bin,
    Example,
    /// A file in C, and the libraries of Xen that it needs.
    C {
        source: &'static str,
        libraries: &'static [&'static str],
    },
    /// Files in C, compiled as their test compiles them, on `libmyriexpress.a`.
    Mx {
        sources: &'static [&'static str],
        flags: &'static [&'static str],
    },
    /// A file in C on Debian's Open MPI: linked dynamically, since that loads the rest of itself at run time.
    Mpi {
        source: &'static str,
    },
    /// Our provider of libfabric: a library, called as libfabric wants it.
    Provider,
}

/// All of them. Add a line here, and name it in `programs` of a `lab.toml`.
const PROGRAMS: &[Program] = &[
    Program {
        name: "myrixend",
        package: "myrixend",
        kind: Kind::Bin,
        features: &[],
    },
    Program {
        name: "myrixen",
        package: "myrixen-cli",
        kind: Kind::Bin,
        features: &[],
    },
    Program {
        name: "xen_probe",
        package: "myrixen-platform",
        kind: Kind::Example,
        features: &["myrixen-platform/xen"],
    },
    Program {
        name: "myrixen-agent",
        package: "myrixen-agent",
        kind: Kind::Bin,
        features: &[],
    },
    Program {
        name: "endpoints",
        package: "myrixen",
        kind: Kind::Example,
        features: &[],
    },
    Program {
        name: "mx-calls",
        package: "",
        kind: Kind::Mx {
            sources: &["ffi/myriexpress/tests/c/calls.c"],
            flags: OURS,
        },
        features: &[],
    },
    Program {
        name: "mx-pair",
        package: "",
        kind: Kind::Mx {
            sources: &["ffi/myriexpress/tests/c/pair.c"],
            flags: OURS,
        },
        features: &[],
    },
    Program {
        name: "mx-pingpong",
        package: "",
        kind: Kind::Mx {
            sources: &["ffi/myriexpress/tools/mx_pingpong.c"],
            flags: OURS,
        },
        features: &[],
    },
    Program {
        name: "NPmx",
        package: "",
        kind: Kind::Mx {
            sources: &[
                "target/netpipe/source/src/netpipe.c",
                "target/netpipe/source/src/mx.c",
            ],
            // Of its time: it calls functions that it does not declare.
            flags: &["-std=gnu89", "-w", "-DMX"],
        },
        features: &[],
    },
    Program {
        name: "libmyrixen-fi.so",
        package: "myrixen-fabric",
        kind: Kind::Provider,
        features: &[],
    },
    Program {
        name: "mpi-pingpong",
        package: "",
        kind: Kind::Mpi {
            source: "crates/myrixen-mpi/c/pingpong.c",
        },
        features: &[],
    },
    Program {
        name: "mpi-p2p",
        package: "",
        kind: Kind::Mpi {
            source: "crates/myrixen-mpi/c/p2p.c",
        },
        features: &[],
    },
    Program {
        name: "mpi-collective",
        package: "",
        kind: Kind::Mpi {
            source: "crates/myrixen-mpi/c/collective.c",
        },
        features: &[],
    },
    Program {
        name: "vchan",
        package: "",
        kind: Kind::C {
            source: "lab/xen/vchan.c",
            // Each before those that it needs.
            libraries: &[
                "xenvchan",
                "xengnttab",
                "xenevtchn",
                "xenstore",
                "xencall",
                "xentoolcore",
                "xentoollog",
            ],
        },
        features: &[],
    },
];

/// How C programs of ours on MX are compiled.
const OURS: &[&str] = &[
    "-std=c11",
    "-D_DEFAULT_SOURCE",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
];

/// The program called `name`.
///
/// # Errors
///
/// When there is none; names those that there are.
pub(crate) fn program(name: &str) -> anyhow::Result<&'static Program> {
    let known = || PROGRAMS.iter().map(|program| program.name);
    PROGRAMS
        .iter()
        .find(|program| program.name == name)
        .with_context(|| {
            let known: Vec<_> = known().collect();
            format!("no program `{name}`; there are {}", known.join(", "))
        })
}

impl Program {
    /// Where it is once it is built.
    fn path(&self, root: &Path) -> PathBuf {
        let release = folder(root).join(TARGET).join("release");
        match self.kind {
            Kind::Bin => release.join(self.name),
            Kind::Example => release.join("examples").join(self.name),
            Kind::C { .. } | Kind::Mx { .. } | Kind::Mpi { .. } | Kind::Provider => {
                folder(root).join("c").join(self.name)
            }
        }
    }
}

/// A folder of its own: other flags would have everything else compiled anew.
fn folder(root: &Path) -> PathBuf {
    root.join("target/lab/build")
}

/// Where the programs called `names` are, once [`build`] has built them.
///
/// # Errors
///
/// When there is none of a name.
pub(crate) fn paths(root: &Path, names: &[String]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    names
        .iter()
        .map(|name| Ok((name.clone(), program(name)?.path(root))))
        .collect()
}

/// Builds the programs called `names`; those in C with the headers and libraries in `sdk`.
///
/// # Errors
///
/// When there is none of a name, or a compiler fails.
pub(crate) fn build(root: &Path, names: &BTreeSet<String>, sdk: &Path) -> anyhow::Result<()> {
    let programs = names
        .iter()
        .map(|name| program(name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if !programs.is_empty() {
        println!(
            "lab: building {}",
            names.iter().cloned().collect::<Vec<_>>().join(", ")
        );
    }
    let is_rust = |program: &&&Program| matches!(program.kind, Kind::Bin | Kind::Example);
    if programs
        .iter()
        .any(|program| matches!(program.kind, Kind::Mx { .. }))
    {
        make_mx(root)?;
    }
    if programs.iter().any(|program| program.name == "NPmx") {
        fetch_netpipe(root)?;
    }
    let rust: Vec<&Program> = programs.iter().filter(is_rust).copied().collect();
    if !rust.is_empty() {
        run_cargo(root, &rust)?;
    }
    programs
        .iter()
        .try_for_each(|program| compile(root, program, sdk))
}

/// Builds the static library of MX.
fn make_mx(root: &Path) -> anyhow::Result<()> {
    let package = ["--package", "myriexpress", "--lib"];
    let mut arguments = vec!["rustc", "--locked", "--release", "--target", TARGET];
    arguments.extend(package);
    arguments.extend(["--crate-type", "staticlib"]);
    cargo(root, &arguments)
}

/// Fetches what is compiled on that library and is not ours.
fn fetch_netpipe(root: &Path) -> anyhow::Result<()> {
    let mut fetch = Command::new("ffi/myriexpress/tests/netpipe.sh");
    // It puts it below the target folder, which is looked for in its usual place.
    fetch.current_dir(root).env_remove("CARGO_TARGET_DIR");
    fetch.arg("--fetch-only");
    output(&mut fetch)
        .map(drop)
        .context("cannot fetch NetPIPE's source package")
}

fn run_cargo(root: &Path, programs: &[&Program]) -> anyhow::Result<()> {
    cargo(root, &arguments(programs))
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(arguments)
        .env("CARGO_TARGET_DIR", folder(root))
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        // It would go before the other.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .status()
        .context("cannot run cargo build")?;
    ensure!(
        status.success(),
        "cargo build failed: {status}; the programs are linked statically, with the C library of libc6-dev \
         for the target {TARGET}"
    );
    Ok(())
}

/// Builds the library `package` as a user does, and leaves it without symbols at `out`.
fn provider(root: &Path, package: &str, out: &Path) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // Where other steps of CI find it as well.
    build.current_dir(root).env_remove("CARGO_TARGET_DIR");
    build.args(["ffi", "--locked", "--package"]);
    output(build.arg(package))?;
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(out);
    strip.arg(root.join("target/ffi/libmyrixen_fi.so"));
    output(&mut strip).map(drop)
}

/// Compiles a program in C, or what C programs load; does nothing for others.
fn compile(root: &Path, program: &Program, sdk: &Path) -> anyhow::Result<()> {
    let out = program.path(root);
    let parent = out.parent().context("it lies in a folder")?;
    std::fs::create_dir_all(parent)
        .with_context(|| format!("cannot create {}", parent.display()))?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command.current_dir(root).args(["-O2", "-s"]);
    match program.kind {
        Kind::Bin | Kind::Example => return Ok(()),
        Kind::Provider => return provider(root, program.package, &out),
        Kind::C { source, libraries } => command
            .args(["-static", "-std=c99", "-D_POSIX_C_SOURCE=200809L"])
            .args(["-Wall", "-Wextra", "-Werror", "-isystem"])
            .arg(sdk.join("include"))
            .arg(source)
            .arg("-L")
            .arg(sdk.join("lib"))
            .args(libraries.iter().map(|library| format!("-l{library}"))),
        Kind::Mx { sources, flags } => command
            .arg("-static")
            .args(flags)
            .args(["-I", "ffi/myriexpress/include"])
            .args(sources)
            .arg(folder(root).join(TARGET).join("release/libmyriexpress.a"))
            .args(["-lpthread", "-ldl", "-lm"]),
        Kind::Mpi { source } => command
            .args(OURS)
            .arg("-isystem")
            .arg(sdk.join("include"))
            .arg(source)
            .arg("-L")
            .arg(sdk.join("lib"))
            // What libmpi.so needs itself is in the domains.
            .args(["-lmpi", "-Wl,--allow-shlib-undefined"]),
    };
    command.arg("-o").arg(out);
    output(&mut command)
        .map(drop)
        .with_context(|| format!("cannot compile {}", program.name))
}

fn arguments(programs: &[&Program]) -> Vec<&'static str> {
    let mut arguments = vec!["build", "--locked", "--release", "--target", TARGET];
    for program in programs {
        let kind = match program.kind {
            Kind::Bin => "--bin",
            Kind::Example => "--example",
            Kind::C { .. } | Kind::Mx { .. } | Kind::Mpi { .. } | Kind::Provider => continue,
        };
        arguments.extend(["--package", program.package, kind, program.name]);
        for feature in program.features {
            arguments.extend(["--features", feature]);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_the_packages_and_what_of_them() {
        let example = Program {
            name: "e",
            package: "p",
            kind: Kind::Example,
            features: &["p/f"],
        };
        let myrixen = program("myrixen").expect("ours");
        let line = arguments(&[myrixen, &example]).join(" ");
        assert!(line.ends_with(
            "--package myrixen-cli --bin myrixen --package p --example e --features p/f"
        ));
        assert!(
            example
                .path(Path::new("/w"))
                .ends_with("release/examples/e")
        );
        assert!(program("nope").is_err());
    }
}
