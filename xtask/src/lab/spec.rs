//! A test as its `lab.toml` describes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::payload;

/// Most domUs of a host: each takes memory, and its share of two cores or so.
const MAX_GUESTS: u32 = 4;

/// A folder of `lab/xen/tests`.
#[derive(Debug)]
pub(crate) struct Test {
    /// The folder's name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) folder: PathBuf,
    /// Its `lab.toml`.
    pub(crate) spec: Spec,
}

/// `lab.toml`. The README of the lab explains the keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// What the test finds out, in a line.
    pub(crate) what: String,
    /// Emulated machines: one, or two with a wire between them.
    #[serde(default = "one")]
    pub(crate) hosts: u32,
    /// domUs of each host that are there when its dom0.sh begins.
    #[serde(default = "two")]
    pub(crate) guests: u32,
    /// Memory of each domU.
    #[serde(default = "guest_memory")]
    pub(crate) memory_mib: u32,
    /// Virtual CPUs of each domU.
    #[serde(default = "one")]
    pub(crate) vcpus: u32,
    /// Memory of dom0.
    #[serde(default = "dom0_memory")]
    pub(crate) dom0_memory_mib: u32,
    /// Memory that the hypervisor keeps for domains that the test creates.
    #[serde(default)]
    pub(crate) spare_memory_mib: u32,
    /// CPUs of each emulated machine.
    #[serde(default = "two")]
    pub(crate) cpus: u32,
    /// A bridge in dom0 and a network interface for each domU.
    #[serde(default)]
    pub(crate) net: bool,
    /// Debian's Open MPI and libfabric in each domU.
    #[serde(default)]
    pub(crate) open_mpi: bool,
    /// A domU that is gone at the end is no failure.
    #[serde(default)]
    pub(crate) may_die: bool,
    /// Seconds after which the test is taken to hang.
    #[serde(default = "timeout")]
    pub(crate) timeout_s: u64,
    /// Programs of ours that the domains need.
    #[serde(default)]
    pub(crate) programs: Vec<String>,
    /// Ratios that the report of the results shows, and what they are to be: `direct/peer:tcp half_rtt 8 <=0.35`.
    #[serde(default)]
    pub(crate) bars: Vec<String>,
    /// Parameters of kernel modules, in all domains.
    #[serde(default)]
    pub(crate) modules: BTreeMap<String, String>,
    /// More lines for the domUs' configurations.
    #[serde(default)]
    pub(crate) guest_config: Vec<String>,
    /// More arguments for the domUs' kernels.
    #[serde(default)]
    pub(crate) guest_args: String,
    /// More arguments for the hypervisor.
    #[serde(default)]
    pub(crate) xen_args: String,
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn guest_memory() -> u32 {
    192
}

fn dom0_memory() -> u32 {
    448
}

fn timeout() -> u64 {
    300
}

impl Spec {
    /// Reads a `lab.toml`.
    ///
    /// # Errors
    ///
    /// For what it does not know, or cannot do.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let spec: Self = toml::from_str(text)?;
        let within = |key: &str, value: u32, least: u32, most: u32| {
            ensure!(
                (least..=most).contains(&value),
                "{key} = {value}: it must be {least} to {most}"
            );
            Ok(())
        };
        within("hosts", spec.hosts, 1, 2)?;
        within("guests", spec.guests, 0, MAX_GUESTS)?;
        within("memory_mib", spec.memory_mib, 96, 4096)?;
        within("dom0_memory_mib", spec.dom0_memory_mib, 256, 4096)?;
        within("vcpus", spec.vcpus, 1, 8)?;
        within("cpus", spec.cpus, 1, 8)?;
        for program in &spec.programs {
            payload::program(program)?;
        }
        for (name, parameters) in &spec.modules {
            // They become words of a shell script.
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_=, ".contains(c);
            ensure!(
                name.chars().chain(parameters.chars()).all(plain),
                "modules.{name} = {parameters:?}: only letters, digits and -_=, may be in it"
            );
        }
        Ok(spec)
    }

    /// Memory of each emulated machine. What is left is for the hypervisor itself.
    pub(crate) fn machine_memory_mib(&self) -> u32 {
        self.dom0_memory_mib + self.guests * self.memory_mib + self.spare_memory_mib + 192
    }
}

/// All tests below `folder`, by name.
///
/// # Errors
///
/// When one cannot be read.
pub(crate) fn all(folder: &Path) -> anyhow::Result<Vec<Test>> {
    let read = || format!("cannot read the folder {}", folder.display());
    let mut tests = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(read)? {
        let path = entry.with_context(read)?.path();
        let description = path.join("lab.toml");
        if !description.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&description)
            .with_context(|| format!("cannot read {}", description.display()))?;
        let spec = Spec::parse(&text).with_context(|| description.display().to_string())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        tests.push(Test {
            name: name.into_owned(),
            folder: path,
            spec,
        });
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default() {
        let spec = Spec::parse("what = \"x\"").expect("enough");
        assert_eq!((spec.hosts, spec.guests, spec.vcpus), (1, 2, 1));
        assert!(!spec.net && !spec.may_die && spec.programs.is_empty());
        assert_eq!(spec.machine_memory_mib(), 448 + 2 * 192 + 192);
    }

    #[test]
    fn everything_can_be_said() {
        let spec = Spec::parse(
            "what = \"x\"\nhosts = 2\nguests = 0\nnet = true\nprograms = [\"myrixend\"]\n\
             guest_config = [\"max_grant_frames=256\"]\nxen_args = \"gnttab_max_frames=256\"\n\
             [modules]\nxen-gntalloc = \"limit=200000\"\n",
        )
        .expect("all of it is known");
        assert_eq!(spec.modules["xen-gntalloc"], "limit=200000");
        assert_eq!(spec.programs, ["myrixend"]);
    }

    #[test]
    fn what_cannot_be_is_refused_and_named() {
        for (text, names) in [
            ("", "what"),
            ("what = \"x\"\nhost = 2", "host"),
            ("what = \"x\"\nhosts = 3", "hosts = 3"),
            ("what = \"x\"\nguests = 5", "guests = 5"),
            ("what = \"x\"\nprograms = [\"nope\"]", "nope"),
            ("what = \"x\"\n[modules]\na = \"$(reboot)\"", "modules.a"),
        ] {
            let error = Spec::parse(text).expect_err(text);
            assert!(format!("{error:#}").contains(names), "{text}: {error:#}");
        }
    }

    #[test]
    fn the_tests_of_the_project_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/xen/tests");
        let tests = all(&folder).expect("well-formed");
        assert!(tests.iter().any(|test| test.name == "smoke"));
    }
}
