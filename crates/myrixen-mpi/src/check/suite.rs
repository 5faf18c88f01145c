//! mpi4py's own tests: some 300 of them, by Debian's mpi4py on Open MPI.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::cases::{Bench, Case, Need};
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

pub(super) fn cases(full: bool) -> Vec<Case> {
    let mut layouts = vec![Layout::One, Layout::Two];
    if full {
        layouts.push(Layout::Four);
    }
    let mut cases = Vec::new();
    for layout in layouts {
        for (file, tests) in FILES {
            cases.push(Case::new(
                format!("{}/mpi4py/{file}", layout.name()),
                &NEEDS,
                move |bench| run(bench, layout, file, tests),
            ));
        }
    }
    cases
}

fn run(
    bench: &mut Bench<'_, '_>,
    layout: Layout,
    file: &str,
    tests: u32,
) -> anyhow::Result<String> {
    let source = bench.packages.mpi4py()?;
    let job = bench.stage.job(layout, "/usr/bin/python3").args([
        "test/runtests.py",
        "--no-builddir",
        "-i",
        file,
    ]);
    let job = job.within(source);
    let outcome = job.run(bench.stage.places(layout), Duration::from_secs(90))?;
    ensure!(outcome.well, "{}\n{}", outcome.how, outcome.said);
    let ran = passed(&outcome.said);
    let ranks = if layout == Layout::Four { 4 } else { 2 };
    ensure!(
        ran.len() == ranks && ran.iter().all(|&n| n >= tests),
        "each of {ranks} ranks has to pass {tests} tests; passed: {ran:?}\n{}",
        outcome.said
    );
    Ok(format!(
        "{} tests on each of {ranks} ranks",
        ran.first().context("no rank")?
    ))
}

/// How many tests each rank that was satisfied ran: lines "Ran N tests in T", as many as "OK".
fn passed(said: &str) -> Vec<u32> {
    let well = said
        .lines()
        .filter(|line| line.contains("OK") && !line.contains("FAILED"))
        .count();
    let counts = said.lines().filter_map(|line| {
        let (_, rest) = line.split_once("Ran ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    counts.take(well).collect()
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn tests_count_where_all_of_a_rank_passed() {
        let said =
            "[0@a] Ran 46 tests in 0.2s\n\n[0@a] OK\nRan 46 tests in 0.2s\n\nFAILED (errors=1)\n";
        assert_eq!(passed(said), [46]);
    }
}
