//! Sizes and times as people read and write them.

/// `bytes` with a binary unit: `0 B`, `1.5 KiB`, `16 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let (unit, scale) = match bytes {
        0..0x400 => return format!("{bytes} B"),
        0x400..0x10_0000 => ("KiB", 0x400),
        0x10_0000..0x4000_0000 => ("MiB", 0x10_0000),
        _ => ("GiB", 0x4000_0000),
    };
    if bytes.is_multiple_of(scale) {
        return format!("{} {unit}", bytes / scale);
    }
    // Two figures are enough to tell sizes apart; rounding down keeps `1.9 KiB` below `2 KiB`.
    format!("{}.{} {unit}", bytes / scale, bytes % scale * 10 / scale)
}

/// Nanoseconds with three significant figures: `431 ns`, `11.3 us`, `2.05 ms`.
pub(crate) fn nanoseconds(ns: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three figures are shown")]
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} us", three_figures(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", three_figures(value / 1e6)),
        _ => format!("{} s", three_figures(value / 1e9)),
    }
}

/// A rate with three significant figures and a decimal unit: `1.25 M`, `840 k`.
pub(crate) fn count(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{} G", three_figures(v / 1e9)),
        v if v >= 1e6 => format!("{} M", three_figures(v / 1e6)),
        v if v >= 1e3 => format!("{} k", three_figures(v / 1e3)),
        v => three_figures(v),
    }
}

/// `value` with three significant figures, none of them after the point from 100 on.
pub(crate) fn three_figures(value: f64) -> String {
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// Reads a size: a number of bytes, or one with `k`, `m` or `g` (`K`, `KiB` and so on mean the same: binary).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{text:?} is not a size: write bytes, or a number with k, m or g (4k = 4096)");
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(scale).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(2047), "1.9 KiB");
        assert_eq!(size(16 << 20), "16 MiB");
        assert_eq!(size(3 << 30), "3 GiB");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [0, 1, 1023, 4096, 1 << 20, 3 << 30] {
            assert_eq!(parse_size(&size(bytes)), Ok(bytes));
        }
        assert_eq!(parse_size("4k"), Ok(4096));
        assert_eq!(parse_size("2M"), Ok(2 << 20));
        for wrong in ["", "k", "4x", "-1", "1.5k", "99999999999g"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_and_rates_have_three_figures() {
        assert_eq!(nanoseconds(431), "431 ns");
        assert_eq!(nanoseconds(11_300), "11.3 us");
        assert_eq!(nanoseconds(2_050_000), "2.05 ms");
        assert_eq!(nanoseconds(3_000_000_000), "3.00 s");
        assert_eq!(count(5_432_100.0), "5.43 M");
        assert_eq!(count(999.0), "999");
        assert_eq!(three_figures(99.96), "100");
    }
}
