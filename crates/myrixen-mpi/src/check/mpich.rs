//! MPICH on libfabric (`ch4:ofi`), as PyPI has it; ranks of one host by the provider too.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use myrixen_mpi::{Job, Kind, compile};

use super::cases::{Bench, Case, Need};
use super::own;
use super::stage::Layout;

const NEEDS: [Need; 2] = [Need::Program("cc", "gcc"), Need::Mpich];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in [Layout::One, Layout::Two, Layout::Four] {
        for (program, words, limit) in [
            (
                "pingpong",
                &["50", "latency:8", "bandwidth:1048576"][..],
                60,
            ),
            ("p2p", &[], 120),
            ("matching", &[], 60),
            ("collective", &[], 60),
            ("onesided", &[], 60),
        ] {
            let name = format!("mpich/{}/{program}", layout.name());
            cases.push(Case::new(name, &NEEDS, move |bench| {
                run(bench, layout, program, words, limit)
            }));
        }
    }
    cases
}

/// A job by the MPICH in `home`, over libfabric also where ranks share a host.
pub(super) fn by(job: Job, home: &Path) -> Job {
    let job = job.by(Kind::Hydra(home.join("bin")));
    job.env("MPIR_CVAR_CH4_NETMOD", "ofi")
        .env("MPIR_CVAR_NOLOCAL", "1")
}

fn run(
    bench: &mut Bench<'_, '_>,
    layout: Layout,
    name: &str,
    words: &[&str],
    limit: u64,
) -> anyhow::Result<String> {
    let home = bench.packages.mpich()?;
    let (include, lib) = (home.join("include"), home.join("lib"));
    let [include, lib] = [include, lib].map(|path| path.display().to_string());
    let compiler = [
        "cc",
        "-I",
        &include,
        "-L",
        &lib,
        "-lmpi",
        &format!("-Wl,-rpath,{lib}:{lib}/mpich"),
    ];
    let program = compile(name, &compiler, bench.stage.folder())?;
    let job = by(bench.stage.job(layout, &program), home).args(words);
    let outcome = job.run(bench.stage.places(layout), Duration::from_secs(limit))?;
    ensure!(
        outcome.well && outcome.said.contains("PASSED: "),
        "{}\n{}",
        outcome.how,
        outcome.said
    );
    Ok(own::figures(&outcome.said).join(", "))
}
