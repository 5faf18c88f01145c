//! Making the images, once: into a cache that the tests then only read.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::cpio::Tree;
use super::image::Unpacked;
use super::openmpi::{Addition, OPEN_MPI};
use super::recipe::{DOM0, DOMU, Image, XEN};
use super::tools::{TO_PREPARE, filter, output, require};
use super::{apt, kernel, recipe};

/// The finished images.
#[derive(Debug)]
pub(crate) struct Images {
    folder: PathBuf,
}

impl Images {
    /// The hypervisor.
    pub(crate) fn xen(&self) -> PathBuf {
        self.folder.join("xen")
    }

    /// The kernel of a kind of domain.
    pub(crate) fn kernel(&self, image: &Image) -> PathBuf {
        self.folder.join(format!("vmlinux-{}", image.name))
    }

    /// What a kind of domain boots into.
    pub(crate) fn initramfs(&self, image: &Image) -> PathBuf {
        self.folder.join(format!("{}.cpio", image.name))
    }

    /// What some tests' guests get in addition.
    pub(crate) fn addition(&self, addition: &Addition) -> PathBuf {
        self.folder.join(format!("{}.cpio", addition.name))
    }

    /// Headers and libraries of Xen and of Open MPI, for programs in C: `include` and `lib`.
    pub(crate) fn sdk(&self) -> PathBuf {
        self.folder.join("sdk")
    }

    /// Which packages they are made of, one file name a line.
    fn packages(&self) -> PathBuf {
        self.folder.join("packages")
    }
}

/// The images of this recipe; made now if they are not there.
///
/// # Errors
///
/// When they cannot be made: a tool is missing, the network, or the disk is full.
pub(crate) fn images() -> anyhow::Result<Images> {
    ensure!(
        cfg!(all(target_arch = "x86_64", target_os = "linux")),
        "the lab runs on Linux on x86-64 only"
    );
    let cache = cache()?;
    let images = Images {
        folder: cache.join(recipe::key()),
    };
    if !images.packages().exists() {
        require(TO_PREPARE)?;
        make(&cache, &images)
            .with_context(|| format!("cannot make the images in {}", cache.display()))?;
    }
    Ok(images)
}

/// Where images are kept.
fn cache() -> anyhow::Result<PathBuf> {
    let base = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(folder), _) if !folder.is_empty() => PathBuf::from(folder),
        (_, Some(home)) if !home.is_empty() => Path::new(&home).join(".cache"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME says where a cache may be"),
    };
    let folder = base.join("myrixen-lab/xen");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))
}

fn make(cache: &Path, images: &Images) -> anyhow::Result<()> {
    let began = Instant::now();
    println!(
        "lab: making the images in {} (once; they and the packages take about 200 MiB)",
        images.folder.display()
    );
    let (version, debs) = apt::fetch(&cache.join("debs"), &cache.join("apt"))?;

    let work = tempfile::Builder::new()
        .prefix("making-")
        .tempdir_in(cache)
        .context("cannot create a folder to work in")?;
    let (root, scratch) = (work.path().join("unpacked"), work.path().join("scratch"));
    println!("lab: unpacking {} packages", debs.len());
    for deb in &debs {
        output(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&root))?;
    }
    let made = Images {
        folder: work.path().join("made"),
    };
    std::fs::create_dir(&made.folder).context("cannot create the folder of the images")?;
    println!("lab: Linux {version}, Xen {XEN}: kernels and file systems");
    let hypervisor = root.join(format!("boot/xen-{XEN}-amd64.gz"));
    let packed = std::fs::read(&hypervisor)
        .with_context(|| format!("cannot read {}", hypervisor.display()))?;
    filter(&["gzip", "-dc"], &packed, &made.xen())?;
    let unpacked = Unpacked {
        root: &root,
        scratch: &scratch,
        kernel: &version,
    };
    for image in [&DOM0, &DOMU] {
        let vmlinuz = root.join(format!("boot/vmlinuz-{version}-{}", image.flavour));
        kernel::extract(&vmlinuz, &made.kernel(image))?;
        write(&unpacked.tree(image)?, &made.initramfs(image))?;
    }
    write(&unpacked.addition(&OPEN_MPI)?, &made.addition(&OPEN_MPI))?;
    copy_sdk(&root, &made.sdk())?;
    let names: Vec<_> = debs
        .iter()
        .filter_map(|deb| deb.file_name()?.to_str())
        .collect();
    std::fs::write(made.packages(), names.join("\n") + "\n")
        .context("cannot write the list of packages")?;
    // The list of packages says that all is there: a whole folder appears, or none.
    if let Err(error) = std::fs::rename(&made.folder, &images.folder) {
        let by_another = images.packages().exists();
        ensure!(by_another, "cannot put the images in place: {error}");
    }
    println!("lab: images made in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Writes a tree as an archive.
fn write(tree: &Tree, path: &Path) -> anyhow::Result<()> {
    let file =
        std::fs::File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut file = BufWriter::new(file);
    tree.write(&mut file)?;
    std::io::Write::flush(&mut file).with_context(|| format!("cannot write {}", path.display()))
}

/// Keeps what programs in C are compiled against.
fn copy_sdk(root: &Path, sdk: &Path) -> anyhow::Result<()> {
    for (from, to) in recipe::SDK {
        let (from, to) = (root.join(from), sdk.join(to));
        std::fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
        let entries = std::fs::read_dir(&from);
        for entry in entries.with_context(|| format!("cannot read {}", from.display()))? {
            let path = entry.context("cannot read a folder")?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let wanted = name.is_some_and(|name| {
                let ours = |begin: &&str| name.starts_with(*begin);
                let shared = name.contains(".so");
                recipe::SDK_FILES.iter().any(ours) && !shared
            });
            if wanted {
                output(Command::new("cp").arg("-r").arg(&path).arg(&to))?;
            }
        }
    }
    for (from, to) in OPEN_MPI.sdk {
        let (from, to) = (root.join(from), sdk.join(to));
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}
