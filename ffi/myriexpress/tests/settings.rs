//! What each variable of the environment changes, beside how it is without it; and what threads see of each other.

mod common;

use std::path::PathBuf;

use common::{Check, Guest, Site, compile, have};
use tempfile::TempDir;

/// A back end, and the program that looks.
struct Bench {
    site: Site<'static>,
    program: PathBuf,
    _work: TempDir,
}

impl Bench {
    /// None without a compiler.
    fn new() -> Option<Self> {
        if !have(&["cc"]) {
            return None;
        }
        let work = tempfile::tempdir().expect("a folder");
        Some(Self {
            site: Site::alone(),
            program: compile("settings", Check::Sanitizers, work.path()),
            _work: work,
        })
    }

    fn guest(&self, args: &[&str]) -> Guest {
        self.site.guest("a1", &self.program, Check::None).args(args)
    }

    /// Runs it with some variables; gives what it says.
    fn run(&self, args: &[&str], settings: &[(&str, &str)]) -> String {
        let guest = self.guest(args);
        let guest = settings
            .iter()
            .fold(guest, |guest, (name, value)| guest.env(name, value));
        self.site.run(guest).succeed()
    }
}

#[test]
fn sends_end_early_unless_they_are_to_wait_for_the_receiver() {
    let Some(bench) = Bench::new() else { return };
    for shared in ["0", "1"] {
        let shared = ("MX_DISABLE_SHMEM", shared);
        bench.run(&["early", "1"], &[shared]);
        bench.run(&["early", "0"], &[shared, ("MX_ZOMBIE_SEND", "0")]);
    }
    bench.run(&["early", "0"], &[("MX_ZOMBIE", "0")]);
}

#[test]
fn handlers_run_without_a_call_unless_the_program_is_to_be_alone() {
    let Some(bench) = Bench::new() else { return };
    for shared in ["0", "1"] {
        let shared = ("MX_DISABLE_SHMEM", shared);
        bench.run(&["unattended", "1"], &[shared]);
        bench.run(&["unattended", "0"], &[shared, ("MX_MONOTHREAD", "1")]);
    }
}

#[test]
fn switching_progression_off_waits_for_a_handler_that_runs() {
    let Some(bench) = Bench::new() else { return };
    bench.run(&["pausing"], &[]);
}

#[test]
fn errors_are_fatal_unless_they_are_not_to_be() {
    let Some(bench) = Bench::new() else { return };
    let fatal = bench.site.run(bench.guest(&["fatal"])).end_with(1);
    assert!(fatal.starts_with("MX: mx_finalize: "), "{fatal}");
    assert!(!fatal.contains("it returned"), "{fatal}");
    let kind = bench.run(&["fatal"], &[("MX_ERRORS_ARE_FATAL", "0")]);
    assert!(kind.contains("MX: mx_finalize: "), "{kind}");
    assert!(kind.contains("it returned 4\n"), "{kind}");
}

#[test]
fn the_boards_are_told_to_who_wants_to_hear_of_them() {
    let Some(bench) = Bench::new() else { return };
    let args = ["silence", "0", "1"];
    assert_eq!(bench.run(&args, &[]), "");
    let told = bench.run(&args, &[("MX_VERBOSE", "1")]);
    assert!(told.starts_with("MX: board 0 is a1:0, "), "{told}");
    assert!(told.ends_with(", in partition default\n"), "{told}");
}

#[test]
fn who_is_silent_is_given_up_after_as_many_retries_as_are_wanted() {
    let Some(bench) = Bench::new() else { return };
    // Unless said otherwise that takes a minute, and with two retries a second.
    bench.run(&["silence", "0", "3000"], &[]);
    bench.run(&["silence", "1", "30000"], &[("MX_MAX_RETRIES", "2")]);
}

#[test]
fn one_of_two_threads_that_wait_for_a_request_has_its_end() {
    let Some(bench) = Bench::new() else { return };
    for wait in ["sleep", "spin"] {
        bench.run(&["two"], &[("MYRIXEN_WAIT", wait)]);
    }
}

#[test]
fn one_wakeup_ends_all_calls_that_are_blocked_and_none_that_comes_later() {
    let Some(bench) = Bench::new() else { return };
    for shared in ["0", "1"] {
        let settings = [("MX_DISABLE_SHMEM", shared), ("MYRIXEN_WAIT", "sleep")];
        bench.run(&["waking"], &settings);
    }
}
