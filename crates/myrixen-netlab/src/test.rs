//! Tests in labs, from a test program with many threads.

use std::any::type_name;
use std::env;
use std::io::Write as _;
use std::process::{Command, Output};

use crate::sys::{self, IdMaps};
use crate::{Lab, LabError};

/// Set for the process that runs a test inside a lab: the test's name.
const INSIDE: &str = "MYRIXEN_NETLAB_INSIDE";
/// Set by whoever wants a machine where labs are forbidden to fail the tests, not to skip them; to [`ROOT`] by whoever
/// wants the same of the tests that need root.
const REQUIRED: &str = "MYRIXEN_NETLAB_REQUIRED";
/// As the value of [`REQUIRED`].
const ROOT: &str = "root";
/// What the inner process prints when it has run the test, and when it could not make a lab.
const RAN: &str = "netlab: ran ";
const FORBIDDEN: &str = "netlab: forbidden: ";

/// What became of a test that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ran in a lab, to its end.
    Passed,
    /// Namespaces are forbidden here, which was said on the standard error.
    Skipped,
}

/// Runs the closure `body` in a [`Lab`]; to be called from a `#[test]` function, as all that it does.
///
/// A lab can be entered only by a process with one thread, and a test program has many. So the test
/// program is run once more, for this test alone, and that process begins in the lab.
/// Its output becomes this test's.
///
/// Where namespaces are forbidden the test is skipped and says why; with `MYRIXEN_NETLAB_REQUIRED` set in the
/// environment it fails instead.
///
/// # Panics
/// When `body` does, or the test cannot be run again by its name: `body` must be a closure written in
/// the `#[test]` function itself, since its type tells the name.
pub fn test<F: FnOnce(&Lab)>(body: F) -> Verdict {
    let name = test_name(type_name::<F>());
    if is_inside(name) {
        return run_inside(name, body);
    }
    match run_again(name, Some(IdMaps::to_current_user())) {
        Ok(output) => judge(name, &output),
        Err(error) => skip(name, &reason(&error)),
    }
}

/// As [`test()`], for what a lab's own root may not do because it concerns the machine: loading BPF programs. Such a test
/// runs as the root that started it, in a network of its own.
///
/// Skipped, and said, where the user is not root or has not all of root's rights; with
/// `MYRIXEN_NETLAB_REQUIRED=root` in the environment it fails instead.
///
/// # Panics
/// As [`test()`].
pub fn test_as_root<F: FnOnce(&Lab)>(body: F) -> Verdict {
    let name = test_name(type_name::<F>());
    if is_inside(name) {
        return run_inside(name, body);
    }
    if let Some(why) = lacks() {
        assert!(
            env::var_os(REQUIRED).is_none_or(|value| value != ROOT),
            "{name}: {why}"
        );
        return say_skipped(name, why);
    }
    match run_again(name, None) {
        Ok(output) => judge(name, &output),
        Err(error) => panic!("{name}: {}", reason(&error)),
    }
}

fn is_inside(name: &str) -> bool {
    env::var(INSIDE).is_ok_and(|inside| inside == name)
}

/// What this process lacks of a root's rights.
fn lacks() -> Option<&'static str> {
    // linux/capability.h: CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_BPF.
    const RIGHTS: u64 = 1 << 12 | 1 << 13 | 1 << 21 | 1 << 39;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    if effective.unwrap_or(0) & RIGHTS != RIGHTS {
        return Some("it needs root (CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_BPF)");
    }
    // The first user namespace maps every id to itself.
    let ids = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    (ids != ["0", "0", "4294967295"]).then_some("it needs root outside of user namespaces")
}

/// `program::module::test::{{closure}}` is the type of a closure in the test `module::test`.
fn test_name(closure: &str) -> &str {
    let path = closure.trim_end_matches("::{{closure}}");
    path.split_once("::").map_or(path, |(_program, name)| name)
}

fn run_inside<F: FnOnce(&Lab)>(name: &str, body: F) -> Verdict {
    match Lab::here() {
        Ok(lab) => {
            body(&lab);
            println!("{RAN}{name}");
            Verdict::Passed
        }
        Err(LabError::Forbidden { why }) => {
            println!("{FORBIDDEN}{why}");
            Verdict::Skipped
        }
        Err(error) => panic!("{}", reason(&error)),
    }
}

fn run_again(name: &str, maps: Option<IdMaps>) -> Result<Output, LabError> {
    let program = env::current_exe().map_err(|e| LabError::io("find the test program", e))?;
    let mut command = Command::new(program);
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, name);
    sys::begin_in_new_lab(&mut command, maps);
    command
        .output()
        .map_err(|error| match rustix::io::Errno::from_io_error(&error) {
            Some(errno) => LabError::refused(errno),
            None => LabError::io("run the test program again", error),
        })
}

fn judge(name: &str, output: &Output) -> Verdict {
    let text = String::from_utf8_lossy(&output.stdout);
    // Through the macros, so that the test harness captures it.
    print!("{text}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{name} failed inside its lab: {}",
        output.status
    );
    // The harness prints "test NAME ... " in front of what the test prints first.
    if let Some((_, why)) = text.lines().find_map(|line| line.split_once(FORBIDDEN)) {
        return skip(name, why);
    }
    let ran = text
        .lines()
        .any(|line| line.ends_with(&format!("{RAN}{name}")));
    assert!(
        ran,
        "the test program has no test named {name}, or it did not run its closure"
    );
    Verdict::Passed
}

fn skip(name: &str, why: &str) -> Verdict {
    assert!(env::var_os(REQUIRED).is_none(), "{name}: {why}");
    say_skipped(name, why)
}

fn say_skipped(name: &str, why: &str) -> Verdict {
    // Past the harness, which shows nothing of a test that passes.
    let _ = writeln!(std::io::stderr(), "skipped {name}: {why}");
    Verdict::Skipped
}

fn reason(error: &LabError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_named_by_its_closure() {
        assert_eq!(test_name("program::conforms::{{closure}}"), "conforms");
        assert_eq!(
            test_name("program::inner::conforms::{{closure}}"),
            "inner::conforms"
        );
    }
}
