//! The system call bpf(2), as far as a program that redirects frames needs it: maps, loading, attaching.

use std::ffi::{CStr, c_int, c_long};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// linux/bpf.h, `enum bpf_cmd`.
const MAP_CREATE: c_int = 0;
const MAP_UPDATE_ELEM: c_int = 2;
const MAP_DELETE_ELEM: c_int = 3;
const PROG_LOAD: c_int = 5;
const LINK_CREATE: c_int = 28;

const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// The program sees frames that lie in several buffers: long frames need not be refused.
const XDP_HAS_FRAGS: u32 = 1 << 5;
/// The program is for one device, whose driver answers what it asks about a frame.
const XDP_DEV_BOUND_ONLY: u32 = 1 << 6;
/// linux/if_link.h: in the driver, or not at all.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// One instruction, as the kernel takes it (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// What a map is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MapKind {
    /// From keys of 8 bytes to words.
    Hash,
    /// From receive queues to AF_XDP sockets.
    Sockets,
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

const _: () = assert!(size_of::<ProgLoad>() == 72);

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach: u32,
    flags: u32,
}

/// # Safety
/// `attributes` must be what `command` takes, and the addresses in it good for the length of the call.
unsafe fn bpf<T>(command: c_int, attributes: &T) -> io::Result<c_long> {
    let pointer: *const T = attributes;
    // SAFETY: `pointer` is good for its size during the call; for what it points to the caller vouches.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(number: c_long) -> OwnedFd {
    let number = c_int::try_from(number).expect("descriptors are small");
    // SAFETY: the kernel has just made this descriptor, for us alone, and closes it on exec.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn address<T: ?Sized>(of: &T) -> u64 {
    let pointer: *const T = of;
    pointer.cast::<u8>().expose_provenance() as u64
}

/// Makes a map.
pub(crate) fn create_map(kind: MapKind, max_entries: u32) -> io::Result<OwnedFd> {
    let (kind, key_size) = match kind {
        MapKind::Hash => (1, 8),
        MapKind::Sockets => (17, 4),
    };
    let attributes = MapCreate {
        kind,
        key_size,
        value_size: 4,
        max_entries,
        flags: 0,
    };
    // SAFETY: numbers only.
    unsafe { bpf(MAP_CREATE, &attributes) }.map(owned)
}

/// Enters a key of [`MapKind::Hash`].
pub(crate) fn insert_key(map: BorrowedFd<'_>, key: [u8; 8]) -> io::Result<()> {
    update(map, &key, 1)
}

/// Takes a key out of a [`MapKind::Hash`].
pub(crate) fn remove_key(map: BorrowedFd<'_>, key: [u8; 8]) -> io::Result<()> {
    let attributes = MapElement {
        map: number(map),
        padding: 0,
        key: address(&key),
        value: 0,
        flags: 0,
    };
    // SAFETY: keys of these maps have 8 bytes, which outlive the call; no value is read.
    unsafe { bpf(MAP_DELETE_ELEM, &attributes) }.map(|_| ())
}

/// Enters the socket that gets the frames of a receive queue.
pub(crate) fn insert_socket(
    map: BorrowedFd<'_>,
    queue: u32,
    socket: BorrowedFd<'_>,
) -> io::Result<()> {
    update(map, &queue.to_ne_bytes(), number(socket))
}

fn update<const N: usize>(map: BorrowedFd<'_>, key: &[u8; N], value: u32) -> io::Result<()> {
    let attributes = MapElement {
        map: number(map),
        padding: 0,
        key: address(key),
        value: address(&value),
        flags: 0,
    };
    // SAFETY: the callers give keys of the map's size; values have 4 bytes; both outlive the call.
    unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }.map(|_| ())
}

/// Loads an XDP program; `bound_to` is the device whose driver it asks, if it asks one.
pub(crate) fn load(
    instructions: &[Instruction],
    license: &CStr,
    bound_to: Option<u32>,
) -> io::Result<OwnedFd> {
    let bound = if bound_to.is_some() {
        XDP_DEV_BOUND_ONLY
    } else {
        0
    };
    let attributes = ProgLoad {
        kind: PROG_TYPE_XDP,
        count: u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: address(instructions),
        license: address(license),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: XDP_HAS_FRAGS | bound,
        name: *b"myrixen\0\0\0\0\0\0\0\0\0",
        interface: bound_to.unwrap_or(0),
        attach: ATTACH_XDP,
    };
    // SAFETY: the instructions and the licence (which ends with a zero) outlive the call, and the kernel copies them.
    unsafe { bpf(PROG_LOAD, &attributes) }.map(owned)
}

/// Attaches a program to an interface's driver, until the descriptor is closed, by whatever end of the process.
pub(crate) fn attach(program: BorrowedFd<'_>, interface: u32) -> io::Result<OwnedFd> {
    let attributes = LinkCreate {
        program: number(program),
        interface,
        attach: ATTACH_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    // SAFETY: numbers only.
    unsafe { bpf(LINK_CREATE, &attributes) }.map(owned)
}
