//! The MPI programs of this crate, in C.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// All of them: the file's name and its text. `check.h` is what the others include.
pub const SOURCES: &[(&str, &str)] = &[
    ("check.h", include_str!("../c/check.h")),
    ("p2p.c", include_str!("../c/p2p.c")),
    ("matching.c", include_str!("../c/matching.c")),
    ("collective.c", include_str!("../c/collective.c")),
    ("onesided.c", include_str!("../c/onesided.c")),
    ("threads.c", include_str!("../c/threads.c")),
    ("survivor.c", include_str!("../c/survivor.c")),
    ("pingpong.c", include_str!("../c/pingpong.c")),
];

/// Compiles the program `name` into the folder `into` by `compiler` (`mpicc`, or `cc` with the words that name an MPI), warnings being
/// errors, and gives its path.
///
/// # Errors
/// What the compiler said.
pub fn compile(name: &str, compiler: &[&str], into: &Path) -> anyhow::Result<PathBuf> {
    for (file, text) in SOURCES {
        std::fs::write(into.join(file), text)
            .with_context(|| format!("cannot write to {}", into.display()))?;
    }
    let [first, rest @ ..] = compiler else {
        bail!("no compiler")
    };
    let program = into.join(name);
    let mut command = Command::new(first);
    command.args(["-std=c11", "-D_DEFAULT_SOURCE", "-O2", "-g", "-pthread"]);
    command.args(["-Wall", "-Wextra", "-Werror"]);
    command.arg(into.join(format!("{name}.c")));
    command.arg("-o").arg(&program).args(rest);
    let output = command.output().with_context(|| {
        format!("cannot run {first}: it comes with the packages openmpi-bin and libopenmpi-dev")
    })?;
    if !output.status.success() {
        bail!("{first}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(program)
}

/// The first line that a program prints about its version; none where there is no such program.
#[must_use]
pub fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    output.status.success().then(|| line.trim().to_owned())
}
