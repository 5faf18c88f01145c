//! Copies between memory that is ours alone and memory that others may write meanwhile.

use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};

use crate::bulk;

/// Copies of so many bytes are done in line. Every frame's head is among them: what is called for more stores as many bytes at once as the processor
/// can, 64 of them across two of its lines as a rule, and who reads a field of that has to wait until the line is in the cache, behind
/// whatever was copied before.
const MOST_IN_LINE: usize = 80;

/// Copies the bytes of a slice to another one of the same length. As [`slice::copy_from_slice`], but that copies of kilobytes are as fast wherever they lie (the module
/// `bulk` says why others are not).
///
/// # Panics
/// When the lengths differ.
#[inline]
pub fn copy_slice(to: &mut [u8], from: &[u8]) {
    assert_eq!(to.len(), from.len(), "what is copied fits");
    // SAFETY: both are valid for as many bytes, and apart from each other.
    unsafe { copy(from.as_ptr(), to.as_mut_ptr(), from.len()) }
}

/// Appends a copy of the bytes of a slice, as [`copy_slice`] does.
pub fn append(to: &mut Vec<u8>, from: &[u8]) {
    to.reserve(from.len());
    let spare = to.spare_capacity_mut().as_mut_ptr();
    // SAFETY: there is room for as many bytes, and it is of an allocation of its own.
    unsafe { copy(from.as_ptr(), spare.cast(), from.len()) };
    // SAFETY: so many more are written, within the capacity.
    unsafe { to.set_len(to.len() + from.len()) };
}

/// Copies `len` bytes. Up to [`MOST_IN_LINE`] go through registers in line, which for a known `len` is a few moves; more is one call.
///
/// The two ranges may overlap: all bytes are loaded before any is stored, or `memmove` moves them.
///
/// # Safety
///
/// `src` must be valid for reads and `dst` for writes of `len` bytes, and no Rust reference may lay claim to the
/// bytes at `dst`, or an exclusive one to those at `src`, other than the one the pointer was made from. Other processes may write either range meanwhile: then it is open which
/// bytes arrive, and nothing else.
#[inline(always)]
pub(crate) unsafe fn copy(src: *const u8, dst: *mut u8, len: usize) {
    match len {
        0 => {}
        // SAFETY: each arm moves a size that its range of `len` covers; the caller vouches for `len` bytes on both sides.
        1..=3 => unsafe { tiny(src, dst, len) },
        // SAFETY: as above.
        4..=7 => unsafe { ends::<[u8; 4]>(src, dst, len) },
        // SAFETY: as above.
        8..=15 => unsafe { ends::<[u8; 8]>(src, dst, len) },
        // SAFETY: as above.
        16..=32 => unsafe { ends::<[u8; 16]>(src, dst, len) },
        // SAFETY: as above.
        33..=64 => unsafe { ends::<[[u8; 16]; 2]>(src, dst, len) },
        // SAFETY: as above.
        65..=MOST_IN_LINE => unsafe { ends::<[[u8; 16]; 4]>(src, dst, len) },
        // SAFETY: as above; `ptr::copy` allows the ranges to overlap.
        _ if len < bulk::LEAST => unsafe { ptr::copy(src, dst, len) },
        // SAFETY: as above, and there are no fewer than `LEAST`.
        _ => unsafe { bulk::copy(src, dst, len) },
    }
    // Without it the compiler may drop a private copy and look at the shared original again, later, when a peer has
    // changed what we checked. It costs no instruction.
    compiler_fence(Ordering::SeqCst);
}

/// Moves the first and the last `size_of::<T>()` bytes; together they are everything.
///
/// # Safety
///
/// As for [`copy`], with `size_of::<T>() <= len <= 2 * size_of::<T>()`.
#[inline(always)]
unsafe fn ends<T: Copy>(src: *const u8, dst: *mut u8, len: usize) {
    let last = len - size_of::<T>();
    // SAFETY: the first `size_of::<T>()` bytes lie within `len`.
    let head = unsafe { src.cast::<T>().read_unaligned() };
    // SAFETY: `last` keeps the pointer within `len`.
    let from = unsafe { src.add(last) };
    // SAFETY: `size_of::<T>()` bytes from `last` on end at `len`.
    let tail = unsafe { from.cast::<T>().read_unaligned() };
    // SAFETY: as for the load of the head.
    unsafe { dst.cast::<T>().write_unaligned(head) };
    // SAFETY: as for `from`.
    let to = unsafe { dst.add(last) };
    // SAFETY: as for the load of the tail.
    unsafe { to.cast::<T>().write_unaligned(tail) };
}

/// Moves one to three bytes.
///
/// # Safety
///
/// As for [`copy`], with `1 <= len <= 3`.
#[inline(always)]
unsafe fn tiny(src: *const u8, dst: *mut u8, len: usize) {
    let places = [0, len / 2, len - 1];
    let mut bytes = [0; 3];
    for (byte, place) in bytes.iter_mut().zip(places) {
        // SAFETY: each place is below `len`.
        let from = unsafe { src.add(place) };
        // SAFETY: one byte at a place below `len`.
        *byte = unsafe { from.read() };
    }
    for (byte, place) in bytes.into_iter().zip(places) {
        // SAFETY: each place is below `len`.
        let to = unsafe { dst.add(place) };
        // SAFETY: one byte at a place below `len`.
        unsafe { to.write(byte) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_alignment_arrives_whole_and_touches_nothing_else() {
        let lengths = if cfg!(miri) { 0..=80 } else { 0..=300 };
        for len in lengths {
            for shift in [0, 1, 3, 8, 15] {
                let src: Vec<u8> = (1..=251).cycle().take(len + shift).collect();
                let mut dst = vec![0; len + shift + 1];
                let (from, to) = (src[shift..].as_ptr(), dst[shift..].as_mut_ptr());
                // SAFETY: both slices hold `len` bytes, and they are two allocations.
                unsafe { copy(from, to, len) };
                assert_eq!(dst[..shift], vec![0; shift], "before {len} at {shift}");
                assert_eq!(dst[shift..shift + len], src[shift..], "{len} at {shift}");
                assert_eq!(dst[shift + len], 0, "behind {len} at {shift}");
            }
        }
    }

    #[test]
    fn slices_of_every_length_are_copied_and_appended() {
        for len in [0, 1, 7, 80, 81, 2047, 2048, 5000] {
            let bytes: Vec<u8> = (1..=251).cycle().take(len).collect();
            let mut copied = vec![0; len];
            copy_slice(&mut copied, &bytes);
            assert_eq!(copied, bytes);
            append(&mut copied, &bytes);
            assert_eq!(copied, [&bytes[..], &bytes].concat());
        }
    }

    #[test]
    fn overlapping_ranges_move_as_if_through_a_third_place() {
        for len in 0..=100usize {
            let mut bytes: Vec<u8> = (0..=255).collect();
            let expected: Vec<u8> = bytes[..len].to_vec();
            let base = bytes.as_mut_ptr();
            // SAFETY: 7 lies within the 256 bytes.
            let to = unsafe { base.add(7) };
            // SAFETY: the vector holds 256 bytes, more than 7 + 100.
            unsafe { copy(base, to, len) };
            assert_eq!(bytes[7..7 + len], expected, "{len}");
        }
    }
}
