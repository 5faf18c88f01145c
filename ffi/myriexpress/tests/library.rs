//! The library as a file: its name, its symbols, its headers.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Check, Site, folder, have, library, output};

#[test]
fn the_library_has_the_name_that_old_binaries_look_for() {
    if !have(&["readelf"]) {
        return;
    }
    let file = library().join("libmyriexpress.so");
    let dynamic = output(Command::new("readelf").arg("-d").arg(file));
    assert!(
        dynamic.contains("Library soname: [libmyriexpress.so]"),
        "{dynamic}"
    );
}

#[test]
fn the_symbols_are_those_that_are_listed() {
    if !have(&["nm"]) {
        return;
    }
    let file = library().join("libmyriexpress.so");
    let names = output(Command::new("nm").args(["-D", "--defined-only"]).arg(file));
    let mut found: Vec<String> = names
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some(format!("{} {}", words.next()?, words.next()?))
        })
        .collect();
    found.sort();
    let listed = std::fs::read_to_string(folder().join("symbols.txt")).expect("the list");
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(found, listed, "symbols.txt lists what the library has");
}

#[test]
fn the_headers_are_c89_c11_and_cpp_and_declare_every_symbol() {
    if !have(&["cc", "c++"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let listed = std::fs::read_to_string(folder().join("symbols.txt")).expect("the list");
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    let mut text = String::from(
        "#include \"mx_extensions.h\"\n#include \"mx_io.h\"\n#include \"myriexpress.h\"\n#include \"mx_internals/mx__driver_interface.h\"\n#include \"mx_internals/mx__fops.h\"\nint main(void) {\n  return ",
    );
    for name in names {
        text.push_str(&format!("sizeof(&{name}) != sizeof(void *) || "));
    }
    text.push_str("0;\n}\n");
    let source = work.path().join("all.c");
    std::fs::write(&source, text).expect("written");
    for language in ["-std=c89", "-std=c11", "-xc++"] {
        let mut compiler = Command::new("cc");
        compiler.args([language, "-Wall", "-Wextra", "-Werror", "-pedantic"]);
        if language == "-std=c89" || language == "-xc++" {
            // 64-bit integers are an extension of C89.
            compiler.arg("-Wno-long-long");
        }
        compiler.arg("-I").arg(folder().join("include"));
        compiler
            .arg("-c")
            .arg(&source)
            .arg("-o")
            .arg(work.path().join("all.o"));
        output(&mut compiler);
    }
}

/// The versions that symbols of MX's own library have, as its clients ask for them.
const VERSIONS: &str = "MX_0.0 { };
MX_0.9 { mx_open_endpoint; mx_decompose_endpoint_addr; };
MX_0.91 { mx_get_info; mx_test; mx_wait; mx_iprobe; } MX_0.9;
MX_0.92 { mx__init_api; } MX_0.91;
";

/// Makes a library with the name and the symbols of ours, some of which have versions. It is to be linked with, and does nothing.
fn library_with_versions(into: &Path) {
    let listed = std::fs::read_to_string(folder().join("symbols.txt")).expect("the list");
    let mut text = String::new();
    for line in listed.lines() {
        text += &match line.split_once(' ') {
            Some(("D", name)) => format!("void *const {name} = 0;\n"),
            Some((_, name)) => format!("void {name}(void) {{}}\n"),
            None => panic!("{line}"),
        };
    }
    let (source, script) = (into.join("stub.c"), into.join("stub.map"));
    std::fs::write(&source, text).expect("written");
    std::fs::write(&script, VERSIONS).expect("written");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wl,-soname,libmyriexpress.so"]);
    compiler.arg(format!("-Wl,--version-script={}", script.display()));
    compiler.arg(source).arg("-o");
    output(compiler.arg(into.join("libmyriexpress.so")));
}

#[test]
fn a_binary_that_asks_for_versions_of_symbols_is_content_with_none() {
    if !have(&["cc", "readelf"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    library_with_versions(work.path());
    let program = work.path().join("hello");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-D_DEFAULT_SOURCE", "-I"]);
    compiler.arg(folder().join("include"));
    compiler.arg(folder().join("tests/c/hello.c"));
    compiler.arg("-L").arg(work.path()).arg("-lmyriexpress");
    output(compiler.arg("-o").arg(&program));
    let asked = output(Command::new("readelf").arg("-V").arg(&program));
    for version in ["MX_0.9 ", "MX_0.91 ", "MX_0.92 "] {
        assert!(asked.contains(version), "{version}: {asked}");
    }
    let site = Site::alone();
    let guest = |board: &str, args: &[&str]| {
        let guest = site.guest(board, &program, Check::None);
        site.run(guest.args(args))
    };
    let serve = guest("a1", &["serve"]);
    // The loader may say what it misses, and goes on.
    let said = guest("a2", &["call", "a1"]).succeed();
    assert!(said.ends_with("hello to you\n"), "{said}");
    serve.succeed();
}
