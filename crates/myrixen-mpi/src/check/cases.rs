//! All cases, by name.

use super::packages::Packages;
use super::stage::{Layout, Stage};
use super::{Args, fabric, faults, mpich, own, programs, suite};

/// What a case works with.
pub(crate) struct Bench<'a, 'b> {
    pub(crate) stage: &'b mut Stage<'a>,
    pub(crate) packages: &'b Packages,
    /// Long runs.
    pub(crate) full: bool,
}

/// What a case is: what it needs, and what it does. What it returns is said beside its name.
pub(crate) type Work = Box<dyn Fn(&mut Bench<'_, '_>) -> anyhow::Result<String>>;

/// One case.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Whose programs it takes.
    pub(crate) needs: &'static [Need],
    pub(crate) work: Work,
}

/// What a case cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A program in `PATH`, and the package of Debian that has it.
    Program(&'static str, &'static str),
    /// A file, and the package of Debian that has it.
    File(&'static str, &'static str),
    /// mpi4py's source, for its tests.
    Mpi4py,
    /// MPICH with libfabric, of PyPI.
    Mpich,
    /// mpi4py for that MPICH, and the source with its tests.
    MpichMpi4py,
}

/// What all cases of Open MPI need.
pub(crate) const OPEN_MPI: [Need; 2] = [
    Need::Program("mpirun", "openmpi-bin"),
    Need::Program("mpicc", "libopenmpi-dev"),
];

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        needs: &'static [Need],
        work: impl Fn(&mut Bench<'_, '_>) -> anyhow::Result<String> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            needs,
            work: Box::new(work),
        }
    }
}

/// Those that are asked for.
pub(crate) fn all(args: &Args) -> Vec<Case> {
    let mut cases = fabric::cases();
    for layout in [Layout::One, Layout::Two, Layout::Four] {
        cases.extend(own::cases(layout, args.full));
    }
    cases.extend(suite::cases(args.full));
    cases.extend(programs::cases());
    cases.extend(mpich::cases());
    cases.extend(faults::cases());
    cases.retain(|case| {
        args.only.is_empty() || args.only.iter().any(|word| case.name.contains(word))
    });
    cases
}
