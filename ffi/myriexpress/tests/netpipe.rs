//! NetPIPE's module for MX, unmodified, between two guests: its sweep of sizes with every byte checked. `tests/netpipe.sh` fetches it.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Check, Running, Site, folder, library, output};
use myrixen_netlab::test;

/// Messages of each size.
const REPEATS: &str = "20";

/// The folder of its source, where it has been fetched; says that the test is skipped where not.
fn source() -> Option<PathBuf> {
    let folder = std::env::var_os("MYRIXEN_NETPIPE");
    if folder.is_none() {
        eprintln!(
            "skipped: MYRIXEN_NETPIPE does not name NetPIPE's source (tests/netpipe.sh fetches it)"
        );
    }
    folder.map(PathBuf::from)
}

/// Compiles it as its makefile does, but for the library's place.
fn netpipe(source: &Path, into: &Path) -> PathBuf {
    let source = source.join("src");
    let program = into.join("NPmx");
    let mut compiler = Command::new("cc");
    // Of its time: it calls functions that it does not declare.
    compiler.args(["-std=gnu89", "-w", "-O2", "-DMX"]);
    compiler.args([source.join("netpipe.c"), source.join("mx.c")]);
    compiler.arg("-o").arg(&program);
    compiler.arg("-I").arg(&source);
    compiler.arg("-I").arg(folder().join("include"));
    compiler.arg("-L").arg(library());
    compiler.args(["-lmyriexpress", "-lpthread"]);
    output(&mut compiler);
    program
}

/// Starts both ends and holds what they say against what a whole sweep says.
fn sweep(sites: [&Site<'_>; 2], program: &Path, shared: &str) {
    let guest = |at: usize, board: &str, more: &[&str]| -> Running {
        let file = sites[at].folder.path().join("np.out");
        let site = sites[at];
        let out = file.display().to_string();
        let guest = site.guest(board, program, Check::None);
        let guest = guest.env("MX_DISABLE_SHMEM", shared);
        let base = ["-i", "-n", REPEATS, "-o", &out];
        site.run(guest.args(&base).args(more))
    };
    let receiver = guest(0, "a1", &[]);
    // It has one try to find the receiver's board.
    sites[1].wait_for_board("a1:0");
    let text = guest(1, "b1", &["-h", "a1"]).succeed() + &receiver.succeed();
    let passed = text.matches("Integrity check passed").count();
    assert!(
        passed >= 40 && !text.contains("ailed"),
        "{passed} sizes\n{text}"
    );
    assert!(text.contains("8388609 bytes"), "{text}");
    println!("{passed} sizes passed");
}

#[test]
fn netpipe_sweeps_between_guests_of_one_host() {
    let Some(source) = source() else { return };
    let work = tempfile::tempdir().expect("a folder");
    let program = netpipe(&source, work.path());
    let site = Site::alone();
    for shared in ["0", "1"] {
        sweep([&site, &site], &program, shared);
    }
}

#[test]
fn netpipe_sweeps_across_two_hosts() {
    let Some(source) = source() else { return };
    test(|lab| {
        let work = tempfile::tempdir().expect("a folder");
        let program = netpipe(&source, work.path());
        let hosts = [
            lab.host("a").expect("a host"),
            lab.host("b").expect("a host"),
        ];
        let [a, b] = Site::cabled(lab, &hosts);
        sweep([&a, &b], &program, "0");
    });
}
