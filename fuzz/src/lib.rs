//! What all fuzz targets share: the seeds that they begin with.

use std::path::{Path, PathBuf};

/// Copies the seeds of a target into the corpus that libFuzzer is about to read, however it was called: the first
/// folder on its command line, where it also keeps what it finds. So `cargo fuzz run TARGET` needs no further arguments.
///
/// The seeds lie under `seeds/TARGET` and are few and small. Without a corpus, or when corpora are merged, nothing is
/// done: then libFuzzer was asked for something else than to fuzz.
///
/// # Panics
/// When the target has no seeds, or when they cannot be copied.
pub fn sow(target: &str) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument.starts_with("-merge") || argument.starts_with("-minimize"))
    {
        return;
    }
    let corpus = arguments.iter().map(Path::new).find(|path| path.is_dir());
    let Some(corpus) = corpus else {
        return;
    };
    let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    for seed in std::fs::read_dir(&seeds).expect("a target has seeds") {
        let seed = seed.expect("a seed");
        let mut name = std::ffi::OsString::from("seed-");
        name.push(seed.file_name());
        std::fs::copy(seed.path(), corpus.join(name)).expect("a corpus that can be written");
    }
}
