//! The hosts that ranks run on.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use myrixen_netlab::Host;
use tempfile::TempDir;

/// One host, and what its programs find in their environment.
#[derive(Debug)]
pub struct Place<'a> {
    host: &'a Host,
    env: Vec<(String, String)>,
    /// What its programs are started by, where they are not to have all cores.
    bound: Vec<String>,
    /// Keeps the network's name in `/proc` alive; ends when its input does, with this.
    holder: Child,
}

/// The hosts of a job, the first one being where it is started, and the script that starts processes on the others.
#[derive(Debug)]
pub struct Places<'a> {
    places: Vec<Place<'a>>,
    folder: TempDir,
}

impl<'a> Place<'a> {
    /// A host whose programs get these variables.
    ///
    /// # Errors
    /// When no process can be started there.
    pub fn new(host: &'a Host, env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut holder = Command::new("cat");
        holder.stdin(Stdio::piped()).stdout(Stdio::null());
        let env = env
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self {
            host,
            env: env.collect(),
            bound: Vec::new(),
            holder: host.spawn(&mut holder)?,
        })
    }

    /// Has its programs run on these cores only.
    #[must_use]
    pub fn on(mut self, cores: &[usize]) -> Self {
        let list: Vec<String> = cores.iter().map(usize::to_string).collect();
        self.bound = ["taskset", "--cpu-list"].map(str::to_owned).into();
        self.bound.push(list.join(","));
        self
    }

    /// Its name, which its programs see as the host's.
    #[must_use]
    pub fn name(&self) -> &str {
        self.host.name()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It has ended, or will at once: its input has.
        let _ = self.holder.wait();
    }
}

impl<'a> Places<'a> {
    /// The hosts of a job.
    ///
    /// # Errors
    /// When there is none, or the script cannot be written.
    pub fn new(places: Vec<Place<'a>>) -> anyhow::Result<Self> {
        ensure!(!places.is_empty(), "a job needs a host");
        let folder = tempfile::tempdir().context("no folder for the launcher's script")?;
        let this = Self { places, folder };
        let script = this.launcher();
        fs::write(&script, this.script())
            .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", script.display()))?;
        Ok(this)
    }

    /// How many they are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Their names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(Place::name)
    }

    /// A folder for what jobs leave lying about; it goes with this.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The script that takes the place of `ssh`: `launcher HOST COMMAND...`.
    #[must_use]
    pub fn launcher(&self) -> PathBuf {
        self.folder.path().join("launcher")
    }

    /// A command on the first host, with its name and environment.
    ///
    /// # Errors
    /// When no descriptor is to be had.
    pub fn command(&self, program: &str) -> anyhow::Result<Command> {
        let first = &self.places[0];
        let mut command = Command::new("unshare");
        // Ends with whoever starts it, so that an interrupted test leaves nothing behind.
        command.args(["--uts", "--mount", "setpriv", "--pdeathsig", "KILL"]);
        command.args(&first.bound);
        command.args(["sh", "-c", NAMED, first.name(), program]);
        command.envs(first.env.iter().map(|(name, value)| (name, value)));
        first.host.place(&mut command)?;
        Ok(command)
    }

    fn script(&self) -> String {
        let mut script = String::from(
            "#!/bin/sh\n# HOST COMMAND...: in place of ssh, which hands its words to a shell there.\n\
             while [ \"${1#-}\" != \"$1\" ]; do shift; done\nhost=$1; shift\ncase $host in\n",
        );
        for place in &self.places {
            let (name, holder) = (place.name(), place.holder.id());
            let _ = write!(script, "{name}) ");
            for (name, value) in &place.env {
                let _ = write!(script, "export {name}={}; ", quoted(value));
            }
            let _ = writeln!(
                script,
                "exec {} nsenter --net=/proc/{holder}/ns/net unshare --uts --mount sh -c {} {name} sh -c \"$*\" ;;",
                place.bound.join(" "),
                quoted(NAMED)
            );
        }
        script + "esac\necho \"launcher: there is no host '$host'\" >&2\nexit 1\n"
    }
}

/// For `sh -c`: takes the name of the host, and becomes the program. UCX looks for interfaces in `/sys`, which has to be the network's own;
/// where it may not be mounted, UCX finds less, and nobody else misses it.
const NAMED: &str = "hostname \"$0\" && { mount -t sysfs sysfs /sys 2>/dev/null; exec \"$@\"; }";

/// A word as a shell takes it literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quoted_word_is_one_word() {
        assert_eq!(quoted("a b;'c'"), r"'a b;'\''c'\'''");
    }
}
