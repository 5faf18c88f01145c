//! Fetching Debian packages without root, and without installing them.
//!
//! What apt knows on this machine is used if it is enough; otherwise lists of our own are made in the cache, from the
//! sources and keys of the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::openmpi::OPEN_MPI;
use super::recipe;
use super::tools::output;

/// A view of Debian's archive.
#[derive(Debug)]
pub(crate) struct Apt {
    options: Vec<String>,
}

/// A package as the archive has it now.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    package: String,
    file: String,
}

/// Fetches what the recipe names, and Debian's newest kernel, into `folder` and returns the kernel's version and the
/// packages' files. Those that are there already are not fetched again.
///
/// # Errors
///
/// When neither the machine's lists nor our own have them.
pub(crate) fn fetch(folder: &Path, private: &Path) -> anyhow::Result<(String, Vec<PathBuf>)> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let machine = Apt { options: sandbox() };
    match machine.fetch(folder) {
        Ok(found) => Ok(found),
        Err(error) => {
            println!(
                "lab: the machine's package lists do not do ({error:#}); fetching lists of our own"
            );
            let own = Apt::private(private)?;
            own.fetch(folder).with_context(|| {
                format!(
                    "cannot get the packages; apt's sources must be those of {}",
                    recipe::RELEASE
                )
            })
        }
    }
}

/// apt's user for downloads cannot write to a cache in somebody's home, and says so at length.
fn sandbox() -> Vec<String> {
    vec!["-oAPT::Sandbox::User=root".to_owned()]
}

impl Apt {
    /// Lists in `folder`, brought up to date.
    fn private(folder: &Path) -> anyhow::Result<Self> {
        for name in ["lists/partial", "cache/archives/partial", "state"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        // No package is installed here: nothing depends on what the machine has.
        let status = folder.join("status");
        std::fs::write(&status, "")
            .with_context(|| format!("cannot write {}", status.display()))?;
        let mut options = sandbox();
        for (name, path) in [
            ("Dir::State", "state"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            options.push(format!("-o{name}={}", folder.join(path).display()));
        }
        let apt = Self { options };
        output(apt.command("apt-get").args(["-qq", "update"]))
            .context("cannot fetch package lists")?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).env("LC_ALL", "C");
        command
    }

    fn fetch(&self, folder: &Path) -> anyhow::Result<(String, Vec<PathBuf>)> {
        let depends = output(self.command("apt-cache").args(["depends", recipe::KERNEL]))?;
        let kernel = kernel(&String::from_utf8_lossy(&depends))?;
        let mut packages: Vec<String> = recipe::PACKAGES
            .iter()
            .chain(OPEN_MPI.packages)
            .map(|name| (*name).to_owned())
            .collect();
        for image in [&recipe::DOM0, &recipe::DOMU] {
            packages.push(format!("linux-image-{kernel}-{}", image.flavour));
        }
        let uris = output(
            self.command("apt-get")
                .args(["-qq", "--print-uris", "download"])
                .args(&packages),
        )?;
        let offers = offers(&String::from_utf8_lossy(&uris));
        let mut files = Vec::new();
        for package in &packages {
            let offer = offers.iter().find(|offer| offer.package == *package);
            let offer = offer.with_context(|| format!("apt offers no package {package}"))?;
            let path = folder.join(&offer.file);
            if !path.exists() {
                println!("lab: downloading {package}");
                output(
                    self.command("apt-get")
                        .current_dir(folder)
                        .args(["-qq", "download", package]),
                )?;
                ensure!(path.exists(), "apt-get did not leave {}", path.display());
            }
            files.push(path);
        }
        Ok((kernel, files))
    }
}

/// The version in what `apt-cache depends` says about [`recipe::KERNEL`].
fn kernel(depends: &str) -> anyhow::Result<String> {
    depends
        .lines()
        .find_map(|line| {
            let name = line.trim().strip_prefix("Depends: linux-image-")?;
            name.strip_suffix("-amd64").map(str::to_owned)
        })
        .with_context(|| format!("apt knows no kernel that {} depends on", recipe::KERNEL))
}

/// The lines `'URI' FILE SIZE HASH` of `apt-get --print-uris download`.
fn offers(uris: &str) -> Vec<Offer> {
    uris.lines()
        .filter_map(|line| {
            let file = line.strip_prefix('\'')?.split_once("' ")?.1;
            let file = file.split(' ').next()?;
            let package = file.split_once('_')?.0;
            Some(Offer {
                package: package.to_owned(),
                file: file.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_what_the_metapackage_depends_on() {
        let text = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n  Conflicts: a\n";
        assert_eq!(kernel(text).expect("there"), "6.1.0-56");
        assert!(kernel("linux-image-amd64\n").is_err());
    }

    #[test]
    fn offers_name_package_and_file() {
        let text = "'http://a/b/libc6_2.36-9_amd64.deb' libc6_2.36-9_amd64.deb 27 SHA256:0\nW: x\n";
        let expected = Offer {
            package: "libc6".to_owned(),
            file: "libc6_2.36-9_amd64.deb".to_owned(),
        };
        assert_eq!(offers(text), [expected]);
    }
}
