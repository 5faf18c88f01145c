//! Our programs for the domains: as a user builds them, so that other steps of CI find the same, and with the C library of
//! this machine; stripped, since a domain keeps its whole file system in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::tools::output;

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
    /// Where it is once it is built and stripped.
    fn path(&self, root: &Path) -> PathBuf {
        root.join("target/lab/programs").join(self.name)
    }

    /// Where cargo puts it; `None` for one that cargo does not build.
    fn built(&self, root: &Path) -> Option<PathBuf> {
        let target = root.join("target");
        match self.kind {
            Kind::Bin => Some(target.join("release").join(self.name)),
            Kind::Example => Some(target.join("release/examples").join(self.name)),
            Kind::Provider => Some(target.join("ffi/libmyrixen_fi.so")),
            Kind::C { .. } | Kind::Mx { .. } | Kind::Mpi { .. } => None,
        }
    }
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
    if programs
        .iter()
        .any(|program| matches!(program.kind, Kind::Mx { .. }))
    {
        ffi(root, "myriexpress")?;
    }
    if programs.iter().any(|program| program.name == "NPmx") {
        fetch_netpipe(root)?;
    }
    // Each program by itself: together they would be compiled anew, with the features that only one of them asks for.
    let of = |kind| {
        programs
            .iter()
            .copied()
            .filter(move |program| program.kind == kind)
    };
    for provider in of(Kind::Provider) {
        ffi(root, provider.package)?;
    }
    for bin in of(Kind::Bin) {
        run_cargo(root, &[bin])?;
    }
    let examples: Vec<&Program> = of(Kind::Example).collect();
    if !examples.is_empty() {
        run_cargo(root, &examples)?;
    }
    programs
        .iter()
        .try_for_each(|program| compile(root, program, sdk))
}

/// The libraries of this machine that the programs called `names` need, the C library's loader among them: what each is called in a domain, and where it is
/// here. Not those of Open MPI's programs, which a domain has its own of.
///
/// # Errors
///
/// When there is no program of a name, or one of the libraries is missing.
pub(crate) fn libraries(
    root: &Path,
    names: &[String],
) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut all = BTreeMap::new();
    for name in names {
        let program = program(name)?;
        if !matches!(program.kind, Kind::Bin | Kind::Example | Kind::Mx { .. }) {
            continue;
        }
        let said = output(Command::new("ldd").arg(program.path(root)))?;
        for line in String::from_utf8_lossy(&said).lines() {
            let (called, library) = needed(line).with_context(|| format!("{name}: {line}"))?;
            all.extend(library.map(|library| (called, library)));
        }
    }
    Ok(all)
}

/// What a line of `ldd` names: a library's path in a domain, and where it is here; nothing for what the kernel provides.
fn needed(line: &str) -> anyhow::Result<(String, Option<PathBuf>)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [loader, _] if loader.starts_with('/') => {
            let inside = loader.trim_start_matches('/').to_owned();
            Ok((inside, Some(PathBuf::from(loader))))
        }
        [library, "=>", path, _] if path.starts_with('/') => {
            let inside = format!("lib/x86_64-linux-gnu/{library}");
            Ok((inside, Some(PathBuf::from(path))))
        }
        [from_kernel, _] => Ok((from_kernel.to_owned(), None)),
        _ => anyhow::bail!("this machine has no such library"),
    }
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

fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What is built is looked for in its usual place.
    command.env_remove("CARGO_TARGET_DIR");
    command
}

fn run_cargo(root: &Path, programs: &[&Program]) -> anyhow::Result<()> {
    let mut build = cargo();
    let status = build.current_dir(root).args(arguments(programs)).status();
    let status = status.context("cannot run cargo build")?;
    ensure!(status.success(), "cargo build failed: {status}");
    Ok(())
}

/// Builds the C library of a package.
fn ffi(root: &Path, package: &str) -> anyhow::Result<()> {
    let mut build = cargo();
    build.current_dir(root);
    build.args(["ffi", "--locked", "--package", package]);
    output(&mut build).map(drop)
}

/// Copies what cargo has built, without symbols.
fn strip(built: &Path, out: &Path) -> anyhow::Result<()> {
    let mut strip = Command::new("strip");
    output(strip.arg("-o").arg(out).arg(built)).map(drop)
}

/// Compiles a program in C, or takes what cargo has built.
fn compile(root: &Path, program: &Program, sdk: &Path) -> anyhow::Result<()> {
    let out = program.path(root);
    let parent = out.parent().context("it lies in a folder")?;
    std::fs::create_dir_all(parent)
        .with_context(|| format!("cannot create {}", parent.display()))?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command.current_dir(root).args(["-O2", "-s"]);
    match program.kind {
        Kind::Bin | Kind::Example | Kind::Provider => {
            let built = program.built(root);
            return built.map_or(Ok(()), |built| strip(&built, &out));
        }
        Kind::C { source, libraries } => command
            .args(["-static", "-std=c99", "-D_POSIX_C_SOURCE=200809L"])
            .args(["-Wall", "-Wextra", "-Werror", "-isystem"])
            .arg(sdk.join("include"))
            .arg(source)
            .arg("-L")
            .arg(sdk.join("lib"))
            .args(libraries.iter().map(|library| format!("-l{library}"))),
        Kind::Mx { sources, flags } => command
            .args(flags)
            .args(["-I", "ffi/myriexpress/include"])
            .args(sources)
            .arg(root.join("target/ffi/libmyriexpress.a"))
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
    let mut arguments = vec!["build", "--locked", "--release"];
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
        let built = example.built(Path::new("/w"));
        assert_eq!(built, Some("/w/target/release/examples/e".into()));
        assert!(program("nope").is_err());
    }

    #[test]
    fn libraries_are_found_and_missing_ones_named() {
        let found = |line| needed(line).ok().and_then(|(_, path)| path);
        let (inside, path) = needed("\tlibc.so.6 => /lib/a/libc.so.6 (0x7f)").expect("there");
        assert_eq!(inside, "lib/x86_64-linux-gnu/libc.so.6");
        assert_eq!(path, Some("/lib/a/libc.so.6".into()));
        let (inside, path) = needed("\t/lib64/ld-linux-x86-64.so.2 (0x7f)").expect("there");
        assert_eq!(inside, "lib64/ld-linux-x86-64.so.2");
        assert_eq!(path, Some("/lib64/ld-linux-x86-64.so.2".into()));
        assert_eq!(found("\tlinux-vdso.so.1 (0x7ffc)"), None);
        assert!(needed("\tlinux-vdso.so.1 (0x7ffc)").is_ok());
        assert!(needed("\tlibz.so.1 => not found").is_err());
    }
}
