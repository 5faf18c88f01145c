//! libfabric's own programs.

use anyhow::ensure;
use myrixen_mpi::Outcome;

use super::cases::{Bench, Case, Need};

const NEEDS: [Need; 1] = [Need::Program("fi_pingpong", "libfabric-bin")];

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("fabric/info", &NEEDS, info),
        Case::new("fabric/pingpong", &NEEDS, pingpong),
        Case::new("fabric/strerror", &NEEDS, strerror),
    ]
}

fn info(bench: &mut Bench<'_, '_>) -> anyhow::Result<String> {
    let said = well(
        bench
            .stage
            .alone("fi_info", &["-p", &bench.stage.provider()])?,
    )?;
    let line = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or("").trim().to_owned()
    };
    let (domain, fabric) = (line("domain:"), line("fabric:"));
    ensure!(
        said.contains(&format!("provider: {}", bench.stage.provider())),
        "{said}"
    );
    ensure!(
        !domain.is_empty() && !fabric.is_empty(),
        "no domain or fabric:\n{said}"
    );
    ensure!(
        !said.contains("ofi_rx") || bench.stage.provider().contains("ofi_rx"),
        "something layers itself on it:\n{said}"
    );
    Ok(format!("domain {domain}, fabric {fabric}"))
}

/// Both ends on one host, told by the loopback where to find each other.
fn pingpong(bench: &mut Bench<'_, '_>) -> anyhow::Result<String> {
    let provider = bench.stage.provider();
    let words = ["-p", &provider, "-e", "rdm", "-c", "-I", "200"];
    let mut server = bench.stage.alone_start("fi_pingpong", &words)?;
    // It has to listen before the client comes; it says nothing when it does.
    let mut last = String::new();
    for _ in 0..100 {
        let client = bench
            .stage
            .alone("fi_pingpong", &[&words[..], &["127.0.0.1"]].concat())?;
        if client.well {
            let server = server.end(std::time::Duration::from_secs(20));
            ensure!(server.well, "the server: {}\n{}", server.how, server.said);
            let sizes = client.said.lines().count().saturating_sub(1);
            ensure!(sizes > 5, "{}", client.said);
            return Ok(format!("{sizes} sizes, checked"));
        }
        last = client.said;
        if !server.is_running() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let server = server.end(std::time::Duration::ZERO);
    anyhow::bail!("the client:\n{last}\nthe server: {}", server.said)
}

fn strerror(bench: &mut Bench<'_, '_>) -> anyhow::Result<String> {
    let said = well(bench.stage.alone("fi_strerror", &["265"])?)?;
    ensure!(said.contains("runcat"), "{said}");
    Ok(String::new())
}

fn well(outcome: Outcome) -> anyhow::Result<String> {
    ensure!(outcome.well, "{}\n{}", outcome.how, outcome.said);
    Ok(outcome.said)
}
