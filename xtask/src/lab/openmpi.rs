//! What guests get in addition where a test runs MPI: Debian's Open MPI and libfabric, which know nothing of us.

/// An archive that is unpacked over a domain's own.
#[derive(Debug)]
pub(crate) struct Addition {
    /// What it is called beside the images.
    pub(crate) name: &'static str,
    /// Packages beside the images' own.
    pub(crate) packages: &'static [&'static str],
    /// Files, as they are called in the packages and in the domain.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Links in the domain, and where they lead.
    pub(crate) links: &'static [(&'static str, &'static str)],
    /// Shared libraries.
    pub(crate) libraries: &'static [&'static str],
    /// Folders, and the files of them that are wanted: what programs load at run time.
    pub(crate) components: &'static [(&'static str, &'static [&'static str])],
    /// Folders that are wanted whole.
    pub(crate) folders: &'static [&'static str],
    /// Files that programs are compiled against, as they are called in the packages and beside the images.
    pub(crate) sdk: &'static [(&'static str, &'static str)],
}

/// Open MPI with what its `mtl ofi` needs, and nothing else that could carry a message between processes.
pub(crate) const OPEN_MPI: Addition = Addition {
    name: "openmpi",
    packages: &[
        "openmpi-bin",
        "openmpi-common",
        "libopenmpi3",
        "libopenmpi-dev",
        "libfabric1",
        "libpmix2",
        "libhwloc15",
        "libevent-core-2.1-7",
        "libevent-pthreads-2.1-7",
        "libatomic1",
        "libudev1",
        "libnl-3-200",
        "libnl-route-3-200",
        "libibverbs1",
        "ibverbs-providers",
        "librdmacm1",
        "libpsm-infinipath1",
        "libpsm2-2",
        "libnuma1",
        "libmunge2",
    ],
    files: &[
        ("usr/bin/orterun", "bin/orterun"),
        ("usr/bin/orted", "bin/orted"),
        // Debian's link to it is an alternative's, made when the package is installed.
        (
            "usr/lib/libpsm1/libpsm_infinipath.so.1.16",
            "lib/x86_64-linux-gnu/libpsm_infinipath.so.1",
        ),
    ],
    links: &[("bin/mpirun", "orterun")],
    libraries: &[
        "libmpi.so.40",
        "libopen-rte.so.40",
        "libopen-pal.so.40",
        "libmca_common_ofi.so.10",
        "libfabric.so.1",
        "libpmix.so.2",
        "libhwloc.so.15",
        "libevent_core-2.1.so.7",
        "libevent_pthreads-2.1.so.7",
        "libz.so.1",
        "libmunge.so.2",
        "libudev.so.1",
        "libatomic.so.1",
        "libnl-3.so.200",
        "libnl-route-3.so.200",
        "libibverbs.so.1",
        "libefa.so.1",
        "librdmacm.so.1",
        "libpsm2.so.2",
        "libinfinipath.so.4",
        "libnuma.so.1",
        "libuuid.so.1",
    ],
    components: &[
        (
            "usr/lib/x86_64-linux-gnu/openmpi/lib/openmpi3",
            &[
                // Starting processes, on this host and on others, and hearing from them.
                "mca_errmgr_default_app.so",
                "mca_errmgr_default_hnp.so",
                "mca_errmgr_default_orted.so",
                "mca_ess_env.so",
                "mca_ess_hnp.so",
                "mca_ess_pmi.so",
                "mca_filem_raw.so",
                "mca_grpcomm_direct.so",
                "mca_iof_hnp.so",
                "mca_iof_orted.so",
                "mca_odls_default.so",
                "mca_oob_tcp.so",
                "mca_plm_rsh.so",
                "mca_pmix_ext3x.so",
                "mca_reachable_weighted.so",
                "mca_regx_fwd.so",
                "mca_regx_naive.so",
                "mca_regx_reverse.so",
                "mca_rmaps_round_robin.so",
                "mca_rml_oob.so",
                "mca_routed_direct.so",
                "mca_routed_radix.so",
                "mca_rtc_hwloc.so",
                "mca_schizo_ompi.so",
                "mca_schizo_orte.so",
                "mca_shmem_mmap.so",
                "mca_state_app.so",
                "mca_state_hnp.so",
                "mca_state_orted.so",
                // Messages: by libfabric alone. The others are never used, but asked for.
                "mca_bml_r2.so",
                "mca_btl_self.so",
                "mca_mtl_ofi.so",
                "mca_pml_cm.so",
                // What is made of messages.
                "mca_allocator_basic.so",
                "mca_coll_basic.so",
                "mca_coll_inter.so",
                "mca_coll_libnbc.so",
                "mca_coll_self.so",
                "mca_coll_tuned.so",
                "mca_osc_pt2pt.so",
                "mca_topo_basic.so",
            ],
        ),
        (
            "usr/lib/x86_64-linux-gnu/pmix2/lib/pmix",
            &["pmix_mca_pcompress_zlib.so"],
        ),
    ],
    // What it says when something is wrong.
    folders: &["usr/share/openmpi"],
    sdk: &[
        (
            "usr/lib/x86_64-linux-gnu/openmpi/include/mpi.h",
            "include/mpi.h",
        ),
        (
            "usr/lib/x86_64-linux-gnu/openmpi/include/mpi_portable_platform.h",
            "include/mpi_portable_platform.h",
        ),
        ("usr/lib/x86_64-linux-gnu/libmpi.so.40", "lib/libmpi.so"),
    ],
};
