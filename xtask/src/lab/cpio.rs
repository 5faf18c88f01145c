//! Archives that Linux unpacks as its first file system ("newc" cpio), written without root: everything belongs to
//! root, and nothing needs to be laid out on a disk before.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// A file tree in the making, by path without the leading slash.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder { mode: u32 },
    Text { mode: u32, bytes: Vec<u8> },
    File { mode: u32, from: PathBuf },
    Link { to: String },
}

impl Tree {
    /// A folder, and those above it.
    pub(crate) fn folder(&mut self, path: &str) {
        self.folder_with(path, 0o755);
    }

    /// A folder with permissions of its own.
    pub(crate) fn folder_with(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::Folder { mode });
    }

    /// A file with this content.
    pub(crate) fn text(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.parents(path);
        let bytes = bytes.into();
        self.entries
            .insert(path.to_owned(), Entry::Text { mode, bytes });
    }

    /// A file with the content that `from` has when the archive is written.
    pub(crate) fn file(&mut self, path: &str, mode: u32, from: impl Into<PathBuf>) {
        self.parents(path);
        let from = from.into();
        self.entries
            .insert(path.to_owned(), Entry::File { mode, from });
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.parents(path);
        self.entries
            .insert(path.to_owned(), Entry::Link { to: to.to_owned() });
    }

    /// Everything below the folder `from`, placed below `path`; symbolic links are followed.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read.
    pub(crate) fn copy(&mut self, path: &str, from: &Path) -> anyhow::Result<()> {
        self.folder(path);
        let read = || format!("cannot read the folder {}", from.display());
        for entry in std::fs::read_dir(from).with_context(read)? {
            let entry = entry.with_context(read)?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .with_context(|| format!("a name that is not UTF-8 in {}", from.display()))?;
            let below = format!("{path}/{name}");
            if entry.path().is_dir() {
                self.copy(&below, &entry.path())?;
            } else {
                self.file(&below, 0o755, entry.path());
            }
        }
        Ok(())
    }

    /// Takes a file out again, if it is there.
    pub(crate) fn remove(&mut self, path: &str) {
        self.entries.remove(path);
    }

    fn parents(&mut self, path: &str) {
        for (slash, _) in path.match_indices('/') {
            let folder = Entry::Folder { mode: 0o755 };
            self.entries
                .entry(path[..slash].to_owned())
                .or_insert(folder);
        }
    }

    /// Writes the archive. Several of them, one behind the other, are one as well.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, is too long for the format, or `out` fails.
    pub(crate) fn write(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut archive = Archive {
            out,
            written: 0,
            inode: 1,
        };
        for (path, entry) in &self.entries {
            match entry {
                Entry::Folder { mode } => archive.put(path, 0o040_000 | mode, &mut &[][..], 0)?,
                Entry::Link { to } => {
                    archive.put(path, 0o120_777, &mut to.as_bytes(), to.len() as u64)?;
                }
                Entry::Text { mode, bytes } => {
                    let length = bytes.len() as u64;
                    archive.put(path, 0o100_000 | mode, &mut bytes.as_slice(), length)?;
                }
                Entry::File { mode, from } => {
                    let read = || format!("cannot read {}", from.display());
                    let mut file = std::fs::File::open(from).with_context(read)?;
                    let length = file.metadata().with_context(read)?.len();
                    archive.put(path, 0o100_000 | mode, &mut file, length)?;
                }
            }
        }
        archive.put("TRAILER!!!", 0, &mut &[][..], 0)?;
        archive.pad(512)
    }
}

struct Archive<'a, W> {
    out: &'a mut W,
    written: u64,
    inode: u32,
}

impl<W: Write> Archive<'_, W> {
    fn put(
        &mut self,
        path: &str,
        mode: u32,
        content: &mut impl Read,
        length: u64,
    ) -> anyhow::Result<()> {
        ensure!(
            length < 1 << 32,
            "{path} has {length} bytes; a cpio archive takes 4 GiB"
        );
        let names = path.len() + 1;
        // Magic, inode, mode, user, group, links, time, length, four device numbers, length of the name, checksum.
        let head = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{length:08x}{:08x}{:08x}{:08x}{:08x}{names:08x}{:08x}",
            self.inode, 0, 0, 1, 0, 0, 0, 0, 0, 0
        );
        self.inode += 1;
        self.bytes(head.as_bytes())?;
        self.bytes(path.as_bytes())?;
        self.bytes(b"\0")?;
        self.pad(4)?;
        let copied = std::io::copy(&mut content.take(length), self.out)
            .with_context(|| format!("cannot copy {path} into the archive"))?;
        ensure!(
            copied == length,
            "{path} became shorter while it was copied"
        );
        self.written += copied;
        self.pad(4)
    }

    fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.out
            .write_all(bytes)
            .context("cannot write the archive")?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, to: u64) -> anyhow::Result<()> {
        while !self.written.is_multiple_of(to) {
            self.bytes(b"\0")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tree: &Tree) -> Vec<u8> {
        let mut out = Vec::new();
        tree.write(&mut out).expect("memory takes it");
        out
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::default();
        tree.text("a/b/c", 0o644, "x");
        tree.link("a/l", "b/c");
        let text = String::from_utf8(written(&tree)).expect("all of it is text");
        let names = ["a\0", "a/b\0", "a/b/c\0", "a/l\0", "TRAILER!!!\0"];
        let at: Vec<_> = names.iter().map(|name| text.find(name)).collect();
        assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{at:?}");
    }

    #[test]
    fn an_entry_has_the_layout_that_linux_reads() {
        let mut tree = Tree::default();
        tree.text("f", 0o600, "hello");
        let bytes = written(&tree);
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"00008180"); // a file, rw-------
        assert_eq!(&bytes[54..62], b"00000005"); // its length
        assert_eq!(&bytes[94..102], b"00000002"); // that of its name
        assert_eq!(&bytes[110..120], b"f\0hello\0\0\0"); // both padded to four
        assert_eq!(bytes.len() % 512, 0);
    }

    #[test]
    fn a_missing_file_is_named() {
        let mut tree = Tree::default();
        tree.file("f", 0o644, "/nonexistent/f");
        let error = tree.write(&mut Vec::new()).expect_err("not there");
        assert!(error.to_string().contains("/nonexistent/f"), "{error}");
    }
}
