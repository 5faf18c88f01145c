//! What `packaging/install-mx.sh` installs is all that an MX program takes: programs in C and C++ are compiled with what pkg-config says and run.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Check, Site, folder, have, library, output};

/// Installs into a folder the library that was built with this test.
fn install(prefix: &Path) {
    let script = folder().join("../../packaging/install-mx.sh");
    let mut install = Command::new(script);
    install.arg("--prefix").arg(prefix);
    install.arg("--built").arg(library());
    output(&mut install);
}

/// What pkg-config says of the installed library.
fn flags(prefix: &Path, more: &[&str]) -> Vec<String> {
    let mut tool = Command::new("pkg-config");
    tool.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    tool.args(["--cflags", "--libs"]).args(more);
    let said = output(tool.arg("myriexpress"));
    said.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn programs_are_compiled_against_the_installed_tree_and_run() {
    if !have(&["cc", "c++", "pkg-config"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let prefix = work.path().join("tree");
    install(&prefix);
    let source = folder().join("tests/c/hello.c").display().to_string();
    let archive = prefix.join("lib/libmyriexpress.a").display().to_string();
    let dynamic = flags(&prefix, &[]);
    // The archive in the library's place.
    let mut fixed = flags(&prefix, &["--static"]);
    for flag in fixed.iter_mut().filter(|flag| *flag == "-lmyriexpress") {
        flag.clone_from(&archive);
    }
    let site = Site::alone();
    for (compiler, language, flags) in [
        ("cc", "-std=c11", &dynamic),
        ("cc", "-std=c11", &fixed),
        ("c++", "-xc++", &dynamic),
    ] {
        let program = work.path().join("hello");
        let mut compile = Command::new(compiler);
        compile.args([language, "-Wall", "-Wextra", "-Werror", &source]);
        compile.arg("-xnone").args(flags).arg("-o").arg(&program);
        output(&mut compile);
        let guest = |board: &str, args: &[&str]| {
            let guest = site.guest(board, &program, Check::None).args(args);
            let libraries = prefix.join("lib").display().to_string();
            site.run(guest.env("LD_LIBRARY_PATH", &libraries))
        };
        let serve = guest("a1", &["serve"]);
        let said = guest("a2", &["call", "a1"]).succeed();
        assert_eq!(said, "hello to you\n", "{compiler} {language}");
        serve.succeed();
    }
}

#[test]
fn the_installed_tools_find_their_library_and_have_pages() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let prefix = work.path().join("tree");
    install(&prefix);
    let site = Site::alone();
    let guest = site.guest("a1", &prefix.join("bin/mx_info"), Check::None);
    let said = site.run(guest.env("LD_LIBRARY_PATH", "")).succeed();
    assert!(said.contains("a1:0"), "{said}");
    let mut tools = 0;
    for tool in std::fs::read_dir(prefix.join("bin")).expect("the tools") {
        let name = tool
            .expect("a tool")
            .file_name()
            .into_string()
            .expect("a name");
        let page = prefix.join(format!("share/man/man1/{name}.1"));
        assert!(page.exists(), "{name} has no page");
        tools += 1;
    }
    assert_eq!(tools, 7);
    // Each compiles alone, and as Open MPI's `configure` asks for a board's state.
    let state = "#include <mx_extensions.h>\n#include <mx_io.h>\n#include <mx_internals/mx__fops.h>\n\
                 #include <mx_internals/mx__driver_interface.h>\n\
                 int main(void) { return (int)mx__get_mapper_state(0, 0); }\n";
    let alone = |header: &str| format!("#include <{header}>\nint main(void) {{ return 0; }}\n");
    let headers = [
        "myriexpress.h",
        "mx_extensions.h",
        "mx_io.h",
        "mx_internals/mx__fops.h",
        "mx_internals/mx__driver_interface.h",
    ];
    let source = work.path().join("uses.c");
    for text in headers.map(alone).iter().map(String::as_str).chain([state]) {
        std::fs::write(&source, text).expect("written");
        let mut compile = Command::new("cc");
        compile.args(["-Wall", "-Werror", "-I"]);
        compile.arg(prefix.join("include")).arg(&source).arg("-L");
        compile.arg(prefix.join("lib")).arg("-lmyriexpress");
        output(compile.arg("-o").arg(work.path().join("uses")));
    }
}

#[test]
fn a_library_with_other_symbols_than_are_listed_is_not_installed() {
    if !have(&["cc", "nm"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let (source, prefix) = (work.path().join("other.c"), work.path().join("tree"));
    std::fs::write(&source, "void mx_surplus(void) {}\n").expect("written");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC"]).arg(source).arg("-o");
    output(compile.arg(work.path().join("libmyriexpress.so")));
    std::fs::write(work.path().join("libmyriexpress.a"), "").expect("written");
    let mut install = Command::new(folder().join("../../packaging/install-mx.sh"));
    install.arg("--prefix").arg(&prefix);
    install.arg("--built").arg(work.path());
    let ended = install.output().expect("it is there");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success(), "{said}");
    assert!(
        said.contains("mx_surplus") && said.contains("has other symbols"),
        "{said}"
    );
    assert!(!prefix.join("lib/libmyriexpress.so").exists());
}
