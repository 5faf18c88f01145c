//! mpi4py's own tests: some 300 of them, by Debian's mpi4py on Open MPI.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use myrixen_mpi::Job;

use super::cases::{Bench, Case, Need};
use super::mpich;
use super::stage::Layout;

const NEEDS: [Need; 3] = [
    Need::Program("mpirun", "openmpi-bin"),
    Need::File("/usr/lib/python3/dist-packages/mpi4py", "python3-mpi4py"),
    Need::Mpi4py,
];

/// Files of its tests that pass on Open MPI's `pml cm`, and how many tests each has; others run into faults of Open MPI itself (docs/mpi.md).
const FILES: [(&str, u32); 8] = [
    ("p2p_buf", 46),
    ("p2p_buf_matched", 10),
    ("p2p_obj_matched", 10),
    ("cco_buf", 72),
    ("cco_nb_buf", 70),
    ("cco_obj", 64),
    ("comm_topo", 28),
    ("comm_inter", 12),
];

/// Those of a newer mpi4py that pass on MPICH over `ch4:ofi`, one-sided operations too.
const MPICH_FILES: [(&str, u32); 7] = [
    ("p2p_buf", 52),
    ("p2p_buf_matched", 11),
    ("p2p_obj_matched", 10),
    ("cco_buf", 72),
    ("cco_nb_buf", 70),
    ("rma", 36),
    ("rma_nb", 14),
];
/// Those that are run between two hosts in the short check too: MPICH's ranks never give way to the back ends, which takes time where cores are few.
const MPICH_FEW: [&str; 2] = ["p2p_buf", "cco_buf"];
const MPICH_NEEDS: [Need; 2] = [Need::Mpich, Need::MpichMpi4py];

pub(super) fn cases(full: bool) -> Vec<Case> {
    let mut layouts = vec![Layout::One, Layout::Two];
    if full {
        layouts.push(Layout::Four);
    }
    let mut cases = Vec::new();
    for &layout in &layouts {
        for (file, tests) in FILES {
            let name = format!("{}/mpi4py/{file}", layout.name());
            cases.push(Case::new(name, &NEEDS, move |bench| {
                let job = bench.stage.job(layout, "/usr/bin/python3");
                let job = job.args(["test/runtests.py", "--no-builddir", "-i", file]);
                let job = job.within(bench.packages.mpi4py()?);
                run(bench, layout, &job, tests)
            }));
        }
    }
    for layout in layouts {
        let wanted = |file: &str| full || layout == Layout::One || MPICH_FEW.contains(&file);
        for (file, tests) in MPICH_FILES.into_iter().filter(|(file, _)| wanted(file)) {
            let name = format!("mpich/{}/mpi4py/{file}", layout.name());
            cases.push(Case::new(name, &MPICH_NEEDS, move |bench| {
                let home = bench.packages.mpich()?;
                let job = bench.stage.job(layout, home.join("bin/python"));
                // A pattern that is looked for in the names of files.
                let job =
                    mpich::by(job, home).args(["test/main.py", "-i", &format!("test_{file}.py")]);
                let job = job.within(bench.packages.mpich_mpi4py()?);
                run(bench, layout, &job, tests)
            }));
        }
    }
    cases
}

fn run(bench: &Bench<'_, '_>, layout: Layout, job: &Job, tests: u32) -> anyhow::Result<String> {
    let outcome = job.run(bench.stage.places(layout), Duration::from_secs(90))?;
    ensure!(outcome.well, "{}\n{}", outcome.how, outcome.said);
    let ran = passed(&outcome.said);
    let ranks = if layout == Layout::Four { 4 } else { 2 };
    ensure!(
        ran.len() == ranks && ran.iter().all(|&n| n >= tests),
        "each of {ranks} ranks has to pass {tests} tests; passed: {ran:?}\n{}",
        outcome.said
    );
    let first = ran.first().context("no rank")?;
    Ok(format!("{first} tests on each of {ranks} ranks"))
}

/// How many tests each rank that was satisfied ran: "Ran N tests in T", as many as "OK". Two ranks that end at the same time share their lines.
fn passed(said: &str) -> Vec<u32> {
    let words = said.split(|c: char| !c.is_ascii_alphabetic());
    let well = words.map(|word| {
        // Behind the seconds of another rank.
        let word = word.strip_prefix('s').unwrap_or(word);
        let only = word.replace("OK", "").is_empty();
        if only { word.len() / "OK".len() } else { 0 }
    });
    let counts = said.split("Ran ").skip(1);
    let counts = counts.filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
    counts.take(well.sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn tests_count_where_all_of_a_rank_passed() {
        let said =
            "[0@a] Ran 46 tests in 0.2s\n\n[0@a] OK\nRan 46 tests in 0.2s\n\nFAILED (errors=1)\n";
        assert_eq!(passed(said), [46]);
        let said = "[0@a] ..\nRan 72 tests in 0.066sRan 72 tests in 0.066s\n\nBROKEN\nOK\nOK (skipped=2)\n";
        assert_eq!(passed(said), [72, 72]);
        assert_eq!(
            passed("Ran 3 tests in 0.1sOK\nRan 4 tests in 0.1s\nOKOK"),
            [3, 4]
        );
    }
}
