//! What the processes of the demo need of the system.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::DemoPart;

/// Runs one of the demo's processes.
pub(crate) fn run(part: DemoPart) -> anyhow::Result<()> {
    match part {
        DemoPart::Daemon { config } => daemon(&config),
        DemoPart::Guest(args) => super::guest::run(&args),
        DemoPart::Way(args) => crate::bench::part::run(&args),
        DemoPart::Matching(args) => crate::bench::matching::run(&args),
        DemoPart::Janitor { directory } => {
            janitor(&directory);
            Ok(())
        }
    }
}

/// Lets the kernel kill this process when the one that started it dies, however that happens.
pub(crate) fn die_with_parent() -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .context("cannot ask to be killed with the demo")
}

/// The monotonic clock, which all processes of a machine share, in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nanoseconds = time
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec);
    u64::try_from(nanoseconds).unwrap_or(0)
}

/// One host's back end. Ends with the coordinator, which holds the other end of its standard input.
fn daemon(config: &Path) -> anyhow::Result<()> {
    die_with_parent()?;
    // The coordinator may have died before the kernel was asked.
    std::thread::spawn(|| {
        wait_for_end_of_input();
        std::process::exit(0);
    });
    myrixend::run_with_config(config)
}

fn janitor(directory: &Path) {
    wait_for_end_of_input();
    // Usually the demo has removed it already.
    let _ = std::fs::remove_dir_all(directory);
}

fn wait_for_end_of_input() {
    let mut input = std::io::stdin().lock();
    let mut bytes = [0; 64];
    while matches!(input.read(&mut bytes), Ok(read) if read > 0) {}
}

/// What this machine is, in a few words each.
pub(crate) fn machine() -> Vec<(String, String)> {
    let uname = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processor = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| field(&text, "model name"))
        .unwrap_or_else(|| "unknown".to_owned());
    let release = uname.release().to_string_lossy().into_owned();
    vec![
        ("processor".to_owned(), processor),
        ("cores".to_owned(), cores.to_string()),
        (
            "kernel".to_owned(),
            format!("{} {release}", uname.sysname().to_string_lossy()),
        ),
    ]
}

/// The value of the first line `name : value` of /proc/cpuinfo.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let before = monotonic_ns();
        assert!(before > 0);
        assert!(monotonic_ns() >= before);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: Fast CPU @ 3 GHz\nmodel name\t: other\n";
        assert_eq!(
            field(text, "model name").as_deref(),
            Some("Fast CPU @ 3 GHz")
        );
        assert_eq!(field(text, "flags"), None);
    }
}
