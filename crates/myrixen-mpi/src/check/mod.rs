//! The cases, where they run, and what becomes of them.

pub(crate) mod cases;
mod fabric;
mod faults;
pub(crate) mod judge;
mod mpich;
mod own;
pub(crate) mod packages;
mod programs;
mod stage;
mod suite;

use std::path::PathBuf;

/// What can be asked for.
#[derive(Debug, clap::Parser)]
#[command(about = "MPI on MyriXen: tests, within a host and between two")]
pub(crate) struct Args {
    /// Names the cases, and runs none
    #[arg(long)]
    pub(crate) list: bool,
    /// Only cases whose name has one of these words in it
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// All that there is: longer runs, and what the short check leaves out
    #[arg(long)]
    pub(crate) full: bool,
    /// The provider of libfabric that is tested; another one than ours tells what of a failure is not ours
    #[arg(long, default_value = "myrixen")]
    pub(crate) provider: String,
    /// The folder that has it [default: what `cargo ffi -p myrixen-fabric` fills, beside this program's]
    #[arg(long)]
    pub(crate) provider_dir: Option<PathBuf>,
    /// The back end's program [default: `myrixend` beside this program]
    #[arg(long)]
    pub(crate) daemon: Option<PathBuf>,
    /// Where programs of others are fetched to, and kept [default: `mpi` in the folder above this program's]
    #[arg(long)]
    pub(crate) packages: Option<PathBuf>,
    /// Prints all that failing cases printed, not only the end of it
    #[arg(long)]
    pub(crate) verbose: bool,
}

impl Args {
    /// A file or folder beside this program.
    pub(crate) fn beside(name: &str) -> PathBuf {
        let own = std::env::current_exe().unwrap_or_default();
        own.with_file_name(name)
    }

    pub(crate) fn daemon(&self) -> PathBuf {
        let given = self.daemon.clone();
        given.unwrap_or_else(|| Self::beside("myrixend"))
    }

    /// Where libfabric is to look for the provider; none for those that it has itself.
    pub(crate) fn provider_dir(&self) -> Option<PathBuf> {
        let ours = self.provider == "myrixen";
        let given = self.provider_dir.clone();
        given.or_else(|| ours.then(|| Self::beside("../ffi")))
    }

    pub(crate) fn packages(&self) -> PathBuf {
        let given = self.packages.clone();
        given.unwrap_or_else(|| Self::beside("../mpi"))
    }
}
