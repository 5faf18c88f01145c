//! Mapped pages as a peer and an owner see them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use myrixen_shm::{Access, MapError, Pages, Pool, memfd, memfd_readonly_to_others};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

fn refusal(error: &io::Error) -> &MapError {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .expect("our own refusal")
}

#[test]
fn a_second_mapping_sees_what_the_first_wrote() {
    let (fd, ours) = memfd("test", 16384).expect("memory");
    let theirs = Pages::map(&fd, 4096, 8192, Access::ReadOnly).expect("mapped");
    ours.store_u64(4096 + 8, 0x0102_0304_0506_0708, Ordering::Release);
    assert_eq!(theirs.load_u64(8, Ordering::Acquire), 0x0102_0304_0506_0708);
    assert_eq!(
        theirs.load_u32(8, Ordering::Relaxed).to_le_bytes()[0],
        if cfg!(target_endian = "little") { 8 } else { 4 }
    );
    ours.write(5000, &[9; 100]);
    let mut out = [0; 100];
    theirs.read(5000 - 4096, &mut out);
    assert_eq!(out, [9; 100]);
    theirs.copy_to(5000 - 4096, &ours, 12000, 100);
    ours.read(12000, &mut out);
    assert_eq!(out, [9; 100]);
    ours.zero(12000, 50);
    ours.read(12000, &mut out);
    assert_eq!((&out[..50], &out[50..]), (&[0; 50][..], &[9; 50][..]));
}

#[test]
fn files_that_could_be_cut_short_are_refused() {
    let fd =
        memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memory");
    ftruncate(&fd, 8192).expect("grown");
    let error = Pages::map(&fd, 0, 8192, Access::ReadWrite).expect_err("not sealed");
    assert!(matches!(refusal(&error), MapError::NotSealed));
    let error = Pages::map_device(&fd, 0, 8192, Access::ReadWrite).expect_err("no device");
    assert!(matches!(refusal(&error), MapError::NotADevice));

    let file = tempfile();
    let error = Pages::map(&file, 0, 4096, Access::ReadOnly).expect_err("no memfd");
    assert!(matches!(refusal(&error), MapError::NotSharedMemory(_)));
}

/// A file that is no memfd: procfs is never tmpfs.
fn tempfile() -> std::fs::File {
    std::fs::File::open("/proc/self/maps").expect("procfs")
}

#[test]
fn ranges_behind_the_end_of_the_file_are_refused() {
    let (fd, _pages) = memfd("short", 8192).expect("memory");
    for (offset, len) in [(0, 8193), (4096, 4097), (8192, 1), (u64::MAX - 4095, 8192)] {
        let error = Pages::map(&fd, offset, len, Access::ReadOnly).expect_err("too long");
        assert!(
            matches!(refusal(&error), MapError::OutsideFile { size: 8192, .. }),
            "{len} at {offset}: {error}"
        );
    }
    Pages::map(&fd, 0, 0, Access::ReadOnly).expect_err("nothing to map");
    assert!(ftruncate(&fd, 4096).is_err(), "sealed");
    assert!(ftruncate(&fd, 16384).is_err(), "sealed");
}

#[test]
fn others_can_read_but_not_write_what_is_sealed_for_them() {
    let (fd, ours) = memfd_readonly_to_others("mine", 4096).expect("memory");
    Pages::map(&fd, 0, 4096, Access::ReadWrite).expect_err("sealed against writers");
    let theirs = Pages::map(&fd, 0, 4096, Access::ReadOnly).expect("readers are welcome");
    ours.write(100, b"still writable to us");
    let mut out = [0; 20];
    theirs.read(100, &mut out);
    assert_eq!(&out, b"still writable to us");
    assert!(
        rustix::io::pwrite(&fd, b"x", 0).is_err(),
        "sealed against write calls"
    );
}

