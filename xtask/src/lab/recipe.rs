//! What the images are made of: Debian packages, and what is taken from them.

/// The version of Xen in Debian 12, as its packages' names have it.
pub(crate) const XEN: &str = "4.17";

/// Which Debian has them, for messages.
pub(crate) const RELEASE: &str = "Debian 12 (bookworm)";

/// Everything that decides what the images contain: they are built anew when any of it changes.
pub(crate) const SOURCES: &[&str] = &[
    include_str!("recipe.rs"),
    include_str!("prepare.rs"),
    include_str!("image.rs"),
    include_str!("kernel.rs"),
    include_str!("cpio.rs"),
    include_str!("openmpi.rs"),
];

/// The package that depends on Debian's newest kernel.
pub(crate) const KERNEL: &str = "linux-image-amd64";

/// Packages beside the kernels.
pub(crate) const PACKAGES: &[&str] = &[
    "xen-hypervisor-4.17-amd64",
    "xen-utils-4.17",
    "xen-utils-common",
    "xenstore-utils",
    "libxenmisc4.17",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenhypfs1",
    "libxenstore4",
    "libxentoolcore1",
    "libxentoollog1",
    "libyajl2",
    "libuuid1",
    "libzstd1",
    "liblzma5",
    "zlib1g",
    "libc6",
    "libgcc-s1",
    "busybox-static",
    // Not for the domains: programs of ours are compiled against it.
    "libxen-dev",
];

/// What programs in C are compiled against: folders of the packages, and what they are called beside the images.
pub(crate) const SDK: &[(&str, &str)] = &[
    ("usr/include", "include"),
    ("usr/lib/x86_64-linux-gnu", "lib"),
];

/// Files of those folders, by how their names begin: Xen's headers, and its libraries for linking statically.
pub(crate) const SDK_FILES: [&str; 2] = ["xen", "libxen"];

/// One initramfs.
#[derive(Debug)]
pub(crate) struct Image {
    /// `dom0` or `domU`.
    pub(crate) name: &'static str,
    /// What the kernel's name ends in.
    pub(crate) flavour: &'static str,
    /// Folders beside the usual ones.
    pub(crate) folders: &'static [&'static str],
    /// Files, as they are called in the packages and in the image.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Shared libraries beside [`LIBRARIES`].
    pub(crate) libraries: &'static [&'static str],
    /// Kernel modules, below `kernel/` and without `.ko`.
    pub(crate) modules: &'static [&'static str],
}

/// Shared libraries in both: those of C and Rust programs, and libxenvchan with what it needs.
pub(crate) const LIBRARIES: &[&str] = &[
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libxenstore.so.4",
    "libxentoolcore.so.1",
    "libxenvchan.so.4.17",
    "libxengnttab.so.1",
    "libxenevtchn.so.1",
    "libxentoollog.so.1",
    "libxencall.so.1",
];

/// dom0 needs the generic kernel.
pub(crate) const DOM0: Image = Image {
    name: "dom0",
    flavour: "amd64",
    folders: &[
        "run/xen",
        "run/xenstored",
        "var/lib/xen",
        "var/lib/xenstored",
        "var/log/xen/console",
        "etc/xen/scripts",
    ],
    files: &[
        ("usr/lib/xen-4.17/bin/xl", "bin/xl"),
        ("usr/lib/xen-4.17/bin/xenstored", "bin/xenstored"),
        ("usr/lib/xen-4.17/bin/xenconsoled", "bin/xenconsoled"),
        ("usr/lib/xen-4.17/bin/xen-init-dom0", "bin/xen-init-dom0"),
        (
            "usr/lib/xen-4.17/bin/libxl-save-helper",
            "usr/lib/xen-4.17/bin/libxl-save-helper",
        ),
        ("etc/xen/xl.conf", "etc/xen/xl.conf"),
    ],
    libraries: &[
        "libxenlight.so.4.17",
        "libxlutil.so.4.17",
        "libxenctrl.so.4.17",
        "libxenguest.so.4.17",
        "libxendevicemodel.so.1",
        "libxenforeignmemory.so.1",
        "libxenhypfs.so.1",
        "libyajl.so.2",
        "libuuid.so.1",
        "libzstd.so.1",
        "liblzma.so.5",
        "libz.so.1",
    ],
    modules: &[
        "drivers/xen/xen-privcmd",
        "drivers/xen/xenfs/xenfs",
        "drivers/xen/xen-evtchn",
        "drivers/xen/xen-gntdev",
        "drivers/xen/xen-gntalloc",
        "net/llc/llc",
        "net/802/stp",
        "net/bridge/bridge",
        "drivers/net/xen-netback/xen-netback",
        "drivers/net/veth",
        "drivers/net/ethernet/intel/e1000/e1000",
    ],
};

/// The smaller cloud kernel has no support for dom0, but boots faster in a domU and has all the modules.
pub(crate) const DOMU: Image = Image {
    name: "domU",
    flavour: "cloud-amd64",
    folders: &[],
    files: &[],
    libraries: &[],
    modules: &[
        "drivers/xen/xen-evtchn",
        "drivers/xen/xen-gntdev",
        "drivers/xen/xen-gntalloc",
        "drivers/net/xen-netfront",
    ],
};

/// Names the content of the recipe: FNV-1a, which stays the same whatever compiles it.
pub(crate) fn key() -> String {
    fingerprint(SOURCES)
}

fn fingerprint(texts: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for text in texts {
        // The length keeps the texts apart.
        for byte in text.bytes().chain(text.len().to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_changes_the_key() {
        assert_eq!(fingerprint(&["a", "b"]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["a", "b"]), fingerprint(&["ab", ""]));
        assert_ne!(fingerprint(&["a", "b"]), fingerprint(&["b", "a"]));
    }
}
