//! Our own programs: `c/*.c`.

use myrixen_mpi::compile;

use super::cases::{Case, OPEN_MPI};
use super::stage::Layout;

/// Programs and how long each may take: many times what it needs.
const PROGRAMS: [(&str, u64); 5] = [
    ("p2p", 120),
    ("matching", 60),
    ("collective", 60),
    ("onesided", 60),
    ("threads", 60),
];

pub(super) fn cases(layout: Layout, _full: bool) -> Vec<Case> {
    let mut cases: Vec<Case> = PROGRAMS
        .into_iter()
        .map(|(name, limit)| case(layout, name, limit, &[]))
        .collect();
    if layout == Layout::One {
        // The same through the back end.
        for (name, limit) in [("p2p", 120), ("matching", 60), ("threads", 60)] {
            let mut case = case(layout, name, limit, &[("FI_MYRIXEN_DIRECT", "0")]);
            case.name = format!("switched/{name}");
            cases.push(case);
        }
    }
    cases.push(pingpong(layout));
    cases
}

fn case(layout: Layout, name: &'static str, limit: u64, env: &'static [(&str, &str)]) -> Case {
    Case::new(
        format!("{}/{name}", layout.name()),
        &OPEN_MPI,
        move |bench| {
            let program = compile(name, &["mpicc"], bench.stage.folder())?;
            let mut job = bench.stage.job(layout, &program);
            for (name, value) in env {
                job = job.env(name, value);
            }
            let said = bench.stage.run(layout, &job, limit)?;
            anyhow::ensure!(
                said.contains("PASSED: "),
                "it did not say that it passed:\n{said}"
            );
            Ok(String::new())
        },
    )
}

fn pingpong(layout: Layout) -> Case {
    Case::new(
        format!("{}/pingpong", layout.name()),
        &OPEN_MPI,
        move |bench| {
            let program = compile("pingpong", &["mpicc"], bench.stage.folder())?;
            let job = bench.stage.job(layout, &program).args([
                "50",
                "latency:0",
                "latency:8",
                "latency:65536",
                "bandwidth:1048576",
            ]);
            let said = bench.stage.run(layout, &job, 60)?;
            Ok(figures(&said).join(", "))
        },
    )
}

/// What `pingpong` measured, shortly.
pub(super) fn figures(said: &str) -> Vec<String> {
    let mut figures = Vec::new();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["half_rtt", size, p50, ..] => {
                let us = p50.parse::<f64>().unwrap_or(f64::NAN) / 1000.0;
                figures.push(format!("{size} B {us:.2} us"));
            }
            ["stream", size, mb, ..] => figures.push(format!("{size} B {mb} MB/s")),
            _ => {}
        }
    }
    figures
}
