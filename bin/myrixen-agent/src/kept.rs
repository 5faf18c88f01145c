//! Whose the open endpoints are, kept over a crash of the agent: the next one lets their users adopt them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The endpoints of one board, and the users that opened them, in a file.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    users: BTreeMap<u8, u32>,
    /// The last write failed, and that was said.
    failing: bool,
}

impl Kept {
    /// What the agent before this one left at `path`. Lines that make no sense are nobody's.
    pub(crate) fn load(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = |line: &str| {
            let (endpoint, user) = line.split_once(' ')?;
            Some((endpoint.parse().ok()?, user.parse().ok()?))
        };
        Self {
            users: text.lines().filter_map(line).collect(),
            path,
            failing: false,
        }
    }

    /// Whose an endpoint was.
    pub(crate) fn user(&self, endpoint: u8) -> Option<u32> {
        self.users.get(&endpoint).copied()
    }

    pub(crate) fn insert(&mut self, endpoint: u8, user: u32) {
        if self.users.insert(endpoint, user) != Some(user) {
            self.save();
        }
    }

    pub(crate) fn remove(&mut self, endpoint: u8) {
        if self.users.remove(&endpoint).is_some() {
            self.save();
        }
    }

    /// Without the file everything works but the adoption after a crash: then ports are opened anew.
    fn save(&mut self) {
        match self.write() {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                let path = self.path.display();
                tracing::warn!("cannot write {path} (`state_dir`): {error}");
            }
            Err(_) => {}
        }
    }

    fn write(&self) -> io::Result<()> {
        let draft = self.path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        let mut text = String::new();
        for (endpoint, user) in &self.users {
            text.push_str(&format!("{endpoint} {user}\n"));
        }
        file.write_all(text.as_bytes())?;
        fs::rename(draft, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_the_next_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ports-0");
        let mut kept = Kept::load(path.clone());
        kept.insert(3, 1000);
        kept.insert(255, 1001);
        kept.insert(4, 1000);
        kept.remove(4);
        let next = Kept::load(path);
        assert_eq!(next.user(3), Some(1000));
        assert_eq!(next.user(255), Some(1001));
        assert_eq!(next.user(4), None);
    }

    #[test]
    fn a_damaged_file_gives_nobody_anything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ports-0");
        fs::write(&path, "3 1000\n300 1000\nx y\n\n4\n5 -1\n6 99999999999\n").unwrap();
        let kept = Kept::load(path);
        assert_eq!(kept.user(3), Some(1000));
        assert!([0, 4, 5, 6, 44].iter().all(|&e| kept.user(e).is_none()));
    }

    #[test]
    fn a_place_that_cannot_be_written_stops_nothing() {
        let mut kept = Kept::load("/nonexistent/ports-0".into());
        kept.insert(3, 1000);
        assert_eq!(kept.user(3), Some(1000));
    }
}