#[test]
fn our_own_mistakes_panic_before_memory_is_touched() {
    let pages = Pages::private(4096).expect("memory");
    let part = pages.sub(1000, 96);
    let read_only = pages.read_only();
    let mut two = [0; 2];
    let mistakes: [(&str, &mut dyn FnMut()); 9] = [
        ("read across the end", &mut || part.read(95, &mut two)),
        ("read far behind the end", &mut || {
            part.read(usize::MAX, &mut [0; 2])
        }),
        ("write across the end", &mut || part.write(95, &[1, 2])),
        ("copy across the end", &mut || {
            pages.copy_to(0, &part, 1, 96)
        }),
        ("load across the end", &mut || {
            _ = pages.load_u64(4092, Ordering::Relaxed)
        }),
        ("load between words", &mut || {
            _ = pages.load_u32(2, Ordering::Relaxed)
        }),
        ("store between words", &mut || {
            pages.store_u64(4, 0, Ordering::Relaxed)
        }),
        ("store in read-only pages", &mut || {
            read_only.store_u32(0, 1, Ordering::Relaxed)
        }),
        ("part across the end", &mut || drop(part.sub(90, 7))),
    ];
    for (what, mistake) in mistakes {
        assert!(catch_unwind(AssertUnwindSafe(mistake)).is_err(), "{what}");
    }
    assert_eq!(read_only.sub(0, 8).access(), Access::ReadOnly);
    assert_eq!((part.len(), part.access()), (96, Access::ReadWrite));
}

#[test]
fn a_part_keeps_the_mapping_alive() {
    let part = Pages::private(8192).expect("memory").sub(4096, 10);
    part.write(0, b"0123456789");
    part.copy_to(0, &part, 3, 7);
    let mut out = [0; 10];
    part.read(0, &mut out);
    assert_eq!(&out, b"0120123456");
}

#[test]
fn a_reader_of_the_pool_sees_a_buffer_at_its_offset() {
    let pool = Pool::new(1 << 20).expect("memory");
    let _first = pool.alloc(100).expect("room");
    let mut buf = pool.alloc(1000).expect("room");
    assert_eq!(
        (buf.len(), buf.offset() % 64, buf.as_ptr().align_offset(64)),
        (1000, 0, 0)
    );
    buf.fill(3);
    buf[999] = 4;
    let reader = Pages::map(&pool.fd(), 0, pool.len(), Access::ReadOnly).expect("mapped");
    let mut seen = [0; 1000];
    reader.read(usize::try_from(buf.offset()).expect("small"), &mut seen);
    assert_eq!(seen[..], buf[..]);
    Pages::map(&pool.fd(), 0, pool.len(), Access::ReadWrite).expect_err("nobody else writes");
    assert!(pool.owns(&buf) && !Pool::new(4096).expect("memory").owns(&buf));
}

#[test]
fn a_word_in_a_buffer_changes_for_its_readers() {
    let pool = Pool::new(1 << 16).expect("memory");
    let _first = pool.alloc(64).expect("room");
    let mut buf = pool.alloc(24).expect("room");
    let reader = Pages::map(&pool.fd(), 0, pool.len(), Access::ReadOnly).expect("mapped");
    buf.store_u64(16, 7, Ordering::Release);
    let place = usize::try_from(buf.offset()).expect("small") + 16;
    assert_eq!(reader.load_u64(place, Ordering::Acquire), 7);
    assert_eq!(buf[16..24], 7u64.to_ne_bytes());
    for offset in [17, 24, usize::MAX] {
        let mistake = AssertUnwindSafe(|| buf.store_u64(offset, 1, Ordering::Relaxed));
        assert!(catch_unwind(mistake).is_err(), "{offset}");
    }
}

#[test]
fn a_pool_that_is_used_up_has_room_again_after_a_drop() {
    let pool = Pool::new(64 * 1024).expect("memory");
    let half = pool.alloc(32 * 1024).expect("room");
    let other = pool.alloc(32 * 1024).expect("room");
    assert!(pool.alloc(1).is_none());
    assert!(pool.alloc(0).is_some_and(|empty| empty.is_empty()));
    drop(half);
    assert_eq!(pool.available(), 32 * 1024);
    assert!(pool.alloc(32 * 1024 + 1).is_none());
    drop(other);
    assert!(pool.alloc(64 * 1024).is_some());
}

#[test]
fn a_large_pool_costs_nothing_until_it_is_touched() {
    let pool = Pool::new(Pool::DEFAULT_LEN).expect("address space");
    let mut buf = pool.alloc(1 << 29).expect("room");
    buf[0] = 1;
    buf[(1 << 29) - 1] = 1;
    let blocks = rustix::fs::fstat(pool.fd()).expect("a file").st_blocks;
    assert!(blocks * 512 <= 4 << 20, "{blocks} blocks for two bytes");
}
