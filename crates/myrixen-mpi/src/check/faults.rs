//! What becomes of the others when a rank dies, and of a job when its back end does.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use myrixen_mpi::compile;

use super::cases::{Bench, Case, OPEN_MPI};
use super::programs::{HPCC, Hpcc};
use super::stage::Layout;

/// After so long a silent rank counts as dead, as the jobs here ask for.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in [Layout::One, Layout::Two, Layout::Four] {
        let name = format!("faults/{}/killed-rank", layout.name());
        cases.push(Case::new(name, &OPEN_MPI, move |bench| {
            killed_rank(bench, layout)
        }));
    }
    cases.push(Case::new(
        "faults/one-host/killed-back-end",
        &HPCC,
        |bench| killed_back_end(bench, Layout::One),
    ));
    cases.push(Case::new(
        "faults/two-hosts/killed-back-end",
        &HPCC,
        |bench| killed_back_end(bench, Layout::Two),
    ));
    cases
}

/// The last rank is killed: calls of the others that concern it fail in time; the back end has nothing left of it, and the next job runs.
fn killed_rank(bench: &mut Bench<'_, '_>, layout: Layout) -> anyhow::Result<String> {
    let program = compile("survivor", &["mpicc"], bench.stage.folder())?;
    let (patience, millis) = (PATIENCE.as_secs(), PATIENCE.as_millis().to_string());
    // The library is told after that time; programs are slow to be told where four share a core.
    let allowed = (patience + 6).to_string();
    let job = bench
        .stage
        .job(layout, &program)
        .args([&allowed])
        .recovers();
    let job = job.env("FI_MYRIXEN_TIMEOUT", &millis);
    let mut running = job.start(bench.stage.places(layout))?;
    let begun = running.says("VICTIM ", Duration::from_secs(30));
    let said = running.said();
    let victim = said
        .lines()
        .find_map(|line| line.split_once("VICTIM ")?.1.trim().parse::<u32>().ok());
    let (true, Some(victim)) = (begun, victim) else {
        bail!("no rank says who is to be killed:\n{said}");
    };
    ensure!(
        running.processes("survivor").contains(&victim),
        "process {victim} is not of the job"
    );
    running.kill_one(victim).context("cannot kill a rank")?;
    let survivors = if layout == Layout::Four { 3 } else { 1 };
    // When a rank has died without a word to it, mpirun waits for that word.
    let told = |said: &str| said.matches("SURVIVED").count() + said.matches("STUCK").count();
    running.says_all(|said| told(said) >= survivors, Duration::from_secs(60));
    let outcome = running.end(Duration::ZERO);
    let (well, stuck) = (
        outcome.said.matches("SURVIVED").count(),
        outcome.said.matches("STUCK").count(),
    );
    ensure!(
        well == survivors && stuck == 0,
        "{well} of {survivors} survivors had their calls fail in time\n{}",
        outcome.said
    );
    bench.stage.is_clean()?;
    let next = compile("pingpong", &["mpicc"], bench.stage.folder())?;
    let next = bench.stage.job(layout, &next).args(["10", "latency:8"]);
    bench.stage.run(layout, &next, 30).context("the next job")?;
    Ok(format!(
        "{survivors} told, {:.1} s at most",
        slowest(&outcome.said)
    ))
}

/// The longest that a call took to fail: lines "rank N: CALL: failed, T s".
fn slowest(said: &str) -> f64 {
    let times = said.lines().filter_map(|line| {
        let (_, time) = line.split_once(": failed, ")?;
        time.split_whitespace().next()?.parse::<f64>().ok()
    });
    times.fold(0.0, f64::max)
}

/// A back end is killed in the middle of HPCC, and started again: the numbers are right.
fn killed_back_end(bench: &mut Bench<'_, '_>, layout: Layout) -> anyhow::Result<String> {
    let hpcc = Hpcc::new(bench, layout, if bench.full { 2000 } else { 600 })?;
    // Through the back end also where the ranks share a host, or they would not notice.
    let job = hpcc.job.clone().env("FI_MYRIXEN_DIRECT", "0");
    let mut running = job.start(bench.stage.places(layout))?;
    let mut kills = 0;
    // It has no output until its end: by time, then, and as often as it takes.
    for _ in 0..3 {
        if running.says("no such word", Duration::from_millis(1200)) || !running.is_running() {
            break;
        }
        let at = kills % bench.stage.places(layout).len();
        ensure!(
            bench.stage.status(at)?.ports > 0,
            "the job has no port at the back end that is killed"
        );
        bench.stage.kill_daemon(at)?;
        std::thread::sleep(Duration::from_millis(200));
        bench.stage.start_daemon(at)?;
        kills += 1;
    }
    let outcome = running.end(Duration::from_secs(150));
    ensure!(
        outcome.well,
        "{} after {kills} kills\n{}",
        outcome.how,
        outcome.said
    );
    ensure!(kills > 0, "it ended before anything was killed");
    Ok(format!("{kills} kills, {}", hpcc.judge()?))
}

#[cfg(test)]
mod tests {
    use super::slowest;

    #[test]
    fn the_slowest_call_is_found() {
        let said = "rank 0: a send: failed, 0.25 s\nrank 1: a send: failed, 3.50 s\nrank 2: x: did not end, 9.00 s\n";
        assert!((slowest(said) - 3.5).abs() < 1e-9);
    }
}
