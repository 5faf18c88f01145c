//! What one host of one test boots: the test's files, our programs and the lab's scripts, added to the images.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cpio::Tree;
use super::openmpi::OPEN_MPI;
use super::prepare::Images;
use super::recipe::{DOM0, DOMU};
use super::spec::{Spec, Test};

/// Options of Linux that only save time: a third of it, since hardening is slow under emulation.
pub(crate) const FAST: &str = "mitigations=off rodata=off nokaslr init_on_alloc=0 hardened_usercopy=off \
     cryptomgr.notests=1 no_timer_check apparmor=0 audit=0";

/// Scripts of a test that are one host's own.
const SCRIPTS: [&str; 6] = [
    "dom0.sh", "domU1.sh", "domU2.sh", "domU3.sh", "domU4.sh", "domU5.sh",
];

/// One host of a test.
#[derive(Debug)]
pub(crate) struct Host<'a> {
    /// The test.
    pub(crate) test: &'a Test,
    /// `a`, or `b`.
    pub(crate) name: char,
    /// The folder of the lab's scripts.
    pub(crate) scripts: &'a Path,
    /// As [`Lab::quick`](super::run::Lab::quick).
    pub(crate) quick: bool,
    /// Our programs that the test needs.
    pub(crate) programs: &'a [(String, PathBuf)],
    /// The libraries that they need: what each is called in a domain, and where it is.
    pub(crate) libraries: &'a BTreeMap<String, PathBuf>,
}

impl Host<'_> {
    /// Writes dom0's initramfs to `folder`; the guests' is in it. Returns where it is.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or written.
    pub(crate) fn write(&self, images: &Images, folder: &Path) -> anyhow::Result<PathBuf> {
        let mut tree = self.common()?;
        tree.file("init", 0o755, self.scripts.join("guest/dom0-init"));
        if self.test.spec.guests > 0 {
            let guest = folder.join(format!("domU-{}.img", self.name));
            self.guests(images, guest, &mut tree)?;
        }
        let dom0 = folder.join(format!("dom0-{}.img", self.name));
        append(&[images.initramfs(&DOM0)], &tree, &dom0)?;
        Ok(dom0)
    }

    /// Adds what dom0 creates guests from; the archive `image` is made first.
    fn guests(&self, images: &Images, image: PathBuf, tree: &mut Tree) -> anyhow::Result<()> {
        let mut own = self.common()?;
        own.file("init", 0o755, self.scripts.join("guest/domU-init"));
        let mut bases = vec![images.initramfs(&DOMU)];
        bases.extend(self.test.spec.open_mpi.then(|| images.addition(&OPEN_MPI)));
        append(&bases, &own, &image)?;

        let vif = self.scripts.join("guest/vif-lab");
        tree.file("etc/xen/scripts/vif-lab", 0o755, vif);
        tree.file("boot/vmlinux-domU", 0o644, images.kernel(&DOMU));
        tree.file("boot/domU.img", 0o644, image);
        // One more may be wanted by a test that creates it by itself.
        for number in 1..=self.test.spec.guests + 1 {
            let config = guest_config(&self.test.spec, self.name, number);
            tree.text(&format!("lab/domU{number}.cfg"), 0o644, config);
        }
        Ok(())
    }

    /// What every domain of the host has.
    fn common(&self) -> anyhow::Result<Tree> {
        let mut tree = Tree::default();
        tree.text(
            "lab/config",
            0o644,
            shell_config(&self.test.spec, self.name, self.quick),
        );
        tree.file("lab/lib.sh", 0o644, self.scripts.join("lib.sh"));
        tree.folder("lab/bin");
        for (name, path) in self.programs {
            tree.file(&format!("lab/bin/{name}"), 0o755, path);
        }
        for (name, path) in self.libraries {
            tree.file(name, 0o755, path);
        }
        // Both hosts have all of the test's files; those of the second one's folder take precedence there.
        tree.copy("lab/test", &self.test.folder)?;
        if self.name != 'a' {
            for script in SCRIPTS {
                tree.remove(&format!("lab/test/{script}"));
            }
            let own = self.test.folder.join(self.name.to_string());
            if own.is_dir() {
                tree.copy("lab/test", &own)?;
            }
        }
        Ok(tree)
    }
}

/// Writes the archives `bases` followed by one of `tree` to `to`.
fn append(bases: &[PathBuf], tree: &Tree, to: &Path) -> anyhow::Result<()> {
    let write = || format!("cannot write {}", to.display());
    let mut output = BufWriter::new(File::create(to).with_context(write)?);
    for base in bases {
        let mut input =
            File::open(base).with_context(|| format!("cannot open {}", base.display()))?;
        std::io::copy(&mut input, &mut output).with_context(write)?;
    }
    tree.write(&mut output)?;
    std::io::Write::flush(&mut output).with_context(write)
}

/// Variables for the scripts in the domains.
fn shell_config(spec: &Spec, host: char, quick: bool) -> String {
    let mut text = format!(
        "LAB_HOST={host}\nLAB_HOSTS={}\nLAB_GUESTS={}\nLAB_NET={}\nLAB_MAY_DIE={}\nLAB_QUICK={}\n",
        spec.hosts,
        spec.guests,
        u8::from(spec.net),
        u8::from(spec.may_die),
        u8::from(quick),
    );
    for (module, parameters) in &spec.modules {
        let name = module.replace('-', "_");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "LAB_MODULE_{name}='{parameters}'");
    }
    text
}

/// The configuration of a guest, for `xl create`.
fn guest_config(spec: &Spec, host: char, number: u32) -> String {
    let mut text = format!(
        "name=\"domU{number}\"\ntype=\"pv\"\nkernel=\"/boot/vmlinux-domU\"\nramdisk=\"/boot/domU.img\"\n\
         memory={}\nvcpus={}\nextra=\"{}\"\n\
         on_poweroff=\"destroy\"\non_reboot=\"destroy\"\non_crash=\"destroy\"\n",
        spec.memory_mib,
        spec.vcpus,
        guest_arguments(spec, number),
    );
    if spec.net {
        // Different on both hosts, so that a test may join their bridges.
        let host = u32::from(host) - u32::from('a');
        let _ = writeln!(
            text,
            "vif=[\"mac=00:16:3e:00:{host:02x}:{number:02x},bridge=xenbr0,script=vif-lab\"]"
        );
    }
    for line in &spec.guest_config {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn guest_arguments(spec: &Spec, number: u32) -> String {
    format!(
        "console=hvc0 quiet panic=1 {FAST} {} lab.n={number}",
        spec.guest_args
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_the_scripts_and_xl() {
        let spec = Spec::parse(
            "what = \"x\"\nhosts = 2\nnet = true\nmemory_mib = 128\n\
             guest_config = [\"max_grant_frames=256\"]\n[modules]\nxen-gntalloc = \"limit=5\"",
        )
        .expect("good");
        let shell = shell_config(&spec, 'b', true);
        assert!(shell.contains("LAB_HOST=b\n") && shell.contains("LAB_NET=1\n"));
        assert!(shell.contains("LAB_QUICK=1\n") && shell.contains("LAB_MAY_DIE=0\n"));
        assert!(shell.contains("LAB_MODULE_xen_gntalloc='limit=5'\n"));
        let xl = guest_config(&spec, 'b', 2);
        assert!(xl.contains("name=\"domU2\"\n") && xl.contains("memory=128\n"));
        assert!(xl.contains("lab.n=2\"\n") && xl.ends_with("max_grant_frames=256\n"));
        assert!(xl.contains("mac=00:16:3e:00:01:02,"));
    }
}
