//! The library as a file: its name, its symbols, its headers.

mod common;

use std::process::Command;

use common::{folder, have, library, output};

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
        "#include \"mx_extensions.h\"\n#include \"mx_io.h\"\n#include \"myriexpress.h\"\nint main(void) {\n  return ",
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
