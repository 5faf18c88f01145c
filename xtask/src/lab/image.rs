//! The initramfs of a domain, from unpacked packages: what is the same for every test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::cpio::Tree;
use super::openmpi::Addition;
use super::recipe::{Image, LIBRARIES, XEN};
use super::tools::output;

/// The folder of shared libraries in Debian, and in the images.
const LIB: &str = "lib/x86_64-linux-gnu";

/// The user that owns nothing.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nlab:x:1000:1000:lab:/home/lab:/bin/sh\n";
const GROUP: &str = "root:x:0:\nlab:x:1000:\n";

/// Packages that were unpacked below one folder.
#[derive(Debug)]
pub(crate) struct Unpacked<'a> {
    /// The folder.
    pub(crate) root: &'a Path,
    /// A folder for what is only needed meanwhile.
    pub(crate) scratch: &'a Path,
    /// The version of the kernels.
    pub(crate) kernel: &'a str,
}

impl Unpacked<'_> {
    /// The files of `image`.
    ///
    /// # Errors
    ///
    /// When the packages do not have what the recipe says.
    pub(crate) fn tree(&self, image: &Image) -> anyhow::Result<Tree> {
        let mut tree = Tree::default();
        skeleton(&mut tree);
        self.busybox(&mut tree)?;
        for folder in image.folders {
            tree.folder(folder);
        }
        let loader = "lib64/ld-linux-x86-64.so.2";
        tree.file(loader, 0o755, self.find(&[loader.to_owned()])?);
        tree.file(
            "bin/xenstore",
            0o755,
            self.find(&["usr/bin/xenstore".to_owned()])?,
        );
        for verb in [
            "chmod", "exists", "list", "ls", "read", "rm", "watch", "write",
        ] {
            tree.link(&format!("bin/xenstore-{verb}"), "xenstore");
        }
        self.files(image.files, &mut tree)?;
        self.libraries(LIBRARIES.iter().chain(image.libraries), &mut tree)?;
        self.modules(image, &mut tree)?;
        // xl looks for its helpers there.
        tree.folder(&format!("usr/lib/xen-{XEN}/bin"));
        Ok(tree)
    }

    /// The files of `addition`.
    ///
    /// # Errors
    ///
    /// When the packages do not have what it says.
    pub(crate) fn addition(&self, addition: &Addition) -> anyhow::Result<Tree> {
        let mut tree = Tree::default();
        self.files(addition.files, &mut tree)?;
        for (path, to) in addition.links {
            tree.link(path, to);
        }
        self.libraries(addition.libraries.iter(), &mut tree)?;
        for (folder, names) in addition.components {
            for name in *names {
                let path = format!("{folder}/{name}");
                let from = self.find(std::slice::from_ref(&path))?;
                tree.file(&path, 0o755, from);
            }
        }
        for folder in addition.folders {
            tree.copy(folder, &self.find(&[(*folder).to_owned()])?)?;
        }
        Ok(tree)
    }

    /// Files, as they are called in the packages and in the tree.
    fn files(&self, files: &[(&str, &str)], tree: &mut Tree) -> anyhow::Result<()> {
        for (from, to) in files {
            tree.file(to, 0o755, self.find(&[(*from).to_owned()])?);
        }
        Ok(())
    }

    fn libraries<'a>(
        &self,
        names: impl Iterator<Item = &'a &'a str>,
        tree: &mut Tree,
    ) -> anyhow::Result<()> {
        for name in names {
            let path = self.find(&[format!("{LIB}/{name}"), format!("usr/{LIB}/{name}")])?;
            tree.file(&format!("{LIB}/{name}"), 0o755, path);
        }
        Ok(())
    }

    /// The first of the paths that exists, links resolved.
    fn find(&self, paths: &[String]) -> anyhow::Result<PathBuf> {
        paths
            .iter()
            .find_map(|path| self.root.join(path).canonicalize().ok())
            .with_context(|| format!("the packages have no {}", paths.join(", nor ")))
    }

    fn busybox(&self, tree: &mut Tree) -> anyhow::Result<()> {
        let busybox = self.find(&["bin/busybox".to_owned(), "usr/bin/busybox".to_owned()])?;
        let applets = output(Command::new(&busybox).arg("--list"))?;
        for applet in String::from_utf8_lossy(&applets).lines() {
            tree.link(&format!("bin/{applet}"), "busybox");
        }
        tree.file("bin/busybox", 0o755, busybox);
        Ok(())
    }

    fn modules(&self, image: &Image, tree: &mut Tree) -> anyhow::Result<()> {
        let release = format!("{}-{}", self.kernel, image.flavour);
        let folder = format!("lib/modules/{release}");
        // depmod works on files: only the few that are wanted, side by side.
        let stage = self.scratch.join(image.name);
        let place = stage.join(&folder);
        std::fs::create_dir_all(&place)
            .with_context(|| format!("cannot create {}", place.display()))?;
        for module in image.modules {
            let from = self.find(&[format!("{folder}/kernel/{module}.ko")])?;
            let name = module.rsplit('/').next().unwrap_or(module);
            let to = place.join(format!("{name}.ko"));
            std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let busybox = self.find(&["bin/busybox".to_owned(), "usr/bin/busybox".to_owned()])?;
        output(
            Command::new(busybox)
                .arg("depmod")
                .arg("-b")
                .arg(&stage)
                .arg(&release),
        )?;
        ensure!(
            place.join("modules.dep").exists(),
            "depmod left no modules.dep in {}",
            place.display()
        );
        tree.copy(&folder, &place)
    }
}

fn skeleton(tree: &mut Tree) {
    for folder in [
        "bin", "dev", "etc", "lib", "proc", "sys", "run/lab", "var/lock",
    ] {
        tree.folder(folder);
    }
    tree.folder_with("tmp", 0o1777);
    tree.folder_with("home/lab", 0o777);
    tree.link("var/run", "../run");
    tree.link("sbin", "bin");
    tree.text("etc/passwd", 0o644, PASSWD);
    tree.text("etc/group", 0o644, GROUP);
}
