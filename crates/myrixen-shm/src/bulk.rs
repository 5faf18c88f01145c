//! Copies of kilobytes.
//!
//! The C library's `memmove` copies 4 KiB and more by `rep movsb` where the processor says that this is fast. On AMD's Zen 3 and Zen 4 it is, 50 to 90 GB/s
//! within the first cache, but where the destination lies up to some tens of bytes behind the source within their pages, and is not aligned alike: there it
//! is 2 to 3 GB/s (glibc's bug 30994). Where frames come to lie in a ring and buffers in a heap is chance, so that one run of a program was three times as
//! fast as the next. Moves by registers know no such places.

use std::ptr;

/// Copies of so many bytes and more are done here; of fewer, `memmove` does not use `rep movsb`.
pub(crate) const LEAST: usize = 2048;

/// Copies `len` bytes. The ranges may overlap: then `memmove` moves them.
///
/// # Safety
///
/// As for [`copy`](crate::copy::copy), with `len >= LEAST`.
pub(crate) unsafe fn copy(src: *const u8, dst: *mut u8, len: usize) {
    debug_assert!(len >= LEAST, "{len} bytes are for others to copy");
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if src.addr().abs_diff(dst.addr()) >= len {
        if std::is_x86_feature_detected!("avx") {
            // SAFETY: the processor has AVX; else the caller's promise.
            return unsafe { x86::by_avx(src, dst, len) };
        }
        // SAFETY: the caller's promise.
        return unsafe { x86::by_sse(src, dst, len) };
    }
    // SAFETY: the caller's promise.
    unsafe { ptr::copy(src, dst, len) }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm_storeu_si128, _mm256_loadu_si256,
        _mm256_storeu_si256,
    };

    /// Moves by registers of one kind: a first piece that makes the destination aligned, four registers at a time, and four that end where the range ends. The
    /// pieces may overlap each other.
    macro_rules! by_registers {
        ($name:ident, $register:ty, $load:ident, $store:ident $(, $feature:literal)?) => {
            /// # Safety
            ///
            /// As for [`copy`](super::copy), of at least eight registers, which the processor must have.
            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn $name(src: *const u8, dst: *mut u8, len: usize) {
                const SIZE: usize = size_of::<$register>();
                let load = |at: usize| {
                    // SAFETY: no place that is asked for is less than a register before the end.
                    let from = unsafe { src.add(at) };
                    // SAFETY: the caller's promise.
                    unsafe { $load(from.cast()) }
                };
                let store = |at: usize, value: $register| {
                    // SAFETY: as for `load`.
                    let to = unsafe { dst.add(at) };
                    // SAFETY: the caller's promise.
                    unsafe { $store(to.cast(), value) }
                };
                store(0, load(0));
                let mut at = SIZE - dst.addr() % SIZE;
                while at + 4 * SIZE <= len {
                    let four = [
                        load(at),
                        load(at + SIZE),
                        load(at + 2 * SIZE),
                        load(at + 3 * SIZE),
                    ];
                    let [a, b, c, d] = four;
                    store(at, a);
                    store(at + SIZE, b);
                    store(at + 2 * SIZE, c);
                    store(at + 3 * SIZE, d);
                    at += 4 * SIZE;
                }
                for number in 1..=4 {
                    let at = len - number * SIZE;
                    store(at, load(at));
                }
            }
        };
    }

    by_registers!(
        by_avx,
        __m256i,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        "avx"
    );
    by_registers!(by_sse, __m128i, _mm_loadu_si128, _mm_storeu_si128);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One way to copy.
    type Copying = unsafe fn(*const u8, *mut u8, usize);

    /// Those that this processor has.
    fn ways() -> Vec<Copying> {
        let mut ways: Vec<Copying> = vec![copy];
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            ways.push(x86::by_sse);
            if std::is_x86_feature_detected!("avx") {
                ways.push(x86::by_avx);
            }
        }
        ways
    }

    #[test]
    fn every_length_and_alignment_arrives_whole_and_touches_nothing_else() {
        let (lengths, shifts) = match cfg!(miri) {
            true => (LEAST..LEAST + 2, 1),
            false => (LEAST..LEAST + 300, 7),
        };
        let src: Vec<u8> = (1..=251).cycle().take(LEAST + 400).collect();
        for way in ways() {
            for len in lengths.clone() {
                for (from, to) in [(0, 0), (0, shifts), (13, 1), (5, 40), (32, 31)] {
                    let mut dst = vec![0; len + to + 1];
                    let (start, end) = (src[from..].as_ptr(), dst[to..].as_mut_ptr());
                    // SAFETY: both hold `len` bytes behind these places, and are two allocations.
                    unsafe { way(start, end, len) };
                    assert!(dst[..to].iter().all(|byte| *byte == 0), "before {len}");
                    assert_eq!(dst[to..to + len], src[from..from + len], "{len}");
                    assert_eq!(dst[to + len], 0, "behind {len}");
                }
            }
        }
    }

    #[test]
    fn overlapping_ranges_move_as_if_through_a_third_place() {
        for (from, to) in [(0, 9), (9, 0), (0, 2000), (2000, 0)] {
            let mut bytes: Vec<u8> = (0..=255).cycle().take(2 * LEAST).collect();
            let expected = bytes[from..from + LEAST].to_vec();
            let base = bytes.as_mut_ptr();
            let start = base.wrapping_add(from);
            let end = base.wrapping_add(to);
            // SAFETY: both places have `LEAST` bytes behind them.
            unsafe { copy(start, end, LEAST) };
            assert_eq!(bytes[to..to + LEAST], expected, "{from} to {to}");
        }
    }
}
