//! The MX tools that verify, beside a program whose messages are changed on their way.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Check, Site, compile_in, folder, have};

/// A library that changes a byte of each message that a program sends.
fn spoiler(into: &Path) -> String {
    let library = into.join("spoil.so");
    let mut compiler = Command::new("cc");
    compiler.args([
        "-std=c11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
    ]);
    compiler
        .args(["-shared", "-fPIC", "-I"])
        .arg(folder().join("include"));
    compiler.arg(folder().join("tests/c/spoil.c"));
    compiler.arg("-o").arg(&library).arg("-ldl");
    let ended = compiler.output().expect("a C compiler");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    library.display().to_string()
}

#[test]
fn what_verifies_notices_a_byte_that_was_changed() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let compile = |tool| compile_in("tools", tool, Check::None, work.path());
    let spoil = spoiler(work.path());
    let site = Site::alone();
    let fair = |board, program: &Path, args: &[&str]| {
        site.guest(board, program, Check::None)
            .args(&["-w"])
            .args(args)
    };
    let foul =
        |board, program: &Path, args: &[&str]| fair(board, program, args).env("LD_PRELOAD", &spoil);

    let program = compile("mx_msg_loop");
    let lengths = ["-d", "a1", "-S", "50", "-E", "100", "-N", "20"];
    let listens = site.run(foul("a1", &program, &["-L"]));
    let text = site.run(fair("b1", &program, &lengths)).end_with(1);
    assert!(
        text.contains("of 100 bytes: it came changed: byte 99 is 0x"),
        "{text}"
    );
    let rows = "\n       100          1          1\n";
    assert!(text.ends_with(rows), "{text}");
    listens.succeed();
    let listens = site.run(foul("a1", &program, &["-L"]));
    let goes_on = [&lengths[..], &["-k"]].concat();
    let text = site.run(fair("b1", &program, &goes_on)).end_with(1);
    assert!(
        text.ends_with("       100         20         20\n"),
        "{text}"
    );
    listens.succeed();

    let program = compile("mx_stream");
    let lengths = ["-d", "a1", "-l", "100", "-N", "20", "-W", "0", "-V"];
    let receives = site.run(fair("a1", &program, &[]));
    let text = site.run(foul("b1", &program, &lengths)).end_with(1);
    assert!(text.contains("mx_stream: 20 messages arrived"), "{text}");
    let text = receives.end_with(1);
    assert!(text.contains("mx_stream: 20 messages arrived"), "{text}");

    // What comes the other way is verified too.
    let both = ["-d", "a1", "-l", "100", "-N", "20", "-W", "0", "-x", "-V"];
    let receives = site.run(foul("a1", &program, &[]));
    let text = site.run(fair("b1", &program, &both)).end_with(1);
    assert!(text.contains("mx_stream: 20 messages arrived"), "{text}");
    receives.succeed();

    let program = compile("mx_pingpong");
    let _answers = site.run(foul("a1", &program, &[]));
    let verifies = ["-d", "a1", "-S", "100", "-N", "20", "-V"];
    let text = site.run(fair("b1", &program, &verifies)).end_with(1);
    assert!(text.contains("a message came back changed"), "{text}");
}
