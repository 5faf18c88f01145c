//! Standard output, for people and pipes.

use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;

/// Writes `text` to standard output. Who has closed the other end (as `head` does) has seen enough: the program
/// ends well then.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("cannot write to standard output"),
    }
}

/// A path that can be opened wherever the reader is.
pub(crate) fn place(path: &Path) -> String {
    let whole = path.canonicalize();
    whole
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}
